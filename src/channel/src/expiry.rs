//! Which keys of a bucket are removed, and when: the oldest first, when they are too old or too many.
//!
//! The names are in chunks under one prefix of the state bucket, each named for the time of its
//! first entry. A chunk is written before the keys that it names, so that none is forgotten; a key
//! that was named and never written costs nothing.

use std::collections::BTreeSet;

use super::store::{Write, to_json};

/// Names of one chunk, at most.
const NAMES_PER_CHUNK: usize = 128;
/// A chunk takes in names for this long, in milliseconds.
const CHUNK_MS: u64 = 3_600_000;
/// 2025: a clock that shows less was not set yet, as on a board that has just started.
const SET_MS: u64 = 1_735_689_600_000;

/// Whether the life of something is over that began at `begun_ms`. What is as far ahead was noted by a
/// clock that was wrong, and would stay until then; a clock that was not set ends nothing.
pub fn is_past(begun_ms: u64, life_ms: u64, now_ms: u64) -> bool {
    now_ms >= SET_MS && now_ms.abs_diff(begun_ms) >= life_ms
}

/// The names of one bucket's keys, in the order in which they came.
#[derive(Debug)]
pub struct Expiry {
    prefix: &'static str,
    life_ms: u64,
    max_chunks: usize,
    /// Names of chunks, as times in milliseconds since the Unix epoch.
    chunks: BTreeSet<u64>,
    /// The chunk of this instance that is being filled.
    open: Option<(u64, Vec<String>)>,
}

impl Expiry {
    /// Of keys that live for `life_ms`, or until `max_chunks` are full; with what is stored of it.
    pub fn load<'a>(
        prefix: &'static str,
        life_ms: u64,
        max_chunks: usize,
        keys: impl Iterator<Item = &'a str>,
    ) -> Expiry {
        let chunks = keys
            .filter_map(|key| u64::from_str_radix(key.strip_prefix(prefix)?, 16).ok())
            .collect();
        Expiry {
            prefix,
            life_ms,
            max_chunks,
            chunks,
            open: None,
        }
    }

    /// Notes keys that are about to be written.
    pub fn insert(&mut self, now_ms: u64, names: impl Iterator<Item = String>) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut names = names.peekable();
        while names.peek().is_some() {
            let is_open = self.open.as_ref().is_some_and(|(begun_ms, names)| {
                names.len() < NAMES_PER_CHUNK && now_ms.saturating_sub(*begun_ms) < CHUNK_MS
            });
            if !is_open {
                let newest = self.chunks.last().map_or(0, |newest| newest + 1);
                let begun_ms = now_ms.max(newest);
                self.chunks.insert(begun_ms);
                self.open = Some((begun_ms, Vec::new()));
            }
            if let Some((begun_ms, open)) = &mut self.open {
                let room = NAMES_PER_CHUNK - open.len();
                open.extend(names.by_ref().take(room));
                let key = format!("{}{begun_ms:013x}", self.prefix);
                writes.push(Write::set(key, to_json(open)));
            }
        }
        writes
    }

    /// The key of a chunk whose names are to be removed; then call [`Expiry::remove`].
    pub fn due(&self, now_ms: u64) -> Option<String> {
        let oldest = *self.chunks.first()?;
        let is_old = is_past(oldest, self.life_ms + CHUNK_MS + 1, now_ms);
        (is_old || self.chunks.len() > self.max_chunks)
            .then(|| format!("{}{oldest:013x}", self.prefix))
    }

    /// The names of the oldest chunk, and its removal.
    pub fn remove(&mut self, key: &str, value: Option<&[u8]>) -> (Vec<String>, Write) {
        let oldest = self.chunks.pop_first();
        if self.open.as_ref().map(|(begun_ms, _)| *begun_ms) == oldest {
            self.open = None;
        }
        let names = value.and_then(|value| serde_json::from_slice(value).ok());
        (names.unwrap_or_default(), Write::delete(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const NOW_MS: u64 = 1_795_000_000_000;

    fn expiry(store: &BTreeMap<String, Vec<u8>>) -> Expiry {
        let keys = store.keys().map(String::as_str);
        Expiry::load("old/", 72 * HOUR_MS, 10, keys)
    }

    fn apply(store: &mut BTreeMap<String, Vec<u8>>, writes: Vec<Write>) {
        for write in writes {
            match write.value {
                Some(value) => store.insert(write.key, value),
                None => store.remove(&write.key),
            };
        }
    }

    fn names(from: usize, to: usize) -> impl Iterator<Item = String> {
        (from..to).map(|number| number.to_string())
    }

    #[test]
    fn names_come_back_when_they_are_old_and_no_sooner() {
        let mut store = BTreeMap::new();
        let mut first = expiry(&store);
        apply(&mut store, first.insert(NOW_MS, names(0, 200)));
        apply(&mut store, first.insert(NOW_MS + 1, names(200, 201)));
        assert_eq!(store.len(), 2);

        let mut second = expiry(&store);
        assert_eq!(second.due(NOW_MS + 72 * HOUR_MS), None);
        let later = NOW_MS + 74 * HOUR_MS;
        let mut returned = Vec::new();
        while let Some(key) = second.due(later) {
            let (names, write) = second.remove(&key, store.get(&key).map(Vec::as_slice));
            returned.extend(names);
            apply(&mut store, vec![write]);
        }
        assert_eq!(returned, names(0, 201).collect::<Vec<_>>());
        assert!(store.is_empty());
    }

    #[test]
    fn names_of_a_clock_that_was_far_ahead_do_not_stay_until_then() {
        let mut store = BTreeMap::new();
        let mut wrong = expiry(&store);
        apply(
            &mut store,
            wrong.insert(NOW_MS + 8760 * HOUR_MS, names(0, 1)),
        );
        let key = expiry(&store).due(NOW_MS).unwrap();
        let (gone, _) = expiry(&store).remove(&key, store.get(&key).map(Vec::as_slice));
        assert_eq!(gone, ["0"]);
        // A day is less than they live.
        let mut store = BTreeMap::new();
        let writes = expiry(&store).insert(NOW_MS + 24 * HOUR_MS, names(0, 1));
        apply(&mut store, writes);
        assert_eq!(expiry(&store).due(NOW_MS), None);
    }

    #[test]
    fn a_clock_that_was_not_set_yet_ends_nothing() {
        let mut store = BTreeMap::new();
        let writes = expiry(&store).insert(NOW_MS, names(0, 1));
        apply(&mut store, writes);
        for not_set_ms in [0, 60_000, 946_684_800_000] {
            assert_eq!(expiry(&store).due(not_set_ms), None);
            assert!(!is_past(NOW_MS, HOUR_MS, not_set_ms));
        }
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut store = BTreeMap::new();
        let mut expiry = expiry(&store);
        apply(
            &mut store,
            expiry.insert(NOW_MS, names(0, 11 * NAMES_PER_CHUNK)),
        );
        let key = expiry.due(NOW_MS).unwrap();
        let (gone, _) = expiry.remove(&key, store.get(&key).map(Vec::as_slice));
        assert_eq!(gone.first().map(String::as_str), Some("0"));
        assert_eq!(expiry.due(NOW_MS), None);
    }

    #[test]
    fn a_chunk_is_open_for_an_hour_and_an_unreadable_one_just_goes() {
        let mut expiry = expiry(&BTreeMap::new());
        let first = expiry.insert(NOW_MS, names(0, 1));
        let second = expiry.insert(NOW_MS + HOUR_MS, names(1, 2));
        assert_ne!(first[0].key, second[0].key);
        let key = expiry.due(NOW_MS + 100 * HOUR_MS).unwrap();
        assert_eq!(key, first[0].key);
        assert_eq!(expiry.remove(&key, Some(b"{")).0, Vec::<String>::new());
    }
}
