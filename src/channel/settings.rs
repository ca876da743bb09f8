//! The configuration of a channel, whatever the platform: read once, checked at once.

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::{Error, ErrorKind};
use super::policy::{Access, Policy};
use super::split::Limits;

/// Looks a configuration key up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The account that the instance serves.
    pub account: String,
    /// Who may speak to the agent.
    pub access: Access,
    /// Longest text of one platform message.
    pub limits: Limits,
    /// Pace of the account; zero is no pace.
    pub send_interval: Duration,
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// `invalid`, with the key, what was wrong and what would be right.
    pub fn read(lookup: Lookup<'_>, max_bytes: usize) -> Result<Settings, Error> {
        let account = lookup("account-id")
            .filter(|account| !account.is_empty())
            .ok_or_else(|| invalid("account-id", "is missing: set it to the account's id"))?;
        let allowed: Option<BTreeSet<String>> = lookup("allowed-users").map(|users| {
            users
                .split(',')
                .map(str::trim)
                .filter(|user| !user.is_empty())
                .map(str::to_owned)
                .collect()
        });
        let direct = match allowed {
            Some(_) => Policy::Allowlist,
            None => Policy::Open,
        };
        Ok(Settings {
            account,
            access: Access {
                direct: policy(lookup, "dm-policy", direct)?,
                group: policy(lookup, "group-policy", Policy::Disabled)?,
                allowed: allowed.unwrap_or_default(),
            },
            limits: Limits {
                chars: number(lookup, "text-limit", 2000, 1..=1_000_000)?,
                bytes: max_bytes,
            },
            send_interval: Duration::from_millis(number(
                lookup,
                "send-interval-ms",
                1000,
                0..=3_600_000,
            )?),
        })
    }
}

fn policy(lookup: Lookup<'_>, key: &str, default: Policy) -> Result<Policy, Error> {
    match lookup(key) {
        Some(text) => text.parse().map_err(|why: String| invalid(key, &why)),
        None => Ok(default),
    }
}

fn number<N>(
    lookup: Lookup<'_>,
    key: &str,
    default: N,
    range: std::ops::RangeInclusive<N>,
) -> Result<N, Error>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let Some(text) = lookup(key) else {
        return Ok(default);
    };
    text.trim()
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            invalid(
                key,
                &format!("`{text}` is no number from {least} to {most}"),
            )
        })
}

/// The error for a configuration key.
pub fn invalid(key: &str, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("configuration key {key} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, &str)]) -> Result<Settings, String> {
        let lookup = |key: &str| {
            entries
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| (*value).to_owned())
        };
        Settings::read(&lookup, 16_000).map_err(|error| error.message)
    }

    #[test]
    fn the_defaults_are_those_of_the_readme() {
        let settings = read(&[("account-id", "bot")]).unwrap();
        assert_eq!(settings.access.direct, Policy::Open);
        assert_eq!(settings.access.group, Policy::Disabled);
        assert_eq!(settings.limits.chars, 2000);
        assert_eq!(settings.send_interval, Duration::from_secs(1));
    }

    #[test]
    fn allowed_users_alone_restrict() {
        let settings = read(&[("account-id", "bot"), ("allowed-users", " a , b,,")]).unwrap();
        assert_eq!(settings.access.direct, Policy::Allowlist);
        assert_eq!(settings.access.allowed.len(), 2);
        let nobody = read(&[("account-id", "bot"), ("allowed-users", "")]).unwrap();
        assert_eq!(nobody.access.direct, Policy::Allowlist);
    }

    #[test]
    fn a_wrong_value_is_named_with_what_would_be_right() {
        let account = ("account-id", "bot");
        for (entry, expect) in [
            (
                ("dm-policy", "everyone"),
                "configuration key dm-policy `everyone` is none of `open`, `allowlist`, `disabled`",
            ),
            (
                ("text-limit", "0"),
                "configuration key text-limit `0` is no number from 1 to 1000000",
            ),
            (
                ("send-interval-ms", "fast"),
                "configuration key send-interval-ms `fast` is no number from 0 to 3600000",
            ),
        ] {
            assert_eq!(read(&[account, entry]).unwrap_err(), expect);
        }
        assert!(read(&[]).unwrap_err().contains("account-id is missing"));
    }
}
