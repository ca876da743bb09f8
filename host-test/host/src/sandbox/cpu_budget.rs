//! What one account may take of the CPU, measured over all its instances.

use std::time::{Duration, Instant};

use super::limits::Limits;

/// What a timer can do.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// How much CPU time an account may use before it has to wait. A new instance brings no new credit,
/// because this belongs to the account.
pub(super) struct CpuBudget {
    nanoseconds: f64,
    since: Instant,
    is_slowed: bool,
}

impl CpuBudget {
    pub fn new(limits: &Limits) -> CpuBudget {
        CpuBudget {
            nanoseconds: limits.cpu_burst.as_nanos() as f64,
            since: Instant::now(),
            is_slowed: false,
        }
    }

    /// Takes `taken` nanoseconds; what has to be waited for then.
    pub fn charge(&mut self, taken: u64, limits: &Limits) -> Option<Overdraft> {
        let share = f64::from(limits.cpu_share.max(1)) / 100.0;
        let full = limits.cpu_burst.as_nanos() as f64;
        let now = Instant::now();
        let earned = (now - self.since).as_nanos() as f64 * share;
        self.since = now;
        self.nanoseconds = (self.nanoseconds + earned).min(full) - taken as f64;
        if self.nanoseconds >= 0.0 {
            self.is_slowed &= self.nanoseconds < full / 2.0;
            return None;
        }
        let is_new = !std::mem::replace(&mut self.is_slowed, true);
        let wait = Duration::from_nanos((-self.nanoseconds / share) as u64);
        // Not shorter than what the timer can do.
        let wait = wait.max(SHORTEST_WAIT);
        Some(Overdraft { wait, is_new })
    }
}

/// An account has taken more than its share.
#[derive(Debug, PartialEq)]
pub(super) struct Overdraft {
    /// How long it waits until it has its share again.
    pub wait: Duration,
    /// It did not wait before.
    pub is_new: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_above_the_share_has_to_be_waited_for() {
        let limits = Limits {
            cpu_share: 10,
            cpu_burst: Duration::from_secs(1),
            ..Limits::default()
        };
        let mut budget = CpuBudget::new(&limits);
        let second = 1_000_000_000;
        assert_eq!(budget.charge(second / 2, &limits), None);
        let Overdraft { wait, is_new } = budget.charge(second, &limits).unwrap();
        assert!(is_new && wait > Duration::from_secs(4) && wait < Duration::from_secs(6));
        assert!(!budget.charge(1, &limits).unwrap().is_new, "told once");
    }
}
