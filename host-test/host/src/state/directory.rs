//! A store in a directory of this machine: one fjall database, one keyspace for all accounts.
//!
//! - A write that has returned survives `kill -9`; with [`Durability::Full`] also a power cut.
//! - The directory has mode 0700, even if it was there before, unless it belongs to another user. Its
//!   files follow the process's umask, which the runner sets to 077.
//! - One process at a time uses it. A second one gets an error and changes nothing.
//! - No thread of the runtime waits for the disk to write: a write takes microseconds, or another
//!   thread does it.
//! - A write that fails closes the database. It opens again when the disk takes writes, see `store.rs`.
//! - A start that was interrupted while it created the directory does not spoil the next one.

mod store;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use fjall::Slice;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::sync::Semaphore;

use self::store::Store;
use super::{
    Bucket, Durability, KEYS_PER_PAGE, KeyPage, State, StateError, check_account, check_key,
    check_value, incremented, page_of,
};

/// A store that survives the process.
pub struct DirectoryState {
    store: Arc<Store>,
    durability: Durability,
}

debug_by_name!(DirectoryState);

impl DirectoryState {
    /// Opens the directory and creates it when it is not there. Blocks while it reads the journal.
    pub fn open(path: &Path, durability: Durability) -> Result<DirectoryState, StateError> {
        Ok(DirectoryState {
            store: Store::open(path)?,
            durability,
        })
    }
}

impl State for DirectoryState {
    fn bucket(&self, account: &str) -> Result<Arc<dyn Bucket>, StateError> {
        check_account(account)?;
        let length = u16::try_from(account.len()).map_err(|_| StateError::AccountTooLong {
            bytes: account.len(),
        })?;
        // The length in front keeps the account "a" with the key "b" apart from "ab" without one.
        let mut prefix = length.to_be_bytes().to_vec();
        prefix.extend_from_slice(account.as_bytes());
        Ok(Arc::new(DirectoryBucket {
            store: self.store.clone(),
            durability: self.durability,
            prefix,
        }))
    }

    fn trouble(&self) -> Option<String> {
        self.store.trouble()
    }
}

#[derive(Clone)]
struct DirectoryBucket {
    store: Arc<Store>,
    durability: Durability,
    prefix: Vec<u8>,
}

/// A write that is in the journal of the database with this number.
type Written<T> = (T, u64);

impl DirectoryBucket {
    fn path_of(&self, key: &str) -> Result<Vec<u8>, StateError> {
        check_key(key)?;
        Ok([self.prefix.as_slice(), key.as_bytes()].concat())
    }

    fn get_now(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path_of(key)?;
        let value = self.store.read(|opened| opened.entries.get(path))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn set_now(&self, key: &str, value: Vec<u8>) -> Result<Written<()>, StateError> {
        check_value(&value)?;
        let path = self.path_of(key)?;
        self.store.write(path.len() + value.len(), |opened| {
            Ok((opened.entries.insert(path, value)?, opened.number))
        })
    }

    fn delete_now(&self, key: &str) -> Result<Written<()>, StateError> {
        let path = self.path_of(key)?;
        self.store.write(path.len(), |opened| {
            Ok((opened.entries.remove(path)?, opened.number))
        })
    }

    fn exists_now(&self, key: &str) -> Result<bool, StateError> {
        let path = self.path_of(key)?;
        self.store.read(|opened| opened.entries.contains_key(path))
    }

    fn list_keys_now(&self, cursor: Option<&str>) -> Result<KeyPage, StateError> {
        let (first, end) = fjall::util::prefix_to_range(&self.prefix);
        let start = match cursor {
            None => first,
            Some(last) => {
                let path = [self.prefix.as_slice(), last.as_bytes()].concat();
                Bound::Excluded(Slice::from(path))
            }
        };
        let paths = self.store.read(|opened| {
            let entries = opened.entries.range((start, end));
            let paths = entries.take(KEYS_PER_PAGE + 1).map(fjall::Guard::key);
            paths.collect::<Result<Vec<_>, _>>()
        })?;
        let mut keys = Vec::with_capacity(paths.len());
        for path in paths {
            let key = path.get(self.prefix.len()..).unwrap_or_default();
            let key = String::from_utf8(key.to_vec()).map_err(|_| StateError::Storage {
                reason: "a stored key is no UTF-8: the state directory is damaged".to_owned(),
            })?;
            keys.push(key);
        }
        Ok(page_of(keys))
    }

    fn increment_now(&self, key: &str, delta: u64) -> Result<Written<u64>, StateError> {
        let path = self.path_of(key)?;
        let (sum, number) = self.store.write(path.len(), |opened| {
            let value = opened.entries.get(&path)?;
            let sum = incremented(value.as_deref(), delta);
            if let Ok(sum) = &sum {
                opened.entries.insert(path, sum.to_string())?;
            }
            Ok((sum, opened.number))
        })?;
        Ok((sum?, number))
    }

    /// Makes a change: at once if it does not have to wait, otherwise on another thread. Returns when the
    /// change is as durable as was asked for.
    fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&DirectoryBucket) -> Result<Written<T>, StateError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StateError>> {
        if self.durability == Durability::Process && !self.store.may_stall() {
            return ready(change(self).map(|(value, _)| value)).boxed();
        }
        let bucket = self.clone();
        let turn = Arc::clone(&self.store.turn);
        elsewhere(turn, move || {
            let (value, number) = change(&bucket)?;
            if bucket.durability == Durability::Full {
                bucket.store.persist(number)?;
            }
            Ok(value)
        })
        .boxed()
    }
}

/// Runs work that may block for long on another thread, when it is its turn.
async fn elsewhere<T: Send + 'static>(
    turn: Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, StateError> {
    let failed = |error: &dyn std::fmt::Display| StateError::Storage {
        reason: error.to_string(),
    };
    let turn = turn.acquire_owned().await.map_err(|error| failed(&error))?;
    let working = tokio::task::spawn_blocking(move || {
        // Also when nobody waits for it any more.
        let _turn = turn;
        work()
    });
    working.await.map_err(|error| failed(&error))?
}

impl Bucket for DirectoryBucket {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, StateError>> {
        ready(self.get_now(key)).boxed()
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>) -> BoxFuture<'a, Result<(), StateError>> {
        let key = key.to_owned();
        self.write(move |bucket| bucket.set_now(&key, value))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StateError>> {
        let key = key.to_owned();
        self.write(move |bucket| bucket.delete_now(&key))
    }

    fn exists<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StateError>> {
        ready(self.exists_now(key)).boxed()
    }

    fn list_keys<'a>(
        &'a self,
        cursor: Option<String>,
    ) -> BoxFuture<'a, Result<KeyPage, StateError>> {
        let (bucket, turn) = (self.clone(), Arc::clone(&self.store.listings));
        elsewhere(turn, move || bucket.list_keys_now(cursor.as_deref())).boxed()
    }

    fn increment<'a>(&'a self, key: &'a str, delta: u64) -> BoxFuture<'a, Result<u64, StateError>> {
        let key = key.to_owned();
        self.write(move |bucket| bucket.increment_now(&key, delta))
    }
}

#[cfg(test)]
mod tests;
