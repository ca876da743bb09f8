//! The command line as clap reads it. Help, completions, manual pages and the reference come from this
//! description too, so the words of each option are for people.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint};

use super::error::UsageError;
use super::options::LogFormat;
use super::value::{self, Text};
use super::{pin, variables};
use gateway_host::agent::AgentSpec;
use gateway_host::media::origin::Origin;
use gateway_host::state::{Durability, StateSpec};

/// The command that is meant when none is named.
const DEFAULT: &str = "run";

const AFTER_HELP: &str = "\
Without a command, host-test does what `host-test run` does, with the same options.
`host-test COMMAND --help` shows the options of a command.";

/// Runs messaging channel components (WeChat's iLink bots, WeCom's apps) in a sandbox.
#[derive(Debug, Parser)]
#[command(
    name = "host-test",
    version,
    override_usage = "host-test [COMMAND] [OPTIONS]",
    after_help = AFTER_HELP,
    max_term_width = 100,
    args_override_self = true,
    propagate_version = true
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: CommandArguments,

    /// How the log on standard error is written: text for people, or json with one object a line
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text",
        hide_possible_values = true, value_parser = Text(log_format, &["text", "json"]))]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(super) enum CommandArguments {
    /// Load the components and run the accounts until SIGINT or SIGTERM
    #[command(after_help = variables::help())]
    Run(Box<RunArguments>),
    /// Log in to WeChat by QR code, and keep the credential in the state
    Login(StateArguments),
    /// Serve the simulated iLink server alone, and print the variables that a client needs
    Simulator(SimulatorArguments),
    /// Say whether a component fits this host, what it may reach and under which limits
    Check(CheckArguments),
    /// Print the script that completes this command line in a shell
    Completions {
        /// The shell that will read the script
        shell: clap_complete::Shell,
    },
    /// Print the manual page of this program or of one command, for `man -l -`
    Man {
        /// The command; without it, the page of the program
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct StateArguments {
    /// A component file. `run` takes one for each platform, which the file names itself [default:
    /// weixin.wasm and wecom.wasm beside the binary]
    #[arg(long = "component", value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub components: Vec<PathBuf>,

    /// Where the state is: memory, dir:PATH, redis://[user:password@]host[:port][/db] or rediss://…
    /// with TLS
    #[arg(long, value_name = "SPEC", default_value = "dir:./weixin-state",
        value_parser = Text(parsed::<StateSpec>, &[]))]
    pub state: StateSpec,

    /// What a stored message survives: process (kill -9) or full (a power cut)
    #[arg(long, value_name = "LEVEL", default_value = "process",
        hide_possible_values = true, value_parser = Text(parsed::<Durability>, &["process", "full"]))]
    pub durability: Durability,

    /// Let the component of weixin or wecom reach this origin, such as
    /// weixin=https://ilinkai.weixin.qq.com, and no other that it names itself; repeatable
    #[arg(long, value_name = "PLATFORM=ORIGIN", value_parser = Text(pin::read, &[]))]
    pub allow_egress: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub state: StateArguments,

    /// Who answers: echo, http://…, https://…, exec:COMMAND for `sh -c`, or openai:BASE_URL
    #[arg(long, value_name = "SPEC", default_value = "echo",
        value_parser = Text(parsed::<AgentSpec>, &[]))]
    pub agent: AgentSpec,

    /// What an openai: agent is told before each conversation
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = Text(value::any, &[]))]
    pub system_prompt: Option<String>,

    /// Pass this variable to exec: agents although it holds a secret of the gateway; -NAME
    /// withholds one; repeatable
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub agent_env: Vec<OsString>,

    /// What a person is told when a message gets no answer; empty: nothing [default: a sentence in
    /// Chinese and English]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = Text(value::sentence, &[]))]
    pub failure_text: Option<String>,

    /// What a person is told, once, while an answer is late because the agent fails; empty: nothing
    /// [default: a sentence in Chinese and English]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = Text(value::sentence, &[]))]
    pub outage_text: Option<String>,

    /// How long a person waits before --outage-text is sent
    #[arg(long, value_name = "SECONDS", default_value = "120", allow_hyphen_values = true,
        value_parser = Text(value::seconds, &[]))]
    pub outage_after: Duration,

    /// A directory whose files replies may name by path; repeatable [default: the current
    /// directory]
    #[arg(long = "media-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub media_dirs: Vec<PathBuf>,

    /// An origin http(s)://host[:port] that replies may name by url, beside the agent's own and
    /// public https; repeatable
    #[arg(long = "media-origin", value_name = "ORIGIN", value_parser = Text(media_origin, &[]))]
    pub media_origins: Vec<Origin>,

    /// Serve the operator's API at HOST:PORT; HOST_ADMIN_TOKEN must hold its token [default: off]
    #[arg(long, value_name = "ADDR", value_parser = Text(value::address, &[]))]
    pub admin: Option<SocketAddr>,

    /// A name or address under which the operator's API is called, besides those of this machine;
    /// repeatable
    #[arg(long = "allow-host", value_name = "NAME", value_parser = Text(value::any, &[]))]
    pub allow_hosts: Vec<String>,

    /// The certificate chain of --admin and --webhooks, as a PEM file that is read again when it
    /// changes [default: plain HTTP]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,

    /// The private key that belongs to --tls-cert, as a PEM file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,

    /// Take the callbacks of platforms that call back, such as WeCom, at HOST:PORT under
    /// /webhook/ACCOUNT [default: off]
    #[arg(long, value_name = "ADDR", value_parser = Text(value::address, &[]))]
    pub webhooks: Option<SocketAddr>,

    /// Run the accounts of this TOML file, one [[account]] each; a change takes effect within a
    /// second
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub accounts: Option<PathBuf>,

    /// Swap a component under its accounts when its file changes
    #[arg(long)]
    pub watch: bool,

    /// Use the built-in simulated server although an account is known; without any account it is
    /// used anyway
    #[arg(long, conflicts_with = "accounts")]
    pub simulator: bool,
}

#[derive(Debug, Args)]
pub(super) struct SimulatorArguments {
    /// Where to listen; port 0 is a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0",
        value_parser = Text(value::address, &[]))]
    pub listen: SocketAddr,

    /// A name or address under which clients call the simulator, besides those of this machine;
    /// repeatable
    #[arg(long = "allow-host", value_name = "NAME", value_parser = Text(value::any, &[]))]
    pub allow_hosts: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The component file that is judged
    #[arg(value_name = "COMPONENT", value_hint = ValueHint::FilePath)]
    pub component: PathBuf,

    /// Run the contract's checks against the component, with the simulated server
    #[arg(long = "run", conflicts_with = "against")]
    pub conformance: bool,

    /// Say how the component differs from this one, and whether a swap needs your word
    #[arg(long, value_name = "OLD", value_hint = ValueHint::FilePath)]
    pub against: Option<PathBuf>,
}

/// The description of the whole command line.
pub(super) fn description() -> clap::Command {
    Arguments::command()
}

/// Puts the command in front of the options, among which it may stand, and the default one where
/// none
/// is named.
pub(super) fn with_command(
    arguments: impl IntoIterator<Item = OsString>,
    description: &clap::Command,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let is_about_the_program = matches!(
        arguments.first().and_then(|first| first.to_str()),
        Some("-h" | "--help" | "-V" | "--version")
    );
    if is_about_the_program {
        return arguments;
    }
    let command = match place_of_command(&arguments, description) {
        Some(place) => arguments.remove(place),
        None => DEFAULT.into(),
    };
    arguments.insert(0, command);
    arguments
}

/// The first word that is neither an option nor an option's value.
fn place_of_command(arguments: &[OsString], description: &clap::Command) -> Option<usize> {
    let mut place = 0;
    loop {
        let argument = arguments.get(place)?.to_str()?;
        let Some(option) = argument.strip_prefix("--") else {
            match argument.starts_with('-') {
                true => place += 1,
                false => return Some(place),
            }
            continue;
        };
        let name = option.split_once('=').map_or(option, |(name, _)| name);
        let is_alone = name != option || matches!(name, "help" | "version");
        place += match is_alone || !takes_value(name, description)? {
            true => 1,
            false => 2,
        };
    }
}

/// Whether the option has a value, of whichever command it is; none: no command has it.
fn takes_value(name: &str, description: &clap::Command) -> Option<bool> {
    let commands = [description]
        .into_iter()
        .chain(description.get_subcommands());
    let mut options = commands.flat_map(clap::Command::get_arguments);
    let option = options.find(|option| option.get_long() == Some(name))?;
    Some(option.get_action().takes_values())
}

/// The script that completes the command line. The options of the default command are completed
/// without it, too.
pub(super) fn completions(description: clap::Command, shell: clap_complete::Shell) -> String {
    let default = description.find_subcommand(DEFAULT);
    let options: Vec<clap::Arg> = default
        .into_iter()
        .flat_map(clap::Command::get_arguments)
        .cloned()
        .collect();
    let name = description.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut description.args(options), name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// A manual page, in roff: of the program, or of one of its commands.
///
/// # Errors
/// One line, when there is no such command.
pub(super) fn manual_page(
    mut description: clap::Command,
    command: Option<&str>,
) -> Result<String, UsageError> {
    // Commands then have their whole names and the options of all commands.
    description.build();
    let page = match command {
        None => description,
        Some(name) => description.find_subcommand(name).cloned().ok_or_else(|| {
            UsageError(format!(
                "man: command {name:?} is unknown: name one that --help lists, or none"
            ))
        })?,
    };
    let name = page.get_display_name().unwrap_or_else(|| page.get_name());
    let page = page.clone().name(name.to_owned());
    let mut roff = Vec::new();
    let rendered = clap_mangen::Man::new(page).render(&mut roff);
    rendered.map_err(|error| UsageError(format!("man: {error}")))?;
    Ok(String::from_utf8_lossy(&roff).into_owned())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is unknown: use text or json".to_owned()),
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn media_origin(text: &str) -> Result<Origin, String> {
    parsed(text).map_err(|error| format!("is refused: {error}"))
}
