//! WeCom accounts: that of the environment's variables, and those of the accounts' file.

use std::collections::BTreeMap;

use super::account::ConfiguredAccount;
use super::error::UsageError;
use super::lookup::{Lookup, set};
use super::setting::{Kind, Settings, is_member};
use super::value;

/// The platform of WeCom's component.
pub const PLATFORM: &str = "wecom";
/// The name of the credential that `WECOM_SECRET` holds.
const SECRET: &str = "corp-secret";

/// What the environment says of WeCom.
pub struct Wecom {
    /// The account that it names.
    pub account: Option<ConfiguredAccount>,
    /// Settings for any account.
    pub defaults: BTreeMap<String, String>,
}

/// What makes an account, by the component's keys, what it may hold, and where it is from.
pub(super) const IDENTITY: [(&str, Kind, &str); 4] = [
    (
        "corp-id",
        Kind::Text,
        "the id of the corp, such as ww1234567890abcdef",
    ),
    (
        "agent-id",
        Kind::Number {
            least: 1,
            most: u32::MAX as u64,
        },
        "the id of the app, such as 1000002",
    ),
    (
        "token",
        Kind::Text,
        "the Token of the app's callback settings",
    ),
    (
        "encoding-aes-key",
        Kind::AesKey,
        "the EncodingAESKey of the app's callback settings",
    ),
];

/// The other settings of an account.
pub(super) const SETTINGS: Settings = Settings {
    prefix: "WECOM_",
    keys: &[
        ("api-base-url", Kind::ApiUrl),
        ("allowed-users", Kind::List),
        ("dm-policy", Kind::POLICY),
        ("group-policy", Kind::POLICY),
        ("markdown", Kind::MARKDOWN),
        ("text-limit", Kind::TEXT_LIMIT),
        ("send-interval-ms", Kind::SEND_INTERVAL),
        ("max-parts", Kind::MAX_PARTS),
        ("part-marks", Kind::ON_OFF),
        ("merge-ms", Kind::MERGE),
        ("sends-per-message", Kind::SENDS),
        ("reply-window-hours", Kind::WINDOW_HOURS),
        ("passive-reply", Kind::ON_OFF),
    ],
    schema: include_str!("../../../src/wecom/config.schema.json"),
};

/// The keys that make an account, with that of its secret.
pub(super) fn identity() -> impl Iterator<Item = &'static str> {
    IDENTITY.iter().map(|(key, ..)| *key).chain(["secret"])
}

/// Reads and checks the variables.
///
/// # Errors
/// One line that names the variable.
pub fn read(lookup: Lookup<'_>) -> Result<Wecom, UsageError> {
    let defaults = SETTINGS.read(lookup)?;
    let mut given = BTreeMap::new();
    for key in identity() {
        if let Some(value) = set(lookup, &SETTINGS.variable(key))? {
            given.insert(key.to_owned(), value);
        }
    }
    let account = match given.is_empty() {
        true => None,
        false => {
            let account = account(None, given, &defaults, |key| SETTINGS.variable(key));
            Some(account.map_err(UsageError)?)
        }
    };
    Ok(Wecom { account, defaults })
}

/// An account of the file, from its members as texts.
///
/// # Errors
/// One line that names the member.
pub(super) fn of_file(
    id: Option<String>,
    members: BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
) -> Result<ConfiguredAccount, String> {
    let mut given = BTreeMap::new();
    let mut config = defaults.clone();
    for (name, value) in members {
        if let Some((key, value)) = SETTINGS.member(&name, &value)? {
            config.insert(key, value);
            continue;
        }
        let Some(key) = identity().find(|key| is_member(&name, key)) else {
            return Err(format!("`{name}` is no setting of a wecom account"));
        };
        let value = value.trim();
        value::check(&name, value).map_err(|why| format!("`{name}` {why}"))?;
        given.insert(key.to_owned(), value.to_owned());
    }
    account(id, given, &config, |key| {
        format!("`{}`", key.replace('-', "_"))
    })
}

/// An account of what was given; `called` is how the person who gave it calls a key.
fn account(
    id: Option<String>,
    mut given: BTreeMap<String, String>,
    config: &BTreeMap<String, String>,
    called: impl Fn(&str) -> String,
) -> Result<ConfiguredAccount, String> {
    let mut config = config.clone();
    let missing = |key: &str, what: &str| format!("{} is missing: set it to {what}", called(key));
    for (key, kind, what) in &IDENTITY {
        let value = given.remove(*key).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| missing(key, what))?;
        if *key == "token" {
            value::check_token(&value).map_err(|why| format!("{} {why}", called(key)))?;
        }
        kind.check(&value)
            .map_err(|why| format!("{} {why}", called(key)))?;
        config.insert((*key).to_owned(), value);
    }
    let secret = given.remove("secret").filter(|value| !value.is_empty());
    let secret = secret.ok_or_else(|| missing("secret", "the Secret of the app"))?;
    value::check_token(&secret).map_err(|why| format!("{} {why}", called("secret")))?;
    Ok(ConfiguredAccount {
        id: match id {
            Some(id) => id,
            None => config.get("corp-id").cloned().unwrap_or_default(),
        },
        platform: PLATFORM.to_owned(),
        secrets: BTreeMap::from([(SECRET.to_owned(), secret)]),
        config,
        agent: None,
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const GOOD: [(&str, &str); 5] = [
        ("WECOM_CORP_ID", " ww1 "),
        ("WECOM_AGENT_ID", "1000002"),
        ("WECOM_SECRET", "s3cret"),
        ("WECOM_TOKEN", "t0ken"),
        ("WECOM_ENCODING_AES_KEY", KEY),
    ];

    fn reading(variables: &[(&str, &str)]) -> Result<Wecom, String> {
        // The last one counts.
        let lookup = |name: &str| {
            let mut all = GOOD.iter().chain(variables).rev();
            all.find(|(other, _)| *other == name)
                .map(|(_, value)| OsString::from(value))
        };
        read(&lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_makes_an_account_whose_secret_is_no_configuration() {
        let found = reading(&[
            ("WECOM_API_BASE_URL", "http://127.0.0.1:1/relay"),
            ("WECOM_ALLOWED_USERS", "alice,bob"),
            ("WECOM_DM_POLICY", "allowlist"),
            ("WECOM_MARKDOWN", "native"),
            ("WECOM_PASSIVE_REPLY", "on"),
            ("WECOM_TEXT_LIMIT", ""),
        ])
        .unwrap();
        let account = found.account.unwrap();
        assert_eq!(account.id, "ww1");
        assert_eq!(account.secrets, [(SECRET.into(), "s3cret".into())].into());
        for (key, value) in [
            ("corp-id", "ww1"),
            ("agent-id", "1000002"),
            ("token", "t0ken"),
            ("encoding-aes-key", KEY),
            ("api-base-url", "http://127.0.0.1:1/relay"),
            ("allowed-users", "alice,bob"),
            ("dm-policy", "allowlist"),
            ("markdown", "native"),
            ("passive-reply", "on"),
        ] {
            assert_eq!(account.config[key], value, "{key}");
        }
        assert_eq!(account.config.len(), 9);
        assert!(
            !account
                .config
                .values()
                .any(|value| value.contains("s3cret"))
        );
        let shown = format!("{account:?}");
        for secret in ["s3cret", "t0ken", KEY] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn a_mistake_names_its_variable_and_no_secret() {
        for (name, value, expect) in [
            ("WECOM_CORP_ID", " ", "WECOM_CORP_ID is missing"),
            ("WECOM_AGENT_ID", "", "WECOM_AGENT_ID is missing"),
            ("WECOM_AGENT_ID", "app", "WECOM_AGENT_ID is no such number"),
            ("WECOM_SECRET", "", "WECOM_SECRET is missing"),
            ("WECOM_TOKEN", "", "WECOM_TOKEN is missing"),
            (
                "WECOM_ENCODING_AES_KEY",
                "hunter2",
                "WECOM_ENCODING_AES_KEY",
            ),
            ("WECOM_API_BASE_URL", "qyapi", "WECOM_API_BASE_URL"),
            (
                "WECOM_API_BASE_URL",
                "https://example.com/cgi-bin/",
                "without /cgi-bin",
            ),
            ("WECOM_DM_POLICY", "everyone", "WECOM_DM_POLICY"),
            ("WECOM_ALLOWED_USERS", ",", "WECOM_ALLOWED_USERS"),
            ("WECOM_PASSIVE_REPLY", "yes", "WECOM_PASSIVE_REPLY"),
            ("WECOM_SECRET", "\"hunter2\"", "WECOM_SECRET has quotation"),
            ("WECOM_SECRET", "hunter2 x", "WECOM_SECRET has a blank"),
            ("WECOM_TOKEN", "'hunter2'", "WECOM_TOKEN has quotation"),
            ("WECOM_CORP_ID", "\"ww1\"", "WECOM_CORP_ID has quotation"),
            ("WECOM_ALLOWED_USERS", "*", "WECOM_ALLOWED_USERS has a *"),
        ] {
            let error = reading(&[(name, value)]).err().unwrap();
            assert!(error.contains(expect), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn without_an_account_settings_are_for_those_of_the_file() {
        let lookup = |name: &str| (name == "WECOM_MARKDOWN").then(|| OsString::from("native"));
        let found = read(&lookup).unwrap();
        assert!(found.account.is_none());
        assert_eq!(found.defaults["markdown"], "native");
    }
}
