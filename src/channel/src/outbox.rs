//! The durable outbox. A post is stored before anything of it is sent, and each of its parts is tried
//! until its fate is known.
//!
//! The outbox promises:
//! - The parts of a conversation go out one after the other, in the order in which its posts were stored.
//!   Only an answer may overtake posts that wait for the peer.
//! - A part whose fate is known is never sent again.
//! - A part whose fate is not known is sent once more with the same client id, by each instance that
//!   finds it so. Then it is called `unknown`.
//! - A try that had no effect does not count.
//! - A post that was reported as queued is reported again when it is settled.
//!
//! A post is one `Record`, with its parts and how far each has come. What a conversation does now
//! (ready, delayed, held, in flight) is its state in the `Schedule`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::error::{Error, ErrorKind};
use super::pace::Pace;
use super::store::{POST, Write, to_json};

mod job;
mod record;
mod schedule;
mod sender;
mod throttle;

pub use job::{Job, Outcome};
pub use record::{Content, Count, NewPost, Part, PartState, Receipt};
use record::{Record, StoredPart};
use schedule::Schedule;
pub use sender::{Room, Settlement, Standing};
use throttle::Throttle;

/// Conversations that send at the same time when there is no pace.
const MAX_PARALLEL: usize = 16;
/// From this count on, a try without an answer is the last one. Tries that a crash cut off count, too.
const MAX_TRIES: u8 = 2;
/// Each crash between request and answer sends a part once more. A part that is in flight at every crash
/// may be their cause.
const MAX_CRASHES: u8 = 10;
/// Pause before a part is sent again whose answer is not known.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a part that was the response to the platform's request. The next part takes another
/// connection, and nothing tells when the platform has read the first.
const ANSWERED_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a file is uploaded again.
const UPLOAD_PAUSE: Duration = Duration::from_secs(30);
/// Posts that may wait at most, and the bytes of their content.
pub const MAX_POSTS: usize = 10_000;
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The outbox of one account. Times are on one monotonic clock; those that end in `_ms` are milliseconds
/// since the Unix epoch.
#[derive(Debug)]
pub struct Outbox {
    posts: BTreeMap<u64, Record>,
    orders: HashMap<String, u64>,
    next_order: u64,
    /// The size of the posts that are not settled.
    bytes: usize,
    schedule: Schedule,
    /// When the waiting posts expire, in milliseconds since the Unix epoch, and which.
    expiries: BTreeSet<(u64, u64)>,
    settled: Vec<u64>,
    /// How many of these answer nothing and need no report.
    settled_alone: usize,
    /// Settled posts whose report this instance has not returned.
    reports: VecDeque<u64>,
    /// Keys of posts whose callers need not wait any longer.
    decided: Vec<String>,
    pace: Pace,
    throttle: Throttle,
}

impl Outbox {
    /// An empty outbox of the instance `generation` that sends with `pace`.
    pub fn new(pace: Pace, generation: u64) -> Outbox {
        Outbox {
            posts: BTreeMap::new(),
            orders: HashMap::new(),
            // Two instances never give the same order, even while they overlap.
            next_order: generation << 32,
            bytes: 0,
            schedule: Schedule::default(),
            expiries: BTreeSet::new(),
            settled: Vec::new(),
            settled_alone: 0,
            reports: VecDeque::new(),
            decided: Vec::new(),
            pace,
            throttle: Throttle::default(),
        }
    }

    /// Adds the stored posts. Returns sentences about entries that are unreadable; these stay in the
    /// store.
    pub fn load(&mut self, entries: &[(String, Vec<u8>)]) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value) in entries.iter().filter(|(key, _)| key.starts_with(POST)) {
            match serde_json::from_slice::<Record>(value) {
                Ok(mut record) => {
                    record.give_up_on_unknown(MAX_CRASHES);
                    self.hold(record);
                }
                Err(error) => problems.push(format!("stored {key} is unreadable: {error}")),
            }
        }
        problems
    }

    /// The ids of the events that the posts answer.
    pub fn answered(&self) -> BTreeSet<String> {
        let answered = self.posts.values();
        answered
            .filter_map(|record| record.answers.clone())
            .collect()
    }

    /// The receipt of a post in memory with the key and content of `post`. None if there is none, or if it
    /// failed as a whole for a reason that passes.
    ///
    /// # Errors
    /// `key-conflict` when the key was used for another content.
    pub fn known(&self, post: &NewPost) -> Result<Option<Receipt>, Error> {
        match self.receipt(&post.key) {
            Some(receipt) if !receipt.may_be_repeated() => receipt.of(post).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether a request of a post is under way.
    fn is_sending(&self, record: &Record) -> bool {
        self.schedule.sending(&record.conversation) == Some(record.order)
    }

    fn record(&self, key: &str) -> Option<&Record> {
        self.posts.get(self.orders.get(key)?)
    }

    /// The receipt of a post in memory.
    pub fn receipt(&self, key: &str) -> Option<Receipt> {
        let record = self.record(key)?;
        Some(match self.is_queued(record) {
            true => record.queued_receipt(),
            false => record.receipt(),
        })
    }

    /// Whether every part of a post is settled or queued. True for a post that is not in memory any
    /// more.
    pub fn is_decided(&self, key: &str) -> bool {
        self.record(key)
            .is_none_or(|record| record.is_settled() || self.is_queued(record))
    }

    /// Keys of posts that may have become settled or queued since the last call.
    pub fn take_decided(&mut self) -> Vec<String> {
        std::mem::take(&mut self.decided)
    }

    /// Whether a post is kept while the platform accepts nothing for it.
    fn is_queued(&self, record: &Record) -> bool {
        record.queue_until_ms.is_some()
            && !record.is_settled()
            && (self.schedule.is_held(&record.conversation)
                || self.throttle.holds(&record.conversation))
    }

    /// The caller is about to get the receipt of a post. If the post is queued, its end will be reported.
    /// The write is made before the caller gets the receipt.
    pub fn tell(&mut self, key: &str) -> Option<Write> {
        let record = self.record(key)?;
        if record.is_reported || !self.is_queued(record) {
            return None;
        }
        let record = self.posts.get_mut(self.orders.get(key)?)?;
        record.is_reported = true;
        Some(write(record))
    }

    /// Whether one more post can be added.
    ///
    /// # Errors
    /// `transient` when too much waits already.
    pub fn check_room(&self) -> Result<(), Error> {
        if self.queued() < MAX_POSTS && self.bytes < MAX_BYTES {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Transient,
            format!(
                "too much waits to be sent already ({} posts, {} MiB): try again later",
                self.queued(),
                self.bytes >> 20
            ),
        ))
    }

    /// Whether a post that would not wait can be tried now.
    ///
    /// # Errors
    /// `rate-limited` while the platform wants less.
    pub fn check_throttle(&self, now: Duration, conversation: &str) -> Result<(), Error> {
        match self.throttle.retry_after(now, conversation) {
            Some(pause) => Err(throttled(pause)),
            None => Ok(()),
        }
    }

    /// How much the peers were sent, as the posts have noted it.
    pub fn counts(&self) -> Vec<(String, Count)> {
        let records = self.posts.values();
        records
            .filter_map(|record| Some((record.conversation.clone(), record.count?)))
            .collect()
    }

    /// The texts that the platform has accepted under an id, as (conversation, id, text).
    pub fn sent_texts(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.posts.values().flat_map(Record::sent_texts)
    }

    /// Adds a post with its parts and their client ids. The write stores it.
    pub fn accept(
        &mut self,
        now: Duration,
        post: NewPost,
        parts: impl Iterator<Item = (Content, String)>,
        room: &Room,
    ) -> Write {
        let mut record = Record {
            order: self.next_order,
            fingerprint: post.fingerprint(),
            key: post.key,
            conversation: post.conversation,
            answers: post.answers,
            is_progress: post.is_progress,
            queue_until_ms: post.queue_until_ms,
            is_reported: false,
            count: None,
            parts: parts
                .map(|(content, client_id)| StoredPart::new(content, client_id))
                .collect(),
        };
        let has_no_room = !room.is_open_to(&record) || self.throttle.holds(&record.conversation);
        if record.is_progress && has_no_room {
            record.drop_rest();
        }
        self.forget_failed(&record.key);
        let conversation = record.conversation.clone();
        let is_first = !self.schedule.contains(&conversation);
        let gets_turn = is_first || self.schedule.release(&conversation);
        let delay = self.throttle.delay(now, &conversation);
        // The mark of the first try rides on this write if that try starts at once.
        if is_first
            && delay.is_none()
            && !self.schedule.has_turns()
            && self.wake_after(now).is_none()
            && room.is_open_to(&record)
        {
            record.mark_next();
        }
        let write = write(&record);
        self.hold(record);
        if gets_turn && let Some(until) = delay {
            self.schedule.delay(&conversation, until);
        }
        write
    }

    /// Removes a post that failed as a whole, so that its key can be used again.
    fn forget_failed(&mut self, key: &str) {
        if let Some(order) = self.orders.remove(key)
            && let Some(record) = self.posts.remove(&order)
        {
            self.settled.retain(|other| *other != order);
            self.settled_alone -= usize::from(record.is_alone());
            self.reports.retain(|other| *other != order);
        }
    }

    /// Drops the progress of a conversation that is not sent yet, because a newer post replaces it. Also
    /// returns the texts that were dropped.
    pub fn drop_progress(&mut self, conversation: &str) -> (Vec<Write>, Vec<String>) {
        let sending = self.schedule.sending(conversation);
        let orders: Vec<u64> = self
            .schedule
            .orders(conversation)
            .filter(|order| sending != Some(*order))
            .filter(|order| {
                let record = self.posts.get(order);
                record.is_some_and(|record| record.is_progress && !record.is_begun())
            })
            .collect();
        let mut writes = Vec::new();
        let mut texts = Vec::new();
        for order in orders {
            if let Some(record) = self.posts.get_mut(&order) {
                texts.extend(record.parts.iter().filter_map(|part| match &part.content {
                    Content::Text(text) => Some(text.clone()),
                    Content::Media(_) | Content::Document { .. } => None,
                }));
                record.drop_rest();
                writes.push(write(record));
            }
            self.leave_queue(order);
        }
        (writes, texts)
    }

    fn hold(&mut self, record: Record) {
        let order = record.order;
        self.next_order = self.next_order.max(order + 1);
        self.orders.insert(record.key.clone(), order);
        if record.is_settled() {
            self.settled.push(order);
            self.settled_alone += usize::from(record.is_alone());
            if record.is_reported {
                self.reports.push_back(order);
            }
        } else {
            self.bytes += record.bytes();
            if let Some(until_ms) = record.queue_until_ms {
                self.expiries.insert((until_ms, order));
            }
            self.schedule.add(&record);
        }
        self.posts.insert(order, record);
    }

    /// Receipts of posts that were reported as queued and are settled now. Each instance returns each
    /// once.
    pub fn take_reports(&mut self, limit: usize) -> Vec<Receipt> {
        let count = limit.min(self.reports.len());
        let orders: Vec<u64> = self.reports.drain(..count).collect();
        orders
            .iter()
            .filter_map(|order| Some(self.posts.get(order)?.receipt()))
            .collect()
    }

    /// Whether there is something for [`Outbox::take_reports`].
    pub fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// A report was acknowledged, so its post may be retired.
    pub fn acknowledge(&mut self, key: &str) -> Option<Write> {
        let record = self.posts.get_mut(self.orders.get(key)?)?;
        if !record.is_settled() || !std::mem::replace(&mut record.is_reported, false) {
            return None;
        }
        self.settled_alone += usize::from(record.is_alone());
        Some(write(record))
    }

    /// The platform takes the credential again. What waited for that goes on.
    pub fn resume(&mut self) {
        self.throttle.resume();
    }

    /// Continues after this instance has loaded its state again: its requests are still under way.
    pub fn follow(&mut self, before: Outbox) {
        self.schedule.follow(&before.schedule);
        self.pace = before.pace;
        self.throttle = before.throttle;
        self.next_order = self.next_order.max(before.next_order);
        let returned = |order: &u64| {
            let was_settled = before.posts.get(order).is_some_and(Record::is_settled);
            was_settled && !before.reports.contains(order)
        };
        self.reports.retain(|order| !returned(order));
    }

    /// The requests under way were given up. Load the state again after this.
    pub fn forget_requests(&mut self) {
        self.schedule.forget_requests();
    }

    /// The number of posts that are not settled.
    pub fn queued(&self) -> usize {
        self.posts.len() - self.settled.len()
    }

    /// The number of settled posts that [`Outbox::retire`] can remove.
    pub fn settled(&self) -> usize {
        self.settled_alone
    }

    /// Moves settled posts to the receipts. Two kinds stay: answers to an event that is still in the
    /// journal, because they are its acknowledgement, and posts whose report is not acknowledged. Also
    /// returns the keys of the new receipts.
    pub fn retire(
        &mut self,
        now_ms: u64,
        is_journalled: impl Fn(&str) -> bool,
    ) -> (Vec<Write>, Vec<String>) {
        let mut writes = Vec::new();
        let mut keys = Vec::new();
        self.settled_alone = 0;
        for order in std::mem::take(&mut self.settled) {
            let Some(record) = self.posts.remove(&order) else {
                continue;
            };
            if record.is_reported || record.answers.as_deref().is_some_and(&is_journalled) {
                self.posts.insert(order, record);
                self.settled.push(order);
                continue;
            }
            self.orders.remove(&record.key);
            writes.push(record.receipt().write(now_ms));
            writes.push(Write::delete(key(&record.key)));
            keys.push(record.key);
        }
        (writes, keys)
    }
}

impl Record {
    /// Whether the post may leave the outbox as soon as it is settled.
    fn is_alone(&self) -> bool {
        self.answers.is_none() && !self.is_reported
    }
}

/// The error of a part that was not sent because one before it was refused.
fn not_reached() -> Error {
    Error::new(
        ErrorKind::Forbidden,
        "not sent, because the part before it was refused",
    )
}

/// The error of a post that would not wait for the platform.
fn throttled(pause: Duration) -> Error {
    Error {
        retry_after: Some(pause),
        ..Error::new(
            ErrorKind::RateLimited,
            "the platform wants less, and nothing is sent for now: try again after the pause, with \
             the same key",
        )
    }
}

/// The error of a post for a peer that has to write first.
pub fn window_closed() -> Error {
    Error::new(
        ErrorKind::WindowClosed,
        "the platform accepts no more messages for this peer until it writes again",
    )
}

/// The error of a post whose time has passed.
fn expired() -> Error {
    Error::new(
        ErrorKind::WindowClosed,
        "its time passed before the platform accepted messages for this peer again",
    )
}

fn key(post: &str) -> String {
    format!("{POST}{post}")
}

fn write(record: &Record) -> Write {
    Write::set(key(&record.key), to_json(record))
}

#[cfg(test)]
mod tests;
