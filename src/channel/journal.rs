//! The durable inbox: a batch and the cursor behind it are one write, and each event stays until it
//! is acknowledged.
//!
//! Promises: an event is returned by every later instance until it is acknowledged; a repeat of what
//! is stored or was acknowledged is dropped by its id; a batch of an older instance that arrives late
//! never moves the cursor back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::message::Event;
use super::peers::Heard;
use super::seen::Seen;
use super::store::{ACKS, CURSOR, JOURNAL, Write, to_json};

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

/// The inbox of one account.
#[derive(Debug, Default)]
pub struct Journal {
    next: Place,
    cursor: Cursor,
    batches: BTreeMap<Place, Live>,
    /// Batches that are acknowledged as a whole, and how many events they have.
    complete: BTreeSet<Place>,
    complete_events: usize,
    places: HashMap<String, (Place, usize)>,
    undelivered: VecDeque<Event>,
    replay: Vec<Heard>,
    delivered: HashSet<String>,
    unacknowledged: usize,
    paused: bool,
    seen: Seen,
}

impl Journal {
    /// An empty journal of the instance `generation`; [`Journal::load`] what is stored.
    pub fn new(generation: u64) -> Journal {
        Journal {
            next: Place {
                generation,
                sequence: 0,
            },
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
            } else {
                self.seen.load(key, value);
            }
        }
        for (place, batch) in stored {
            self.replay.extend(
                batch
                    .events
                    .iter()
                    .filter_map(Event::message)
                    .map(Heard::from),
            );
            let bits = acks.get(&place);
            let ids: Vec<String> = batch.events.iter().map(|event| event.id.clone()).collect();
            let acknowledged = ids
                .iter()
                .enumerate()
                .map(|(index, id)| {
                    bits.is_some_and(|bits| bit(bits, index))
                        || answered.contains(id)
                        || self.seen.contains(id)
                })
                .collect();
            let live = Live {
                cursor: batch.cursor,
                ids,
                acknowledged,
                acks_stored: bits.is_some(),
            };
            self.hold(place, live, batch.events);
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

    /// What the loaded batches tell of the peers, oldest first; newer than what is stored of them.
    pub fn take_replay(&mut self) -> Vec<Heard> {
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
    pub fn accept(&mut self, cursor: String, events: Vec<Event>) -> Option<Write> {
        let mut ids = HashSet::new();
        let events: Vec<Event> = events
            .into_iter()
            .filter(|event| !self.knows(&event.id) && ids.insert(event.id.clone()))
            .collect();
        if events.is_empty() && cursor == self.cursor() {
            return None;
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
            if live.acknowledged.get(index) == Some(&false) {
                self.unacknowledged += 1;
                if !self.delivered.contains(&event.id) {
                    self.undelivered.push_back(event);
                }
            }
        }
        for (index, id) in live.ids.iter().enumerate() {
            self.places.insert(id.clone(), (place, index));
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

    /// The next events that this instance has not returned yet, oldest first.
    pub fn take(&mut self, limit: usize) -> Vec<Event> {
        let count = limit.min(self.undelivered.len());
        let events: Vec<Event> = self.undelivered.drain(..count).collect();
        self.delivered
            .extend(events.iter().map(|event| event.id.clone()));
        events
    }

    /// Goes on where this instance was before it loaded again: with its count of batches, and
    /// without returning twice what it returned.
    pub fn follow(&mut self, before: Journal) {
        self.next = self.next.max(before.next);
        self.undelivered
            .retain(|event| !before.delivered.contains(&event.id));
        self.delivered = before.delivered;
    }

    /// Acknowledges events. The bits are for those that no stored post answers: write them before
    /// the acknowledgement is confirmed. Unknown ids are ignored.
    pub fn acknowledge<'a>(&mut self, ids: impl Iterator<Item = &'a str>) -> Vec<Write> {
        let mut places = BTreeSet::new();
        for id in ids {
            if let Some(place) = self.mark(id) {
                places.insert(place);
            }
        }
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

    fn mark(&mut self, id: &str) -> Option<Place> {
        let (place, index) = *self.places.get(id)?;
        let live = self.batches.get_mut(&place)?;
        if std::mem::replace(live.acknowledged.get_mut(index)?, true) {
            return Some(place);
        }
        if !live.acknowledged.contains(&false) {
            self.complete.insert(place);
            self.complete_events += live.ids.len();
        }
        self.unacknowledged -= 1;
        if self.unacknowledged < MAX_UNACKNOWLEDGED / 2 {
            self.paused = false;
        }
        if !self.delivered.remove(id)
            && let Some(index) = self.undelivered.iter().position(|event| event.id == id)
        {
            self.undelivered.remove(index);
        }
        Some(place)
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
        writes
    }

    /// Whether an event is still stored.
    pub fn holds(&self, id: &str) -> bool {
        self.places.contains_key(id)
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
