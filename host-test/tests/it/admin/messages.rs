//! Messages of the gateway's own accord.

use gateway_simulator::Fault;
use gateway_simulator::ilink::{Endpoint, RuleChanges};

use super::*;

#[tokio::test]
async fn a_message_of_the_gateways_own_accord_arrives_once() {
    let (harness, gateway, operator, messages) = met().await;
    let body = json!({"key": "report 1/2", "conversation": ALICE, "text": "done", "new": 1});
    let sent = operator.post(&messages, &body).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    assert_eq!(sent.headers[CONTENT_TYPE], "application/json");
    let receipt = sent.json();
    let phone = harness.simulator.phone();
    let shown = phone.last().unwrap();
    assert_eq!(
        (&shown["text"], &shown["user"]),
        (&json!("done"), &json!(ALICE))
    );
    let id = shown["message_id"].to_string();
    assert_eq!(
        receipt,
        json!({"key": "report 1/2",
               "parts": [{"state": "accepted", "message_id": id, "error": null}]})
    );
    let again = operator.post(&messages, &body).await;
    assert_eq!(
        (again.status, again.json()),
        (StatusCode::OK, receipt.clone())
    );
    let found = operator.get(&format!("{messages}/report%201%2F2")).await;
    assert_eq!((found.status, found.json()), (StatusCode::OK, receipt));

    let other = json!({"key": "report 1/2", "conversation": ALICE, "text": "failed"});
    let conflict = operator.post(&messages, &other).await;
    assert_eq!(conflict.kind(), (409, "key-conflict".to_owned()));
    let unknown = operator.get(&format!("{messages}/nothing")).await;
    assert_eq!(unknown.kind(), (404, "not-found".to_owned()));
    assert_eq!(harness.simulator.answers(ALICE), ["done"]);

    // The id may come encoded, and a key is made where there is none.
    let encoded = messages.replace('@', "%40");
    let one = operator
        .post(&encoded, &json!({"conversation": ALICE, "text": "one"}))
        .await;
    let two = operator
        .post(&encoded, &json!({"conversation": ALICE, "text": "one"}))
        .await;
    assert_ne!(one.json()["key"], two.json()["key"]);
    assert_eq!(harness.simulator.answers(ALICE), ["done", "one", "one"]);
    let last_send = operator.get("/accounts").await.json()[0]["last_send_ms"].clone();
    assert!(last_send.is_u64(), "{last_send}");
    harness.check();
    drop(gateway);
}

#[tokio::test]
async fn files_by_data_arrive_and_a_repeat_uploads_nothing() {
    let (harness, _gateway, operator, messages) = met().await;
    let body = json!({
        "key": "file", "conversation": ALICE, "text": "the report",
        "media": [{"name": "a.txt", "mime": "text/plain", "data": "aGVsbG8="}],
    });
    let sent = operator.post(&messages, &body).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    assert_eq!(sent.json()["parts"].as_array().unwrap().len(), 2);
    let file = harness.simulator.phone().pop().unwrap();
    assert_eq!(file["item"]["name"], "a.txt", "{file}");
    let id = file["message_id"].as_u64().unwrap();
    assert_eq!(harness.simulator.phone_file(id).unwrap(), b"hello");

    let again = operator.post(&messages, &body).await;
    assert_eq!(again.json(), sent.json());
    assert_eq!(harness.simulator.counters().uploads, 1);
    harness.check();
}

#[tokio::test]
async fn a_caller_does_not_wait_for_long_and_may_come_again() {
    let (harness, _gateway, operator, messages) = met().await;
    let fault = json!({"getuploadurl": {"stall": "before", "times": 1}});
    harness.simulator.faults(&fault).unwrap();
    let body = json!({
        "key": "file", "conversation": ALICE, "media": [{"name": "a.txt", "data": "aGVsbG8="}],
    });
    let time_passes = async {
        harness
            .until(|simulator| simulator.counters().upload_urls == 1)
            .await;
        harness.clock.advance(Duration::from_secs(20));
    };
    let (late, ()) = tokio::join!(operator.post(&messages, &body), time_passes);
    assert_eq!(late.kind(), (502, "unknown-outcome".to_owned()));
    assert!(late.message().contains("`file`"), "{}", late.text);

    // It goes on, whoever waits for it.
    let other = json!({"key": "file", "conversation": ALICE, "text": "x"});
    let conflict = operator.post(&messages, &other).await;
    assert_eq!(conflict.kind(), (409, "key-conflict".to_owned()));
    let again = operator.post(&messages, &body).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(again.json()["parts"][0]["state"], "accepted");
    assert_eq!(harness.simulator.counters().uploads, 1);
    assert_eq!(harness.simulator.counters().sends, 1);
    harness.check();
}

#[tokio::test]
async fn mistakes_are_named() {
    let (harness, _gateway, operator, messages) = met().await;
    for (body, expect) in [
        (json!([]), "body"),
        (json!({"text": "x"}), "conversation"),
        (json!({"conversation": ALICE}), "text"),
        (json!({"conversation": ALICE, "text": ["x"]}), "text"),
        (json!({"conversation": ALICE, "media": [5]}), "media[0]"),
        (
            json!({"conversation": ALICE, "media": [{"data": "!"}]}),
            "media[0]",
        ),
        (
            json!({"conversation": ALICE, "media": [{"path": "/etc/passwd"}]}),
            "media[0]",
        ),
    ] {
        let answer = operator.post(&messages, &body).await;
        assert_eq!(answer.kind(), (400, "invalid".to_owned()), "{body}");
        assert!(answer.message().contains(expect), "{}", answer.text);
    }
    let text = json!({"conversation": ALICE, "text": "x"});
    for path in ["/accounts/nobody/messages", "/accounts//messages", "/x"] {
        let answer = operator.post(path, &text).await;
        assert_eq!(answer.kind(), (404, "not-found".to_owned()), "{path}");
    }
    let wrong_method = operator.get(&messages).await;
    assert_eq!(wrong_method.status, 405);
    assert_eq!(wrong_method.headers[ALLOW], "POST");
    let no_utf8 = operator.get("/accounts/%ff/messages/k").await;
    assert_eq!(no_utf8.kind().0, 400);
    let code = format!("/accounts/{}/login/code", harness.simulator.account_id());
    let large = operator
        .post(&code, &json!({"code": "1".repeat(70_000)}))
        .await;
    assert_eq!(large.kind(), (413, "too-large".to_owned()));
    let no_code = operator.post(&code, &json!({"code": 5})).await;
    assert_eq!(no_code.kind(), (400, "invalid".to_owned()));
    assert!(harness.simulator.answers(ALICE).is_empty());
}

#[tokio::test]
async fn what_fails_is_told_with_its_status() {
    let (harness, gateway, operator, messages) = met().await;
    let text = |key: &str| json!({"key": key, "conversation": ALICE, "text": "x"});
    // Whatever a part was refused with, a post that failed as a whole is an error.
    harness
        .simulator
        .fault(
            Endpoint::SendMessage,
            Fault::ret(-7).with_errmsg("no").once(),
        )
        .unwrap();
    let refused = operator.post(&messages, &text("refused")).await;
    assert!(refused.status.is_client_error(), "{}", refused.text);
    refused.kind();
    let platform = refused.json()["platform"].as_str().unwrap().to_owned();
    assert!(platform.contains("-7"), "{platform}");
    let receipt = operator.get(&format!("{messages}/refused")).await;
    assert_eq!(receipt.status, 200);
    let part = receipt.json()["parts"][0].clone();
    assert_eq!(
        (&part["state"], &part["error"]),
        (&json!("failed"), &refused.json())
    );

    harness
        .simulator
        .faults(&json!({"session": {"expired": "errcode"}}))
        .unwrap();
    harness.simulator.say(ALICE, "hello?");
    eventually(async || {
        let list = operator.get("/accounts").await.json();
        list[0]["phase"] == "login-required"
    })
    .await;
    let answer = operator.post(&messages, &text("refused too")).await;
    assert_eq!(answer.kind(), (409, "login-required".to_owned()));
    assert!(!answer.headers.contains_key(RETRY_AFTER));

    gateway.stop().await;
    let late = operator.post(&messages, &text("late")).await;
    assert_eq!(late.kind(), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn the_first_send_that_meets_a_dead_token_fails_as_the_next_one_does() {
    for fault in [
        json!({"errcode": -14, "errmsg": "session timeout"}),
        json!({"ret": -14}),
    ] {
        let (harness, gateway, operator, messages) = met().await;
        harness
            .simulator
            .faults(&json!({"sendmessage": fault}))
            .unwrap();
        for key in ["first", "second", "third", "first"] {
            let text = json!({"key": key, "conversation": ALICE, "text": "x"});
            let answer = operator.post(&messages, &text).await;
            assert_eq!(answer.kind(), (409, "login-required".to_owned()), "{key}");
        }
        // One that may wait does.
        let until = harness.clock.unix_ms() + 3_600_000;
        let patient = json!({"key": "patient", "conversation": ALICE, "text": "later",
            "queue_until_ms": until});
        let answer = operator.post(&messages, &patient).await;
        assert_eq!(
            answer.json()["parts"][0]["state"],
            "queued",
            "{}",
            answer.text
        );
        let before = harness.simulator.answers(ALICE);
        harness
            .simulator
            .change(&RuleChanges::new().clear(Endpoint::SendMessage))
            .unwrap();
        // A poll that is answered well resumes; nothing that failed goes out hours later.
        harness.simulator.say(ALICE, "hello?");
        eventually(async || {
            harness
                .simulator
                .answers(ALICE)
                .iter()
                .any(|text| text == "later")
        })
        .await;
        let sent = harness.simulator.answers(ALICE).split_off(before.len());
        assert!(!sent.iter().any(|text| text == "x"), "{sent:?}");
        let again = json!({"key": "first", "conversation": ALICE, "text": "x"});
        let again = operator.post(&messages, &again).await;
        assert_eq!(again.status, 200, "its key is free again: {}", again.text);
        gateway.stop().await;
    }
}
