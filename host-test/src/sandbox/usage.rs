//! How much an account stores.
//!
//! The stores can't tell, and a count reads everything, so it is made only when what was written since
//! the last one could have brought the account near its limits. A store may therefore hold a quarter
//! more than its limits when the process starts, and a sixteenth more afterwards.

use std::time::{Duration, Instant};

use super::limits::{Exceeded, Limits};
use crate::state::{Bucket, StateError};

/// How often a full store is counted, to see whether there is room again.
const RECOUNT_EVERY: Duration = Duration::from_secs(10);
/// Values that are read before others may run.
const READS_AT_ONCE: u64 = 64;

/// Keys and bytes of an account.
pub(super) struct Usage {
    keys_limit: u64,
    bytes_limit: u64,
    /// What may be written before the next count.
    free: Amount,
    /// When a count found no room.
    full: Option<(Instant, Exceeded)>,
}

#[derive(Clone, Copy, Default)]
struct Amount {
    keys: u64,
    bytes: u64,
}

impl Usage {
    pub fn new(limits: &Limits) -> Usage {
        Usage {
            keys_limit: limits.keys,
            bytes_limit: limits.stored_bytes,
            free: Amount {
                keys: limits.keys / 4,
                bytes: limits.stored_bytes / 4,
            },
            full: None,
        }
    }

    /// Whether a write of `bytes` may take place; `buckets` are those of the account.
    ///
    /// # Errors
    /// The limit that it would pass, or what the store fails with.
    pub async fn admit(
        &mut self,
        bytes: usize,
        buckets: impl Fn() -> Result<Vec<std::sync::Arc<dyn Bucket>>, StateError>,
    ) -> Result<Result<(), Exceeded>, StateError> {
        let bytes = bytes as u64;
        if let Some((when, exceeded)) = &self.full
            && when.elapsed() < RECOUNT_EVERY
        {
            return Ok(Err(exceeded.clone()));
        }
        if self.free.keys == 0 || self.free.bytes < bytes {
            let counted = count(&buckets()?).await?;
            self.full = self.over(counted, bytes).map(|over| (Instant::now(), over));
            if let Some((_, exceeded)) = &self.full {
                return Ok(Err(exceeded.clone()));
            }
            let room =
                |limit: u64, counted: u64| (limit.saturating_sub(counted) / 2).max(limit / 16);
            self.free = Amount {
                keys: room(self.keys_limit, counted.keys).max(1),
                bytes: room(self.bytes_limit, counted.bytes).max(bytes),
            };
        }
        self.free.keys -= 1;
        self.free.bytes -= bytes;
        Ok(Ok(()))
    }

    fn over(&self, counted: Amount, bytes: u64) -> Option<Exceeded> {
        if counted.keys >= self.keys_limit {
            let what = "it stores more keys";
            return Some(Exceeded::count("keys", what, self.keys_limit, "keys"));
        }
        if counted.bytes.saturating_add(bytes) > self.bytes_limit {
            let what = "it stores more";
            return Some(Exceeded::count(
                "stored_bytes",
                what,
                self.bytes_limit,
                "bytes",
            ));
        }
        None
    }
}

async fn count(buckets: &[std::sync::Arc<dyn Bucket>]) -> Result<Amount, StateError> {
    let mut counted = Amount::default();
    for bucket in buckets {
        let mut cursor = None;
        loop {
            let page = bucket.list_keys(cursor).await?;
            for key in &page.keys {
                let value = bucket.get(key).await?.map_or(0, |value| value.len());
                counted.keys += 1;
                counted.bytes += (key.len() + value) as u64;
                if counted.keys.is_multiple_of(READS_AT_ONCE) {
                    tokio::task::yield_now().await;
                }
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(counted)
}
