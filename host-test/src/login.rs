//! Logins: an instance of its own, that is not started, goes through the steps; the host takes the
//! credential out of the answer and keeps it.
//!
//! Promises: the component never has the credential; a login changes nothing until it is done, and
//! then the credential is stored before anybody hears of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::{AccountOptions, Setup, StartError, captured_by_logins};
use crate::bindings::exports::gateway::channel::login::{Identity, Step as Said};
use crate::credentials::{Credential, Credentials, CredentialsError};
use crate::egress::credential::Secrets;
use crate::instance::{CallError, Instance};
use crate::media::MediaRules;
use crate::runtime::{Plugin, Runtime};
use crate::state::memory::MemoryState;

/// What the person has to see or do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Scan a code with this content, until then; an earlier one is of no use any more.
    ShowQr {
        /// What the code says.
        text: String,
        /// Milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// Confirm on the phone.
    Confirm,
    /// Tell the digits on the phone; once more: they were wrong.
    EnterCode,
    /// Logged in, and stored.
    Done {
        /// The account's id.
        account: String,
    },
    /// It ended, for this reason.
    Failed {
        /// For people.
        reason: String,
    },
}

impl Step {
    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        matches!(self, Step::Done { .. } | Step::Failed { .. })
    }
}

/// Why a login does not go on.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The configuration is wrong, or there is no instance.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The component or the platform.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The credential can't be kept.
    #[error("the login can't be stored: {0}")]
    Store(#[from] CredentialsError),
}

/// What logins are made with.
#[derive(Clone)]
pub struct Logins {
    /// Runs the component.
    pub runtime: Runtime,
    /// The component.
    pub plugin: Plugin,
    /// The component's configuration.
    pub config: BTreeMap<String, String>,
    /// Where credentials are kept.
    pub credentials: Credentials,
    /// The account whose credential a login replaces.
    pub replaces: Option<Replaced>,
}

/// A credential in use that a login replaces.
#[derive(Clone)]
pub struct Replaced {
    /// The account's id.
    pub account: String,
    /// Its values.
    pub values: Vec<String>,
}

impl Logins {
    fn replaced_values(&self) -> &[String] {
        self.replaces
            .as_ref()
            .map_or(&[], |replaced| replaced.values.as_slice())
    }

    /// Whose credential the platform meant when it said that the person is bound already.
    fn bound(&self) -> Result<Option<String>, CredentialsError> {
        let in_use = self
            .replaces
            .as_ref()
            .map(|replaced| replaced.account.clone());
        Ok(match in_use {
            Some(account) => Some(account),
            None => self.credentials.latest()?.map(|latest| latest.account),
        })
    }
}

/// A login that is under way.
pub struct Login {
    with: Logins,
    setup: Setup,
    instance: Instance,
}

impl Login {
    /// Begins a login, with its first step.
    ///
    /// # Errors
    /// All of [`LoginError`].
    pub async fn begin(with: &Logins) -> Result<(Login, Step), LoginError> {
        let with = with.clone();
        let secrets = Secrets::default();
        for name in captured_by_logins(&with.plugin.descriptor) {
            let mut values = with.replaced_values().to_vec();
            for value in with.credentials.values(name)? {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            // What the platform takes at most.
            values.truncate(10);
            secrets.set_all(name, &values);
        }
        let setup = Setup::with_secrets(
            &with.runtime,
            &with.plugin,
            Arc::new(MemoryState::default()),
            "login".to_owned(),
            secrets,
            with.config.clone(),
            MediaRules::default(),
        )?;
        let instance = setup.instance().await?;
        let said = instance.begin_login().await?;
        let login = Login {
            with,
            setup,
            instance,
        };
        let step = login.step(said)?;
        Ok((login, step))
    }

    /// Waits for the next step.
    ///
    /// # Errors
    /// All of [`LoginError`].
    pub async fn next(&self) -> Result<Step, LoginError> {
        self.step(self.instance.next_login_step().await?)
    }

    /// Hands over the digits, and waits for the next step.
    ///
    /// # Errors
    /// All of [`LoginError`].
    pub async fn submit(&self, digits: String) -> Result<Step, LoginError> {
        self.step(self.instance.submit_login_code(digits).await?)
    }

    fn step(&self, said: Said) -> Result<Step, LoginError> {
        Ok(match said {
            Said::ShowQr(qr) => Step::ShowQr {
                text: qr.text,
                until_ms: qr.until,
            },
            Said::Confirm => Step::Confirm,
            Said::EnterCode => Step::EnterCode,
            Said::Done(identity) => self.keep(identity)?,
            Said::AlreadyBound => match self.with.bound()? {
                Some(account) => Step::Done { account },
                None => Step::Failed {
                    reason:
                        "this person is bound to a bot already, whose credential is not stored \
                             here: use the one that WEIXIN_TOKEN holds, or restore it"
                            .to_owned(),
                },
            },
            Said::Failed(reason) => Step::Failed { reason },
        })
    }

    fn keep(&self, identity: Identity) -> Result<Step, LoginError> {
        let secrets: BTreeMap<String, String> = captured_by_logins(&self.with.plugin.descriptor)
            .filter_map(|name| {
                let value = self.setup.egress.take_captured(name)?;
                Some((name.to_owned(), value.expose().to_owned()))
            })
            .collect();
        if secrets.is_empty() {
            // Two that wait for the same step: the other one stored it.
            return match self.with.credentials.get(&identity.account)? {
                Some(credential) => Ok(Step::Done {
                    account: credential.account,
                }),
                None => Ok(Step::Failed {
                    reason: "the login brought no credential".to_owned(),
                }),
            };
        }
        let account = identity.account.clone();
        let credential = Credential {
            account: identity.account,
            secrets,
            owner: identity.owner,
            config: identity.config.into_iter().collect(),
            saved_ms: self.with.runtime.clock.unix_ms(),
        };
        self.with
            .credentials
            .store(credential, self.with.replaced_values())?;
        Ok(Step::Done { account })
    }
}

/// The account of a stored credential. The operator's `config` wins, and without a word of the
/// operator's the one person who may write is the one who logged in.
pub fn account_of(
    credential: Credential,
    config: &BTreeMap<String, String>,
    media: MediaRules,
) -> AccountOptions {
    let mut merged = credential.config;
    merged.extend(config.clone());
    let policy = merged.get("dm-policy").map(String::as_str);
    if let Some(owner) = credential.owner
        && !merged.contains_key("allowed-users")
        && matches!(policy, None | Some("allowlist"))
    {
        merged.insert("allowed-users".to_owned(), owner);
    }
    AccountOptions {
        id: credential.account,
        secrets: credential.secrets,
        config: merged,
        media,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(config: &[(&str, &str)]) -> Option<String> {
        let credential = Credential {
            account: "bot".into(),
            secrets: BTreeMap::new(),
            owner: Some("alice".into()),
            config: BTreeMap::from([("login-base-url".into(), "https://x".into())]),
            saved_ms: 0,
        };
        let config = config
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let options = account_of(credential, &config, MediaRules::default());
        assert_eq!(options.config["login-base-url"], "https://x");
        options.config.get("allowed-users").cloned()
    }

    #[test]
    fn who_logged_in_may_write_unless_the_operator_says_otherwise() {
        assert_eq!(allowed(&[]).as_deref(), Some("alice"));
        assert_eq!(
            allowed(&[("dm-policy", "allowlist")]).as_deref(),
            Some("alice")
        );
        assert_eq!(allowed(&[("allowed-users", "bob")]).as_deref(), Some("bob"));
        assert_eq!(allowed(&[("dm-policy", "open")]), None);
    }
}
