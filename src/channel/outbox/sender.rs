//! The sender's decisions: whose turn it is, what may be sent, and what follows from the platform's
//! answer.

use super::throttle::Meaning;
use super::*;

/// What a peer's share and window leave room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// When the peer last wrote, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// The platform refuses everything until the peer writes again.
    pub is_closed: bool,
    /// The peer has been silent for too long.
    pub is_silent: bool,
    /// Sends that are left; none where there is no limit.
    pub left: Option<u32>,
    /// Of these, what is kept for answers.
    pub reserve: u32,
    /// A message of the peer has no answer yet.
    pub awaits_answer: bool,
}

impl Room {
    /// Whether a post may be tried. Our own count limits only what nobody waits for. It never
    /// holds back an answer or the rest of a post that has begun.
    pub(super) fn is_open_to(&self, record: &Record) -> bool {
        if record.answers.is_some() || (record.is_begun() && !record.is_progress) {
            return !self.is_closed;
        }
        self.is_open(record.is_progress)
    }

    /// Whether something of the gateway's own accord may be sent.
    pub fn is_open(&self, is_progress: bool) -> bool {
        let reserve = if is_progress || self.awaits_answer {
            self.reserve
        } else {
            0
        };
        !self.is_closed && !self.is_silent && self.left.is_none_or(|left| left > reserve)
    }
}

/// How a peer stands when a request for it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What it was sent, with what this request adds.
    pub count: Count,
    /// Its share or its silence explains a refusal.
    pub explains_refusal: bool,
}

/// What the head of a queue comes to.
enum Pick {
    Send(u64),
    Drop(u64),
    Fail(u64, Error),
    Hold,
}

impl Outbox {
    /// The conversation whose turn it is; [`Outbox::next`] has to follow.
    pub fn turn(&mut self, now: Duration) -> Option<String> {
        while let Some((due, _)) = self.delayed.first()
            && *due <= now
        {
            let (_, conversation) = self.delayed.pop_first()?;
            self.ready.push_back(conversation);
        }
        if self.wake_after(now).is_some() {
            return None;
        }
        // One that sends already comes again when that is settled.
        while let Some(conversation) = self.ready.pop_front() {
            if !self.in_flight.contains_key(&conversation) {
                return Some(conversation);
            }
        }
        None
    }

    /// The next request of a conversation, if there is one to make, and what has to be written before
    /// it is made.
    pub fn next(
        &mut self,
        now: Duration,
        now_ms: u64,
        conversation: &str,
        room: &Room,
    ) -> (Option<Job>, Vec<Write>) {
        let mut writes = Vec::new();
        while let Some(pick) = self.pick(now_ms, conversation, room) {
            match pick {
                Pick::Send(order) => {
                    let job = self.begin(order, room.since_ms, &mut writes);
                    if job.is_some() {
                        self.in_flight.insert(conversation.to_owned(), order);
                        self.pace.take(now);
                    }
                    return (job, writes);
                }
                Pick::Drop(order) => writes.extend(self.end(order, Record::drop_rest)),
                Pick::Fail(order, error) => {
                    writes.extend(self.end(order, |record| record.fail_rest(&error)));
                }
                Pick::Hold => {
                    self.held.insert(conversation.to_owned());
                    self.decide(conversation);
                    break;
                }
            }
        }
        (None, writes)
    }

    fn pick(&self, now_ms: u64, conversation: &str, room: &Room) -> Option<Pick> {
        let queue = self.queues.get(conversation)?;
        let order = *queue.orders.front()?;
        let head = self.posts.get(&order)?;
        let room = Room {
            awaits_answer: room.awaits_answer || queue.answers > 0,
            ..*room
        };
        if head.is_expired(now_ms) {
            return Some(Pick::Fail(order, expired()));
        }
        if room.is_open_to(head) {
            return Some(Pick::Send(order));
        }
        if head.is_progress {
            return Some(Pick::Drop(order));
        }
        if head.queue_until_ms.is_none() {
            return Some(Pick::Fail(order, window_closed()));
        }
        if !room.is_closed && queue.answers > 0 {
            let mut answers = queue.orders.iter().filter(|order| {
                let record = self.posts.get(order);
                record.is_some_and(|record| record.answers.is_some())
            });
            return answers.next().map(|order| Pick::Send(*order));
        }
        Some(Pick::Hold)
    }

    fn begin(&mut self, order: u64, since_ms: u64, writes: &mut Vec<Write>) -> Option<Job> {
        let record = self.posts.get_mut(&order)?;
        if record.begin() {
            writes.push(write(record));
        }
        let (index, part) = record.next_part()?;
        Some(Job {
            key: record.key.clone(),
            index,
            conversation: record.conversation.clone(),
            content: part.content.clone(),
            answers: record.answers.clone().filter(|_| index == 0),
            client_id: part.client_id.clone(),
            since_ms,
            is_again: part.is_again(),
        })
    }

    /// Settles a post without a request.
    fn end(&mut self, order: u64, settle: impl FnOnce(&mut Record)) -> Option<Write> {
        let record = self.posts.get_mut(&order)?;
        settle(record);
        let write = write(record);
        self.leave_queue(order);
        Some(write)
    }

    /// The reason why [`Outbox::turn`] has nothing although something may be ready: the time to ask
    /// again, or [`Duration::MAX`] when a running request or a login has to come first.
    pub(super) fn wake_after(&self, now: Duration) -> Option<Duration> {
        let parallel = if self.pace.is_unlimited() && !self.throttle.is_throttled() {
            MAX_PARALLEL
        } else {
            1
        };
        if self.in_flight.len() >= parallel {
            return Some(Duration::MAX);
        }
        let ready_at = self.pace.ready_at(now).max(self.throttle.ready_at(now));
        (ready_at > now).then_some(ready_at)
    }

    /// When to ask [`Outbox::turn`] and [`Outbox::expire`] again if nothing else happens.
    pub fn wake_at(&self, now: Duration, now_ms: u64) -> Option<Duration> {
        let delayed = self.delayed.first().map(|(due, _)| *due);
        let ready = (!self.ready.is_empty()).then(|| self.wake_after(now).unwrap_or(now));
        let expiry = self.expiries.first().map(|(until_ms, _)| {
            now.saturating_add(Duration::from_millis(until_ms.saturating_sub(now_ms)))
        });
        let at = [delayed, ready, expiry].into_iter().flatten().min()?;
        (at != Duration::MAX).then_some(at)
    }

    /// Fails what waited for too long.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Write> {
        let mut writes = Vec::new();
        while let Some((until_ms, order)) = self.expiries.first().copied()
            && until_ms <= now_ms
        {
            self.expiries.remove(&(until_ms, order));
            // One that is being sent is looked at again when its turn comes.
            let is_sending = self.in_flight.values().any(|other| *other == order);
            if !is_sending {
                writes.extend(self.end(order, |record| record.fail_rest(&expired())));
            }
        }
        writes
    }

    /// Takes in what became of a request; `random` spreads the pauses. `peer` is what was known of the
    /// peer when the request was made. Also true when nothing more is accepted for the peer until it
    /// writes.
    pub fn settle(
        &mut self,
        now: Duration,
        random: u64,
        job: &Job,
        outcome: Outcome,
        peer: Standing,
    ) -> (Vec<Write>, bool) {
        let Some(order) = self.in_flight.remove(&job.conversation) else {
            return (Vec::new(), false);
        };
        let Some(record) = self
            .posts
            .get_mut(&order)
            .filter(|record| record.key == job.key && record.is_pending(job.index))
        else {
            self.requeue(&job.conversation, None);
            return (Vec::new(), false);
        };
        let mut delay = None;
        let mut changed = true;
        let mut closes = false;
        let mut holds_account = None;
        match outcome {
            Outcome::Accepted { message_id } => {
                self.throttle.accepted(&job.conversation);
                record.accept(job.index, message_id);
                record.count = Some(peer.count);
            }
            // It tells nothing of what holds up the requests.
            Outcome::Answered => {
                record.accept(job.index, None);
                record.count = Some(peer.count);
                delay = Some(now + ANSWERED_PAUSE);
            }
            Outcome::Refused(error) => {
                self.throttle.answered();
                record.fail(job.index, &error);
            }
            Outcome::Unknown(error) => {
                changed = record.not_answered(job.index, error, MAX_TRIES);
                delay = (!changed).then(|| now + UNKNOWN_PAUSE);
            }
            Outcome::NotSent(error) => {
                record.not_sent(job.index, error);
                self.throttle.unreachable(now, random);
            }
            Outcome::NotUploaded(error) => {
                record.not_sent(job.index, error);
                delay = Some(now + UPLOAD_PAUSE);
            }
            Outcome::LoginRequired(error) => {
                record.not_sent(job.index, error.clone());
                // Its caller is told what the next one is told, whose post is not even stored.
                if record.is_impatient() {
                    record.fail_rest(&error);
                }
                self.throttle.needs_login();
                holds_account = Some(error);
            }
            Outcome::Declined { error, is_throttle } => {
                let meaning = match peer.explains_refusal && !is_throttle {
                    true => Meaning::Closed,
                    false => self
                        .throttle
                        .declined(now, random, &job.conversation, is_throttle),
                };
                record.not_sent(job.index, error.clone());
                match meaning {
                    Meaning::Closed => {
                        closes = true;
                        if record.is_progress {
                            record.drop_rest();
                        } else if record.queue_until_ms.is_none() {
                            record.fail_rest(&Error {
                                platform: error.platform,
                                ..window_closed()
                            });
                        }
                    }
                    Meaning::Unclear(until) => {
                        delay = Some(until);
                        give_up(record, &error, until.saturating_sub(now));
                    }
                    Meaning::Throttle => {
                        let pause = self.throttle.retry_after(now, &job.conversation);
                        let pause = pause.unwrap_or_default();
                        give_up(record, &error, pause);
                        holds_account = Some(throttled(pause));
                    }
                }
                self.decide(&job.conversation);
            }
        }
        let is_settled = self.posts.get(&order).is_some_and(Record::is_settled);
        if is_settled {
            self.leave_queue(order);
        }
        self.requeue(&job.conversation, delay);
        let mut writes = Vec::new();
        if changed {
            let goes_on =
                !is_settled && !closes && delay.is_none() && self.wake_after(now).is_none();
            if let Some(record) = self.posts.get_mut(&order) {
                if goes_on {
                    record.mark_next();
                }
                writes.push(write(record));
            }
        }
        if let Some(error) = holds_account {
            writes.extend(self.give_up_all(&error));
        }
        (writes, closes)
    }

    /// While the platform wants less, or no message at all, nothing waits that would rather fail; the
    /// callers of the others are told.
    fn give_up_all(&mut self, error: &Error) -> Vec<Write> {
        let stays = self.posts.values().filter(|record| !record.is_settled());
        self.decided.extend(stays.map(|record| record.key.clone()));
        let is_throttle = error.kind == ErrorKind::RateLimited;
        let impatient: Vec<u64> = self
            .posts
            .values()
            .filter(|record| !record.is_settled() && record.is_impatient())
            .map(|record| record.order)
            .filter(|order| !self.in_flight.values().any(|other| other == order))
            .collect();
        impatient
            .into_iter()
            .filter_map(|order| {
                self.end(order, |record| match record.is_progress && is_throttle {
                    true => record.drop_rest(),
                    false => record.fail_rest(error),
                })
            })
            .collect()
    }

    /// The callers of a conversation's posts may be told that these are queued.
    fn decide(&mut self, conversation: &str) {
        let queue = self.queues.get(conversation);
        let orders = queue.into_iter().flat_map(|queue| &queue.orders);
        let keys = orders.filter_map(|order| Some(self.posts.get(order)?.key.clone()));
        self.decided.extend(keys);
    }

    /// A settled post leaves the queue of its conversation.
    pub(super) fn leave_queue(&mut self, order: u64) {
        let Some(record) = self.posts.get(&order) else {
            return;
        };
        self.settled.push(order);
        self.settled_alone += usize::from(record.is_alone());
        self.bytes = self.bytes.saturating_sub(record.bytes());
        self.decided.push(record.key.clone());
        if record.is_reported {
            self.reports.push_back(order);
        }
        if let Some(until_ms) = record.queue_until_ms {
            self.expiries.remove(&(until_ms, order));
        }
        let conversation = &record.conversation;
        if let Some(queue) = self.queues.get_mut(conversation) {
            queue.answers -= usize::from(record.answers.is_some());
            match queue.orders.front() == Some(&order) {
                true => drop(queue.orders.pop_front()),
                false => queue.orders.retain(|other| *other != order),
            }
            if queue.orders.is_empty() {
                self.queues.remove(conversation);
                self.held.remove(conversation);
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

    /// Something changed that may make room for a conversation.
    pub fn release(&mut self, conversation: &str) {
        if self.held.remove(conversation) {
            self.ready.push_back(conversation.to_owned());
        }
    }

    /// The peer of a conversation wrote: what waited for that goes on.
    pub fn heard(&mut self, conversation: &str) {
        self.throttle.heard(conversation);
        self.release(conversation);
        let delayed = self.delayed.iter().find(|(_, other)| other == conversation);
        if let Some(entry) = delayed.cloned() {
            self.delayed.remove(&entry);
            self.ready.push_back(entry.1);
        }
    }
}

/// Fails a post that would not wait.
fn give_up(record: &mut Record, error: &Error, pause: Duration) {
    if record.is_progress {
        record.drop_rest();
    } else if record.is_impatient() {
        record.fail_rest(&Error {
            retry_after: Some(pause),
            ..error.clone()
        });
    }
}
