//! The durable inbox. One write stores a batch together with the cursor behind it, and each event stays
//! stored until it is acknowledged.
//!
//! The journal promises:
//! - Every later instance returns an event again until it is acknowledged.
//! - An event whose id is stored, or was acknowledged, is dropped as a repeat.
//! - A batch that an older instance stores late never moves the cursor back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dedup::{Dedup, fnv1a};
use super::message::Event;
use super::store::{ACKS, BURST, CURSOR, JOURNAL, Write, to_json};

mod burst;

use burst::Bursts;

/// Polling stops at this many unacknowledged events and goes on below half of it.
pub const MAX_UNACKNOWLEDGED: usize = 10_000;

/// Names a batch, and orders all batches: by the generation that stored it, then by its own count.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
struct BatchId {
    generation: u64,
    sequence: u64,
}

impl BatchId {
    fn parse(text: &str) -> Option<BatchId> {
        let (generation, sequence) = text.split_once('-')?;
        Some(BatchId {
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
    #[serde(rename = "place")]
    batch_id: BatchId,
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

/// Where an event is stored. Messages also have the hash of their conversation.
#[derive(Debug, Clone, Copy)]
struct Entry {
    batch_id: BatchId,
    index: usize,
    conversation: Option<u64>,
}

/// The inbox of one account; times are on one monotonic clock.
#[derive(Debug, Default)]
pub struct Journal {
    next: BatchId,
    cursor: Cursor,
    batches: BTreeMap<BatchId, Live>,
    /// Batches whose events are all acknowledged, and how many events they have.
    complete: BTreeSet<BatchId>,
    complete_events: usize,
    entries: HashMap<String, Entry>,
    undelivered: VecDeque<Event>,
    /// Events that are ready for the next [`Journal::take`].
    later: VecDeque<Event>,
    bursts: Bursts,
    replay: Vec<Event>,
    /// Messages that are not acknowledged, by the hash of their conversation.
    awaiting: HashMap<u64, usize>,
    delivered: HashSet<String>,
    unacknowledged: usize,
    paused: bool,
    dedup: Dedup,
}

impl Journal {
    /// An empty journal of the instance `generation`. [`Journal::load`] adds what is stored. Messages
    /// of one conversation that come within `moment` of each other are returned as one message; zero
    /// joins nothing.
    pub fn new(generation: u64, moment: Duration) -> Journal {
        Journal {
            next: BatchId {
                generation,
                sequence: 0,
            },
            bursts: Bursts::new(moment),
            ..Journal::default()
        }
    }

    /// Adds what is stored. `answered` are the ids of the events that stored posts answer. Returns
    /// sentences about entries that are unreadable; these stay in the store.
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
            } else if let Some(batch_id) = key.strip_prefix(JOURNAL).and_then(BatchId::parse) {
                match serde_json::from_slice::<Batch>(value) {
                    Ok(batch) => {
                        stored.insert(batch_id, batch);
                    }
                    Err(error) => problems.push(format!("stored {key} is unreadable: {error}")),
                }
            } else if let Some(batch_id) = key.strip_prefix(ACKS).and_then(BatchId::parse) {
                acks.insert(batch_id, value);
            } else if let Some(last) = key.strip_prefix(BURST) {
                if !self.bursts.load(last, value) {
                    problems.push(format!("stored {key} is unreadable"));
                }
            } else {
                self.dedup.load(key, value);
            }
        }
        let bits =
            |batch_id: &BatchId, index| acks.get(batch_id).is_some_and(|bits| bit(bits, index));
        let mut acknowledged: HashSet<&str> = answered.iter().map(String::as_str).collect();
        for (batch_id, batch) in &stored {
            let ids = batch
                .events
                .iter()
                .map(|event| event.id.as_str())
                .enumerate();
            acknowledged.extend(
                ids.filter(|(index, id)| bits(batch_id, *index) || self.dedup.contains(id))
                    .map(|(_, id)| id),
            );
        }
        // A burst is settled by the id of its last message.
        let settled = self.bursts.all();
        let settled = settled
            .filter(|(last, _)| acknowledged.contains(last.as_str()) || self.dedup.contains(last));
        let settled: Vec<&str> = settled
            .flat_map(|(_, ids)| ids.iter().map(String::as_str))
            .collect();
        acknowledged.extend(settled);
        let mut held = Vec::new();
        for (batch_id, batch) in &stored {
            let ids: Vec<String> = batch.events.iter().map(|event| event.id.clone()).collect();
            let live = Live {
                cursor: batch.cursor.clone(),
                acknowledged: ids
                    .iter()
                    .map(|id| acknowledged.contains(id.as_str()))
                    .collect(),
                ids,
                acks_stored: acks.contains_key(batch_id),
            };
            held.push((*batch_id, live));
        }
        for ((batch_id, live), batch) in held.into_iter().zip(stored.into_values()) {
            self.replay.extend(batch.events.iter().cloned());
            self.hold(batch_id, live, batch.events);
        }
        if !self.bursts.is_off() {
            let restored = self.bursts.restore(self.undelivered.drain(..));
            self.later.extend(restored);
        }
        problems
    }

    /// Whether a key names a batch that an older instance stored after this one had read the store.
    pub fn is_foreign(&self, key: &str) -> bool {
        key.strip_prefix(JOURNAL)
            .and_then(BatchId::parse)
            .is_some_and(|batch_id| {
                batch_id.generation < self.next.generation && !self.batches.contains_key(&batch_id)
            })
    }

    /// The events of the loaded batches, oldest first. They are newer than the stored state of their
    /// peers.
    pub fn take_replay(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.replay)
    }

    /// The cursor for the next poll, which the newest batch brought.
    pub fn cursor(&self) -> &str {
        match self.batches.last_key_value() {
            Some((batch_id, live)) if *batch_id > self.cursor.batch_id => &live.cursor,
            _ => &self.cursor.cursor,
        }
    }

    /// Whether an event is stored or was acknowledged.
    pub fn knows(&self, id: &str) -> bool {
        self.entries.contains_key(id) || self.dedup.contains(id)
    }

    /// Adds a batch with its cursor and drops repeats. Returns the one write that stores it, or none if
    /// neither the events nor the cursor are new.
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
        let batch_id = self.next;
        self.next.sequence += 1;
        let batch = Batch { cursor, events };
        let write = Write::set(batch_id.key(JOURNAL), to_json(&batch));
        let ids: Vec<String> = batch.events.iter().map(|event| event.id.clone()).collect();
        let live = Live {
            cursor: batch.cursor,
            acknowledged: vec![false; ids.len()],
            ids,
            acks_stored: false,
        };
        self.hold(batch_id, live, batch.events);
        Some(write)
    }

    fn hold(&mut self, batch_id: BatchId, live: Live, events: Vec<Event>) {
        for (index, event) in events.into_iter().enumerate() {
            let conversation = event
                .message()
                .map(|message| fnv1a(message.conversation.id.as_bytes()));
            let entry = Entry {
                batch_id,
                index,
                conversation,
            };
            self.entries.insert(event.id.clone(), entry);
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
            self.complete.insert(batch_id);
            self.complete_events += live.ids.len();
        }
        self.batches.insert(batch_id, live);
        if self.unacknowledged >= MAX_UNACKNOWLEDGED {
            self.paused = true;
        }
    }

    /// The next events that this instance has not returned yet, oldest first. The caller makes the
    /// writes before it returns the events.
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

    /// When [`Journal::take`] has messages that still wait for others to join them.
    pub fn ripe_at(&self) -> Option<Duration> {
        self.bursts.next()
    }

    /// Continues after this instance has loaded its state again: keeps its count of batches, and does
    /// not return an event twice.
    pub fn follow(&mut self, before: Journal) {
        self.next = self.next.max(before.next);
        self.undelivered
            .retain(|event| !before.delivered.contains(&event.id));
        self.later
            .retain(|event| !before.delivered.contains(&event.id));
        self.delivered = before.delivered;
    }

    /// Acknowledges events that no stored post answers. The caller makes the writes before it confirms
    /// the acknowledgement. Unknown ids are ignored.
    pub fn acknowledge<'a>(&mut self, ids: impl Iterator<Item = &'a str>) -> Vec<Write> {
        let mut changed = Vec::new();
        for id in ids {
            // The last message of a burst stands for all, so its batch comes first.
            changed.extend(self.mark(id));
        }
        let mut written = HashSet::new();
        changed.retain(|batch_id| written.insert(*batch_id));
        changed
            .into_iter()
            .filter_map(|batch_id| {
                let live = self.batches.get_mut(&batch_id)?;
                live.acks_stored = true;
                Some(Write::set(batch_id.key(ACKS), bits(&live.acknowledged)))
            })
            .collect()
    }

    /// Acknowledges an event that a stored post answers. The post is the record of it, so nothing is
    /// written here.
    pub fn answered(&mut self, id: &str) {
        self.mark(id);
    }

    /// Marks an event, and those that were joined under its id, as acknowledged.
    fn mark(&mut self, id: &str) -> Vec<BatchId> {
        let others = self.bursts.ids(id).to_vec();
        let mut batches: Vec<BatchId> = self.mark_one(id).into_iter().collect();
        for other in others.iter().filter(|other| *other != id) {
            batches.extend(self.mark_one(other));
        }
        batches
    }

    fn mark_one(&mut self, id: &str) -> Option<BatchId> {
        let entry = *self.entries.get(id)?;
        let live = self.batches.get_mut(&entry.batch_id)?;
        if std::mem::replace(live.acknowledged.get_mut(entry.index)?, true) {
            return Some(entry.batch_id);
        }
        if !live.acknowledged.contains(&false) {
            self.complete.insert(entry.batch_id);
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
        Some(entry.batch_id)
    }

    /// How much [`Journal::retire`] would remove: the number of batches or of their events, whichever is
    /// larger.
    pub fn complete(&self) -> usize {
        self.complete_events.max(self.complete.len())
    }

    /// Removes the batches whose events are all acknowledged. The caller writes the peers first.
    pub fn retire(&mut self) -> Vec<Write> {
        let complete = std::mem::take(&mut self.complete);
        self.complete_events = 0;
        let mut writes = Vec::new();
        let newest = self
            .batches
            .last_key_value()
            .map(|(batch_id, live)| (*batch_id, live.cursor.clone()));
        if let Some((batch_id, cursor)) = newest
            && complete.contains(&batch_id)
            && batch_id > self.cursor.batch_id
        {
            self.cursor = Cursor { batch_id, cursor };
            writes.push(Write::set(CURSOR.to_owned(), to_json(&self.cursor)));
        }
        let removed: Vec<(BatchId, Live)> = complete
            .iter()
            .filter_map(|batch_id| self.batches.remove_entry(batch_id))
            .collect();
        let ids = removed
            .iter()
            .flat_map(|(_, live)| live.ids.iter().map(String::as_str));
        writes.extend(self.dedup.insert(ids));
        for (batch_id, live) in &removed {
            for id in &live.ids {
                self.entries.remove(id);
            }
            writes.push(Write::delete(batch_id.key(JOURNAL)));
            if live.acks_stored {
                writes.push(Write::delete(batch_id.key(ACKS)));
            }
        }
        let entries = &self.entries;
        writes.extend(self.bursts.retire(|id| entries.contains_key(id)));
        writes
    }

    /// Whether an event, or one that was joined under its id, is still stored.
    pub fn holds(&self, id: &str) -> bool {
        let mut others = self.bursts.ids(id).iter();
        self.entries.contains_key(id) || others.any(|other| self.entries.contains_key(other))
    }

    /// Whether a conversation has messages that are not acknowledged.
    pub fn awaits(&self, conversation: &str) -> bool {
        self.awaiting.contains_key(&fnv1a(conversation.as_bytes()))
    }

    /// The number of events that are not acknowledged.
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
