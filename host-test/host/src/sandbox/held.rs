//! What the table of an instance holds in the host's memory, and what it may.
//!
//! The table is weighed when the growth since the last weighing could matter. So every way to drop a
//! resource is noticed, and a clone needs no count of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p3::{Request, Response};

use super::bucket::OpenBucket;
use super::budget::Charge;
use super::limits::Exceeded;
use super::tenant::Tenant;

/// The price of an entry of the table, with the engine's part for a stream or a future.
pub(super) const HANDLE_BYTES: usize = 1024;
/// The price of a field of a map, without its name and its value.
const FIELD_BYTES: usize = 144;
/// The growth after which the table is weighed again.
const SLACK_BYTES: usize = 1024 * 1024;

/// What the table of an instance uses of its account's budget.
pub(super) struct Held {
    charge: Charge,
    /// What it was when it was last weighed.
    weighed: usize,
    /// What came into the table without a call of the component: trailers, requests to it.
    unseen: Arc<AtomicUsize>,
    /// How often in a row the component met its limit.
    pub refusals: u32,
}

impl Held {
    pub fn new(tenant: &Tenant) -> Held {
        Held {
            charge: tenant.share.budget.note(0),
            weighed: 0,
            unseen: Arc::default(),
            refusals: 0,
        }
    }

    /// Where to add what comes into the table by itself.
    pub fn unseen(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.unseen)
    }

    /// Takes `bytes` more for what is in the table.
    pub fn grow(&mut self, table: &mut ResourceTable, bytes: usize) -> Result<(), Exceeded> {
        let unseen = self.unseen.swap(0, Ordering::Relaxed);
        self.charge.set(self.charge.bytes().saturating_add(unseen));
        if self.charge.bytes() > self.weighed.saturating_mul(2).saturating_add(SLACK_BYTES) {
            self.weigh(table);
        }
        let Err(exceeded) = self.charge.grow(bytes) else {
            return Ok(());
        };
        self.weigh(table);
        // With that much room the next weighing is far away.
        let budget = self.charge.budget();
        if budget.free() < bytes.saturating_add(budget.limit() / 16) {
            return Err(exceeded);
        }
        self.charge.grow(bytes)
    }

    fn weigh(&mut self, table: &mut ResourceTable) {
        self.weighed = table.iter_mut().map(|entry| weight(&*entry)).sum();
        self.charge.set(self.weighed);
    }
}

fn weight(entry: &dyn std::any::Any) -> usize {
    let held = if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        weight_of_fields(fields)
    } else if let Some(request) = entry.downcast_ref::<Request>() {
        let path = request.path_with_query.as_ref();
        request.method.as_str().len()
            + request
                .scheme
                .as_ref()
                .map_or(0, |scheme| scheme.as_str().len())
            + request
                .authority
                .as_ref()
                .map_or(0, |name| name.as_str().len())
            + path.map_or(0, |path| path.as_str().len())
            + weight_of_fields(&request.headers)
    } else if let Some(response) = entry.downcast_ref::<Response>() {
        weight_of_fields(&response.headers)
    } else if let Some(bucket) = entry.downcast_ref::<OpenBucket>() {
        bucket.weight()
    } else {
        0
    };
    HANDLE_BYTES + held
}

/// The price of a map of fields.
pub(super) fn weight_of_fields(fields: &HeaderMap) -> usize {
    let each =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len();
    let texts: usize = fields.iter().map(each).sum();
    texts + FIELD_BYTES * fields.capacity().max(fields.len())
}

/// The price of a field that is about to be added. A map doubles its room when it is full.
pub(super) fn weight_of_new(name: &str, value: &[u8]) -> usize {
    name.len() + value.len() + 4 * FIELD_BYTES
}
