//! What is counted of an account, from its start.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bindings::gateway::channel::types::{PartState, Receipt};

/// All states, in the order of [`place`].
const STATES: [PartState; 7] = [
    PartState::Pending,
    PartState::Accepted,
    PartState::Unconfirmed,
    PartState::Queued,
    PartState::Dropped,
    PartState::Failed,
    PartState::Unknown,
];

/// Counts, and never goes back.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of an account.
#[derive(Debug, Default)]
pub struct Figures {
    /// Messages given to the agent; one that is given again counts again.
    pub agent_messages: Counter,
    /// How often the agent did not acknowledge one.
    pub agent_failures: Counter,
    /// Instances that had to be replaced.
    pub restarts: Counter,
    /// Components that took over.
    pub swaps: Counter,
    parts: [Counter; STATES.len()],
}

impl Figures {
    /// Counts the parts of a receipt.
    pub(crate) fn count(&self, receipt: &Receipt) {
        for part in &receipt.parts {
            if let Some(counter) = self.parts.get(place(part.state)) {
                counter.add();
            }
        }
    }

    /// Parts by the state that receipts told of; what was queued counts again when it is settled.
    pub fn parts(&self) -> impl Iterator<Item = (PartState, u64)> {
        STATES.into_iter().zip(self.parts.iter().map(Counter::get))
    }
}

fn place(state: PartState) -> usize {
    match state {
        PartState::Pending => 0,
        PartState::Accepted => 1,
        PartState::Unconfirmed => 2,
        PartState::Queued => 3,
        PartState::Dropped => 4,
        PartState::Failed => 5,
        PartState::Unknown => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::gateway::channel::types::Part;

    #[test]
    fn parts_are_counted_by_their_state() {
        let figures = Figures::default();
        let part = |state| Part {
            state,
            message_id: None,
            error: None,
        };
        figures.count(&Receipt {
            key: "k".to_owned(),
            parts: STATES
                .map(part)
                .into_iter()
                .chain([part(PartState::Failed)])
                .collect(),
        });
        for (state, count) in figures.parts() {
            let expected = if state == PartState::Failed { 2 } else { 1 };
            assert_eq!(count, expected, "{state:?}");
        }
    }
}
