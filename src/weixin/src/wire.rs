//! The wire's spelling: the only file that knows the names of the API's fields.
//!
//! Reading is lenient: every field may be absent, of another type or from the future, and numbers
//! may come as strings. Integers are exact up to 64 bits. Nothing here fails but what is no JSON even
//! after [`repair`].

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::CLIENT_VERSION;
use gateway_channel_sdk::json::repair;
use gateway_channel_sdk::message::MediaKind;

/// Direction and state of what a bot says.
const BOT: u8 = 2;
const FINISHED: u8 = 2;
/// The member with the next cursor.
const CURSOR: &str = "get_updates_buf";
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

/// An answer to `getupdates`, its messages unread.
#[derive(Debug, Default)]
pub struct Updates {
    /// What every answer has.
    pub status: Status,
    /// The next cursor; none keeps the one before.
    pub cursor: Option<String>,
    /// How long the server holds a poll, in milliseconds.
    pub hold_ms: Option<u64>,
    /// The messages, each as it came.
    pub messages: Vec<String>,
    /// How much of the answer this is.
    pub condition: Condition,
}

impl Updates {
    /// Whether the next poll would ask for the same once more: its messages can be taken in, and the poll
    /// has failed all the same.
    pub fn leads_nowhere(&self) -> bool {
        self.condition == Condition::Broken && self.cursor.is_none()
    }
}

/// What had to be done to an answer before it could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Sound,
    /// It was no JSON, and became some; a message in it may be lost.
    Repaired,
    /// It breaks off, or makes no sense: what can't be read of it is lost.
    Broken,
}

/// The members of an object in their order, each as it came.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}

/// Reads an answer to `getupdates`. Each message stays text, so that one that can't be read does not
/// take the others with it. None when the answer is no JSON object, or was cut off.
pub fn updates(json: &str) -> Option<Updates> {
    if let Some(updates) = strict_updates(json) {
        return Some(updates);
    }
    let repaired = repair(json).filter(|repaired| repaired.is_whole)?;
    let updates = strict_updates(&repaired.json)?;
    Some(Updates {
        cursor: updates.cursor.or_else(|| find_cursor(json)),
        condition: Condition::Repaired,
        ..updates
    })
}

/// What can be read of an answer that [`updates`] can't read: whole messages before it breaks off, and
/// the cursor wherever it stands.
pub fn salvage(json: &str) -> Option<Updates> {
    let repaired = repair(json)?;
    let updates = strict_updates(&repaired.json)?;
    Some(Updates {
        cursor: updates.cursor.or_else(|| find_cursor(json)),
        condition: Condition::Broken,
        ..updates
    })
}

fn strict_updates(json: &str) -> Option<Updates> {
    let Members(members) = serde_json::from_str(json).ok()?;
    let mut messages = Vec::new();
    let mut rest = Map::new();
    for (name, raw) in members {
        if name == "msgs" {
            // A repeated member takes no message with it.
            messages.extend(elements(raw));
        } else if let Ok(value) = serde_json::from_str(raw.get()) {
            rest.insert(name, value);
        }
    }
    let rest = Object(rest);
    Some(Updates {
        status: status(&rest),
        // A number is one, too: a cursor that is not taken is asked with for ever.
        cursor: rest
            .text(CURSOR)
            .map(str::to_owned)
            .or_else(|| rest.id(CURSOR))
            .filter(|cursor| !cursor.is_empty()),
        hold_ms: rest.unsigned("longpolling_timeout_ms").filter(|ms| *ms > 0),
        messages,
        condition: Condition::Sound,
    })
}

/// The elements of a list; something else that is not empty is one, so that it is told.
fn elements(list: &RawValue) -> Vec<String> {
    match serde_json::from_str::<Vec<&RawValue>>(list.get()) {
        Ok(elements) => elements.iter().map(|raw| raw.get().to_owned()).collect(),
        Err(_) => match list.get() {
            "null" | "{}" | "\"\"" | "false" | "0" => Vec::new(),
            other => vec![other.to_owned()],
        },
    }
}

/// The cursor of an answer whose structure can't be trusted. A text that a person wrote has its quotes
/// escaped and is not found; where there are several that differ, there is none.
fn find_cursor(json: &str) -> Option<String> {
    let name = format!("\"{CURSOR}\"");
    let mut found: Option<String> = None;
    for (place, _) in json.match_indices(&name) {
        let is_escaped = json
            .get(..place)
            .is_none_or(|before| before.ends_with('\\'));
        let rest = json.get(place + name.len()..).unwrap_or_default();
        let value = rest.trim_start().strip_prefix(':').unwrap_or_default();
        let value = serde_json::Deserializer::from_str(value).into_iter().next();
        let Some(Ok(cursor)) = value.filter(|_| !is_escaped) else {
            continue;
        };
        if found.as_ref().is_some_and(|found| *found != cursor) {
            return None;
        }
        found = Some(cursor);
    }
    found.filter(|cursor| !cursor.is_empty())
}

/// A message as the platform has it.
#[derive(Debug, Clone, Default)]
pub struct WeixinMessage {
    /// The server's id.
    pub message_id: Option<String>,
    /// The sender's own id of it.
    pub client_id: Option<String>,
    /// Its number in the account's sequence.
    pub seq: Option<u64>,
    /// Who wrote it.
    pub from_user_id: Option<String>,
    /// Which group it was written in.
    pub group_id: Option<String>,
    /// Whether a bot wrote it.
    pub is_from_bot: bool,
    /// Whether it was taken back.
    pub is_recalled: bool,
    /// When it was written, in milliseconds since the Unix epoch.
    pub create_time_ms: u64,
    /// What an answer has to carry.
    pub context_token: Option<String>,
    /// Its content.
    pub items: Vec<Item>,
}

/// One item of a message.
#[derive(Debug, Clone, Default)]
pub struct Item {
    /// The server's id of the item.
    pub msg_id: Option<String>,
    /// What it is.
    pub content: Content,
    /// What it quotes.
    pub quote: Option<QuoteReference>,
}

/// The content of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture.
    Image {
        /// Where it is.
        reference: Reference,
    },
    /// A voice message, its playing time and the server's transcript.
    Voice {
        /// Where it is.
        reference: Reference,
        /// In milliseconds.
        playtime_ms: Option<u64>,
        /// Speech-to-text.
        text: Option<String>,
    },
    /// A file.
    File {
        /// Where it is.
        reference: Reference,
        /// As the sender gave it.
        name: Option<String>,
        /// In bytes.
        size: Option<u64>,
    },
    /// A film.
    Video {
        /// Where it is.
        reference: Reference,
        /// In milliseconds.
        play_length_ms: Option<u64>,
    },
    /// Nothing, as quotes have it.
    #[default]
    Hollow,
    /// A kind that this version does not know.
    Unknown(i64),
}

/// What an item quotes.
#[derive(Debug, Clone, Default)]
pub struct QuoteReference {
    /// The server's id of the quoted message.
    pub id: Option<String>,
    /// The quoted item, where it was sent along.
    pub content: Content,
    /// A summary.
    pub title: Option<String>,
    /// Which part of its text was chosen.
    pub part: Option<QuotedPart>,
}

/// A chosen part of a text: from the `start_index`-th `start` to the `end_index`-th `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotedPart {
    /// How it begins.
    pub start: String,
    /// How it ends.
    pub end: String,
    /// Counted from zero; negative is none.
    pub start_index: i64,
    /// Counted from zero; negative is none.
    pub end_index: i64,
    /// MD5 of the part in hex; may be empty.
    pub md5: String,
}

/// Reads a message; none for what is no object.
pub fn message(json: &str) -> Option<(WeixinMessage, Object)> {
    let object = Object::parse(json)?;
    let message = WeixinMessage {
        message_id: object.id("message_id"),
        client_id: object.id("client_id"),
        seq: object.unsigned("seq").filter(|seq| *seq > 0),
        from_user_id: object.id("from_user_id"),
        group_id: object.id("group_id"),
        is_from_bot: object.integer("message_type") == Some(i64::from(BOT)),
        is_recalled: object.integer("delete_time_ms").is_some_and(|ms| ms > 0),
        create_time_ms: object.unsigned("create_time_ms").unwrap_or(0),
        context_token: object.id("context_token"),
        items: object.objects("item_list").iter().map(item).collect(),
    };
    Some((message, object))
}

fn item(object: &Object) -> Item {
    Item {
        msg_id: object.id("msg_id"),
        content: content(object),
        quote: object.object("ref_msg").map(|quote| {
            let quoted = quote.object("message_item");
            QuoteReference {
                id: quote
                    .id("svr_id")
                    .or_else(|| quoted.as_ref().and_then(|item| item.id("msg_id"))),
                content: quoted.as_ref().map(content).unwrap_or_default(),
                title: quote.text("title").map(str::to_owned),
                part: quote.object("partial_text").map(|part| QuotedPart {
                    start: part.text("start").unwrap_or_default().to_owned(),
                    end: part.text("end").unwrap_or_default().to_owned(),
                    start_index: part.integer("startindex").unwrap_or(0),
                    end_index: part.integer("endindex").unwrap_or(0),
                    md5: part.text("quotemd5").unwrap_or_default().to_owned(),
                }),
            }
        }),
    }
}

fn content(object: &Object) -> Content {
    let part = |name: &str| object.object(name).unwrap_or_default();
    let text = |object: &Object, name: &str| {
        object
            .text(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    match object.integer("type") {
        Some(TEXT) => Content::Text(text(&part("text_item"), "text").unwrap_or_default()),
        Some(IMAGE) => Content::Image {
            reference: reference(&part("image_item")),
        },
        Some(VOICE) => {
            let voice = part("voice_item");
            Content::Voice {
                reference: reference(&voice),
                playtime_ms: voice.unsigned("playtime"),
                text: text(&voice, "text"),
            }
        }
        Some(FILE) => {
            let file = part("file_item");
            Content::File {
                reference: reference(&file),
                name: text(&file, "file_name"),
                size: file.unsigned("len"),
            }
        }
        Some(VIDEO) => {
            let video = part("video_item");
            Content::Video {
                reference: reference(&video),
                play_length_ms: video.unsigned("play_length"),
            }
        }
        Some(0) | None => Content::Hollow,
        Some(other) => Content::Unknown(other),
    }
}

/// Where a piece of media is, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// A ready-made URL.
    pub full_url: Option<String>,
    /// A ticket for the CDN.
    pub ticket: Option<String>,
    /// The texts that may hold the key, in the order of their trust; none is empty.
    pub keys: Vec<String>,
}

fn reference(item: &Object) -> Reference {
    let media = item.object("media").unwrap_or_default();
    let text = |object: &Object, name: &str| {
        object
            .text(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Reference {
        full_url: text(&media, "full_url"),
        ticket: text(&media, "encrypt_query_param"),
        keys: [text(item, "aeskey"), text(&media, "aes_key")]
            .into_iter()
            .flatten()
            .collect(),
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
mod tests {
    use super::*;

    #[test]
    fn ids_are_exact_as_numbers_and_as_strings() {
        for (json, expect) in [
            (
                r#"{"message_id":18446744073709551615}"#,
                Some("18446744073709551615"),
            ),
            (
                r#"{"message_id":"18446744073709551615"}"#,
                Some("18446744073709551615"),
            ),
            (
                r#"{"message_id":7497484083968569736}"#,
                Some("7497484083968569736"),
            ),
            (r#"{"message_id":-5}"#, Some("-5")),
            (r#"{"message_id":1.5}"#, None),
            (r#"{"message_id":null}"#, None),
            (r#"{"message_id":[1]}"#, None),
            (r#"{"text":"\"message_id\":1234567890123456789"}"#, None),
        ] {
            let (message, _) = message(json).unwrap();
            assert_eq!(message.message_id.as_deref(), expect, "{json}");
        }
        let (message, _) = message(r#"{"seq":9007199254740993}"#).unwrap();
        assert_eq!(message.seq, Some(9_007_199_254_740_993));
    }

    #[test]
    fn a_message_that_cant_be_read_leaves_the_others() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let json = format!(
            r#"{{"ret":0,"msgs":[1,null,"x",{{"message_id":1,"x":{deep}}},{{"message_id":2}}],"msgs_more":{deep},"get_updates_buf":"c"}}"#
        );
        let updates = updates(&json).unwrap();
        let ids: Vec<Option<String>> = updates
            .messages
            .iter()
            .map(|json| message(json).and_then(|(message, _)| message.message_id))
            .collect();
        // What is too deep is not worth a message.
        let expect = [None, None, None, Some("1"), Some("2")];
        assert_eq!(ids, expect.map(|id| id.map(str::to_owned)));
        assert_eq!(updates.cursor.as_deref(), Some("c"));
    }

    #[test]
    fn fields_of_another_type_are_read_where_that_is_clear() {
        let updates = updates(
            r#"{"ret":"-14","errcode":{},"errmsg":5,"msgs":{},"get_updates_buf":7,"longpolling_timeout_ms":"25000"}"#,
        )
        .unwrap();
        assert_eq!(updates.status.ret, -14);
        assert_eq!(updates.status.errcode, 0);
        assert_eq!(updates.cursor.as_deref(), Some("7"));
        assert_eq!(updates.hold_ms, Some(25_000));
        assert!(updates.messages.is_empty());
    }

    #[test]
    fn half_an_emoji_does_not_lose_the_message() {
        for (json, expect) in [
            (r#"{"a":"x\ud83d"}"#, "x\u{fffd}"),
            (r#"{"a":"\ude00\\ud83d\n"}"#, "\u{fffd}\\ud83d\n"),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
        ] {
            assert_eq!(Object::parse(json).unwrap().text("a"), Some(expect));
        }
        assert!(Object::parse(r#"{"a":"\ud8"#).is_none());
        assert!(Object::parse("\\u").is_none());
        assert!(Object::parse("\\好").is_none());
    }

    /// The texts of the messages, and the cursor.
    fn read(json: &str) -> (Vec<Option<String>>, Option<String>, Condition) {
        let updates = updates(json).unwrap_or_else(|| panic!("{json}"));
        let text = |json: &String| {
            let (message, _) = message(json)?;
            match &message.items.first()?.content {
                Content::Text(text) => Some(text.clone()),
                other => panic!("{other:?}"),
            }
        };
        let texts = updates.messages.iter().map(text).collect();
        (texts, updates.cursor, updates.condition)
    }

    fn said(text: &str) -> String {
        format!(r#"{{"message_id":1,"item_list":[{{"type":1,"text_item":{{"text":"{text}"}}}}]}}"#)
    }

    #[test]
    fn a_batch_is_read_whatever_is_wrong_in_one_message() {
        for (wrong, expect) in [
            (
                "\u{1b}[31mred\u{8}\n\tx\0".to_owned(),
                Some("\u{1b}[31mred\u{8}\n\tx\0"),
            ),
            (r"\x41\d \ud83d".to_owned(), Some("A\\d \u{fffd}")),
            (
                r#"say "yes", and "no""#.to_owned(),
                Some("say \"yes\", and \"no\""),
            ),
            (
                "\u{fffd}\u{feff}\u{2028}".to_owned(),
                Some("\u{fffd}\u{feff}\u{2028}"),
            ),
        ] {
            let json = format!(
                r#"{{"ret":0,"msgs":[{},{},{}],"get_updates_buf":"c"}}"#,
                said("one"),
                said(&wrong),
                said("three")
            );
            let (texts, cursor, _) = read(&json);
            assert_eq!(cursor.as_deref(), Some("c"), "{json}");
            let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
            assert_eq!(texts, [Some("one"), expect, Some("three")], "{json}");
        }
        for wrong in [
            "NaN",
            "junk",
            r#"{"message_id":NaN,"item_list":[}"#,
            r#"{"message_id":1,"item_list":"#,
            r#"{"message_id":1,"#,
            r#"{"message_id":1,"x":{"y":1}"#,
            "[[[[[",
        ] {
            let json = format!(
                r#"{{"ret":0,"msgs":[{},{wrong},{}],"get_updates_buf":"c"}}"#,
                said("one"),
                said("three")
            );
            let updates = updates(&json).or_else(|| salvage(&json)).unwrap();
            assert_eq!(updates.cursor.as_deref(), Some("c"), "{json}");
            assert!(
                updates.messages.contains(&said("one")),
                "{json}: {updates:?}"
            );
        }
    }

    #[test]
    fn what_surrounds_an_answer_is_passed_over() {
        let json = format!(
            r#"{{"ret":0,"msgs":[{}],"get_updates_buf":"c"}}"#,
            said("one")
        );
        for (json, condition) in [
            (json.clone(), Condition::Sound),
            (format!("\u{feff}{json}"), Condition::Repaired),
            (format!("\0{json}\0\0"), Condition::Repaired),
            (format!("{json}trailing"), Condition::Repaired),
            (format!("{json}{json}"), Condition::Repaired),
            (format!("{json}\u{1a}"), Condition::Repaired),
            (
                json.replace(r#""ret":0"#, r#""ret":NaN"#),
                Condition::Repaired,
            ),
            (
                json.replace(r#""ret":0"#, r#""ret":0,"x":Infinity,"y":[1,]"#),
                Condition::Repaired,
            ),
        ] {
            let expect = (
                vec![Some("one".to_owned())],
                Some("c".to_owned()),
                condition,
            );
            assert_eq!(read(&json), expect, "{json}");
        }
    }

    #[test]
    fn a_repeated_list_takes_no_message_with_it() {
        let json = format!(
            r#"{{"msgs":[{}],"get_updates_buf":"a","msgs":[{}],"get_updates_buf":"b","msgs":null}}"#,
            said("one"),
            said("two")
        );
        let (texts, cursor, _) = read(&json);
        assert_eq!(texts, [Some("one".to_owned()), Some("two".to_owned())]);
        assert_eq!(cursor.as_deref(), Some("b"));
        let one = format!(r#"{{"msgs":{},"get_updates_buf":"a"}}"#, said("one"));
        assert_eq!(read(&one).0, [Some("one".to_owned())]);
        assert_eq!(
            updates(r#"{"msgs":"words"}"#).unwrap().messages,
            ["\"words\""]
        );
    }

    #[test]
    fn what_was_cut_off_is_no_answer_and_can_be_salvaged() {
        let json = format!(
            r#"{{"ret":0,"get_updates_buf":"c","msgs":[{},{}]}}"#,
            said("one"),
            said("two")
        );
        for end in 1..json.len() {
            let cut = json.get(..end).unwrap();
            assert!(updates(cut).is_none(), "{cut}");
        }
        let cut = salvage(json.get(..json.len() - 5).unwrap()).unwrap();
        assert_eq!(
            (cut.messages, cut.cursor.as_deref()),
            (vec![said("one")], Some("c"))
        );
        assert_eq!(cut.condition, Condition::Broken);
        assert!(salvage("<html>").is_none());
    }

    #[test]
    fn a_cursor_may_be_a_number() {
        for (json, expect) in [
            (r#"{"ret":0,"get_updates_buf":12345}"#, Some("12345")),
            (r#"{"ret":0,"get_updates_buf":"0"}"#, Some("0")),
            (r#"{"ret":0,"get_updates_buf":""}"#, None),
            (r#"{"ret":0,"get_updates_buf":null}"#, None),
        ] {
            assert_eq!(updates(json).unwrap().cursor.as_deref(), expect, "{json}");
        }
    }

    #[test]
    fn a_cursor_is_found_where_nothing_else_is_and_no_person_can_name_one() {
        let lost = |rest: &str| format!(r#"{{"ret":0,"msgs":[{{"a":"unclosed}},{rest}"#);
        for (rest, expect) in [
            (r#""get_updates_buf":"c"}"#, Some("c")),
            (r#""get_updates_buf" : "a\/b\u003d","n":1}"#, Some("a/b=")),
            (
                r#"{"t":"\"get_updates_buf\":\"evil\""}],"get_updates_buf":"c"}"#,
                Some("c"),
            ),
            (r#"{"t":"\"get_updates_buf\":\"evil\""}]}"#, None),
            (
                r#"{"t":""get_updates_buf":"evil""}],"get_updates_buf":"c"}"#,
                None,
            ),
            (r#""get_updates_buf":"c","get_updates_buf":"c"}"#, Some("c")),
            (r#""get_updates_buf":"c"#, None),
            (r#""get_updates_buf":"","x":"get_updates_buf"}"#, None),
            (r#""get_updates_buf":7}"#, None),
        ] {
            let json = lost(rest);
            assert_eq!(find_cursor(&json).as_deref(), expect, "{json}");
        }
    }
}
