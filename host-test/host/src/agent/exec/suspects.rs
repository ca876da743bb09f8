//! Messages that a process may have ended on.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ids that are remembered; those of messages that were given up stay behind.
const MOST: usize = 10_000;

/// The suspects of an agent.
#[derive(Default)]
pub struct Suspects(Mutex<Found>);

#[derive(Default)]
struct Found {
    suspects: HashSet<String>,
    /// Who was there when a process ended, and is no suspect yet.
    bystanders: HashSet<String>,
}

impl Suspects {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a process ended with these messages, the oldest first. A program that takes one message
    /// after the other was working on the oldest. Another program may have been working on any of them, so
    /// a message that is there twice is a suspect, too.
    pub fn ended(&self, with: Vec<String>) {
        let mut found = self.found();
        if found.suspects.len() + found.bystanders.len() + with.len() > MOST {
            *found = Found::default();
        }
        for (place, id) in with.into_iter().enumerate() {
            if place == 0 || found.bystanders.remove(&id) {
                found.suspects.insert(id);
            } else {
                found.bystanders.insert(id);
            }
        }
    }

    /// Whether a message is one.
    pub fn has(&self, id: &str) -> bool {
        self.found().suspects.contains(id)
    }

    /// It was answered.
    pub fn clear(&self, id: &str) {
        self.found().suspects.remove(id);
    }
}

/// So that what is waited for is in the order in which it was given.
pub fn in_order<T>(waiting: &HashMap<String, T>, number: impl Fn(&T) -> u64) -> Vec<String> {
    let mut ids: Vec<(&String, u64)> = waiting
        .iter()
        .map(|(id, value)| (id, number(value)))
        .collect();
    ids.sort_by_key(|(_, number)| *number);
    ids.into_iter().map(|(id, _)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_and_who_is_there_twice_are_suspects() {
        let suspects = Suspects::default();
        let ended = |ids: &[&str]| suspects.ended(ids.iter().map(|id| (*id).to_owned()).collect());
        ended(&["1", "2", "3"]);
        let are = |ids: &[&str]| ids.iter().map(|id| suspects.has(id)).collect::<Vec<_>>();
        assert_eq!(are(&["1", "2", "3"]), [true, false, false]);
        ended(&["4", "3", "5"]);
        assert_eq!(
            are(&["1", "2", "3", "4", "5"]),
            [true, false, true, true, false]
        );
        suspects.clear("3");
        assert!(!suspects.has("3"));
        ended(&[]);
        for number in 0..2 * MOST {
            ended(&[&number.to_string()]);
        }
        assert!(suspects.found().suspects.len() <= MOST);
    }
}
