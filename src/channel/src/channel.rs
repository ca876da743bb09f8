//! The channel itself, whatever the platform: what is received is journalled until it is
//! acknowledged, what is to be sent is stored until it is settled.
//!
//! Every function takes values and returns values. Changes come back as
//! [writes](crate::store::Write) that the caller makes in their order; a crash between any two of
//! them loses nothing. When a write fails the caller loads the state again: memory is only a cache of
//! the store.

use std::time::Duration;

use crate::clock::PlatformClock;
use crate::error::{Error, ErrorKind};
use crate::expiry::Expiry;
use crate::history::History;
use crate::journal::Journal;
use crate::message::Event;
use crate::outbox::{Content, Count, Job, NewPost, Outbox, Outcome, Receipt, Room, Standing};
use crate::pace::Pace;
use crate::peers::Peers;
use crate::settings::{Dialect, Settings};
use crate::store::{RETIRED, Write};
use crate::{control, expiry, message, outbox};

mod contents;

/// Sends that may start at once before the pace holds.
const BURST: u32 = 2;
/// Batches or posts that are done before the store is tidied.
const RETIRE_AT: usize = 8;
/// Messages that wait to be remembered before they are stored without another reason.
const REMEMBER_AT: usize = 64;
/// Longest key of a post.
const MAX_KEY_BYTES: usize = 64;
/// Longest text of a post.
const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// How long receipts are kept, in milliseconds.
const RECEIPT_LIFE_MS: u64 = 72 * 3_600_000;
/// What the ids of reports begin with.
const SETTLED: &str = "settled:";

/// All that is in memory of one account.
#[derive(Debug)]
pub struct Channel {
    settings: Settings,
    dialect: Dialect,
    generation: u64,
    journal: Journal,
    outbox: Outbox,
    peers: Peers,
    history: History,
    receipts: Expiry,
    clock: PlatformClock,
}

/// Something for the gateway, to be acknowledged by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Something happened on the platform.
    Event(Event),
    /// What was told as queued came out, one way or the other.
    Settled {
        /// The id of this.
        id: String,
        /// What became of it.
        receipt: Receipt,
    },
}

/// What stored batches and posts tell.
#[derive(Debug)]
pub enum Replay {
    /// A message.
    Event(Event),
    /// What a peer was sent.
    Count(String, Count),
}

impl Replay {
    /// The peer that has to be loaded.
    pub fn peer(&self) -> Option<&str> {
        match self {
            Replay::Event(event) => Some(&event.message()?.conversation.id),
            Replay::Count(peer, _) => Some(peer),
        }
    }
}

/// What a batch brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The one write that stores it.
    pub write: Option<Write>,
    /// Messages of people who are not admitted: not stored.
    pub refused: usize,
}

impl Channel {
    /// The channel of the instance `generation`, with what is stored of it: all keys of the state
    /// bucket, and the entries of those for which `store::is_read_at_start` holds. Returns sentences about
    /// what could not be read. [`Channel::take_replay`] follows.
    pub fn load(
        settings: Settings,
        dialect: Dialect,
        generation: u64,
        keys: &[String],
        entries: &[(String, Vec<u8>)],
    ) -> (Channel, Vec<String>) {
        let pace = Pace::new(settings.send_interval, BURST);
        let mut outbox = Outbox::new(pace, generation);
        let mut problems = outbox.load(entries);
        let mut journal = Journal::new(generation, settings.merge);
        problems.extend(journal.load(entries, &outbox.answered()));
        let keys = || keys.iter().map(String::as_str);
        let mut history = History::load(keys());
        for (conversation, id, text) in outbox.sent_texts() {
            history.add_sent(id, conversation, text);
        }
        let channel = Channel {
            settings,
            dialect,
            generation,
            journal,
            outbox,
            peers: Peers::default(),
            history,
            receipts: Expiry::load(RETIRED, RECEIPT_LIFE_MS, usize::MAX, keys()),
            clock: PlatformClock::default(),
        };
        (channel, problems)
    }

    /// Loads again after a failed write: memory follows the store, and what this instance returned
    /// already is not returned twice.
    pub fn reload(&mut self, keys: &[String], entries: &[(String, Vec<u8>)]) -> Vec<String> {
        let (channel, problems) = Channel::load(
            self.settings.clone(),
            self.dialect,
            self.generation,
            keys,
            entries,
        );
        let before = std::mem::replace(self, channel);
        self.journal.follow(before.journal);
        self.outbox.follow(before.outbox);
        self.clock = before.clock;
        problems
    }

    /// What the loaded batches and posts tell of the peers is newer than what is stored of these. Load
    /// each peer before its [`Channel::replay`].
    pub fn take_replay(&mut self) -> Vec<Replay> {
        let events = self.journal.take_replay().into_iter();
        let counts = self.outbox.counts().into_iter();
        events
            .filter(|event| event.message().is_some())
            .map(Replay::Event)
            .chain(counts.map(|(peer, count)| Replay::Count(peer, count)))
            .collect()
    }

    /// Takes in what was stored.
    pub fn replay(&mut self, replay: Replay) {
        match replay {
            Replay::Event(event) => {
                self.history.add_received(&event);
                if let Some(message) = event.message() {
                    self.peers.heard(message.into());
                }
            }
            Replay::Count(peer, count) => self.peers.counted(&peer, count),
        }
    }

    /// Takes in batches that an older instance stored after this one had started.
    pub fn adopt(&mut self, entries: &[(String, Vec<u8>)]) -> Vec<String> {
        self.journal.load(entries, &self.outbox.answered())
    }

    /// The configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Which instance of the account this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What was received and not acknowledged.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// What was stored to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// What is known of the peers. Load those of a batch before [`Channel::receive`].
    pub fn peers(&mut self) -> &mut Peers {
        &mut self.peers
    }

    /// The history of messages, for quotes.
    pub fn history(&mut self) -> &mut History {
        &mut self.history
    }

    /// The keys of receipts.
    pub fn receipts(&mut self) -> &mut Expiry {
        &mut self.receipts
    }

    /// What the platform's clock shows.
    pub fn clock(&mut self) -> &mut PlatformClock {
        &mut self.clock
    }

    /// Takes in a batch with its cursor.
    pub fn receive(
        &mut self,
        now: Duration,
        now_ms: u64,
        cursor: String,
        events: Vec<Event>,
    ) -> Received {
        let count = events.len();
        let mut admitted: Vec<Event> = events
            .into_iter()
            .filter(|event| self.settings.access.admits(event))
            .collect();
        for event in &mut admitted {
            if let message::Body::Message(message) = &mut event.body {
                message.received_ms = now_ms;
            }
        }
        let refused = count - admitted.len();
        for event in &admitted {
            if let Some(message) = event.message()
                && !self.journal.knows(&event.id)
            {
                self.peers.heard(message.into());
                self.outbox.heard(&message.conversation.id);
                self.history.add_received(event);
            }
        }
        self.peers.shrink();
        Received {
            write: self.journal.accept(now, cursor, admitted),
            refused,
        }
    }

    /// What this instance has not returned yet, and what has to be written before it is returned.
    pub fn take(&mut self, now: Duration, limit: usize) -> (Vec<Delivery>, Vec<Write>) {
        let (events, writes) = self.journal.take(now, limit);
        let left = limit - events.len();
        let reports = self.outbox.take_reports(left).into_iter();
        let reports = reports.map(|receipt| Delivery::Settled {
            id: format!("{SETTLED}{}", receipt.key),
            receipt,
        });
        let events = events.into_iter().map(Delivery::Event);
        (events.chain(reports).collect(), writes)
    }

    /// Acknowledges what [`Channel::take`] returned; unknown ids are ignored.
    pub fn acknowledge(&mut self, ids: &[String]) -> Vec<Write> {
        let mut writes = self.journal.acknowledge(ids.iter().map(String::as_str));
        let keys = ids.iter().filter_map(|id| id.strip_prefix(SETTLED));
        writes.extend(keys.filter_map(|key| self.outbox.acknowledge(key)));
        writes
    }

    /// Checks a post before anything is stored of it.
    ///
    /// # Errors
    /// `invalid` and `too-large`, with what would be right.
    pub fn check(&self, post: &NewPost) -> Result<(), Error> {
        let invalid = |why: &str| Err(Error::new(ErrorKind::Invalid, why));
        if post.key.is_empty() || post.key.len() > MAX_KEY_BYTES {
            return invalid("a post's key has 1 to 64 bytes");
        }
        if post.conversation.is_empty() || post.conversation.len() > 512 {
            return invalid("a conversation's id has 1 to 512 bytes");
        }
        if post.text.len() > MAX_TEXT_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "the text of a post has at most 1 MiB",
            ));
        }
        Ok(())
    }

    /// Whether a post can be taken in now. The peer has to be loaded.
    ///
    /// # Errors
    /// `transient` when too much waits already; for a post that nobody waits for and that would not
    /// wait, `rate-limited` and `window-closed`.
    pub fn admit(&self, now: Duration, now_ms: u64, post: &NewPost) -> Result<(), Error> {
        self.outbox.check_room()?;
        if post.answers.is_some() || post.is_progress || post.queue_until_ms.is_some() {
            return Ok(());
        }
        self.outbox.check_throttle(now, &post.conversation)?;
        if self.room(now, now_ms, &post.conversation).is_open(false) {
            Ok(())
        } else {
            Err(outbox::window_closed())
        }
    }

    /// What a peer's share and window leave room for.
    fn room(&self, now: Duration, now_ms: u64, conversation: &str) -> Room {
        let allowance = self.settings.allowance;
        let moment = self.clock.moment(now, now_ms);
        let peer = self.peers.peer(conversation);
        Room {
            since_ms: peer.map_or(0, |peer| peer.last_message_ms),
            is_closed: peer.is_some_and(|peer| peer.is_closed),
            is_silent: peer.is_some_and(|peer| peer.is_silent(moment, allowance)),
            left: match peer {
                Some(peer) => peer.left(allowance),
                None => (allowance.sends > 0).then_some(allowance.sends),
            },
            reserve: allowance.reserve(),
            awaits_answer: self.journal.awaits(conversation),
        }
    }

    /// Stores a post, and with it the acknowledgement of what it answers. `client_id` makes an id
    /// for each part. The peer has to be loaded. The first write is the post's.
    pub fn post(
        &mut self,
        now: Duration,
        now_ms: u64,
        post: NewPost,
        mut client_id: impl FnMut() -> String,
    ) -> Vec<Write> {
        let (replaced, waiting) = match post.is_progress || post.answers.is_some() {
            true => self.outbox.drop_progress(&post.conversation),
            false => Default::default(),
        };
        let text = control::clean(&post.text);
        let contents = match post.is_progress {
            true => self.progress(&text, waiting),
            false => self.contents(&text),
        };
        if let Some(id) = &post.answers {
            self.journal.answered(id);
        }
        let room = self.room(now, now_ms, &post.conversation);
        let media = post.media.clone().into_iter().map(Content::Media);
        let parts = contents
            .into_iter()
            .chain(media)
            .map(|content| (content, client_id()));
        let write = self.outbox.accept(now, post, parts, &room);
        [write].into_iter().chain(replaced).collect()
    }

    /// The next request of a conversation whose [`Outbox::turn`] it is, and what has to be written
    /// before it is made. The peer has to be loaded.
    pub fn next(
        &mut self,
        now: Duration,
        now_ms: u64,
        conversation: &str,
    ) -> (Option<Job>, Vec<Write>) {
        let room = self.room(now, now_ms, conversation);
        self.outbox.next(now, now_ms, conversation, &room)
    }

    /// Takes in what became of a request of the sender.
    pub fn settle(
        &mut self,
        now: Duration,
        now_ms: u64,
        random: u64,
        job: &Job,
        outcome: Outcome,
    ) -> Vec<Write> {
        let peer = self.peers.peer(&job.conversation);
        // What the peer wrote meanwhile counts anew.
        let is_current = peer.is_some_and(|peer| peer.last_message_ms == job.since_ms);
        let is_taken = matches!(outcome, Outcome::Accepted { .. } | Outcome::Answered);
        if is_taken && is_current {
            self.peers.sent(&job.conversation);
        }
        if let Outcome::Accepted {
            message_id: Some(id),
        } = &outcome
            && let Content::Text(text) = &job.content
        {
            self.history.add_sent(id, &job.conversation, text);
        }
        let peer = self.peers.peer(&job.conversation);
        let allowance = self.settings.allowance;
        let moment = self.clock.moment(now, now_ms);
        let standing = Standing {
            count: Count {
                since_ms: job.since_ms,
                sent: peer.filter(|_| is_current).map_or(0, |peer| peer.sent),
            },
            explains_refusal: is_current
                && peer.is_some_and(|peer| peer.explains_refusal(moment, allowance)),
        };
        let settlement = self.outbox.settle(now, random, job, outcome, standing);
        if settlement.closes_peer && is_current {
            self.peers.close(&job.conversation);
        }
        settlement.writes
    }

    /// The receipt of a post that is in memory.
    pub fn receipt(&self, key: &str) -> Option<Receipt> {
        self.outbox.receipt(key)
    }

    /// Removes what is done from the store, when enough of it has come together or `now` is asked.
    pub fn retire(&mut self, now_ms: u64, at_once: bool) -> Vec<Write> {
        let enough = |count: usize, enough: usize| count >= if at_once { 1 } else { enough };
        if !enough(self.journal.complete(), RETIRE_AT)
            && !enough(self.outbox.settled(), RETIRE_AT)
            && !enough(self.history.waiting(), REMEMBER_AT)
        {
            return Vec::new();
        }
        let mut writes = self.peers.flush();
        writes.extend(self.history.flush(now_ms));
        writes.extend(self.journal.retire());
        let journal = &self.journal;
        let (retired, keys) = self.outbox.retire(now_ms, |id| journal.holds(id));
        writes.extend(self.receipts.insert(now_ms, keys.into_iter()));
        writes.extend(retired);
        writes
    }
}

/// Whether a stored receipt has had its time. One from a future as far away was written by a clock that
/// was wrong, and would stay until then.
pub fn is_old(receipt: &Receipt, now_ms: u64) -> bool {
    expiry::is_past(receipt.retired_ms(), RECEIPT_LIFE_MS, now_ms)
}

#[cfg(test)]
mod tests;
