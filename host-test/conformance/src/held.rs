//! A store whose writes can be held or made to fail, so that a kill comes at the worst moment.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use gateway_host::state::{Bucket, KeyPage, State, StateError};

/// What happens to writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// They are done.
    Pass,
    /// They wait, and are done later.
    Wait,
    /// The next one is done, and never returns; the others wait.
    Hang,
    /// They fail and do nothing.
    Fail,
}

/// A store over another one. It passes everything until it is told otherwise.
#[derive(Clone)]
pub struct Held {
    inner: Arc<dyn State>,
    writes: Arc<watch::Sender<Writes>>,
}

impl Held {
    /// Over this store.
    pub fn over(inner: &Arc<dyn State>) -> Held {
        Held {
            inner: Arc::clone(inner),
            writes: Arc::new(watch::channel(Writes::Pass).0),
        }
    }

    /// What becomes of writes from now on, those that wait included.
    pub fn set(&self, writes: Writes) {
        self.writes.send_replace(writes);
    }

    /// Waits until a write was done that hangs.
    pub async fn hung(&self) {
        let mut writes = self.writes.subscribe();
        // The sender lives in `self`.
        let _ = writes.wait_for(|writes| *writes == Writes::Wait).await;
    }
}

impl State for Held {
    fn bucket(&self, account: &str) -> Result<Arc<dyn Bucket>, StateError> {
        Ok(Arc::new(HeldBucket {
            inner: self.inner.bucket(account)?,
            held: self.clone(),
        }))
    }
}

struct HeldBucket {
    inner: Arc<dyn Bucket>,
    held: Held,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StateError>>;

impl HeldBucket {
    async fn written<T>(&self, write: Answer<'_, T>) -> Result<T, StateError> {
        let mut writes = self.held.writes.subscribe();
        let now = *writes.borrow_and_update();
        match now {
            Writes::Pass => write.await,
            Writes::Wait => {
                // The sender lives in `self`.
                let _ = writes.wait_for(|writes| *writes == Writes::Pass).await;
                write.await
            }
            Writes::Hang => {
                let written = write.await;
                self.held.set(Writes::Wait);
                let _ = writes.wait_for(|writes| *writes == Writes::Pass).await;
                written
            }
            Writes::Fail => Err(StateError::Storage {
                reason: "the check lets it fail".to_owned(),
            }),
        }
    }
}

impl Bucket for HeldBucket {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        self.inner.get(key)
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>) -> Answer<'a, ()> {
        self.written(self.inner.set(key, value)).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        self.written(self.inner.delete(key)).boxed()
    }

    fn exists<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        self.inner.exists(key)
    }

    fn list_keys<'a>(&'a self, cursor: Option<String>) -> Answer<'a, KeyPage> {
        self.inner.list_keys(cursor)
    }

    fn increment<'a>(&'a self, key: &'a str, delta: u64) -> Answer<'a, u64> {
        self.written(self.inner.increment(key, delta)).boxed()
    }
}
