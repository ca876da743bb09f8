//! What is known of each peer: the newest context token, when the peer last wrote, and what was sent
//! since.
//!
//! Only peers that are in use are in memory; the store has them all. The count of sends limits
//! what is tried, and proves nothing: the platform's answer decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Moment;
use super::message::Message;
use super::outbox::Count;
use super::store::{PEER, Write, to_json};

/// Peers that may be in memory without being written; more are let go.
const CACHED: usize = 64;

/// What is stored of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Peer {
    /// What an answer has to carry, of the newest message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_token: Option<String>,
    /// When the peer last wrote, in milliseconds since the Unix epoch by the platform's clock; zero when
    /// it never did.
    #[serde(default)]
    pub last_message_ms: u64,
    /// When that was received, by our own clock; zero where that is not known.
    #[serde(default)]
    pub heard_ms: u64,
    /// What was accepted for the peer since then.
    #[serde(default)]
    pub sent: u32,
    /// The platform refuses everything until the peer writes again.
    #[serde(default)]
    pub is_closed: bool,
}

/// What a platform accepts of a bot between two messages of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Messages; zero is any number.
    pub sends: u32,
    /// Milliseconds after the peer's message; zero is for ever.
    pub window_ms: u64,
}

impl Allowance {
    /// Sends that are kept for answers: the last three of ten.
    pub fn reserve(self) -> u32 {
        (self.sends / 3).clamp(1, 3)
    }
}

impl Peer {
    /// Sends that are left; none where there is no limit.
    pub fn left(&self, allowance: Allowance) -> Option<u32> {
        (allowance.sends > 0).then(|| allowance.sends.saturating_sub(self.sent))
    }

    /// Whether so much time has passed since the peer wrote that nothing is accepted any more. Of a
    /// peer that never wrote nothing is known.
    ///
    /// A span is taken from one clock: ours, from the receipt, and the platform's, from the sending. Either
    /// may have been set meanwhile, so both have to say so; the platform's own word comes after that.
    pub fn is_silent(&self, now: Moment, allowance: Allowance) -> bool {
        let is_over =
            |now_ms: u64, since_ms: u64| now_ms.saturating_sub(since_ms) >= allowance.window_ms;
        let heard_ms = match self.heard_ms {
            0 => self.last_message_ms,
            heard_ms => heard_ms,
        };
        let by_platform = now.platform_ms;
        self.last_message_ms > 0
            && allowance.window_ms > 0
            && is_over(now.own_ms, heard_ms)
            && by_platform.is_none_or(|now_ms| is_over(now_ms, self.last_message_ms))
    }

    /// Whether a refusal of the platform is what this peer's silence or its share explains.
    pub fn explains_refusal(&self, now: Moment, allowance: Allowance) -> bool {
        self.last_message_ms == 0
            || self.left(allowance) == Some(0)
            || self.is_silent(now, allowance)
    }
}

/// What a message tells of its peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The conversation's id.
    pub peer: String,
    /// What an answer has to carry.
    pub reply_token: Option<String>,
    /// When it was sent, in milliseconds since the Unix epoch by the platform's clock.
    pub sent_at_ms: u64,
    /// When it was received, by our own; zero where that is not known.
    pub received_ms: u64,
}

impl From<&Message> for Heard {
    fn from(message: &Message) -> Heard {
        Heard {
            peer: message.conversation.id.clone(),
            reply_token: message.reply_token.clone(),
            sent_at_ms: message.sent_at_ms,
            received_ms: message.received_ms,
        }
    }
}

/// A cache of peers.
#[derive(Debug, Default)]
pub struct Peers {
    known: BTreeMap<String, (Peer, Written)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Yes,
    No,
}

/// The key of a peer.
pub fn key(id: &str) -> String {
    format!("{PEER}{id}")
}

impl Peers {
    /// What is in memory of a peer; if nothing is, read its [`key`] and [`Peers::load`] it.
    pub fn peer(&self, id: &str) -> Option<&Peer> {
        self.known.get(id).map(|(peer, _)| peer)
    }

    /// Takes in what the store has of a peer. What is in memory already is newer.
    pub fn load(&mut self, id: &str, value: Option<&[u8]>) {
        if self.known.contains_key(id) {
            return;
        }
        let peer = value
            .and_then(|value| serde_json::from_slice(value).ok())
            .unwrap_or_default();
        self.known.insert(id.to_owned(), (peer, Written::Yes));
    }

    /// Lets go of peers that the store has, when there are too many. Not between loading a peer and
    /// hearing of it.
    pub fn shrink(&mut self) {
        let mut excess = self.known.len().saturating_sub(CACHED);
        self.known.retain(|_, (_, written)| {
            let goes = excess > 0 && *written == Written::Yes;
            excess -= usize::from(goes);
            !goes
        });
    }

    /// Takes in what a message tells. The token of the newest message wins; one without a token
    /// leaves the one before. A newer message opens the peer again. The peer has to be loaded.
    pub fn heard(&mut self, heard: Heard) {
        let (peer, written) = self
            .known
            .entry(heard.peer)
            .or_insert((Peer::default(), Written::No));
        let is_newest = heard.sent_at_ms == 0 || heard.sent_at_ms >= peer.last_message_ms;
        if is_newest && heard.reply_token.is_some() {
            peer.reply_token = heard.reply_token;
        }
        // A repeat of what is stored, as after a restart, opens nothing.
        if heard.sent_at_ms == 0 || heard.sent_at_ms > peer.last_message_ms {
            peer.sent = 0;
            peer.is_closed = false;
            peer.heard_ms = heard.received_ms;
        }
        peer.last_message_ms = peer.last_message_ms.max(heard.sent_at_ms);
        *written = Written::No;
    }

    /// Counts a message that the platform accepted for a peer in memory.
    pub fn sent(&mut self, id: &str) {
        self.change(id, |peer| peer.sent = peer.sent.saturating_add(1));
    }

    /// Takes in what a stored post tells of the sends to a peer in memory.
    pub fn counted(&mut self, id: &str, count: Count) {
        self.change(id, |peer| {
            if peer.last_message_ms == count.since_ms {
                peer.sent = peer.sent.max(count.sent);
            }
        });
    }

    /// The platform refuses everything to a peer in memory until it writes again.
    pub fn close(&mut self, id: &str) {
        self.change(id, |peer| peer.is_closed = true);
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Peer)) {
        if let Some((peer, written)) = self.known.get_mut(id) {
            change(peer);
            *written = Written::No;
        }
    }

    /// What has to be written before the messages that it came from are removed.
    pub fn flush(&mut self) -> Vec<Write> {
        self.known
            .iter_mut()
            .filter(|(_, (_, written))| *written == Written::No)
            .map(|(id, (peer, written))| {
                *written = Written::Yes;
                Write::set(key(id), to_json(peer))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(peer: &str, token: Option<&str>, sent_at_ms: u64) -> Heard {
        Heard {
            peer: peer.into(),
            reply_token: token.map(str::to_owned),
            sent_at_ms,
            received_ms: sent_at_ms,
        }
    }

    #[test]
    fn the_newest_token_wins_and_none_keeps_the_one_before() {
        let mut peers = Peers::default();
        peers.heard(heard("alice", Some("one"), 1));
        peers.heard(heard("bob", Some("other"), 1));
        peers.heard(heard("alice", Some("two"), 3));
        peers.heard(heard("alice", None, 2));
        let alice = peers.peer("alice").unwrap();
        assert_eq!(alice.reply_token.as_deref(), Some("two"));
        assert_eq!(alice.last_message_ms, 3);
    }

    #[test]
    fn what_was_written_is_read_back_and_not_written_twice() {
        let mut peers = Peers::default();
        peers.heard(heard("alice", Some("one"), 1));
        let writes = peers.flush();
        assert_eq!(writes.len(), 1);
        assert!(peers.flush().is_empty());

        let mut again = Peers::default();
        again.load("alice", writes[0].value.as_deref());
        assert_eq!(again.peer("alice"), peers.peer("alice"));
    }

    #[test]
    fn memory_is_bounded_by_what_is_unwritten() {
        let mut peers = Peers::default();
        for id in 0..1000 {
            peers.load(&id.to_string(), None);
        }
        peers.heard(heard("7", Some("token"), 1));
        peers.shrink();
        assert_eq!(peers.known.len(), CACHED);
        assert!(peers.peer("7").is_some());
    }

    #[test]
    fn sends_are_counted_until_a_newer_message() {
        let allowance = Allowance {
            sends: 2,
            window_ms: 1000,
        };
        let mut peers = Peers::default();
        peers.heard(heard("alice", None, 5));
        peers.sent("alice");
        peers.sent("alice");
        peers.close("alice");
        peers.sent("nobody");
        let alice = peers.peer("alice").unwrap().clone();
        assert_eq!(alice.left(allowance), Some(0));
        assert!(alice.is_closed && alice.explains_refusal(by_own(5), allowance));
        peers.heard(heard("alice", None, 5));
        assert_eq!(peers.peer("alice"), Some(&alice));
        peers.heard(heard("alice", None, 6));
        let old = Count {
            since_ms: 5,
            sent: 2,
        };
        peers.counted("alice", old);
        let alice = peers.peer("alice").unwrap();
        assert_eq!(alice.left(allowance), Some(2));
        assert!(!alice.is_closed && !alice.explains_refusal(by_own(1005), allowance));
        assert!(alice.is_silent(by_own(1006), allowance));
        assert_eq!(peers.peer("nobody"), None);
    }

    fn by_own(own_ms: u64) -> Moment {
        Moment {
            own_ms,
            platform_ms: None,
        }
    }

    #[test]
    fn silence_is_a_span_of_one_clock_whichever_is_set() {
        const DAY: i64 = 24 * 3_600_000;
        const SENT: i64 = 1_795_000_000_000;
        let allowance = Allowance {
            sends: 10,
            window_ms: DAY as u64,
        };
        // How far ours is ahead when it is received and when it is asked, how long after, and whether the
        // platform's time is known.
        for (received, asked, after, knows_platform, expect) in [
            (0, 0, DAY - 1, false, false),
            (0, 0, DAY, false, true),
            (DAY, DAY, 60_000, false, false),
            (DAY, DAY, DAY, false, true),
            (-DAY, -DAY, 60_000, false, false),
            (-30 * DAY, -30 * DAY, DAY, true, true),
            (365 * DAY, 365 * DAY, 60_000, true, false),
            // It is set while messages are there.
            (-DAY, 0, 60_000, true, false),
            (0, DAY, 60_000, true, false),
            (DAY, 0, 60_000, true, false),
            (DAY, 0, 2 * DAY, true, true),
            (0, -DAY, 60_000, false, false),
        ] {
            let mut peers = Peers::default();
            peers.heard(Heard {
                received_ms: (SENT + received) as u64,
                ..heard("alice", None, SENT as u64)
            });
            let now = Moment {
                own_ms: (SENT + after + asked) as u64,
                platform_ms: knows_platform.then_some((SENT + after) as u64),
            };
            let alice = peers.peer("alice").unwrap();
            let case = (received, asked, after, knows_platform);
            assert_eq!(alice.is_silent(now, allowance), expect, "{case:?}");
        }
        // A peer of an earlier version, and a platform whose times make no sense.
        let old: Peer = serde_json::from_str(r#"{"last_message_ms":1000}"#).unwrap();
        assert!(old.is_silent(by_own(1000 + DAY as u64), allowance));
        let odd = Peer {
            last_message_ms: 1,
            heard_ms: SENT as u64,
            ..Peer::default()
        };
        assert!(!odd.is_silent(by_own(SENT as u64 + 1), allowance));
    }

    #[test]
    fn a_zero_allowance_never_ends() {
        let allowance = Allowance {
            sends: 0,
            window_ms: 0,
        };
        let peer = Peer {
            last_message_ms: 1,
            sent: 9,
            ..Peer::default()
        };
        assert!(!peer.explains_refusal(by_own(u64::MAX), allowance));
        assert!(Peer::default().explains_refusal(by_own(1), allowance));
    }

    #[test]
    fn the_last_sends_are_for_answers() {
        for (sends, reserve) in [(0, 1), (1, 1), (4, 1), (6, 2), (10, 3), (100, 3)] {
            let allowance = Allowance {
                sends,
                window_ms: 0,
            };
            assert_eq!(allowance.reserve(), reserve);
        }
    }

    #[test]
    fn a_peer_that_does_not_parse_is_a_new_one() {
        let mut peers = Peers::default();
        peers.load("alice", Some(b"{"));
        assert_eq!(peers.peer("alice"), Some(&Peer::default()));
    }
}
