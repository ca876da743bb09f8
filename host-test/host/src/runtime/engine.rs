//! The engine of the process: how instances get their memory, and that they can be interrupted.

#[cfg(feature = "cache")]
use wasmtime::Cache;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::allocation::Allocation;
use super::available_memory;
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

debug_by_name!(RuntimeOptions);

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

/// How much address space a memory has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    /// All that 32 bits can address, so that the machine itself finds accesses beyond the end.
    Whole,
    /// What an instance may have. Accesses are checked by code, which takes a little longer.
    Limit,
    /// What it has, which may be moved when it grows.
    Used,
}

/// What is tried until one fits.
type Plan = (Allocation, Span);

/// The largest memory of 32 bits, and the guards around it.
const WHOLE_BYTES: u64 = (4 << 30) + GUARD_BYTES;
const GUARD_BYTES: u64 = 64 << 20;
/// What wasmtime gives to a stack, with its guard.
const STACK_BYTES: u64 = (2 << 20) + 4096;
/// Instances of a pool where there is little room.
const SMALL_POOL: u32 = 4;

/// An engine, and whether it has a pool.
pub(super) fn engine(options: &RuntimeOptions) -> wasmtime::Result<(Engine, Allocation)> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    config.epoch_interruption(options.interruption);
    config.memory_init_cow(options.copy_on_write);
    #[cfg(feature = "cache")]
    match Cache::from_file(None) {
        Ok(cache) => {
            config.cache(Some(cache));
        }
        Err(error) => {
            tracing::warn!("compiled components are not kept, so each start compiles: {error:#}");
        }
    }
    let room = available_memory::address_space();
    let mut why = None;
    for plan in plans(options.allocation) {
        // The rest is for what else the process does: threads, code, messages.
        if room.is_some_and(|room| needed(plan, &options.limits) > room.left / 2) {
            continue;
        }
        match Engine::new(&configured(&config, plan, &options.limits)) {
            Ok(engine) => {
                if plan != (options.allocation, Span::Whole) {
                    tell_of(plan, room, why.as_ref());
                }
                return Ok((engine, plan.0));
            }
            Err(error) => why = Some(error),
        }
    }
    Err(why.map_or_else(
        || wasmtime::Error::msg("there is no address space for instances"),
        |error| match available_memory::out_of_memory(&error, Allocation::OnDemand) {
            Some(why) => wasmtime::Error::msg(why),
            None => error,
        },
    ))
}

/// What is tried, the best first. The last one needs no room in advance.
fn plans(wanted: Allocation) -> Vec<Plan> {
    let mut plans = vec![(wanted, Span::Whole)];
    if let Allocation::Pooled(instances) = wanted {
        plans.push((wanted, Span::Limit));
        // A pool that is too small for its accounts would refuse some.
        if instances <= 4 * SMALL_POOL {
            plans.push((Allocation::Pooled(instances.min(SMALL_POOL)), Span::Limit));
        }
        plans.push((Allocation::OnDemand, Span::Limit));
    }
    plans.push((Allocation::OnDemand, Span::Used));
    plans
}

/// Address space that a plan takes at once, about; on demand, that of some instances.
fn needed((allocation, span): Plan, limits: &Limits) -> u64 {
    let memory = match span {
        Span::Whole => WHOLE_BYTES,
        Span::Limit => bytes_of(limits).saturating_add(GUARD_BYTES),
        Span::Used => return 0,
    };
    let (instances, memories, stacks) = match allocation {
        Allocation::Pooled(instances) => (instances, limits.memories, STACKS),
        Allocation::OnDemand => (SMALL_POOL, 1, 1),
    };
    let elements = u64::try_from(limits.table_elements).unwrap_or(u64::MAX);
    let tables = elements.saturating_mul(8 * u64::from(TABLES.min(limits.tables)));
    let each = memory
        .saturating_mul(memories.into())
        .saturating_add(tables)
        .saturating_add(STACK_BYTES * u64::from(stacks));
    each.saturating_mul(instances.into())
}

/// The memory that an instance may have.
fn bytes_of(limits: &Limits) -> u64 {
    u64::try_from(limits.memory_bytes)
        .unwrap_or(u64::MAX)
        .min(4 << 30)
}

fn configured(config: &Config, (allocation, span): Plan, limits: &Limits) -> Config {
    let mut config = config.clone();
    match span {
        Span::Whole => {}
        Span::Limit => {
            config.memory_reservation(bytes_of(limits));
            config.memory_guard_size(64 * 1024);
        }
        Span::Used => {
            config.memory_reservation(0);
            config.memory_reservation_for_growth(1 << 20);
            config.memory_guard_size(0);
        }
    }
    if let Allocation::Pooled(instances) = allocation {
        let mut pool = pool(instances, limits);
        if span == Span::Limit {
            pool.max_memory_size(usize::try_from(bytes_of(limits)).unwrap_or(usize::MAX));
        }
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Says what is made of less room than was wanted.
fn tell_of(
    plan: Plan,
    room: Option<available_memory::AddressSpace>,
    why: Option<&wasmtime::Error>,
) {
    let how = match plan.0 {
        Allocation::Pooled(instances) => format!("a pool of {instances} instances is made"),
        Allocation::OnDemand => "each instance takes its memory from the system".to_owned(),
    };
    let checks = match plan.1 {
        Span::Whole => "",
        Span::Limit | Span::Used => ", whose components run a little slower",
    };
    let cause = match (room, why) {
        (Some(room), _) => room.to_string(),
        (None, Some(error)) => format!("there is not enough address space ({error:#})"),
        (None, None) => "there is not enough address space".to_owned(),
    };
    tracing::warn!("{cause}: {how}{checks}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plans_need_less_and_less() {
        let limits = Limits::default();
        for wanted in [
            Allocation::Pooled(1000),
            Allocation::Pooled(16),
            Allocation::Pooled(2),
            Allocation::OnDemand,
        ] {
            let plans = plans(wanted);
            assert_eq!(plans.first(), Some(&(wanted, Span::Whole)));
            let needs: Vec<u64> = plans.iter().map(|plan| needed(*plan, &limits)).collect();
            assert!(needs.is_sorted_by(|a, b| a >= b), "{plans:?} {needs:?}");
            assert_eq!(needs.last(), Some(&0));
        }
        // The environment's pool: 16 instances of two memories.
        let whole = needed((Allocation::Pooled(16), Span::Whole), &limits);
        assert!((128 << 30..140 << 30).contains(&whole), "{whole}");
        let limit = needed((Allocation::Pooled(16), Span::Limit), &limits);
        assert!((8 << 30..12 << 30).contains(&limit), "{limit}");
    }

    #[test]
    fn an_engine_is_made_by_each_plan() {
        let limits = Limits::default();
        for wanted in [Allocation::Pooled(8), Allocation::OnDemand] {
            for plan in plans(wanted) {
                let config = configured(&Config::new(), plan, &limits);
                assert!(Engine::new(&config).is_ok(), "{plan:?}");
            }
        }
    }
}
