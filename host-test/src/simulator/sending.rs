//! `sendmessage`: from the bot to people's phones, through the platform's limits.
//!
//! The checks, in order: the shape (exactly one item), the length of a text, the burst, the
//! person's window (they must have written, lately, and not too many sends ago). Only what is
//! accepted uses up the window's budget; tool-call items are accepted, shown nowhere, answered
//! with an empty body, and use none of it.

use std::time::Duration;

use serde_json::Value;

use super::World;
use super::account::{Bot, Sent, State};
use super::faults::SentAs;
use super::people::shown;
use super::stamp::{Kind, Stamp, mark};

/// UTF-8 bytes of a text that the real server takes.
const TEXT_BYTES: usize = 16_384;

/// The answer to a request that is not understood.
pub(super) const INVALID: &str = r#"{"ret":-1,"errmsg":"invalid arguments"}"#;
const TOO_LONG: &str = r#"{"ret":-2,"errmsg":""}"#;
const REFUSED: &str = r#"{"ret":-2,"errmsg":"prepare failed"}"#;

/// Answers `sendmessage`. With `shown_at_all` false the send is accepted and lost.
pub(super) fn sendmessage(
    world: &World,
    bot: &Bot,
    body: &Value,
    sent_as: SentAs,
    shown_at_all: bool,
) -> String {
    let mut state = bot.lock();
    let Some(send) = Send::read(body) else {
        state.counters.refused += 1;
        return INVALID.to_owned();
    };
    let context = context(world, bot, &state, &send);
    if context == "other-peer" {
        world.violation(format!(
            "sendmessage: a send to {} carries another person's context token",
            send.user
        ));
    }
    if let Some(refusal) = state.refusal(world, &send) {
        state.counters.refused += 1;
        return refusal.to_owned();
    }
    state.counters.accepted += 1;
    if matches!(send.kind, 11 | 12) {
        return String::new();
    }
    let content = Sent {
        message_id: world.next_message_id(),
        mark: mark(send.user) ^ mark(&send.item.to_string()),
    };
    let before = state.client_ids.find(send.client_id);
    if let Some(before) = before {
        state.counters.repeats += 1;
        if before.mark != content.mark {
            world.violation(format!(
                "sendmessage: client_id {} is used for two different messages",
                send.client_id
            ));
        }
    }
    let repeated = before.filter(|_| state.rules.dedupe);
    let id = repeated.unwrap_or(content).message_id;
    if !send.client_id.is_empty() {
        state.client_ids.remember(send.client_id, content);
    }
    if repeated.is_none() {
        if let Some(person) = state.people.get_mut(send.user) {
            person.sent += 1;
        }
        if sent_as != SentAs::BlackHole && shown_at_all {
            let mut entry = shown(bot, send.user, "bot", send.item);
            entry.insert("message_id".to_owned(), id.into());
            entry.insert("client_id".to_owned(), send.client_id.into());
            entry.insert("context".to_owned(), context.into());
            world.show_after(entry.into(), state.rules.delivery_delay);
        }
    }
    match sent_as {
        SentAs::Id => format!(r#"{{"ret":0,"message_id":{id}}}"#),
        SentAs::NoRet => format!(r#"{{"message_id":{id}}}"#),
        SentAs::StringId => format!(r#"{{"ret":0,"message_id":"{id}"}}"#),
        SentAs::Empty => "{}".to_owned(),
        SentAs::BlackHole => r#"{"ret":0}"#.to_owned(),
    }
}

/// The parts of a request that the server goes by.
struct Send<'a> {
    user: &'a str,
    client_id: &'a str,
    context_token: &'a str,
    item: &'a Value,
    kind: u64,
}

impl<'a> Send<'a> {
    fn read(body: &'a Value) -> Option<Send<'a>> {
        let message = &body["msg"];
        let [item] = message["item_list"].as_array()?.as_slice() else {
            return None;
        };
        let kind = item["type"].as_u64()?;
        if !item[payload_key(kind)?].is_object() {
            return None;
        }
        let text = &item["text_item"]["text"];
        if kind == 1 && text.as_str().is_none_or(str::is_empty) {
            return None;
        }
        Some(Send {
            user: message["to_user_id"]
                .as_str()
                .filter(|user| !user.is_empty())?,
            client_id: message["client_id"].as_str().unwrap_or_default(),
            context_token: message["context_token"].as_str().unwrap_or_default(),
            item,
            kind,
        })
    }
}

/// The member that holds the payload of an item that a bot can send.
fn payload_key(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "text_item",
        2 => "image_item",
        3 => "voice_item",
        4 => "file_item",
        5 => "video_item",
        11 => "tool_call_start_item",
        12 => "tool_call_result_item",
        _ => return None,
    })
}

impl State {
    fn refusal(&mut self, world: &World, send: &Send<'_>) -> Option<&'static str> {
        let now = world.clock.elapsed();
        let text = send.item["text_item"]["text"].as_str().unwrap_or_default();
        if text.len() > TEXT_BYTES {
            return Some(TOO_LONG);
        }
        if let Some(burst) = self.rules.burst
            && !self.bucket.admits(burst, now)
        {
            return Some(REFUSED);
        }
        let person = self
            .people
            .get(send.user)
            .and_then(|person| Some((person, person.wrote_at?)));
        let Some((person, wrote_at)) = person else {
            return Some(REFUSED);
        };
        let silent = now.saturating_sub(wrote_at);
        let closed = self.rules.window.is_some_and(|window| silent > window);
        let used_up = self
            .rules
            .budget
            .is_some_and(|budget| person.sent >= budget);
        (closed || used_up).then_some(REFUSED)
    }
}

/// What a send's context token is to its recipient.
fn context(world: &World, bot: &Bot, state: &State, send: &Send<'_>) -> &'static str {
    if send.context_token.is_empty() {
        return "absent";
    }
    match Stamp::open(Kind::Context, world.start, send.context_token) {
        None => "unknown",
        Some(stamp) if stamp.account != bot.mark || stamp.user != mark(send.user) => "other-peer",
        Some(stamp) => match state.people.get(send.user) {
            Some(person) if person.context == stamp.number => "newest",
            _ => "older",
        },
    }
}

impl World {
    /// Shows an entry now, or later and then in order.
    fn show_after(&self, entry: Value, delay: Duration) {
        if delay.is_zero() {
            self.show(entry);
            return;
        }
        // Nobody takes it once the server has ended, and then no phone shows anything.
        let _ = self
            .late
            .send((self.clock.elapsed().saturating_add(delay), entry));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Simulator;
    use super::super::client::{Client, message, strict_simulator};
    use super::*;

    const ALICE: &str = "wxid_alice@im.wechat";
    const BOB: &str = "wxid_bob@im.wechat";

    fn refused() -> Value {
        json!({"ret": -2, "errmsg": "prepare failed"})
    }

    async fn simulator() -> (Simulator, Client) {
        let simulator = strict_simulator().await;
        let client = Client::new(&simulator);
        (simulator, client)
    }

    #[tokio::test]
    async fn an_accepted_send_has_an_id_and_shows() {
        let (simulator, client) = simulator().await;
        simulator.say(ALICE, "hi");
        let answer = client.send(ALICE, "hello", "c1").await;
        assert_eq!(answer["ret"], 0);
        let phone = simulator.phone();
        let shown = &phone[1];
        assert_eq!(
            (&shown["text"], &shown["client_id"]),
            (&json!("hello"), &json!("c1"))
        );
        assert_eq!(
            (&shown["message_id"], &shown["context"]),
            (&answer["message_id"], &json!("absent"))
        );
        assert_eq!(simulator.answers(ALICE), ["hello"]);
        assert_eq!(simulator.violations(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn ten_sends_then_the_person_must_write() {
        let (simulator, client) = simulator().await;
        assert_eq!(client.send(ALICE, "too early", "0").await, refused());
        simulator.say(ALICE, "hi");
        simulator.say(BOB, "hi");
        for number in 0..10 {
            assert_eq!(
                client.send(ALICE, "x", &format!("a{number}")).await["ret"],
                0
            );
        }
        assert_eq!(client.send(ALICE, "x", "b").await, refused());
        assert_eq!(client.send(BOB, "x", "c").await["ret"], 0);
        simulator.say(ALICE, "go on");
        assert_eq!(client.send(ALICE, "x", "d").await["ret"], 0);
        simulator.faults(&json!({"budget": null})).unwrap();
        for number in 0..20 {
            assert_eq!(
                client.send(ALICE, "x", &format!("e{number}")).await["ret"],
                0
            );
        }
        let counters = simulator.counters();
        assert_eq!(
            (counters.sends, counters.accepted, counters.refused),
            (34, 32, 2)
        );
    }

    #[tokio::test]
    async fn the_window_closes_after_a_day() {
        let (simulator, client) = simulator().await;
        let clock = simulator.first().world.clock.clone();
        simulator.say(ALICE, "hi");
        clock.advance(Duration::from_secs(22 * 3600));
        assert_eq!(client.send(ALICE, "x", "1").await["ret"], 0);
        clock.advance(Duration::from_secs(2 * 3600));
        assert_eq!(client.send(ALICE, "x", "2").await, refused());
        simulator.faults(&json!({"window_ms": null})).unwrap();
        assert_eq!(client.send(ALICE, "x", "3").await["ret"], 0);
    }

    #[tokio::test]
    async fn a_burst_is_throttled_for_long() {
        let (simulator, client) = simulator().await;
        let clock = simulator.first().world.clock.clone();
        simulator.say(ALICE, "hi");
        let burst = json!({"size": 3, "per_second": 0, "penalty_ms": 3_600_000});
        simulator
            .faults(&json!({"burst": burst, "budget": null}))
            .unwrap();
        for number in 0..3 {
            assert_eq!(
                client.send(ALICE, "x", &format!("a{number}")).await["ret"],
                0
            );
        }
        assert_eq!(client.send(ALICE, "x", "b").await, refused());
        simulator
            .faults(&json!({"burst": {"per_second": 3}}))
            .unwrap();
        clock.advance(Duration::from_secs(1800));
        assert_eq!(client.send(ALICE, "x", "c").await, refused());
        clock.advance(Duration::from_secs(3601));
        assert_eq!(client.send(ALICE, "x", "d").await["ret"], 0);
    }

    #[tokio::test]
    async fn what_is_not_one_readable_item_is_refused() {
        let (simulator, client) = simulator().await;
        simulator.say(ALICE, "hi");
        let text = json!({"type": 1, "text_item": {"text": "x"}});
        for items in [
            json!(null),
            json!([]),
            json!([text, text]),
            json!([{"type": 1}]),
            json!([{"type": 1, "text_item": {"text": ""}}]),
            json!([{"type": 2, "text_item": {"text": "x"}}]),
            json!([{"type": 0}]),
            json!([7]),
        ] {
            let mut body = message(ALICE, "x", "c");
            body["msg"]["item_list"] = items.clone();
            let answer = client.call("sendmessage", body).await;
            assert_eq!(answer["errmsg"], "invalid arguments", "{items}");
        }
        let limit = "é".repeat(8_192);
        assert_eq!(client.send(ALICE, &limit, "l1").await["ret"], 0);
        assert_eq!(client.send(ALICE, &(limit + "."), "l2").await["ret"], -2);
        assert_eq!(simulator.answers(ALICE).len(), 1);
    }

    #[tokio::test]
    async fn progress_of_tools_is_answered_with_nothing_and_not_shown() {
        let (simulator, client) = simulator().await;
        simulator.say(ALICE, "hi");
        let mut body = message(ALICE, "x", "c");
        body["msg"]["item_list"] = json!([{
            "type": 11, "create_time_ms": 1, "is_completed": false,
            "tool_call_start_item": {"tool_name": "t"},
        }]);
        let (status, text) = client.post("sendmessage", body).await.unwrap();
        assert_eq!((status.as_u16(), text.as_str()), (200, ""));
        assert_eq!(simulator.answers(ALICE), Vec::<String>::new());
        assert_eq!(simulator.violations(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn the_phone_says_whose_context_token_a_send_carried() {
        let (simulator, client) = simulator().await;
        let token = |message: &Value| message["context_token"].clone();
        let old = token(&simulator.say(ALICE, "1"));
        let new = token(&simulator.say(ALICE, "2"));
        let bobs = token(&simulator.say(BOB, "3"));
        for (number, context) in [old, new, bobs, json!("forged")].into_iter().enumerate() {
            let mut body = message(ALICE, "x", &number.to_string());
            body["msg"]["context_token"] = context;
            client.call("sendmessage", body).await;
        }
        let phone = simulator.phone();
        let contexts: Vec<&Value> = phone[3..].iter().map(|entry| &entry["context"]).collect();
        assert_eq!(contexts, ["older", "newest", "other-peer", "unknown"]);
        let violations = simulator.violations();
        assert!(
            violations.len() == 1 && violations[0].contains("another person's"),
            "{violations:?}"
        );
    }

    #[tokio::test]
    async fn a_repeated_client_id_shows_twice_unless_told_to_dedupe() {
        let (simulator, client) = simulator().await;
        simulator.say(ALICE, "hi");
        let first = client.send(ALICE, "x", "c").await;
        let second = client.send(ALICE, "x", "c").await;
        assert_ne!(first["message_id"], second["message_id"]);
        simulator.faults(&json!({"dedupe": true})).unwrap();
        assert_eq!(client.send(ALICE, "x", "c").await, first);
        assert_eq!(simulator.answers(ALICE).len(), 2);
        assert_eq!(simulator.counters().repeats, 2);
        assert_eq!(simulator.violations(), Vec::<String>::new());
        client.send(ALICE, "something else", "c").await;
        assert_eq!(simulator.violations().len(), 1);
    }

    #[tokio::test]
    async fn accepted_sends_are_answered_in_every_known_way() {
        let (simulator, client) = simulator().await;
        simulator.say(ALICE, "hi");
        let faults: Vec<Value> = ["black-hole", "empty", "no-ret", "string-id"]
            .map(|answer| json!({"answer": answer, "times": 1}))
            .into();
        simulator.faults(&json!({"sendmessage": faults})).unwrap();
        assert_eq!(client.send(ALICE, "1", "1").await, json!({"ret": 0}));
        assert_eq!(client.send(ALICE, "2", "2").await, json!({}));
        let no_ret = client.send(ALICE, "3", "3").await;
        assert!(no_ret["message_id"].is_u64() && no_ret.get("ret").is_none());
        assert!(client.send(ALICE, "4", "4").await["message_id"].is_string());
        assert!(client.send(ALICE, "5", "5").await["message_id"].is_u64());
        assert_eq!(simulator.answers(ALICE), ["2", "3", "4", "5"]);
    }

    #[tokio::test]
    async fn late_deliveries_keep_their_order() {
        let (simulator, client) = simulator().await;
        simulator.say(ALICE, "hi");
        simulator
            .faults(&json!({"delivery_ms": 7_200_000}))
            .unwrap();
        for text in ["1", "2", "3"] {
            assert_eq!(client.send(ALICE, text, text).await["ret"], 0);
        }
        assert_eq!(simulator.answers(ALICE), Vec::<String>::new());
        simulator
            .first()
            .world
            .clock
            .advance(Duration::from_secs(7200));
        simulator
            .wait_for(|simulator| simulator.answers(ALICE).len() == 3)
            .await;
        assert_eq!(simulator.answers(ALICE), ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn without_app_headers_only_the_first_send_arrives() {
        let (simulator, mut client) = simulator().await;
        client.headers.remove("ilink-app-id");
        simulator
            .faults(&json!({"needs_app_headers": true, "strict": false}))
            .unwrap();
        simulator.say(ALICE, "hi");
        for text in ["1", "2"] {
            assert!(client.send(ALICE, text, text).await["message_id"].is_u64());
        }
        assert_eq!(simulator.answers(ALICE), ["1"]);
        assert_eq!(
            Client::new(&simulator).send(ALICE, "3", "3").await["ret"],
            0
        );
        assert_eq!(simulator.answers(ALICE), ["1", "3"]);
        assert_eq!(simulator.violations(), Vec::<String>::new());
    }
}
