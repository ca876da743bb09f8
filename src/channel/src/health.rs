//! The health of an instance, in terms that an operator can act on.
//!
//! An instance reports `connected` only for one of two reasons: a poll was answered within the last two
//! holds, or the platform accepted the start and a poll has been open for a second. All times are on
//! one monotonic clock.

use std::time::Duration;

/// How the account does; the cases of the WIT's `phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No poll was answered yet.
    Starting,
    /// Polls are answered.
    Connected,
    /// Polls fail.
    Degraded,
    /// The platform refuses the credential.
    LoginRequired,
    /// Nothing is received until something is acknowledged.
    Paused,
    /// Another instance follows.
    Draining,
    /// The end.
    Stopped,
}

/// How long a poll has to be open to count as a connection.
pub const OPEN_LONG_ENOUGH: Duration = Duration::from_secs(1);

/// The facts from which the phase follows.
#[derive(Debug, Default)]
pub struct Health {
    /// How long the platform holds a poll.
    pub hold: Duration,
    /// The platform took the announcement of the start.
    pub start_accepted: bool,
    /// Nothing is received until something is acknowledged.
    pub is_paused: bool,
    /// `drain` was called or the instance is fenced; why.
    pub draining: Option<String>,
    /// `stop` was called.
    pub is_stopped: bool,
    poll_opened: Option<Duration>,
    poll_answered: Option<Duration>,
    failure: Option<PollFailure>,
    shown: Option<(Phase, Duration)>,
}

/// The failure of the last poll.
#[derive(Debug)]
struct PollFailure {
    reason: String,
    is_login: bool,
    since: Duration,
    /// How long the poll had been open.
    after: Duration,
}

impl Health {
    /// Of an instance that has not polled yet.
    pub fn new(hold: Duration) -> Health {
        Health {
            hold,
            ..Health::default()
        }
    }

    /// A poll is under way.
    pub fn poll_opened(&mut self, now: Duration) {
        self.poll_opened = Some(now);
    }

    /// A poll was answered well.
    pub fn poll_answered(&mut self, now: Duration) {
        self.poll_opened = None;
        self.poll_answered = Some(now);
        self.failure = None;
    }

    /// A poll ended without an answer, as polls do when nothing happened.
    pub fn poll_ended(&mut self) {
        self.poll_opened = None;
    }

    /// Whether the last sign of life is a hold ago.
    pub fn is_doubtful(&self, now: Duration) -> bool {
        self.poll_answered
            .is_none_or(|answered| now.saturating_sub(answered) >= self.hold)
    }

    /// A poll failed; the reason tells how, and what to do.
    pub fn poll_failed(&mut self, now: Duration, reason: String, is_login: bool) {
        let after = self
            .poll_opened
            .take()
            .map_or(Duration::ZERO, |opened| now.saturating_sub(opened));
        let since = match &self.failure {
            Some(failure) if failure.is_login == is_login => failure.since,
            _ => now,
        };
        self.failure = Some(PollFailure {
            reason,
            is_login,
            since,
            after,
        });
    }

    /// Since when the credential has been refused.
    pub fn login_required_since(&self) -> Option<Duration> {
        self.failure
            .as_ref()
            .filter(|failure| failure.is_login)
            .map(|failure| failure.since)
    }

    /// The phase, since when it is that, and why.
    pub fn check(&mut self, now: Duration) -> (Phase, Duration, Option<String>) {
        let (phase, reason) = self.phase(now);
        let since = match self.shown {
            Some((shown, since)) if shown == phase => since,
            _ => now,
        };
        self.shown = Some((phase, since));
        (phase, since, reason)
    }

    fn phase(&self, now: Duration) -> (Phase, Option<String>) {
        if self.is_stopped {
            return (Phase::Stopped, None);
        }
        if let Some(reason) = &self.draining {
            return (Phase::Draining, Some(reason.clone()));
        }
        let within = |at: Duration, span: Duration| now.saturating_sub(at) <= span;
        // A poll that is open for longer than the one before it took to fail has got over that.
        let after = self
            .failure
            .as_ref()
            .map_or(Duration::ZERO, |failure| failure.after);
        let is_open = self.poll_opened.is_some_and(|opened| {
            self.start_accepted
                && now.saturating_sub(opened) >= OPEN_LONG_ENOUGH + after
                && within(opened, self.hold * 2)
        });
        if let Some(failure) = &self.failure
            && (failure.is_login || !is_open)
        {
            let phase = if failure.is_login {
                Phase::LoginRequired
            } else {
                Phase::Degraded
            };
            return (phase, Some(failure.reason.clone()));
        }
        if self.is_paused {
            let reason = "too many unacknowledged messages: no more are taken until the agent has \
                          dealt with half of them";
            return (Phase::Paused, Some(reason.to_owned()));
        }
        match self.poll_answered {
            Some(answered) if within(answered, self.hold * 2) => (Phase::Connected, None),
            _ if is_open => (Phase::Connected, None),
            Some(answered) => (
                Phase::Degraded,
                Some(format!(
                    "no poll was answered for {} s",
                    now.saturating_sub(answered).as_secs()
                )),
            ),
            None => (Phase::Starting, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(35);

    fn health() -> Health {
        Health::new(HOLD)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_connects_for_two_holds() {
        let mut health = health();
        assert_eq!(health.check(seconds(1)).0, Phase::Starting);
        health.poll_answered(seconds(2));
        assert_eq!(
            health.check(seconds(2)),
            (Phase::Connected, seconds(2), None)
        );
        assert_eq!(health.check(seconds(72)).0, Phase::Connected);
        assert_eq!(health.check(seconds(73)).0, Phase::Degraded);
    }

    #[test]
    fn an_open_poll_connects_after_a_second_when_the_start_was_accepted() {
        let mut health = health();
        health.poll_opened(seconds(10));
        assert_eq!(health.check(seconds(20)).0, Phase::Starting);
        health.start_accepted = true;
        health.poll_opened(seconds(30));
        assert_eq!(
            health.check(Duration::from_millis(30_999)).0,
            Phase::Starting
        );
        assert_eq!(health.check(seconds(31)).0, Phase::Connected);
    }

    #[test]
    fn a_failure_degrades_until_a_poll_is_answered() {
        let mut health = health();
        health.poll_answered(seconds(1));
        health.poll_failed(seconds(2), "HTTP 502".into(), false);
        health.poll_failed(seconds(4), "HTTP 503".into(), false);
        assert_eq!(
            health.check(seconds(5)),
            (Phase::Degraded, seconds(5), Some("HTTP 503".into()))
        );
        health.poll_failed(seconds(6), "expired".into(), true);
        assert_eq!(health.check(seconds(7)).0, Phase::LoginRequired);
        assert_eq!(health.login_required_since(), Some(seconds(6)));
        health.poll_answered(seconds(8));
        assert_eq!(health.check(seconds(8)).0, Phase::Connected);
    }

    #[test]
    fn an_open_poll_gets_over_a_failure_that_came_sooner() {
        let mut health = health();
        health.start_accepted = true;
        health.poll_opened(seconds(10));
        health.poll_failed(seconds(10), "refused".into(), false);
        health.poll_opened(seconds(12));
        assert_eq!(health.check(seconds(12)).0, Phase::Degraded);
        assert_eq!(health.check(seconds(13)).0, Phase::Connected);
        // An edge that cuts each poll after 16 s is no connection after one second.
        health.poll_failed(seconds(28), "HTTP 524".into(), false);
        health.poll_opened(seconds(30));
        assert_eq!(health.check(seconds(46)).0, Phase::Degraded);
        assert_eq!(health.check(seconds(47)).0, Phase::Connected);
    }

    #[test]
    fn a_sign_of_life_is_doubted_after_a_hold() {
        let mut health = health();
        assert!(health.is_doubtful(seconds(1)));
        health.poll_answered(seconds(2));
        health.poll_ended();
        assert!(!health.is_doubtful(seconds(36)) && health.is_doubtful(seconds(37)));
    }

    #[test]
    fn since_is_when_the_phase_was_first_seen() {
        let mut health = health();
        health.poll_answered(seconds(3));
        health.check(seconds(3));
        health.poll_answered(seconds(30));
        assert_eq!(health.check(seconds(31)).1, seconds(3));
    }
}
