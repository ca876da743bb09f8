//! The configuration of a channel, whatever the platform: read once, checked at once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Error, ErrorKind};
use super::peers::Allowance;
use super::policy::{Access, Policy};
use super::split::{Limits, Unit};

/// Looks a configuration key up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How Markdown of the agent is written for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Markdown {
    /// As text without markup.
    Plain,
    /// As the platform's clients render it.
    Native,
}

/// How a platform's messages are written.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// For [`Markdown::Plain`].
    pub plain: fn(&str) -> String,
    /// For [`Markdown::Native`].
    pub native: fn(&str) -> String,
    /// Whether a text of too many messages can go as a file.
    pub has_files: bool,
}

/// What a platform takes, and what its accounts have where the operator sets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// Longest text of one message in Unicode scalar values, which the operator may change.
    pub text_limit: usize,
    /// Longest text that the platform takes, in its own [`Unit`].
    pub max_text: usize,
    /// What `max_text` counts.
    pub unit: Unit,
    /// The pause between two messages.
    pub send_interval: Duration,
    /// Messages that the platform accepts for each message of a peer; zero is any number.
    pub sends_per_message: u32,
    /// How long after a peer's message it accepts them; zero is for ever.
    pub reply_window: Duration,
}

impl Default for Defaults {
    /// Texts of 2,000 characters, one a second, any number of them at any time.
    fn default() -> Defaults {
        Defaults {
            text_limit: 2000,
            max_text: usize::MAX,
            unit: Unit::Bytes,
            send_interval: Duration::from_secs(1),
            sends_per_message: 0,
            reply_window: Duration::ZERO,
        }
    }
}

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The account that the instance serves.
    pub account: String,
    /// Who may speak to the agent.
    pub access: Access,
    /// How Markdown is written.
    pub markdown: Markdown,
    /// Longest text of one platform message.
    pub limits: Limits,
    /// Pace of the account; zero is no pace.
    pub send_interval: Duration,
    /// Platform messages that one text may take; a longer one goes as a file.
    pub max_parts: usize,
    /// Whether each of several parts says which one it is.
    pub part_marks: bool,
    /// What the platform accepts between two messages of a peer.
    pub allowance: Allowance,
    /// What a person writes within this time of each other is one message; zero keeps them apart.
    pub merge: Duration,
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// `invalid`, with the key, what was wrong and what would be right.
    pub fn read(lookup: Lookup<'_>, defaults: &Defaults) -> Result<Settings, Error> {
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
            markdown: match lookup("markdown").as_deref() {
                None | Some("plain") => Markdown::Plain,
                Some("native") => Markdown::Native,
                Some(_) => {
                    return Err(invalid("markdown", "is neither `plain` nor `native`"));
                }
            },
            limits: Limits {
                chars: number(lookup, "text-limit", defaults.text_limit, 1..=1_000_000)?,
                size: defaults.max_text,
                unit: defaults.unit,
            },
            send_interval: Duration::from_millis(number(
                lookup,
                "send-interval-ms",
                u64::try_from(defaults.send_interval.as_millis()).unwrap_or(u64::MAX),
                0..=3_600_000,
            )?),
            max_parts: number(lookup, "max-parts", 10, 1..=100)?,
            part_marks: flag(lookup, "part-marks")?,
            allowance: Allowance {
                sends: number(
                    lookup,
                    "sends-per-message",
                    defaults.sends_per_message,
                    0..=1_000_000,
                )?,
                window_ms: match lookup("reply-window-hours") {
                    Some(hours) => 3_600_000 * parse("reply-window-hours", &hours, 0..=8760)?,
                    None => u64::try_from(defaults.reply_window.as_millis()).unwrap_or(u64::MAX),
                },
            },
            merge: Duration::from_millis(number(lookup, "merge-ms", 0, 0..=10_000)?),
        })
    }
}

/// A setting that is `on` or `off`, which it is without a word.
///
/// # Errors
/// `invalid`, with the key and what would be right.
pub fn flag(lookup: Lookup<'_>, key: &str) -> Result<bool, Error> {
    match lookup(key).as_deref() {
        None | Some("off") => Ok(false),
        Some("on") => Ok(true),
        Some(_) => Err(invalid(key, "is neither `on` nor `off`")),
    }
}

fn policy(lookup: Lookup<'_>, key: &str, default: Policy) -> Result<Policy, Error> {
    match lookup(key) {
        Some(text) => text.parse().map_err(|why| invalid(key, why)),
        None => Ok(default),
    }
}

fn number<N: TryFrom<u64>>(
    lookup: Lookup<'_>,
    key: &str,
    default: N,
    range: RangeInclusive<u64>,
) -> Result<N, Error> {
    match lookup(key) {
        None => Ok(default),
        Some(text) => N::try_from(parse(key, &text, range)?)
            .map_err(|_| invalid(key, "is too large a number")),
    }
}

fn parse(key: &str, text: &str, range: RangeInclusive<u64>) -> Result<u64, Error> {
    text.trim()
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            invalid(key, &format!("is no number from {least} to {most}"))
        })
}

/// The error for a configuration key. `why` never has the value in it: a secret may stand in the wrong
/// place.
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
        let defaults = Defaults {
            sends_per_message: 10,
            reply_window: Duration::from_secs(24 * 3600),
            ..Defaults::default()
        };
        Settings::read(&lookup, &defaults).map_err(|error| error.message)
    }

    #[test]
    fn the_defaults_are_the_platforms() {
        let settings = read(&[("account-id", "bot")]).unwrap();
        assert_eq!(settings.access.direct, Policy::Open);
        assert_eq!(settings.access.group, Policy::Disabled);
        assert_eq!(settings.limits.chars, 2000);
        assert_eq!(settings.send_interval, Duration::from_secs(1));
        assert_eq!(settings.max_parts, 10);
        assert!(!settings.part_marks);
        assert_eq!(settings.allowance.sends, 10);
        assert_eq!(settings.allowance.window_ms, 24 * 3_600_000);
        assert_eq!(settings.merge, Duration::ZERO);
    }

    #[test]
    fn a_reply_window_below_an_hour_is_kept_and_the_operators_counts_hours() {
        let defaults = Defaults {
            reply_window: Duration::from_secs(90),
            ..Defaults::default()
        };
        let lookup = |key: &str| (key == "account-id").then(|| "bot".to_owned());
        let settings = Settings::read(&lookup, &defaults).unwrap();
        assert_eq!(settings.allowance.window_ms, 90_000);
        let settings = read(&[("account-id", "bot"), ("reply-window-hours", "2")]).unwrap();
        assert_eq!(settings.allowance.window_ms, 2 * 3_600_000);
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
                "configuration key dm-policy is none of `open`, `allowlist`, `disabled`",
            ),
            (
                ("text-limit", "0"),
                "configuration key text-limit is no number from 1 to 1000000",
            ),
            (
                ("part-marks", "yes"),
                "configuration key part-marks is neither `on` nor `off`",
            ),
            (
                ("send-interval-ms", "fast"),
                "configuration key send-interval-ms is no number from 0 to 3600000",
            ),
        ] {
            assert_eq!(read(&[account, entry]).unwrap_err(), expect);
        }
        assert!(read(&[]).unwrap_err().contains("account-id is missing"));
    }
}
