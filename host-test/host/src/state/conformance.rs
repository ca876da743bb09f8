//! What every store must do, run over each of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::directory::DirectoryState;
use super::memory::MemoryState;
use super::redis::RedisState;
use super::*;
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

async fn conforms(state: &dyn State) {
    shows_its_own_writes(&*state.bucket("plain").unwrap()).await;
    keeps_accounts_apart(state).await;
    refuses_what_is_too_large(state).await;
    increments(&*state.bucket("numbers").unwrap()).await;
    lists_every_key_once(&*state.bucket("many").unwrap()).await;
}

async fn shows_its_own_writes(bucket: &dyn Bucket) {
    for key in [
        "",
        "a",
        "b/ü/\u{10ffff}",
        "a\0b",
        &"k".repeat(MAX_KEY_BYTES),
    ] {
        assert_eq!(bucket.get(key).await.unwrap(), None);
        assert!(!bucket.exists(key).await.unwrap());
        bucket.delete(key).await.unwrap();
        for value in [&b""[..], b"one", b"\0\xff"] {
            bucket.set(key, value.to_vec()).await.unwrap();
            assert_eq!(bucket.get(key).await.unwrap().as_deref(), Some(value));
            assert!(bucket.exists(key).await.unwrap());
        }
        bucket.delete(key).await.unwrap();
        assert_eq!(bucket.get(key).await.unwrap(), None);
    }
    assert_eq!(bucket.list_keys(None).await.unwrap(), KeyPage::default());
}

async fn keeps_accounts_apart(state: &dyn State) {
    // Joined without care, these would meet.
    let accounts = ["", "a", "ab", "abc", "a\0", "\u{1}a"];
    for account in accounts {
        let bucket = state.bucket(account).unwrap();
        for key in ["", "b", "bc", "c"] {
            bucket.set(key, account.into()).await.unwrap();
        }
    }
    for account in accounts {
        // Opened anew, it is the same bucket.
        let bucket = state.bucket(account).unwrap();
        let page = bucket.list_keys(None).await.unwrap();
        assert_eq!(page.keys, ["", "b", "bc", "c"]);
        for key in page.keys {
            assert_eq!(bucket.get(&key).await.unwrap(), Some(account.into()));
        }
    }
}

async fn refuses_what_is_too_large(state: &dyn State) {
    let bucket = state.bucket("bounds").unwrap();
    let key = "k".repeat(MAX_KEY_BYTES + 1);
    let too_long = |error| matches!(error, StateError::KeyTooLong { bytes } if bytes == key.len());
    assert!(too_long(bucket.get(&key).await.unwrap_err()));
    assert!(too_long(bucket.set(&key, vec![1]).await.unwrap_err()));
    assert!(too_long(bucket.delete(&key).await.unwrap_err()));
    assert!(too_long(bucket.exists(&key).await.unwrap_err()));
    assert!(too_long(bucket.increment(&key, 1).await.unwrap_err()));

    bucket.set("value", vec![0; MAX_VALUE_BYTES]).await.unwrap();
    let error = bucket.set("value", vec![1; MAX_VALUE_BYTES + 1]).await;
    assert!(matches!(error, Err(StateError::ValueTooLarge { .. })));
    let value = bucket.get("value").await.unwrap().unwrap();
    assert_eq!(value.len(), MAX_VALUE_BYTES);

    assert!(state.bucket(&"a".repeat(MAX_ACCOUNT_BYTES)).is_ok());
    let error = state
        .bucket(&"a".repeat(MAX_ACCOUNT_BYTES + 1))
        .err()
        .unwrap();
    assert!(matches!(error, StateError::AccountTooLong { .. }));
}

async fn increments(bucket: &dyn Bucket) {
    assert_eq!(bucket.increment("n", 5).await.unwrap(), 5);
    assert_eq!(bucket.increment("n", 0).await.unwrap(), 5);
    assert_eq!(bucket.get("n").await.unwrap().unwrap(), b"5");
    bucket.set("n", u64::MAX.to_string().into()).await.unwrap();
    let error = bucket.increment("n", 1).await.unwrap_err();
    assert!(matches!(error, StateError::Overflow));
    for value in ["", "-1", "1.0", "one"] {
        bucket.set("text", value.into()).await.unwrap();
        let error = bucket.increment("text", 1).await.unwrap_err();
        assert!(matches!(error, StateError::NotANumber), "{value:?}");
        assert_eq!(bucket.get("text").await.unwrap().unwrap(), value.as_bytes());
    }
}

async fn lists_every_key_once(bucket: &dyn Bucket) {
    let expected: Vec<String> = (0..2 * KEYS_PER_PAGE).map(|n| format!("{n:05}")).collect();
    for key in &expected {
        bucket.set(key, Vec::new()).await.unwrap();
    }
    assert_eq!(all_keys(bucket).await, expected);

    // What comes and goes between two pages does not move the others.
    let first = bucket.list_keys(None).await.unwrap();
    assert_eq!(first.keys.len(), KEYS_PER_PAGE);
    for key in first.keys.iter().take(10).chain(first.keys.last()) {
        bucket.delete(key).await.unwrap();
    }
    bucket.set("00000/new", Vec::new()).await.unwrap();
    let second = bucket.list_keys(first.cursor).await.unwrap();
    assert_eq!(second.keys, expected[KEYS_PER_PAGE..]);
    assert_eq!(second.cursor, None);

    let past_the_end = bucket.list_keys(Some("~".repeat(2000))).await.unwrap();
    assert_eq!(past_the_end, KeyPage::default());
}

async fn all_keys(bucket: &dyn Bucket) -> Vec<String> {
    let mut page = bucket.list_keys(None).await.unwrap();
    let mut keys = page.keys;
    while page.cursor.is_some() {
        page = bucket.list_keys(page.cursor).await.unwrap();
        keys.append(&mut page.keys);
    }
    keys
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
