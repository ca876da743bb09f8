//! The engine of the process: how instances get their memory, and that they can be interrupted.

use wasmtime::{
    Cache, Config, Engine, InstanceAllocationStrategy, PoolConcurrencyLimitError,
    PoolingAllocationConfig,
};

use crate::egress::pins::Pins;
use crate::egress::proxy::Proxies;
use crate::listener::ListenerLimits;
use crate::sandbox::limits::Limits;

/// Fiber stacks for each instance of the pool. One is enough for a component whose calls do not
/// block inside.
const STACKS: u32 = 4;
/// Tables for each instance of the pool; components have two or three.
const TABLES: u32 = 8;
/// Core instances for each instance of the pool.
const CORE_INSTANCES: u32 = 16;

/// Where instances get their memory from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// From a pool of address space for this many instances. Where there is not that much address
    /// space, each takes its own.
    Pooled(u32),
    /// Each from the system, as many as that takes.
    OnDemand,
}

/// How a runtime is made.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// On the way to the platform's servers.
    pub proxies: Proxies,
    /// What each account may take.
    pub limits: Limits,
    /// Where instances get their memory from. An account needs one instance, a login and a swap one
    /// more for a while.
    pub allocation: Allocation,
    /// Whether memory is initialised by mapping the component's data, instead of copying it.
    pub copy_on_write: bool,
    /// Whether components that compute without end are interrupted. Without it nothing bounds their
    /// CPU time.
    pub interruption: bool,
    /// The largest component that is compiled.
    pub component_bytes: u64,
    /// What connections of the server of media may take.
    pub media: ListenerLimits,
    /// Origins that the operator pins, by platform: components reach no others.
    pub pins: Pins,
}

impl Default for RuntimeOptions {
    fn default() -> RuntimeOptions {
        RuntimeOptions {
            proxies: Proxies::none(),
            limits: Limits::default(),
            allocation: Allocation::Pooled(1000),
            copy_on_write: true,
            interruption: true,
            component_bytes: 64 * 1024 * 1024,
            media: ListenerLimits::media(),
            pins: Pins::default(),
        }
    }
}

/// An engine, and whether it has a pool.
pub(super) fn engine(options: &RuntimeOptions) -> wasmtime::Result<(Engine, Allocation)> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    config.epoch_interruption(options.interruption);
    config.memory_init_cow(options.copy_on_write);
    match Cache::from_file(None) {
        Ok(cache) => {
            config.cache(Some(cache));
        }
        Err(error) => {
            tracing::warn!("compiled components are not kept, so each start compiles: {error:#}");
        }
    }
    if let Allocation::Pooled(instances) = options.allocation {
        let mut pooled = config.clone();
        let pool = pool(instances, &options.limits);
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        match Engine::new(&pooled) {
            Ok(engine) => return Ok((engine, options.allocation)),
            Err(error) => tracing::warn!(
                "there is no address space for a pool of {instances} instances, so each takes its \
                 own: {error:#}"
            ),
        }
    }
    Ok((Engine::new(&config)?, Allocation::OnDemand))
}

fn pool(instances: u32, limits: &Limits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES.max(limits.core_instances)))
        .total_memories(instances.saturating_mul(limits.memories))
        .total_tables(instances.saturating_mul(TABLES.min(limits.tables)))
        .total_stacks(instances.saturating_mul(STACKS))
        .max_core_instances_per_component(limits.core_instances)
        .max_memories_per_component(limits.memories)
        .max_memories_per_module(limits.memories)
        .max_tables_per_component(limits.tables)
        .max_tables_per_module(limits.tables)
        .table_elements(limits.table_elements);
    pool
}

/// What is wrong and what to do, where an instance can't be made for want of room.
pub(super) fn want_of_room(error: &wasmtime::Error, allocation: Allocation) -> Option<String> {
    if error.is::<PoolConcurrencyLimitError>() {
        let instances = match allocation {
            Allocation::Pooled(instances) => instances,
            Allocation::OnDemand => 0,
        };
        return Some(format!(
            "the pool of {instances} instances has no more of what it needs ({}): raise \
             `RuntimeOptions::allocation`, or start the runner again, which goes by its accounts file",
            super::innermost(error)
        ));
    }
    let text = format!("{error:#}");
    if !text.contains("os error 12") && !text.contains("Cannot allocate memory") {
        return None;
    }
    let maps = std::fs::read_to_string("/proc/self/maps").map(|maps| maps.lines().count());
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    let numbers = match (maps, limit) {
        (Ok(maps), Ok(limit)) => {
            format!(
                "this process has {maps} memory mappings of at most {}",
                limit.trim()
            )
        }
        _ => "this process has as many memory mappings as it may".to_owned(),
    };
    Some(format!(
        "the system gives no more memory ({text}); {numbers}: raise vm.max_map_count, for instance \
         with `sysctl -w vm.max_map_count=262144`, give the machine more memory, or run fewer \
         accounts in one process"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_of_mappings_names_the_setting() {
        let error = wasmtime::Error::from(std::io::Error::from_raw_os_error(12));
        let error = error.context("mmap failed to reserve");
        let text = want_of_room(&error, Allocation::OnDemand).unwrap();
        assert!(text.contains("sysctl -w vm.max_map_count="), "{text}");
        assert!(text.contains("memory mappings"), "{text}");
        let other = wasmtime::Error::from(std::io::Error::from_raw_os_error(2));
        assert_eq!(want_of_room(&other, Allocation::OnDemand), None);
    }
}
