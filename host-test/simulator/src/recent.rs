//! A map that forgets its oldest entries.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// At most `limit` entries; a new one replaces the oldest.
pub(crate) struct Recent<K, V> {
    known: HashMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    pub(crate) fn new(limit: usize) -> Recent<K, V> {
        Recent {
            known: HashMap::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    pub(crate) fn find<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.known.get(key)
    }

    pub(crate) fn find_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.known.get_mut(key)
    }

    /// Adds an entry; a key that is there keeps its value.
    pub(crate) fn remember(&mut self, key: K, value: V) {
        if self.known.contains_key(&key) {
            return;
        }
        if self.order.len() == self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(key.clone(), value);
        self.order.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_first_value_until_it_is_the_oldest() {
        let mut recent = Recent::new(3);
        for (key, value) in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
            recent.remember(key.to_owned(), value);
        }
        assert_eq!(recent.find("a"), Some(&1));
        recent.remember("d".to_owned(), 5);
        assert_eq!((recent.find("a"), recent.find("d")), (None, Some(&5)));
    }
}
