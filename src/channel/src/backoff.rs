//! Pauses between attempts: doubling, capped, with jitter.

use std::time::Duration;

/// Counts failures in a row.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `first` and doubles up to `cap`.
    pub fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff {
            first,
            cap,
            failures: 0,
        }
    }

    /// The pause after one more failure: between three quarters of it and the whole, by `random`.
    pub fn fail(&mut self, random: u64) -> Duration {
        let factor = 1u32 << self.failures.min(30);
        self.failures = self.failures.saturating_add(1);
        let pause = self.first.saturating_mul(factor).min(self.cap);
        let share = u32::try_from(random % 1000).unwrap_or(0);
        pause - pause / 4000 * share
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let pauses: Vec<u64> = (0..6).map(|_| backoff.fail(0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        backoff.reset();
        assert_eq!(backoff.fail(0), Duration::from_secs(1));
    }

    #[test]
    fn jitter_shortens_by_at_most_a_quarter() {
        for random in [0, 1, 999, u64::MAX] {
            let pause = Backoff::new(Duration::from_secs(4), Duration::from_secs(10)).fail(random);
            assert!(pause <= Duration::from_secs(4) && pause >= Duration::from_secs(3));
        }
    }

    #[test]
    fn countless_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for _ in 0..100 {
            backoff.fail(7);
        }
        assert!(backoff.fail(0) <= Duration::from_secs(10));
    }
}
