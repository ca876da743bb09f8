//! The command line and the environment: read once, checked at once.
//!
//! A mistake is one line that names the option or variable, what was wrong and what would be right.

mod accounts;
mod arguments;
mod environment;
mod mistake;
mod setting;
mod value;
mod variables;
mod wecom;
mod weixin;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use self::arguments::{Arguments, CommandArguments, RunArguments, StateArguments};
pub use accounts::{AccountsFile, ConfiguredAccount, Defaults, read as read_accounts};
pub use environment::unknown as unknown_variables;
use gateway_host::admin::Token;
use gateway_host::agent::{self, AgentSpec, Words, openai};
use gateway_host::listener::Names;
use gateway_host::media::folder::Folder;
use gateway_host::media::origin::Origin;
use gateway_host::state::{Durability, StateSpec};
pub use wecom::PLATFORM as WECOM;
pub use weixin::{PLATFORM as WEIXIN, Selection, account as weixin_account};

/// What `--version` prints.
const VERSION: &str = concat!("host-test ", env!("CARGO_PKG_VERSION"), "\n");

/// One line for a person who wrote something wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Run a component.
    Run(Box<RunOptions>),
    /// Log in.
    Login(Box<LoginOptions>),
    /// Serve the simulator.
    Simulator {
        /// Where.
        listen: SocketAddr,
        /// Names that clients may call it by.
        names: Names,
        /// The token of its control paths; none: one is drawn.
        token: Option<String>,
    },
    /// Judge a component.
    Check {
        /// Its file.
        component: PathBuf,
        /// Whether it is run.
        conformance: bool,
        /// Another one's file, with which it is compared.
        against: Option<PathBuf>,
    },
    /// Print this text: help, the version, completions or a manual page.
    Print(String),
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The options of `run`.
#[derive(Debug)]
pub struct RunOptions {
    /// One for each platform; of the others it is beside the binary.
    pub components: Vec<PathBuf>,
    /// Where the state is.
    pub state: StateSpec,
    /// What a write survives.
    pub durability: Durability,
    /// Who answers.
    pub agent: AgentSpec,
    /// What the agent needs besides.
    pub agent_settings: agent::Settings,
    /// Where the operator's API is served; none: nowhere.
    pub admin: Option<(SocketAddr, Token)>,
    /// Where webhooks are served; none: nowhere.
    pub webhooks: Option<SocketAddr>,
    /// Names that the operator's API obeys besides those of this machine.
    pub names: Names,
    /// The certificate and the key of both; none: plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The token of the built-in simulator's control paths; none: one is drawn.
    pub simulator_token: Option<String>,
    /// Where replies may name files by path; empty: the current directory.
    pub media_dirs: Vec<Folder>,
    /// Origins that replies may name by URL, beside the agent's own and the public internet.
    pub media_origins: Vec<Origin>,
    /// Which account of WeChat is meant.
    pub selection: Selection,
    /// The file of many accounts, in place of one.
    pub accounts: Option<PathBuf>,
    /// Swap the component when its file changes.
    pub watch: bool,
    /// The built-in simulator's account, whatever is wanted.
    pub simulator: bool,
    /// A WeCom account of the environment, beside the one that is wanted.
    pub wecom: Option<ConfiguredAccount>,
    /// Settings of the environment, for any account.
    pub defaults: Defaults,
    /// Origins that are pinned, by platform.
    pub allow_egress: AllowEgress,
}

/// The options of `login`.
#[derive(Debug)]
pub struct LoginOptions {
    /// None: beside the binary.
    pub component: Option<PathBuf>,
    /// Where the credential is kept.
    pub state: StateSpec,
    /// Which account the environment names: its token is not used again.
    pub selection: Selection,
    /// Settings of the environment.
    pub config: BTreeMap<String, String>,
    /// Origins that are pinned, by platform.
    pub allow_egress: AllowEgress,
}

/// Origins that are pinned, by platform.
pub type AllowEgress = BTreeMap<String, Vec<String>>;

/// Reads the command line (without the program's name) and the environment.
///
/// # Errors
/// One line, for exit status 2.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: environment::Lookup<'_>,
) -> Result<(Command, LogFormat), UsageError> {
    let description = arguments::description();
    let arguments = arguments::with_command(arguments, &description);
    let command = arguments.first().and_then(|word| word.to_str());
    let command = command.unwrap_or_default().to_owned();
    let read = description
        .clone()
        .no_binary_name(true)
        .try_get_matches_from(arguments)
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

fn run_options(
    run: RunArguments,
    environment: environment::Lookup<'_>,
) -> Result<RunOptions, UsageError> {
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
    environment: environment::Lookup<'_>,
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
    environment: environment::Lookup<'_>,
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

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
