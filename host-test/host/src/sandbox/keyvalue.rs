//! `wasi:keyvalue@0.2.0-draft` over the account's part of the host's store.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::Sandbox;
use super::bucket::{OpenBucket, cursor_weight};
use super::limits::Exceeded;
use super::tenant::Tenant;
use super::usage::AdmitError;
use crate::bindings::wasi::keyvalue::{atomics, store};
use crate::state::{Bucket, State, StateError};

/// The buckets that a component may open; see the world's documentation.
const BUCKETS: [&str; 3] = ["state", "receipts", "messages"];
/// Listings of one bucket that may be under way.
const MAX_LISTINGS: usize = 16;
/// Of a number.
const MAX_DIGITS: usize = 20;
/// What a bucket takes.
const BUCKET_BYTES: usize = 1024;

/// The bucket of an account that its component always has something in.
pub(crate) fn first_bucket(account: &str) -> String {
    let [first, ..] = BUCKETS;
    bucket_of(first, account)
}

fn bucket_of(name: &str, account: &str) -> String {
    format!("{name}/{account}")
}

fn failed(error: StateError) -> store::Error {
    store::Error::Other(error.to_string())
}

impl Sandbox {
    fn bucket(&self, handle: &Resource<OpenBucket>) -> wasmtime::Result<Arc<dyn Bucket>> {
        Ok(Arc::clone(&self.table.get(handle)?.bucket))
    }
}

/// Whether the account may store `value` bytes under `key`.
async fn may_write(
    tenant: &Tenant,
    state: &dyn State,
    key: &str,
    value: usize,
) -> Result<(), store::Error> {
    tenant.may_write(key.len() + value).await;
    let refused = |exceeded: &Exceeded| store::Error::Other(tenant.refuse(exceeded));
    if key.len() > tenant.limits.key_bytes {
        let (what, limit) = ("a key of its store is longer", tenant.limits.key_bytes);
        return Err(refused(&Exceeded::count("key_bytes", what, limit, "bytes")));
    }
    if value > tenant.limits.value_bytes {
        let (what, limit) = ("a value of its store is larger", tenant.limits.value_bytes);
        return Err(refused(&Exceeded::count(
            "value_bytes",
            what,
            limit,
            "bytes",
        )));
    }
    let buckets = || {
        let names = BUCKETS.map(|name| state.bucket(&bucket_of(name, &tenant.account)));
        names.into_iter().collect::<Result<Vec<_>, _>>()
    };
    let mut usage = tenant.usage.lock().await;
    let admitted = usage.admit(key.len() + value, buckets).await;
    admitted.map_err(|error| match error {
        AdmitError::Exceeded(exceeded) => refused(&exceeded),
        AdmitError::Store(error) => failed(error),
    })
}

impl store::Host for Sandbox {
    fn open(
        &mut self,
        identifier: String,
    ) -> wasmtime::Result<Result<Resource<OpenBucket>, store::Error>> {
        if !BUCKETS.contains(&identifier.as_str()) {
            return Ok(Err(store::Error::NoSuchStore));
        }
        let name = bucket_of(&identifier, &self.tenant.account);
        let bucket = match self.state.bucket(&name) {
            Ok(bucket) => bucket,
            Err(error) => return Ok(Err(failed(error))),
        };
        self.held.grow(&mut self.table, BUCKET_BYTES)?;
        let handle = self.table.push(OpenBucket::new(bucket))?;
        Ok(Ok(handle))
    }
}

impl store::HostBucket for Sandbox {
    async fn get(
        &mut self,
        handle: Resource<OpenBucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, store::Error>> {
        Ok(self.bucket(&handle)?.get(&key).await.map_err(failed))
    }

    async fn set(
        &mut self,
        handle: Resource<OpenBucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&handle)?;
        // It is the host's from here on, however long the store takes.
        let _held = self.tenant.budget().charge(key.len() + value.len())?;
        if let Err(refused) = may_write(&self.tenant, &*self.state, &key, value.len()).await {
            return Ok(Err(refused));
        }
        Ok(bucket.set(&key, value).await.map_err(failed))
    }

    async fn delete(
        &mut self,
        handle: Resource<OpenBucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&handle)?;
        self.tenant.may_write(key.len()).await;
        Ok(bucket.delete(&key).await.map_err(failed))
    }

    async fn exists(
        &mut self,
        handle: Resource<OpenBucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, store::Error>> {
        Ok(self.bucket(&handle)?.exists(&key).await.map_err(failed))
    }

    async fn list_keys(
        &mut self,
        handle: Resource<OpenBucket>,
        cursor: Option<u64>,
    ) -> wasmtime::Result<Result<store::KeyResponse, store::Error>> {
        let open = self.table.get_mut(&handle)?;
        let from = match cursor {
            None => None,
            Some(number) => match open.listings.remove(&number) {
                Some(from) => Some(from),
                None => {
                    let why = "the cursor is unknown: start the listing again";
                    return Ok(Err(store::Error::Other(why.to_owned())));
                }
            },
        };
        let bucket = Arc::clone(&open.bucket);
        let page = match bucket.list_keys(from).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(failed(error))),
        };
        let kept = page.cursor.as_ref().map_or(0, |next| cursor_weight(next));
        self.held.grow(&mut self.table, kept)?;
        let open = self.table.get_mut(&handle)?;
        let cursor = page.cursor.map(|next| {
            let number = open.next_listing;
            open.next_listing += 1;
            open.listings.insert(number, next);
            if open.listings.len() > MAX_LISTINGS {
                open.listings.pop_first();
            }
            number
        });
        Ok(Ok(store::KeyResponse {
            keys: page.keys,
            cursor,
        }))
    }

    fn drop(&mut self, handle: Resource<OpenBucket>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl atomics::Host for Sandbox {
    async fn increment(
        &mut self,
        handle: Resource<OpenBucket>,
        key: String,
        delta: u64,
    ) -> wasmtime::Result<Result<u64, store::Error>> {
        let bucket = self.bucket(&handle)?;
        if let Err(refused) = may_write(&self.tenant, &*self.state, &key, MAX_DIGITS).await {
            return Ok(Err(refused));
        }
        Ok(bucket.increment(&key, delta).await.map_err(failed))
    }
}
