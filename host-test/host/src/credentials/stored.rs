//! The stored records of logins, and the rules for changing them. There is no I/O here.
//!
//! Promises: a login changes the records of its own holder, at its own home, and no others, whatever its
//! server answers. A conflict with another holder is refused and changes nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bindings::exports::gateway::channel::meta::Descriptor;
use crate::egress::rule;
use crate::runtime::captured_by_logins;

/// The origin of a home whose servers are those that the component names itself.
const PLATFORMS_OWN: &str = "platform";
/// The one platform that had logins when records did not name theirs.
const FIRST_PLATFORM: &str = "weixin";
/// Values of one account that are remembered as replaced.
const MAX_REPLACED: usize = 100;
/// Accounts of the operator's of which that is remembered.
const MAX_OWN_REPLACED: usize = 1000;

/// Where a credential is good: a platform, and the server of its API. It is used nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The component's platform.
    pub platform: String,
    /// `scheme://host:port` of what the operator configured as the platform's API, several with a
    /// blank between them; `platform` where that is left to the component.
    pub origin: String,
}

impl Home {
    /// The home of an account with this component and configuration: the configured origins that
    /// the credentials of its logins are sent to.
    pub fn of(descriptor: &Descriptor, config: &BTreeMap<String, String>) -> Home {
        let brought: Vec<&str> = captured_by_logins(descriptor).collect();
        let carries = |key: &&String| {
            let host = format!("{{{key}}}");
            descriptor.egress.iter().any(|egress| {
                let used = egress.credential.as_ref();
                egress.host == host && used.is_some_and(|used| brought.contains(&&*used.name))
            })
        };
        let keys = descriptor.origins.iter().filter(carries);
        Home::at(
            &descriptor.platform,
            keys.filter_map(|key| config.get(key).map(String::as_str)),
        )
    }

    /// The home of a platform at these configured URLs.
    pub fn at<'a>(platform: &str, urls: impl IntoIterator<Item = &'a str>) -> Home {
        // One that is no URL is refused before it is used.
        let urls = urls.into_iter();
        let mut origins: Vec<String> = urls
            .map(|url| rule::origin(url).unwrap_or_else(|| "?".to_owned()))
            .collect();
        origins.sort();
        origins.dedup();
        Home {
            platform: platform.to_owned(),
            origin: match origins.is_empty() {
                true => PLATFORMS_OWN.to_owned(),
                false => origins.join(" "),
            },
        }
    }
}

/// Who holds the credentials that a login brings and replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A configured account, a tenant of its own: whatever the login's server says, the credential
    /// is that account's.
    Account(String),
    /// The operator, whose own accounts these are. With an id it is that of the account; without, the
    /// login's server says it, and a person who logs in again has one credential.
    Operator(Option<String>),
}

impl Holder {
    fn is_own(&self) -> bool {
        matches!(self, Holder::Operator(_))
    }

    /// The account, where it is not the server that says it.
    pub fn account(&self) -> Option<&str> {
        match self {
            Holder::Account(id) => Some(id),
            Holder::Operator(id) => id.as_deref(),
        }
    }
}

/// What a login brought.
#[derive(Clone, PartialEq, Eq)]
pub struct Brought {
    /// The id that the server gives the bot. It gives no access to anything of another holder.
    pub bot: String,
    /// Credentials by name, such as `bot-token`.
    pub secrets: BTreeMap<String, String>,
    /// Who logged in, by the server's word.
    pub owner: Option<String>,
    /// Configuration that belongs to it, by the component's keys.
    pub config: BTreeMap<String, String>,
    /// When, in milliseconds since the Unix epoch.
    pub saved_ms: u64,
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brought")
            .field("bot", &self.bot)
            .field("secrets", &self.secrets.keys())
            // Of some keys the value is a secret.
            .field("config", &self.config.keys())
            .field("saved_ms", &self.saved_ms)
            .finish_non_exhaustive()
    }
}

/// The credential of a login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The account's id.
    pub account: String,
    /// It is the operator's own, and no configured account's.
    #[serde(default = "yes")]
    pub is_own: bool,
    /// The platform that it is good for.
    #[serde(default = "first_platform")]
    pub platform: String,
    /// Where it is good, as in [`Home`]; none: it is older than this member.
    #[serde(default)]
    pub origin: Option<String>,
    /// What the server calls the bot.
    #[serde(default)]
    pub bot: Option<String>,
    /// Credentials by name, such as `bot-token`.
    pub secrets: BTreeMap<String, String>,
    /// Who logged in.
    #[serde(default)]
    pub owner: Option<String>,
    /// Configuration that belongs to it, by the component's keys.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// When, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub saved_ms: u64,
}

fn yes() -> bool {
    true
}

fn first_platform() -> String {
    FIRST_PLATFORM.to_owned()
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("account", &self.account)
            .field("is_own", &self.is_own)
            .field("platform", &self.platform)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Credential {
    fn is_at(&self, home: &Home) -> bool {
        self.platform == home.platform && self.origin.as_ref() == Some(&home.origin)
    }

    /// It is older than the member that would say its origin.
    fn may_be_at(&self, home: &Home) -> bool {
        self.platform == home.platform && self.origin.is_none()
    }
}

/// Values of one account that are not to be used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replaced {
    account: String,
    is_own: bool,
    platform: String,
    origin: String,
    /// SHA-256, newest first.
    values: Vec<String>,
}

impl Replaced {
    fn is_of(&self, account: &str, home: &Home) -> bool {
        self.account == account && self.platform == home.platform && self.origin == home.origin
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// Newest first.
    #[serde(default)]
    pub credentials: Vec<Credential>,
    /// SHA-256 of tokens that are not to be used again, without their accounts, as records had them before
    /// `replaced_of`. It is read, and never changed.
    #[serde(default)]
    replaced: Vec<String>,
    /// The newest account first.
    #[serde(default)]
    replaced_of: Vec<Replaced>,
}

/// Why a login is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Conflict(String);

impl Stored {
    /// The credential of an account at its home; one from before origins were stored stands in.
    pub fn find(&self, account: &str, home: &Home) -> Option<&Credential> {
        self.first(home, |credential| credential.account == account)
    }

    /// The newest of the operator's own.
    pub fn latest(&self, home: &Home) -> Option<&Credential> {
        self.first(home, |credential| credential.is_own)
    }

    fn first(&self, home: &Home, wanted: impl Fn(&Credential) -> bool) -> Option<&Credential> {
        let here = |credential: &&Credential| wanted(credential) && credential.is_at(home);
        let perhaps = |credential: &&Credential| wanted(credential) && credential.may_be_at(home);
        let mut all = self.credentials.iter();
        all.find(here)
            .or_else(|| self.credentials.iter().find(perhaps))
    }

    /// The values of a secret that a holder has got at this home, newest first. One whose origin is
    /// not known came from nowhere.
    pub fn values(&self, holder: &Holder, home: &Home, secret: &str) -> Vec<String> {
        let is_held = |credential: &&Credential| {
            credential.is_at(home)
                && credential.is_own == holder.is_own()
                && holder
                    .account()
                    .is_none_or(|account| credential.account == account)
        };
        let held = self.credentials.iter().filter(is_held);
        held.filter_map(|credential| credential.secrets.get(secret).cloned())
            .collect()
    }

    /// Whether a login replaced this value of an account's.
    pub fn is_replaced(&self, account: &str, home: &Home, value: &str) -> bool {
        // The record that the account runs with: another holder's of the same id may have the old value.
        let held = self.find(account, home);
        if held.is_some_and(|held| held.secrets.values().any(|held| held == value)) {
            return false;
        }
        let digest = digest(value);
        let mut own = self.replaced_of.iter();
        self.replaced.contains(&digest)
            || own
                .any(|replaced| replaced.is_of(account, home) && replaced.values.contains(&digest))
    }

    /// Keeps what a login brought in place of what its holder had, and returns the account's id.
    /// `in_use` are values of the same account that are not to be used again, besides those.
    ///
    /// # Errors
    /// When the id that the server says is somebody else's; then nothing has changed.
    pub fn keep(
        &mut self,
        holder: &Holder,
        home: &Home,
        brought: &Brought,
        in_use: &[String],
    ) -> Result<String, Conflict> {
        let account = match holder.account() {
            Some(account) => account.to_owned(),
            None => {
                self.check_free(&brought.bot, home)?;
                brought.bot.clone()
            }
        };
        let credential = Credential {
            account: account.clone(),
            is_own: holder.is_own(),
            platform: home.platform.clone(),
            origin: Some(home.origin.clone()),
            bot: Some(brought.bot.clone()),
            secrets: brought.secrets.clone(),
            owner: brought.owner.clone(),
            config: brought.config.clone(),
            saved_ms: brought.saved_ms,
        };
        let is_person = |other: &Credential| {
            holder.account().is_none() && other.owner.is_some() && other.owner == credential.owner
        };
        let is_replaced = |other: &Credential| {
            other.is_own == credential.is_own
                && other.is_at(home)
                && (other.account == account || is_person(other))
        };
        let all = std::mem::take(&mut self.credentials);
        let (old, kept): (Vec<Credential>, Vec<Credential>) =
            all.into_iter().partition(is_replaced);
        let is_new = |value: &String| !credential.secrets.values().any(|new| new == value);
        for other in &old {
            let values = other.secrets.values().filter(|value| is_new(value));
            self.replace(&other.account, holder.is_own(), home, values);
        }
        let in_use = in_use.iter().filter(|value| is_new(value));
        self.replace(&account, holder.is_own(), home, in_use);
        self.credentials = kept;
        self.credentials.insert(0, credential);
        self.allow_again(&account, holder.is_own(), home);
        Ok(account)
    }

    /// Whether the operator's own account may have an id that a server says.
    fn check_free(&self, bot: &str, home: &Home) -> Result<(), Conflict> {
        let mut others = self.credentials.iter().filter(|other| {
            let is_same = other.is_own && (other.is_at(home) || other.may_be_at(home));
            other.account == bot && !is_same
        });
        let Some(other) = others.next() else {
            return Ok(());
        };
        let whose = match (other.is_own, &other.origin) {
            (false, _) => "a configured account has".to_owned(),
            (true, _) if other.platform != home.platform => {
                format!("a login on the platform {} has", other.platform)
            }
            (true, origin) => format!(
                "a login at {} has",
                origin.as_deref().unwrap_or("another server")
            ),
        };
        Err(Conflict(format!(
            "the server says that the bot is {bot:?}, which is an id that {whose} here: nothing is \
             changed. Log in with another --state, or for that account"
        )))
    }

    /// Notes values of an account's that are not to be used again.
    pub fn replace<'a>(
        &mut self,
        account: &str,
        is_own: bool,
        home: &Home,
        values: impl IntoIterator<Item = &'a String>,
    ) {
        let mut digests: Vec<String> = values.into_iter().map(|value| digest(value)).collect();
        if digests.is_empty() {
            return;
        }
        let is_it = |other: &Replaced| other.is_own == is_own && other.is_of(account, home);
        if let Some(place) = self.replaced_of.iter().position(is_it) {
            let before = self.replaced_of.remove(place).values;
            let more = before.into_iter().filter(|value| !digests.contains(value));
            let more: Vec<String> = more.collect();
            digests.extend(more);
        }
        digests.truncate(MAX_REPLACED);
        let replaced = Replaced {
            account: account.to_owned(),
            is_own,
            platform: home.platform.clone(),
            origin: home.origin.clone(),
            values: digests,
        };
        self.replaced_of.insert(0, replaced);
        // A configured account has one entry for each home; whose ids servers say have a bound.
        let mut own = 0;
        self.replaced_of.retain(|replaced| {
            own += usize::from(replaced.is_own);
            !replaced.is_own || own <= MAX_OWN_REPLACED
        });
    }

    /// What an account has now is not replaced.
    fn allow_again(&mut self, account: &str, is_own: bool, home: &Home) {
        let Some(newest) = self.credentials.first() else {
            return;
        };
        let used: Vec<String> = newest.secrets.values().map(|value| digest(value)).collect();
        self.replaced_of.retain_mut(|replaced| {
            if replaced.is_own == is_own && replaced.is_of(account, home) {
                replaced.values.retain(|value| !used.contains(value));
            }
            !replaced.values.is_empty()
        });
    }
}

fn digest(value: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(value))
}

#[cfg(test)]
mod tests;
