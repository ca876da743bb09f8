//! What the commands do.

mod account;
mod accounts;
mod agents;
mod component;
mod login;
mod prompt;
mod serve;
mod wecom;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::about;
use crate::cli::{AllowEgress, UsageError};
use crate::terminal;
use gateway_conformance::weixin::{IlinkPlatform, PLATFORM};
use gateway_conformance::{CHECKS, Suite};
use gateway_host::clock::Clock;
use gateway_host::egress::proxy::Proxies;
use gateway_host::egress::roots;
use gateway_host::listener::Names;
use gateway_host::runtime::{Allocation, Plugin, Runtime, RuntimeOptions};
use gateway_simulator::{Simulator, SimulatorOptions};

pub use login::login;
pub use serve::{run, talks_to_a_person};

/// Why a command failed, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The user's to correct.
    #[error("{0}")]
    Usage(String),
    /// Other gateways on the same state run the accounts now, and none is left.
    #[error("{0}")]
    Superseded(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// What was asked for is a no, and standard output has it.
    #[error("see above")]
    Told,
}

impl Failure {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Other(_) | Failure::Told => 1,
            // Of its own, so that a supervisor can leave it at that.
            Failure::Superseded(_) => 3,
        }
    }
}

/// Names of accounts that are told; the rest is counted.
const NAMED: usize = 3;

impl Failure {
    /// The accounts with these ids were taken over, and there are no others.
    fn superseded(ids: &[String]) -> Failure {
        let mut names = ids
            .iter()
            .take(NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if let Some(more @ 1..) = ids.len().checked_sub(NAMED) {
            names.push_str(&format!(" and {more} more"));
        }
        Failure::Superseded(format!(
            "another gateway that was started later on the same --state runs {names} now, and this \
             one ends: run one of them, or give them different accounts and states"
        ))
    }
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Failure {
        Failure::Usage(error.0)
    }
}

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

/// What ends a command.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(other)?,
            interrupt: signal(SignalKind::interrupt()).map_err(other)?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Accounts for which instances come from a pool; it has as much room again, for swaps and logins.
/// The guards of a larger one's stacks alone would take most of the memory mappings that Linux gives
/// a process by default.
const POOLED_ACCOUNTS: usize = 500;

/// Instances of a pool for the environment's accounts, with their logins and swaps; a large one
/// costs milliseconds at each start.
const POOL_WITHOUT_FILE: u32 = 16;

/// A runtime that goes by the environment's proxies, for the accounts of the environment, or for so
/// many of a file, which may grow. Components reach what is pinned, where anything is.
fn runtime(
    clock: Clock,
    accounts: Option<usize>,
    allow_egress: &AllowEgress,
) -> Result<Runtime, Failure> {
    let lookup = |name: &str| std::env::var_os(name);
    let proxies =
        Proxies::from_environment(&lookup).map_err(|error| Failure::Usage(error.to_string()))?;
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
        .map_err(|error| Failure::Usage(format!("--allow-egress: {error}")))?;
    options.allocation = match accounts {
        None => Allocation::Pooled(POOL_WITHOUT_FILE),
        Some(accounts) if accounts > POOLED_ACCOUNTS => Allocation::OnDemand,
        Some(_) => options.allocation,
    };
    Runtime::with_options(clock, options).map_err(other)
}

fn beside_the_binary(name: &str) -> Result<PathBuf, Failure> {
    let binary = std::env::current_exe().map_err(other)?;
    Ok(binary.with_file_name(name))
}

/// Serves the simulator until SIGINT or SIGTERM, and prints what a client needs.
///
/// # Errors
/// One line for standard error, and an exit status.
pub async fn simulator(
    listen: SocketAddr,
    names: Names,
    token: Option<String>,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let simulator = Simulator::start(SimulatorOptions {
        listen,
        names,
        control_token: token,
        ..SimulatorOptions::default()
    })
    .await
    .map_err(|error| Failure::Usage(format!("--listen {listen}: {error}")))?;
    if !listen.ip().is_loopback() {
        tracing::warn!(
            address = %listen,
            "the simulator is open to other machines, and its messages and tokens are not encrypted: \
             use --listen 127.0.0.1:PORT where they are not to come in"
        );
    }
    terminal::print(&format!(
        "WEIXIN_BASE_URL={}\nWEIXIN_CDN_BASE_URL={}\nWEIXIN_TOKEN={}\nWEIXIN_ACCOUNT_ID={}\n\
         WEIXIN_SIM_TOKEN={}\n",
        simulator.base_url(),
        simulator.cdn_base_url(),
        simulator.token(),
        simulator.account_id(),
        simulator.control_token(),
    ))
    .map_err(other)?;
    signals.end().await;
    simulator.shutdown().await;
    Ok(())
}

/// Says what a component is and what it may reach; `conformance`: and whether it keeps the contract.
///
/// # Errors
/// [`Failure::Told`] where this host would not run it: the last line has told why.
pub async fn check(component: &Path, conformance: bool) -> Result<(), Failure> {
    let runtime = Runtime::new(Clock::new()).map_err(other)?;
    let plugin = judged(&runtime, component).await?;
    let size = tokio::fs::metadata(component).await.map_err(other)?.len();
    let about = about::about(&plugin, size);
    say(about.trim_end())?;
    if !conformance {
        return say("this host runs it");
    }
    let suite = Suite::new(&runtime, &plugin).with_platform(IlinkPlatform::default());
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for check in CHECKS {
        if !suite.can_run(check) {
            skipped += 1;
            continue;
        }
        match suite.run(check).await {
            Ok(()) => {
                passed += 1;
                say(&format!("ok      {}", check.name))?;
            }
            Err(why) => {
                failed += 1;
                say(&format!("FAIL    {}: {why}", check.name))?;
            }
        }
    }
    if skipped > 0 {
        let platform = &plugin.descriptor.platform;
        say(&format!(
            "skipped {skipped} checks that need the platform's server: there is a simulated one of \
             {PLATFORM}, and none of {platform}"
        ))?;
    }
    let verdict = match (failed, skipped) {
        (0, 0) => "this host runs it",
        (0, _) => "this host runs it, and whether it keeps the contract is not known",
        (_, _) => "this host would run it, and it does not keep the contract",
    };
    let all = CHECKS.len();
    say(&format!("{passed} of {all} checks passed: {verdict}"))?;
    match failed + skipped {
        0 => Ok(()),
        _ => Err(Failure::Told),
    }
}

/// Says how a component differs from another one.
///
/// # Errors
/// [`Failure::Told`] where this host would not swap the other one for it without a word of the
/// operator's, or does not run one of them: the last line has told why.
pub async fn compare(component: &Path, old: &Path) -> Result<(), Failure> {
    let runtime = Runtime::new(Clock::new()).map_err(other)?;
    let old = judged(&runtime, old).await?;
    let new = judged(&runtime, component).await?;
    let (text, is_fine) = about::difference(&new, &old);
    say(&text)?;
    match is_fine {
        true => Ok(()),
        false => Err(Failure::Told),
    }
}

/// Loads a component, or says why this host does not run it.
async fn judged(runtime: &Runtime, component: &Path) -> Result<Plugin, Failure> {
    match runtime.load(component).await {
        Ok(plugin) => Ok(plugin),
        Err(error) => {
            say(&format!("this host does not run it: {error}"))?;
            Err(Failure::Told)
        }
    }
}

/// One or more lines of what was asked for.
fn say(text: &str) -> Result<(), Failure> {
    terminal::say(text).map_err(other)
}
