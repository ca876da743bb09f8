//! The two requests themselves: what they accept, and what goes wrong with them.

use crate::Fault;
use crate::faults::StallAt;
use crate::ilink::Endpoint;
use crate::ilink::RuleChanges;
use http::HeaderMap;
use tokio::task::JoinHandle;

use super::*;
use crate::SimulatorOptions;

pub(super) const QR: &str = "/ilink/bot/get_bot_qrcode?bot_type=3";

/// Status and JSON of a request with these headers.
pub(super) async fn request(
    client: &Client,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: &str,
) -> (u16, Value) {
    let url = format!("{}{path}", client.base_url);
    let answer = client.fetch(method, &url, headers, body.to_owned()).await;
    let answer = answer.expect("the exchange succeeds");
    let json = serde_json::from_slice(answer.body()).unwrap_or_default();
    (answer.status().as_u16(), json)
}

#[tokio::test]
async fn a_code_is_given_to_posts_and_gets() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let client = Client::new(&simulator);
    let bare = HeaderMap::new;
    let mut given = Vec::new();
    for (method, body) in [
        (Method::GET, ""),
        (Method::POST, ""),
        (Method::POST, "{}"),
        (Method::POST, r#"{"local_token_list":[]}"#),
        (
            Method::POST,
            r#"{"local_token_list":["1","2","3","4","5","6","7","8","9","10"],"more":1}"#,
        ),
    ] {
        let (status, answer) = request(&client, method, QR, bare(), body).await;
        assert_eq!(status, 200);
        given.push(answer["qrcode"].as_str().expect("there is one").to_owned());
    }
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 5);
    assert_eq!(simulator.violations(), Vec::<String>::new());
    for path in ["", "?bot_type=", "?bot_type=4", "?bot_type=03", "?type=3"] {
        let path = format!("/ilink/bot/get_bot_qrcode{path}");
        let answer = request(&client, Method::POST, &path, bare(), "{}").await;
        assert_eq!(answer, (200, json!({"ret": 2})), "{path}");
    }
    let eleven = json!({"local_token_list": vec!["a"; 11]}).to_string();
    for (reported, body) in [
        "{",
        "null",
        "[]",
        r#"{"local_token_list":"a"}"#,
        r#"{"local_token_list":[1]}"#,
        r#"{"local_token_list":null}"#,
        &eleven,
    ]
    .iter()
    .enumerate()
    {
        let (_, answer) = request(&client, Method::POST, QR, bare(), body).await;
        assert_eq!(answer["ret"], -1, "{body}");
        assert_eq!(simulator.violations().len(), reported + 1, "{body}");
    }
    assert_eq!(simulator.qr_codes().len(), 5);
    assert_eq!(request(&client, Method::PUT, QR, bare(), "").await.0, 405);
    let path = "/ilink/bot/get_qrcode_status?qrcode=a";
    assert_eq!(
        request(&client, Method::POST, path, bare(), "").await.0,
        405
    );
}

#[tokio::test]
async fn an_unknown_code_is_expired() {
    let (_simulator, client) = simulator().await;
    let qr = client.qr(&[]).await;
    let unescaped = qr["qrcode"].as_str().unwrap();
    for query in [
        "",
        "?qrcode=",
        "?qrcode=%",
        "?qrcode=other",
        &format!("?qrcode={unescaped}"),
    ] {
        let path = format!("/ilink/bot/get_qrcode_status{query}");
        let answer = request(&client, Method::GET, &path, HeaderMap::new(), "").await;
        assert_eq!(answer, (200, json!({"status": "expired"})), "{query}");
    }
}

#[tokio::test]
async fn the_base_url_of_a_bot_is_what_the_rule_says() {
    let (simulator, client) = simulator().await;
    let qr = client.qr(&[]).await;
    simulator.login(BOB, Act::Confirm).unwrap();
    let own = json!(simulator.base_url());
    for (rule, told) in [
        (
            json!("https://ilinkai.wechat.com"),
            Some(json!("https://ilinkai.wechat.com")),
        ),
        (json!(""), Some(json!(""))),
        (json!("no URL"), Some(json!("no URL"))),
        (json!(false), None),
        (json!(null), Some(own)),
    ] {
        simulator.faults(&json!({"baseurl": rule})).unwrap();
        let answer = client.qr_status(&qr, "").await;
        assert_eq!(answer.get("baseurl"), told.as_ref());
    }
}

#[tokio::test]
async fn both_requests_can_have_faults() {
    let (simulator, client) = simulator().await;
    let fault = |of: &str, fault: Value| simulator.faults(&json!({of: fault})).unwrap();
    let get = async || {
        let headers = client.login_headers(true);
        let body = r#"{"local_token_list":[]}"#;
        let url = format!("{}{QR}", client.base_url);
        client.fetch(Method::POST, &url, headers, body).await
    };
    fault(
        "get_bot_qrcode",
        json!({"status": 503, "skip": 1, "times": 1}),
    );
    let qr = client.qr(&[]).await;
    assert_eq!(get().await.unwrap().status(), 503);
    assert_eq!(simulator.qr_codes().len(), 1);
    for (kind, made) in [("before", 1), ("after", 2), ("body", 3)] {
        fault("get_bot_qrcode", json!({"cut": kind, "times": 1}));
        assert!(get().await.is_err());
        assert_eq!(simulator.qr_codes().len(), made, "{kind}");
    }
    fault(
        "get_bot_qrcode",
        json!({"answer": {"ret": -1, "errmsg": "busy"}, "times": 1}),
    );
    assert_eq!(json_of(&get().await.unwrap())["errmsg"], "busy");
    fault(
        "get_bot_qrcode",
        json!({"without": ["qrcode_img_content"], "times": 1}),
    );
    assert!(
        json_of(&get().await.unwrap())
            .get("qrcode_img_content")
            .is_none()
    );

    let ask = async || client.try_qr_status(&qr, "", None).await;
    let own = qr["qrcode"].as_str().unwrap();
    simulator.login_at(own, BOB, Act::Confirm).unwrap();
    fault(
        "get_qrcode_status",
        json!({"answer": {"status": "unheard-of", "more": [1]}, "times": 1}),
    );
    assert_eq!(
        json_of(&ask().await.unwrap()),
        json!({"status": "unheard-of", "more": [1]})
    );
    fault(
        "get_qrcode_status",
        json!({"without": ["ilink_bot_id"], "times": 1}),
    );
    let answer = json_of(&ask().await.unwrap());
    assert!(answer["bot_token"].is_string() && answer.get("ilink_bot_id").is_none());
    fault("get_qrcode_status", json!({"body": "<html>", "times": 1}));
    assert_eq!(*ask().await.unwrap().body(), "<html>");
    fault("get_qrcode_status", json!({"truncated": true, "times": 1}));
    assert!(serde_json::from_slice::<Value>(ask().await.unwrap().body()).is_err());
    fault("get_qrcode_status", json!({"cut": "after", "times": 1}));
    assert!(ask().await.is_err());
    assert_eq!(status(&client, &qr).await, "confirmed");
    assert_eq!(simulator.violations(), Vec::<String>::new());
    for wrong in [
        json!({"get_qrcode_status": {"answer": "x"}}),
        json!({"wrong_codes": "3"}),
        json!({"baseurl": true}),
        json!({"auto_login": {"who": BOB}}),
        json!({"account": simulator.account_id(), "qr_ms": 3}),
        json!({"account": simulator.account_id(), "get_qrcode_status": null}),
    ] {
        assert!(simulator.faults(&wrong).is_err(), "{wrong}");
    }
}

fn asking(client: &Client, qr: &Value) -> JoinHandle<Result<http::Response<bytes::Bytes>, String>> {
    let (client, qr) = (client.clone(), qr.clone());
    tokio::spawn(async move { client.try_qr_status(&qr, "", None).await })
}

#[tokio::test]
async fn a_status_poll_can_come_late_or_never_and_the_edge_cuts_it() {
    let (simulator, client) = simulator().await;
    let qr = client.qr(&[]).await;
    let open = |simulator: &Simulator| simulator.login_counters().status_polls_open == 1;
    let late = json!({"get_qrcode_status": {"status": 524, "delay_ms": 17_000, "times": 1}});
    simulator.faults(&late).unwrap();
    let poll = asking(&client, &qr);
    simulator.wait_for(open).await;
    // The delay begins some time after the request has come.
    while !poll.is_finished() {
        advance(&simulator, 1);
        tokio::task::yield_now().await;
    }
    assert_eq!(poll.await.unwrap().unwrap().status().as_u16(), 524);
    simulator
        .change(
            &RuleChanges::new()
                .edge(Some(Duration::from_secs(17)))
                .qr_life(Duration::from_secs(1000)),
        )
        .unwrap();
    let qr = client.qr(&[]).await;
    let poll = asking(&client, &qr);
    simulator.wait_for(open).await;
    advance(&simulator, 17);
    assert_eq!(poll.await.unwrap().unwrap().status().as_u16(), 524);
    simulator.login(BOB, Act::Scan).unwrap();
    assert_eq!(status(&client, &qr).await, "scaned");
    simulator
        .fault(Endpoint::GetQrcodeStatus, Fault::stall(StallAt::Before))
        .unwrap();
    let poll = asking(&client, &qr);
    simulator.wait_for(open).await;
    simulator.go_offline().await;
    assert!(poll.await.unwrap().is_err());
    assert!(!open(&simulator));
    simulator.come_online().await.unwrap();
    simulator
        .change(&RuleChanges::new().clear(Endpoint::GetQrcodeStatus))
        .unwrap();
    assert_eq!(status(&client, &qr).await, "scaned");
}
