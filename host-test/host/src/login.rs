//! Logins. An instance of its own, which is never started, goes through the steps. The host takes the
//! credential out of the answer and stores it.
//!
//! Promises:
//! - The component never has the credential.
//! - A login changes nothing until it is done. Then the credential is stored before anybody is told.
//! - A login changes only the credential of its holder, whatever the server answers.
//! - The server is told only values that the holder got from that server.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::{AccountOptions, Handle, LOGIN_SETTINGS, Setup, StartError};
use crate::bindings::exports::gateway::channel::login::{Identity, Step as Said};
use crate::credentials::{
    Brought, Credential, Credentials, CredentialsError, Holder, Home, KeepError,
};
use crate::egress::credential::Secrets;
use crate::instance::{CallError, Instance};
use crate::media::MediaRules;
use crate::runtime::{Plugin, Runtime, captured_by_logins};
use crate::state::memory::MemoryState;
use crate::text::not_an_id;

/// What the platform takes at most.
const MAX_VALUES: usize = 10;
/// The longest id that a server may say.
const MAX_ID_BYTES: usize = 256;

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
    /// Whose credential a login brings and replaces.
    pub holder: Holder,
    /// The values that this account uses now, by the names of the secrets: they are not used again
    /// once a login is done.
    pub in_use: BTreeMap<String, String>,
}

debug_by_name!(Logins);

impl Logins {
    /// Those that replace the credential of this account, and no other.
    pub fn of(account: &Handle, credentials: &Credentials) -> Logins {
        let setup = account.setup();
        Logins {
            runtime: setup.runtime.clone(),
            plugin: setup.plugin.clone(),
            config: setup.config.as_ref().clone(),
            credentials: credentials.clone(),
            holder: credentials.holder(account.id()),
            in_use: setup.login_secrets(),
        }
    }

    fn home(&self) -> Home {
        Home::of(self.plugin.descriptor(), &self.config)
    }

    /// The holder's own values of a secret, which came from the server that the login talks to.
    fn values(&self, name: &str) -> Result<Vec<String>, CredentialsError> {
        let mut values: Vec<String> = self.in_use.get(name).cloned().into_iter().collect();
        let stored = self.credentials.values(&self.holder, &self.home(), name)?;
        values.extend(stored.into_iter().filter(|value| !self.is_in_use(value)));
        values.truncate(MAX_VALUES);
        Ok(values)
    }

    fn is_in_use(&self, value: &str) -> bool {
        self.in_use.values().any(|used| used == value)
    }

    /// Whose credential the platform meant when it said that the person is bound already.
    fn bound(&self) -> Result<Option<String>, CredentialsError> {
        let home = self.home();
        let Some(account) = self.holder.account() else {
            return Ok(self.credentials.latest(&home)?.map(|latest| latest.account));
        };
        let is_known = !self.in_use.is_empty() || self.credentials.find(account, &home)?.is_some();
        Ok(is_known.then(|| account.to_owned()))
    }
}

/// A login that is under way.
pub struct Login {
    with: Logins,
    setup: Setup,
    instance: Instance,
}

debug_by_name!(Login);

impl Login {
    /// Begins a login, with its first step.
    ///
    /// # Errors
    /// All of [`LoginError`].
    pub async fn begin(with: &Logins) -> Result<(Login, Step), LoginError> {
        let with = with.clone();
        let secrets = Secrets::default();
        for name in captured_by_logins(with.plugin.descriptor()) {
            secrets.set_all(name, with.values(name)?);
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
        let with = &self.with;
        let home = with.home();
        let secrets: BTreeMap<String, String> = captured_by_logins(with.plugin.descriptor())
            .filter_map(|name| {
                let value = self.setup.take_captured(name)?;
                Some((name.to_owned(), value.expose().to_owned()))
            })
            .collect();
        let failed = |reason: String| Ok(Step::Failed { reason });
        if secrets.is_empty() {
            // Two that wait for the same step: the other one stored it.
            let account = with.holder.account().unwrap_or(&identity.account);
            return match with.credentials.find(account, &home)? {
                Some(Credential { account, bot, .. })
                    if bot.as_ref() == Some(&identity.account) =>
                {
                    Ok(Step::Done { account })
                }
                _ => failed("the login brought no credential".to_owned()),
            };
        }
        let texts = [Some(&identity.account), identity.owner.as_ref()];
        if !texts.into_iter().flatten().all(|text| is_id(text)) {
            return failed("the server says an id that is none".to_owned());
        }
        let brought = Brought {
            bot: identity.account,
            secrets,
            owner: identity.owner,
            config: match settings(identity.config, |url| self.setup.egress.reaches(url)) {
                Ok(config) => config,
                Err(reason) => return failed(reason),
            },
            saved_ms: with.runtime.clock.unix_ms(),
        };
        let in_use: Vec<String> = with.in_use.values().cloned().collect();
        match with
            .credentials
            .keep(&with.holder, &home, &brought, &in_use)
        {
            Ok(account) => Ok(Step::Done { account }),
            Err(KeepError::Conflict(conflict)) => failed(conflict.to_string()),
            Err(KeepError::Failed(error)) => Err(error.into()),
        }
    }
}

/// What a login says of the configuration, as far as it may: places that the component may reach.
fn settings(
    said: Vec<(String, String)>,
    reaches: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, String> {
    let mut settings = BTreeMap::new();
    for (key, value) in said {
        if !LOGIN_SETTINGS.contains(&&*key) {
            tracing::warn!("a login may not set the configuration key {key:?}: it is left out");
        } else if reaches(&value) {
            settings.insert(key, value);
        } else {
            return Err(format!(
                "the login names {value:?} for `{key}`, which is no place that this component may \
                 reach"
            ));
        }
    }
    Ok(settings)
}

/// What can be the id of a bot or of a person.
fn is_id(text: &str) -> bool {
    !text.is_empty() && not_an_id(text, MAX_ID_BYTES).is_none()
}

/// The account of a stored credential. The operator's `config` wins, and without a word of the
/// operator's the one person who may write is the one who logged in.
pub fn account_of(
    credential: Credential,
    config: &BTreeMap<String, String>,
    media: MediaRules,
) -> AccountOptions {
    let mut merged = credential.config;
    // What is stored may be older than this rule.
    merged.retain(|key, _| LOGIN_SETTINGS.contains(&&**key));
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
        let set = [
            ("login-base-url", "https://x"),
            ("base-url", "http://127.0.0.1:1"),
            ("cdn-base-url", "http://127.0.0.1:1"),
            ("dm-policy", "open"),
            ("group-policy", "open"),
            ("account-id", "another"),
            ("", ""),
        ];
        let set = set.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let credential = Credential {
            account: "bot".into(),
            is_own: true,
            platform: "weixin".into(),
            origin: None,
            bot: None,
            secrets: BTreeMap::new(),
            owner: Some("alice".into()),
            config: set.into(),
            saved_ms: 0,
        };
        let config: BTreeMap<String, String> = config
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let operators = BTreeMap::clone(&config);
        let mut options = account_of(credential, &config, MediaRules::default());
        let allowed = options.config.remove("allowed-users");
        // Of what a login set, one thing counts.
        let set = options.config.remove("login-base-url");
        assert_eq!(set.as_deref(), Some("https://x"));
        options.config.retain(|key, _| !operators.contains_key(key));
        assert_eq!(options.config, BTreeMap::new());
        allowed
    }

    #[test]
    fn a_login_sets_a_place_within_the_components_reach_and_nothing_else() {
        let said = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            let said = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            settings(said.collect(), |url| url == "https://edge.example/")
        };
        let place = ("login-base-url", "https://edge.example/");
        let others = [
            ("base-url", "https://edge.example/"),
            ("cdn-base-url", "http://127.0.0.1:1"),
            ("dm-policy", "open"),
            ("allowed-users", "mallory"),
            ("account-id", "another"),
            ("Login-Base-Url", "https://edge.example/"),
            ("", ""),
        ];
        let kept = said(&[&others[..], &[place]].concat()).unwrap();
        let expected = [(place.0.to_owned(), place.1.to_owned())];
        assert_eq!(kept, BTreeMap::from(expected));
        assert_eq!(said(&others), Ok(BTreeMap::new()));
        for url in ["http://127.0.0.1:1", "https://edge.example.evil/", "", "x"] {
            let refused = said(&[("login-base-url", url)]).unwrap_err();
            assert!(refused.contains("login-base-url"), "{refused}");
        }
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
