//! `run`: one account, from whatever credential is the newest, with its agent and its prompt.

use std::io::IsTerminal;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::account::{Choice, TOKEN, choose};
use super::prompt::{self, Ended};
use super::{Failure, beside_the_binary, login, other};
use crate::account::{Account, AccountOptions, Phase, StartError};
use crate::admin::{self, Accounts};
use crate::agent;
use crate::cli::{RunOptions, Wanted};
use crate::clock::Clock;
use crate::credentials::Credentials;
use crate::login::{Logins, Replaced};
use crate::media::MediaRules;
use crate::runtime::Runtime;
use crate::simulator::{Options, Simulator};
use crate::state::{StateError, StateSpec};

/// Whether a person will talk to the simulated server at the terminal: then the log is quieter.
pub fn talks_to_a_person(options: &RunOptions) -> bool {
    let credentials = Credentials::of(&options.state);
    let choice = || {
        choose(
            &options.wanted,
            &credentials,
            &options.config,
            &MediaRules::default(),
        )
    };
    std::io::stdin().is_terminal()
        && (options.simulator || matches!(choice(), Ok(Choice::Simulator)))
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

    let credentials = Credentials::of(&options.state);
    let mut changes = credentials.watch();
    let accounts = Accounts::new(credentials.clone());
    // What serves ends with it.
    let mut servers = JoinSet::new();
    if let Some((address, token)) = options.admin {
        let failed = |error: std::io::Error| Failure::Usage(format!("--admin {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        servers.spawn(admin::serve(listener, token, accounts.clone()));
        tracing::info!(%address, "the operator's API listens");
    }
    let component = match options.component {
        Some(path) => path,
        None => beside_the_binary()?,
    };
    let (state_spec, durability) = (options.state, options.durability);
    let state_directory = match &state_spec {
        StateSpec::Directory(path) => Some(path.clone()),
        StateSpec::Memory | StateSpec::Redis(_) => None,
    };
    let opening = tokio::spawn(async move { state_spec.open(durability).await });
    let runtime = Runtime::new(clock.clone()).map_err(other)?;
    let plugin = runtime.load(&component).await.map_err(other)?;
    let state = opening.await.map_err(other)?.map_err(|error| match error {
        StateError::InUse { .. } | StateError::Open { .. } | StateError::Connect { .. } => {
            Failure::Usage(error.to_string())
        }
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
    let settings = agent::Settings {
        umask: Some(umask),
        ..options.agent_settings
    };
    let agent = options.agent.start(settings, clock.clone());
    let logins = Logins {
        runtime: runtime.clone(),
        plugin: plugin.clone(),
        config: options.config.clone(),
        credentials: credentials.clone(),
        replaces: replaced_by_login(&options.wanted),
    };
    let chosen = || choose(&options.wanted, &credentials, &options.config, &media);
    let choice = match options.simulator {
        true => Choice::Simulator,
        false => chosen().map_err(other)?,
    };
    let mut simulator = None;
    let mut next = match choice {
        Choice::Account(account) => account,
        Choice::Simulator => {
            let started = built_in_simulator(&clock).await?;
            let account = account_of_simulator(&started, &options.config, &media);
            simulator = Some(started);
            account
        }
        Choice::Login => {
            if !std::io::stdin().is_terminal() {
                return Err(Failure::Usage(nobody_logged_in(&options.wanted)));
            }
            login::show(&logins, &mut terminate, &mut interrupt).await?;
            match chosen().map_err(other)? {
                Choice::Account(account) => account,
                Choice::Login | Choice::Simulator => {
                    return Err(Failure::Usage(nobody_logged_in(&options.wanted)));
                }
            }
        }
    };
    loop {
        let started_ms = clock.unix_ms();
        let current = (next.id.clone(), next.secrets.clone(), next.config.clone());
        let starting = Account::start(&runtime, &plugin, state.clone(), agent.clone(), next);
        let account = tokio::select! {
            account = starting => account.map_err(|error| match error {
                StartError::Invalid(why) => Failure::Usage(why),
                StartError::Failed(why) => Failure::Other(why),
            })?,
            // A server that does not answer must not hold up the end.
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        accounts.insert(account.handle());
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
                Some(simulator) => {
                    let ended = prompt::lines(simulator, &account).await.map_err(other);
                    ended.map(|()| Ended::Quit)
                }
                None => std::future::pending().await,
            }
        };
        let replaced = async {
            if simulator.is_some() {
                std::future::pending::<()>().await;
            }
            let taken = |account: &AccountOptions| {
                (
                    account.id.clone(),
                    account.secrets.clone(),
                    account.config.clone(),
                ) != current
            };
            newer(
                &mut changes,
                &account,
                &options.wanted,
                &credentials,
                started_ms,
                || match chosen() {
                    Ok(Choice::Account(account)) => Some(account).filter(taken),
                    Ok(Choice::Login | Choice::Simulator) => None,
                    Err(error) => {
                        tracing::error!("{error}");
                        None
                    }
                },
            )
            .await
        };
        let result = tokio::select! {
            result = talk => result.map(Some),
            replacing = replaced => {
                tracing::info!(account = %replacing.id, "a login brought a newer credential");
                accounts.remove(account.id());
                account.stop().await;
                next = replacing;
                continue;
            }
            () = account.superseded() => Err(Failure::Superseded(format!(
                "another gateway that was started later on the same --state runs {} now, and this one \
                 ends: run one of them, or give them different accounts and states",
                account.id()
            ))),
            _ = terminate.recv() => Ok(None),
            _ = interrupt.recv() => Ok(None),
        };
        accounts.remove(account.id());
        account.stop().await;
        match result? {
            Some(Ended::Login) => {
                simulator = None;
                login::show(&logins, &mut terminate, &mut interrupt).await?;
                let Choice::Account(account) = chosen().map_err(other)? else {
                    return Err(Failure::Other("the login brought no account".to_owned()));
                };
                println!("The agent answers there now. Ctrl-C ends.");
                next = account;
            }
            Some(Ended::Quit) | None => return Ok(()),
        }
    }
}

/// Waits until another account or another credential is to be used.
async fn newer(
    changes: &mut watch::Receiver<()>,
    account: &Account,
    wanted: &Wanted,
    credentials: &Credentials,
    started_ms: u64,
    chosen: impl Fn() -> Option<AccountOptions>,
) -> AccountOptions {
    loop {
        // Each holder of the credentials holds a sender.
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(options) = chosen() {
            return options;
        }
        // The environment's token is of no use any more, and somebody logged in for that.
        if let Some(replaced) = replaced_by_login(wanted)
            && let Ok(Some(latest)) = credentials.latest()
            && latest.saved_ms >= started_ms
            && account.status().await.phase == Phase::LoginRequired
        {
            if let Err(error) = credentials.store(latest, &replaced.values) {
                tracing::error!("{error}");
            } else if let Some(options) = chosen() {
                return options;
            }
        }
    }
}

/// What a login replaces that is made where the environment names this account.
pub(super) fn replaced_by_login(wanted: &Wanted) -> Option<Replaced> {
    match wanted {
        Wanted::Given { id, token } => Some(Replaced {
            account: id.clone(),
            values: vec![token.clone()],
        }),
        Wanted::Stored(_) | Wanted::Latest => None,
    }
}

fn nobody_logged_in(wanted: &Wanted) -> String {
    let whom = match wanted {
        Wanted::Stored(id) => format!("WEIXIN_ACCOUNT_ID {id} has no stored credential"),
        Wanted::Given { .. } => {
            "WEIXIN_TOKEN was replaced by a login that is not stored".to_owned()
        }
        Wanted::Latest => "WEIXIN_BASE_URL is set, and nobody has logged in".to_owned(),
    };
    format!("{whom}: run `host-test login`, or set WEIXIN_TOKEN and WEIXIN_ACCOUNT_ID")
}

fn account_of_simulator(
    simulator: &Simulator,
    config: &std::collections::BTreeMap<String, String>,
    media: &MediaRules,
) -> AccountOptions {
    let mut config = config.clone();
    config.insert("base-url".to_owned(), simulator.base_url());
    config.insert("cdn-base-url".to_owned(), simulator.cdn_base_url());
    AccountOptions {
        id: simulator.account_id(),
        secrets: [(TOKEN.to_owned(), simulator.token())].into(),
        config,
        media: media.clone(),
    }
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
