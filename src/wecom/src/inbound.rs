//! From decrypted callbacks to the channel's events.
//!
//! What a person wrote becomes a message. A message of an unknown type becomes one, too: its text names
//! the type and has what can be read. Other events (`enter_agent`, `subscribe`, `unsubscribe`) keep their
//! own names and the platform's fields. An id is the same at every delivery: it is `MsgId`, or is made of
//! what the platform tells events apart by.

use super::WecomConfig;
use super::crypto::Refusal;
use super::media::Handle;
use super::xml::{self, Element};
use gateway_channel_sdk::dedup::fnv1a;
use gateway_channel_sdk::file_name;
use gateway_channel_sdk::message::{
    Body, ChatKind, Conversation, Event, Media, MediaKind, Message,
};
use gateway_channel_sdk::sniff;

/// Longest id of a person or a message: it becomes part of a key of the store. The platform's have up
/// to 64 bytes.
const MAX_ID_BYTES: usize = 256;
/// What of a type's name is shown, in characters.
const MAX_KIND: usize = 40;
/// Fields that open something for who has them.
const CREDENTIALS: [&str; 5] = [
    "Token",
    "WelcomeCode",
    "ResponseCode",
    "AuthCode",
    "SuiteTicket",
];

/// What one callback became.
#[derive(Debug)]
pub enum Reading {
    /// Something for the agent.
    Event(Box<Event>),
    /// It can't be used, for this reason. It would be the same if it came again, so it is answered as
    /// if it were read.
    Unreadable(&'static str),
}

/// Reads the XML of one callback.
///
/// # Errors
/// [`Refusal`] when it is for another app or another corp.
pub fn read(config: &WecomConfig, message: &[u8]) -> Result<Reading, Refusal> {
    let message = match xml::parse(message) {
        Ok(message) => message,
        Err(why) => return Ok(Reading::Unreadable(why)),
    };
    // Some events of the whole corp name no app.
    let agent = message.text("AgentID");
    if agent.is_some_and(|agent| agent.parse() != Ok(config.agent_id)) {
        return Err(Refusal::Agent);
    }
    let receiver = message.text("ToUserName");
    if receiver.is_some_and(|receiver| receiver != config.corp_id) {
        return Err(Refusal::Receiver);
    }
    let Some(kind) = message.text("MsgType") else {
        return Ok(Reading::Unreadable("it has no type"));
    };
    let Some(sender) = message.text("FromUserName") else {
        return Ok(Reading::Unreadable("it has no sender"));
    };
    if sender.len() > MAX_ID_BYTES {
        return Ok(Reading::Unreadable("its sender has too long an id"));
    }
    let conversation = Conversation {
        id: sender.to_owned(),
        kind: ChatKind::Direct,
    };
    let body = match content(kind, &message) {
        Some((text, media)) => Body::Message(Message {
            conversation,
            sender: sender.to_owned(),
            sent_at_ms: created_ms(&message),
            received_ms: 0,
            text,
            media,
            quote: None,
            reply_token: None,
        }),
        None => Body::Other {
            conversation,
            name: name(kind, &message).to_owned(),
            json: message.to_json(&CREDENTIALS).to_string(),
        },
    };
    let id = id(kind, sender, &message);
    Ok(Reading::Event(Box::new(Event { id, body })))
}

/// Text and media of a message; none for what is no message.
fn content(kind: &str, message: &Element) -> Option<(String, Vec<Media>)> {
    if kind == "event" {
        return None;
    }
    let (text, media) = match kind {
        "mixed" => mixed(message),
        _ => {
            let (text, media) = single(kind, message);
            (text, media.into_iter().collect())
        }
    };
    if text.trim().is_empty() && media.is_empty() {
        return Some(("[message without readable content]".to_owned(), media));
    }
    Some((text, media))
}

/// Text and pictures in one message: elements that have a type of their own, each with its content in it
/// or in an element within. All texts and all media are kept, in their order.
fn mixed(message: &Element) -> (String, Vec<Media>) {
    let mut texts = Vec::new();
    let mut media = Vec::new();
    let items = message.children().flat_map(|list| {
        let is_item = list.text("MsgType").is_some();
        is_item.then_some(list).into_iter().chain(list.children())
    });
    for item in items {
        let Some(kind) = item.text("MsgType") else {
            continue;
        };
        let holder = item.children().find(|child| child.has_children());
        let (text, shown) = single(kind, holder.unwrap_or(item));
        texts.push(text);
        media.extend(shown);
    }
    texts.retain(|text| !text.trim().is_empty());
    (texts.join("\n"), media)
}

/// Text and media of what is no mixture.
fn single(kind: &str, message: &Element) -> (String, Option<Media>) {
    let media = |kind| Media {
        handle: message
            .text("MediaId")
            .map(|media_id| Handle::received(media_id, None)),
        kind,
        name: None,
        mime: None,
        size: None,
        length: None,
        transcript: None,
    };
    match kind {
        "text" => (message.raw("Content").unwrap_or_default().to_owned(), None),
        // What can't be fetched by its id is named by its address.
        "image" => match (message.text("MediaId"), picture_url(message)) {
            (None, Some(url)) => (url.to_owned(), None),
            _ => (String::new(), Some(media(MediaKind::Image))),
        },
        "voice" => {
            let format = message.text("Format").unwrap_or("amr").to_ascii_lowercase();
            let mime = format!("audio/{format}");
            let voice = Media {
                mime: (format.len() <= 16
                    && format.bytes().all(|byte| byte.is_ascii_alphanumeric()))
                .then_some(mime),
                // Where the corp has speech recognition switched on.
                transcript: message.text("Recognition").map(str::to_owned),
                ..media(MediaKind::Voice)
            };
            (String::new(), Some(voice))
        }
        "video" => {
            let video = Media {
                mime: Some("video/mp4".to_owned()),
                ..media(MediaKind::Video)
            };
            (String::new(), Some(video))
        }
        "file" => (String::new(), Some(file(message))),
        "location" => (location(message), None),
        "link" => (link(message), None),
        _ => (
            unknown(kind, message),
            message.text("MediaId").map(|_| file(message)),
        ),
    }
}

fn picture_url(message: &Element) -> Option<&str> {
    ["PicUrl", "ImageUrl"]
        .iter()
        .find_map(|name| message.text(name))
}

/// What is of a type that is not known: its name, and what such messages have that can be read.
fn unknown(kind: &str, message: &Element) -> String {
    let kind: String = kind
        .chars()
        .filter(|char| !char.is_control())
        .take(MAX_KIND)
        .collect();
    let kind = format!("[unsupported content of type {kind}]");
    let fields = ["Content", "Title", "Description", "Url"].map(|name| message.text(name));
    let [content, title, description, url] = fields;
    lines([Some(&kind), content, title, description, url])
}

fn file(message: &Element) -> Media {
    let name = ["FileName", "Title"]
        .iter()
        .find_map(|name| message.text(name))
        .map(|name| file_name::sanitize(name, "file"));
    let size = message.text("FileSize").and_then(|size| size.parse().ok());
    Media {
        handle: message
            .text("MediaId")
            .map(|media_id| Handle::received(media_id, name.as_deref())),
        kind: MediaKind::File,
        mime: name
            .as_deref()
            .map(|name| sniff::mime(&[], name).to_owned()),
        name,
        size,
        length: None,
        transcript: None,
    }
}

/// The place's name, and where it is as RFC 5870 writes it.
fn location(message: &Element) -> String {
    let coordinate = |name| {
        let value = message.text(name)?;
        value
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())?;
        Some(value)
    };
    let place = coordinate("Location_X").zip(coordinate("Location_Y"));
    let place = place.map(|(latitude, longitude)| format!("geo:{latitude},{longitude}"));
    lines([message.text("Label"), place.as_deref()])
}

fn link(message: &Element) -> String {
    lines(["Title", "Description", "Url"].map(|name| message.text(name)))
}

fn lines<const N: usize>(lines: [Option<&str>; N]) -> String {
    let lines: Vec<&str> = lines.into_iter().flatten().collect();
    lines.join("\n")
}

/// What an event is called; anything else by its type.
fn name<'a>(kind: &'a str, message: &'a Element) -> &'a str {
    match kind {
        "event" => message.text("Event").unwrap_or(kind),
        _ => kind,
    }
}

fn created_ms(message: &Element) -> u64 {
    let seconds = message
        .text("CreateTime")
        .and_then(|time| time.parse().ok());
    seconds.unwrap_or(0u64).saturating_mul(1000)
}

/// `MsgId`. Events have none: who and when is what the platform tells them apart by, and what happened
/// is added, so that two events of one second are two.
fn id(kind: &str, sender: &str, message: &Element) -> String {
    let id = message.text("MsgId");
    if let Some(id) = id.filter(|id| id.len() <= MAX_ID_BYTES) {
        return id.to_owned();
    }
    let time = message.text("CreateTime").unwrap_or("0");
    let what = match kind {
        "event" => [
            name(kind, message),
            message.text("EventKey").unwrap_or_default(),
        ]
        .concat(),
        _ => message.to_json(&[]).to_string(),
    };
    let what = fnv1a(format!("{time} {what}").as_bytes());
    format!("event:{sender}:{what:016x}")
}

#[cfg(test)]
mod tests;
