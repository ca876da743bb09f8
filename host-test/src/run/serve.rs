//! `run`: the accounts, their agents, the components that may be swapped, and the prompt.

use std::path::{Path, PathBuf};

use futures::future::OptionFuture;

use super::accounts::{AccountList, Context};
use super::agents::Agents;
use super::components::Components;
use super::engine;
use super::error::{RunError, other};
use super::person::Person;
use super::servers::Servers;
use super::signals::Signals;
use super::source::environment::{Environment, EnvironmentSource};
use super::source::file::FileSource;
use super::source::simulator::SimulatorSource;
use super::wanted::Source;
use crate::cli::{RunOptions, read_accounts};
use gateway_host::agent;
use gateway_host::clock::Clock;
use gateway_host::credentials::Credentials;
use gateway_host::gateway::Gateway;
use gateway_host::media::MediaRules;
use gateway_host::media::folder::Folder;
use gateway_host::media::origin::Origin;
use gateway_host::state::{StateError, StateSpec};

/// Runs accounts until SIGINT, SIGTERM or the end of the prompt. `umask` is the user's own, for the
/// agent's process.
///
/// # Errors
/// One line for standard error, and an exit status.
pub async fn run(options: RunOptions, umask: u32) -> Result<(), RunError> {
    let clock = Clock::new();
    let mut signals = Signals::new()?;
    let servers =
        Servers::bind(options.admin, options.webhooks, options.tls, options.names).await?;
    let credentials = match options.accounts {
        Some(_) => Credentials::of(&options.state),
        // The environment's accounts.
        None => Credentials::of(&options.state).of_operator(),
    };
    let media = media_rules(
        &options.state,
        options.accounts.as_ref(),
        options.media_dirs,
        options.media_origins,
    )?;
    let mut settings = agent::Settings {
        umask: Some(umask),
        ..options.agent_settings
    };
    if let StateSpec::Redis(address) = &options.state {
        let secrets = address.secrets();
        secrets.for_each(|secret| settings.environment.withhold_value(secret));
    }
    let (state, durability) = (options.state, options.durability);
    let opening = tokio::spawn(async move { state.open(durability).await });
    let count = match &options.accounts {
        Some(path) => {
            let file = read_accounts(path, &options.defaults).map_err(RunError::Usage)?;
            Some(file.accounts.len())
        }
        None => None,
    };
    let runtime = engine::runtime(clock.clone(), count, &options.allow_egress)?;
    let (components, plugins) = Components::load(&runtime, options.components).await?;
    let state = opening.await.map_err(other)?.map_err(not_opened)?;
    let gateway = Gateway::with_credentials(&runtime, state, credentials);
    for plugin in plugins {
        settings
            .environment
            .withhold_secrets_of(plugin.descriptor());
        gateway.install(plugin);
    }
    let agents = Agents::new(options.agent, settings, clock);
    let environment = Environment {
        selection: options.selection,
        config: options.defaults.weixin.clone(),
        wecom: options.wecom,
        gateway: &gateway,
        components: &components,
    };
    let has_webhooks = servers.has_webhooks();
    // What runs beside the accounts ends with them.
    let _serving = servers.serve(&gateway);
    let reload = components.reload(&gateway, options.watch)?;
    let file = options.accounts.as_deref().map(|path| {
        let pins = &runtime.pins;
        FileSource::new(path, &options.defaults, &options.allow_egress, pins)
    });
    let (sources, person) = match file {
        Some(file) => (vec![Box::new(file) as Box<dyn Source>], None),
        None => {
            let person = Person::new(&environment, options.simulator, options.simulator_token);
            let person = person.await?;
            (sources(&environment, &person), Some(person))
        }
    };
    let context = Context {
        gateway: &gateway,
        agents: &agents,
        components: &components,
        media: &media,
        has_webhooks,
    };
    let mut accounts = AccountList::new(context, sources);
    let running = accounts.running();
    let attending = OptionFuture::from(person.map(|person| person.attend(running)));
    let result = tokio::select! {
        result = accounts.serve() => result.map(|never| match never {}),
        Some(result) = attending => result,
        () = reload => Ok(()),
        () = signals.end() => Ok(()),
    };
    gateway.stop().await;
    result
}

/// What is asked which accounts are wanted, where no file says it.
fn sources<'a>(environment: &'a Environment<'a>, person: &Person<'_>) -> Vec<Box<dyn Source + 'a>> {
    vec![
        Box::new(EnvironmentSource::new(environment, person.stage())),
        Box::new(SimulatorSource::new(person.stage())),
    ]
}

/// What agents may send: never the state, nor the file of accounts.
fn media_rules(
    state: &StateSpec,
    accounts: Option<&PathBuf>,
    folders: Vec<Folder>,
    origins: Vec<Origin>,
) -> Result<MediaRules, RunError> {
    let state_directory = match state {
        StateSpec::Directory(path) => Some(path),
        _ => None,
    };
    Ok(MediaRules {
        allowed: match folders.is_empty() {
            true => vec![Folder::open(Path::new(".")).map_err(other)?],
            false => folders,
        },
        denied: state_directory
            .into_iter()
            .chain(accounts)
            .cloned()
            .collect(),
        origins,
        ..MediaRules::default()
    })
}

fn not_opened(error: StateError) -> RunError {
    match error {
        StateError::InUse { .. } | StateError::Open { .. } | StateError::Connect { .. } => {
            RunError::Usage(error.to_string())
        }
        error => other(error),
    }
}
