//! The durable outbox: a post is stored before anything of it is sent, and each of its parts is sent
//! until its fate is known.
//!
//! Promises: the parts of a conversation go out one after the other, in the order in which its posts
//! were stored, but that an answer goes before what has to wait for the peer; a part whose answer is
//! known is never sent again; one whose answer is not known is sent once more with the same client
//! id, by each instance that finds it so, and then called `unknown`; a try that had no effect does
//! not count. What is told as queued is reported when it is settled.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::error::{Error, ErrorKind};
use super::pace::Pace;
use super::store::{POST, Write, to_json};

mod record;
mod sender;
mod throttle;

pub use record::{Content, Count, NewPost, Part, PartState, Receipt};
use record::{Record, StoredPart};
pub use sender::{Room, Standing};
use throttle::Throttle;

/// Conversations that send at the same time when there is no pace.
const MAX_PARALLEL: usize = 16;
/// A try without an answer is the last one from this count on; tries that a crash cut off count, too.
const MAX_TRIES: u8 = 2;
/// Each crash between request and answer sends a part once more; one that is always in the way of a
/// crash may be its cause.
const MAX_CRASHES: u8 = 10;
/// Pause before a part is sent again whose answer is not known.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(1);
/// Pause behind what went out in the exchange of its message: the platform gets what follows on another
/// connection, and nobody tells when it has read the first.
const ANSWERED_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a file is uploaded again.
const UPLOAD_PAUSE: Duration = Duration::from_secs(30);
/// Posts that may wait, and the bytes of their content.
pub const MAX_POSTS: usize = 10_000;
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// One request that the sender makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Of the post.
    pub key: String,
    /// Of the part.
    index: usize,
    /// Where it goes.
    pub conversation: String,
    /// What it says or shows.
    pub content: Content,
    /// The event that it begins to answer: of the first part of an answer alone.
    pub answers: Option<String>,
    /// The part's own id for the platform.
    pub client_id: String,
    /// When the peer had last written, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// An earlier request with it may have taken effect.
    pub is_again: bool,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The platform took it, and may have named it.
    Accepted {
        /// The platform's id.
        message_id: Option<String>,
    },
    /// It went out in the exchange of the message that it answers, which tells nothing of its fate.
    Answered,
    /// Nothing took effect; it will be tried again.
    NotSent(Error),
    /// The file that it is could not be uploaded; its conversation waits for it, and no other.
    NotUploaded(Error),
    /// It may have taken effect.
    Unknown(Error),
    /// Refused for good.
    Refused(Error),
    /// The platform does not want it now: of this peer, or of the account.
    Declined {
        /// The platform's refusal.
        error: Error,
        /// The platform named its rate as the reason.
        is_throttle: bool,
    },
    /// The credential is not valid. The sender waits for [`Outbox::resume`].
    LoginRequired(Error),
}

/// The posts of one conversation that are not settled, in order.
#[derive(Debug, Default)]
struct Queue {
    orders: VecDeque<u64>,
    /// How many of them are answers.
    answers: usize,
}

/// The outbox of one account; all times but those that end in `_ms` are on one monotonic clock.
#[derive(Debug)]
pub struct Outbox {
    posts: BTreeMap<u64, Record>,
    orders: HashMap<String, u64>,
    next_order: u64,
    /// What the posts that are not settled hold.
    bytes: usize,
    queues: HashMap<String, Queue>,
    ready: VecDeque<String>,
    delayed: BTreeSet<(Duration, String)>,
    /// Conversations that wait for their peer, or for the time of a post to pass.
    held: HashSet<String>,
    expiries: BTreeSet<(u64, u64)>,
    /// Of each conversation that has a request under way, the post.
    in_flight: HashMap<String, u64>,
    settled: Vec<u64>,
    /// How many of them answer nothing and need no report.
    settled_alone: usize,
    /// Settled posts whose report this instance has not returned.
    reports: VecDeque<u64>,
    /// Keys of posts whose caller need not wait any longer.
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
            // No two instances give the same one, also when they overlap.
            next_order: generation << 32,
            bytes: 0,
            queues: HashMap::new(),
            ready: VecDeque::new(),
            delayed: BTreeSet::new(),
            held: HashSet::new(),
            expiries: BTreeSet::new(),
            in_flight: HashMap::new(),
            settled: Vec::new(),
            settled_alone: 0,
            reports: VecDeque::new(),
            decided: Vec::new(),
            pace,
            throttle: Throttle::default(),
        }
    }

    /// Takes in the stored posts. Returns sentences about what could not be read; such entries are
    /// left in the store.
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

    /// Ids of the events that stored posts answer.
    pub fn answered(&self) -> BTreeSet<String> {
        let answered = self.posts.values();
        answered
            .filter_map(|record| record.answers.clone())
            .collect()
    }

    /// The receipt of a post in memory, if its content is that of `post`; none for one that failed
    /// as a whole for a reason that passes.
    ///
    /// # Errors
    /// `key-conflict` when the key was used for another content.
    pub fn known(&self, post: &NewPost) -> Result<Option<Receipt>, Error> {
        match self.receipt(&post.key) {
            Some(receipt) if !receipt.may_be_repeated() => receipt.of(post).map(Some),
            _ => Ok(None),
        }
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

    /// Whether every part of a post in memory is settled or queued; true for one that is not there
    /// any more.
    pub fn is_decided(&self, key: &str) -> bool {
        self.record(key)
            .is_none_or(|record| record.is_settled() || self.is_queued(record))
    }

    /// Keys of posts that have become settled or queued since the last call, and maybe others.
    pub fn take_decided(&mut self) -> Vec<String> {
        std::mem::take(&mut self.decided)
    }

    fn is_queued(&self, record: &Record) -> bool {
        record.queue_until_ms.is_some()
            && !record.is_settled()
            && (self.held.contains(&record.conversation)
                || self.throttle.holds(&record.conversation))
    }

    /// The caller is about to be told of a post: when it is queued, its end will be reported. The
    /// write comes before the telling.
    pub fn tell(&mut self, key: &str) -> Option<Write> {
        let record = self.record(key)?;
        if record.is_reported || !self.is_queued(record) {
            return None;
        }
        let record = self.posts.get_mut(self.orders.get(key)?)?;
        record.is_reported = true;
        Some(write(record))
    }

    /// Why no more posts can be taken in.
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

    /// What the stored posts tell of what their peers were sent.
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

    /// Takes in a post with its parts and their client ids. The write is its storing.
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
        if self.held.remove(&record.conversation) {
            self.ready.push_back(record.conversation.clone());
        }
        // The mark of the first attempt rides on this write when that attempt starts at once.
        if self.ready.is_empty()
            && self.throttle.delay(now, &record.conversation).is_none()
            && !self.queues.contains_key(&record.conversation)
            && self.wake_after(now).is_none()
            && room.is_open_to(&record)
        {
            record.mark_next();
        }
        let write = write(&record);
        let conversation = record.conversation.clone();
        self.hold(record);
        if let Some(until) = self.throttle.delay(now, &conversation)
            && self.ready.back() == Some(&conversation)
        {
            self.ready.pop_back();
            self.delayed.insert((until, conversation));
        }
        write
    }

    /// A key whose post failed as a whole is free again.
    fn forget_failed(&mut self, key: &str) {
        if let Some(order) = self.orders.remove(key)
            && let Some(record) = self.posts.remove(&order)
        {
            self.settled.retain(|other| *other != order);
            self.settled_alone -= usize::from(record.is_alone());
            self.reports.retain(|other| *other != order);
        }
    }

    /// Settles the progress of a conversation that is not sent yet, and returns its texts: something
    /// newer is there to be said.
    pub fn drop_progress(&mut self, conversation: &str) -> (Vec<Write>, Vec<String>) {
        let Some(queue) = self.queues.get(conversation) else {
            return Default::default();
        };
        let sending = self.in_flight.get(conversation);
        let orders: Vec<u64> = queue
            .orders
            .iter()
            .copied()
            .filter(|order| sending != Some(order))
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
            let queue = self.queues.entry(record.conversation.clone()).or_default();
            if queue.orders.is_empty() {
                self.ready.push_back(record.conversation.clone());
            }
            queue.answers += usize::from(record.answers.is_some());
            // Stored posts come in the order of their keys, not of their storing.
            let index = queue.orders.partition_point(|other| *other < order);
            queue.orders.insert(index, order);
        }
        self.posts.insert(order, record);
    }

    /// What was told as queued and is settled now, as far as this instance has not returned it.
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

    /// A report was acknowledged: its post may be retired.
    pub fn acknowledge(&mut self, key: &str) -> Option<Write> {
        let record = self.posts.get_mut(self.orders.get(key)?)?;
        if !record.is_settled() || !std::mem::replace(&mut record.is_reported, false) {
            return None;
        }
        self.settled_alone += usize::from(record.is_alone());
        Some(write(record))
    }

    /// The platform can be reached again with a valid credential: nothing waits for that any more.
    pub fn resume(&mut self) {
        self.throttle.resume();
    }

    /// Goes on where this instance was before it loaded again: its requests are still under way.
    pub fn follow(&mut self, before: Outbox) {
        self.ready
            .retain(|conversation| !before.in_flight.contains_key(conversation));
        self.in_flight = before.in_flight;
        self.pace = before.pace;
        self.throttle = before.throttle;
        self.next_order = self.next_order.max(before.next_order);
        let returned = |order: &u64| {
            let was_settled = before.posts.get(order).is_some_and(Record::is_settled);
            was_settled && !before.reports.contains(order)
        };
        self.reports.retain(|order| !returned(order));
    }

    /// The requests under way were given up. Load again after this.
    pub fn forget_requests(&mut self) {
        self.in_flight.clear();
    }

    /// Posts that are not settled.
    pub fn queued(&self) -> usize {
        self.posts.len() - self.settled.len()
    }

    /// Settled posts in memory that acknowledge nothing.
    pub fn settled(&self) -> usize {
        self.settled_alone
    }

    /// Moves the settled posts to the receipts, but for those that answer an event which is still in
    /// the journal, since they are its acknowledgement, and those whose report is not acknowledged.
    /// Also the keys of the receipts.
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
    /// Whether nothing but its own end keeps it in the outbox.
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
