//! The durable inbox: a batch and the cursor behind it are one write, and each event stays until it
//! is acknowledged.
//!
//! Promises: an event is returned by every later instance until it is acknowledged; a repeat of what
//! is stored or was acknowledged is dropped by its id; a batch of an older instance that arrives late
//! never moves the cursor back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::Event;
use super::seen::{Seen, fnv1a};
use super::store::{ACKS, BURST, CURSOR, JOURNAL, Write, to_json};

mod burst;

use burst::Bursts;

/// Polling stops at this many unacknowledged events and goes on below half of it.
pub const MAX_UNACKNOWLEDGED: usize = 10_000;

/// A batch's place in the order of batches: the instance that stored it, then its own count.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
struct Place {
    generation: u64,
    sequence: u64,
}

impl Place {
    fn parse(text: &str) -> Option<Place> {
        let (generation, sequence) = text.split_once('-')?;
        Some(Place {
            generation: u64::from_str_radix(generation, 16).ok()?,
            sequence: u64::from_str_radix(sequence, 16).ok()?,
        })
    }

    fn key(self, prefix: &str) -> String {
        format!("{prefix}{:016x}-{:016x}", self.generation, self.sequence)
    }
}

/// A batch as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Batch {
    cursor: String,
    events: Vec<Event>,
}

/// The cursor that outlives its batch, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Cursor {
    place: Place,
    cursor: String,
}

/// What is in memory of a stored batch.
#[derive(Debug)]
struct Live {
    cursor: String,
    ids: Vec<String>,
    acknowledged: Vec<bool>,
    acks_stored: bool,
}

/// Where an event is stored, and the hash of its conversation if it is a message.
#[derive(Debug, Clone, Copy)]
struct Entry {
    place: Place,
    index: usize,
    conversation: Option<u64>,
}

/// The inbox of one account; times are on one monotonic clock.
#[derive(Debug, Default)]
pub struct Journal {
    next: Place,
    cursor: Cursor,
    batches: BTreeMap<Place, Live>,
    /// Batches that are acknowledged as a whole, and how many events they have.
    complete: BTreeSet<Place>,
    complete_events: usize,
    places: HashMap<String, Entry>,
    undelivered: VecDeque<Event>,
    /// What waits for nothing but a call that takes it.
    later: VecDeque<Event>,
    bursts: Bursts,
    replay: Vec<Event>,
    /// Messages that are not acknowledged, by the hash of their conversation.
    awaiting: HashMap<u64, usize>,
    delivered: HashSet<String>,
    unacknowledged: usize,
    paused: bool,
    seen: Seen,
}

impl Journal {
    /// An empty journal of the instance `generation`; [`Journal::load`] what is stored. What comes
    /// within `moment` of each other from one person is returned as one message; zero joins nothing.
    pub fn new(generation: u64, moment: Duration) -> Journal {
        Journal {
            next: Place {
                generation,
                sequence: 0,
            },
            bursts: Bursts::new(moment),
            ..Journal::default()
        }
    }

    /// Takes in what is stored. `answered` are the ids of the events that a stored post answers.
    /// Returns sentences about what could not be read; such entries are left in the store.
    pub fn load(
        &mut self,
        entries: &[(String, Vec<u8>)],
        answered: &BTreeSet<String>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let mut stored = BTreeMap::new();
        let mut acks = HashMap::new();
        for (key, value) in entries {
            if key == CURSOR {
                match serde_json::from_slice(value) {
                    Ok(cursor) => self.cursor = cursor,
                    Err(error) => problems.push(format!("stored cursor is unreadable: {error}")),
                }
            } else if let Some(place) = key.strip_prefix(JOURNAL).and_then(Place::parse) {
                match serde_json::from_slice::<Batch>(value) {
                    Ok(batch) => {
                        stored.insert(place, batch);
                    }
                    Err(error) => problems.push(format!("stored {key} is unreadable: {error}")),
                }
            } else if let Some(place) = key.strip_prefix(ACKS).and_then(Place::parse) {
                acks.insert(place, value);
            } else if let Some(last) = key.strip_prefix(BURST) {
                if !self.bursts.load(last, value) {
                    problems.push(format!("stored {key} is unreadable"));
                }
            } else {
                self.seen.load(key, value);
            }
        }
        let bits = |place: &Place, index| acks.get(place).is_some_and(|bits| bit(bits, index));
        let mut acknowledged: HashSet<&str> = answered.iter().map(String::as_str).collect();
        for (place, batch) in &stored {
            let ids = batch
                .events
                .iter()
                .map(|event| event.id.as_str())
                .enumerate();
            acknowledged.extend(
                ids.filter(|(index, id)| bits(place, *index) || self.seen.contains(id))
                    .map(|(_, id)| id),
            );
        }
        // A burst is settled by the id of its last message.
        let settled = self.bursts.all();
        let settled = settled
            .filter(|(last, _)| acknowledged.contains(last.as_str()) || self.seen.contains(last));
        let settled: Vec<&str> = settled
            .flat_map(|(_, ids)| ids.iter().map(String::as_str))
            .collect();
        acknowledged.extend(settled);
        let mut held = Vec::new();
        for (place, batch) in &stored {
            let ids: Vec<String> = batch.events.iter().map(|event| event.id.clone()).collect();
            let live = Live {
                cursor: batch.cursor.clone(),
                acknowledged: ids
                    .iter()
                    .map(|id| acknowledged.contains(id.as_str()))
                    .collect(),
                ids,
                acks_stored: acks.contains_key(place),
            };
            held.push((*place, live));
        }
        for ((place, live), batch) in held.into_iter().zip(stored.into_values()) {
            self.replay.extend(batch.events.iter().cloned());
            self.hold(place, live, batch.events);
        }
        if !self.bursts.is_off() {
            let restored = self.bursts.restore(self.undelivered.drain(..));
            self.later.extend(restored);
        }
        problems
    }

    /// Whether a key is a batch that an older instance stored after this one had read the store.
    pub fn is_foreign(&self, key: &str) -> bool {
        key.strip_prefix(JOURNAL)
            .and_then(Place::parse)
            .is_some_and(|place| {
                place.generation < self.next.generation && !self.batches.contains_key(&place)
            })
    }

    /// The events of the loaded batches, oldest first: what they tell of the peers is newer than what
    /// is stored of these.
    pub fn take_replay(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.replay)
    }

    /// The cursor for the next poll: that of the newest batch.
    pub fn cursor(&self) -> &str {
        match self.batches.last_key_value() {
            Some((place, live)) if *place > self.cursor.place => &live.cursor,
            _ => &self.cursor.cursor,
        }
    }

    /// Whether an event is stored or was acknowledged.
    pub fn knows(&self, id: &str) -> bool {
        self.places.contains_key(id) || self.seen.contains(id)
    }

    /// Takes in a batch with its cursor: one write, or none when neither is new. Repeats are
    /// dropped.
    pub fn accept(&mut self, now: Duration, cursor: String, events: Vec<Event>) -> Option<Write> {
        let mut ids = HashSet::new();
        let events: Vec<Event> = events
            .into_iter()
            .filter(|event| !self.knows(&event.id) && ids.insert(event.id.clone()))
            .collect();
        if events.is_empty() && cursor == self.cursor() {
            return None;
        }
        for message in events.iter().filter_map(Event::message) {
            self.bursts.arrived(now, &message.conversation.id);
        }
        let place = self.next;
        self.next.sequence += 1;
        let batch = Batch { cursor, events };
        let write = Write::set(place.key(JOURNAL), to_json(&batch));
        let ids: Vec<String> = batch.events.iter().map(|event| event.id.clone()).collect();
        let live = Live {
            cursor: batch.cursor,
            acknowledged: vec![false; ids.len()],
            ids,
            acks_stored: false,
        };
        self.hold(place, live, batch.events);
        Some(write)
    }

    fn hold(&mut self, place: Place, live: Live, events: Vec<Event>) {
        for (index, event) in events.into_iter().enumerate() {
            let conversation = event
                .message()
                .map(|message| fnv1a(message.conversation.id.as_bytes()));
            let entry = Entry {
                place,
                index,
                conversation,
            };
            self.places.insert(event.id.clone(), entry);
            if live.acknowledged.get(index) == Some(&false) {
                self.unacknowledged += 1;
                if let Some(conversation) = conversation {
                    *self.awaiting.entry(conversation).or_default() += 1;
                }
                if !self.delivered.contains(&event.id) {
                    self.undelivered.push_back(event);
                }
            }
        }
        if !live.acknowledged.contains(&false) {
            self.complete.insert(place);
            self.complete_events += live.ids.len();
        }
        self.batches.insert(place, live);
        if self.unacknowledged >= MAX_UNACKNOWLEDGED {
            self.paused = true;
        }
    }

    /// The next events that this instance has not returned yet, oldest first, and what has to be
    /// written before they are returned.
    pub fn take(&mut self, now: Duration, limit: usize) -> (Vec<Event>, Vec<Write>) {
        let mut writes = Vec::new();
        if self.bursts.is_off() {
            let count = limit.min(self.undelivered.len());
            self.later.extend(self.undelivered.drain(..count));
        } else {
            let (joined, unripe);
            (joined, unripe, writes) = self.bursts.join(now, self.undelivered.drain(..));
            self.undelivered.extend(unripe);
            self.later.extend(joined);
        }
        let count = limit.min(self.later.len());
        let events: Vec<Event> = self.later.drain(..count).collect();
        for event in &events {
            self.delivered.insert(event.id.clone());
            self.delivered
                .extend(self.bursts.ids(&event.id).iter().cloned());
        }
        (events, writes)
    }

    /// When [`Journal::take`] has something that now still waits for more.
    pub fn ripe_at(&self) -> Option<Duration> {
        self.bursts.next()
    }

    /// Goes on where this instance was before it loaded again: with its count of batches, and
    /// without returning twice what it returned.
    pub fn follow(&mut self, before: Journal) {
        self.next = self.next.max(before.next);
        self.undelivered
            .retain(|event| !before.delivered.contains(&event.id));
        self.later
            .retain(|event| !before.delivered.contains(&event.id));
        self.delivered = before.delivered;
    }

    /// Acknowledges events. The bits are for those that no stored post answers: write them before
    /// the acknowledgement is confirmed. Unknown ids are ignored.
    pub fn acknowledge<'a>(&mut self, ids: impl Iterator<Item = &'a str>) -> Vec<Write> {
        let mut places = Vec::new();
        for id in ids {
            // The last one of a burst comes first: it stands for all.
            places.extend(self.mark(id));
        }
        let mut written = HashSet::new();
        places.retain(|place| written.insert(*place));
        places
            .into_iter()
            .filter_map(|place| {
                let live = self.batches.get_mut(&place)?;
                live.acks_stored = true;
                Some(Write::set(place.key(ACKS), bits(&live.acknowledged)))
            })
            .collect()
    }

    /// Notes that a stored post answers an event; nothing has to be written for that.
    pub fn answered(&mut self, id: &str) {
        self.mark(id);
    }

    /// Marks an event, and what was joined under its id.
    fn mark(&mut self, id: &str) -> Vec<Place> {
        let others = self.bursts.ids(id).to_vec();
        let mut places: Vec<Place> = self.mark_one(id).into_iter().collect();
        for other in others.iter().filter(|other| *other != id) {
            places.extend(self.mark_one(other));
        }
        places
    }

    fn mark_one(&mut self, id: &str) -> Option<Place> {
        let entry = *self.places.get(id)?;
        let live = self.batches.get_mut(&entry.place)?;
        if std::mem::replace(live.acknowledged.get_mut(entry.index)?, true) {
            return Some(entry.place);
        }
        if !live.acknowledged.contains(&false) {
            self.complete.insert(entry.place);
            self.complete_events += live.ids.len();
        }
        self.unacknowledged -= 1;
        if let Some(conversation) = entry.conversation
            && let Some(count) = self.awaiting.get_mut(&conversation)
        {
            *count -= 1;
            if *count == 0 {
                self.awaiting.remove(&conversation);
            }
        }
        if self.unacknowledged < MAX_UNACKNOWLEDGED / 2 {
            self.paused = false;
        }
        if !self.delivered.remove(id) {
            let waiting = [&mut self.undelivered, &mut self.later];
            for events in waiting {
                if let Some(index) = events.iter().position(|event| event.id == id) {
                    events.remove(index);
                }
            }
        }
        Some(entry.place)
    }

    /// How much [`Journal::retire`] would remove: batches, or their events if those are more.
    pub fn complete(&self) -> usize {
        self.complete_events.max(self.complete.len())
    }

    /// Removes what is acknowledged as a whole. What is known of the peers must be written before.
    pub fn retire(&mut self) -> Vec<Write> {
        let places = std::mem::take(&mut self.complete);
        self.complete_events = 0;
        let mut writes = Vec::new();
        let newest = self
            .batches
            .last_key_value()
            .map(|(place, live)| (*place, live.cursor.clone()));
        if let Some((place, cursor)) = newest
            && places.contains(&place)
            && place > self.cursor.place
        {
            self.cursor = Cursor { place, cursor };
            writes.push(Write::set(CURSOR.to_owned(), to_json(&self.cursor)));
        }
        let removed: Vec<(Place, Live)> = places
            .iter()
            .filter_map(|place| self.batches.remove_entry(place))
            .collect();
        let ids = removed
            .iter()
            .flat_map(|(_, live)| live.ids.iter().map(String::as_str));
        writes.extend(self.seen.insert(ids));
        for (place, live) in &removed {
            for id in &live.ids {
                self.places.remove(id);
            }
            writes.push(Write::delete(place.key(JOURNAL)));
            if live.acks_stored {
                writes.push(Write::delete(place.key(ACKS)));
            }
        }
        let places = &self.places;
        writes.extend(self.bursts.retire(|id| places.contains_key(id)));
        writes
    }

    /// Whether an event is still stored, or what was joined under its id.
    pub fn holds(&self, id: &str) -> bool {
        let mut others = self.bursts.ids(id).iter();
        self.places.contains_key(id) || others.any(|other| self.places.contains_key(other))
    }

    /// Whether a conversation has messages that are not acknowledged.
    pub fn awaits(&self, conversation: &str) -> bool {
        self.awaiting.contains_key(&fnv1a(conversation.as_bytes()))
    }

    /// Events that are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    /// Whether so many events are unacknowledged that polling has to wait.
    pub fn is_paused(&self) -> bool {
        self.paused
    }
}

fn bits(flags: &[bool]) -> Vec<u8> {
    flags
        .chunks(8)
        .map(|flags| {
            let bits = flags.iter().enumerate();
            bits.fold(0, |byte, (index, flag)| byte | (u8::from(*flag) << index))
        })
        .collect()
}

fn bit(bytes: &[u8], index: usize) -> bool {
    bytes
        .get(index / 8)
        .is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

#[cfg(test)]
mod tests;
