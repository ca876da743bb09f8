//! Reads the command line and the environment, once and at once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::FromArgMatches;
use clap::error::ErrorKind;
use gateway_host::agent::{self, AgentSpec, Words, openai};
use gateway_host::listener::Names;
use gateway_host::media::folder::Folder;

use super::account::Defaults;
use super::arguments::{self, Arguments, CommandArguments, RunArguments, StateArguments};
use super::error::UsageError;
use super::lookup::Lookup;
use super::options::{AllowEgress, Command, LogFormat, LoginOptions, RunOptions};
use super::weixin::{self, Selection};
use super::{environment, mistake, wecom};

/// What `--version` prints.
pub(super) const VERSION: &str = concat!("host-test ", env!("CARGO_PKG_VERSION"), "\n");

/// Reads the command line (without the program's name) and the environment.
///
/// # Errors
/// One line, for exit status 2.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Lookup<'_>,
) -> Result<(Command, LogFormat), UsageError> {
    let description = arguments::description();
    let arguments = arguments::with_command(arguments, &description);
    let command = arguments.first().and_then(|word| word.to_str());
    let command = command.unwrap_or_default().to_owned();
    let program = OsString::from(description.get_name());
    let read = description
        .clone()
        .try_get_matches_from([program].into_iter().chain(arguments))
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match read {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = match error.kind() {
                ErrorKind::DisplayHelp => error.to_string(),
                ErrorKind::DisplayVersion => VERSION.to_owned(),
                _ => return Err(mistake::line(&error, &command, &description)),
            };
            return Ok((Command::Print(text), LogFormat::Text));
        }
    };
    let command = match arguments.command {
        CommandArguments::Run(run) => Command::Run(Box::new(run_options(*run, environment)?)),
        CommandArguments::Login(login) => {
            Command::Login(Box::new(login_options(login, environment)?))
        }
        CommandArguments::Simulator(simulator) => Command::Simulator {
            listen: simulator.listen,
            names: names(simulator.allow_hosts)?,
            token: environment::simulator_token(environment)?,
        },
        CommandArguments::Check(check) => Command::Check {
            component: check.component,
            conformance: check.conformance,
            against: check.against,
        },
        CommandArguments::Completions { shell } => {
            Command::Print(arguments::completions(description, shell))
        }
        CommandArguments::Man { command } => {
            Command::Print(arguments::manual_page(description, command.as_deref())?)
        }
    };
    Ok((command, arguments.log_format))
}

fn run_options(run: RunArguments, environment: Lookup<'_>) -> Result<RunOptions, UsageError> {
    let names = names(run.allow_hosts)?;
    let media_dirs = run.media_dirs.iter().map(|path| folder(path));
    let media_dirs = media_dirs.collect::<Result<Vec<Folder>, UsageError>>()?;
    let weixin = weixin::read(environment)?;
    let agent_settings = agent::Settings {
        environment: environment::of_agents(environment, &run.agent, &run.agent_env)?,
        words: words(run.failure_text, run.outage_text, run.outage_after),
        openai: openai(&run.agent, run.system_prompt, environment)?,
        ..agent::Settings::default()
    };
    let wecom = wecom::read(environment)?;
    if run.accounts.is_some() {
        let one = match (&weixin.selection, &wecom.account) {
            (Selection::Stored(_) | Selection::Given { .. }, _) => Some("WEIXIN_ACCOUNT_ID"),
            (Selection::Latest, Some(_)) => Some("WECOM_CORP_ID"),
            (Selection::Latest, None) => None,
        };
        if let Some(variable) = one {
            return Err(UsageError(format!(
                "{variable} names one account and --accounts many: put it into the file"
            )));
        }
    }
    let has_server = run.admin.is_some() || run.webhooks.is_some();
    let tls = tls(run.tls_cert, run.tls_key, has_server)?;
    let admin = run
        .admin
        .map(|address| Ok((address, environment::admin_token(environment)?)))
        .transpose()?;
    Ok(RunOptions {
        components: run.state.components,
        state: run.state.state,
        durability: run.state.durability,
        agent: run.agent,
        agent_settings,
        admin,
        webhooks: run.webhooks,
        names,
        tls,
        simulator_token: environment::simulator_token(environment)?,
        media_dirs,
        media_origins: run.media_origins,
        selection: weixin.selection,
        accounts: run.accounts,
        watch: run.watch,
        simulator: run.simulator,
        wecom: wecom.account,
        defaults: Defaults {
            weixin: weixin.defaults,
            wecom: wecom.defaults,
        },
        allow_egress: pinned(run.state.allow_egress),
    })
}

fn login_options(
    mut login: StateArguments,
    environment: Lookup<'_>,
) -> Result<LoginOptions, UsageError> {
    let weixin = weixin::read(environment)?;
    if login.components.len() > 1 {
        return Err(UsageError(
            "--component is there twice, and login takes one: leave one out".to_owned(),
        ));
    }
    Ok(LoginOptions {
        component: login.components.pop(),
        state: login.state,
        selection: weixin.selection,
        config: weixin.defaults,
        allow_egress: pinned(login.allow_egress),
    })
}

fn pinned(origins: Vec<(String, String)>) -> AllowEgress {
    let mut pinned = AllowEgress::new();
    for (platform, origin) in origins {
        pinned.entry(platform).or_default().push(origin);
    }
    pinned
}

fn names(names: Vec<String>) -> Result<Names, UsageError> {
    Names::new(names).map_err(|name| {
        UsageError(format!(
            "--allow-host {name:?} is no name: write that of a host, or an address, without scheme \
             and port"
        ))
    })
}

fn folder(path: &Path) -> Result<Folder, UsageError> {
    Folder::open(path).map_err(|error| {
        UsageError(format!(
            "--media-dir {} can't be used: {error}: name a directory that exists",
            path.display()
        ))
    })
}

fn words(failure: Option<String>, outage: Option<String>, outage_after: Duration) -> Words {
    let default = Words::default();
    Words {
        failure: failure.unwrap_or(default.failure),
        outage: outage.unwrap_or(default.outage),
        outage_after,
    }
}

/// What an openai agent needs; another agent needs nothing of it.
fn openai(
    agent: &AgentSpec,
    system_prompt: Option<String>,
    environment: Lookup<'_>,
) -> Result<openai::Settings, UsageError> {
    match agent {
        AgentSpec::OpenAi(_) => environment::openai(environment, system_prompt),
        AgentSpec::Echo | AgentSpec::Http(_) | AgentSpec::Exec(_) if system_prompt.is_some() => {
            Err(UsageError(
                "--system-prompt is for --agent openai:BASE_URL: leave it out".to_owned(),
            ))
        }
        AgentSpec::Echo | AgentSpec::Http(_) | AgentSpec::Exec(_) => {
            Ok(openai::Settings::default())
        }
    }
}

/// Both files of TLS, or none.
fn tls(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    has_server: bool,
) -> Result<Option<(PathBuf, PathBuf)>, UsageError> {
    let wrong = |why: &str| Err(UsageError(why.to_owned()));
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(_), None) => wrong("--tls-key is missing: --tls-cert needs the key beside it"),
        (None, Some(_)) => {
            wrong("--tls-cert is missing: --tls-key needs the certificate beside it")
        }
        (Some(_), Some(_)) if !has_server => {
            wrong("--tls-cert is for --admin and --webhooks: add one of them, or leave it out")
        }
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
    }
}
