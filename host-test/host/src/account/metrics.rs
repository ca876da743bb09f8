//! What is counted of an account, from its start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::agent::{AgentError, KINDS};
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

/// Upper bounds of the buckets of a [`Histogram`], in milliseconds.
pub const BOUNDS_MS: [u64; 11] = [
    10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000,
];

/// How long something took.
#[derive(Debug, Default)]
pub struct Histogram {
    /// By bound, each without those below it.
    buckets: [AtomicU64; BOUNDS_MS.len()],
    count: AtomicU64,
    sum_ms: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let place = BOUNDS_MS.partition_point(|bound| *bound < ms);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// By bound in milliseconds, how many took longer than the bound below it and so long at most.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.buckets.iter();
        let counts = counts.map(|bucket| bucket.load(Ordering::Relaxed));
        BOUNDS_MS.into_iter().zip(counts)
    }

    /// How many there were, and how long they took together in milliseconds.
    pub fn total(&self) -> (u64, u64) {
        (
            self.count.load(Ordering::Relaxed),
            self.sum_ms.load(Ordering::Relaxed),
        )
    }
}

/// The counters of an account.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Messages that the platform brought.
    pub messages: Counter,
    /// From a message's arrival to the end of what its answer took.
    pub answers: Histogram,
    /// Messages given to the agent; one that is given again counts again.
    pub agent_messages: Counter,
    /// How often the agent did not answer one.
    pub agent_failures: Counter,
    /// The same by the kind of the failure.
    agent_errors: [Counter; KINDS.len()],
    /// Messages that were put aside, because they have no answer.
    pub put_aside: Counter,
    /// How often a person was told that the answer is late.
    pub outage_notices: Counter,
    /// Instances that had to be replaced.
    pub restarts: Counter,
    /// Components that took over.
    pub swaps: Counter,
    parts: [Counter; STATES.len()],
}

impl Metrics {
    /// Counts the parts of a receipt.
    pub(crate) fn count(&self, receipt: &Receipt) {
        for part in &receipt.parts {
            if let Some(counter) = self.parts.get(place(part.state)) {
                counter.add();
            }
        }
    }

    /// Counts a failure of the agent.
    pub(crate) fn failed(&self, error: &AgentError) {
        self.agent_failures.add();
        if let Some(counter) = self.agent_errors.get(error.place()) {
            counter.add();
        }
    }

    /// Failures of the agent by their kind.
    pub fn agent_errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS
            .into_iter()
            .zip(self.agent_errors.iter().map(Counter::get))
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
    fn a_histogram_counts_up_to_each_bound() {
        let histogram = Histogram::default();
        for ms in [0, 10, 11, 700, 3_600_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let sums = histogram.buckets().scan(0, |sum, (_, count)| {
            *sum += count;
            Some(*sum)
        });
        let counts: Vec<u64> = sums.collect();
        assert_eq!(counts, [2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4]);
        assert_eq!(histogram.total(), (5, 3_600_721));
    }

    #[test]
    fn parts_are_counted_by_their_state() {
        let metrics = Metrics::default();
        let part = |state| Part {
            state,
            message_id: None,
            error: None,
        };
        metrics.count(&Receipt {
            key: "k".to_owned(),
            parts: STATES
                .map(part)
                .into_iter()
                .chain([part(PartState::Failed)])
                .collect(),
        });
        for (state, count) in metrics.parts() {
            let expected = if state == PartState::Failed { 2 } else { 1 };
            assert_eq!(count, expected, "{state:?}");
        }
    }
}
