//! Bursts: what a person writes within a moment reaches the agent as one message.
//!
//! Promises: what was returned once is returned the same by every later instance, because a burst is
//! stored, under the id of its last message, before it is returned, and what is found stored without a
//! burst stays alone; nothing waits longer than a few moments.

use std::collections::HashMap;
use std::time::Duration;

use crate::message::{Body, Event, Message};
use crate::store::{BURST, Write, to_json};

/// Messages of one burst, at most.
const MAX_MESSAGES: usize = 32;
/// A burst that goes on is cut after so many moments.
const MAX_MOMENTS: u32 = 5;

/// What was joined, and what still waits for more.
#[derive(Debug, Default)]
pub struct Bursts {
    moment: Duration,
    /// When the first and the last message came that a conversation has waiting.
    arrivals: HashMap<String, (Duration, Duration)>,
    /// Ids by the id of the last.
    joined: HashMap<String, Vec<String>>,
    /// The other way round.
    last_of: HashMap<String, String>,
}

impl Bursts {
    /// Joins what comes within `moment` of each other; zero joins nothing new.
    pub fn new(moment: Duration) -> Bursts {
        Bursts {
            moment,
            ..Bursts::default()
        }
    }

    /// Takes in a stored burst; false when it can't be read.
    pub fn load(&mut self, last: &str, value: &[u8]) -> bool {
        let Ok(ids) = serde_json::from_slice(value) else {
            return false;
        };
        self.insert(last, ids);
        true
    }

    fn insert(&mut self, last: &str, ids: Vec<String>) {
        for id in &ids {
            self.last_of.insert(id.clone(), last.to_owned());
        }
        self.joined.insert(last.to_owned(), ids);
    }

    /// Whether every event is a message of its own.
    pub fn is_off(&self) -> bool {
        self.moment.is_zero() && self.joined.is_empty()
    }

    /// A message came.
    pub fn arrived(&mut self, now: Duration, conversation: &str) {
        if self.moment.is_zero() {
            return;
        }
        match self.arrivals.get_mut(conversation) {
            Some((_, last)) => *last = now,
            None => {
                self.arrivals.insert(conversation.to_owned(), (now, now));
            }
        }
    }

    fn ripe_at(&self, arrivals: (Duration, Duration)) -> Duration {
        ripe_at(self.moment, arrivals)
    }

    /// When the next burst is over.
    pub fn next(&self) -> Option<Duration> {
        let bursts = self.arrivals.values();
        bursts.map(|arrivals| self.ripe_at(*arrivals)).min()
    }

    /// Joins events that are in their order, as far as they are ripe; also those that are not, and
    /// what has to be written before the joined ones are returned.
    pub fn join(
        &mut self,
        now: Duration,
        events: impl Iterator<Item = Event>,
    ) -> (Vec<Event>, Vec<Event>, Vec<Write>) {
        let mut joined: Vec<Joined> = Vec::new();
        let mut unripe = Vec::new();
        // By conversation, what may still grow.
        let mut open: HashMap<String, usize> = HashMap::new();
        for event in events {
            let conversation = match &event.body {
                Body::Message(message) => &message.conversation,
                Body::Recalled { conversation, .. } | Body::Other { conversation, .. } => {
                    conversation
                }
            };
            let conversation = conversation.id.clone();
            let arrivals = self.arrivals.get(&conversation);
            if arrivals.is_some_and(|arrivals| self.ripe_at(*arrivals) > now) {
                unripe.push(event);
                continue;
            }
            let burst = open
                .get(&conversation)
                .and_then(|index| joined.get_mut(*index))
                .filter(|burst| burst.ids.len() < MAX_MESSAGES);
            match (burst, event.message()) {
                (Some(burst), Some(message)) => burst.add(&event.id, message),
                (_, Some(_)) => {
                    open.insert(conversation, joined.len());
                    joined.push(Joined::of(event));
                }
                (_, None) => {
                    open.remove(&conversation);
                    joined.push(Joined::of(event));
                }
            }
        }
        let moment = self.moment;
        self.arrivals
            .retain(|_, arrivals| ripe_at(moment, *arrivals) > now);
        let mut writes = Vec::new();
        for burst in joined.iter().filter(|burst| burst.ids.len() > 1) {
            writes.push(Write::set(key(&burst.event.id), to_json(&burst.ids)));
            self.insert(&burst.event.id, burst.ids.clone());
        }
        let joined = joined.into_iter().map(|burst| burst.event).collect();
        (joined, unripe, writes)
    }

    /// Joins stored events, in their order, as they were joined before.
    pub fn restore(&self, events: impl Iterator<Item = Event>) -> Vec<Event> {
        let mut joined: Vec<Joined> = Vec::new();
        let mut open: HashMap<&String, usize> = HashMap::new();
        for event in events {
            let last = self.last_of.get(&event.id);
            let burst = last.and_then(|last| joined.get_mut(*open.get(last)?));
            match (burst, event.message()) {
                (Some(burst), Some(message)) => burst.add(&event.id, message),
                _ => {
                    if let Some(last) = last {
                        open.insert(last, joined.len());
                    }
                    joined.push(Joined::of(event));
                }
            }
        }
        joined.into_iter().map(|burst| burst.event).collect()
    }

    /// The ids that were joined under this one.
    pub fn ids(&self, last: &str) -> &[String] {
        self.joined.get(last).map_or(&[], Vec::as_slice)
    }

    /// All that was joined.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.joined.iter()
    }

    /// Forgets bursts of which nothing is stored any more.
    pub fn retire(&mut self, is_held: impl Fn(&str) -> bool) -> Vec<Write> {
        let mut writes = Vec::new();
        self.joined.retain(|last, ids| {
            let stays = ids.iter().any(|id| is_held(id));
            if !stays {
                writes.push(Write::delete(key(last)));
                for id in ids {
                    self.last_of.remove(id);
                }
            }
            stays
        });
        writes
    }
}

/// When a burst is over whose first and last message came then.
fn ripe_at(moment: Duration, (first, last): (Duration, Duration)) -> Duration {
    (last + moment).min(first + moment * MAX_MOMENTS)
}

fn key(last: &str) -> String {
    format!("{BURST}{last}")
}

/// One event for the agent with the id of the last, and the ids of what it is made of.
#[derive(Debug)]
struct Joined {
    event: Event,
    ids: Vec<String>,
}

impl Joined {
    fn of(event: Event) -> Joined {
        Joined {
            ids: vec![event.id.clone()],
            event,
        }
    }

    fn add(&mut self, id: &str, next: &Message) {
        self.ids.push(id.to_owned());
        self.event.id = id.to_owned();
        let Body::Message(message) = &mut self.event.body else {
            return;
        };
        if !next.text.is_empty() {
            if !message.text.is_empty() {
                message.text.push('\n');
            }
            message.text.push_str(&next.text);
        }
        message.media.extend(next.media.iter().cloned());
        message.sent_at_ms = message.sent_at_ms.max(next.sent_at_ms);
        if message.quote.is_none() {
            message.quote.clone_from(&next.quote);
        }
        if next.reply_token.is_some() {
            message.reply_token.clone_from(&next.reply_token);
        }
    }
}
