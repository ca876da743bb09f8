//! The environment's variables, with the names that users know.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{UsageError, value};
use gateway_host::admin::Token;
use gateway_host::agent::{self, AgentSpec, openai};
use gateway_host::egress::rule::Rule;

/// The platform of the accounts that the `WEIXIN_` variables name.
pub const PLATFORM: &str = "weixin";

/// Finds a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What the environment says.
pub struct Environment {
    /// Which account is meant.
    pub wanted: Wanted,
    /// The component's configuration, without the account.
    pub config: BTreeMap<String, String>,
}

/// Which account is meant.
#[derive(Clone, PartialEq, Eq)]
pub enum Wanted {
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

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wanted::Latest => f.write_str("Latest"),
            Wanted::Stored(id) => f.debug_tuple("Stored").field(id).finish(),
            Wanted::Given { id, .. } => f
                .debug_struct("Given")
                .field("id", id)
                .finish_non_exhaustive(),
        }
    }
}

/// What a variable may hold.
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

pub(super) const POLICY: Kind = Kind::Choice(&["open", "allowlist", "disabled"]);

/// Each variable, the component's key for it, and what it may hold.
const VARIABLES: [(&str, &str, Kind); 14] = [
    ("WEIXIN_BASE_URL", "base-url", Kind::Url),
    ("WEIXIN_CDN_BASE_URL", "cdn-base-url", Kind::Url),
    ("WEIXIN_ALLOWED_USERS", "allowed-users", Kind::List),
    ("WEIXIN_DM_POLICY", "dm-policy", POLICY),
    ("WEIXIN_GROUP_POLICY", "group-policy", POLICY),
    ("WEIXIN_TEXT_LIMIT", "text-limit", Kind::TEXT_LIMIT),
    (
        "WEIXIN_SEND_INTERVAL_MS",
        "send-interval-ms",
        Kind::SEND_INTERVAL,
    ),
    ("WEIXIN_MARKDOWN", "markdown", Kind::MARKDOWN),
    ("WEIXIN_MAX_PARTS", "max-parts", Kind::MAX_PARTS),
    ("WEIXIN_PART_MARKS", "part-marks", Kind::ON_OFF),
    ("WEIXIN_MERGE_MS", "merge-ms", Kind::MERGE),
    ("WEIXIN_SENDS_PER_MESSAGE", "sends-per-message", Kind::SENDS),
    (
        "WEIXIN_REPLY_WINDOW_HOURS",
        "reply-window-hours",
        Kind::WINDOW_HOURS,
    ),
    ("WEIXIN_BOT_AGENT", "bot-agent", Kind::Text),
];

/// Reads and checks the variables.
///
/// # Errors
/// One line that names the variable.
pub fn read(lookup: Lookup<'_>) -> Result<Environment, UsageError> {
    let mut config = BTreeMap::new();
    for (name, key, kind) in &VARIABLES {
        let Some(value) = text(lookup, name)? else {
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
    let wanted = match (
        token(lookup, "WEIXIN_TOKEN")?,
        set(lookup, "WEIXIN_ACCOUNT_ID")?,
    ) {
        (None, None) => Wanted::Latest,
        (None, Some(id)) => Wanted::Stored(id),
        (Some(token), Some(id)) => Wanted::Given { id, token },
        (Some(_), None) => {
            return Err(UsageError(
                "WEIXIN_ACCOUNT_ID is missing: set it to the bot's id that belongs to \
                 WEIXIN_TOKEN, such as b0f5860fdecb@im.bot"
                    .to_owned(),
            ));
        }
    };
    Ok(Environment { wanted, config })
}

/// A setting of the accounts' file: the component's key, and its value as the component wants it.
///
/// # Errors
/// One line that names the setting.
pub(super) fn setting(name: &str, value: &str) -> Result<(String, String), String> {
    let variable = format!("WEIXIN_{}", name.to_ascii_uppercase());
    let is_lower = name == name.to_ascii_lowercase();
    let known = VARIABLES
        .iter()
        .find(|(other, _, _)| is_lower && *other == variable);
    let Some((_, key, kind)) = known else {
        return Err(format!("`{name}` is no setting"));
    };
    let value = value.trim();
    value::check(name, value).map_err(|why| format!("`{name}` {why}"))?;
    kind.check(value).map_err(|why| format!("`{name}` {why}"))?;
    Ok(((*key).to_owned(), value.to_owned()))
}

/// What exec agents get of the environment. `said` are the values of `--agent-env`.
///
/// # Errors
/// One line, when one of them names no variable.
pub fn of_agents(
    lookup: Lookup<'_>,
    agent: &AgentSpec,
    said: &[OsString],
) -> Result<agent::environment::Environment, UsageError> {
    let mut environment = agent::environment::Environment::default();
    // Others' own tools need the key; here it is the gateway's.
    let openai = matches!(agent, AgentSpec::OpenAi(_)).then_some("OPENAI_API_KEY");
    for name in agent::environment::SECRETS.into_iter().chain(openai) {
        environment.withhold(name);
        if let Some(value) = set(lookup, name)? {
            environment.withhold_value(&value);
        }
    }
    for name in said {
        let bytes = name.as_bytes();
        let (bytes, passes) = match bytes.strip_prefix(b"-") {
            Some(bytes) => (bytes, false),
            None => (bytes, true),
        };
        if bytes.is_empty() || bytes.iter().any(|byte| b"=\0".contains(byte)) {
            return Err(UsageError(
                "--agent-env names no variable: write --agent-env NAME to pass it, or \
                 --agent-env -NAME to withhold it"
                    .to_owned(),
            ));
        }
        environment.say(OsStr::from_bytes(bytes), passes);
    }
    Ok(environment)
}

/// The token of the operator's API.
///
/// # Errors
/// One line, when there is none.
pub fn admin_token(lookup: Lookup<'_>) -> Result<Token, UsageError> {
    let token = token(lookup, "HOST_ADMIN_TOKEN")?;
    token.as_deref().and_then(Token::new).ok_or_else(|| {
        UsageError(
            "HOST_ADMIN_TOKEN is missing: --admin serves nothing without it, so set it to a long \
             random text"
                .to_owned(),
        )
    })
}

/// The token of a simulator's control paths; none: one is drawn.
///
/// # Errors
/// One line, when no header can carry it.
pub fn simulator_token(lookup: Lookup<'_>) -> Result<Option<String>, UsageError> {
    let token = set(lookup, "WEIXIN_SIM_TOKEN")?;
    match token {
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => Err(UsageError(
            "WEIXIN_SIM_TOKEN holds characters that no header can carry: use letters and digits"
                .to_owned(),
        )),
        token => Ok(token),
    }
}

/// What an openai agent needs.
///
/// # Errors
/// One line that names the variable.
pub fn openai(
    lookup: Lookup<'_>,
    system_prompt: Option<String>,
) -> Result<openai::Settings, UsageError> {
    let model = set(lookup, "OPENAI_MODEL")?.ok_or_else(|| {
        UsageError(
            "OPENAI_MODEL is missing: set it to the name of a model that the server of --agent \
             openai: has"
                .to_owned(),
        )
    })?;
    let key = token(lookup, "OPENAI_API_KEY")?;
    let key = key.map(|key| {
        openai::Key::new(&key).ok_or_else(|| {
            UsageError(
                "OPENAI_API_KEY holds characters that no header can carry: set it to the key alone"
                    .to_owned(),
            )
        })
    });
    Ok(openai::Settings {
        model,
        key: key.transpose()?,
        system_prompt,
    })
}

pub(super) fn text(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, UsageError> {
    let Some(text) = lookup(name) else {
        return Ok(None);
    };
    let text = text
        .into_string()
        .map_err(|_| UsageError(format!("{name} is no UTF-8 text")))?;
    value::check(name, text.trim()).map_err(|why| UsageError(format!("{name} {why}")))?;
    Ok(Some(text))
}

/// A variable's value without blanks around it; none when nothing is left.
pub(super) fn set(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, UsageError> {
    let value = text(lookup, name)?.map(|value| value.trim().to_owned());
    Ok(value.filter(|value| !value.is_empty()))
}

/// The same for a token.
pub(super) fn token(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, UsageError> {
    let token = set(lookup, name)?;
    if let Some(token) = &token {
        value::check_token(token).map_err(|why| UsageError(format!("{name} {why}")))?;
    }
    Ok(token)
}

const fn number(least: u64, most: u64) -> Kind {
    Kind::Number { least, most }
}

impl Kind {
    pub(super) const MARKDOWN: Kind = Kind::Choice(&["plain", "native"]);
    pub(super) const ON_OFF: Kind = Kind::Choice(&["on", "off"]);
    pub(super) const TEXT_LIMIT: Kind = number(1, 1_000_000);
    pub(super) const SEND_INTERVAL: Kind = number(0, 3_600_000);
    pub(super) const MAX_PARTS: Kind = number(1, 100);
    pub(super) const MERGE: Kind = number(0, 10_000);
    pub(super) const SENDS: Kind = number(0, 1_000_000);
    pub(super) const WINDOW_HOURS: Kind = number(0, 8760);

    /// Whether an empty variable is the same as none.
    pub(super) fn may_be_empty(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(variables: &[(&str, &str)]) -> Result<Environment, String> {
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
        .config;
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
        let given = Wanted::Given {
            id: "b".into(),
            token: "canary".into(),
        };
        assert!(found.unwrap().wanted == given);
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
            found.wanted,
            Wanted::Given {
                id: "bot@im.bot".into(),
                token: "canary".into()
            }
        );
        assert_eq!(found.config["allowed-users"], "a,b");
        assert!(!format!("{:?} {:?}", found.wanted, found.config).contains("canary"));
        let stored = reading(&[("WEIXIN_ACCOUNT_ID", "bot@im.bot")]).unwrap();
        assert_eq!(stored.wanted, Wanted::Stored("bot@im.bot".into()));
        assert_eq!(reading(&[]).unwrap().wanted, Wanted::Latest);
    }
}
