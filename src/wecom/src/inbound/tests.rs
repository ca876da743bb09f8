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
    let image = message("<MsgType>image</MsgType><PicUrl>http://p</PicUrl><MediaId>m1</MediaId>");
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
