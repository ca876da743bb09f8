//! The spelling of WeCom's JSON, and nothing else: bodies of requests, members of answers.
//!
//! A member of another type than documented is an absent member; numbers may be strings.

use serde_json::{Map, Value, json};

use gateway_channel_sdk::json::repair;
use gateway_channel_sdk::message::MediaKind;

/// What every answer says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// 0 is good; also when there is none.
    pub errcode: i64,
    /// For people, and changed without notice.
    pub errmsg: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Reads a JSON object, repaired where it has to be; none for anything else, and for what was cut
    /// off.
    pub fn parse(body: &[u8]) -> Option<Object> {
        if let Ok(members) = serde_json::from_slice(body) {
            return Some(Object(members));
        }
        let repaired = repair(&String::from_utf8_lossy(body)).filter(|text| text.is_whole)?;
        // From bytes, as above: the parser is not compiled twice.
        serde_json::from_slice(repaired.json.as_bytes())
            .ok()
            .map(Object)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    fn number(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// What the answer says of itself.
pub fn status(object: &Object) -> Status {
    Status {
        errcode: object.number("errcode").unwrap_or(0),
        errmsg: object.text("errmsg").map(str::to_owned),
    }
}

/// Whether there is an access token, or what the host puts in its place.
pub fn has_token(object: &Object) -> bool {
    object.text("access_token").is_some()
}

/// How long the access token is valid, in seconds.
pub fn expires_in(object: &Object) -> Option<u64> {
    object
        .number("expires_in")
        .and_then(|seconds| seconds.try_into().ok())
}

/// The id of what was uploaded.
pub fn media_id(object: &Object) -> Option<String> {
    object.text("media_id").map(str::to_owned)
}

/// The id of what was sent.
pub fn message_id(object: &Object) -> Option<String> {
    object.text("msgid").map(str::to_owned)
}

/// Who is not of the corp, or may not see the app.
pub fn has_invalid_user(object: &Object) -> bool {
    object.text("invaliduser").is_some()
}

/// Who has no licence for the app.
pub fn has_unlicensed_user(object: &Object) -> bool {
    object.text("unlicenseduser").is_some()
}

/// What a message says or shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// As it is, at most [`super::MAX_TEXT_BYTES`].
    Text(&'a str),
    /// In the platform's own Markdown, at most [`super::MAX_TEXT_BYTES`].
    Markdown(&'a str),
    /// What was uploaded.
    Media {
        /// How it is shown.
        kind: MediaKind,
        /// The platform's id.
        media_id: &'a str,
        /// File name, which a film has as its title.
        name: &'a str,
    },
}

/// The body of `message/send`. `again_within` is in seconds: what has the same content and was sent
/// to the same person within this time is not sent again.
pub fn message(user: &str, agent_id: u64, item: Item<'_>, again_within: Option<u64>) -> Value {
    let (kind, content) = match item {
        Item::Text(text) => ("text", json!({"content": text})),
        Item::Markdown(text) => ("markdown", json!({"content": text})),
        Item::Media {
            kind,
            media_id,
            name,
        } => match kind {
            MediaKind::Video => (
                media_type(kind),
                json!({"media_id": media_id, "title": name}),
            ),
            MediaKind::Image | MediaKind::Voice | MediaKind::File => {
                (media_type(kind), json!({"media_id": media_id}))
            }
        },
    };
    let mut body = json!({
        "touser": user,
        "msgtype": kind,
        "agentid": agent_id,
        "safe": 0,
    });
    if let Value::Object(members) = &mut body {
        members.insert(kind.to_owned(), content);
        if let Some(seconds) = again_within {
            members.insert("enable_duplicate_check".to_owned(), 1.into());
            members.insert("duplicate_check_interval".to_owned(), seconds.into());
        }
    }
    body
}

/// The platform's name for a kind.
pub fn media_type(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Voice => "voice",
        MediaKind::Video => "video",
        MediaKind::File => "file",
    }
}
