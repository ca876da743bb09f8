//! What people do at their phones: the messages that they write to a bot.
//!
//! A message looks as the real server's do, unless the account's `inbound` rule changes it. Ids
//! grow with the order of the messages, and each message carries a new context token.

use serde_json::{Map, Value, json};

use super::ServerState;
use super::account::{Bot, State};
use super::faults::{Inbound, one_of};
use super::stamp::{Kind, Stamp, mark};

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

/// A phone's entry, so far as it is the same in both directions and without what it shows.
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
            let blob = server.cdn.of_item(item);
            let shown = blob.map_or_else(|| item.clone(), |blob| blob.summary());
            ("item".to_owned(), shown)
        }
    }
}

/// How a message is delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Exactly as it was.
    SameId,
    /// With a new message id, a new `seq` and a new context token.
    NewId,
    /// With the same id and a new context token.
    NewToken,
}

impl Repeat {
    pub(super) fn read(key: &str, value: &Value) -> Result<Repeat, String> {
        let choices = [
            ("same-id", Repeat::SameId),
            ("new-id", Repeat::NewId),
            ("new-token", Repeat::NewToken),
        ];
        one_of(key, value, &choices)
    }
}

impl State {
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

#[cfg(test)]
mod tests {
    use super::super::client::{Client, strict_simulator};
    use super::super::{Clock, Simulator, SimulatorOptions};
    use super::*;

    const ALICE: &str = "wxid_alice@im.wechat";

    /// All messages that the first account was given, as a client reads them.
    async fn delivered(simulator: &Simulator) -> Vec<Value> {
        let answer = Client::new(simulator).poll("").await;
        answer["msgs"]
            .as_array()
            .expect("the answer has messages")
            .clone()
    }

    #[tokio::test]
    async fn a_message_looks_like_the_real_ones() {
        let simulator = strict_simulator().await;
        let first = simulator.say(ALICE, "one");
        let second = simulator.say(ALICE, "one");
        let id = |message: &Value| message["message_id"].as_u64().expect("the id is a number");
        assert!(id(&first) > 1 << 53 && id(&first) < id(&second) && id(&second) < 1 << 63);
        assert_ne!(first["context_token"], second["context_token"]);
        assert_eq!(first["context_token"].as_str().map(str::len), Some(136));
        assert_eq!(first["item_list"][0]["msg_id"], first["message_id"]);
        assert_eq!(first["to_user_id"], simulator.account_id());
        assert_eq!(
            (&first["message_type"], &first["message_state"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(delivered(&simulator).await, [first, second]);
        let phone = simulator.phone();
        assert_eq!(
            (&phone[0]["from"], &phone[0]["text"]),
            (&json!("user"), &json!("one"))
        );
    }

    #[tokio::test]
    async fn ids_differ_from_those_of_an_earlier_start() {
        let earlier = strict_simulator().await.say(ALICE, "one");
        let clock = Clock::new();
        clock.advance(std::time::Duration::from_millis(1));
        let later = Simulator::start(SimulatorOptions {
            clock,
            ..SimulatorOptions::default()
        });
        let later = later.await.unwrap().say(ALICE, "one");
        assert!(earlier["message_id"].as_u64() < later["message_id"].as_u64());
    }

    #[tokio::test]
    async fn messages_are_delivered_again_as_they_were_or_changed() {
        let simulator = strict_simulator().await;
        let said = simulator.say(ALICE, "one");
        for how in [Repeat::SameId, Repeat::NewToken, Repeat::NewId] {
            simulator.first().repeat(&said, how);
        }
        simulator
            .faults(&json!({"inbound": {"duplicate": "same-id", "times": 1}}))
            .unwrap();
        simulator.say(ALICE, "two");
        simulator.say(ALICE, "three");
        let all = delivered(&simulator).await;
        assert_eq!(all.len(), 7);
        assert_eq!(all[0], all[1]);
        assert_eq!(all[0]["message_id"], all[2]["message_id"]);
        assert_ne!(all[0]["context_token"], all[2]["context_token"]);
        assert_ne!(all[0]["message_id"], all[3]["message_id"]);
        assert_eq!(all[3]["item_list"][0]["msg_id"], all[3]["message_id"]);
        assert_eq!(
            all[0]["item_list"][0]["text_item"],
            all[3]["item_list"][0]["text_item"]
        );
        assert_eq!(all[4], all[5]);
    }

    #[tokio::test]
    async fn messages_can_be_made_strange() {
        let simulator = strict_simulator().await;
        let set = json!({"group_id": "g@chatroom", "message_id": u64::MAX, "future": {"a": 1}});
        let strange = json!({"set": set, "without": ["seq"], "times": 1});
        simulator.faults(&json!({"inbound": strange})).unwrap();
        simulator.say(ALICE, "one");
        simulator
            .faults(&json!({"inbound": {"string_ids": true}}))
            .unwrap();
        simulator.push(
            ALICE,
            vec![json!({"type": 99}), json!(7), json!({"msg_id": "mine"})],
        );
        for garbage in [json!(null), json!(3), json!("text"), json!([]), json!({})] {
            simulator.push_raw(garbage);
        }
        let all = delivered(&simulator).await;
        assert_eq!(all.len(), 7);
        assert_eq!(all[0]["message_id"], json!(u64::MAX));
        assert_eq!(all[0]["future"]["a"], 1);
        assert!(all[0].get("seq").is_none());
        assert!(all[1]["message_id"].is_string());
        assert_eq!(all[1]["item_list"][0]["type"], 99);
        assert_eq!(all[1]["item_list"][1], 7);
        assert_eq!(
            all[2..],
            [json!(null), json!(3), json!("text"), json!([]), json!({})]
        );
        // Nothing of it can be repeated into a panic.
        for message in &all {
            simulator.first().repeat(message, Repeat::NewId);
        }
    }
}
