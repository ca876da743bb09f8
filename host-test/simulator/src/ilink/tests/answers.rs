//! Answers that go wrong on the way.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::ilink::Endpoint;
use crate::ilink::client::{Client, cursor, message, strict_simulator};
use crate::{Fault, Simulator};

const ALICE: &str = "wxid_alice@im.wechat";

/// The outcome of one send under this fault, and what Alice's phone shows of it.
async fn send_under(fault: Value) -> (Result<(StatusCode, String), String>, usize) {
    let simulator = strict_simulator().await;
    simulator.say(ALICE, "hi");
    simulator.faults(&json!({"sendmessage": fault})).unwrap();
    let outcome = Client::new(&simulator)
        .post("sendmessage", message(ALICE, "x", "c"))
        .await;
    (outcome, simulator.answers(ALICE).len())
}

#[tokio::test]
async fn a_cut_connection_tells_nothing_about_what_took_effect() {
    for (cut, shown) in [("before", 0), ("after", 1), ("body", 1)] {
        let (outcome, phone) = send_under(json!({"cut": cut, "times": 1})).await;
        assert!(outcome.is_err(), "{cut}: {outcome:?}");
        assert_eq!(phone, shown, "{cut}");
    }
}

#[tokio::test]
async fn wrong_answers_are_given_with_or_without_effect() {
    let (outcome, phone) = send_under(json!({"status": 524})).await;
    let (status, page) = outcome.unwrap();
    assert_eq!((status.as_u16(), phone), (524, 0));
    assert!(page.starts_with("<html>"), "{page}");
    let (outcome, phone) = send_under(json!({"status": 502, "processed": true})).await;
    assert_eq!((outcome.unwrap().0.as_u16(), phone), (502, 1));
    let (outcome, phone) = send_under(json!({"body": ""})).await;
    assert_eq!((outcome.unwrap().1.as_str(), phone), ("", 0));
    let result = json!({"ret": 0, "errcode": -14, "errmsg": "x"});
    let (outcome, phone) = send_under(result.clone()).await;
    assert_eq!((outcome.unwrap().1, phone), (result.to_string(), 0));
    let (outcome, phone) = send_under(json!({"truncated": true})).await;
    assert!(serde_json::from_str::<Value>(&outcome.unwrap().1).is_err());
    assert_eq!(phone, 1);
    let (outcome, _) = send_under(json!({"without": ["ret", "message_id"]})).await;
    assert_eq!(outcome.unwrap().1, "{}");
}

#[tokio::test]
async fn a_dripping_answer_comes_whole_in_the_end() {
    let (outcome, phone) = send_under(json!({"drip_ms": 2})).await;
    let answer: Value = serde_json::from_str(&outcome.unwrap().1).unwrap();
    assert!(answer["message_id"].is_u64() && phone == 1);
}

#[tokio::test]
async fn a_stalled_exchange_ends_with_the_server() {
    for (stall, shown) in [("before", 0), ("headers", 1), ("body", 1)] {
        let simulator = strict_simulator().await;
        simulator.say(ALICE, "hi");
        simulator
            .faults(&json!({"sendmessage": {"stall": stall}}))
            .unwrap();
        let client = Client::new(&simulator);
        let sending =
            tokio::spawn(async move { client.post("sendmessage", message(ALICE, "x", "c")).await });
        let recorded = |simulator: &Simulator| simulator.log().len() == 1;
        simulator.wait_for(recorded).await;
        assert!(!sending.is_finished(), "{stall}");
        simulator.shutdown().await;
        assert!(sending.await.unwrap().is_err(), "{stall}");
        assert_eq!(simulator.answers(ALICE).len(), shown, "{stall}");
    }
}

#[tokio::test]
async fn a_slow_answer_took_effect_before_it_comes() {
    let simulator = strict_simulator().await;
    simulator.say(ALICE, "hi");
    simulator
        .fault(Endpoint::SendMessage, Fault::delay(Duration::from_secs(60)))
        .unwrap();
    let client = Client::new(&simulator);
    let sending = tokio::spawn(async move { client.send(ALICE, "x", "c").await });
    simulator
        .wait_for(|simulator| simulator.answers(ALICE).len() == 1)
        .await;
    assert!(!sending.is_finished());
    simulator
        .first()
        .server
        .clock
        .advance(Duration::from_secs(60));
    assert_eq!(sending.await.unwrap()["ret"], 0);
}

#[tokio::test]
async fn an_answer_without_cursor_loses_nothing() {
    let simulator = strict_simulator().await;
    simulator.say(ALICE, "hi");
    let fault = json!({"getupdates": {"without": ["get_updates_buf"], "times": 1}});
    simulator.faults(&fault).unwrap();
    let client = Client::new(&simulator);
    let answer = client.poll("").await;
    assert!(answer.get("get_updates_buf").is_none());
    assert_eq!(answer["msgs"], client.poll("").await["msgs"]);
    assert!(!cursor(&client.poll("").await).is_empty());
}
