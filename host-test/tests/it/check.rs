//! The suite that judges components: this one passes, and what breaks a promise does not.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use gateway_conformance::weixin::IlinkPlatform;
use gateway_conformance::{CHECKS, Suite};
use gateway_host::clock::Clock;
use gateway_host::runtime::{Plugin, Runtime};
use gateway_host::state::memory::MemoryState;
use gateway_host::state::{Bucket, KeyPage, State, StateError};
use serde_json::json;

use crate::harness::{component, component_wecom, runner};

async fn loaded() -> (Runtime, Plugin) {
    let runtime = Runtime::new(Clock::new()).unwrap();
    let plugin = runtime.load(&component()).await.unwrap();
    (runtime, plugin)
}

/// Why this check fails.
async fn failure(suite: &Suite, name: &str) -> String {
    let check = CHECKS.iter().find(|check| check.name == name).unwrap();
    suite.run(check).await.unwrap_err()
}

#[tokio::test]
async fn the_component_keeps_every_promise() {
    let output = runner(&["check", "--run"])
        .arg(component())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(output.stderr.is_empty());
    let count = CHECKS.len();
    for check in CHECKS {
        let line = format!("ok      {}", check.name);
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let last = format!("{count} of {count} checks passed: this host runs it");
    assert_eq!(text.lines().last(), Some(last.as_str()));
}

#[tokio::test]
async fn a_platform_that_breaks_its_word_is_noticed() {
    let (runtime, plugin) = loaded().await;
    let black_hole = json!({"sendmessage": {"answer": "black-hole"}});
    let suite = Suite::new(&runtime, &plugin).with_platform(IlinkPlatform::with_faults(black_hole));
    let why = failure(&suite, "an answer acknowledges").await;
    assert!(why.contains("Unconfirmed"), "{why}");
    let repeating = json!({"inbound": {"duplicate": "new-id"}});
    let suite = Suite::new(&runtime, &plugin).with_platform(IlinkPlatform::with_faults(repeating));
    let why = failure(&suite, "a message arrives with all its members").await;
    assert!(why.contains("instead of the message"), "{why}");
    let foreign = json!({"getupdates": {"body": "no JSON"}});
    let suite = Suite::new(&runtime, &plugin).with_platform(IlinkPlatform::with_faults(foreign));
    let why = failure(
        &suite,
        "a second start is refused, and the instance goes on",
    )
    .await;
    assert!(why.contains("receive takes more than"), "{why}");
}

/// Forgets what it is told to store.
#[derive(Default)]
struct Forgetful(MemoryState);

impl State for Forgetful {
    fn bucket(&self, account: &str) -> Result<Arc<dyn Bucket>, StateError> {
        Ok(Arc::new(ForgetfulBucket(self.0.bucket(account)?)))
    }
}

struct ForgetfulBucket(Arc<dyn Bucket>);

type Answer<'a, T> = BoxFuture<'a, Result<T, StateError>>;

impl Bucket for ForgetfulBucket {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        self.0.get(key)
    }

    fn set<'a>(&'a self, _: &'a str, _: Vec<u8>) -> Answer<'a, ()> {
        ready(Ok(())).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        self.0.delete(key)
    }

    fn exists<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        self.0.exists(key)
    }

    fn list_keys<'a>(&'a self, cursor: Option<String>) -> Answer<'a, KeyPage> {
        self.0.list_keys(cursor)
    }

    fn increment<'a>(&'a self, key: &'a str, delta: u64) -> Answer<'a, u64> {
        self.0.increment(key, delta)
    }
}

#[tokio::test]
async fn what_is_not_stored_is_noticed() {
    let (runtime, plugin) = loaded().await;
    let suite = Suite::new(&runtime, &plugin)
        .with_platform(IlinkPlatform::default())
        .with_store(|| Arc::new(Forgetful::default()));
    let kept = [
        "a message is returned until it is acknowledged",
        "a kill right after the write loses nothing",
        "a key is sent once",
    ];
    let whys = futures::future::join_all(kept.map(|name| failure(&suite, name))).await;
    assert!(whys[0].contains("receive"), "{whys:?}");
    assert!(whys[1].contains("receive"), "{whys:?}");
}

#[tokio::test]
async fn a_platform_without_a_server_is_not_judged() {
    let (runtime, _) = loaded().await;
    let plugin = runtime.load(&component_wecom()).await.unwrap();
    let suite = Suite::new(&runtime, &plugin).with_platform(IlinkPlatform::default());
    let able = CHECKS.iter().filter(|check| suite.can_run(check));
    let names: Vec<&str> = able.map(|check| check.name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn a_no_is_the_last_line_and_the_exit_status() {
    let output = runner(&["check", "/nowhere.wasm"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = "this host does not run it: component /nowhere.wasm: there is no such file\n";
    assert_eq!(text, line);
    assert!(output.stderr.is_empty());
}
