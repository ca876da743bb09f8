//! What the commands do.

mod account;
mod accounts;
mod agents;
mod component;
mod login;
mod prompt;
mod serve;
mod wecom;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::bindings::exports::gateway::channel::meta::Placement;
use crate::cli::UsageError;
use crate::clock::Clock;
use crate::egress::proxy::Proxies;
use crate::runtime::{PACKAGE, PACKAGE_VERSION, Runtime};
use crate::simulator::{Options, Simulator};

pub use login::login;
pub use serve::{run, talks_to_a_person};

/// Why a command failed, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The user's to correct.
    #[error("{0}")]
    Usage(String),
    /// Another gateway on the same state runs the account now.
    #[error("{0}")]
    Superseded(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Other(_) => 1,
            // Of its own, so that a supervisor can leave it at that.
            Failure::Superseded(_) => 3,
        }
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

/// A runtime that goes by the environment's proxies.
fn runtime(clock: Clock) -> Result<Runtime, Failure> {
    let proxies = Proxies::from_environment(&|name| std::env::var_os(name))
        .map_err(|error| Failure::Usage(error.to_string()))?;
    Runtime::with_proxies(clock, proxies).map_err(other)
}

fn beside_the_binary(name: &str) -> Result<PathBuf, Failure> {
    let binary = std::env::current_exe().map_err(other)?;
    Ok(binary.with_file_name(name))
}

/// Serves the simulator until SIGINT or SIGTERM, and prints what a client needs.
///
/// # Errors
/// One line for standard error, and an exit status.
pub async fn simulator(listen: SocketAddr) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let simulator = Simulator::start(Options {
        listen,
        ..Options::default()
    })
    .await
    .map_err(|error| Failure::Usage(format!("--listen {listen}: {error}")))?;
    let mut out = std::io::stdout();
    write!(
        out,
        "WEIXIN_BASE_URL={}\nWEIXIN_CDN_BASE_URL={}\nWEIXIN_TOKEN={}\nWEIXIN_ACCOUNT_ID={}\n",
        simulator.base_url(),
        simulator.cdn_base_url(),
        simulator.token(),
        simulator.account_id(),
    )
    .and_then(|()| out.flush())
    .map_err(other)?;
    signals.end().await;
    simulator.shutdown().await;
    Ok(())
}

/// Says what a component is and what it may reach.
///
/// # Errors
/// Why this host would not run it.
pub async fn check(component: &Path) -> Result<(), Failure> {
    let runtime = Runtime::new(Clock::new()).map_err(other)?;
    let plugin = runtime.load(component).await.map_err(other)?;
    let about = &plugin.descriptor;
    let mut text = format!(
        "{} {} for {PACKAGE}@{PACKAGE_VERSION}, sha256 {}\n",
        about.platform, about.version, plugin.digest
    );
    for egress in &about.egress {
        let port = egress
            .port
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let credential = egress
            .credential
            .as_ref()
            .map(|used| match used.placement {
                Placement::Header => format!(" with {} in a header", used.name),
                Placement::JsonBody => format!(" with {} in a JSON body", used.name),
                Placement::Query => format!(" with {} in the query", used.name),
            })
            .unwrap_or_default();
        let (scheme, host, path) = (&egress.scheme, &egress.host, &egress.path_prefix);
        let key = host
            .strip_prefix('{')
            .and_then(|host| host.strip_suffix('}'));
        let place = match key {
            Some(key) => format!("what the operator sets as {key}"),
            None => format!("{scheme}://{host}{port}{path}*"),
        };
        text.push_str(&format!("reaches {place}{credential}\n"));
    }
    if plugin.has_handler {
        text.push_str("takes webhooks\n");
    }
    for import in plugin.imports.iter() {
        text.push_str(&format!("imports {import}\n"));
    }
    text.push_str("this host runs it\n");
    std::io::stdout().write_all(text.as_bytes()).map_err(other)
}
