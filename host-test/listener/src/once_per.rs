//! Lets through one thing per interval, such as a line of the log that anybody can cause.

use std::ops::Sub;
use std::time::Duration;

/// Lets through one thing per interval. `T` is a point in time: an `Instant`, or what a
/// [`Clock`](crate::clock::Clock) has counted.
#[derive(Debug, Clone)]
pub struct OncePer<T = Duration> {
    interval: Duration,
    last: Option<T>,
}

impl<T: Copy + Sub<Output = Duration>> OncePer<T> {
    /// Nothing has passed yet.
    pub fn new(interval: Duration) -> OncePer<T> {
        OncePer {
            interval,
            last: None,
        }
    }

    /// Whether something passes at `now`, which is never before an earlier one. The interval begins
    /// anew with what passes.
    pub fn passes(&mut self, now: T) -> bool {
        let passes = self.last.is_none_or(|last| now - last >= self.interval);
        if passes {
            self.last = Some(now);
        }
        passes
    }

    /// When something passed last.
    pub fn last(&self) -> Option<T> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_passes_per_interval() {
        let mut minute = OncePer::new(Duration::from_secs(60));
        let passed: Vec<u64> = (0..200)
            .filter(|second| minute.passes(Duration::from_secs(*second)))
            .collect();
        assert_eq!(passed, [0, 60, 120, 180]);
        assert_eq!(minute.last(), Some(Duration::from_secs(180)));
    }
}
