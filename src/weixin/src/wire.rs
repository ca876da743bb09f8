//! The wire's spelling: only this module knows the names of the API's fields.
//!
//! Reading is lenient: every field may be absent, of another type or from the future, and numbers
//! may come as strings. Integers are exact up to 64 bits. Nothing here fails but what is no JSON even
//! after [`repair`].

use serde_json::{Map, Value, json};

use super::CLIENT_VERSION;
use gateway_channel_sdk::json::repair;
use gateway_channel_sdk::message::MediaKind;

mod message;
mod updates;

pub use message::{Content, Item, QuoteReference, QuotedPart, Reference, WeixinMessage, message};
pub use updates::{Condition, Updates, salvage, updates};

/// Direction and state of what a bot says.
const BOT: u8 = 2;
const FINISHED: u8 = 2;
/// Kinds of items.
const TEXT: i64 = 1;
const IMAGE: i64 = 2;
const VOICE: i64 = 3;
const FILE: i64 = 4;
const VIDEO: i64 = 5;

/// A JSON object as it came.
#[derive(Debug, Clone, Default)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Reads an object, repaired where it has to be; none for anything else, and for what was cut off.
    pub fn parse(json: &str) -> Option<Object> {
        let strict = serde_json::from_str(json).ok();
        strict.or_else(|| repaired(json)).map(Object)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_i64(),
        }
    }

    fn unsigned(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_u64(),
        }
    }

    /// An id: a number or a text. Zero and empty are none.
    fn id(&self, name: &str) -> Option<String> {
        let id = match self.0.get(name)? {
            Value::Number(number) if !number.is_f64() => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return None,
        };
        (!id.is_empty() && id != "0").then_some(id)
    }

    fn object(&self, name: &str) -> Option<Object> {
        self.0.get(name)?.as_object().cloned().map(Object)
    }

    fn objects(&self, name: &str) -> Vec<Object> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|value| value.as_object().cloned().map(Object))
            .collect()
    }

    /// The whole, for a fingerprint.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

fn repaired(json: &str) -> Option<Map<String, Value>> {
    let repaired = repair(json).filter(|repaired| repaired.is_whole)?;
    serde_json::from_str(&repaired.json).ok()
}

/// What every answer has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Zero when absent.
    pub ret: i64,
    /// Zero when absent.
    pub errcode: i64,
    /// For people.
    pub errmsg: Option<String>,
}

/// Reads the status of an answer.
pub fn status(answer: &Object) -> Status {
    Status {
        ret: answer.integer("ret").unwrap_or(0),
        errcode: answer.integer("errcode").unwrap_or(0),
        errmsg: answer.text("errmsg").map(str::to_owned),
    }
}

/// Where an upload goes, of an answer to `getuploadurl`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadPlace {
    /// A ready-made URL.
    pub full_url: Option<String>,
    /// A ticket for the CDN.
    pub ticket: Option<String>,
}

/// Reads an answer to `getuploadurl`.
pub fn upload_place(answer: &Object) -> UploadPlace {
    let text = |name: &str| {
        answer
            .text(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    UploadPlace {
        full_url: text("upload_full_url"),
        ticket: text("upload_param"),
    }
}

/// What `getuploadurl` has to know.
#[derive(Debug)]
pub struct UploadRequest<'a> {
    /// 32 hex digits.
    pub file_key: &'a str,
    /// How it is shown.
    pub kind: MediaKind,
    /// Who gets it.
    pub to: &'a str,
    /// Plain bytes.
    pub size: u64,
    /// Encrypted bytes.
    pub padded_size: u64,
    /// In hex.
    pub md5: &'a str,
    /// The key in hex.
    pub key: &'a str,
}

/// Body of `getuploadurl`.
pub fn get_upload_url(upload: &UploadRequest<'_>, bot_agent: &str) -> Value {
    json!({
        "filekey": upload.file_key,
        // Not the numbers of the items.
        "media_type": match upload.kind {
            MediaKind::Image => 1,
            MediaKind::Video => 2,
            MediaKind::File | MediaKind::Voice => 3,
        },
        "to_user_id": upload.to,
        "rawsize": upload.size,
        "rawfilemd5": upload.md5,
        "filesize": upload.padded_size,
        "no_need_thumb": true,
        "aeskey": upload.key,
        "base_info": base_info(bot_agent),
    })
}

/// Body of `get_bot_qrcode`: the tokens that the client has, as a placeholder of all of them, or none.
pub fn get_bot_qrcode(tokens: Option<&str>) -> Value {
    let tokens: Vec<&str> = tokens.into_iter().collect();
    json!({ "local_token_list": tokens })
}

/// An answer to `get_bot_qrcode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QrCode {
    /// What the status is asked for with; a secret.
    pub qrcode: String,
    /// What the code says.
    pub content: String,
}

/// Reads an answer to `get_bot_qrcode`; none where either is missing.
pub fn qr_code(answer: &Object) -> Option<QrCode> {
    let text = |name: &str| answer.text(name).filter(|text| !text.is_empty());
    Some(QrCode {
        qrcode: text("qrcode")?.to_owned(),
        content: text("qrcode_img_content")?.to_owned(),
    })
}

/// How far a login has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QrStatus {
    /// Nobody has scanned, or it is a status of the future.
    Wait,
    /// Scanned, not confirmed.
    Scanned,
    /// The digits on the phone are wanted.
    NeedsCode,
    /// Too many wrong digits.
    Blocked,
    /// The code is too old.
    Expired,
    /// Another host knows more; none when it is not named.
    Redirected(Option<String>),
    /// The person is bound already.
    Bound,
    /// Confirmed.
    Confirmed(Confirmed),
}

/// What a confirmed login brings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confirmed {
    /// The credential; the host's placeholder for it.
    pub token: Option<String>,
    /// The bot's id.
    pub bot_id: Option<String>,
    /// Where its API is.
    pub base_url: Option<String>,
    /// Who confirmed.
    pub user_id: Option<String>,
}

/// Reads an answer to `get_qrcode_status`.
pub fn qr_status(answer: &Object) -> QrStatus {
    let text = |name: &str| {
        let text = answer.text(name).map(str::trim);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    match answer.text("status") {
        // The platform's spelling.
        Some("scaned") => QrStatus::Scanned,
        Some("need_verifycode") => QrStatus::NeedsCode,
        Some("verify_code_blocked") => QrStatus::Blocked,
        Some("expired") => QrStatus::Expired,
        Some("scaned_but_redirect") => QrStatus::Redirected(text("redirect_host")),
        Some("binded_redirect") => QrStatus::Bound,
        Some("confirmed") => QrStatus::Confirmed(Confirmed {
            token: text("bot_token"),
            bot_id: text("ilink_bot_id"),
            base_url: text("baseurl"),
            user_id: text("ilink_user_id"),
        }),
        _ => QrStatus::Wait,
    }
}

/// The item of a text.
pub fn text_item(text: &str) -> Value {
    json!({ "type": TEXT, "text_item": { "text": text } })
}

/// What the item of an upload has to tell.
#[derive(Debug)]
pub struct UploadedItem<'a> {
    /// How it is shown.
    pub kind: MediaKind,
    /// The CDN's ticket for downloads.
    pub ticket: &'a str,
    /// Base64 of the key's hex digits.
    pub key: &'a str,
    /// Plain bytes.
    pub size: u64,
    /// Encrypted bytes.
    pub padded_size: u64,
    /// File name.
    pub name: &'a str,
}

/// The item of an upload, with exactly the official client's fields.
pub fn media_item(item: &UploadedItem<'_>) -> Value {
    let media = json!({
        "encrypt_query_param": item.ticket,
        "aes_key": item.key,
        "encrypt_type": 1,
    });
    match item.kind {
        MediaKind::Image => json!({
            "type": IMAGE,
            "image_item": { "media": media, "mid_size": item.padded_size },
        }),
        MediaKind::Video => json!({
            "type": VIDEO,
            "video_item": { "media": media, "video_size": item.padded_size },
        }),
        MediaKind::File | MediaKind::Voice => json!({
            "type": FILE,
            "file_item": {
                "media": media,
                "file_name": item.name,
                "len": item.size.to_string(),
            },
        }),
    }
}

/// The id of a sent message.
pub fn sent_message_id(answer: &Object) -> Option<String> {
    answer.id("message_id")
}

/// The ticket of an answer to `getconfig`; an empty one is none.
pub fn typing_ticket(answer: &Object) -> Option<String> {
    answer
        .text("typing_ticket")
        .filter(|ticket| !ticket.is_empty())
        .map(str::to_owned)
}

/// Body of `getupdates`.
pub fn get_updates(cursor: &str, bot_agent: &str) -> Value {
    json!({ "get_updates_buf": cursor, "base_info": base_info(bot_agent) })
}

/// Body of `sendmessage` with one item.
pub fn send_message(
    to: &str,
    item: &Value,
    client_id: &str,
    context_token: Option<&str>,
    bot_agent: &str,
) -> Value {
    let msg = json!({
        "from_user_id": "",
        "to_user_id": to,
        "client_id": client_id,
        "message_type": BOT,
        "message_state": FINISHED,
        "item_list": [item],
    });
    let msg = with_token(msg, context_token);
    json!({ "msg": msg, "base_info": base_info(bot_agent) })
}

/// Body of `getconfig`.
pub fn get_config(user: &str, context_token: Option<&str>, bot_agent: &str) -> Value {
    let body = json!({ "ilink_user_id": user, "base_info": base_info(bot_agent) });
    with_token(body, context_token)
}

/// Without a token, the field is left out.
fn with_token(mut object: Value, context_token: Option<&str>) -> Value {
    if let (Some(object), Some(token)) = (object.as_object_mut(), context_token) {
        object.insert("context_token".to_owned(), token.into());
    }
    object
}

/// Body of `sendtyping`.
pub fn send_typing(user: &str, ticket: &str, on: bool, bot_agent: &str) -> Value {
    json!({
        "ilink_user_id": user,
        "typing_ticket": ticket,
        "status": if on { 1 } else { 2 },
        "base_info": base_info(bot_agent),
    })
}

/// Body of `notifystart` and `notifystop`.
pub fn notify(bot_agent: &str) -> Value {
    json!({ "base_info": base_info(bot_agent) })
}

fn base_info(bot_agent: &str) -> Value {
    json!({ "channel_version": CLIENT_VERSION, "bot_agent": bot_agent })
}

#[cfg(test)]
mod tests;
