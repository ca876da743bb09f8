//! What bots may send, and what people see of it.

use serde_json::json;

use super::*;
use crate::Simulator;
use crate::ilink::RuleChanges;
use crate::ilink::client::{Client, message, strict_simulator};

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
    simulator.change(&RuleChanges::new().budget(None)).unwrap();
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
    let clock = simulator.first().server.clock.clone();
    simulator.say(ALICE, "hi");
    clock.advance(Duration::from_secs(22 * 3600));
    assert_eq!(client.send(ALICE, "x", "1").await["ret"], 0);
    clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(client.send(ALICE, "x", "2").await, refused());
    simulator.change(&RuleChanges::new().window(None)).unwrap();
    assert_eq!(client.send(ALICE, "x", "3").await["ret"], 0);
}

#[tokio::test]
async fn a_burst_is_throttled_for_long() {
    let (simulator, client) = simulator().await;
    let clock = simulator.first().server.clock.clone();
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
    simulator.change(&RuleChanges::new().dedupe(true)).unwrap();
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
        .change(&RuleChanges::new().delivery_delay(Duration::from_secs(7200)))
        .unwrap();
    for text in ["1", "2", "3"] {
        assert_eq!(client.send(ALICE, text, text).await["ret"], 0);
    }
    assert_eq!(simulator.answers(ALICE), Vec::<String>::new());
    simulator
        .first()
        .server
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
        .change(&RuleChanges::new().needs_app_headers(true).strict(false))
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
