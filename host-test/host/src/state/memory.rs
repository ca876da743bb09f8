//! A store in the memory of this process, for tests and for trying things out.
//!
//! It is as strict as the others about bounds and errors, and gone when the last handle is dropped.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::{
    Bucket, KEYS_PER_PAGE, KeyPage, State, StateError, check_account, check_key, check_value,
    incremented, page_of,
};

/// A store whose buckets live as long as it does.
#[derive(Default)]
pub struct MemoryState {
    buckets: Mutex<HashMap<String, Arc<MemoryBucket>>>,
}

debug_by_name!(MemoryState);

impl State for MemoryState {
    fn bucket(&self, account: &str) -> Result<Arc<dyn Bucket>, StateError> {
        check_account(account)?;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(buckets.entry(account.to_owned()).or_default().clone())
    }
}

#[derive(Default)]
struct MemoryBucket {
    entries: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryBucket {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // Each operation changes the map in one step, so a panic elsewhere leaves it whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_now(&self, key: &str, value: Vec<u8>) -> Result<(), StateError> {
        check_key(key)?;
        check_value(&value)?;
        self.entries().insert(key.to_owned(), value);
        Ok(())
    }

    fn list_keys_now(&self, cursor: Option<&str>) -> KeyPage {
        let start = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries();
        let keys = entries.range::<str, _>((start, Bound::Unbounded));
        page_of(
            keys.take(KEYS_PER_PAGE + 1)
                .map(|(key, _)| key.clone())
                .collect(),
        )
    }

    fn increment_now(&self, key: &str, delta: u64) -> Result<u64, StateError> {
        check_key(key)?;
        let mut entries = self.entries();
        let sum = incremented(entries.get(key).map(Vec::as_slice), delta)?;
        entries.insert(key.to_owned(), sum.to_string().into_bytes());
        Ok(sum)
    }
}

impl Bucket for MemoryBucket {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, StateError>> {
        ready(check_key(key).map(|()| self.entries().get(key).cloned())).boxed()
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>) -> BoxFuture<'a, Result<(), StateError>> {
        ready(self.set_now(key, value)).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StateError>> {
        ready(check_key(key).map(|()| drop(self.entries().remove(key)))).boxed()
    }

    fn exists<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StateError>> {
        ready(check_key(key).map(|()| self.entries().contains_key(key))).boxed()
    }

    fn list_keys<'a>(
        &'a self,
        cursor: Option<String>,
    ) -> BoxFuture<'a, Result<KeyPage, StateError>> {
        ready(Ok(self.list_keys_now(cursor.as_deref()))).boxed()
    }

    fn increment<'a>(&'a self, key: &'a str, delta: u64) -> BoxFuture<'a, Result<u64, StateError>> {
        ready(self.increment_now(key, delta)).boxed()
    }
}
