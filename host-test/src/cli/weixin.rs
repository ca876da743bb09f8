//! WeChat accounts: which one the environment's variables mean, and those of the accounts' file.

use std::collections::BTreeMap;

use super::account::ConfiguredAccount;
use super::error::UsageError;
use super::lookup::{Lookup, set, token};
use super::setting::{Kind, Settings};
use super::value;

/// The platform of WeChat's component.
pub const PLATFORM: &str = "weixin";
/// The name of the credential that `WEIXIN_TOKEN` holds.
const TOKEN: &str = "bot-token";

/// Variables that are no settings: they name the account.
pub(super) const IDENTITY: [&str; 2] = ["WEIXIN_TOKEN", "WEIXIN_ACCOUNT_ID"];

/// The settings of an account.
pub(super) const SETTINGS: Settings = Settings {
    prefix: "WEIXIN_",
    keys: &[
        ("base-url", Kind::Url),
        ("cdn-base-url", Kind::Url),
        ("allowed-users", Kind::List),
        ("dm-policy", Kind::POLICY),
        ("group-policy", Kind::POLICY),
        ("text-limit", Kind::TEXT_LIMIT),
        ("send-interval-ms", Kind::SEND_INTERVAL),
        ("markdown", Kind::MARKDOWN),
        ("max-parts", Kind::MAX_PARTS),
        ("part-marks", Kind::ON_OFF),
        ("merge-ms", Kind::MERGE),
        ("sends-per-message", Kind::SENDS),
        ("reply-window-hours", Kind::WINDOW_HOURS),
        ("bot-agent", Kind::Text),
    ],
    schema: include_str!("../../../src/weixin/config.schema.json"),
};

/// What the environment says of WeChat.
pub struct Weixin {
    /// Which account is meant.
    pub selection: Selection,
    /// Settings for any account.
    pub defaults: BTreeMap<String, String>,
}

/// Which account the environment means.
#[derive(Clone, PartialEq, Eq)]
pub enum Selection {
    /// That of the last login.
    Latest,
    /// One that was logged in.
    Stored(String),
    /// This one.
    Given {
        /// Its id.
        id: String,
        /// Its token.
        token: String,
    },
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Selection::Latest => f.write_str("Latest"),
            Selection::Stored(id) => f.debug_tuple("Stored").field(id).finish(),
            Selection::Given { id, .. } => f
                .debug_struct("Given")
                .field("id", id)
                .finish_non_exhaustive(),
        }
    }
}

impl Selection {
    /// The values that the account uses now, by the names of the secrets.
    pub fn secrets(&self) -> BTreeMap<String, String> {
        match self {
            Selection::Latest | Selection::Stored(_) => BTreeMap::new(),
            Selection::Given { token, .. } => secrets(token),
        }
    }
}

/// An account with a token.
pub fn account(id: String, token: &str, config: BTreeMap<String, String>) -> ConfiguredAccount {
    ConfiguredAccount {
        id,
        platform: PLATFORM.to_owned(),
        secrets: secrets(token),
        config,
        agent: None,
    }
}

fn secrets(token: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(TOKEN.to_owned(), token.to_owned())])
}

/// Reads and checks the variables.
///
/// # Errors
/// One line that names the variable.
pub fn read(lookup: Lookup<'_>) -> Result<Weixin, UsageError> {
    let defaults = SETTINGS.read(lookup)?;
    let selection = match (
        token(lookup, "WEIXIN_TOKEN")?,
        set(lookup, "WEIXIN_ACCOUNT_ID")?,
    ) {
        (None, None) => Selection::Latest,
        (None, Some(id)) => Selection::Stored(id),
        (Some(token), Some(id)) => Selection::Given { id, token },
        (Some(_), None) => {
            return Err(UsageError(
                "WEIXIN_ACCOUNT_ID is missing: set it to the bot's id that belongs to \
                 WEIXIN_TOKEN, such as b0f5860fdecb@im.bot"
                    .to_owned(),
            ));
        }
    };
    Ok(Weixin {
        selection,
        defaults,
    })
}

/// An account of the file, from its members as texts. Without a token it is that of a stored login.
///
/// # Errors
/// One line that names the member.
pub(super) fn of_file(
    id: Option<String>,
    members: BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
) -> Result<ConfiguredAccount, String> {
    let mut account = ConfiguredAccount {
        id: id.ok_or("it has no `id`: set it to the bot's id")?,
        platform: PLATFORM.to_owned(),
        secrets: BTreeMap::new(),
        config: defaults.clone(),
        agent: None,
    };
    for (name, value) in members {
        if name == "token" {
            let token = value.trim();
            if token.is_empty() {
                return Err("`token` must be a text".to_owned());
            }
            let checked = value::check("token", token).and(value::check_token(token));
            checked.map_err(|why| format!("`token` {why}"))?;
            account.secrets = secrets(token);
            continue;
        }
        let setting = SETTINGS.member(&name, &value)?;
        let (key, value) = setting.ok_or_else(|| format!("`{name}` is no setting"))?;
        account.config.insert(key, value);
    }
    Ok(account)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn reading(variables: &[(&str, &str)]) -> Result<Weixin, String> {
        read(&|name| {
            variables
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| OsString::from(value))
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn each_mistake_names_its_variable() {
        for (variables, expect) in [
            (
                &[("WEIXIN_TOKEN", "t")] as &[(&str, &str)],
                "WEIXIN_ACCOUNT_ID",
            ),
            (&[("WEIXIN_DM_POLICY", "everyone")], "WEIXIN_DM_POLICY"),
            (&[("WEIXIN_DM_POLICY", "")], "WEIXIN_DM_POLICY"),
            (&[("WEIXIN_GROUP_POLICY", "Open")], "WEIXIN_GROUP_POLICY"),
            (&[("WEIXIN_ALLOWED_USERS", " , ")], "WEIXIN_ALLOWED_USERS"),
            (&[("WEIXIN_TEXT_LIMIT", "0")], "WEIXIN_TEXT_LIMIT"),
            (
                &[("WEIXIN_SEND_INTERVAL_MS", "1s")],
                "WEIXIN_SEND_INTERVAL_MS",
            ),
            (&[("WEIXIN_MARKDOWN", "html")], "WEIXIN_MARKDOWN"),
            (&[("WEIXIN_MAX_PARTS", "0")], "WEIXIN_MAX_PARTS"),
            (&[("WEIXIN_MAX_PARTS", "101")], "WEIXIN_MAX_PARTS"),
            (&[("WEIXIN_PART_MARKS", "yes")], "WEIXIN_PART_MARKS"),
            (&[("WEIXIN_MERGE_MS", "10001")], "WEIXIN_MERGE_MS"),
            (
                &[("WEIXIN_SENDS_PER_MESSAGE", "-1")],
                "WEIXIN_SENDS_PER_MESSAGE",
            ),
            (
                &[("WEIXIN_REPLY_WINDOW_HOURS", "8761")],
                "WEIXIN_REPLY_WINDOW_HOURS",
            ),
            (&[("WEIXIN_BASE_URL", "example.com")], "WEIXIN_BASE_URL"),
            (
                &[("WEIXIN_BASE_URL", "ftp://example.com")],
                "WEIXIN_BASE_URL",
            ),
            (
                &[("WEIXIN_BASE_URL", "https://u:p@example.com")],
                "WEIXIN_BASE_URL",
            ),
        ] {
            let error = reading(variables).err().unwrap();
            assert!(error.starts_with(expect), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn each_variable_reaches_the_component_by_its_key() {
        let config = reading(&[
            ("WEIXIN_MARKDOWN", "native"),
            ("WEIXIN_MAX_PARTS", "100"),
            ("WEIXIN_PART_MARKS", "off"),
            ("WEIXIN_MERGE_MS", "0"),
            ("WEIXIN_SENDS_PER_MESSAGE", " 1000000 "),
            ("WEIXIN_REPLY_WINDOW_HOURS", "0"),
        ])
        .unwrap()
        .defaults;
        for (key, value) in [
            ("markdown", "native"),
            ("max-parts", "100"),
            ("part-marks", "off"),
            ("merge-ms", "0"),
            ("sends-per-message", "1000000"),
            ("reply-window-hours", "0"),
        ] {
            assert_eq!(config[key], value, "{key}");
        }
    }

    #[test]
    fn what_a_file_of_variables_or_a_copy_adds_is_refused_and_not_shown() {
        let id = ("WEIXIN_ACCOUNT_ID", "bot@im.bot");
        for (variables, expect) in [
            (
                &[("WEIXIN_TOKEN", "\"canary\""), id] as &[(&str, &str)],
                "WEIXIN_TOKEN has quotation marks",
            ),
            (&[("WEIXIN_TOKEN", "'canary'"), id], "WEIXIN_TOKEN has quo"),
            (&[("WEIXIN_TOKEN", "Bearer canary"), id], "WEIXIN_TOKEN sta"),
            (&[("WEIXIN_TOKEN", "can\r\nary"), id], "WEIXIN_TOKEN has a"),
            (&[("WEIXIN_TOKEN", "WEIXIN_TOKEN=canary"), id], "WEIXIN_TO"),
            (&[("WEIXIN_TOKEN", "${canary}"), id], "WEIXIN_TOKEN is a pl"),
            (&[("WEIXIN_TOKEN", "canary x"), id], "WEIXIN_TOKEN has a bl"),
            (
                &[("WEIXIN_TOKEN", "t"), ("WEIXIN_ACCOUNT_ID", "\"canary\"")],
                "WEIXIN_ACCOUNT_ID has quotation marks",
            ),
            (
                &[("WEIXIN_ALLOWED_USERS", "*")],
                "WEIXIN_ALLOWED_USERS has a *",
            ),
            (
                &[("WEIXIN_BASE_URL", "\"http://canary\"")],
                "WEIXIN_BASE_URL",
            ),
            (&[("WEIXIN_TEXT_LIMIT", "\"2000\"")], "WEIXIN_TEXT_LIMIT"),
            (
                &[("WEIXIN_MARKDOWN", "'native'")],
                "WEIXIN_MARKDOWN has quo",
            ),
            (&[("WEIXIN_BOT_AGENT", "\"canary\"")], "WEIXIN_BOT_AGENT"),
        ] {
            let error = reading(variables).err().unwrap();
            assert!(error.starts_with(expect), "{error}");
            assert!(!error.contains("canary"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        // What is around it is not meant.
        let found = reading(&[("WEIXIN_TOKEN", " canary\r\n"), ("WEIXIN_ACCOUNT_ID", "b ")]);
        let given = Selection::Given {
            id: "b".into(),
            token: "canary".into(),
        };
        assert!(found.unwrap().selection == given);
    }

    #[test]
    fn the_token_is_a_secret_and_no_configuration() {
        let found = reading(&[
            ("WEIXIN_TOKEN", " canary "),
            ("WEIXIN_ACCOUNT_ID", "bot@im.bot"),
            ("WEIXIN_ALLOWED_USERS", "a,b"),
        ])
        .unwrap();
        assert_eq!(
            found.selection,
            Selection::Given {
                id: "bot@im.bot".into(),
                token: "canary".into()
            }
        );
        assert_eq!(found.defaults["allowed-users"], "a,b");
        assert!(!format!("{:?} {:?}", found.selection, found.defaults).contains("canary"));
        let stored = reading(&[("WEIXIN_ACCOUNT_ID", "bot@im.bot")]).unwrap();
        assert_eq!(stored.selection, Selection::Stored("bot@im.bot".into()));
        assert_eq!(reading(&[]).unwrap().selection, Selection::Latest);
    }
}
