//! The file of accounts: TOML, one `[[account]]` each, with the settings of the environment in lower
//! case and without their prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

use super::environment;
use crate::agent::AgentSpec;

/// An account of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileAccount {
    /// Its id.
    pub id: String,
    /// Its token; none: the stored credential of a login.
    pub token: Option<String>,
    /// Who answers; none: the agent of the command line.
    pub agent: Option<AgentSpec>,
    /// Its settings, by the component's keys.
    pub config: BTreeMap<String, String>,
}

impl std::fmt::Debug for FileAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileAccount")
            .field("id", &self.id)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Reads the file. `defaults` are settings that hold where an account has none of its own.
///
/// # Errors
/// One line that names the file, the account and the setting.
pub fn read(path: &Path, defaults: &BTreeMap<String, String>) -> Result<Vec<FileAccount>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--accounts {}: {error}", path.display()))?;
    parse(&text, defaults).map_err(|why| format!("--accounts {}: {why}", path.display()))
}

fn parse(text: &str, defaults: &BTreeMap<String, String>) -> Result<Vec<FileAccount>, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        // The whole message shows the line, which may hold a token.
        let line = error.span().map(|span| {
            text.get(..span.start)
                .unwrap_or_default()
                .matches('\n')
                .count()
                + 1
        });
        let line = line
            .map(|line| format!("line {line}: "))
            .unwrap_or_default();
        format!(
            "{line}{}",
            error.message().lines().next().unwrap_or_default()
        )
    })?;
    if let Some(name) = table.keys().find(|name| *name != "account") {
        return Err(format!(
            "`{name}` is unknown: write one [[account]] for each account"
        ));
    }
    let list = match table.get("account") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("write [[account]] with two brackets".to_owned()),
    };
    let mut ids = BTreeSet::new();
    let mut accounts = Vec::new();
    for (place, item) in list.iter().enumerate() {
        let Value::Table(settings) = item else {
            return Err(format!("account {} is no table", place + 1));
        };
        let id = match settings.get("id") {
            Some(Value::String(id)) if !id.trim().is_empty() => id.trim().to_owned(),
            _ => {
                return Err(format!(
                    "account {} has no `id`: set it to the bot's id",
                    place + 1
                ));
            }
        };
        if !ids.insert(id.clone()) {
            return Err(format!("account {id} is there twice"));
        }
        let account = account(id.clone(), settings, defaults);
        accounts.push(account.map_err(|why| format!("account {id}: {why}"))?);
    }
    Ok(accounts)
}

fn account(
    id: String,
    settings: &Table,
    defaults: &BTreeMap<String, String>,
) -> Result<FileAccount, String> {
    let mut account = FileAccount {
        id,
        token: None,
        agent: None,
        config: defaults.clone(),
    };
    for (name, value) in settings {
        match name.as_str() {
            "id" => {}
            "token" => match value {
                Value::String(token) if !token.trim().is_empty() => {
                    account.token = Some(token.trim().to_owned());
                }
                _ => return Err("`token` must be a text".to_owned()),
            },
            "agent" => {
                let spec = value.as_str().ok_or("`agent` must be a text")?;
                let spec = spec
                    .parse()
                    .map_err(|error| format!("{error}").replace("--agent", "`agent`"))?;
                if matches!(spec, AgentSpec::OpenAi(_)) {
                    return Err("`agent` openai: is for --agent alone".to_owned());
                }
                account.agent = Some(spec);
            }
            name => {
                let (key, value) = environment::setting(name, &as_text(name, value)?)?;
                account.config.insert(key, value);
            }
        }
    }
    Ok(account)
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
        let defaults = BTreeMap::from([("text-limit".to_owned(), "100".to_owned())]);
        parse(text, &defaults)
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
        assert_eq!(first.token.as_deref(), Some("t"));
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
    fn a_mistake_is_one_line_that_names_it_and_no_secret() {
        for (text, expect) in [
            ("[account]\nid = \"a\"", "two brackets"),
            ("x = 1", "`x` is unknown"),
            ("[[account]]", "account 1 has no `id`"),
            ("[[account]]\nid = \"\"", "has no `id`"),
            (
                "[[account]]\nid=\"a\"\n[[account]]\nid=\"a\"",
                "account a is there twice",
            ),
            ("[[account]]\nid=\"a\"\ncolour=\"red\"", "`colour`"),
            ("[[account]]\nid=\"a\"\ntext_limit=0", "text_limit"),
            ("[[account]]\nid=\"a\"\nallowed_users=[1]", "list of texts"),
            ("[[account]]\nid=\"a\"\ndm_policy=\"everyone\"", "dm_policy"),
            ("[[account]]\nid=\"a\"\nagent=\"x\"", "`agent` is unknown"),
            ("[[account]]\nid=\"a\"\ntoken=\"s3cret", "line 3"),
            ("[[account]]\nid=\"a\"\ntoken=5", "`token`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
            assert!(
                !error.contains("s3cret") && error.lines().count() == 1,
                "{error}"
            );
        }
    }
}
