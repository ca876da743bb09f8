//! Answers in the exchange of their callback: which exchanges are held open for one, and what may go
//! out so.
//!
//! Promises: an exchange is given away once, to the answer or to its end, whichever comes first; what
//! went out in one does not go out again from this instance; what is held and remembered is bounded.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::MAX_TEXT_BYTES;
use gateway_channel_sdk::platform::{Part, PartContent};
use gateway_channel_sdk::settings::Markdown;

/// How long an exchange is held open. The platform waits for five seconds, the way included.
pub const HOLD: Duration = Duration::from_millis(4500);
/// Exchanges that are held at once: there has to be room for callbacks beside them.
pub const MAX_HELD: usize = 32;
/// Parts that are remembered to have gone out so.
const MAX_GIVEN: usize = 256;

/// The exchanges that are held open, each an `E`, by their event's id.
#[derive(Debug)]
pub struct Exchanges<E> {
    held: BTreeMap<String, E>,
    /// Ids of parts, in order.
    given: VecDeque<String>,
}

impl<E> Default for Exchanges<E> {
    fn default() -> Exchanges<E> {
        Exchanges {
            held: BTreeMap::new(),
            given: VecDeque::new(),
        }
    }
}

impl<E> Exchanges<E> {
    /// Holds the exchange of an event; false where it has to be answered now.
    pub fn hold(&mut self, event: &str, exchange: E) -> bool {
        if self.held.len() >= MAX_HELD || self.held.contains_key(event) {
            return false;
        }
        self.held.insert(event.to_owned(), exchange);
        true
    }

    /// The exchange of an event, which is held no more.
    pub fn take(&mut self, event: &str) -> Option<E> {
        self.held.remove(event)
    }

    /// A part is given to its exchange.
    pub fn give(&mut self, part: &str) {
        if self.given.len() >= MAX_GIVEN {
            self.given.pop_front();
        }
        self.given.push_back(part.to_owned());
    }

    /// The exchange did not take it.
    pub fn not_given(&mut self, part: &str) {
        self.given.retain(|other| other != part);
    }

    /// Whether a part went out in its exchange, although what became of it could not be stored.
    pub fn is_given(&self, part: &str) -> bool {
        self.given.iter().any(|other| other == part)
    }
}

/// What an exchange may carry of a part: a plain text that the platform would not cut, and that did
/// not go out otherwise before.
pub fn text<'a>(part: &Part<'a>) -> Option<&'a str> {
    match (part.content, part.markdown) {
        (PartContent::Text(text), Markdown::Plain) => {
            let fits = !text.trim().is_empty() && text.len() <= MAX_TEXT_BYTES;
            (fits && !part.is_again).then_some(text)
        }
        (PartContent::Text(_), Markdown::Native) | (PartContent::Media(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_given_away_once() {
        let mut exchanges = Exchanges::default();
        assert!(exchanges.hold("1", "one"));
        assert!(!exchanges.hold("1", "again"));
        assert_eq!(exchanges.take("1"), Some("one"));
        assert_eq!(exchanges.take("1"), None);
        assert!(exchanges.hold("1", "later"));
    }

    #[test]
    fn beyond_the_bound_none_is_held() {
        let mut exchanges = Exchanges::default();
        for event in 0..MAX_HELD {
            assert!(exchanges.hold(&event.to_string(), event));
        }
        assert!(!exchanges.hold("more", 0));
        assert_eq!(exchanges.take("7"), Some(7));
        assert!(exchanges.hold("more", 0));
    }

    #[test]
    fn what_was_given_is_known_until_it_was_not_taken() {
        let mut exchanges = Exchanges::<()>::default();
        exchanges.give("a");
        exchanges.give("b");
        exchanges.not_given("a");
        assert!(!exchanges.is_given("a") && exchanges.is_given("b"));
        for part in 0..MAX_GIVEN {
            exchanges.give(&part.to_string());
        }
        assert!(!exchanges.is_given("b") && exchanges.is_given("0"));
        assert_eq!(exchanges.given.len(), MAX_GIVEN);
    }

    #[test]
    fn only_a_plain_text_that_fits_goes_out_so() {
        let part = |markdown, content, is_again| Part {
            conversation: "alice",
            content,
            markdown,
            answers: Some("1"),
            client_id: "wecom:1-1",
            is_again,
            reply_token: None,
        };
        let longest = "x".repeat(MAX_TEXT_BYTES);
        let carried = part(Markdown::Plain, PartContent::Text(&longest), false);
        assert_eq!(text(&carried).map(str::len), Some(MAX_TEXT_BYTES));
        let longer = "x".repeat(MAX_TEXT_BYTES + 1);
        for (markdown, content, is_again) in [
            (Markdown::Plain, PartContent::Text(&longer), false),
            (Markdown::Plain, PartContent::Text(" \n"), false),
            (Markdown::Plain, PartContent::Text("x"), true),
            (Markdown::Native, PartContent::Text("x"), false),
            (Markdown::Plain, PartContent::Media("handle"), false),
        ] {
            assert_eq!(
                text(&part(markdown, content, is_again)),
                None,
                "{content:?}"
            );
        }
    }
}
