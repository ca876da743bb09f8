//! Memory, store, requests and what else is counted.

use std::sync::Arc;

use futures::FutureExt;
use gateway_host::agent::message::{Message, Reply};
use gateway_host::sandbox::limits::Limits;

use super::{SharedHost, log};
use crate::harness::{Recorder, eventually};

#[tokio::test]
async fn memory_is_bounded() {
    let mut host = SharedHost::new().await;
    let limits = Limits {
        memory_bytes: 32 * 1024 * 1024,
        ..Limits::default()
    };
    let words = ["`memory_bytes`", "33554432 bytes", "allocate"];
    host.down("allocate", limits, &words).await;
    host.end().await;
}

#[tokio::test]
async fn what_is_held_and_under_way_is_bounded() {
    let mut host = SharedHost::new().await;
    for (attack, handles, tasks) in [
        ("streams", 1000, 100_000),
        ("streams", 100_000, 1000),
        ("buckets", 1000, 100_000),
        ("tasks", 100_000, 1000),
    ] {
        let limits = Limits {
            handles,
            tasks,
            ..Limits::default()
        };
        host.down(attack, limits, &["`handles"]).await;
    }
    host.end().await;
}

#[tokio::test]
async fn a_component_of_too_many_parts_is_refused() {
    let mut host = SharedHost::new().await;
    let limits = Limits {
        core_instances: 1,
        ..Limits::default()
    };
    let runtime = host.harness.runtime.limited(limits);
    let error = runtime.load(std::path::Path::new(env!("HOSTILE"))).await;
    let error = error.err().unwrap().to_string();
    assert!(error.contains("instance count too high"), "{error}");
    host.answers().await;
    host.end().await;
}

#[tokio::test]
async fn the_store_is_bounded() {
    let mut host = SharedHost::new().await;
    let limits = Limits {
        keys: 400,
        stored_bytes: 300 * 1024,
        ..Limits::default()
    };
    for (attack, words) in [
        ("keys", "`keys`"),
        ("values", "`stored_bytes`"),
        ("key", "`key_bytes`"),
        ("value", "`value_bytes`"),
    ] {
        // Overwriting needs no room for keys, and each attack starts with an empty store.
        host.harness.state = Arc::new(gateway_host::state::memory::MemoryState::default());
        host.down(attack, limits.clone(), &[words]).await;
        let bucket = host.harness.state.bucket("state/hostile@im.bot").unwrap();
        let keys = bucket.list_keys(None).await.unwrap().keys;
        assert!(keys.len() <= 400 + 400 / 4, "{} keys", keys.len());
        let mut bytes = 0;
        for key in &keys {
            bytes += bucket.get(key).await.unwrap().unwrap().len();
        }
        assert!(bytes <= 500 * 1024, "{bytes} bytes");
    }
    host.end().await;
}

#[tokio::test]
async fn requests_and_bodies_are_bounded() {
    let mut host = SharedHost::new().await;
    let mut limits = Limits {
        requests: 50,
        ..Limits::default()
    };
    limits.egress.request_bytes = 1024 * 1024;
    limits.egress.response_bytes = 1024 * 1024;
    for (attack, words, limit) in [
        ("requests", "ConnectionLimitReached", "`requests`"),
        ("body", "ConnectionTerminated", "`request_bytes`"),
        ("answer", "HttpResponseBodySize", "`response_bytes`"),
        // 64 MiB are no API call, but a film may have them.
        ("media", "Ok(0)", ""),
    ] {
        let log = log::Captured::new();
        host.down(attack, limits.clone(), &[words]).await;
        assert!(log.text().contains(limit), "{attack}");
    }
    host.end().await;
}

#[tokio::test]
async fn a_result_that_is_too_large_ends_the_instance() {
    let mut host = SharedHost::new().await;
    host.down("list", Limits::default(), &["`call_bytes`"])
        .await;
    host.end().await;
}

#[tokio::test]
async fn messages_without_end_wait_in_the_component() {
    let mut host = SharedHost::new().await;
    let never = |_: &Message, _| std::future::pending::<Result<Option<Reply>, _>>().boxed();
    for (attack, limits, most) in [
        ("messages", (1000, usize::MAX), 1100),
        ("large", (usize::MAX, 10 * 1024 * 1024), 11),
    ] {
        let limits = Limits {
            waiting_messages: limits.0,
            waiting_bytes: limits.1,
            ..Limits::default()
        };
        let agent = Recorder::new(never);
        let account = host
            .start_with(agent, attack, "receive", limits)
            .await
            .unwrap();
        eventually(async || account.waiting_messages() >= most - 100.min(most / 2)).await;
        for _ in 0..20 {
            host.answers().await;
        }
        let waiting = account.waiting_messages();
        assert!(waiting <= most, "{waiting} wait");
    }
    host.end().await;
}
