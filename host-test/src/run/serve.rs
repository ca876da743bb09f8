//! `run`: the accounts, their agents, the components that may be swapped, and the prompt.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::account::{Choice, TOKEN, choose, home};
use super::agents::Agents;
use super::component::Components;
use super::prompt::{self, Ended};
use super::{Failure, Signals, accounts, login, other, wecom};
use crate::cli::{Access, RunOptions, WECOM, WEIXIN, Wanted, read_accounts};
use gateway_host::account::{AccountOptions, Handle, Phase, StartError};
use gateway_host::admin;
use gateway_host::agent;
use gateway_host::clock::Clock;
use gateway_host::credentials::{Credentials, Holder};
use gateway_host::gateway::Gateway;
use gateway_host::listener::{Listener, Tls};
use gateway_host::login::Logins;
use gateway_host::media::MediaRules;
use gateway_host::media::folder::Folder;
use gateway_host::state::{StateError, StateSpec};
use gateway_host::webhooks;
use gateway_simulator::{Simulator, SimulatorOptions};

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
    let tls = match &options.tls {
        Some((certificate, key)) => {
            let loaded = Tls::load(certificate, key, Clock::new());
            Some(loaded.map_err(|error| Failure::Usage(error.to_string()))?)
        }
        None => None,
    };
    let credentials = match options.accounts {
        Some(_) => Credentials::of(&options.state),
        // The environment's accounts.
        None => Credentials::of(&options.state).of_operator(),
    };
    let admin = match options.admin {
        Some((address, token)) => {
            let (listener, address) = listen("--admin", address, &tls).await?;
            tracing::info!(%address, "the operator's API listens");
            if tls.is_none() && !address.ip().is_loopback() {
                tracing::warn!(%address, "{OPEN_ADMIN}");
            }
            Some((listener.named(options.names), token))
        }
        None => None,
    };
    let webhooks = match options.webhooks {
        Some(address) => {
            let (listener, address) = listen("--webhooks", address, &tls).await?;
            tracing::info!(%address, "webhooks are listened for");
            Some(listener)
        }
        None => None,
    };
    let (state_spec, durability) = (options.state, options.durability);
    let mut environment = options.agent_settings.environment.clone();
    let state_directory = match &state_spec {
        StateSpec::Directory(path) => Some(path.clone()),
        StateSpec::Redis(address) => {
            let secrets = address.secrets();
            secrets.for_each(|secret| environment.withhold_value(secret));
            None
        }
        _ => None,
    };
    let opening = tokio::spawn(async move { state_spec.open(durability).await });
    let accounts_file = options.accounts;
    let accounts = match &accounts_file {
        Some(path) => {
            let file = read_accounts(path, &options.defaults).map_err(Failure::Usage)?;
            Some(file.accounts)
        }
        None => None,
    };
    let accounts_count = accounts.as_ref().map(Vec::len);
    let runtime = super::runtime(clock.clone(), accounts_count, &options.allow_egress)?;
    let (components, plugins) = Components::load(&runtime, options.components).await?;
    let state = opening.await.map_err(other)?.map_err(|error| match error {
        StateError::InUse { .. } | StateError::Open { .. } | StateError::Connect { .. } => {
            Failure::Usage(error.to_string())
        }
        error => other(error),
    })?;
    let media = MediaRules {
        allowed: match options.media_dirs.is_empty() {
            true => vec![Folder::open(Path::new(".")).map_err(other)?],
            false => options.media_dirs,
        },
        denied: state_directory
            .into_iter()
            .chain(accounts_file.clone())
            .collect(),
        origins: options.media_origins,
        ..MediaRules::default()
    };
    for plugin in &plugins {
        environment.withhold_secrets_of(&plugin.descriptor);
    }
    let settings = agent::Settings {
        umask: Some(umask),
        environment,
        ..options.agent_settings
    };
    let one = One {
        wanted: options.wanted,
        config: options.defaults.weixin.clone(),
        media: media.clone(),
        simulator: options.simulator,
        simulator_token: options.simulator_token,
        is_alone: options.wecom.is_none(),
    };
    let needed = match &accounts {
        Some(accounts) => {
            let is_wecom = |access: &Access| matches!(access, Access::Wecom(_));
            match !accounts.is_empty() && accounts.iter().all(|account| is_wecom(&account.access)) {
                true => WECOM,
                false => WEIXIN,
            }
        }
        None if one.waits(&credentials)? => WECOM,
        None => WEIXIN,
    };
    let first = plugins.iter().find(|plugin| plugin.platform() == needed);
    let first = match first.cloned() {
        Some(plugin) => plugin,
        None => components.find(&runtime, needed).await?,
    };
    let gateway = Gateway::with_credentials(&runtime, state, credentials);
    gateway.install(first);
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
                let given = accounts::Given {
                    defaults: &options.defaults,
                    allow_egress: &options.allow_egress,
                    media: &media,
                };
                accounts::serve(&gateway, &agents, &components, &path, &given).await
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

/// What an operator is told whose API others can reach.
const OPEN_ADMIN: &str = "the operator's API is open to other machines without TLS: whoever is on the way \
    reads its token and the messages. Add --tls-cert and --tls-key, or listen on 127.0.0.1 and put a proxy \
    with TLS before it";

async fn listen(
    option: &str,
    address: SocketAddr,
    tls: &Option<Arc<Tls>>,
) -> Result<(Listener, SocketAddr), Failure> {
    let failed = |error: std::io::Error| Failure::Usage(format!("{option} {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let listener = Listener::from(listener);
    let listener = match tls {
        Some(tls) => listener.with_tls(Arc::clone(tls)),
        None => listener,
    };
    Ok((listener, address))
}

/// One account, from whatever credential is the newest.
struct One {
    wanted: Wanted,
    config: BTreeMap<String, String>,
    media: MediaRules,
    simulator: bool,
    simulator_token: Option<String>,
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
        let (holder, in_use) = held(&self.wanted);
        let logins = Logins {
            runtime: gateway.runtime().clone(),
            plugin: components.ensure(gateway, WEIXIN).await?,
            config: self.config.clone(),
            credentials: gateway.credentials().clone(),
            holder,
            in_use,
        };
        let choice = match self.simulator {
            true => Choice::Simulator,
            false => self.choose(gateway.credentials())?,
        };
        let mut simulator = None;
        let mut next = match choice {
            Choice::Account(account) => account,
            Choice::Simulator => {
                let started = built_in_simulator(clock, self.simulator_token.clone()).await?;
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
                .add(WEIXIN, next, agents.default())
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
                    super::say("The agent answers there now. Ctrl-C ends.")?;
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
            let home = home(&self.config);
            if let Wanted::Given { id, token } = &self.wanted
                && let Ok(Some(latest)) = credentials.latest(&home)
                && latest.saved_ms >= started_ms
                && account.status().await.phase == Phase::LoginRequired
            {
                let replaced = std::slice::from_ref(token);
                if let Err(error) = credentials.replace(id, &home, replaced) {
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

/// Who holds what a login brings that is made with this environment, and what is in use there: where
/// it names an account, that account's.
pub(super) fn held(wanted: &Wanted) -> (Holder, BTreeMap<String, String>) {
    match wanted {
        Wanted::Given { id, token } => (
            Holder::Operator(Some(id.clone())),
            BTreeMap::from([(TOKEN.to_owned(), token.clone())]),
        ),
        Wanted::Stored(id) => (Holder::Operator(Some(id.clone())), BTreeMap::new()),
        Wanted::Latest => (Holder::Operator(None), BTreeMap::new()),
    }
}

fn nobody_logged_in(wanted: &Wanted) -> String {
    let whom = match wanted {
        Wanted::Stored(_) => "WEIXIN_ACCOUNT_ID names an account without a stored credential",
        Wanted::Given { .. } => "WEIXIN_TOKEN was replaced by a login that is not stored",
        Wanted::Latest => "WEIXIN_BASE_URL is set, and nobody has logged in",
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

async fn built_in_simulator(
    clock: &Clock,
    control_token: Option<String>,
) -> Result<Simulator, Failure> {
    // A new account each time: what an earlier run left in the state is not this person's.
    let account_id = format!("{:012x}@im.bot", rand::random::<u64>() >> 16);
    Simulator::start(SimulatorOptions {
        clock: clock.clone(),
        account_id,
        control_token,
        // Files that the agent sends are saved for the person.
        whole_bytes: 100 * 1024 * 1024,
        ..SimulatorOptions::default()
    })
    .await
    .map_err(|error| Failure::Other(format!("the simulated server can't be started: {error}")))
}
