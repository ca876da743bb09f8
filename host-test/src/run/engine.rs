//! The runtime of the library, as the environment and the command line want it.

use super::error::{RunError, other};
use crate::cli::AllowEgress;
use gateway_host::clock::Clock;
use gateway_host::egress::proxy::Proxies;
use gateway_host::egress::roots;
use gateway_host::runtime::{Allocation, Runtime, RuntimeOptions};

/// Accounts for which instances come from a pool; it has as much room again, for swaps and logins.
/// The guards of a larger one's stacks alone would take most of the memory mappings that Linux gives
/// a process by default.
const POOLED_ACCOUNTS: usize = 500;

/// Instances of a pool for the environment's accounts, with their logins and swaps; a large one
/// costs milliseconds at each start.
const POOL_WITHOUT_FILE: u32 = 16;

/// A runtime that goes by the environment's proxies, for the accounts of the environment, or for so
/// many of a file, which may grow. Components reach what is pinned, where anything is.
pub fn runtime(
    clock: Clock,
    accounts: Option<usize>,
    allow_egress: &AllowEgress,
) -> Result<Runtime, RunError> {
    let lookup = |name: &str| std::env::var_os(name);
    let proxies =
        Proxies::from_environment(&lookup).map_err(|error| RunError::Usage(error.to_string()))?;
    for warning in roots::warnings(&lookup) {
        tracing::warn!("{warning}");
    }
    let mut options = RuntimeOptions {
        proxies,
        ..RuntimeOptions::default()
    };
    options
        .pins
        .set(allow_egress)
        .map_err(|error| RunError::Usage(format!("--allow-egress: {error}")))?;
    options.allocation = match accounts {
        None => Allocation::Pooled(POOL_WITHOUT_FILE),
        Some(accounts) if accounts > POOLED_ACCOUNTS => Allocation::OnDemand,
        Some(_) => options.allocation,
    };
    Runtime::with_options(clock, options).map_err(other)
}
