//! A bucket that a component has opened, and its listings that are under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::state::Bucket;

/// What a cursor takes beside its text.
const CURSOR_BYTES: usize = 64;

/// A bucket that the component opened.
pub struct OpenBucket {
    pub(super) bucket: Arc<dyn Bucket>,
    /// The WIT's cursors are numbers, the store's are not.
    pub(super) listings: BTreeMap<u64, String>,
    pub(super) next_listing: u64,
}

debug_by_name!(OpenBucket);

impl OpenBucket {
    pub(super) fn new(bucket: Arc<dyn Bucket>) -> OpenBucket {
        OpenBucket {
            bucket,
            listings: BTreeMap::new(),
            next_listing: 0,
        }
    }

    /// Bytes of its cursors.
    pub(super) fn weight(&self) -> usize {
        let each = |cursor: &String| cursor_weight(cursor);
        self.listings.values().map(each).sum()
    }
}

/// What a cursor takes of the host's memory.
pub(super) fn cursor_weight(cursor: &str) -> usize {
    CURSOR_BYTES + cursor.len()
}
