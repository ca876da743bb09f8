//! Linear memories and tables of one instance, bounded while they grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::ResourceLimiter;

use super::limits::{Exceeded, Limits};

/// What an instance has taken, and what it may take.
pub struct Growth {
    memory_limit: usize,
    table_limit: usize,
    instances: usize,
    memories: usize,
    tables: usize,
    memory: Arc<AtomicUsize>,
    elements: usize,
}

impl Growth {
    pub(crate) fn new(limits: &Limits) -> Growth {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Growth {
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            instances: count(limits.core_instances),
            memories: count(limits.memories),
            tables: count(limits.tables),
            memory: Arc::default(),
            elements: 0,
        }
    }

    /// Bytes of linear memory, as they grow.
    pub fn memory(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.memory)
    }
}

impl ResourceLimiter for Growth {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let taken = self.memory.load(Ordering::Relaxed);
        let wanted = taken.saturating_add(desired.saturating_sub(current));
        if wanted > self.memory_limit {
            let what = "it wants more linear memory";
            return Err(Exceeded::count("memory_bytes", what, self.memory_limit, "bytes").into());
        }
        self.memory.store(wanted, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self
            .elements
            .saturating_add(desired.saturating_sub(current));
        if wanted > self.table_limit {
            let what = "it wants larger tables";
            return Err(
                Exceeded::count("table_elements", what, self.table_limit, "elements").into(),
            );
        }
        self.elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}
