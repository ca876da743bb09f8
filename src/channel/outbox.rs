//! The durable outbox: a post is stored before anything of it is sent, and each of its parts is sent
//! until its fate is known.
//!
//! Promises: the parts of a conversation go out one after the other, in the order in which its posts
//! were stored; a part whose answer is known is never sent again; one whose answer is not known is
//! sent once more with the same client id, by each instance that finds it so, and then called
//! `unknown`; a try that had no effect does not count.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::backoff::Backoff;
use super::error::{Error, ErrorKind};
use super::pace::Pace;
use super::store::{POST, Write, to_json};

mod record;

pub use record::{Content, NewPost, Part, PartState, Receipt};
use record::{Record, StoredPart};

/// Conversations that send at the same time when there is no pace.
const MAX_PARALLEL: usize = 16;
/// A try without an answer is the last one from this count on; tries that a crash cut off count, too.
const MAX_TRIES: u8 = 2;
/// Each crash between request and answer sends a part once more; one that is always in the way of a
/// crash may be its cause.
const MAX_CRASHES: u8 = 10;
/// Pause before a part is sent again whose answer is not known.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(1);

/// One request that the lane has to make.
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
    /// The part's own id for the platform.
    pub client_id: String,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The platform took it, and may have named it.
    Accepted {
        /// The platform's id.
        message_id: Option<String>,
    },
    /// Nothing took effect; it will be tried again.
    NotSent(Error),
    /// It may have taken effect.
    Unknown(Error),
    /// Refused for good.
    Refused(Error),
    /// The credential is not valid; the lane waits for [`Outbox::resume`].
    LoginRequired(Error),
}

/// The outbox of one account; all times but those that end in `_ms` are on one monotonic clock.
#[derive(Debug)]
pub struct Outbox {
    posts: BTreeMap<u64, Record>,
    orders: HashMap<String, u64>,
    next_order: u64,
    queues: HashMap<String, VecDeque<u64>>,
    ready: VecDeque<String>,
    delayed: BTreeSet<(Duration, String)>,
    in_flight: HashSet<String>,
    settled: Vec<u64>,
    /// How many of them answer nothing.
    settled_alone: usize,
    pace: Pace,
    backoff: Backoff,
    not_before: Option<Duration>,
}

impl Outbox {
    /// An empty outbox of the instance `generation` that sends with `pace`.
    pub fn new(pace: Pace, generation: u64) -> Outbox {
        Outbox {
            posts: BTreeMap::new(),
            orders: HashMap::new(),
            // No two instances give the same one, also when they overlap.
            next_order: generation << 32,
            queues: HashMap::new(),
            ready: VecDeque::new(),
            delayed: BTreeSet::new(),
            in_flight: HashSet::new(),
            settled: Vec::new(),
            settled_alone: 0,
            pace,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            not_before: None,
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
        self.posts
            .values()
            .filter_map(|record| record.answers.clone())
            .collect()
    }

    /// The receipt of a post in memory, if its content is that of `post`.
    ///
    /// # Errors
    /// `key-conflict` when the key was used for another content.
    pub fn known(&self, post: &NewPost) -> Result<Option<Receipt>, Error> {
        match self.receipt(&post.key) {
            Some(receipt) => receipt.of(post).map(Some),
            None => Ok(None),
        }
    }

    /// The receipt of a post in memory.
    pub fn receipt(&self, key: &str) -> Option<Receipt> {
        let record = self.posts.get(self.orders.get(key)?)?;
        Some(record.receipt())
    }

    /// Whether every part of a post in memory is settled; true for one that is not there any more.
    pub fn is_settled(&self, key: &str) -> bool {
        self.orders
            .get(key)
            .and_then(|order| self.posts.get(order))
            .is_none_or(Record::is_settled)
    }

    /// Takes in a post with its parts and their client ids. The write is its storing.
    pub fn accept(
        &mut self,
        now: Duration,
        post: NewPost,
        parts: impl Iterator<Item = (Content, String)>,
    ) -> Write {
        let mut record = Record {
            order: self.next_order,
            fingerprint: post.fingerprint(),
            key: post.key,
            conversation: post.conversation,
            answers: post.answers,
            parts: parts
                .map(|(content, client_id)| StoredPart::new(content, client_id))
                .collect(),
        };
        // The mark of the first attempt rides on this write when that attempt starts at once.
        if self.ready.is_empty()
            && !self.queues.contains_key(&record.conversation)
            && self.wake_after(now).is_none()
        {
            record.mark_next();
        }
        let write = write(&record);
        self.hold(record);
        write
    }

    fn hold(&mut self, record: Record) {
        let order = record.order;
        self.next_order = self.next_order.max(order + 1);
        self.orders.insert(record.key.clone(), order);
        if record.is_settled() {
            self.settled.push(order);
            self.settled_alone += usize::from(record.answers.is_none());
        } else {
            let queue = self.queues.entry(record.conversation.clone()).or_default();
            if queue.is_empty() {
                self.ready.push_back(record.conversation.clone());
            }
            // Stored posts come in the order of their keys, not of their storing.
            let place = queue.partition_point(|other| *other < order);
            queue.insert(place, order);
        }
        self.posts.insert(order, record);
    }

    /// The next request to make, and what has to be written before it is made.
    pub fn next(&mut self, now: Duration) -> Option<(Job, Option<Write>)> {
        while let Some((due, _)) = self.delayed.first()
            && *due <= now
        {
            let (_, conversation) = self.delayed.pop_first()?;
            self.ready.push_back(conversation);
        }
        if self.wake_after(now).is_some() {
            return None;
        }
        let conversation = self.ready.pop_front()?;
        let order = self.queues.get(&conversation)?.front()?;
        let record = self.posts.get_mut(order)?;
        let write = record.begin().then(|| write(record));
        let (index, part) = record.next_part()?;
        let job = Job {
            key: record.key.clone(),
            index,
            conversation: record.conversation.clone(),
            content: part.content.clone(),
            client_id: part.client_id.clone(),
        };
        self.in_flight.insert(conversation);
        self.pace.take(now);
        Some((job, write))
    }

    /// The reason why [`Outbox::next`] has nothing although something may be ready: the time to ask
    /// again, or [`Duration::MAX`] when a running request has to end first.
    fn wake_after(&self, now: Duration) -> Option<Duration> {
        let parallel = if self.pace.is_unlimited() {
            MAX_PARALLEL
        } else {
            1
        };
        if self.in_flight.len() >= parallel {
            return Some(Duration::MAX);
        }
        let ready_at = self.pace.ready_at(now).max(self.not_before.unwrap_or(now));
        (ready_at > now).then_some(ready_at)
    }

    /// When to ask [`Outbox::next`] again if nothing else happens.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        let delayed = self.delayed.first().map(|(due, _)| *due);
        let ready = (!self.ready.is_empty()).then(|| self.wake_after(now).unwrap_or(now));
        let at = match (delayed, ready) {
            (Some(delayed), Some(ready)) => delayed.min(ready),
            (at, None) | (None, at) => at?,
        };
        (at != Duration::MAX).then_some(at)
    }

    /// Takes in what became of a request. `random` spreads the pauses.
    pub fn settle(
        &mut self,
        now: Duration,
        random: u64,
        job: &Job,
        outcome: Outcome,
    ) -> Option<Write> {
        if !self.in_flight.remove(&job.conversation) {
            return None;
        }
        let record = self
            .orders
            .get(&job.key)
            .and_then(|order| Some((*order, self.posts.get_mut(order)?)));
        let Some((order, record)) = record.filter(|(_, record)| record.is_pending(job.index))
        else {
            self.requeue(&job.conversation, None);
            return None;
        };
        let mut delay = None;
        let mut changed = true;
        match outcome {
            Outcome::Accepted { message_id } => {
                self.backoff.reset();
                record.accept(job.index, message_id);
            }
            Outcome::Refused(error) => {
                self.backoff.reset();
                record.fail(job.index, &error);
            }
            Outcome::Unknown(error) => {
                changed = record.not_answered(job.index, error, MAX_TRIES);
                delay = (!changed).then(|| now + UNKNOWN_PAUSE);
            }
            Outcome::NotSent(error) => {
                record.not_sent(job.index, error);
                self.not_before = Some(now + self.backoff.fail(random));
            }
            Outcome::LoginRequired(error) => {
                record.not_sent(job.index, error);
                self.not_before = Some(Duration::MAX);
            }
        }
        let is_settled = record.is_settled();
        if is_settled {
            self.settled.push(order);
            self.settled_alone += usize::from(record.answers.is_none());
            self.leave_queue(order, &job.conversation);
        }
        self.requeue(&job.conversation, delay);
        if !changed {
            return None;
        }
        let goes_on = !is_settled && self.wake_after(now).is_none();
        let record = self.posts.get_mut(&order)?;
        if goes_on {
            record.mark_next();
        }
        Some(write(record))
    }

    fn leave_queue(&mut self, order: u64, conversation: &str) {
        if let Some(queue) = self.queues.get_mut(conversation) {
            queue.retain(|other| *other != order);
            if queue.is_empty() {
                self.queues.remove(conversation);
            }
        }
    }

    fn requeue(&mut self, conversation: &str, delay: Option<Duration>) {
        if !self.queues.contains_key(conversation) {
            return;
        }
        match delay {
            Some(due) => {
                self.delayed.insert((due, conversation.to_owned()));
            }
            None => self.ready.push_back(conversation.to_owned()),
        }
    }

    /// The platform can be reached again with a valid credential: nothing waits for that any more.
    pub fn resume(&mut self) {
        self.not_before = None;
        self.backoff.reset();
    }

    /// Goes on where this instance was before it loaded again: its requests are still under way.
    pub fn follow(&mut self, before: Outbox) {
        self.ready
            .retain(|conversation| !before.in_flight.contains(conversation));
        self.in_flight = before.in_flight;
        self.pace = before.pace;
        self.backoff = before.backoff;
        self.not_before = before.not_before;
        self.next_order = self.next_order.max(before.next_order);
    }

    /// The requests under way were given up. Load again after this.
    pub fn forget_requests(&mut self) {
        self.in_flight.clear();
    }

    /// Posts that are not settled.
    pub fn queued(&self) -> usize {
        self.posts.len() - self.settled.len()
    }

    /// Whether a request is under way.
    pub fn is_sending(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Settled posts in memory that acknowledge nothing.
    pub fn settled(&self) -> usize {
        self.settled_alone
    }

    /// Moves the settled posts to the receipts, but for those that answer an event which is still in
    /// the journal: they are its acknowledgement.
    pub fn retire(&mut self, now_ms: u64, is_journalled: impl Fn(&str) -> bool) -> Vec<Write> {
        let mut writes = Vec::new();
        self.settled_alone = 0;
        for order in std::mem::take(&mut self.settled) {
            let Some(record) = self.posts.remove(&order) else {
                continue;
            };
            if record.answers.as_deref().is_some_and(&is_journalled) {
                self.posts.insert(order, record);
                self.settled.push(order);
                continue;
            }
            self.orders.remove(&record.key);
            writes.push(record.receipt().write(now_ms));
            writes.push(Write::delete(key(&record.key)));
        }
        writes
    }
}

/// The error of a part that was not sent because one before it was refused.
fn not_reached() -> Error {
    Error::new(
        ErrorKind::Forbidden,
        "not sent, because the part before it was refused",
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
