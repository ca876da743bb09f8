//! The sender's decisions: whose turn it is, what may be sent, and what follows from the platform's
//! answer.

use super::throttle::{Cause, Throttle};
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
    /// How many of these are kept for answers.
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

    /// Whether a post may be sent that answers nothing.
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
    /// What the peer was sent, this request included.
    pub count: Count,
    /// The peer's share or its silence explains a refusal.
    pub explains_refusal: bool,
}

/// What follows from the answer to a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// What has to be written.
    pub writes: Vec<Write>,
    /// The platform accepts nothing more for the peer until it writes.
    pub closes_peer: bool,
}

/// What happens to the first post of a conversation.
enum Pick {
    Send(u64),
    Drop(u64),
    Fail(u64, Error),
    Hold,
}

/// How a conversation goes on after a request.
enum Decision {
    /// In its turn.
    Continue,
    /// Not before this time.
    ContinueAt(Duration),
    /// With the same part, not before this time. Nothing is written: the store has the try already.
    RepeatAt(Duration),
    /// With the same part, not before this time, because the platform declined it without a reason.
    DeclinedUntil(Duration),
    /// When its peer writes.
    ClosePeer,
    /// When the platform takes messages of the account again. Until then this is the error of what would
    /// not wait.
    HoldAccount(Error),
}

impl Decision {
    fn until(&self) -> Option<Duration> {
        match self {
            Decision::ContinueAt(until)
            | Decision::RepeatAt(until)
            | Decision::DeclinedUntil(until) => Some(*until),
            Decision::Continue | Decision::ClosePeer | Decision::HoldAccount(_) => None,
        }
    }
}

impl Outbox {
    /// The conversation whose turn it is; [`Outbox::next`] has to follow.
    pub fn turn(&mut self, now: Duration) -> Option<String> {
        self.schedule.wake(now);
        match self.wake_after(now) {
            Some(_) => None,
            None => self.schedule.next(),
        }
    }

    /// The next request of a conversation, if there is one to make. The caller makes the writes before
    /// the request.
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
                        self.schedule.begin(conversation, order);
                        self.pace.take(now);
                    }
                    return (job, writes);
                }
                Pick::Drop(order) => writes.extend(self.end(order, Record::drop_rest)),
                Pick::Fail(order, error) => {
                    writes.extend(self.end(order, |record| record.fail_rest(&error)));
                }
                Pick::Hold => {
                    self.schedule.hold(conversation);
                    self.tell_callers(conversation);
                    break;
                }
            }
        }
        (None, writes)
    }

    fn pick(&self, now_ms: u64, conversation: &str, room: &Room) -> Option<Pick> {
        let order = self.schedule.orders(conversation).next()?;
        let head = self.posts.get(&order)?;
        let has_answers = self.schedule.has_answers(conversation);
        let room = Room {
            awaits_answer: room.awaits_answer || has_answers,
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
        if !room.is_closed && has_answers {
            let mut answers = self.schedule.orders(conversation).filter(|order| {
                let record = self.posts.get(order);
                record.is_some_and(|record| record.answers.is_some())
            });
            return answers.next().map(Pick::Send);
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

    /// Why [`Outbox::turn`] has nothing although a conversation may be ready: the time to ask again, or
    /// [`Duration::MAX`] when a running request or a login has to come first.
    pub(super) fn wake_after(&self, now: Duration) -> Option<Duration> {
        let parallel = if self.pace.is_unlimited() && !self.throttle.is_throttled() {
            MAX_PARALLEL
        } else {
            1
        };
        if self.schedule.in_flight() >= parallel {
            return Some(Duration::MAX);
        }
        let ready_at = self.pace.ready_at(now).max(self.throttle.ready_at(now));
        (ready_at > now).then_some(ready_at)
    }

    /// When to ask [`Outbox::turn`] and [`Outbox::expire`] again if nothing else happens.
    pub fn wake_at(&self, now: Duration, now_ms: u64) -> Option<Duration> {
        let delayed = self.schedule.next_delay();
        let has_turns = self.schedule.has_turns();
        let ready = has_turns.then(|| self.wake_after(now).unwrap_or(now));
        let expiry = self.expiries.first().map(|(until_ms, _)| {
            now.saturating_add(Duration::from_millis(until_ms.saturating_sub(now_ms)))
        });
        let at = [delayed, ready, expiry].into_iter().flatten().min()?;
        (at != Duration::MAX).then_some(at)
    }

    /// Fails the posts that have waited for too long.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Write> {
        let mut writes = Vec::new();
        while let Some((until_ms, order)) = self.expiries.first().copied()
            && until_ms <= now_ms
        {
            self.expiries.remove(&(until_ms, order));
            // A post that is being sent is looked at again when its turn comes.
            let record = self.posts.get(&order);
            if record.is_some_and(|record| !self.is_sending(record)) {
                writes.extend(self.end(order, |record| record.fail_rest(&expired())));
            }
        }
        writes
    }

    /// Takes in what became of a request; `random` spreads the pauses. `peer` is what was known of the
    /// peer when the request was made.
    pub fn settle(
        &mut self,
        now: Duration,
        random: u64,
        job: &Job,
        outcome: Outcome,
        peer: Standing,
    ) -> Settlement {
        let Some(order) = self.schedule.sending(&job.conversation) else {
            return Settlement::default();
        };
        let Some(record) = self
            .posts
            .get_mut(&order)
            .filter(|record| record.key == job.key && record.is_pending(job.index))
        else {
            self.schedule.finish(&job.conversation, None);
            return Settlement::default();
        };
        let throttle = &mut self.throttle;
        let was_held = throttle.holds_account();
        let decision = decide(record, throttle, now, random, job.index, outcome, peer);
        if record.is_settled() {
            self.leave_queue(order);
        }
        self.schedule.finish(&job.conversation, decision.until());
        let mut writes = Vec::new();
        if !matches!(decision, Decision::RepeatAt(_)) {
            let goes_on = matches!(decision, Decision::Continue) && self.wake_after(now).is_none();
            if let Some(record) = self.posts.get_mut(&order) {
                if goes_on {
                    record.mark_next();
                }
                writes.push(write(record));
            }
        }
        match &decision {
            Decision::ClosePeer | Decision::DeclinedUntil(_) => {
                self.tell_callers(&job.conversation);
            }
            Decision::HoldAccount(error) => {
                // While the account is held, a post is queued from the start, and its caller is told.
                if !was_held {
                    self.tell_all_callers();
                }
                writes.extend(self.give_up_all(error));
            }
            Decision::Continue | Decision::ContinueAt(_) | Decision::RepeatAt(_) => {}
        }
        Settlement {
            writes,
            closes_peer: matches!(decision, Decision::ClosePeer),
        }
    }

    /// The callers of all posts may be told that these are queued.
    fn tell_all_callers(&mut self) {
        let waiting = self.posts.values().filter(|record| !record.is_settled());
        self.decided
            .extend(waiting.map(|record| record.key.clone()));
    }

    /// While the platform takes nothing of the account, the posts fail that would not wait.
    fn give_up_all(&mut self, error: &Error) -> Vec<Write> {
        let is_throttle = error.kind == ErrorKind::RateLimited;
        let impatient: Vec<u64> = self
            .posts
            .values()
            .filter(|record| !record.is_settled() && record.is_impatient())
            .filter(|record| !self.is_sending(record))
            .map(|record| record.order)
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
    fn tell_callers(&mut self, conversation: &str) {
        let orders = self.schedule.orders(conversation);
        let keys = orders.filter_map(|order| Some(self.posts.get(&order)?.key.clone()));
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
        self.schedule.remove(record);
    }

    /// Something changed that may make room for a conversation.
    pub fn release(&mut self, conversation: &str) {
        self.schedule.release(conversation);
    }

    /// The peer of a conversation wrote: what waited for that goes on.
    pub fn heard(&mut self, conversation: &str) {
        self.throttle.heard(conversation);
        self.schedule.hurry(conversation);
    }
}

/// Notes on a record and on the throttle what became of the request for the part `index`.
fn decide(
    record: &mut Record,
    throttle: &mut Throttle,
    now: Duration,
    random: u64,
    index: usize,
    outcome: Outcome,
    peer: Standing,
) -> Decision {
    match outcome {
        Outcome::Accepted { message_id } => {
            throttle.accepted(now, &record.conversation);
            record.accept(index, message_id);
            record.count = Some(peer.count);
            Decision::Continue
        }
        // This outcome tells nothing about the platform's API, so the throttle does not change.
        Outcome::Answered => {
            record.accept(index, None);
            record.count = Some(peer.count);
            Decision::ContinueAt(now + ANSWERED_PAUSE)
        }
        Outcome::Refused(error) => {
            throttle.answered();
            record.fail(index, &error);
            Decision::Continue
        }
        Outcome::Unknown(error) => match record.not_answered(index, error, MAX_TRIES) {
            true => Decision::Continue,
            false => Decision::RepeatAt(now + UNKNOWN_PAUSE),
        },
        Outcome::NotSent(error) => {
            record.not_sent(index, error);
            throttle.unreachable(now, random);
            Decision::Continue
        }
        Outcome::NotUploaded(error) => {
            record.not_sent(index, error);
            Decision::ContinueAt(now + UPLOAD_PAUSE)
        }
        Outcome::LoginRequired(error) => {
            record.not_sent(index, error.clone());
            // The caller gets the same error as the next caller, whose post is not even stored.
            if record.is_impatient() {
                record.fail_rest(&error);
            }
            throttle.needs_login();
            Decision::HoldAccount(error)
        }
        Outcome::Declined { error, is_throttle } => {
            record.not_sent(index, error.clone());
            let cause = match peer.explains_refusal && !is_throttle {
                true => Cause::ClosedPeer,
                false => {
                    let (conversation, pause) = (&record.conversation, error.retry_after);
                    throttle.declined(now, random, conversation, is_throttle, pause)
                }
            };
            let pause = throttle.retry_after(now, &record.conversation);
            declined(record, error, cause, now, pause.unwrap_or_default())
        }
    }
}

/// Ends a post that the platform declined, unless it waits until the cause has passed. `pause` is how
/// long the throttle lasts.
fn declined(
    record: &mut Record,
    error: Error,
    cause: Cause,
    now: Duration,
    pause: Duration,
) -> Decision {
    match cause {
        Cause::ClosedPeer => {
            if record.is_progress {
                record.drop_rest();
            } else if record.queue_until_ms.is_none() {
                record.fail_rest(&Error {
                    platform: error.platform,
                    ..window_closed()
                });
            }
            Decision::ClosePeer
        }
        Cause::Unclear(until) => {
            give_up(record, &error, until.saturating_sub(now));
            Decision::DeclinedUntil(until)
        }
        Cause::Throttle => {
            give_up(record, &error, pause);
            Decision::HoldAccount(throttled(pause))
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
