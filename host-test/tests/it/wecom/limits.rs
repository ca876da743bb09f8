//! What the platform is told where there is too much, or where it takes too long: to come again.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered, StreamExt};
use gateway_host::state::memory::MemoryState;
use gateway_host::state::{Bucket, KeyPage, State, StateError};
use gateway_simulator::wecom::SealedCallback;
use tokio::sync::watch;

use super::ALICE;
use super::harness::{Corp, posted};
use crate::harness::{Recorder, eventually};

#[tokio::test]
async fn at_ten_thousand_unacknowledged_messages_callbacks_are_left_to_the_platform() {
    let corp = Corp::new().await;
    let instance = corp.instance(&[]).await;
    instance.start().await.unwrap();
    let post = |id| corp.wecom.sealed(&corp.text(ALICE, id, "hello"));
    let statuses = stream::iter(1..=10_000)
        .map(|id| {
            let (post, instance) = (post(id), &instance);
            async move { posted(instance, &post).await.0 }
        })
        .buffer_unordered(48);
    let refused = statuses.filter(|status| std::future::ready(*status != 200));
    assert_eq!(refused.count().await, 0);
    // A repeat of what is stored takes no place.
    for (id, status) in [(10_001, 503), (1, 200)] {
        let answer = posted(&instance, &post(id)).await;
        assert_eq!(answer, (status, Bytes::new()));
    }
    assert_eq!(instance.check().await.unwrap().unacknowledged, 10_000);
    // Half of them have to go.
    let mut left = 10_000;
    while left >= 5_000 {
        assert_eq!(posted(&instance, &post(10_001)).await.0, 503, "{left}");
        let events = instance.receive().await.unwrap();
        left -= events.len();
        let ids = events.into_iter().map(|event| event.id).collect();
        instance.ack(ids).await.unwrap();
    }
    assert_eq!(posted(&instance, &post(10_001)).await.0, 200);
    let unacknowledged = instance.check().await.unwrap().unacknowledged;
    assert_eq!(unacknowledged as usize, left + 1);
}

/// A store whose writes wait while it is shut.
struct Gated {
    inner: MemoryState,
    is_open: watch::Receiver<bool>,
}

impl State for Gated {
    fn bucket(&self, account: &str) -> Result<Arc<dyn Bucket>, StateError> {
        Ok(Arc::new(GatedBucket {
            inner: self.inner.bucket(account)?,
            is_open: self.is_open.clone(),
        }))
    }
}

struct GatedBucket {
    inner: Arc<dyn Bucket>,
    is_open: watch::Receiver<bool>,
}

impl Bucket for GatedBucket {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, StateError>> {
        self.inner.get(key)
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>) -> BoxFuture<'a, Result<(), StateError>> {
        async move {
            let mut is_open = self.is_open.clone();
            // The test has the sender.
            let _ = is_open.wait_for(|is_open| *is_open).await;
            self.inner.set(key, value).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StateError>> {
        self.inner.delete(key)
    }

    fn exists<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StateError>> {
        self.inner.exists(key)
    }

    fn list_keys<'a>(
        &'a self,
        cursor: Option<String>,
    ) -> BoxFuture<'a, Result<KeyPage, StateError>> {
        self.inner.list_keys(cursor)
    }

    fn increment<'a>(&'a self, key: &'a str, delta: u64) -> BoxFuture<'a, Result<u64, StateError>> {
        self.inner.increment(key, delta)
    }
}

#[tokio::test]
async fn more_requests_than_may_be_open_and_those_that_take_too_long_come_again() {
    let (gate, is_open) = watch::channel(true);
    let corp = Corp {
        state: Arc::new(Gated {
            inner: MemoryState::default(),
            is_open,
        }),
        ..Corp::new().await
    };
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let served = corp.serve(agent.clone(), &[]).await;
    served.connected().await;
    gate.send_replace(false);
    let posts: Vec<SealedCallback> = (1..=80)
        .map(|id| corp.wecom.sealed(&corp.text(ALICE, id, &id.to_string())))
        .collect();
    let open: FuturesUnordered<_> = posts.iter().map(|post| served.post(post)).collect();
    let mut answers: Vec<(u16, Bytes)> = open.collect().await;
    answers.sort();
    let (busy, late) = answers.split_at(16);
    let why = |text: &'static str| Bytes::from_static(text.as_bytes());
    for answer in busy {
        assert_eq!(*answer, (503, why("too many requests are open")));
    }
    for answer in late {
        assert_eq!(*answer, (504, why("no answer in time")));
    }
    // Those that took too long are stored none the less; the others are when they come again.
    gate.send_replace(true);
    eventually(async || agent.texts().len() == 64).await;
    for post in &posts {
        assert_eq!(served.post(post).await, (200, Bytes::new()));
    }
    eventually(async || agent.texts().len() == 80).await;
    let mut numbers: Vec<u32> = agent
        .texts()
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    numbers.sort();
    assert_eq!(numbers, Vec::from_iter(1..=80));
}
