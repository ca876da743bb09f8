//! What the command line and the environment ask for, read and checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use gateway_host::admin::Token;
use gateway_host::agent::{self, AgentSpec};
use gateway_host::egress::credential::Secret;
use gateway_host::listener::Names;
use gateway_host::media::folder::Folder;
use gateway_host::media::origin::Origin;
use gateway_host::state::{Durability, StateSpec};

use super::account::{ConfiguredAccount, Defaults};
use super::weixin::Selection;

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
        token: Option<Secret>,
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
    pub simulator_token: Option<Secret>,
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

impl std::fmt::Debug for LoginOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginOptions")
            .field("component", &self.component)
            .field("state", &self.state)
            .field("selection", &self.selection)
            // Of some keys the value is a secret.
            .field("config", &self.config.keys())
            .field("allow_egress", &self.allow_egress)
            .finish()
    }
}

/// Origins that are pinned, by platform.
pub type AllowEgress = BTreeMap<String, Vec<String>>;
