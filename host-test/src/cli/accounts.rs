//! The file of accounts: TOML, one `[[account]]` each, with the settings of the environment in lower
//! case and without their prefix. `kind` says whose they are: `weixin`, also without a word, or `wecom`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::account::{ConfiguredAccount, Defaults};
use super::options::AllowEgress;
use super::{pin, value, wecom, weixin};
use gateway_host::agent::AgentSpec;

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AccountsFile {
    /// The accounts, in their order.
    pub accounts: Vec<ConfiguredAccount>,
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
        let allowed = pinned.entry(platform.clone()).or_default();
        for origin in origins {
            let origin = origin.as_str().ok_or(WRONG)?;
            pin::check(platform, origin).map_err(|why| format!("`allow_egress`: {why}"))?;
            allowed.push(origin.to_owned());
        }
    }
    match pinned
        .keys()
        .any(|name| ![weixin::PLATFORM, wecom::PLATFORM].contains(&name.as_str()))
    {
        true => Err(format!(
            "`allow_egress`: a platform of it is unknown: use {} or {}",
            weixin::PLATFORM,
            wecom::PLATFORM
        )),
        false => Ok(pinned),
    }
}

/// The `[[account]]`s.
fn accounts(list: Option<&Value>, defaults: &Defaults) -> Result<Vec<ConfiguredAccount>, String> {
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

fn account(settings: &Table, defaults: &Defaults) -> Result<ConfiguredAccount, String> {
    let id = match settings.get("id") {
        Some(Value::String(id)) if !id.trim().is_empty() => {
            let id = id.trim();
            value::check("id", id).map_err(|why| format!("`id` {why}"))?;
            Some(id.to_owned())
        }
        Some(_) => return Err("`id` must be a text".to_owned()),
        None => None,
    };
    let agent = settings.get("agent").map(agent).transpose()?;
    let (of_file, defaults): (OfFile, _) = match settings.get("kind").map(Value::as_str) {
        None | Some(Some(weixin::PLATFORM)) => {
            if settings.get("token").is_some_and(|token| !token.is_str()) {
                return Err("`token` must be a text".to_owned());
            }
            (weixin::of_file, &defaults.weixin)
        }
        Some(Some(wecom::PLATFORM)) => (wecom::of_file, &defaults.wecom),
        Some(_) => return Err("`kind` is unknown: use \"weixin\" or \"wecom\"".to_owned()),
    };
    let mut members = BTreeMap::new();
    for (name, value) in settings {
        if !["id", "kind", "agent"].contains(&name.as_str()) {
            members.insert(name.clone(), as_text(name, value)?);
        }
    }
    let account = of_file(id, members, defaults)?;
    Ok(ConfiguredAccount { agent, ..account })
}

/// Makes an account of a platform from its id, its members and the defaults.
type OfFile = fn(
    Option<String>,
    BTreeMap<String, String>,
    &BTreeMap<String, String>,
) -> Result<ConfiguredAccount, String>;

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
mod tests;
