//! What the commands do.

mod prompt;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::account::{Account, AccountOptions, StartError};
use crate::bindings::exports::gateway::channel::meta::Placement;
use crate::cli::{RunOptions, UsageError};
use crate::clock::Clock;
use crate::egress::proxy::Proxies;
use crate::media::MediaRules;
use crate::runtime::{PACKAGE, PACKAGE_VERSION, Runtime};
use crate::simulator::{Options, Simulator};
use crate::state::{StateError, StateSpec};

/// Why a command failed, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The user's to correct.
    #[error("{0}")]
    Usage(String),
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

/// Runs a component until SIGINT, SIGTERM or the end of the prompt. `umask` is the user's own, for
/// the agent's process.
///
/// # Errors
/// One line for standard error, and an exit status.
pub async fn run(options: RunOptions, umask: u32) -> Result<(), Failure> {
    let clock = Clock::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(other)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(other)?;

    let component = match options.component {
        Some(path) => path,
        None => beside_the_binary()?,
    };
    let proxies = Proxies::from_environment(&|name| std::env::var_os(name))
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let (state_spec, durability) = (options.state, options.durability);
    let state_directory = match &state_spec {
        StateSpec::Directory(path) => Some(path.clone()),
        StateSpec::Memory => None,
    };
    let opening = tokio::task::spawn_blocking(move || state_spec.open(durability));
    let runtime = Runtime::with_proxies(clock.clone(), proxies).map_err(other)?;
    let plugin = runtime.load(&component).await.map_err(other)?;
    let state = opening.await.map_err(other)?.map_err(|error| match error {
        StateError::InUse { .. } | StateError::Open { .. } => Failure::Usage(error.to_string()),
        error => other(error),
    })?;

    let media = MediaRules {
        allowed: match options.media_dirs.is_empty() {
            true => vec![std::env::current_dir().map_err(other)?],
            false => options.media_dirs,
        },
        denied: state_directory.into_iter().collect(),
        ..MediaRules::default()
    };
    let (mut account, simulator) = match options.account {
        Some(account) => (account, None),
        None => {
            let simulator = built_in_simulator(&clock).await?;
            let mut config = options.config;
            config.insert("base-url".to_owned(), simulator.base_url());
            config.insert("cdn-base-url".to_owned(), simulator.cdn_base_url());
            let account = AccountOptions {
                id: simulator.account_id(),
                secrets: [("bot-token".to_owned(), simulator.token())].into(),
                config,
                media: MediaRules::default(),
            };
            (account, Some(simulator))
        }
    };
    account.media = media;
    let agent = options.agent.start(clock, Some(umask));
    let starting = Account::start(&runtime, &plugin, state, agent, account);
    let account = tokio::select! {
        account = starting => account.map_err(|error| match error {
            StartError::Invalid(why) => Failure::Usage(why),
            StartError::Failed(why) => Failure::Other(why),
        })?,
        // A server that does not answer must not hold up the end.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let account = Arc::new(account);
    tracing::info!(
        account = account.id(),
        component = %component.display(),
        "started"
    );
    let talk = async {
        match &simulator {
            Some(simulator) if std::io::stdin().is_terminal() => {
                prompt::terminal(simulator).await.map_err(other)
            }
            Some(simulator) => prompt::lines(simulator, &account).await.map_err(other),
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = talk => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    if let Some(account) = Arc::into_inner(account) {
        account.stop().await;
    }
    result
}

fn beside_the_binary() -> Result<PathBuf, Failure> {
    let binary = std::env::current_exe().map_err(other)?;
    Ok(binary.with_file_name("weixin.wasm"))
}

async fn built_in_simulator(clock: &Clock) -> Result<Simulator, Failure> {
    // A new account each time: what an earlier run left in the state is not this person's.
    let account_id = format!("{:012x}@im.bot", rand::random::<u64>() >> 16);
    Simulator::start(Options {
        clock: clock.clone(),
        account_id,
        // Files that the agent sends are saved for the person.
        whole_bytes: 100 * 1024 * 1024,
        ..Options::default()
    })
    .await
    .map_err(|error| Failure::Other(format!("the simulated server can't be started: {error}")))
}

/// Serves the simulator until SIGINT or SIGTERM, and prints what a client needs.
///
/// # Errors
/// One line for standard error, and an exit status.
pub async fn simulator(listen: SocketAddr) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(other)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(other)?;
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
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
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
    for import in plugin.imports.iter() {
        text.push_str(&format!("imports {import}\n"));
    }
    text.push_str("this host runs it\n");
    std::io::stdout().write_all(text.as_bytes()).map_err(other)
}
