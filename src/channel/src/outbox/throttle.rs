//! What holds up the sends of an account: the platform can't be reached, refuses the credential, or wants
//! fewer messages.
//!
//! The throttle promises:
//! - While the platform wants fewer messages, there is one probe at a time, at growing pauses.
//! - One refusal without a reason holds up its own conversation and no other.
//! - A conversation that is refused while others are served is not mistaken for a throttle.

use std::collections::HashMap;
use std::time::Duration;

use crate::backoff::Backoff;

/// Pauses while the platform wants fewer messages. Measured throttles last from 30 s to an hour, and each
/// attempt may prolong them.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Longest pause that a platform may ask for.
const LONGEST_WANTED: Duration = Duration::from_secs(3600);
/// Conversations whose refusals are remembered at most.
const MAX_SUSPECTS: usize = 1024;

/// Why the platform declined a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Not known yet. The conversation waits until then.
    Unclear(Duration),
    /// The platform wants fewer messages of the account.
    Throttle,
    /// The platform accepts messages for others, and none for this conversation.
    ClosedPeer,
}

/// The state of the throttle. All times are on one monotonic clock.
#[derive(Debug)]
pub struct Throttle {
    unreachable_pauses: Backoff,
    unreachable_until: Option<Duration>,
    needs_login: bool,
    decline_pauses: Backoff,
    throttled_until: Option<Duration>,
    /// Until when the platform asked to be left alone.
    wanted_until: Duration,
    last_decline: Duration,
    /// Refusals without a reason since the last accepted message.
    in_a_row: u32,
    /// How many messages were accepted.
    accepted: u64,
    suspects: HashMap<String, Suspect>,
}

/// A conversation that was refused without a reason.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    /// [`Throttle::accepted`] at that time.
    accepted: u64,
    /// The conversation is not tried before this time.
    until: Duration,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle {
            unreachable_pauses: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            unreachable_until: None,
            needs_login: false,
            decline_pauses: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            throttled_until: None,
            wanted_until: Duration::ZERO,
            last_decline: Duration::ZERO,
            in_a_row: 0,
            accepted: 0,
            suspects: HashMap::new(),
        }
    }
}

impl Throttle {
    /// When the next request may start; [`Duration::MAX`] when a login has to come first.
    pub fn ready_at(&self, now: Duration) -> Duration {
        if self.needs_login {
            return Duration::MAX;
        }
        let until = self.unreachable_until.max(self.throttled_until);
        until.unwrap_or(now).max(now)
    }

    /// Whether the platform wants fewer messages. Then one request at a time probes it.
    pub fn is_throttled(&self) -> bool {
        self.throttled_until.is_some()
    }

    /// Whether the platform takes nothing of the account now.
    pub fn holds_account(&self) -> bool {
        self.is_throttled() || self.needs_login
    }

    /// Whether the platform takes nothing now, of the account or for this conversation.
    pub fn holds(&self, conversation: &str) -> bool {
        self.holds_account() || self.suspects.contains_key(conversation)
    }

    /// Until when this conversation alone waits after a refusal.
    pub fn delay(&self, now: Duration, conversation: &str) -> Option<Duration> {
        let until = self.suspects.get(conversation)?.until;
        (until > now).then_some(until)
    }

    /// How long this conversation still has to wait because of refusals. When the pause is over, the
    /// next message is the probe.
    pub fn retry_after(&self, now: Duration, conversation: &str) -> Option<Duration> {
        let until = self.throttled_until.max(self.delay(now, conversation))?;
        let left = until.checked_sub(now).filter(|left| !left.is_zero())?;
        Some(left.max(Duration::from_secs(1)))
    }

    /// The platform accepted a message. The pause that it asked for stays: the message may have been on
    /// its way before.
    pub fn accepted(&mut self, now: Duration, conversation: &str) {
        self.answered();
        self.decline_pauses.reset();
        self.throttled_until = Some(self.wanted_until).filter(|until| *until > now);
        self.in_a_row = 0;
        self.accepted += 1;
        self.suspects.remove(conversation);
    }

    /// The platform answered: it can be reached.
    pub fn answered(&mut self) {
        self.unreachable_pauses.reset();
        self.unreachable_until = None;
    }

    /// The platform can't be reached.
    pub fn unreachable(&mut self, now: Duration, random: u64) {
        self.unreachable_until = Some(now + self.unreachable_pauses.fail(random));
    }

    /// The platform refuses the credential: everything waits for [`Throttle::resume`].
    pub fn needs_login(&mut self) {
        self.needs_login = true;
    }

    /// The platform takes the credential again. A throttle stays.
    pub fn resume(&mut self) {
        self.needs_login = false;
        self.answered();
    }

    /// The platform declined a message. With `is_throttle` it named the rate as the reason, and `pause`
    /// is how long it wants to be left alone, where it said so.
    pub fn declined(
        &mut self,
        now: Duration,
        random: u64,
        conversation: &str,
        is_throttle: bool,
        pause: Option<Duration>,
    ) -> Cause {
        self.answered();
        let before = self.suspects.get(conversation).copied();
        if !is_throttle && before.is_some_and(|before| self.accepted > before.accepted) {
            self.suspects.remove(conversation);
            return Cause::ClosedPeer;
        }
        self.last_decline = now;
        if self.suspects.len() >= MAX_SUSPECTS {
            self.suspects.clear();
        }
        let wanted = pause.unwrap_or_default().min(LONGEST_WANTED);
        let suspect = Suspect {
            accepted: before.map_or(self.accepted, |before| before.accepted),
            until: now + FIRST_PAUSE.max(wanted),
        };
        self.suspects.insert(conversation.to_owned(), suspect);
        self.in_a_row = self.in_a_row.saturating_add(1);
        if !is_throttle && self.in_a_row == 1 {
            return Cause::Unclear(suspect.until);
        }
        self.wanted_until = self.wanted_until.max(now + wanted);
        let until = now + self.decline_pauses.fail(random);
        self.throttled_until = Some(until.max(self.wanted_until));
        Cause::Throttle
    }

    /// The peer wrote. Earlier refusals for it mean nothing any more, and the next probe comes as
    /// soon as the platform wants it.
    pub fn heard(&mut self, conversation: &str) {
        self.suspects.remove(conversation);
        let soon = (self.last_decline + FIRST_PAUSE).max(self.wanted_until);
        self.throttled_until = self.throttled_until.map(|until| until.min(soon));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_opaque_refusal_holds_up_its_conversation_alone() {
        let mut throttle = Throttle::default();
        let cause = throttle.declined(SECOND, 0, "alice", false, None);
        assert_eq!(cause, Cause::Unclear(SECOND + FIRST_PAUSE));
        assert_eq!(throttle.ready_at(SECOND), SECOND);
        assert!(throttle.holds("alice") && !throttle.holds("bob"));
        throttle.accepted(SECOND, "alice");
        assert!(!throttle.holds("alice"));
    }

    #[test]
    fn a_second_one_in_a_row_is_a_throttle_that_grows_to_its_cap() {
        let mut throttle = Throttle::default();
        throttle.declined(SECOND, 0, "alice", false, None);
        let mut now = SECOND;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(
                throttle.declined(now, 0, "alice", false, None),
                Cause::Throttle
            );
            pauses.push((throttle.ready_at(now) - now).as_secs());
            now = throttle.ready_at(now);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert!(throttle.holds("bob"));
        throttle.accepted(now, "bob");
        assert!(!throttle.holds("bob") && throttle.holds("alice"));
        assert_eq!(throttle.ready_at(now), now);
    }

    #[test]
    fn a_named_throttle_counts_at_once() {
        let mut throttle = Throttle::default();
        assert_eq!(
            throttle.declined(SECOND, 0, "alice", true, None),
            Cause::Throttle
        );
        assert_eq!(throttle.retry_after(SECOND, "bob"), Some(FIRST_PAUSE));
        // After the pause somebody has to try.
        assert_eq!(throttle.retry_after(SECOND + FIRST_PAUSE, "bob"), None);
    }

    #[test]
    fn a_pause_that_the_platform_asks_for_is_kept() {
        for (wanted, expected) in [(2, 5), (60, 60), (100_000, 3600)] {
            let mut throttle = Throttle::default();
            let wanted = Some(SECOND * wanted);
            throttle.declined(SECOND, 0, "alice", true, wanted);
            throttle.heard("bob");
            assert_eq!(throttle.ready_at(SECOND), SECOND + SECOND * expected);
        }
    }

    #[test]
    fn neither_a_refusal_nor_a_success_shortens_the_pause_that_the_platform_asks_for() {
        let mut throttle = Throttle::default();
        throttle.declined(SECOND, 0, "alice", true, Some(SECOND * 60));
        throttle.declined(SECOND * 2, 0, "bob", true, None);
        throttle.accepted(SECOND * 3, "carol");
        throttle.heard("carol");
        assert!(throttle.is_throttled());
        assert_eq!(throttle.ready_at(SECOND * 3), SECOND * 61);
        throttle.accepted(SECOND * 61, "carol");
        assert!(!throttle.is_throttled());
    }

    #[test]
    fn a_pause_that_an_opaque_refusal_names_holds_up_its_conversation_alone() {
        let mut throttle = Throttle::default();
        let cause = throttle.declined(SECOND, 0, "alice", false, Some(SECOND * 60));
        assert_eq!(cause, Cause::Unclear(SECOND * 61));
        assert_eq!(throttle.delay(SECOND, "alice"), Some(SECOND * 61));
        assert_eq!(throttle.ready_at(SECOND), SECOND);
    }

    #[test]
    fn who_is_refused_while_others_are_served_is_closed() {
        let mut throttle = Throttle::default();
        throttle.declined(SECOND, 0, "alice", false, None);
        throttle.accepted(SECOND, "bob");
        assert_eq!(
            throttle.declined(SECOND * 6, 0, "alice", false, None),
            Cause::ClosedPeer
        );
        assert!(!throttle.is_throttled());
        // After a message it starts over.
        throttle.heard("alice");
        assert!(matches!(
            throttle.declined(SECOND * 7, 0, "alice", false, None),
            Cause::Unclear(_)
        ));
    }

    #[test]
    fn a_message_brings_the_next_probe_forward_but_not_into_a_storm() {
        let mut throttle = Throttle::default();
        for _ in 0..6 {
            throttle.declined(SECOND, 0, "alice", true, None);
        }
        assert!(throttle.ready_at(SECOND) > SECOND * 100);
        for _ in 0..100 {
            throttle.heard("bob");
        }
        assert_eq!(throttle.ready_at(SECOND), SECOND + FIRST_PAUSE);
    }

    #[test]
    fn a_login_resumes_and_a_throttle_stays() {
        let mut throttle = Throttle::default();
        throttle.needs_login();
        assert_eq!(throttle.ready_at(SECOND), Duration::MAX);
        throttle.declined(SECOND, 0, "alice", true, None);
        throttle.unreachable(SECOND, 0);
        throttle.resume();
        assert!(throttle.is_throttled());
        assert_eq!(throttle.ready_at(SECOND), SECOND + FIRST_PAUSE);
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        for number in 0..10_000 {
            throttle.declined(SECOND, 0, &number.to_string(), true, None);
        }
        assert!(throttle.suspects.len() <= MAX_SUSPECTS);
    }
}
