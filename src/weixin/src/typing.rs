//! Tickets for the typing indicator, one for each person.
//!
//! A ticket is renewed at a random moment within a day, as the official client does it. After a failure
//! the next request waits for 2 s, doubling to an hour, and the stale ticket is used meanwhile. Tickets
//! are kept in memory only, because a lost one costs one request. Times are on one monotonic clock.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_channel_sdk::backoff::Backoff;

const LIFETIME: Duration = Duration::from_secs(24 * 3600);
const MAX_PEOPLE: usize = 256;

/// The tickets of an account.
#[derive(Debug, Default)]
pub struct Tickets {
    people: BTreeMap<String, Ticket>,
}

#[derive(Debug)]
struct Ticket {
    value: Option<String>,
    ask_at: Duration,
    failures: Backoff,
}

impl Tickets {
    /// Whether a new ticket should be asked for.
    pub fn is_due(&self, now: Duration, user: &str) -> bool {
        self.people
            .get(user)
            .is_none_or(|ticket| now >= ticket.ask_at)
    }

    /// The ticket in hand; none when the platform gave none.
    pub fn ticket(&self, user: &str) -> Option<&str> {
        self.people.get(user)?.value.as_deref()
    }

    /// Takes in the platform's ticket; none turns the indicator off for this person.
    pub fn granted(&mut self, now: Duration, random: u64, user: &str, value: Option<String>) {
        let share = u32::try_from(random % 1000).unwrap_or(0);
        let ticket = self.entry(user);
        ticket.value = value;
        ticket.ask_at = now + LIFETIME / 1000 * share;
        ticket.failures.reset();
    }

    /// The platform did not answer well.
    pub fn failed(&mut self, now: Duration, random: u64, user: &str) {
        let ticket = self.entry(user);
        ticket.ask_at = now + ticket.failures.fail(random);
    }

    /// The platform does not take this ticket any more.
    pub fn refused(&mut self, user: &str) {
        self.people.remove(user);
    }

    fn entry(&mut self, user: &str) -> &mut Ticket {
        if self.people.len() >= MAX_PEOPLE && !self.people.contains_key(user) {
            self.people.pop_first();
        }
        self.people
            .entry(user.to_owned())
            .or_insert_with(|| Ticket {
                value: None,
                ask_at: Duration::ZERO,
                failures: Backoff::new(Duration::from_secs(2), Duration::from_secs(3600)),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn a_ticket_is_used_until_it_is_due() {
        let mut tickets = Tickets::default();
        assert!(tickets.is_due(START, "alice"));
        tickets.granted(START, 500, "alice", Some("t".into()));
        assert!(!tickets.is_due(START + LIFETIME / 3, "alice"));
        assert!(tickets.is_due(START + LIFETIME / 2, "alice"));
        assert_eq!(tickets.ticket("alice"), Some("t"));
        assert_eq!(tickets.ticket("bob"), None);
    }

    #[test]
    fn a_failure_keeps_the_stale_ticket_and_waits() {
        let mut tickets = Tickets::default();
        tickets.granted(START, 0, "alice", Some("t".into()));
        assert!(tickets.is_due(START, "alice"));
        tickets.failed(START, 0, "alice");
        assert!(!tickets.is_due(START + Duration::from_secs(1), "alice"));
        assert!(tickets.is_due(START + Duration::from_secs(2), "alice"));
        assert_eq!(tickets.ticket("alice"), Some("t"));
        tickets.refused("alice");
        assert!(tickets.is_due(START, "alice"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut tickets = Tickets::default();
        for user in 0..1000 {
            tickets.granted(START, 1, &user.to_string(), None);
        }
        assert!(tickets.people.len() <= MAX_PEOPLE);
    }
}
