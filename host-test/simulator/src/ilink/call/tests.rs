//! Authorization, strict mode and the log, over HTTP.

use http::Method;
use serde_json::json;

use super::*;
use crate::ilink::client::{Client, strict_simulator};
use crate::ilink::server::REQUEST_BYTES;
use crate::{Simulator, SimulatorOptions};

#[tokio::test]
async fn a_missing_or_unknown_token_is_a_stale_session() {
    let simulator = strict_simulator().await;
    let mut client = Client::new(&simulator);
    let stale = json!({"errcode": -14, "errmsg": "session timeout"});
    client
        .headers
        .insert("authorization", HeaderValue::from_static("Bearer nobody"));
    assert_eq!(client.poll("").await, stale);
    client.headers.remove("authorization");
    assert_eq!(client.call("msg/notifystart", json!({})).await, stale);
    assert_eq!(simulator.counters(), crate::Counters::default());
}

#[tokio::test]
async fn strict_mode_reports_what_the_official_client_does_otherwise() {
    let simulator = strict_simulator().await;
    let mut client = Client::new(&simulator);
    client.headers.remove("ilink-app-id");
    client
        .headers
        .insert("ilink-app-clientversion", HeaderValue::from_static("1"));
    client
        .headers
        .insert("x-wechat-uin", HeaderValue::from_static("EjRWeA=="));
    assert_eq!(
        client.call("msg/notifystart", json!({"extra": 1})).await["ret"],
        0
    );
    let named = [
        "X-WECHAT-UIN",
        "iLink-App-Id",
        "iLink-App-ClientVersion",
        "extra",
    ];
    let violations = simulator.violations();
    assert_eq!(violations.len(), named.len(), "{violations:?}");
    for (violation, name) in violations.iter().zip(named) {
        assert!(
            violation.starts_with("notifystart: ") && violation.contains(name),
            "{violation}"
        );
    }
    client
        .headers
        .insert("x-wechat-uin", HeaderValue::from_static("MA=="));
    client.call("msg/notifystart", json!({})).await;
    let before = simulator.violations().len();
    client.call("msg/notifystart", json!({})).await;
    let repeated = |sentence: &String| sentence.contains("the request before");
    assert!(simulator.violations()[before..].iter().any(repeated));
}

#[tokio::test]
async fn a_lax_server_takes_a_bare_client() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&simulator);
    let bearer = client
        .headers
        .remove("authorization")
        .expect("the client has a token");
    client.headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    simulator.say("a@im.wechat", "hi");
    let poll = client
        .request(Method::POST, "/ilink/bot/getupdates", "{}".to_owned())
        .await;
    assert!(poll.unwrap().1.contains("\"hi\""));
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn hostile_bodies_are_answered_and_reported() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    let of_bots = |endpoint: &Endpoint| !endpoint.is_of_cdn() && !endpoint.is_of_login();
    for endpoint in Endpoint::ALL.into_iter().filter(of_bots) {
        let folder = if endpoint.name().starts_with("notify") {
            "msg/"
        } else {
            ""
        };
        let path = format!("/ilink/bot/{folder}{}", endpoint.name());
        for body in [
            "",
            "{",
            "null",
            "[1]",
            "\"text\"",
            "{\"msg\":[],\"status\":[]}",
        ] {
            let answer = client.request(Method::POST, &path, body.to_owned()).await;
            assert_eq!(
                answer.map(|(status, _)| status),
                Ok(StatusCode::OK),
                "{path} {body}"
            );
        }
    }
    assert!(!simulator.violations().is_empty());
    let huge = "x".repeat(REQUEST_BYTES + 1);
    let answer = client
        .request(Method::POST, "/ilink/bot/getupdates", huge)
        .await;
    // The client may still be writing when it is told.
    assert!(answer.is_ok_and(|(status, _)| status == 413) || simulator.log().len() == 42);
}

#[tokio::test]
async fn the_log_counts_requests_of_the_last_while() {
    let simulator = strict_simulator().await;
    let client = Client::new(&simulator);
    client.call("msg/notifystart", json!({})).await;
    simulator
        .first()
        .server
        .clock
        .advance(Duration::from_secs(60));
    client.call("msg/notifystop", json!({})).await;
    assert_eq!(simulator.requests(None, Duration::from_secs(3600)), 2);
    assert_eq!(simulator.requests(None, Duration::from_secs(30)), 1);
    assert_eq!(
        simulator.requests(Some("notifystart"), Duration::from_secs(30)),
        0
    );
    assert!(!simulator.log()[0].to_string().contains(&simulator.token()));
}
