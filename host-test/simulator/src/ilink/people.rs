//! What people do at their phones: the messages that they write to a bot.
//!
//! A message looks as the real server's do, unless the account's `inbound` rule changes it. Ids
//! grow with the order of the messages, and each message carries a new context token.

use serde_json::{Map, Value, json};

use super::rules::{Inbound, Repeat};
use super::stamp::{Kind, Stamp, mark};
use super::state::{Bot, BotState, ServerState};

/// Stores a person's message and wakes the poll; returns the message.
pub(super) fn store(server: &ServerState, bot: &Bot, user: &str, items: Vec<Value>) -> Value {
    let now_ms = server.clock.unix_ms();
    let mut state = bot.lock();
    // Drawn under the lock, so that an account's ids grow with its positions.
    let id = server.next_message_id();
    let items: Vec<Value> = items
        .into_iter()
        .map(|item| completed(item, now_ms, id))
        .collect();
    for item in &items {
        let mut entry = entry(bot, user, "user", id);
        entry.extend([own(server, item)]);
        server.show(entry.into());
    }
    let person = state.people.entry(user.to_owned()).or_default();
    person.wrote_at = Some(server.clock.elapsed());
    person.sent = 0;
    let mut message = json!({
        "seq": state.inbox.end() + 1,
        "message_id": id,
        "from_user_id": user,
        "to_user_id": &*bot.account,
        "client_id": format!("{:016x}", rand::random::<u64>()),
        "create_time_ms": now_ms,
        "update_time_ms": now_ms,
        "delete_time_ms": 0,
        "session_id": format!("{:016x}", mark(user) ^ bot.mark),
        "message_type": 1,
        "message_state": 2,
        "item_list": items,
        "context_token": state.context_token(server, bot, user),
    });
    let altered = state.rules.inbound();
    if let Some(inbound) = &altered {
        alter(&mut message, inbound);
    }
    state.inbox.append(&message);
    let duplicate = altered.and_then(|inbound| inbound.duplicate);
    drop(state);
    if let Some(how) = duplicate {
        repeat(server, bot, &message, how);
    }
    announce(server, bot);
    message
}

/// Stores any JSON as a message.
pub(super) fn store_raw(server: &ServerState, bot: &Bot, message: &Value) {
    bot.lock().inbox.append(message);
    announce(server, bot);
}

/// Stores a message once more; returns it as stored.
pub(super) fn repeat(server: &ServerState, bot: &Bot, message: &Value, how: Repeat) -> Value {
    let mut message = message.clone();
    let mut state = bot.lock();
    if how != Repeat::SameId && message.is_object() {
        let user = message["from_user_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        message["context_token"] = state.context_token(server, bot, &user).into();
        if how == Repeat::NewId {
            message["seq"] = (state.inbox.end() + 1).into();
            set_ids(&mut message, &server.next_message_id().into());
        }
    }
    state.inbox.append(&message);
    drop(state);
    announce(server, bot);
    message
}

/// A text as an item of a message.
pub(super) fn text_item(text: &str) -> Value {
    json!({"type": 1, "text_item": {"text": text}})
}

/// The members of a phone's entry that are the same in both directions.
pub(super) fn entry(bot: &Bot, user: &str, from: &str, message_id: u64) -> Map<String, Value> {
    Map::from_iter([
        ("account".to_owned(), (*bot.account).into()),
        ("user".to_owned(), user.into()),
        ("from".to_owned(), from.into()),
        ("message_id".to_owned(), message_id.into()),
    ])
}

/// What a phone shows of an item that a person sent.
fn own(server: &ServerState, item: &Value) -> (String, Value) {
    match item["text_item"]["text"].as_str() {
        Some(text) if item["type"] == 1 => ("text".to_owned(), text.into()),
        _ => {
            let blob = server.files.of_item(item);
            let shown = blob.map_or_else(|| item.clone(), |blob| blob.summary());
            ("item".to_owned(), shown)
        }
    }
}

impl BotState {
    /// A new context token of this person, which is their newest now.
    fn context_token(&mut self, server: &ServerState, bot: &Bot, user: &str) -> String {
        let person = self.people.entry(user.to_owned()).or_default();
        person.context += 1;
        let number = person.context;
        Stamp {
            kind: Kind::Context,
            account: bot.mark,
            user: mark(user),
            number,
        }
        .seal(server.start)
    }
}

fn announce(server: &ServerState, bot: &Bot) {
    bot.arrived.notify_waiters();
    server.changed.notify_waiters();
}

/// Adds what the server adds to an item, unless it is there. An item that is no object stays.
fn completed(mut item: Value, now_ms: u64, id: u64) -> Value {
    if let Some(members) = item.as_object_mut() {
        let added = [
            ("create_time_ms", now_ms.into()),
            ("update_time_ms", now_ms.into()),
            ("is_completed", true.into()),
            ("msg_id", id.into()),
            // Seen on every item of the real server, of no known use.
            ("button_item_list", json!([])),
        ];
        for (key, value) in added {
            members.entry(key).or_insert(value);
        }
    }
    item
}

fn alter(message: &mut Value, inbound: &Inbound) {
    if inbound.string_ids {
        let id = message["message_id"].to_string();
        set_ids(message, &id.into());
    }
    if let Some(members) = message.as_object_mut() {
        members.extend(inbound.set.clone());
        members.retain(|key, _| !inbound.without.contains(key));
    }
}

fn set_ids(message: &mut Value, id: &Value) {
    message["message_id"] = id.clone();
    for item in message["item_list"].as_array_mut().into_iter().flatten() {
        if item.is_object() {
            item["msg_id"] = id.clone();
        }
    }
}
