//! Opaque values that the server gives out and later recognises: context tokens, typing tickets
//! and cursors.
//!
//! A stamp carries what it was made for, so that no table of issued values has to be kept and
//! checking one costs the same after a million messages. One from another start or from another
//! server does not open.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;

/// What a stamp was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) kind: Kind,
    /// The bot account, as [`mark`].
    pub(crate) account: u64,
    /// The person, as [`mark`]; 0 for cursors.
    pub(crate) user: u64,
    /// A context token's number at this person, a ticket's time of issue in milliseconds, a
    /// cursor's position.
    pub(crate) number: u64,
}

/// The use of a stamp; one kind never passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Context,
    Ticket,
    Cursor,
}

const HEAD: usize = 8 + 1 + 8 + 8 + 8;

impl Stamp {
    /// Base64 of the stamp; a context token gets the 136 characters of real ones.
    pub(crate) fn seal(self, start: u64) -> String {
        let mut bytes = [0; 102];
        let length = if self.kind == Kind::Context {
            bytes.len()
        } else {
            HEAD + 6
        };
        let bytes = &mut bytes[..length];
        rand::rng().fill_bytes(bytes);
        bytes[..8].copy_from_slice(&start.to_be_bytes());
        bytes[8] = self.kind as u8;
        bytes[9..17].copy_from_slice(&self.account.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.user.to_be_bytes());
        bytes[25..33].copy_from_slice(&self.number.to_be_bytes());
        STANDARD.encode(bytes)
    }

    /// The stamp in `text`, if it is of this kind and from this start.
    pub(crate) fn open(kind: Kind, start: u64, text: &str) -> Option<Stamp> {
        let bytes = STANDARD.decode(text).ok()?;
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_be_bytes(bytes))
        };
        if number(0)? != start || *bytes.get(8)? != kind as u8 {
            return None;
        }
        Some(Stamp {
            kind,
            account: number(9)?,
            user: number(17)?,
            number: number(25)?,
        })
    }
}

/// A fixed-size mark of an account or a person.
pub(crate) fn mark(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_opens_only_as_its_kind_and_in_its_start() {
        let stamp = Stamp {
            kind: Kind::Context,
            account: mark("a"),
            user: mark("b"),
            number: 7,
        };
        let sealed = stamp.seal(1);
        assert_eq!(sealed.len(), 136);
        assert_eq!(Stamp::open(Kind::Context, 1, &sealed), Some(stamp));
        assert_eq!(Stamp::open(Kind::Context, 2, &sealed), None);
        assert_eq!(Stamp::open(Kind::Ticket, 1, &sealed), None);
        for hostile in ["", "=", "AAAA", "你好", &sealed[..40]] {
            assert_eq!(Stamp::open(Kind::Context, 1, hostile), None);
        }
    }
}
