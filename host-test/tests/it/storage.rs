//! A store that fails, and two gateways on one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use gateway_host::account::{Account, Phase};
use gateway_host::agent::EchoAgent;
use gateway_host::state::memory::MemoryState;
use gateway_host::state::{Bucket, KeyPage, State, StateError};
use gateway_simulator::ilink::RuleChanges;
use gateway_simulator::ilink::rules::Cursors;

use crate::harness::{ALICE, BOB, Harness, Recorder, eventually};

/// Fails so many of the next operations that come after so many others.
#[derive(Default)]
pub struct Faults {
    pass: AtomicU64,
    fail: AtomicU64,
}

impl Faults {
    pub fn set(&self, pass: u64, fail: u64) {
        self.pass.store(pass, Ordering::SeqCst);
        self.fail.store(fail, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StateError> {
        let take = |counter: &AtomicU64| {
            let less = |count: u64| count.checked_sub(1);
            counter
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_ok()
        };
        if take(&self.pass) || !take(&self.fail) {
            return Ok(());
        }
        Err(StateError::Storage {
            reason: "it was told to".to_owned(),
        })
    }
}

#[derive(Default)]
pub struct Failing {
    inner: MemoryState,
    pub faults: Arc<Faults>,
}

impl State for Failing {
    fn bucket(&self, account: &str) -> Result<Arc<dyn Bucket>, StateError> {
        Ok(Arc::new(FailingBucket {
            inner: self.inner.bucket(account)?,
            faults: Arc::clone(&self.faults),
        }))
    }
}

struct FailingBucket {
    inner: Arc<dyn Bucket>,
    faults: Arc<Faults>,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StateError>>;

impl Bucket for FailingBucket {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        async move {
            self.faults.check()?;
            self.inner.get(key).await
        }
        .boxed()
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>) -> Answer<'a, ()> {
        async move {
            self.faults.check()?;
            self.inner.set(key, value).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        async move {
            self.faults.check()?;
            self.inner.delete(key).await
        }
        .boxed()
    }

    fn exists<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        self.inner.exists(key)
    }

    fn list_keys<'a>(&'a self, cursor: Option<String>) -> Answer<'a, KeyPage> {
        async move {
            self.faults.check()?;
            self.inner.list_keys(cursor).await
        }
        .boxed()
    }

    fn increment<'a>(&'a self, key: &'a str, delta: u64) -> Answer<'a, u64> {
        self.inner.increment(key, delta)
    }
}

#[tokio::test]
async fn a_failure_at_any_operation_loses_nothing_and_doubles_at_most_one_bubble() {
    for pass in 0..40 {
        let faults = Arc::new(Faults::default());
        let state = Failing {
            inner: MemoryState::default(),
            faults: Arc::clone(&faults),
        };
        let harness = Harness::with_state(Arc::new(state)).await;
        // What was delivered does not come again, whatever became of it.
        harness
            .simulator
            .change(&RuleChanges::new().cursors(Cursors::Consume))
            .unwrap();
        let agent = Recorder::replying();
        let _account = harness.start(agent.clone(), &[]).await;
        harness.simulator.say(ALICE, "before");
        harness
            .until(|simulator| simulator.answers(ALICE).len() == 1)
            .await;
        faults.set(pass, 2);
        for person in [ALICE, BOB] {
            for text in ["one", "two"] {
                harness.simulator.say(person, text);
            }
        }
        eventually(async || {
            harness.clock.advance(std::time::Duration::from_millis(100));
            [ALICE, BOB].iter().all(|person| {
                let answers = harness.simulator.answers(person);
                answers.contains(&"re: one".to_owned()) && answers.contains(&"re: two".to_owned())
            })
        })
        .await;
        for person in [ALICE, BOB] {
            let mut answers = harness.simulator.answers(person);
            answers.retain(|answer| answer != "re: before");
            answers.dedup();
            assert_eq!(answers, ["re: one", "re: two"], "after {pass} operations");
        }
        harness.check();
    }
}

#[tokio::test]
async fn of_two_gateways_on_one_store_the_newer_one_serves() {
    let harness = Harness::new().await;
    let old: Account = harness.start(Arc::new(EchoAgent), &[]).await;
    harness
        .until(|simulator| simulator.counters().polls_open == 1)
        .await;
    let agent = Recorder::replying();
    let new = harness.start(agent.clone(), &[]).await;
    harness
        .until(|simulator| simulator.counters().polls >= 2)
        .await;
    for text in ["1", "2", "3"] {
        harness.simulator.say(ALICE, text);
        let expect = text.parse::<usize>().unwrap();
        eventually(async || {
            harness.clock.advance(std::time::Duration::from_millis(100));
            harness.simulator.answers(ALICE).len() == expect
        })
        .await;
    }
    // The older one ends for good, and does not take the account back.
    eventually(async || old.health().await.is_none()).await;
    assert_eq!(new.health().await.unwrap().phase, Phase::Connected);
    assert_eq!(harness.simulator.counters().starts, 2);
    assert_eq!(
        harness.simulator.answers(ALICE),
        ["re: 1", "re: 2", "re: 3"]
    );
}
