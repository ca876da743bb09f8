//! The settings of a platform's accounts: variables of the environment, and members of the accounts'
//! file with the same names in lower case and without the prefix.

use std::collections::BTreeMap;
use std::fmt;

use super::error::UsageError;
use super::lookup::{Lookup, text};
use super::value;
use gateway_host::egress::rule::Rule;

/// The settings of a platform's accounts.
pub(super) struct Settings {
    /// What the names of its variables begin with.
    pub prefix: &'static str,
    /// The component's key of each, and what it may hold.
    pub keys: &'static [(&'static str, Kind)],
    /// The component's own description of its keys, as a JSON schema.
    pub schema: &'static str,
}

impl Settings {
    /// The name of the variable of a key.
    pub(super) fn variable(&self, key: &str) -> String {
        format!(
            "{}{}",
            self.prefix,
            key.to_ascii_uppercase().replace('-', "_")
        )
    }

    /// Reads and checks the variables; their values by the component's keys.
    ///
    /// # Errors
    /// One line that names the variable.
    pub(super) fn read(&self, lookup: Lookup<'_>) -> Result<BTreeMap<String, String>, UsageError> {
        let mut config = BTreeMap::new();
        for (key, kind) in self.keys {
            let name = self.variable(key);
            let Some(value) = text(lookup, &name)? else {
                continue;
            };
            let value = value.trim();
            if value.is_empty() && kind.may_be_empty() {
                continue;
            }
            kind.check(value)
                .map_err(|why| UsageError(format!("{name} {why}")))?;
            config.insert((*key).to_owned(), value.to_owned());
        }
        Ok(config)
    }

    /// A member of the accounts' file as the component's key and value; none: it is no setting.
    ///
    /// # Errors
    /// One line that names the member.
    pub(super) fn member(
        &self,
        name: &str,
        value: &str,
    ) -> Result<Option<(String, String)>, String> {
        let Some((key, kind)) = self.keys.iter().find(|(key, _)| is_member(name, key)) else {
            return Ok(None);
        };
        let value = value.trim();
        value::check(name, value).map_err(|why| format!("`{name}` {why}"))?;
        kind.check(value).map_err(|why| format!("`{name}` {why}"))?;
        Ok(Some(((*key).to_owned(), value.to_owned())))
    }
}

/// Whether this is how the accounts' file calls a key.
pub(super) fn is_member(name: &str, key: &str) -> bool {
    name == key.replace('-', "_")
}

/// What a setting may hold.
pub(super) enum Kind {
    Text,
    /// An origin, and a path if it has one.
    Url,
    Choice(&'static [&'static str]),
    /// Ids, separated by commas; at least one.
    List,
    Number {
        least: u64,
        most: u64,
    },
    /// A URL whose end is not `/cgi-bin`, which the component adds.
    ApiUrl,
    /// The 43 letters and digits of a key of callbacks.
    AesKey,
}

impl Kind {
    pub(super) const POLICY: Kind = Kind::Choice(&["open", "allowlist", "disabled"]);
    pub(super) const MARKDOWN: Kind = Kind::Choice(&["plain", "native"]);
    pub(super) const ON_OFF: Kind = Kind::Choice(&["on", "off"]);
    pub(super) const TEXT_LIMIT: Kind = number(1, 1_000_000);
    pub(super) const SEND_INTERVAL: Kind = number(0, 3_600_000);
    pub(super) const MAX_PARTS: Kind = number(1, 100);
    pub(super) const MERGE: Kind = number(0, 10_000);
    pub(super) const SENDS: Kind = number(0, 1_000_000);
    pub(super) const WINDOW_HOURS: Kind = number(0, 8760);

    /// Whether an empty variable is the same as none.
    fn may_be_empty(&self) -> bool {
        match self {
            Kind::Text | Kind::Url | Kind::ApiUrl | Kind::AesKey | Kind::Number { .. } => true,
            Kind::Choice(_) | Kind::List => false,
        }
    }

    /// Says what is wrong with a value, and never repeats it: it may be a secret that was put into the
    /// wrong place.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        match self {
            Kind::Text => Ok(()),
            Kind::Url => {
                if value.contains(['?', '#']) {
                    return Err("has a query or a fragment: write http(s)://host[:port]".to_owned());
                }
                Rule::configured(value)
                    .map(drop)
                    .map_err(|error| format!("is refused: {error}"))
            }
            Kind::ApiUrl => {
                if value.trim_end_matches('/').ends_with("/cgi-bin") {
                    return Err("ends with /cgi-bin: write it without /cgi-bin".to_owned());
                }
                Kind::Url.check(value)
            }
            Kind::AesKey => {
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
                match value.len() == 43 && value.bytes().all(is_plain) {
                    true => Ok(()),
                    false => Err(
                        "is not the 43 letters and digits of the app's callback settings"
                            .to_owned(),
                    ),
                }
            }
            Kind::Choice(values) if values.contains(&value) => Ok(()),
            Kind::Choice([first @ .., last]) => Err(format!(
                "is none of its values: use {} or {last}",
                first.join(", ")
            )),
            Kind::Choice([]) => Err("takes no value: unset it".to_owned()),
            Kind::List => value::check_list(value),
            Kind::Number { least, most } => match value.parse::<u64>() {
                Ok(number) if (*least..=*most).contains(&number) => Ok(()),
                _ => Err(format!("is no such number: use one from {least} to {most}")),
            },
        }
    }
}

impl fmt::Display for Kind {
    /// What a person may write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Text => f.write_str("text"),
            Kind::Url | Kind::ApiUrl => f.write_str("http(s)://host[:port][/path]"),
            Kind::List => f.write_str("ids, separated by commas"),
            Kind::Number { least, most } => write!(f, "{least} to {most}"),
            Kind::AesKey => f.write_str("43 letters and digits"),
            Kind::Choice([first @ .., last]) => write!(f, "{} or {last}", first.join(", ")),
            Kind::Choice([]) => f.write_str("nothing"),
        }
    }
}

const fn number(least: u64, most: u64) -> Kind {
    Kind::Number { least, most }
}
