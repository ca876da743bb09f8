//! `run`: the accounts, their agents, the components that may be swapped, and the prompt.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::account::{Choice, TOKEN, choose};
use super::agents::Agents;
use super::component::Components;
use super::prompt::{self, Ended};
use super::{Failure, Signals, accounts, login, other, wecom};
use crate::account::{AccountOptions, Handle, Phase, StartError};
use crate::admin;
use crate::agent;
use crate::cli::{Access, RunOptions, WECOM, Wanted, read_accounts};
use crate::clock::Clock;
use crate::credentials::Credentials;
use crate::gateway::Gateway;
use crate::login::{Logins, Replaced};
use crate::media::MediaRules;
use crate::simulator::{Options, Simulator};
use crate::state::{StateError, StateSpec};
use crate::webhooks;

/// Whether a person will talk to the simulated server at the terminal: then the log is quieter.
pub fn talks_to_a_person(options: &RunOptions) -> bool {
    let credentials = Credentials::of(&options.state);
    let choice = || {
        choose(
            &options.wanted,
            &credentials,
            &options.defaults.weixin,
            &MediaRules::default(),
        )
    };
    std::io::stdin().is_terminal()
        && options.accounts.is_none()
        && (options.simulator
            || (options.wecom.is_none() && matches!(choice(), Ok(Choice::Simulator))))
}

/// Runs a component until SIGINT, SIGTERM or the end of the prompt. `umask` is the user's own, for
/// the agent's process.
///
/// # Errors
/// One line for standard error, and an exit status.
pub async fn run(options: RunOptions, umask: u32) -> Result<(), Failure> {
    let clock = Clock::new();
    let mut signals = Signals::new()?;
    let credentials = Credentials::of(&options.state);
    let admin = match options.admin {
        Some((address, token)) => {
            let listener = listen("--admin", address).await?;
            tracing::info!(address = %listener.1, "the operator's API listens");
            Some((listener.0, token))
        }
        None => None,
    };
    let webhooks = match options.webhooks {
        Some(address) => {
            let listener = listen("--webhooks", address).await?;
            tracing::info!(address = %listener.1, "webhooks are listened for");
            Some(listener.0)
        }
        None => None,
    };
    let (state_spec, durability) = (options.state, options.durability);
    let state_directory = match &state_spec {
        StateSpec::Directory(path) => Some(path.clone()),
        StateSpec::Memory | StateSpec::Redis(_) => None,
    };
    let opening = tokio::spawn(async move { state_spec.open(durability).await });
    let accounts_file = options.accounts;
    let accounts = match &accounts_file {
        Some(path) => Some(read_accounts(path, &options.defaults).map_err(Failure::Usage)?),
        None => None,
    };
    let runtime = super::runtime(clock.clone(), accounts.as_ref().map(Vec::len))?;
    let (components, plugins) = Components::load(&runtime, options.components).await?;
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
    let one = One {
        wanted: options.wanted,
        config: options.defaults.weixin.clone(),
        media: media.clone(),
        simulator: options.simulator,
        is_alone: options.wecom.is_none(),
    };
    let needed = match &accounts {
        Some(accounts) => {
            let is_wecom = |access: &Access| matches!(access, Access::Wecom(_));
            match !accounts.is_empty() && accounts.iter().all(|account| is_wecom(&account.access)) {
                true => WECOM,
                false => &components.main,
            }
        }
        None if one.waits(&credentials)? => WECOM,
        None => &components.main,
    };
    let first = plugins.iter().find(|plugin| plugin.platform() == needed);
    let first = match first.cloned() {
        Some(plugin) => plugin,
        None => components.find(&runtime, needed).await?,
    };
    let gateway = Gateway::with_credentials(&runtime, first, state, credentials);
    for plugin in plugins {
        gateway.install(plugin);
    }
    let has_webhooks = webhooks.is_some();
    // What runs beside the accounts ends with them.
    let mut beside = JoinSet::new();
    if let Some((listener, token)) = admin {
        beside.spawn(admin::serve(listener, token, gateway.clone()));
    }
    if let Some(listener) = webhooks {
        beside.spawn(webhooks::serve(listener, gateway.clone()));
    }
    let reload = components.reload(&gateway, options.watch)?;
    let agents = Agents::new(options.agent, settings, clock);
    let work = async {
        if let Some(account) = options.wecom {
            wecom::start(
                &gateway,
                &agents,
                &components,
                account,
                &media,
                has_webhooks,
            )
            .await?;
        }
        match accounts_file {
            Some(path) => {
                let defaults = &options.defaults;
                accounts::serve(&gateway, &agents, &components, &path, defaults, &media).await
            }
            None => one.serve(&gateway, &agents, &components).await,
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = reload => Ok(()),
        () = signals.end() => Ok(()),
    };
    gateway.stop().await;
    result
}

async fn listen(option: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let failed = |error: std::io::Error| Failure::Usage(format!("{option} {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// One account, from whatever credential is the newest.
struct One {
    wanted: Wanted,
    config: BTreeMap<String, String>,
    media: MediaRules,
    simulator: bool,
    /// No other account was asked for.
    is_alone: bool,
}

impl One {
    /// Whether there is no such account until somebody logs in, and another one runs meanwhile.
    fn waits(&self, credentials: &Credentials) -> Result<bool, Failure> {
        if self.is_alone || self.simulator || self.wanted != Wanted::Latest {
            return Ok(false);
        }
        match self.choose(credentials)? {
            Choice::Account(_) => Ok(false),
            Choice::Login | Choice::Simulator => Ok(true),
        }
    }

    async fn serve(
        &self,
        gateway: &Gateway,
        agents: &Agents,
        components: &Components,
    ) -> Result<(), Failure> {
        let clock = &gateway.runtime().clock;
        let mut changes = gateway.credentials().watch();
        while self.waits(gateway.credentials())? {
            let changed = tokio::select! {
                changed = changes.changed() => changed,
                taken = gateway.superseded() => return Err(Failure::superseded(&taken)),
            };
            // Each holder of the credentials holds a sender.
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
        components.ensure(gateway, &components.main).await?;
        let plugin = gateway.plugin_of(&components.main);
        let logins = Logins {
            runtime: gateway.runtime().clone(),
            plugin: plugin.unwrap_or_else(|| gateway.plugin()),
            config: self.config.clone(),
            credentials: gateway.credentials().clone(),
            replaces: replaced_by_login(&self.wanted),
        };
        let choice = match self.simulator {
            true => Choice::Simulator,
            false => self.choose(gateway.credentials())?,
        };
        let mut simulator = None;
        let mut next = match choice {
            Choice::Account(account) => account,
            Choice::Simulator => {
                let started = built_in_simulator(clock).await?;
                let account = account_of_simulator(&started, &self.config, &self.media);
                simulator = Some(started);
                account
            }
            Choice::Login => {
                if !std::io::stdin().is_terminal() {
                    return Err(Failure::Usage(nobody_logged_in(&self.wanted)));
                }
                login::show(&logins).await?;
                self.logged_in(gateway)?
            }
        };
        loop {
            let started_ms = clock.unix_ms();
            let current = next.clone();
            let account = gateway
                .add_of(&components.main, next, agents.default())
                .await
                .map_err(start_failure)?;
            tracing::info!(account = account.id(), "started");
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
                match simulator {
                    Some(_) => std::future::pending().await,
                    None => {
                        self.newer(gateway, &mut changes, &account, &current, started_ms)
                            .await
                    }
                }
            };
            let ended = tokio::select! {
                ended = talk => ended?,
                replacing = replaced => {
                    tracing::info!(account = %replacing.id, "a login brought a newer credential");
                    gateway.remove(account.id()).await;
                    next = replacing;
                    continue;
                }
                taken = gateway.superseded() => return Err(Failure::superseded(&taken)),
            };
            match ended {
                Ended::Quit => return Ok(()),
                Ended::Login => {
                    gateway.remove(account.id()).await;
                    simulator = None;
                    login::show(&logins).await?;
                    next = self.logged_in(gateway)?;
                    println!("The agent answers there now. Ctrl-C ends.");
                }
            }
        }
    }

    fn choose(&self, credentials: &Credentials) -> Result<Choice, Failure> {
        choose(&self.wanted, credentials, &self.config, &self.media).map_err(other)
    }

    fn logged_in(&self, gateway: &Gateway) -> Result<AccountOptions, Failure> {
        match self.choose(gateway.credentials())? {
            Choice::Account(account) => Ok(account),
            Choice::Login | Choice::Simulator => {
                Err(Failure::Usage(nobody_logged_in(&self.wanted)))
            }
        }
    }

    /// Waits until another account or another credential is to be used.
    async fn newer(
        &self,
        gateway: &Gateway,
        changes: &mut watch::Receiver<()>,
        account: &Handle,
        current: &AccountOptions,
        started_ms: u64,
    ) -> AccountOptions {
        let credentials = gateway.credentials();
        let chosen = || match self.choose(credentials) {
            Ok(Choice::Account(account)) => {
                let is_new = account.id != current.id
                    || account.secrets != current.secrets
                    || account.config != current.config;
                Some(account).filter(|_| is_new)
            }
            Ok(Choice::Login | Choice::Simulator) => None,
            Err(error) => {
                tracing::error!("{error}");
                None
            }
        };
        loop {
            // Each holder of the credentials holds a sender.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(options) = chosen() {
                return options;
            }
            // The environment's token is of no use any more, and somebody logged in for that.
            if let Some(replaced) = replaced_by_login(&self.wanted)
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
}

pub(super) fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Invalid(why) => Failure::Usage(why),
        StartError::Failed(why) => Failure::Other(why),
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
    config: &BTreeMap<String, String>,
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
