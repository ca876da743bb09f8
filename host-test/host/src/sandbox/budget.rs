//! The host memory that one account uses, with all its instances.
//!
//! Code that keeps something for an account holds a [`Charge`] for it. Dropping the charge gives the
//! bytes back. A price may be a little more than what the thing takes, never less.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::limits::Exceeded;

/// The bytes of one account.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    /// Bytes that are held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are free.
    pub fn free(&self) -> usize {
        self.limit.saturating_sub(self.used())
    }

    /// Takes `bytes`, as long as the charge lives.
    ///
    /// # Errors
    /// When there are not so many free.
    pub fn charge(self: &Arc<Budget>, bytes: usize) -> Result<Charge, Exceeded> {
        let mut charge = self.note(0);
        charge.grow(bytes)?;
        Ok(charge)
    }

    /// Counts `bytes` that are bounded elsewhere, whether they are free or not.
    pub fn note(self: &Arc<Budget>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            budget: Arc::clone(self),
            bytes,
        }
    }

    fn exceeded(&self) -> Exceeded {
        let what = "the host holds more for it";
        Exceeded::count("host_bytes", what, self.limit, "bytes")
    }
}

/// Bytes of a budget that are in use until this is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// How many there are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes some more.
    ///
    /// # Errors
    /// When there are not so many free; then nothing has changed.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let limit = self.budget.limit;
        let grown = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
        let result = self
            .budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
        result.map_err(|_| self.budget.exceeded())?;
        self.bytes += bytes;
        Ok(())
    }

    /// Counts exactly so many from now on, whether they are free or not.
    pub fn set(&mut self, bytes: usize) {
        let used = &self.budget.used;
        match bytes.checked_sub(self.bytes) {
            Some(more) => used.fetch_add(more, Ordering::Relaxed),
            None => used.fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        };
        self.bytes = bytes;
    }

    /// The budget that it belongs to.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The same bytes, charged as long as anybody has a part of them.
    pub(crate) fn holding(mut self, bytes: Bytes) -> Bytes {
        self.set(bytes.len());
        Bytes::from_owner(Held {
            bytes,
            _charge: self,
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Held {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_comes_back_when_it_is_dropped() {
        let budget = Budget::new(100);
        let mut charge = budget.charge(60).unwrap();
        let refused = budget.charge(41).unwrap_err().to_string();
        assert!(refused.contains("`host_bytes`") && refused.contains("100 bytes"));
        assert_eq!(budget.used(), 60);
        charge.grow(40).unwrap();
        assert!(charge.grow(1).is_err() && charge.grow(usize::MAX).is_err());
        assert_eq!(
            (budget.used(), budget.free(), charge.bytes()),
            (100, 0, 100)
        );
        charge.set(10);
        let noted = budget.note(500);
        assert_eq!((budget.used(), budget.free()), (510, 0));
        drop((charge, noted));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn shared_bytes_are_charged_until_the_last_part_goes() {
        let budget = Budget::new(1000);
        let bytes = Bytes::from(vec![1; 200]);
        let held = budget.charge(900).unwrap().holding(bytes);
        assert_eq!(budget.used(), 200);
        let part = held.slice(10..20);
        drop(held);
        assert_eq!((budget.used(), part.len()), (200, 10));
        drop(part);
        assert_eq!(budget.used(), 0);
    }
}
