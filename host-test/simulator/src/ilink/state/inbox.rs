//! The messages to a bot. A poll reads them, and nothing takes them away but age.

use std::collections::VecDeque;

use serde_json::Value;

/// The messages to a bot, each written out once, by position. The oldest make room.
#[derive(Default)]
pub(crate) struct Inbox {
    messages: VecDeque<Box<str>>,
    /// The position of the oldest that is kept.
    first: u64,
    /// The position after the newest that was ever delivered.
    pub(crate) delivered: u64,
    /// The position of the newest cursor that came back.
    pub(crate) acknowledged: u64,
}

impl Inbox {
    const LIMIT: usize = 100_000;

    pub(crate) fn append(&mut self, message: &Value) {
        if self.messages.len() == Self::LIMIT {
            self.messages.pop_front();
            self.first += 1;
        }
        self.messages.push_back(message.to_string().into());
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The position that the next message gets.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// The messages from this position on; all of them when it is older than the oldest.
    pub(crate) fn from(&self, position: u64) -> impl ExactSizeIterator<Item = &str> {
        let skip = position
            .saturating_sub(self.first)
            .min(self.messages.len() as u64);
        self.messages
            .range(skip as usize..)
            .map(|message| &**message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_forgets_only_its_oldest() {
        let mut inbox = Inbox::default();
        for number in 0..Inbox::LIMIT + 5 {
            inbox.append(&number.into());
        }
        assert_eq!((inbox.first(), inbox.end()), (5, Inbox::LIMIT as u64 + 5));
        assert_eq!(inbox.from(0).next(), Some("5"));
        assert_eq!(inbox.from(7).next(), Some("7"));
        assert_eq!(inbox.from(u64::MAX).len(), 0);
    }
}
