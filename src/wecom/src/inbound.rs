//! From decrypted callbacks to the channel's events.
//!
//! What a person wrote becomes a message, also when its type is not known: it is named, with what can be
//! read of it. What happened otherwise (`enter_agent`, `subscribe`, `unsubscribe`) is told under its own
//! name, with the platform's fields.
//! Ids are the same at every delivery: `MsgId`, and what events have in its place.

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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::{Key, Seal};

    fn config() -> WecomConfig {
        WecomConfig {
            base_url: String::new(),
            corp_id: "ww1".into(),
            agent_id: 1_000_002,
            seal: Seal {
                token: String::new(),
                key: Key::parse(&"A".repeat(43)).unwrap(),
                receive_id: "ww1".into(),
            },
            passive_reply: false,
        }
    }

    fn reading(fields: &str) -> Reading {
        let message = format!(
            "<xml><ToUserName>ww1</ToUserName><FromUserName>alice</FromUserName>\
             <CreateTime>1348831860</CreateTime>{fields}<AgentID>1000002</AgentID></xml>"
        );
        read(&config(), message.as_bytes()).unwrap()
    }

    fn event(fields: &str) -> Event {
        match reading(fields) {
            Reading::Event(event) => *event,
            other => panic!("{other:?}"),
        }
    }

    fn message(fields: &str) -> Message {
        event(&format!("{fields}<MsgId>1</MsgId>"))
            .message()
            .unwrap_or_else(|| panic!("{fields}"))
            .clone()
    }

    #[test]
    fn a_text_becomes_a_message() {
        let event = event(
            "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[ this is\n a test ]]></Content>\
             <MsgId>1234567890123456</MsgId>",
        );
        assert_eq!(event.id, "1234567890123456");
        let message = event.message().unwrap();
        assert_eq!(message.conversation.id, "alice");
        assert_eq!(message.conversation.kind, ChatKind::Direct);
        assert_eq!(message.sender, "alice");
        assert_eq!(message.sent_at_ms, 1_348_831_860_000);
        assert_eq!(message.text, " this is\n a test ");
    }

    #[test]
    fn media_have_handles_and_what_is_known_of_them() {
        let image =
            message("<MsgType>image</MsgType><PicUrl>http://p</PicUrl><MediaId>m1</MediaId>");
        assert_eq!(image.media[0].kind, MediaKind::Image);
        let handle = image.media[0].handle.as_deref().unwrap();
        let Handle::Received(received) = Handle::decode(handle).unwrap() else {
            panic!("not received");
        };
        assert_eq!(received.media_id, "m1");
        let voice = message("<MsgType>voice</MsgType><MediaId>m</MediaId><Format>amr</Format>");
        assert_eq!(voice.media[0].mime.as_deref(), Some("audio/amr"));
        let odd = message("<MsgType>voice</MsgType><MediaId>m</MediaId><Format>a/b</Format>");
        assert_eq!(odd.media[0].mime, None);
        let video =
            message("<MsgType>video</MsgType><MediaId>m</MediaId><ThumbMediaId>t</ThumbMediaId>");
        assert_eq!(video.media[0].kind, MediaKind::Video);
        let file = message(
            "<MsgType>file</MsgType><MediaId>m</MediaId><FileName>../a.pdf</FileName><FileSize>12</FileSize>",
        );
        assert_eq!(file.media[0].mime.as_deref(), Some("application/pdf"));
        assert!(!file.media[0].name.as_deref().unwrap().contains('/'));
        assert_eq!(file.media[0].size, Some(12));
        let lost = message("<MsgType>image</MsgType>");
        assert_eq!(lost.media[0].handle, None);
    }

    #[test]
    fn places_and_links_are_text() {
        for (fields, expect) in [
            (
                "<MsgType>location</MsgType><Location_X>23.134</Location_X>\
                 <Location_Y>113.358</Location_Y><Scale>20</Scale><Label>A place</Label>",
                "A place\ngeo:23.134,113.358",
            ),
            (
                "<MsgType>location</MsgType><Location_X>x</Location_X><Label>A place</Label>",
                "A place",
            ),
            (
                "<MsgType>link</MsgType><Title>T</Title><Description>D</Description>\
                 <Url>https://example.com</Url><PicUrl>p</PicUrl>",
                "T\nD\nhttps://example.com",
            ),
            (
                "<MsgType>link</MsgType>",
                "[message without readable content]",
            ),
            (
                "<MsgType>text</MsgType>",
                "[message without readable content]",
            ),
        ] {
            assert_eq!(message(fields).text, expect);
        }
    }

    #[test]
    fn a_picture_without_an_id_is_its_address() {
        let image = message("<MsgType>image</MsgType><PicUrl>https://p/1</PicUrl>");
        assert_eq!((image.text.as_str(), image.media.len()), ("https://p/1", 0));
    }

    #[test]
    fn a_mixture_is_one_message() {
        let kinds = |message: &Message| {
            message
                .media
                .iter()
                .map(|media| media.kind)
                .collect::<Vec<_>>()
        };
        for (fields, text, media) in [
            (
                "<MixedMessage><MsgItem><MsgType>text</MsgType><Text><Content> look: </Content></Text></MsgItem>\
                 <MsgItem><MsgType>image</MsgType><Image><MediaId>m1</MediaId></Image></MsgItem>\
                 <MsgItem><MsgType>text</MsgType><Text><Content>there</Content></Text></MsgItem></MixedMessage>",
                " look: \nthere",
                vec![MediaKind::Image],
            ),
            (
                "<MixedMessage><MsgItem><MsgType>text</MsgType><Content>flat</Content></MsgItem>\
                 <MsgItem><MsgType>image</MsgType><PicUrl>p</PicUrl><MediaId>m1</MediaId></MsgItem>\
                 <MsgItem><MsgType>image</MsgType><MediaId>m2</MediaId></MsgItem></MixedMessage>",
                "flat",
                vec![MediaKind::Image, MediaKind::Image],
            ),
            (
                "<Item><MsgType>text</MsgType><Text><Content>no list</Content></Text></Item>\
                 <Item><MsgType>video</MsgType><Video><MediaId>m</MediaId></Video></Item>",
                "no list",
                vec![MediaKind::Video],
            ),
            (
                "<MixedMessage><MsgItem><MsgType>image</MsgType><Image><ImageUrl>https://p/1</ImageUrl></Image>\
                 </MsgItem></MixedMessage>",
                "https://p/1",
                vec![],
            ),
            (
                "<MixedMessage><MsgItem><MsgType>hologram</MsgType><Hologram><Title>T</Title></Hologram></MsgItem>\
                 <MsgItem><MsgType>file</MsgType><File><MediaId>m</MediaId><FileName>a.pdf</FileName></File>\
                 </MsgItem></MixedMessage>",
                "[unsupported content of type hologram]\nT",
                vec![MediaKind::File],
            ),
            (
                "<MixedMessage/>",
                "[message without readable content]",
                vec![],
            ),
            (
                "<Content>x</Content>",
                "[message without readable content]",
                vec![],
            ),
        ] {
            let message = message(&format!("<MsgType>mixed</MsgType>{fields}"));
            assert_eq!(
                (message.text.as_str(), kinds(&message)),
                (text, media),
                "{fields}"
            );
        }
    }

    #[test]
    fn what_is_not_known_reaches_the_agent_as_what_it_is() {
        for (fields, text, media) in [
            (
                "<MsgType>hologram</MsgType><Token>SECRET</Token>",
                "[unsupported content of type hologram]",
                0,
            ),
            (
                "<MsgType>miniprogram</MsgType><Title>Shop</Title><Url>https://s</Url>",
                "[unsupported content of type miniprogram]\nShop\nhttps://s",
                0,
            ),
            (
                "<MsgType>sticker</MsgType><MediaId>m</MediaId><FileName>a.gif</FileName>",
                "[unsupported content of type sticker]",
                1,
            ),
            (
                "<MsgType>markdown</MsgType><Content>**hi**</Content>",
                "[unsupported content of type markdown]\n**hi**",
                0,
            ),
            (
                "<MsgType>TEXT</MsgType><Content>hi</Content>",
                "[unsupported content of type TEXT]\nhi",
                0,
            ),
            (
                "<MsgType>a\u{7}b</MsgType>",
                "[unsupported content of type ab]",
                0,
            ),
        ] {
            let message = message(fields);
            assert_eq!(
                (message.text.as_str(), message.media.len()),
                (text, media),
                "{fields}"
            );
        }
        let long = message(&format!("<MsgType>{}</MsgType>", "x".repeat(1000)));
        assert!(long.text.len() < 100);
    }

    #[test]
    fn what_happened_is_told_by_its_name() {
        for (fields, expect) in [
            (
                "<MsgType>event</MsgType><Event>enter_agent</Event><EventKey/>",
                "enter_agent",
            ),
            (
                "<MsgType>event</MsgType><Event>subscribe</Event>",
                "subscribe",
            ),
            ("<MsgType>event</MsgType>", "event"),
            (
                "<MsgType>event</MsgType><Event>hologram</Event><Token>SECRET</Token>",
                "hologram",
            ),
        ] {
            let Body::Other {
                name,
                json,
                conversation,
            } = event(fields).body
            else {
                panic!("{fields}");
            };
            assert_eq!((name.as_str(), conversation.id.as_str()), (expect, "alice"));
            let json: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["FromUserName"], json!("alice"));
            assert_eq!(json.get("Token"), None);
        }
    }

    #[test]
    fn the_id_is_the_same_at_every_delivery_and_another_for_another_event() {
        let ids = [
            "<MsgType>event</MsgType><Event>enter_agent</Event>",
            "<MsgType>event</MsgType><Event>subscribe</Event>",
            "<MsgType>event</MsgType><Event>click</Event><EventKey>a</EventKey>",
            "<MsgType>event</MsgType><Event>click</Event><EventKey>b</EventKey>",
            "<MsgType>text</MsgType><Content>a</Content>",
            "<MsgType>text</MsgType><Content>b</Content>",
        ];
        let ids = ids.map(|fields| (event(fields).id, event(fields).id));
        assert!(ids.iter().all(|(one, two)| one == two));
        let distinct: std::collections::BTreeSet<_> = ids.iter().map(|(id, _)| id).collect();
        assert_eq!(distinct.len(), ids.len());
        let long = event(&format!(
            "<MsgType>text</MsgType><MsgId>{}</MsgId>",
            "1".repeat(300)
        ));
        assert!(long.id.starts_with("event:alice:"));
    }

    #[test]
    fn what_can_not_be_used_says_why() {
        for fields in ["", "<MsgType> </MsgType>"] {
            assert!(
                matches!(reading(fields), Reading::Unreadable(_)),
                "{fields}"
            );
        }
        let sender = "x".repeat(300);
        let message =
            format!("<xml><FromUserName>{sender}</FromUserName><MsgType>text</MsgType></xml>");
        let read = read(&config(), message.as_bytes());
        assert!(matches!(read, Ok(Reading::Unreadable(_))));
    }
}
