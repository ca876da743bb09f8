//! An account, as the file, the environment or the built-in simulator has it.

use std::collections::BTreeMap;

use gateway_host::agent::AgentSpec;

/// Settings that hold where an account has none of its own, by the component's keys.
#[derive(Default)]
pub struct Defaults {
    /// Of `kind = "weixin"`.
    pub weixin: BTreeMap<String, String>,
    /// Of `kind = "wecom"`.
    pub wecom: BTreeMap<String, String>,
}

impl std::fmt::Debug for Defaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Defaults")
            .field("weixin", &self.weixin.keys())
            .field("wecom", &self.wecom.keys())
            .finish()
    }
}

/// An account that somebody configured: in the file, by variables, or by the built-in simulator.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfiguredAccount {
    /// Its id.
    pub id: String,
    /// The platform, whose component it runs.
    pub platform: String,
    /// The credentials that the component never sees, by their names; empty: those of the login that
    /// is stored for the account.
    pub secrets: BTreeMap<String, String>,
    /// Its settings, by the component's keys.
    pub config: BTreeMap<String, String>,
    /// Who answers; none: the agent of the command line.
    pub agent: Option<AgentSpec>,
}

impl std::fmt::Debug for ConfiguredAccount {
    /// Without secrets, which are also among the settings.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfiguredAccount")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
