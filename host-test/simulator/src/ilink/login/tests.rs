//! Logins over HTTP, from the code to the bot, by a client with the headers of the official one.

mod records;
mod requests;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Act;
use crate::ilink::RuleChanges;
use crate::ilink::client::{Client, json_of, strict_simulator, texts};
use crate::ilink::state::CODES;
use crate::{DEFAULT_USER, LoginCounters, Simulator};

const BOB: &str = "wxid_bob@im.wechat";

async fn simulator() -> (Simulator, Client) {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    (simulator, client)
}

fn advance(simulator: &Simulator, seconds: u64) {
    let clock = &simulator.first().server.clock;
    clock.advance(Duration::from_secs(seconds));
}

/// A status poll that hangs until something happens.
async fn hanging(simulator: &Simulator, client: &Client, qr: &Value) -> JoinHandle<Value> {
    let (client, qr) = (client.clone(), qr.clone());
    let before = simulator.login_counters().status_polls_open;
    let poll = tokio::spawn(async move { client.qr_status(&qr, "").await });
    simulator
        .wait_for(|simulator| simulator.login_counters().status_polls_open == before + 1)
        .await;
    poll
}

async fn status(client: &Client, qr: &Value) -> String {
    let answer = client.qr_status(qr, "").await;
    answer["status"].as_str().expect("there is one").to_owned()
}

#[tokio::test]
async fn a_login_makes_a_new_bot_and_ends_the_one_before() {
    let (simulator, client) = simulator().await;
    let old_poll = {
        simulator
            .change(&RuleChanges::new().hold(Duration::from_secs(60)))
            .unwrap();
        let client = client.clone();
        tokio::spawn(async move { client.poll("").await })
    };
    let qr = client.qr(&[]).await;
    let shown = qr["qrcode_img_content"].as_str().unwrap();
    assert!(
        shown.starts_with("https://liteapp.weixin.qq.com/q/"),
        "{shown}"
    );
    let poll = hanging(&simulator, &client, &qr).await;
    assert_eq!(simulator.qr_codes()[0].status, "wait");
    simulator.login(DEFAULT_USER, Act::Scan).unwrap();
    assert_eq!(poll.await.unwrap(), json!({"status": "scaned"}));
    assert_eq!(status(&client, &qr).await, "scaned");
    simulator
        .wait_for(|simulator| simulator.counters().polls_open == 1)
        .await;
    let code = simulator.login(DEFAULT_USER, Act::Confirm).unwrap();
    let stale = json!({"errcode": -14, "errmsg": "session timeout"});
    assert_eq!(old_poll.await.unwrap(), stale);
    let account = simulator.account(&code.account.unwrap()).unwrap();
    let confirmed = json!({
        "status": "confirmed",
        "bot_token": account.token(),
        "ilink_bot_id": account.id(),
        "ilink_user_id": DEFAULT_USER,
        "baseurl": simulator.base_url(),
    });
    // Told again, because the first answer may have been lost.
    for _ in 0..2 {
        assert_eq!(client.qr_status(&qr, "").await, confirmed);
    }
    simulator
        .change(&RuleChanges::new().hold(Duration::from_millis(1)))
        .unwrap();
    assert_eq!(client.poll("").await, stale);
    let new = Client::of(&simulator, &account);
    assert_eq!(new.poll("").await["msgs"], json!([]));
    simulator.say(DEFAULT_USER, "hello");
    assert_eq!(texts(&new.poll("").await), ["hello"]);
    advance(&simulator, 120);
    assert_eq!(status(&client, &qr).await, "expired");
    let counted = LoginCounters {
        qr_codes: 1,
        status_polls: 5,
        status_polls_open: 0,
        logins: 1,
    };
    simulator
        .wait_for(|simulator| simulator.login_counters() == counted)
        .await;
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_poll_waits_for_the_scan_by_the_clock() {
    let (simulator, client) = simulator().await;
    let qr = client.qr(&[]).await;
    let poll = hanging(&simulator, &client, &qr).await;
    advance(&simulator, 29);
    assert!(!poll.is_finished());
    advance(&simulator, 1);
    assert_eq!(poll.await.unwrap(), json!({"status": "wait"}));
    simulator
        .change(&RuleChanges::new().qr_hold(Duration::from_secs(1000)))
        .unwrap();
    let poll = hanging(&simulator, &client, &qr).await;
    // What the rules say now also holds for polls that are open.
    simulator
        .change(&RuleChanges::new().qr_hold(Duration::from_secs(0)))
        .unwrap();
    assert_eq!(poll.await.unwrap()["status"], "wait");
}

#[tokio::test]
async fn a_code_expires_in_every_step_but_not_before() {
    let (simulator, client) = simulator().await;
    simulator
        .change(&RuleChanges::new().qr_hold(Duration::from_secs(200)))
        .unwrap();
    for act in [None, Some(Act::Scan), Some(Act::ScanWithDigits)] {
        let qr = client.qr(&[]).await;
        let qr_hangs = act.is_none();
        if let Some(act) = act {
            simulator.login(BOB, act).unwrap();
        }
        if qr_hangs {
            let poll = hanging(&simulator, &client, &qr).await;
            advance(&simulator, 120);
            assert_eq!(poll.await.unwrap()["status"], "expired");
        } else {
            advance(&simulator, 119);
            assert_ne!(status(&client, &qr).await, "expired");
            advance(&simulator, 1);
            assert_eq!(status(&client, &qr).await, "expired");
        }
        let late = simulator.login(BOB, Act::Confirm).unwrap_err();
        assert!(late.contains("expired"), "{late}");
    }
    simulator
        .change(&RuleChanges::new().qr_life(Duration::from_secs(1)))
        .unwrap();
    let qr = client.qr(&[]).await;
    advance(&simulator, 1);
    assert_eq!(status(&client, &qr).await, "expired");
}

#[tokio::test]
async fn the_digits_of_the_phone_are_asked_for() {
    let (simulator, client) = simulator().await;
    let qr = client.qr(&[]).await;
    let poll = hanging(&simulator, &client, &qr).await;
    let code = simulator.login(BOB, Act::ScanWithDigits).unwrap();
    let digits = code.digits.unwrap();
    let wrong = if digits == "0000" { "0001" } else { "0000" };
    let asks = json!({"status": "need_verifycode"});
    assert_eq!(poll.await.unwrap(), asks);
    for sent in ["", wrong, "", "", wrong] {
        assert_eq!(client.qr_status(&qr, sent).await, asks);
    }
    assert!(simulator.login(BOB, Act::Confirm).is_err());
    assert_eq!(client.qr_status(&qr, &digits).await["status"], "scaned");
    // The client did not hear it, and says it again.
    assert_eq!(client.qr_status(&qr, &digits).await["status"], "scaned");
    simulator.login(BOB, Act::Confirm).unwrap();
    assert_eq!(client.qr_status(&qr, "").await["ilink_user_id"], BOB);
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn wrong_digits_block_the_login() {
    let (simulator, client) = simulator().await;
    for limit in [3, 1] {
        simulator.faults(&json!({"wrong_codes": limit})).unwrap();
        let qr = client.qr(&[]).await;
        simulator.login(BOB, Act::ScanWithDigits).unwrap();
        for _ in 1..limit {
            assert_eq!(
                client.qr_status(&qr, "x").await["status"],
                "need_verifycode"
            );
        }
        assert_eq!(
            client.qr_status(&qr, "x").await["status"],
            "verify_code_blocked"
        );
        assert_eq!(status(&client, &qr).await, "verify_code_blocked");
        assert!(simulator.login(BOB, Act::Confirm).is_err());
    }
    let qr = client.qr(&[]).await;
    simulator.login(BOB, Act::Block).unwrap();
    assert_eq!(status(&client, &qr).await, "verify_code_blocked");
    assert_eq!(simulator.violations(), Vec::<String>::new());
    // Digits for another code than the one that asked.
    simulator
        .change(&RuleChanges::new().qr_hold(Duration::from_secs(0)))
        .unwrap();
    let qr = client.qr(&[]).await;
    assert_eq!(client.qr_status(&qr, "1234").await["status"], "wait");
    assert_eq!(simulator.violations().len(), 1);
}

#[tokio::test]
async fn a_redirected_client_is_told_so_until_it_follows() {
    let (simulator, client) = simulator().await;
    let at = async |qr: &Value, host: &str| {
        let answer = client.try_qr_status(qr, "", Some(host)).await;
        json_of(&answer.unwrap())
    };
    let qr = client.qr(&[]).await;
    let there = Some("idc2.test:8443".to_owned());
    simulator.login(BOB, Act::Redirect(there)).unwrap();
    let redirected = json!({"status": "scaned_but_redirect", "redirect_host": "idc2.test:8443"});
    for _ in 0..2 {
        assert_eq!(client.qr_status(&qr, "").await, redirected);
    }
    assert_eq!(at(&qr, "IDC2.test:8443").await["status"], "scaned");
    simulator.login(BOB, Act::Confirm).unwrap();
    assert_eq!(client.qr_status(&qr, "").await, redirected);
    assert_eq!(at(&qr, "idc2.test:8443").await["status"], "confirmed");
    let hosts: Vec<Value> = simulator
        .log()
        .iter()
        .map(|entry| entry["host"].clone())
        .collect();
    assert_eq!(hosts[0], simulator.base_url()["http://".len()..]);
    assert_eq!(hosts[3], "IDC2.test:8443");

    // A client that is there already, and one that is sent nowhere.
    let own = simulator.base_url()["http://".len()..].to_owned();
    for host in [Some(own), Some(String::new()), None] {
        let qr = client.qr(&[]).await;
        simulator.login(BOB, Act::Scan).unwrap();
        simulator.login(BOB, Act::Redirect(host.clone())).unwrap();
        let told = client.qr_status(&qr, "").await;
        assert_eq!(told["status"], "scaned_but_redirect");
        assert_eq!(told.get("redirect_host"), host.map(Value::from).as_ref());
        assert_eq!(status(&client, &qr).await, "scaned");
    }
}

#[tokio::test]
async fn a_client_that_has_the_persons_bot_is_told_so() {
    let (simulator, client) = simulator().await;
    let (token, other) = (
        simulator.token(),
        simulator.add_account("0123456789ab@im.bot"),
    );
    other.bind(BOB);
    let others = other.token();
    let scanned = async |tokens: &[&str]| {
        let qr = client.qr(tokens).await;
        simulator.login(DEFAULT_USER, Act::Scan).unwrap();
        status(&client, &qr).await
    };
    assert_eq!(
        scanned(&["unknown", &others, &token]).await,
        "binded_redirect"
    );
    assert!(simulator.login(DEFAULT_USER, Act::Confirm).is_err());
    assert!(simulator.first().is_live());
    assert_eq!(scanned(&["unknown", &others]).await, "scaned");
    let expired = json!({"account": simulator.account_id(), "session": {"expired": "ret"}});
    simulator.faults(&expired).unwrap();
    assert_eq!(scanned(&[&token]).await, "scaned");
    simulator.change(&RuleChanges::new().session(None)).unwrap();
    assert_eq!(scanned(&[&token]).await, "binded_redirect");
    let now = simulator.log_in_elsewhere(DEFAULT_USER);
    assert_eq!(scanned(&[&token]).await, "scaned");
    assert_eq!(scanned(&[&token, &now.token()]).await, "binded_redirect");
    let qr = client.qr(&[]).await;
    simulator.login(DEFAULT_USER, Act::Bound).unwrap();
    assert_eq!(
        client.qr_status(&qr, "").await,
        json!({"status": "binded_redirect"})
    );
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn people_cannot_do_what_makes_no_sense() {
    let (simulator, client) = simulator().await;
    assert!(simulator.login(BOB, Act::Scan).is_err());
    let first = client.qr(&[]).await;
    client.qr(&[]).await;
    let shown = first["qrcode_img_content"].as_str().unwrap();
    let code = simulator.login_at(shown, BOB, Act::Scan).unwrap();
    assert_eq!((code.status, code.user.as_deref()), ("scaned", Some(BOB)));
    let own = first["qrcode"].as_str().unwrap();
    assert_eq!(code.qrcode, own);
    for (user, act) in [
        (BOB, Act::Scan),
        (BOB, Act::ScanWithDigits),
        (DEFAULT_USER, Act::Confirm),
    ] {
        assert!(simulator.login_at(own, user, act).is_err());
    }
    assert!(simulator.login_at("another", BOB, Act::Scan).is_err());
    let states: Vec<&str> = simulator
        .qr_codes()
        .iter()
        .map(|code| code.status)
        .collect();
    assert_eq!(states, ["scaned", "wait"]);
    simulator.login_at(own, BOB, Act::Expire).unwrap();
    assert_eq!(status(&client, &first).await, "expired");
    assert_eq!(simulator.login_counters().logins, 0);
}

#[tokio::test]
async fn a_login_can_go_by_itself() {
    let (simulator, client) = simulator().await;
    let rule = json!({"auto_login": {"user": BOB, "after_ms": 5000}});
    simulator.faults(&rule).unwrap();
    let qr = client.qr(&[]).await;
    let poll = hanging(&simulator, &client, &qr).await;
    advance(&simulator, 5);
    assert_eq!(poll.await.unwrap()["status"], "scaned");
    advance(&simulator, 5);
    assert_eq!(client.qr_status(&qr, "").await["ilink_user_id"], BOB);
    assert!(simulator.first().is_live());
    simulator.faults(&json!({"auto_login": true})).unwrap();
    let qr = client.qr(&[]).await;
    advance(&simulator, 2);
    assert_eq!(
        client.qr_status(&qr, "").await["ilink_user_id"],
        DEFAULT_USER
    );
    simulator
        .faults(&json!({"auto_login": false, "qr_hold_ms": 0}))
        .unwrap();
    let qr = client.qr(&[]).await;
    advance(&simulator, 60);
    assert_eq!(status(&client, &qr).await, "wait");
}

#[tokio::test]
async fn only_the_newest_codes_are_remembered() {
    let (simulator, client) = simulator().await;
    let first = client.qr(&[]).await;
    for _ in 0..CODES {
        client.qr(&[]).await;
    }
    assert_eq!(simulator.qr_codes().len(), CODES);
    assert_eq!(status(&client, &first).await, "expired");
}

#[tokio::test]
async fn a_person_deals_with_a_code_over_http() {
    let (simulator, client) = simulator().await;
    let post = |body| client.control(Method::POST, "/sim/login", body);
    assert_eq!(post(json!({"do": "scan"})).await.0, 400);
    let qr = client.qr(&[]).await;
    let (_, code) = post(json!({"do": "scan", "digits": true, "user": BOB})).await;
    assert_eq!(
        (&code["status"], &code["user"]),
        (&json!("need_verifycode"), &json!(BOB))
    );
    client
        .qr_status(&qr, code["digits"].as_str().unwrap())
        .await;
    let (_, code) = post(json!({"do": "redirect"})).await;
    assert_eq!(code["status"], "scaned_but_redirect");
    let told = client.qr_status(&qr, "").await;
    assert_eq!(
        told["redirect_host"],
        simulator.base_url()["http://".len()..]
    );
    let (_, code) = post(json!({"do": "confirm", "qrcode": qr["qrcode"]})).await;
    assert_eq!(
        client.qr_status(&qr, "").await["ilink_bot_id"],
        code["account"]
    );
    let (_, list) = client.control(Method::GET, "/sim/login", json!(null)).await;
    assert_eq!(list, json!([code]));
    let (_, bound) = post(json!({"do": "elsewhere"})).await;
    assert_eq!(bound["user"], DEFAULT_USER);
    assert!(!simulator.first().is_live());
    for (act, status) in [
        ("bound", "binded_redirect"),
        ("block", "verify_code_blocked"),
        ("expire", "expired"),
    ] {
        client.qr(&[]).await;
        assert_eq!(post(json!({"do": act})).await.1["status"], status);
    }
    client.qr(&[]).await;
    for wrong in [
        json!({}),
        json!({"do": "dance"}),
        json!({"do": 3}),
        json!({"do": "scan", "qrcode": "another"}),
        json!({"do": "scan", "user": 3}),
        json!({"do": "scan", "host": "a"}),
        json!({"do": "confirm", "digits": true}),
        json!({"do": "redirect", "host": 3}),
        json!({"do": "scan", "when": "now"}),
    ] {
        let (status, answer) = post(wrong.clone()).await;
        assert_eq!(status, 400, "{wrong}: {answer}");
    }
    assert_eq!(simulator.qr_codes().last().unwrap().status, "wait");
}
