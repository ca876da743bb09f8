//! Whether there is a valid access token. The host holds the token itself.
//!
//! Requests that are refused side by side lead to one renewal. A token is renewed before its time is up.
//! All times are on one monotonic clock. Nothing is stored: a new instance asks once, and the platform
//! gives it the token that is still valid.

use std::time::Duration;

/// A token is renewed so long before its end.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// Which token a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

/// The access token of an account.
#[derive(Debug, Default)]
pub struct Access {
    generation: u64,
    until: Option<Duration>,
}

impl Access {
    /// The token for a request; none when it has to be renewed first.
    pub fn current(&self, now: Duration) -> Option<Generation> {
        let is_good = self.until.is_some_and(|until| now < until);
        is_good.then_some(Generation(self.generation))
    }

    /// The host was given a token that is valid for `life`.
    pub fn renewed(&mut self, now: Duration, life: Duration) {
        self.generation += 1;
        let margin = MARGIN.min(life / 2);
        self.until = Some(now.saturating_add(life.saturating_sub(margin)));
    }

    /// Until when there is a valid token.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// The platform refuses the app itself: whatever token there is, another one is asked for.
    pub fn forget(&mut self) {
        self.until = None;
    }

    /// The platform refused the token of a request.
    pub fn refused(&mut self, generation: Generation) {
        if generation.0 == self.generation {
            self.until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_its_end_and_when_refused_once() {
        let seconds = Duration::from_secs;
        let mut access = Access::default();
        assert_eq!(access.current(seconds(0)), None);
        access.renewed(seconds(10), seconds(7200));
        let first = access.current(seconds(10)).unwrap();
        assert_eq!(access.current(seconds(6909)), Some(first));
        assert_eq!(access.current(seconds(6910)), None);
        access.refused(first);
        assert_eq!(access.current(seconds(10)), None);
        access.renewed(seconds(20), seconds(60));
        // Another request of the first token.
        access.refused(first);
        assert!(access.current(seconds(49)).is_some());
        assert_eq!(access.current(seconds(50)), None);
        assert_eq!(access.until(), Some(seconds(50)));
        access.forget();
        assert_eq!(access.current(seconds(20)), None);
    }
}
