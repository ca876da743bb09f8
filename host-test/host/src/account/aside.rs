//! Messages that were put aside because the agent has no answer to them: what the operator may know about
//! each. That never includes the text.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many are remembered.
const MOST: usize = 1000;

/// A message that was put aside. It is acknowledged, so its conversation goes on without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutAside {
    /// The message's id.
    pub id: String,
    /// The conversation's id.
    pub conversation: String,
    /// Why the agent has no answer, in one line.
    pub reason: String,
    /// How often the agent was asked.
    pub tries: u32,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Those of an account, the oldest first.
#[derive(Default)]
pub(super) struct Aside(Mutex<VecDeque<PutAside>>);

impl Aside {
    /// Adds one, in place of the oldest where there are many.
    pub fn add(&self, message: PutAside) {
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() >= MOST {
            messages.pop_front();
        }
        messages.push_back(message);
    }

    /// All that are remembered.
    pub fn all(&self) -> Vec<PutAside> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered() {
        let aside = Aside::default();
        for number in 0..MOST + 10 {
            aside.add(PutAside {
                id: number.to_string(),
                conversation: "c".to_owned(),
                reason: "r".to_owned(),
                tries: 5,
                at_ms: 0,
            });
        }
        let all = aside.all();
        assert_eq!((all.len(), all[0].id.as_str()), (MOST, "10"));
    }
}
