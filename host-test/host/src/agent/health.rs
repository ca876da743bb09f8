//! How an agent does, as the messages that are with it tell. All accounts of an agent share it.
//!
//! - A message is held to account for itself alone. Its failures are its own only where another
//!   message, begun later, was answered, and it fails once more after that; or where it is the only one that fails, and the agent's
//!   process ended with it alone. Where every message fails, that is an outage and no message's fault.
//! - What fails until somebody mends it closes a gate: then one message at a time tries, at growing
//!   pauses, and the others wait for what becomes of it.
//! - Each new reason is told once, with how many conversations wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{AgentError, Fault};
use crate::clock::Clock;

/// A message that failed so often for itself is put aside.
pub const TRIES: u32 = 5;
/// The same for failures that say the agent is away, while others are answered all the time. A limit of
/// its rate counts against no message, however often: somebody is always within it.
const OUTAGE_TRIES: u32 = 30;
/// Pauses before a message is given to the agent again, or another one tries the gate.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What a server asks for counts up to this.
pub(crate) const LONGEST_WISH: Duration = Duration::from_secs(600);
/// Reasons that are kept apart.
const MAX_REASONS: usize = 32;

/// How an agent does.
#[derive(Default)]
pub struct Health {
    state: Mutex<State>,
    gate_changed: Notify,
}

debug_by_name!(Health);

#[derive(Default)]
struct State {
    /// Counts what happens, so that one thing is known to be after another.
    now: u64,
    cases: u64,
    /// Messages whose last try failed.
    failing: HashMap<u64, Failing>,
    reasons: HashMap<String, Reason>,
    /// Of the answered messages the one that was begun last: when it was, and when it ended.
    answered: (u64, u64),
    /// When a message last failed at its first try.
    fresh_failure: u64,
    gate: Gate,
}

struct Failing {
    conversation: Arc<str>,
    reason: String,
}

#[derive(Default)]
struct Reason {
    /// Who waits because of it, with how many messages.
    conversations: HashMap<Arc<str>, usize>,
    /// How many conversations were told of; 0: it was not told.
    told: usize,
}

#[derive(Default)]
struct Gate {
    /// None: every message passes.
    closed: Option<Closed>,
    /// Who waits: those that were tried least come first.
    waiting: BTreeSet<(u32, u64)>,
}

/// A gate that lets one message through at a time.
#[derive(Default)]
struct Closed {
    /// The message that tries.
    probe: Option<u64>,
    /// When the next one may try.
    next: Duration,
    /// The pause before that.
    pause: Duration,
}

/// What an operator is to be told of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Conversations that wait because of it.
    pub conversations: usize,
}

/// One message on its way to its answer. It no longer counts once it is dropped.
pub(crate) struct Case {
    health: Arc<Health>,
    number: u64,
    conversation: Arc<str>,
    tries: u32,
    /// Failures that may be the message's own.
    own: u32,
    outages: u32,
    /// How often it met what only the operator can mend.
    lasting: u32,
    began: u64,
    first_failure: Option<u64>,
    /// The last failure was that of a process that had this message alone.
    was_alone: bool,
    /// When the last try began, another message had been answered since the first failure.
    had_witness: bool,
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        // What a panicked holder left is whole enough: counts, and no more.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of a conversation, which is named with its account.
    pub(crate) fn case(self: &Arc<Health>, conversation: Arc<str>) -> Case {
        let number = {
            let mut state = self.state();
            state.cases += 1;
            state.cases
        };
        Case {
            health: Arc::clone(self),
            number,
            conversation,
            tries: 0,
            own: 0,
            outages: 0,
            lasting: 0,
            began: 0,
            first_failure: None,
            was_alone: false,
            had_witness: false,
        }
    }

    /// Conversations with a message whose last try failed.
    pub fn failing_conversations(&self) -> usize {
        let state = self.state();
        let conversations = state.failing.values().map(|failing| &failing.conversation);
        conversations.collect::<BTreeSet<_>>().len()
    }
}

/// What a gate says to a message.
enum Passage {
    Free,
    /// Not before this time, and not before those ahead.
    Waits(Duration),
}

impl Gate {
    /// Lets a message pass, or puts it in the line of those that wait.
    fn pass(&mut self, place: (u32, u64), now: Duration) -> Passage {
        let Some(closed) = &mut self.closed else {
            return Passage::Free;
        };
        self.waiting.insert(place);
        let is_first = self.waiting.first() == Some(&place);
        if is_first && closed.probe.is_none() && now >= closed.next {
            closed.probe = Some(place.1);
            return Passage::Free;
        }
        Passage::Waits(closed.next)
    }

    /// A message has tried; whether it was the one that might.
    fn end_probe(&mut self, number: u64) -> bool {
        let closed = self.closed.as_mut();
        let probe = closed.and_then(|closed| closed.probe.take_if(|probe| *probe == number));
        probe.is_some()
    }
}

impl State {
    /// The next point in time.
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Takes a message out of those that fail; its reason, if nobody else has it any more.
    fn unlink(&mut self, number: u64) -> Option<String> {
        let failing = self.failing.remove(&number)?;
        let reason = self.reasons.get_mut(&failing.reason)?;
        if let Some(messages) = reason.conversations.get_mut(&failing.conversation) {
            *messages -= 1;
            if *messages == 0 {
                reason.conversations.remove(&failing.conversation);
            }
        }
        reason.conversations.is_empty().then_some(failing.reason)
    }

    /// Notes why a message fails.
    fn link(&mut self, case: &Case, error: &AgentError) -> Option<Notice> {
        self.unlink(case.number);
        let mut key = key_of(error);
        if !self.reasons.contains_key(&key) && self.reasons.len() >= MAX_REASONS {
            key = String::new();
        }
        let reason = self.reasons.entry(key.clone()).or_default();
        let conversation = Arc::clone(&case.conversation);
        *reason.conversations.entry(conversation).or_default() += 1;
        let conversations = reason.conversations.len();
        let is_news = reason.told == 0 || conversations >= 10 * reason.told;
        if is_news {
            reason.told = conversations;
        }
        self.failing.insert(
            case.number,
            Failing {
                conversation: Arc::clone(&case.conversation),
                reason: key,
            },
        );
        is_news.then_some(Notice { conversations })
    }

    /// Whether a message begun after this was answered, and none has failed since that was new.
    fn has_witness(&self, after: u64) -> bool {
        let (began, ended) = self.answered;
        began > after && ended > self.fresh_failure
    }
}

impl Case {
    /// Waits until the message may be given to the agent.
    pub async fn pass(&mut self, clock: &Clock) {
        let health = Arc::clone(&self.health);
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let changed = health.gate_changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let now = clock.elapsed();
            let due = {
                let mut state = health.state();
                let place = (self.tries, self.number);
                match state.gate.pass(place, now) {
                    Passage::Free => {
                        self.began = state.tick();
                        break;
                    }
                    Passage::Waits(until) => until,
                }
            };
            waiting.get_or_insert_with(|| Waiting {
                health: &health,
                place: (self.tries, self.number),
            });
            match now < due {
                true => tokio::select! {
                    () = changed => {}
                    () = clock.sleep_until(due) => {}
                },
                false => changed.await,
            }
        }
        drop(waiting);
        // A probe that did not wait is in the line as well.
        let mut state = health.state();
        self.had_witness = self
            .first_failure
            .is_some_and(|first| state.has_witness(first));
        state.gate.waiting.remove(&(self.tries, self.number));
    }

    /// The agent has dealt with the message; true where it is news that the agent answers again.
    pub fn answered(&mut self) -> bool {
        let mut state = self.health.state();
        let ended = state.tick();
        if self.began > state.answered.0 {
            state.answered = (self.began, ended);
        }
        let healed = state.unlink(self.number);
        let told = healed.and_then(|reason| state.reasons.remove(&reason));
        if state.failing.is_empty() {
            state.reasons.clear();
        }
        state.gate.closed = None;
        drop(state);
        self.health.gate_changed.notify_waiters();
        told.is_some_and(|reason| reason.told > 0)
    }

    /// The message failed. Tells what an operator does not know yet.
    pub fn failed(&mut self, error: &AgentError, now: Duration) -> Option<Notice> {
        self.tries += 1;
        let mut state = self.health.state();
        let ended = state.tick();
        if self.first_failure.is_none() {
            self.first_failure = Some(ended);
            state.fresh_failure = ended;
        }
        match error.fault() {
            Fault::Outage if error.is_limit() => {}
            Fault::Outage => self.outages += 1,
            Fault::Message | Fault::Lasting | Fault::Final => self.own += 1,
        }
        self.was_alone = *error == AgentError::ProcessEndedAlone;
        let is_probe = state.gate.end_probe(self.number);
        // One message that is refused again and again closes nothing for the others, nor does one that
        // is refused while others are answered.
        let is_lasting = error.fault() == Fault::Lasting;
        self.lasting += u32::from(is_lasting);
        let is_news = self.lasting == 1 && state.answered.1 <= self.began;
        let closes = is_lasting && is_news && state.gate.closed.is_none();
        if closes || is_probe {
            let gate = state.gate.closed.get_or_insert_default();
            gate.pause = (gate.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            let wish = error.retry_after().unwrap_or_default().min(LONGEST_WISH);
            gate.next = now + gate.pause.max(wish);
        }
        let notice = state.link(self, error);
        drop(state);
        self.health.gate_changed.notify_waiters();
        notice
    }

    /// How often it was tried.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Whether it failed so often that another message is to show whether that is its own fault.
    pub fn is_suspect(&self) -> bool {
        self.own >= TRIES || self.outages >= OUTAGE_TRIES
    }

    /// Whether its failures are its own.
    pub fn is_guilty(&self) -> bool {
        let Some(first) = self.first_failure else {
            return false;
        };
        if !self.is_suspect() {
            return false;
        }
        let state = self.health.state();
        let is_only_one = state.failing.len() == 1 && state.failing.contains_key(&self.number);
        // What healed meanwhile heals this one as well: it has to fail once more.
        let is_alone_in_it = self.had_witness && state.has_witness(first);
        is_alone_in_it || (self.was_alone && is_only_one)
    }

    /// Whether the next try waits for the gate and for nothing else.
    pub fn waits_at_gate(&self) -> bool {
        self.health.state().gate.closed.is_some()
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let mut state = self.health.state();
        state.unlink(self.number);
        if state.failing.is_empty() {
            state.reasons.clear();
        }
        state.gate.end_probe(self.number);
        drop(state);
        self.health.gate_changed.notify_waiters();
    }
}

/// A place in the line before the gate, which is given up when the wait is.
struct Waiting<'a> {
    health: &'a Health,
    place: (u32, u64),
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.health.state();
        let waiting = &mut state.gate.waiting;
        // Only the next in line waits for this place; waking all of them each time would be quadratic.
        let was_next = waiting.first() == Some(&self.place);
        waiting.remove(&self.place);
        drop(state);
        if was_next {
            self.health.gate_changed.notify_waiters();
        }
    }
}

/// The same for the same reason: servers put numbers, times and ids of requests into their words.
fn key_of(error: &AgentError) -> String {
    let status = match error {
        AgentError::Status(status) | AgentError::Refused { status, .. } => *status,
        _ => 0,
    };
    let text = error.to_string();
    let words = text.split_whitespace();
    let words = words.filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()));
    let words: Vec<&str> = words.collect();
    format!("{} {status} {}", error.kind(), words.join(" "))
}

#[cfg(test)]
mod tests;
