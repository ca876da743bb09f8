//! The throttle of a bot's sends.

use std::time::Duration;

use crate::ilink::rules::Burst;

/// What a burst of sends uses up.
#[derive(Default)]
pub(crate) struct Bucket {
    used: f64,
    at: Duration,
    penalty_until: Option<Duration>,
}

impl Bucket {
    /// Whether one more send passes. One that does not starts or prolongs the penalty.
    pub(crate) fn admits(&mut self, burst: Burst, now: Duration) -> bool {
        let refilled = now.saturating_sub(self.at).as_secs_f64() * burst.per_second;
        self.used = (self.used - refilled).max(0.0);
        self.at = now;
        let punished = self.penalty_until.is_some_and(|until| now < until);
        // Rounding must not refuse the send that comes exactly when there is room again.
        if punished || self.used + 1.0 > burst.size as f64 + 1e-6 {
            self.penalty_until = Some(now.saturating_add(burst.penalty));
            return false;
        }
        self.used += 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_bucket_is_punished_and_each_attempt_prolongs_it() {
        let burst = Burst {
            size: 3,
            per_second: 3.0,
            penalty: Duration::from_secs(60),
        };
        let mut bucket = Bucket::default();
        let mut at = |seconds: f64| bucket.admits(burst, Duration::from_secs_f64(seconds));
        assert!(at(10.0) && at(10.1) && at(10.2));
        assert!(!at(10.25));
        assert!(!at(60.0));
        assert!(!at(110.0));
        assert!(at(170.1));
    }

    #[test]
    fn a_paced_sender_never_empties_the_bucket() {
        let burst = Burst {
            size: 1,
            per_second: 1.0,
            penalty: Duration::from_secs(60),
        };
        let mut bucket = Bucket::default();
        assert!((0..1000).all(|second| bucket.admits(burst, Duration::from_secs(second))));
    }
}
