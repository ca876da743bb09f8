//! The stores of this crate keep the promises, and agree with each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::directory::DirectoryState;
use super::super::memory::MemoryState;
use super::super::redis::RedisState;
use super::super::{Durability, State, incremented};
use super::{all_keys, conforms};
use crate::redis_server::{self, RedisServer};

#[tokio::test]
async fn memory_conforms() {
    conforms(&MemoryState::default()).await;
}

#[tokio::test]
async fn directory_conforms() {
    for durability in [Durability::Process, Durability::Full] {
        let directory = tempfile::tempdir().unwrap();
        conforms(&DirectoryState::open(directory.path(), durability).unwrap()).await;
    }
}

#[tokio::test]
async fn redis_conforms() {
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    conforms(&redis(&server).await).await;
}

async fn redis(server: &RedisServer) -> RedisState {
    let address = server.url().parse().unwrap();
    RedisState::open(&address, Durability::Process)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    if redis_server::is_missing() {
        return;
    }
    let server = RedisServer::start();
    let states: [Arc<dyn State>; 3] = [
        Arc::new(MemoryState::default()),
        Arc::new(redis(&server).await),
        Arc::new(DirectoryState::open(directory.path(), Durability::Process).unwrap()),
    ];
    for state in states {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let bucket = state.bucket("alice").unwrap();
                tokio::spawn(async move {
                    for _ in 0..250 {
                        bucket.increment("n", 1).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let bucket = state.bucket("alice").unwrap();
        assert_eq!(bucket.increment("n", 0).await.unwrap(), 1000);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(String, Vec<u8>),
    Delete(String),
    Increment(String, u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || "[a-c]{0,2}";
    prop_oneof![
        4 => (key(), any::<Vec<u8>>()).prop_map(|(key, value)| Step::Set(key, value)),
        2 => key().prop_map(Step::Delete),
        2 => (key(), any::<u64>()).prop_map(|(key, delta)| Step::Increment(key, delta)),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn stores_behave_like_a_map(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if redis_server::is_missing() {
                return;
            }
            let server = RedisServer::start();
            let remote = redis(&server).await.bucket("alice").unwrap();
            let directory = tempfile::tempdir().unwrap();
            let open = || DirectoryState::open(directory.path(), Durability::Process).unwrap();
            let memory = MemoryState::default().bucket("alice").unwrap();
            let mut stored = open().bucket("alice").unwrap();
            let mut model = BTreeMap::<String, Vec<u8>>::new();
            for step in steps {
                match step {
                    Step::Set(key, value) => {
                        for bucket in [&memory, &stored, &remote] {
                            bucket.set(&key, value.clone()).await.unwrap();
                        }
                        model.insert(key, value);
                    }
                    Step::Delete(key) => {
                        for bucket in [&memory, &stored, &remote] {
                            bucket.delete(&key).await.unwrap();
                        }
                        model.remove(&key);
                    }
                    Step::Increment(key, delta) => {
                        let sum = incremented(model.get(&key).map(Vec::as_slice), delta).ok();
                        for bucket in [&memory, &stored, &remote] {
                            assert_eq!(bucket.increment(&key, delta).await.ok(), sum);
                        }
                        if let Some(sum) = sum {
                            model.insert(key, sum.to_string().into_bytes());
                        }
                    }
                    Step::Reopen => {
                        drop(stored);
                        stored = open().bucket("alice").unwrap();
                    }
                }
                for bucket in [&memory, &stored, &remote] {
                    assert_eq!(all_keys(&**bucket).await, model.keys().cloned().collect::<Vec<_>>());
                    for (key, value) in &model {
                        assert_eq!(bucket.get(key).await.unwrap().as_ref(), Some(value));
                    }
                }
            }
        });
    }
}
