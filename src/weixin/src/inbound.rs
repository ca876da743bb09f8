//! From the platform's messages to the channel's events.
//!
//! Only what a person wrote becomes an event. What can't be read is skipped with a sentence for the
//! log; the messages beside it arrive.

use super::media;
use super::quote;
use super::wire::{self, Content, Item, Object, QuoteReference, WeixinMessage};
use gateway_channel_sdk::dedup::fnv1a;
use gateway_channel_sdk::message::{Body, ChatKind, Conversation, Event, Message};

/// Longest id of a person, a group or a message: it becomes part of a key of the store.
const MAX_ID_BYTES: usize = 512;

/// What one message of a batch became.
#[derive(Debug)]
pub enum Reading {
    /// Something for the agent. The reference is of a quote whose content was not sent along: look it
    /// up, and read it once more with [`quote::read`].
    Event(Box<Event>, Option<Box<QuoteReference>>),
    /// Nothing for the agent, as it should be.
    Ignored,
    /// It can't be used, for this reason.
    Unreadable(&'static str),
}

/// Reads one message of a batch.
pub fn read(json: &str) -> Reading {
    let Some((message, object)) = wire::message(json) else {
        return Reading::Unreadable("is no JSON object");
    };
    if message.is_from_bot {
        return Reading::Ignored;
    }
    let Some(sender) = message.from_user_id.clone() else {
        return Reading::Unreadable("has no sender");
    };
    if sender.len() > MAX_ID_BYTES
        || message
            .group_id
            .as_ref()
            .is_some_and(|id| id.len() > MAX_ID_BYTES)
    {
        return Reading::Unreadable("has a sender or a group whose id is too long");
    }
    let id = id(&message, &object);
    let conversation = match &message.group_id {
        Some(group) => Conversation {
            id: group.clone(),
            kind: ChatKind::Group,
        },
        None => Conversation {
            id: sender.clone(),
            kind: ChatKind::Direct,
        },
    };
    if message.is_recalled {
        let event = Event {
            id: format!("recalled:{id}"),
            body: Body::Recalled {
                conversation,
                message_id: id,
            },
        };
        return Reading::Event(Box::new(event), None);
    }
    let quoted = message.items.iter().find_map(|item| item.quote.as_ref());
    let unresolved = quoted.filter(|quoted| quoted.id.is_some() && quote::is_by_id_alone(quoted));
    let unresolved = unresolved.cloned().map(Box::new);
    let event = Event {
        id,
        body: Body::Message(Message {
            conversation,
            sender,
            sent_at_ms: message.create_time_ms,
            received_ms: 0,
            text: text(&message.items),
            media: message
                .items
                .iter()
                .filter_map(|item| media::of(&item.content))
                .collect(),
            quote: quoted.map(|quoted| quote::read(quoted, None)),
            reply_token: message.context_token,
        }),
    };
    Reading::Event(Box::new(event), unresolved)
}

/// The server's id; where that is missing, the next best that is the same at every delivery.
fn id(message: &WeixinMessage, object: &Object) -> String {
    let usable = |id: &&String| id.len() <= MAX_ID_BYTES;
    if let Some(id) = message.message_id.as_ref().filter(usable) {
        return id.clone();
    }
    let mut item_ids = message.items.iter().filter_map(|item| item.msg_id.as_ref());
    if let Some(id) = item_ids.find(usable) {
        return format!("item:{id}");
    }
    if let Some(id) = message.client_id.as_ref().filter(usable) {
        return format!("client:{id}");
    }
    if let Some(seq) = message.seq {
        return format!("seq:{seq}");
    }
    format!("content:{:016x}", fnv1a(object.to_json().as_bytes()))
}

/// All text of a message. An item of an unknown kind is named, so that no message is empty without a
/// reason.
fn text(items: &[Item]) -> String {
    let texts: Vec<String> = items
        .iter()
        .filter_map(|item| match &item.content {
            Content::Text(text) => Some(text.clone()),
            Content::Unknown(kind) => Some(format!("[unsupported content of type {kind}]")),
            _ => None,
        })
        .filter(|text| !text.is_empty())
        .collect();
    if texts.is_empty() && items.iter().all(|item| media::of(&item.content).is_none()) {
        return "[message without readable content]".to_owned();
    }
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use gateway_channel_sdk::message::MediaKind;

    fn event(json: serde_json::Value) -> Event {
        match read(&json.to_string()) {
            Reading::Event(event, _) => *event,
            other => panic!("{other:?}"),
        }
    }

    fn message(items: serde_json::Value) -> Message {
        let event = event(json!({
            "message_id": 1, "from_user_id": "alice", "item_list": items,
        }));
        event.message().unwrap().clone()
    }

    #[test]
    fn a_text_becomes_a_message() {
        let event = event(json!({
            "seq": 3, "message_id": 7497484083968569736u64, "from_user_id": "alice@im.wechat",
            "to_user_id": "bot@im.bot", "client_id": "c", "create_time_ms": 1795359559736u64,
            "session_id": "s", "message_type": 1, "message_state": 2, "context_token": "secret",
            "item_list": [{"type": 1, "text_item": {"text": "hello"}, "button_item_list": []}],
        }));
        assert_eq!(event.id, "7497484083968569736");
        let message = event.message().unwrap();
        assert_eq!(message.conversation.id, "alice@im.wechat");
        assert_eq!(message.conversation.kind, ChatKind::Direct);
        assert_eq!(message.sent_at_ms, 1795359559736);
        assert_eq!(message.text, "hello");
        assert_eq!(message.reply_token.as_deref(), Some("secret"));
        assert_eq!(message.quote, None);
    }

    #[test]
    fn the_shapes_that_break_other_clients_are_read() {
        for quote in [
            json!({"message_item": {"type": 0, "msg_id": 5}}),
            json!({"message_item": {"type": 8, "msg_id": "5"}}),
            json!({"svr_id": 5}),
            json!({"svr_id": "5", "message_item": {"type": 1, "msg_id": 6}}),
        ] {
            let items = json!([{"type": 1, "text_item": {"text": "x"}, "ref_msg": quote}]);
            let quote = message(items).quote.unwrap();
            assert_eq!(quote.message_id.as_deref(), Some("5"));
        }
        let quoted = json!([{"type": 1, "text_item": {"text": "x"},
            "ref_msg": {"message_item": {"type": 1, "text_item": {"text": "before"}}}}]);
        assert_eq!(
            message(quoted).quote.unwrap().text.as_deref(),
            Some("before")
        );
        let image = message(json!([{"type": 2, "image_item": {"mid_size": "12", "media": 5}}]));
        assert_eq!(image.media[0].kind, MediaKind::Image);
        let file = message(json!([{"type": 4, "file_item": {"file_name": "a.pdf", "len": "12"}}]));
        assert_eq!(file.media[0].size, Some(12));
        let voice = message(json!([{"type": 3, "voice_item": {"playtime": 1500, "text": "hi"}}]));
        assert_eq!(voice.media[0].transcript.as_deref(), Some("hi"));
        assert_eq!(voice.text, "");
    }

    #[test]
    fn no_message_is_empty_without_a_reason() {
        assert_eq!(
            message(json!([{"type": 99}])).text,
            "[unsupported content of type 99]"
        );
        for items in [
            json!([]),
            json!(null),
            json!([{"type": 0}]),
            json!([1, "x", null]),
        ] {
            assert_eq!(message(items).text, "[message without readable content]");
        }
    }

    #[test]
    fn the_id_is_the_same_at_every_delivery() {
        for (json, expect) in [
            (json!({"message_id": "12"}), "12"),
            (
                json!({"item_list": [{"msg_id": 9}], "client_id": "c"}),
                "item:9",
            ),
            (json!({"client_id": "c", "seq": 4}), "client:c"),
            (json!({"seq": 4}), "seq:4"),
        ] {
            let mut json = json;
            json["from_user_id"] = "alice".into();
            assert_eq!(event(json).id, expect);
        }
        let bare = json!({"from_user_id": "alice", "create_time_ms": 5});
        assert_eq!(event(bare.clone()).id, event(bare).id);
    }

    #[test]
    fn a_recall_is_told_and_a_bots_message_is_not() {
        let recalled = event(json!({"message_id": 5, "from_user_id": "a", "delete_time_ms": 9}));
        assert_eq!(recalled.id, "recalled:5");
        let bot = json!({"message_id": 5, "from_user_id": "a", "message_type": 2});
        assert!(matches!(read(&bot.to_string()), Reading::Ignored));
    }

    #[test]
    fn a_message_in_a_group_belongs_to_the_group() {
        let event = event(json!({"message_id": 5, "from_user_id": "a", "group_id": "g"}));
        let message = event.message().unwrap();
        assert_eq!(message.conversation.kind, ChatKind::Group);
        assert_eq!(message.conversation.id, "g");
        assert_eq!(message.sender, "a");
    }

    #[test]
    fn what_is_no_message_is_unreadable() {
        let long = json!({"message_id": 1, "from_user_id": "x".repeat(600)}).to_string();
        for json in [
            &long,
            "1",
            "null",
            "\"x\"",
            "[]",
            "{",
            "",
            "{\"message_id\":1}",
        ] {
            assert!(matches!(read(json), Reading::Unreadable(_)), "{json}");
        }
    }
}
