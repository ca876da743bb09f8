//! The command line and the environment: read once, checked at once.
//!
//! A mistake is one line that names the option or variable, what was wrong and what would be right.

mod accounts;
mod environment;
mod value;
mod wecom;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

pub use accounts::{Access, AccountsFile, Defaults, FileAccount, read as read_accounts};
pub use environment::{PLATFORM as WEIXIN, Wanted};
use gateway_host::admin::Token;
use gateway_host::agent::{self, AgentSpec, Words};
use gateway_host::egress::pins;
use gateway_host::egress::rule::RuleError;
use gateway_host::listener::Names;
use gateway_host::media::folder::Folder;
use gateway_host::media::origin::Origin;
use gateway_host::state::{Durability, StateSpec};
pub use wecom::{PLATFORM as WECOM, WecomAccount};

/// Longest sentence for a person.
const MAX_SENTENCE_CHARS: usize = 500;
/// A day.
const MOST_SECONDS: u64 = 86_400;

/// What `--help` prints.
pub const HELP: &str = "\
Runs messaging channel components (WeChat's iLink bots, WeCom's apps) in a sandbox.

Usage: host-test [COMMAND] [OPTIONS]

Commands:
  run                 load the component and run it (also without a command)
  login               log in by QR code, and keep the credential in the state
  simulator           the simulated iLink server alone
  check COMPONENT     say whether a component fits, and what it may reach

Options of run and login:
  --component PATH    a component; run takes one for each platform, which the component names itself
                      (default: weixin.wasm and wecom.wasm beside the binary)
  --state SPEC        memory, dir:PATH or redis://[user:password@]host[:port][/db]
                      (default: dir:./weixin-state)
  --durability LEVEL  process (survives kill -9) or full (survives a power cut)

  --allow-egress PLATFORM=ORIGIN
                      the component of weixin or wecom reaches this origin and no other that it names
                      itself, such as weixin=https://ilinkai.weixin.qq.com; repeatable

Options of run:
  --agent SPEC        echo, http://…, https://…, exec:COMMAND or openai:BASE_URL (default: echo)
  --system-prompt TEXT
                      what an openai: agent is told first
  --agent-env NAME    pass a variable to exec: agents although it holds a secret of the gateway;
                      -NAME withholds one; repeatable
  --failure-text TEXT what a person is told where a message has no answer (empty: nothing)
  --outage-text TEXT  what a person is told, once, while an answer is late because the agent fails
  --outage-after SECONDS
                      how long a person waits for that (default: 120)
  --media-dir DIR     where replies may name files by path; repeatable (default: the current one)
  --media-origin ORIGIN
                      http(s)://host[:port] that replies may name by url, beside the agent's own and
                      public https; repeatable
  --admin ADDR        serve the operator's API there; HOST_ADMIN_TOKEN is its token
  --allow-host NAME   a name under which the operator's API is called, besides those of this machine;
                      repeatable, also of simulator
  --tls-cert FILE, --tls-key FILE
                      TLS for --admin and --webhooks: PEM files, read again when they change
  --webhooks ADDR     hand GET and POST /webhook/ACCOUNT to components of platforms that call back
  --accounts FILE     many accounts: TOML, one [[account]] each; read again when it changes
  --watch             swap the component when its file changes
  --simulator         use the built-in simulated server (default while no account is known)

Options of check:
  --run               run the contract against it, with the simulated server
  --against OLD       say how it differs from this component, and whether a swap needs your word

Options of simulator:
  --listen ADDR       where to listen (default: 127.0.0.1:0, a free port)

Options of all:
  --log-format FORMAT text or json
  --help, --version

Environment: WEIXIN_TOKEN and WEIXIN_ACCOUNT_ID name an account, else it is that of the last login;
see the README for WEIXIN_BASE_URL, WEIXIN_ALLOWED_USERS and the others. WECOM_CORP_ID, WECOM_AGENT_ID,
WECOM_SECRET, WECOM_TOKEN and WECOM_ENCODING_AES_KEY are a WeCom account, beside it or alone. OPENAI_MODEL and OPENAI_API_KEY are for
openai: agents. WEIXIN_SIM_TOKEN presets the token of the simulated server's control paths. RUST_LOG sets the log's level.
";

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
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
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
    /// Which account is meant.
    pub wanted: Wanted,
    /// The file of many accounts, in place of one.
    pub accounts: Option<PathBuf>,
    /// Swap the component when its file changes.
    pub watch: bool,
    /// The built-in simulator's account, whatever is wanted.
    pub simulator: bool,
    /// A WeCom account of the environment, beside the one that is wanted.
    pub wecom: Option<WecomAccount>,
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
    pub wanted: Wanted,
    /// Settings of the environment.
    pub config: BTreeMap<String, String>,
    /// Origins that are pinned, by platform.
    pub allow_egress: AllowEgress,
}

/// Origins that are pinned, by platform.
pub type AllowEgress = BTreeMap<String, Vec<String>>;

/// Adds an origin that a platform may reach.
///
/// # Errors
/// One line, without a name of where it stands.
fn allow_egress(allowed: &mut AllowEgress, platform: &str, origin: &str) -> Result<(), String> {
    if ![WEIXIN, WECOM].contains(&platform) {
        return Err(format!("the platform is unknown: use {WEIXIN} or {WECOM}"));
    }
    // The error of the rule names the origin, which may have a password in it.
    pins::rule(origin).map_err(|_| {
        "an origin is refused: write https://, a host and a port where it is not 443, without user, \
         path and query"
    })?;
    let origins = allowed.entry(platform.to_owned()).or_default();
    origins.push(origin.to_owned());
    Ok(())
}

/// Reads the command line (without the program's name) and the environment.
///
/// # Errors
/// One line, for exit status 2.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: environment::Lookup<'_>,
) -> Result<(Command, LogFormat), UsageError> {
    let mut parser = Parser::from_args(arguments);
    let mut log_format = LogFormat::Text;
    let mut name: Option<String> = None;
    let mut components = Vec::new();
    let mut webhooks = None;
    let mut names = Vec::new();
    let (mut tls_cert, mut tls_key) = (None, None);
    let mut checked = None;
    let mut conformance = false;
    let mut state = StateSpec::Directory(PathBuf::from("./weixin-state"));
    let mut durability = Durability::default();
    let mut agent = AgentSpec::Echo;
    let mut system_prompt = None;
    let mut words = Words::default();
    let mut admin = None;
    let mut accounts = None;
    let mut watch = false;
    let mut simulator = false;
    let mut media_dirs = Vec::new();
    let mut media_origins = Vec::new();
    let mut agent_env = Vec::new();
    let mut against = None;
    let mut allowed = AllowEgress::new();
    let mut listen = SocketAddr::from(([127, 0, 0, 1], 0));
    // Which commands take the options that were given.
    let mut used: Vec<(&'static str, &'static [&'static str])> = Vec::new();
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok((Command::Help, log_format)),
            Arg::Long("version") | Arg::Short('V') => return Ok((Command::Version, log_format)),
            Arg::Long("log-format") => {
                log_format = match text(&mut parser, "--log-format")?.as_str() {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => {
                        return Err(UsageError(
                            "--log-format is unknown: use text or json".to_owned(),
                        ));
                    }
                }
            }
            Arg::Long("component") => {
                used.push(("--component", &["run", "login"]));
                components.push(PathBuf::from(value(&mut parser, "--component")?));
            }
            Arg::Long("state") => {
                used.push(("--state", &["run", "login"]));
                state = text(&mut parser, "--state")?.parse().map_err(line)?;
            }
            Arg::Long("durability") => {
                used.push(("--durability", &["run", "login"]));
                durability = text(&mut parser, "--durability")?.parse().map_err(line)?;
            }
            Arg::Long("agent") => {
                used.push(("--agent", &["run"]));
                agent = text(&mut parser, "--agent")?.parse().map_err(line)?;
            }
            Arg::Long("system-prompt") => {
                used.push(("--system-prompt", &["run"]));
                system_prompt = Some(text(&mut parser, "--system-prompt")?);
            }
            Arg::Long("failure-text") => {
                used.push(("--failure-text", &["run"]));
                words.failure = sentence(&mut parser, "--failure-text")?;
            }
            Arg::Long("outage-text") => {
                used.push(("--outage-text", &["run"]));
                words.outage = sentence(&mut parser, "--outage-text")?;
            }
            Arg::Long("outage-after") => {
                used.push(("--outage-after", &["run"]));
                words.outage_after = seconds(&mut parser, "--outage-after")?;
            }
            Arg::Long("admin") => {
                used.push(("--admin", &["run"]));
                admin = Some(address(&mut parser, "--admin")?);
            }
            Arg::Long("webhooks") => {
                used.push(("--webhooks", &["run"]));
                webhooks = Some(address(&mut parser, "--webhooks")?);
            }
            Arg::Long("allow-host") => {
                used.push(("--allow-host", &["run", "simulator"]));
                names.push(text(&mut parser, "--allow-host")?);
            }
            Arg::Long("tls-cert") => {
                used.push(("--tls-cert", &["run"]));
                tls_cert = Some(PathBuf::from(value(&mut parser, "--tls-cert")?));
            }
            Arg::Long("tls-key") => {
                used.push(("--tls-key", &["run"]));
                tls_key = Some(PathBuf::from(value(&mut parser, "--tls-key")?));
            }
            Arg::Long("media-dir") => {
                used.push(("--media-dir", &["run"]));
                let path = PathBuf::from(value(&mut parser, "--media-dir")?);
                media_dirs.push(Folder::open(&path).map_err(|error| {
                    UsageError(format!(
                        "--media-dir {} can't be used: {error}: name a directory that exists",
                        path.display()
                    ))
                })?);
            }
            Arg::Long("media-origin") => {
                used.push(("--media-origin", &["run"]));
                let origin = text(&mut parser, "--media-origin")?.parse();
                media_origins.push(origin.map_err(|error: RuleError| {
                    UsageError(format!("--media-origin is refused: {error}"))
                })?);
            }
            Arg::Long("agent-env") => {
                used.push(("--agent-env", &["run"]));
                agent_env.push(value(&mut parser, "--agent-env")?);
            }
            Arg::Long("accounts") => {
                used.push(("--accounts", &["run"]));
                accounts = Some(PathBuf::from(value(&mut parser, "--accounts")?));
            }
            Arg::Long("watch") => {
                used.push(("--watch", &["run"]));
                watch = true;
            }
            Arg::Long("simulator") => {
                used.push(("--simulator", &["run"]));
                simulator = true;
            }
            Arg::Long("allow-egress") => {
                used.push(("--allow-egress", &["run", "login"]));
                let pinned = text(&mut parser, "--allow-egress")?;
                let (platform, origin) = pinned.split_once('=').ok_or_else(|| {
                    UsageError(
                        "--allow-egress names no platform: write PLATFORM=ORIGIN, such as \
                         weixin=https://ilinkai.weixin.qq.com"
                            .to_owned(),
                    )
                })?;
                allow_egress(&mut allowed, platform, origin)
                    .map_err(|why| UsageError(format!("--allow-egress: {why}")))?;
            }
            Arg::Long("against") => {
                used.push(("--against", &["check"]));
                against = Some(PathBuf::from(value(&mut parser, "--against")?));
            }
            Arg::Long("run") => {
                used.push(("--run", &["check"]));
                conformance = true;
            }
            Arg::Long("listen") => {
                used.push(("--listen", &["simulator"]));
                listen = address(&mut parser, "--listen")?;
            }
            Arg::Value(word) if name.is_none() => {
                name = Some(word.string().map_err(usage)?);
            }
            Arg::Value(word) if name.as_deref() == Some("check") && checked.is_none() => {
                checked = Some(PathBuf::from(word));
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    let name = name.as_deref().unwrap_or("run");
    if let Some((option, commands)) = used.iter().find(|(_, commands)| !commands.contains(&name)) {
        return Err(UsageError(format!(
            "{option} is no option of {name}: it belongs to {}",
            commands.join(" and ")
        )));
    }
    let names = Names::new(names).map_err(|name| {
        UsageError(format!(
            "--allow-host {name:?} is no name: write that of a host, or an address, without scheme \
             and port"
        ))
    })?;
    let command = match name {
        "run" => {
            let found = environment::read(environment)?;
            let mut agent_settings = agent::Settings {
                environment: environment::of_agents(environment, &agent, &agent_env)?,
                words,
                ..agent::Settings::default()
            };
            match agent {
                AgentSpec::OpenAi(_) => {
                    agent_settings.openai = environment::openai(environment, system_prompt)?;
                }
                AgentSpec::Echo | AgentSpec::Http(_) | AgentSpec::Exec(_) => {
                    if system_prompt.is_some() {
                        return Err(UsageError(
                            "--system-prompt is for --agent openai:BASE_URL: leave it out"
                                .to_owned(),
                        ));
                    }
                }
            }
            if accounts.is_some() && simulator {
                return Err(UsageError(
                    "--accounts and --simulator exclude each other: leave one out".to_owned(),
                ));
            }
            if accounts.is_some() && found.wanted != Wanted::Latest {
                return Err(UsageError(
                    "WEIXIN_ACCOUNT_ID names one account and --accounts many: put it into the file"
                        .to_owned(),
                ));
            }
            let wecom = wecom::read(environment)?;
            if accounts.is_some() && wecom.account.is_some() {
                return Err(UsageError(
                    "WECOM_CORP_ID names one account and --accounts many: put it into the file"
                        .to_owned(),
                ));
            }
            let has_server = admin.is_some() || webhooks.is_some();
            let tls = tls(tls_cert, tls_key, has_server)?;
            let admin = admin
                .map(|address| Ok((address, environment::admin_token(environment)?)))
                .transpose()?;
            Command::Run(Box::new(RunOptions {
                components,
                state,
                durability,
                agent,
                agent_settings,
                admin,
                webhooks,
                names,
                tls,
                simulator_token: environment::simulator_token(environment)?,
                media_dirs,
                media_origins,
                wanted: found.wanted,
                accounts,
                watch,
                simulator,
                wecom: wecom.account,
                defaults: Defaults {
                    weixin: found.config,
                    wecom: wecom.defaults,
                },
                allow_egress: allowed,
            }))
        }
        "login" => {
            let found = environment::read(environment)?;
            if components.len() > 1 {
                return Err(UsageError(
                    "--component is there twice, and login takes one: leave one out".to_owned(),
                ));
            }
            Command::Login(Box::new(LoginOptions {
                component: components.pop(),
                state,
                wanted: found.wanted,
                config: found.config,
                allow_egress: allowed,
            }))
        }
        "help" => Command::Help,
        "simulator" => Command::Simulator {
            listen,
            names,
            token: environment::simulator_token(environment)?,
        },
        "check" if against.is_some() && conformance => {
            return Err(UsageError(
                "--run and --against exclude each other: leave one out".to_owned(),
            ));
        }
        "check" => Command::Check {
            component: checked.ok_or_else(|| {
                UsageError("check names no component: write check COMPONENT".to_owned())
            })?,
            conformance,
            against,
        },
        // The one word that is repeated: it stands where no value does.
        other => {
            return Err(UsageError(format!(
                "command {other:?} is unknown: use run, login, simulator or check"
            )));
        }
    };
    Ok((command, log_format))
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

fn value(parser: &mut Parser, option: &str) -> Result<OsString, UsageError> {
    parser
        .value()
        .map_err(|_| UsageError(format!("{option} has no value: write {option} VALUE")))
}

fn text(parser: &mut Parser, option: &str) -> Result<String, UsageError> {
    value(parser, option)?
        .into_string()
        .map_err(|_| UsageError(format!("{option} has a value that is no UTF-8 text")))
}

/// Something to be said to a person; may be empty.
fn sentence(parser: &mut Parser, option: &str) -> Result<String, UsageError> {
    let sentence = text(parser, option)?.trim().to_owned();
    if sentence.chars().count() > MAX_SENTENCE_CHARS {
        return Err(UsageError(format!(
            "{option} has more than {MAX_SENTENCE_CHARS} characters: write a sentence or two"
        )));
    }
    if sentence
        .chars()
        .any(|char| char.is_control() && char != '\n')
    {
        return Err(UsageError(format!(
            "{option} has control characters, which people would not see: remove them"
        )));
    }
    Ok(sentence)
}

fn seconds(parser: &mut Parser, option: &str) -> Result<Duration, UsageError> {
    let written = text(parser, option)?;
    match written.parse() {
        Ok(seconds @ 1..=MOST_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err(UsageError(format!(
            "{option} is no number of seconds from 1 to {MOST_SECONDS}: write such as {option} 120"
        ))),
    }
}

fn address(parser: &mut Parser, option: &str) -> Result<SocketAddr, UsageError> {
    // The value is not repeated: a token may have been put here by mistake.
    text(parser, option)?.parse().map_err(|_| {
        UsageError(format!(
            "{option} is no address: write HOST:PORT, such as 127.0.0.1:8080"
        ))
    })
}

/// Names the option, and never a value: it may be a secret that was put into the wrong place.
fn usage(error: lexopt::Error) -> UsageError {
    let what = match error {
        lexopt::Error::MissingValue { option } => {
            format!("{} has no value", option.as_deref().unwrap_or("an option"))
        }
        lexopt::Error::UnexpectedOption(option) => format!("{option} is no option"),
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        lexopt::Error::UnexpectedArgument(_) => {
            "the command line has a word too many, behind the command".to_owned()
        }
        _ => "the command line can't be read".to_owned(),
    };
    UsageError(format!("{what}: see --help"))
}

fn line(error: impl std::fmt::Display) -> UsageError {
    UsageError(error.to_string())
}

#[cfg(test)]
mod tests;
