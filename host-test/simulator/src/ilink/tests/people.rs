//! What people write, as a client gets it.

use gateway_listener::clock::Clock;
use serde_json::{Value, json};

use crate::ilink::client::{Client, strict_simulator};
use crate::{Repeat, Simulator, SimulatorOptions};

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
