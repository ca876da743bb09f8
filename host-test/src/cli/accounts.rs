//! The file of accounts: TOML, one `[[account]]` each, with the settings of the environment in lower
//! case and without their prefix. `kind` says whose they are: `weixin`, also without a word, or `wecom`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::wecom::{self, WecomAccount};
use super::{AllowEgress, WECOM, WEIXIN, allow_egress, environment, value};
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

/// What an account is let in with.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// A token of WeChat's; none: the stored credential of a login.
    Weixin(Option<String>),
    /// An app of WeCom's: its secrets.
    Wecom(BTreeMap<String, String>),
}

/// An account of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileAccount {
    /// Its id.
    pub id: String,
    /// Its platform, and what lets it in there.
    pub access: Access,
    /// Who answers; none: the agent of the command line.
    pub agent: Option<AgentSpec>,
    /// Its settings, by the component's keys.
    pub config: BTreeMap<String, String>,
}

impl std::fmt::Debug for FileAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileAccount")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AccountsFile {
    /// The accounts, in their order.
    pub accounts: Vec<FileAccount>,
    /// Origins that are pinned, by platform.
    pub allow_egress: AllowEgress,
}

/// Reads the file.
///
/// # Errors
/// One line that names the file, the account by its place and the setting by its name. It repeats no
/// value, not even an id: a secret may stand in the wrong place.
pub fn read(path: &Path, defaults: &Defaults) -> Result<AccountsFile, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--accounts {}: {error}", path.display()))?;
    parse(&text, defaults).map_err(|why| format!("--accounts {}: {why}", path.display()))
}

fn parse(text: &str, defaults: &Defaults) -> Result<AccountsFile, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        // What `Display` shows of an error has the line in it.
        let place = error.span().map(|span| line_of(text, span.start));
        let place = place.map(|line| format!("line {line}: "));
        let what = error.message().lines().next().unwrap_or_default();
        format!("{}{what}", place.unwrap_or_default())
    })?;
    let known = |name: &&String| !["account", "allow_egress"].contains(&name.as_str());
    if let Some(name) = table.keys().find(known) {
        return Err(format!(
            "`{name}` is unknown: write one [[account]] for each account, and [allow_egress]"
        ));
    }
    let allow_egress = pinned(table.get("allow_egress"))?;
    Ok(AccountsFile {
        accounts: accounts(table.get("account"), defaults)?,
        allow_egress,
    })
}

/// `[allow_egress]`: of each platform a list of origins.
fn pinned(value: Option<&Value>) -> Result<AllowEgress, String> {
    const WRONG: &str =
        "`allow_egress` must have a list of origins for each platform: weixin = [\"https://…\"]";
    let table = match value {
        None => return Ok(AllowEgress::new()),
        Some(Value::Table(table)) => table,
        Some(_) => return Err(WRONG.to_owned()),
    };
    let mut pinned = AllowEgress::new();
    for (platform, origins) in table {
        let Value::Array(origins) = origins else {
            return Err(WRONG.to_owned());
        };
        // Also without an origin: then nothing is reached but what is configured.
        pinned.entry(platform.clone()).or_default();
        for origin in origins {
            let origin = origin.as_str().ok_or(WRONG)?;
            allow_egress(&mut pinned, platform, origin)
                .map_err(|why| format!("`allow_egress`: {why}"))?;
        }
    }
    match pinned
        .keys()
        .any(|name| ![WEIXIN, WECOM].contains(&name.as_str()))
    {
        true => Err(format!(
            "`allow_egress`: a platform of it is unknown: use {WEIXIN} or {WECOM}"
        )),
        false => Ok(pinned),
    }
}

/// The `[[account]]`s.
fn accounts(list: Option<&Value>, defaults: &Defaults) -> Result<Vec<FileAccount>, String> {
    let list = match list {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("write [[account]] with two brackets".to_owned()),
    };
    let mut places = BTreeMap::new();
    let mut accounts = Vec::new();
    for (place, item) in (1..).zip(list) {
        let Value::Table(settings) = item else {
            return Err(format!("account {place} is no table"));
        };
        let account = account(settings, defaults);
        let account = account.map_err(|why| format!("account {place}: {why}"))?;
        if let Some(earlier) = places.insert(account.id.clone(), place) {
            return Err(format!("accounts {earlier} and {place} have the same `id`"));
        }
        accounts.push(account);
    }
    Ok(accounts)
}

/// The line of a text that an offset is in, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn account(settings: &Table, defaults: &Defaults) -> Result<FileAccount, String> {
    let id = match settings.get("id") {
        Some(Value::String(id)) if !id.trim().is_empty() => {
            let id = id.trim();
            value::check("id", id).map_err(|why| format!("`id` {why}"))?;
            Some(id.to_owned())
        }
        Some(_) => return Err("`id` must be a text".to_owned()),
        None => None,
    };
    let agent = match settings.get("agent") {
        None => None,
        Some(value) => Some(agent(value)?),
    };
    let mut others = settings.iter();
    let mut others = others
        .by_ref()
        .filter(|(name, _)| !["id", "kind", "agent"].contains(&name.as_str()));
    match settings.get("kind").map(Value::as_str) {
        None | Some(Some("weixin")) => {
            let id = id.ok_or("it has no `id`: set it to the bot's id")?;
            let mut token = None;
            let mut config = defaults.weixin.clone();
            for (name, value) in others {
                if name == "token" {
                    let text = value
                        .as_str()
                        .map(str::trim)
                        .filter(|text| !text.is_empty());
                    let text = text.ok_or("`token` must be a text")?;
                    let checked = value::check("token", text).and(value::check_token(text));
                    checked.map_err(|why| format!("`token` {why}"))?;
                    token = Some(text.to_owned());
                    continue;
                }
                let (key, value) = environment::setting(name, &as_text(name, value)?)?;
                config.insert(key, value);
            }
            Ok(FileAccount {
                id,
                access: Access::Weixin(token),
                agent,
                config,
            })
        }
        Some(Some("wecom")) => {
            let settings = others.try_fold(BTreeMap::new(), |mut settings, (name, value)| {
                settings.insert(name.clone(), as_text(name, value)?);
                Ok::<_, String>(settings)
            })?;
            let WecomAccount {
                id,
                secrets,
                config,
            } = wecom::of_file(id, settings, &defaults.wecom)?;
            Ok(FileAccount {
                id,
                access: Access::Wecom(secrets),
                agent,
                config,
            })
        }
        Some(_) => Err("`kind` is unknown: use \"weixin\" or \"wecom\"".to_owned()),
    }
}

fn agent(value: &Value) -> Result<AgentSpec, String> {
    let spec = value.as_str().ok_or("`agent` must be a text")?;
    let spec = spec
        .parse()
        .map_err(|error| format!("{error}").replace("--agent", "`agent`"))?;
    match spec {
        AgentSpec::OpenAi(_) => Err("`agent` openai: is for --agent alone".to_owned()),
        AgentSpec::Echo | AgentSpec::Http(_) | AgentSpec::Exec(_) => Ok(spec),
    }
}

/// As the environment would have it.
fn as_text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(true) => Ok("on".to_owned()),
        Value::Boolean(false) => Ok("off".to_owned()),
        Value::Array(list) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            let texts = texts.ok_or_else(|| format!("`{name}` must be a list of texts"))?;
            for text in &texts {
                value::check(name, text.trim()).map_err(|why| format!("`{name}` {why}"))?;
            }
            Ok(texts.join(","))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => Err(format!(
            "`{name}` must be a text, a number, true, false or a list of texts"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<FileAccount>, String> {
        let limit = |limit: &str| BTreeMap::from([("text-limit".to_owned(), limit.to_owned())]);
        let defaults = Defaults {
            weixin: limit("100"),
            wecom: limit("300"),
        };
        parse(text, &defaults).map(|file| file.accounts)
    }

    #[test]
    fn accounts_have_the_settings_of_the_environment() {
        let accounts = read(
            r#"
            [[account]]
            id = "a@im.bot"
            token = " t "
            base_url = "http://127.0.0.1:1"
            allowed_users = ["alice", "bob"]
            send_interval_ms = 0
            part_marks = true
            agent = "http://127.0.0.1:2"
            [[account]]
            id = "b@im.bot"
            text_limit = 200
            "#,
        )
        .unwrap();
        assert_eq!(accounts.len(), 2);
        let (first, second) = (&accounts[0], &accounts[1]);
        assert!(first.access == Access::Weixin(Some("t".to_owned())));
        assert_eq!(first.config["allowed-users"], "alice,bob");
        assert_eq!(first.config["send-interval-ms"], "0");
        assert_eq!(first.config["part-marks"], "on");
        assert_eq!(first.config["text-limit"], "100");
        assert!(first.agent.is_some() && second.agent.is_none());
        assert_eq!(second.config["text-limit"], "200");
        assert!(!format!("{first:?}").contains('t') || !format!("{first:?}").contains("\"t\""));
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn an_app_of_wecom_is_called_by_its_corp_unless_it_has_an_id() {
        let app = |more: &str| {
            format!(
                "[[account]]\nkind = \"wecom\"\ncorp_id = \"ww1\"\nagent_id = 1000002\n\
                 secret = \"s3cret\"\ntoken = \"t0ken\"\nencoding_aes_key = \"{}\"\n{more}\n",
                "k".repeat(43)
            )
        };
        let text = app("allowed_users = [\"alice\"]") + &app("id = \"second\"\ntext_limit = 5");
        let accounts = read(&text).unwrap();
        let [first, second] = accounts.as_slice() else {
            panic!("{accounts:?}");
        };
        assert_eq!((&*first.id, &*second.id), ("ww1", "second"));
        let secrets = [("corp-secret".to_owned(), "s3cret".to_owned())].into();
        assert!(first.access == Access::Wecom(secrets));
        assert_eq!(first.config["agent-id"], "1000002");
        assert_eq!(first.config["token"], "t0ken");
        assert_eq!(first.config["allowed-users"], "alice");
        assert_eq!(first.config["text-limit"], "300");
        assert_eq!(second.config["text-limit"], "5");
        let shown = format!("{first:?}");
        for secret in ["s3cret", "t0ken", "kkk"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(
            read(&(app("") + &app("")))
                .unwrap_err()
                .contains("same `id`")
        );
    }

    #[test]
    fn origins_are_pinned_for_a_platform() {
        let text = "[allow_egress]\nweixin = [\"https://a.example\", \"https://*.b.example\"]\n\
                    wecom = []\n[[account]]\nid = \"a\"";
        let file = parse(text, &Defaults::default()).unwrap();
        assert_eq!(file.accounts.len(), 1);
        let origins = [
            "https://a.example".to_owned(),
            "https://*.b.example".to_owned(),
        ];
        assert_eq!(file.allow_egress["weixin"], origins);
        assert_eq!(file.allow_egress["wecom"], [""; 0]);
        assert_eq!(file.allow_egress.len(), 2);
    }

    #[test]
    fn a_mistake_is_one_line_that_names_it_and_no_secret() {
        for (text, expect) in [
            ("[account]\nid = \"a\"", "two brackets"),
            ("x = 1", "`x` is unknown"),
            ("allow_egress = \"https://a\"", "`allow_egress` must have"),
            (
                "[allow_egress]\nweixin = \"https://a\"",
                "`allow_egress` must",
            ),
            ("[allow_egress]\nweixin = [1]", "`allow_egress` must"),
            ("[allow_egress]\nqq = []", "a platform of it is unknown"),
            ("[allow_egress]\nweixin = [\"http://a\"]", "https://"),
            (
                "[allow_egress]\nweixin = [\"https://a/b\"]",
                "host and a port",
            ),
            ("[[account]]", "account 1: it has no `id`"),
            ("[[account]]\nid = \"\"", "account 1: `id` must be a text"),
            ("[[account]]\nid=\"a\"\nkind=\"qq\"", "`kind` is unknown"),
            ("[[account]]\nid=\"a\"\nkind=1", "`kind` is unknown"),
            (
                "[[account]]\nkind=\"wecom\"",
                "account 1: `corp_id` is missing",
            ),
            (
                "[[account]]\nkind=\"wecom\"\nencoding_aes_key=\"s3cret\"\ncorp_id=\"a\"\nagent_id=1\ntoken=\"t\"",
                "`encoding_aes_key` is not the 43",
            ),
            (
                "[[account]]\nkind=\"wecom\"\nbot_agent=\"a\"",
                "`bot_agent` is no setting of a wecom account",
            ),
            (
                "[[account]]\nkind=\"wecom\"\nagent-id=1",
                "`agent-id` is no setting",
            ),
            ("[[account]]\nid=\"a\"\nsecret=\"s3cret\"", "`secret`"),
            (
                "[[account]]\nid=\"s3cret\"\n[[account]]\nid=\"s3cret\"",
                "accounts 1 and 2 have the same `id`",
            ),
            ("[[account]]\nid=\"a\"\ncolour=\"red\"", "`colour`"),
            ("[[account]]\nid=\"a\"\ntext_limit=0", "text_limit"),
            ("[[account]]\nid=\"a\"\nallowed_users=[1]", "list of texts"),
            ("[[account]]\nid=\"a\"\ndm_policy=\"everyone\"", "dm_policy"),
            ("[[account]]\nid=\"a\"\nagent=\"x\"", "`agent` is unknown"),
            ("[[account]]\nid=\"a\"\ntoken=\"s3cret", "line 3"),
            ("[[account]]\nid=\"a\"\ntoken=5", "`token`"),
            (
                "[[account]]\nid=\"a\"\ntoken='\"s3cret\"'",
                "account 1: `token` has quotation marks",
            ),
            (
                "[[account]]\nid=\"a\"\ntoken=\"Bearer s3cret\"",
                "`token` starts with",
            ),
            ("[[account]]\nid='\"a\"'", "account 1: `id` has quotation"),
            (
                "[[account]]\nid=\"a\"\nallowed_users=[\"*\"]",
                "`allowed_users` has a *",
            ),
            (
                "[[account]]\nid=\"a\"\nallowed_users=['\"b\"', \"c\"]",
                "`allowed_users` has quotation marks",
            ),
            (
                "[[account]]\nid=\"a\"\nallowed_users=\"b;c\"",
                "`allowed_users` has something in it",
            ),
            (
                "[[account]]\nid=\"a\"\nbase_url='\"http://b\"'",
                "`base_url` has quotation marks",
            ),
            (
                "[[account]]\nkind=\"wecom\"\nsecret=\"'s3cret'\"",
                "`secret` has quotation marks",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
            assert!(
                !error.contains("s3cret") && error.lines().count() == 1,
                "{error}"
            );
        }
    }

    /// Of any member, and of each kind of value, wherever in the file: nothing of it is in the error.
    #[test]
    fn a_secret_in_the_wrong_member_is_not_repeated() {
        const MEMBERS: [&str; 20] = [
            "id",
            "kind",
            "agent",
            "token",
            "base_url",
            "cdn_base_url",
            "allowed_users",
            "dm_policy",
            "group_policy",
            "text_limit",
            "send_interval_ms",
            "markdown",
            "max_parts",
            "part_marks",
            "merge_ms",
            "corp_id",
            "agent_id",
            "encoding_aes_key",
            "api_base_url",
            "unknown",
        ];
        const VALUES: [&str; 12] = [
            "\"s3cret\"",
            "s3cret",
            "\"s3cret",
            "\"\"\"\ns3cret\n\"\"\"",
            "[\"s3cret\", 5]",
            "{s3cret = 1, s3cret = 2}",
            "{a = \"s3cret\"}",
            "\"http://u:s3cret@host/\"",
            "\"https://host/?s3cret#s3cret\"",
            "\"exec:s3cret\\u0000\"",
            "\"\\s3cret\"",
            "0xs3cret",
        ];
        let mut mistakes = 0;
        for member in MEMBERS {
            for value in VALUES {
                for text in [
                    format!("[[account]]\n{member} = {value}\n"),
                    format!("[[account]]\nid = \"a\"\n{member} = {value}\n"),
                    format!("[[account]]\nkind = \"wecom\"\n{member} = {value}\n"),
                    format!("[[account]]\n{member} = {value}\n{member} = {value}\n"),
                    format!("[[account]]\nid = {value}\n[[account]]\nid = {value}\n"),
                    format!("{member} = {value}\n"),
                    format!("[account]\n{member} = {value}\n"),
                    format!("[[account]]\n{member} {value}\n"),
                ] {
                    if let Err(error) = read(&text) {
                        mistakes += 1;
                        assert!(!error.contains("s3cret"), "{text}: {error}");
                        assert_eq!(error.lines().count(), 1, "{error}");
                    }
                }
            }
        }
        assert!(mistakes > 1500, "{mistakes}");
    }
}
