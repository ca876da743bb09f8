//! Strict mode: headers and bodies compared with what the official client sends.
//!
//! The real server ignores most of what is checked here, so a violation is only reported. No
//! sentence of a violation holds a secret.

mod item;
mod login;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::endpoint::Endpoint;
pub(super) use login::login;

/// A header, what it must be, and whether it is.
type Check<'a> = (&'a str, &'a str, &'a dyn Fn(&str) -> bool);

/// The fields of `getuploadurl`.
const UPLOAD_FIELDS: [&str; 8] = [
    "filekey",
    "media_type",
    "to_user_id",
    "rawsize",
    "rawfilemd5",
    "filesize",
    "no_need_thumb",
    "aeskey",
];

/// What is wrong with the app headers and `base_info`; the bearer token was checked before.
pub(super) fn app_headers(headers: &HeaderMap, body: &Value) -> Vec<String> {
    let mut found = Found::default();
    let version = body["base_info"]["channel_version"]
        .as_str()
        .unwrap_or_default();
    let checks: [Check<'_>; 5] = [
        ("Content-Type", "`application/json`", &|value| {
            value == "application/json"
        }),
        ("AuthorizationType", "`ilink_bot_token`", &|value| {
            value == "ilink_bot_token"
        }),
        ("X-WECHAT-UIN", "the base64 of a decimal u32", &is_uin),
        ("iLink-App-Id", "`bot`", &|value| value == "bot"),
        (
            "iLink-App-ClientVersion",
            "the number of base_info.channel_version",
            &|value| client_version(version).is_some_and(|number| number.to_string() == value),
        ),
    ];
    found.headers(headers, &checks);
    if headers.get_all("Authorization").iter().count() != 1 {
        found.add("the header Authorization is not there exactly once".to_owned());
    }
    let base_info = found.members(body, "base_info", &["channel_version", "bot_agent"], &[]);
    if let Some(base_info) = base_info {
        if base_info["channel_version"]
            .as_str()
            .is_none_or(str::is_empty)
        {
            found.add("base_info.channel_version is no version".to_owned());
        }
        if !base_info["bot_agent"].as_str().is_some_and(is_bot_agent) {
            found.add("base_info.bot_agent does not follow its grammar".to_owned());
        }
    }
    found.0
}

/// What the official client would write otherwise in this body, `base_info` aside.
pub(super) fn body(endpoint: Endpoint, body: &Value) -> Vec<String> {
    let mut found = Found::default();
    let own: (&[&str], &[&str]) = match endpoint {
        Endpoint::GetUpdates => (&["get_updates_buf"], &[]),
        Endpoint::SendMessage => (&["msg"], &[]),
        Endpoint::GetConfig => (&["ilink_user_id"], &["context_token"]),
        Endpoint::SendTyping => (&["ilink_user_id", "typing_ticket", "status"], &[]),
        Endpoint::NotifyStart | Endpoint::NotifyStop => (&[], &[]),
        // What is missing or wrong is refused and reported without strict mode, too.
        Endpoint::GetUploadUrl => (&[], &UPLOAD_FIELDS),
        // The CDN's bodies are no JSON.
        Endpoint::Upload | Endpoint::Download => return found.0,
        // Looked at with their headers.
        Endpoint::GetBotQrcode | Endpoint::GetQrcodeStatus => return found.0,
    };
    let required: Vec<&str> = own.0.iter().copied().chain(["base_info"]).collect();
    let wrapped = Value::Object(Map::from_iter([("the body".to_owned(), body.clone())]));
    if found
        .members(&wrapped, "the body", &required, own.1)
        .is_none()
    {
        return found.0;
    }
    for key in [
        "get_updates_buf",
        "ilink_user_id",
        "typing_ticket",
        "context_token",
    ] {
        found.string(body, key);
    }
    if endpoint == Endpoint::SendMessage {
        message(body, &mut found);
    }
    found.0
}

fn message(body: &Value, found: &mut Found) {
    let required = [
        "from_user_id",
        "to_user_id",
        "client_id",
        "message_type",
        "message_state",
        "item_list",
    ];
    let Some(message) = found.members(body, "msg", &required, &["context_token", "run_id"]) else {
        return;
    };
    for key in [
        "from_user_id",
        "to_user_id",
        "client_id",
        "context_token",
        "run_id",
    ] {
        found.string(message, key);
    }
    if message["from_user_id"] != "" {
        found.add("msg.from_user_id is not empty".to_owned());
    }
    for key in ["to_user_id", "client_id"] {
        if message[key] == "" {
            found.add(format!("msg.{key} is empty"));
        }
    }
    for key in ["message_type", "message_state"] {
        if message[key] != 2 {
            found.add(format!("msg.{key} is not 2"));
        }
    }
    let Some([item]) = message["item_list"].as_array().map(Vec::as_slice) else {
        found.add("msg.item_list has not exactly one item".to_owned());
        return;
    };
    item::check(item, found);
}

#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn add(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    fn headers(&mut self, headers: &HeaderMap, checks: &[Check<'_>]) {
        for (name, expected, is_right) in checks {
            let mut values = headers.get_all(*name).iter();
            match (values.next(), values.next()) {
                (None, _) => self.add(format!("the header {name} is missing")),
                (Some(_), Some(_)) => self.add(format!("the header {name} is there twice")),
                (Some(value), None) if !value.to_str().is_ok_and(is_right) => {
                    self.add(format!("the header {name} is not {expected}"));
                }
                _ => {}
            }
        }
    }

    /// The object at `key`, after checking which members it has.
    fn members<'a>(
        &mut self,
        of: &'a Value,
        key: &str,
        required: &[&str],
        optional: &[&str],
    ) -> Option<&'a Value> {
        let value = &of[key];
        let Some(members) = value.as_object() else {
            self.add(format!("{key} is no JSON object"));
            return None;
        };
        for required in required
            .iter()
            .filter(|required| !members.contains_key(**required))
        {
            self.add(format!("{key} lacks {required}"));
        }
        for name in members.keys() {
            if !required.contains(&name.as_str()) && !optional.contains(&name.as_str()) {
                self.add(format!("{key} has an unknown member {name}"));
            }
        }
        Some(value)
    }

    /// What is there must be a string.
    fn string(&mut self, of: &Value, key: &str) {
        if of.get(key).is_some_and(|value| !value.is_string()) {
            self.add(format!("{key} is no string"));
        }
    }
}

/// Whether this is the base64 of a `u32`, written in decimal.
fn is_uin(value: &str) -> bool {
    let decoded = STANDARD
        .decode(value)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.is_some_and(|decimal| {
        decimal
            .parse::<u32>()
            .is_ok_and(|number| number.to_string() == decimal)
    })
}

/// `0x00MMNNPP` of a dotted version; each part's leading digits count.
fn client_version(version: &str) -> Option<u64> {
    let mut number = 0;
    let mut parts = version.split('.');
    for _ in 0..3 {
        let part = parts.next().unwrap_or_default();
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let value = if digits == 0 {
            0
        } else {
            part.get(..digits)?.parse::<u64>().ok()?
        };
        number = number << 8 | value & 0xff;
    }
    Some(number)
}

/// `OpenClaw` alone, or products `name/version` with a comment in parentheses or without.
fn is_bot_agent(agent: &str) -> bool {
    agent == "OpenClaw" || agent.len() <= 256 && products(agent).is_some()
}

fn products(mut rest: &str) -> Option<()> {
    loop {
        let (name, after) = rest.split_once('/')?;
        let end = after.find(' ').unwrap_or(after.len());
        let (version, after) = after.split_at(end);
        if !is_word(name, "_.-") || !is_word(version, "_.+-") {
            return None;
        }
        rest = match after.strip_prefix(" (") {
            Some(comment) => {
                let (comment, after) = comment.split_once(')')?;
                let printable = comment.bytes().all(|byte| matches!(byte, b' '..=b'~'));
                if !(1..=64).contains(&comment.len()) || !printable || comment.contains('(') {
                    return None;
                }
                after
            }
            None => after,
        };
        if rest.is_empty() {
            return Some(());
        }
        rest = rest.strip_prefix(' ')?;
    }
}

fn is_word(word: &str, marks: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || marks.as_bytes().contains(&byte);
    (1..=32).contains(&word.len()) && word.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
