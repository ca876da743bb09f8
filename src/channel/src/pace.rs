//! The pace that a platform bears: a burst, then one send an interval.

use std::time::Duration;

/// A pace; times are on one monotonic clock.
#[derive(Debug, Clone)]
pub struct Pace {
    interval: Duration,
    burst: u32,
    /// When the bucket is full again (the theoretical arrival time of GCRA).
    full_at: Duration,
}

impl Pace {
    /// A pace of one send each `interval` after `burst` sends at once. A zero interval is no pace.
    pub fn new(interval: Duration, burst: u32) -> Pace {
        Pace {
            interval,
            burst: burst.max(1),
            full_at: Duration::ZERO,
        }
    }

    /// Whether there is no pace at all.
    pub fn is_unlimited(&self) -> bool {
        self.interval.is_zero()
    }

    /// When the next send may start; not later than `now` when it may start now.
    pub fn ready_at(&self, now: Duration) -> Duration {
        let ahead = self.interval.saturating_mul(self.burst - 1);
        self.full_at.saturating_sub(ahead).max(now)
    }

    /// Counts a send that starts now.
    pub fn take(&mut self, now: Duration) {
        self.full_at = self.full_at.max(now).saturating_add(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn two_sends_start_at_once_and_then_one_a_second() {
        let mut pace = Pace::new(SECOND, 2);
        let mut now = Duration::from_secs(100);
        let mut starts = Vec::new();
        for _ in 0..5 {
            now = pace.ready_at(now);
            pace.take(now);
            starts.push(now.as_secs());
        }
        assert_eq!(starts, [100, 100, 101, 102, 103]);
    }

    #[test]
    fn a_pause_restores_the_burst_and_no_more() {
        let mut pace = Pace::new(SECOND, 2);
        for _ in 0..2 {
            pace.take(Duration::ZERO);
        }
        let now = Duration::from_secs(60);
        for _ in 0..2 {
            assert_eq!(pace.ready_at(now), now);
            pace.take(now);
        }
        assert_eq!(pace.ready_at(now), now + SECOND);
    }

    #[test]
    fn a_zero_interval_never_waits() {
        let mut pace = Pace::new(Duration::ZERO, 2);
        for _ in 0..100 {
            assert_eq!(pace.ready_at(SECOND), SECOND);
            pace.take(SECOND);
        }
    }
}
