//! How much an account stores.
//!
//! The stores do not know how much they hold, and a count reads everything. So the host counts only
//! when the writes since the last count could have brought the account near its limits. A store may
//! therefore hold a quarter more than its limits after the start, and a sixteenth more later.

use std::time::{Duration, Instant};

use super::limits::{Exceeded, Limits};
use crate::state::{Bucket, StateError};

/// How often a full store is counted, to see whether there is room again.
const RECOUNT_EVERY: Duration = Duration::from_secs(10);
/// Values, and their bytes, that are read before others may run.
const READS_AT_ONCE: u64 = 64;
const BYTES_AT_ONCE: u64 = 256 * 1024;

/// Keys and bytes of an account.
pub(super) struct Usage {
    keys_limit: u64,
    bytes_limit: u64,
    /// What may be written before the next count.
    free: Amount,
    /// When a count found no room.
    full: Option<(Instant, Exceeded)>,
}

/// How fast an account may write.
pub(super) struct Rate {
    per_second: f64,
    burst: f64,
    /// Negative after a write that was larger than the rest.
    credit: f64,
    since: Instant,
    pub written: u64,
}

impl Rate {
    pub fn new(limits: &Limits) -> Rate {
        let burst = limits.store_burst_bytes as f64;
        Rate {
            per_second: limits.store_bytes_per_second.max(1) as f64,
            burst,
            credit: burst,
            since: Instant::now(),
            written: 0,
        }
    }

    /// Takes `bytes`, and says how long to wait before they are written.
    pub fn take(&mut self, bytes: usize) -> Duration {
        let now = Instant::now();
        let earned = (now - self.since).as_secs_f64() * self.per_second;
        self.since = now;
        self.written = self.written.saturating_add(bytes as u64);
        self.credit = (self.credit + earned).min(self.burst) - bytes as f64;
        let seconds = (-self.credit / self.per_second).max(0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[derive(Clone, Copy, Default)]
struct Amount {
    keys: u64,
    bytes: u64,
}

/// Why a write may not take place.
pub(super) enum AdmitError {
    /// It would pass this limit.
    Exceeded(Exceeded),
    /// The store fails.
    Store(StateError),
}

impl From<StateError> for AdmitError {
    fn from(error: StateError) -> AdmitError {
        AdmitError::Store(error)
    }
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
    /// Both of [`AdmitError`].
    pub async fn admit(
        &mut self,
        bytes: usize,
        buckets: impl Fn() -> Result<Vec<std::sync::Arc<dyn Bucket>>, StateError>,
    ) -> Result<(), AdmitError> {
        let bytes = bytes as u64;
        if let Some((when, exceeded)) = &self.full
            && when.elapsed() < RECOUNT_EVERY
        {
            return Err(AdmitError::Exceeded(exceeded.clone()));
        }
        if self.free.keys == 0 || self.free.bytes < bytes {
            let counted = count(&buckets()?).await?;
            self.full = self.over(counted, bytes).map(|over| (Instant::now(), over));
            if let Some((_, exceeded)) = &self.full {
                return Err(AdmitError::Exceeded(exceeded.clone()));
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
        Ok(())
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
    let mut since_yield = 0;
    for bucket in buckets {
        let mut cursor = None;
        loop {
            let page = bucket.list_keys(cursor).await?;
            for key in &page.keys {
                let value = bucket.get(key).await?.map_or(0, |value| value.len());
                counted.keys += 1;
                counted.bytes += (key.len() + value) as u64;
                since_yield += value as u64;
                if counted.keys.is_multiple_of(READS_AT_ONCE) || since_yield > BYTES_AT_ONCE {
                    since_yield = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_too_fast_waits() {
        let limits = Limits {
            store_bytes_per_second: 1000,
            store_burst_bytes: 10_000,
            ..Limits::default()
        };
        let mut rate = Rate::new(&limits);
        assert_eq!(rate.take(9000), Duration::ZERO);
        // A write that is larger than the burst passes, and the next ones pay for it.
        assert!(rate.take(21_000) > Duration::from_secs(19));
        let wait = rate.take(1000);
        assert!(wait > Duration::from_secs(20) && wait < Duration::from_secs(22));
        assert!(Rate::new(&limits).take(usize::MAX) > Duration::from_secs(1));
    }
}
