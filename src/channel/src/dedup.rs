//! The ids of the last 16,384 acknowledged events. An event that the platform repeats is recognised by
//! its id.

use std::collections::{HashSet, VecDeque};

use super::store::{DEDUP, Write};

const IDS_PER_CHUNK: usize = 512;
const CHUNKS: usize = 32;

/// A bounded set of ids, stored in chunks of `IDS_PER_CHUNK`.
#[derive(Debug, Default)]
pub struct Dedup {
    ids: HashSet<u64>,
    /// Oldest first; the last one is being filled.
    chunks: VecDeque<(u32, Vec<u64>)>,
}

impl Dedup {
    /// Adds a stored chunk. Keys of other prefixes are skipped.
    pub fn load(&mut self, key: &str, value: &[u8]) {
        let Some(number) = key
            .strip_prefix(DEDUP)
            .and_then(|number| u32::from_str_radix(number, 16).ok())
        else {
            return;
        };
        let ids: Vec<u64> = value
            .chunks_exact(8)
            .filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes))
            .collect();
        self.ids.extend(&ids);
        let index = self.chunks.partition_point(|(other, _)| *other < number);
        self.chunks.insert(index, (number, ids));
    }

    /// Whether an id was acknowledged.
    pub fn contains(&self, id: &str) -> bool {
        self.ids.contains(&fingerprint(id))
    }

    /// Adds ids. When there are too many chunks, the oldest are dropped.
    pub fn insert<'a>(&mut self, ids: impl Iterator<Item = &'a str>) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut changed = false;
        for id in ids.map(fingerprint) {
            if !self.ids.insert(id) {
                continue;
            }
            if self
                .chunks
                .back()
                .is_none_or(|(_, ids)| ids.len() >= IDS_PER_CHUNK)
            {
                if changed {
                    writes.extend(self.write_last());
                }
                let number = self.chunks.back().map_or(0, |(number, _)| number + 1);
                self.chunks.push_back((number, Vec::new()));
            }
            if let Some((_, ids)) = self.chunks.back_mut() {
                ids.push(id);
                changed = true;
            }
        }
        if changed {
            writes.extend(self.write_last());
        }
        while self.chunks.len() > CHUNKS {
            if let Some((number, ids)) = self.chunks.pop_front() {
                for id in ids {
                    self.ids.remove(&id);
                }
                writes.push(Write::delete(key(number)));
            }
        }
        writes
    }

    fn write_last(&self) -> Option<Write> {
        let (number, ids) = self.chunks.back()?;
        let value = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        Some(Write::set(key(*number), value))
    }
}

fn key(number: u32) -> String {
    format!("{DEDUP}{number:08x}")
}

/// A decimal number is its own fingerprint, so that numeric ids never collide. Any other id is hashed
/// with FNV-1a, whose result is the same in every version.
fn fingerprint(id: &str) -> u64 {
    id.parse().unwrap_or_else(|_| fnv1a(id.as_bytes()))
}

/// The 64-bit FNV-1a hash.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn apply(store: &mut BTreeMap<String, Vec<u8>>, writes: Vec<Write>) {
        for write in writes {
            match write.value {
                Some(value) => store.insert(write.key, value),
                None => store.remove(&write.key),
            };
        }
    }

    #[test]
    fn ids_survive_a_restart_and_the_oldest_are_forgotten() {
        let mut store = BTreeMap::new();
        let mut dedup = Dedup::default();
        let ids: Vec<String> = (0..20_000u64)
            .map(|id| (id + 7_497_484_083_968_569_736).to_string())
            .collect();
        for batch in ids.chunks(700) {
            let writes = dedup.insert(batch.iter().map(String::as_str));
            apply(&mut store, writes);
        }
        assert!(store.len() <= CHUNKS);

        let mut again = Dedup::default();
        for (key, value) in &store {
            again.load(key, value);
        }
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(dedup.contains(id), again.contains(id));
            assert!(dedup.contains(id) || index < 20_000 - (CHUNKS - 1) * IDS_PER_CHUNK);
        }
        assert!(!again.contains(&ids[0]));
    }

    #[test]
    fn a_known_id_costs_no_write_and_odd_values_are_skipped() {
        let mut dedup = Dedup::default();
        dedup.load("seen/zz", b"12345678");
        dedup.load("seen/00000003", b"123456789");
        assert!(!dedup.insert(["a"].into_iter()).is_empty());
        assert!(dedup.insert(["a", "a"].into_iter()).is_empty());
        assert!(dedup.contains("a") && !dedup.contains("b"));
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
