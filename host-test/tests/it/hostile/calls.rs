//! Calls that do not return.

use std::time::{Duration, Instant};

use futures::stream;
use futures::{FutureExt, StreamExt};
use gateway_host::instance::Instance;
use gateway_host::sandbox::limits::Limits;

use super::SharedHost;
use crate::harness::{PATIENCE, proactive};

const LIMIT: Duration = Duration::from_millis(200);

/// Limits of [`LIMIT`] for all calls.
fn short() -> Limits {
    let mut limits = Limits::default();
    let calls = &mut limits.calls;
    for limit in [
        &mut calls.start,
        &mut calls.drain,
        &mut calls.stop,
        &mut calls.send,
        &mut calls.find,
        &mut calls.typing,
        &mut calls.ack,
        &mut calls.fetch,
        &mut calls.put,
        &mut calls.begin_login,
    ] {
        *limit = LIMIT;
    }
    limits
}

/// The error of a call.
async fn error_of(instance: &Instance, call: &str) -> String {
    let key = || "key".to_owned();
    let error = match call {
        "start" => instance.start().await.err(),
        "drain" => instance.drain(0).await.err(),
        "stop" => instance.stop().await.err(),
        "send" => instance.send(proactive("key", "a", "text")).await.err(),
        "find" => instance.find(key()).await.err(),
        "typing" => instance.typing(key(), true).await.err(),
        "ack" => instance.ack(vec![key()]).await.err(),
        "fetch" => instance.fetch(key()).await.err(),
        "put" => {
            let info = gateway_host::instance::Upload {
                conversation: key(),
                kind: None,
                name: key(),
                mime: None,
                size: 1,
                md5: vec![0; 16],
            };
            instance.put(info, stream::empty().boxed()).await.err()
        }
        "begin" => instance.begin_login().await.err(),
        other => panic!("{other}"),
    };
    error.map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn each_call_that_must_end_does() {
    let mut host = SharedHost::new().await;
    for attack in ["sleep", "spin"] {
        for call in [
            "start", "drain", "stop", "send", "find", "typing", "ack", "fetch", "put", "begin",
        ] {
            let instance = host.instance(attack, call, short()).await;
            let begun = Instant::now();
            let error = error_of(&instance, call);
            // Far below the limits that it would have otherwise, of up to 40 minutes.
            let error = tokio::time::timeout(PATIENCE, error).await.expect(call);
            let taken = begun.elapsed();
            assert!(error.contains(&format!("`calls.{call}")), "{call}: {error}");
            assert!(error.contains("200ms"), "{call}: {error}");
            assert!(taken >= LIMIT, "{attack} in {call}: {taken:?}");
            // Whoever still holds it learns the same.
            let again = instance.check().await.err().unwrap().to_string();
            assert_eq!(again, error);
        }
        host.answers().await;
    }
    host.end().await;
}

#[tokio::test]
async fn a_start_that_never_returns_is_an_error() {
    let mut host = SharedHost::new().await;
    let error = host
        .try_start("sleep", "start", short())
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("`calls.start`"), "{error}");
    host.answers().await;
    host.end().await;
}

#[tokio::test]
async fn open_ended_calls_have_no_limit() {
    let mut host = SharedHost::new().await;
    for call in ["receive", "run"] {
        let account = host.try_start("sleep", call, short()).await.unwrap();
        tokio::time::sleep(2 * LIMIT).await;
        host.answers().await;
        assert_eq!(account.metrics().restarts.get(), 0, "{call}");
        assert_eq!(account.status().await.reason, None);
    }
    host.end().await;
}

#[tokio::test]
async fn an_account_stops_in_time_whatever_its_component_does() {
    let mut host = SharedHost::new().await;
    for (attack, call) in [("sleep", "drain"), ("spin", "stop"), ("spin", "run")] {
        let account = host
            .try_start(attack, call, Limits::default())
            .await
            .unwrap();
        host.answers().await;
        // None of the attacks ever ends.
        let stopping = tokio::time::timeout(PATIENCE, account.stop());
        assert!(stopping.await.is_ok(), "{attack} in {call}");
    }
    host.end().await;
}

#[tokio::test]
async fn what_is_offered_at_once_is_taken_in_windows() {
    let host = SharedHost::new().await;
    let instance = host.instance("pass", "", Limits::default()).await;
    let mut content = instance.fetch("handle".to_owned()).await.unwrap();
    let mut read = 0;
    while let Some(window) = content.bytes.recv().await {
        assert!(window.len() <= 256 * 1024, "{}", window.len());
        read += window.len();
    }
    assert_eq!(read, 64 * 1024 * 1024);
    assert!(content.done.now_or_never().is_some() || instance.check().await.is_ok());
    host.end().await;
}
