//! What is reported of a login in strict mode, and what the wire log shows of it.

use crate::ilink::RuleChanges;
use http::HeaderValue;

use super::requests::{QR, request};
use super::*;

/// Method, path, body, a header that is set (to nothing: taken away), and what is then named.
type Case = (
    Method,
    &'static str,
    &'static str,
    Option<(&'static str, &'static str)>,
    &'static str,
);

#[tokio::test]
async fn strict_mode_reports_each_deviation_of_a_login() {
    let (simulator, client) = simulator().await;
    simulator
        .change(&RuleChanges::new().qr_hold(Duration::from_secs(0)))
        .unwrap();
    let body = r#"{"local_token_list":[]}"#;
    let poll = "/ilink/bot/get_qrcode_status?qrcode=a";
    let cases: [Case; 16] = [
        (
            Method::POST,
            QR,
            body,
            Some(("authorization", "Bearer x")),
            "Authorization",
        ),
        (
            Method::POST,
            QR,
            body,
            Some(("content-type", "")),
            "Content-Type",
        ),
        (
            Method::POST,
            QR,
            body,
            Some(("authorizationtype", "")),
            "AuthorizationType",
        ),
        (
            Method::POST,
            QR,
            body,
            Some(("x-wechat-uin", "EjRWeA==")),
            "X-WECHAT-UIN",
        ),
        (
            Method::POST,
            QR,
            body,
            Some(("ilink-app-id", "")),
            "iLink-App-Id",
        ),
        (
            Method::POST,
            QR,
            body,
            Some(("ilink-app-clientversion", "2.4.9")),
            "iLink-App-ClientVersion",
        ),
        (Method::POST, QR, "", None, "local_token_list"),
        (
            Method::POST,
            QR,
            r#"{"local_token_list":[],"base_info":{}}"#,
            None,
            "base_info",
        ),
        (
            Method::POST,
            "/ilink/bot/get_bot_qrcode",
            body,
            None,
            "bot_type",
        ),
        (
            Method::POST,
            "/ilink/bot/get_bot_qrcode?bot_type=3&x=1",
            body,
            None,
            "x",
        ),
        (
            Method::GET,
            poll,
            "",
            Some(("authorization", "Bearer x")),
            "Authorization",
        ),
        (
            Method::GET,
            poll,
            "",
            Some(("x-wechat-uin", "MA==")),
            "X-WECHAT-UIN",
        ),
        (
            Method::GET,
            poll,
            "",
            Some(("authorizationtype", "ilink_bot_token")),
            "AuthorizationType",
        ),
        (
            Method::GET,
            poll,
            "",
            Some(("content-type", "application/json")),
            "Content-Type",
        ),
        (
            Method::GET,
            poll,
            "",
            Some(("ilink-app-id", "other")),
            "iLink-App-Id",
        ),
        (
            Method::GET,
            "/ilink/bot/get_qrcode_status?verify_code=1",
            "",
            None,
            "qrcode",
        ),
    ];
    for (method, path, body, header, named) in cases {
        let before = simulator.violations().len();
        let mut headers = client.login_headers(method == Method::POST);
        match header {
            Some((name, "")) => drop(headers.remove(name)),
            Some((name, value)) => drop(headers.insert(name, HeaderValue::from_static(value))),
            None => {}
        }
        request(&client, method, path, headers, body).await;
        let found = &simulator.violations()[before..];
        assert!(
            found.len() == 1 && found[0].contains(named),
            "{path} {named}: {found:?}"
        );
    }
    let before = simulator.violations().len();
    let headers = client.login_headers(true);
    request(&client, Method::GET, QR, headers, body).await;
    let found = &simulator.violations()[before..];
    assert!(found.len() == 1 && found[0].contains("GET"), "{found:?}");
}

#[tokio::test]
async fn the_log_shows_no_secret_of_a_login() {
    let (simulator, client) = simulator().await;
    let old = simulator.token();
    let qr = client.qr(&[&old]).await;
    let digits = simulator
        .login(BOB, Act::ScanWithDigits)
        .unwrap()
        .digits
        .unwrap();
    client.qr_status(&qr, &digits).await;
    simulator.login(BOB, Act::Confirm).unwrap();
    let confirmed = client.qr_status(&qr, "").await;
    client.qr_status(&qr, "wrong code").await;
    let log = Value::from(simulator.log());
    let text = log.to_string();
    let token = confirmed["bot_token"].as_str().unwrap();
    let qrcode = qr["qrcode"].as_str().unwrap();
    for secret in [&old, token, qrcode, "liteapp", "wrong code"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert_eq!(log[0]["endpoint"], "get_bot_qrcode");
    assert_eq!(log[0]["request"], json!({"local_token_list": "***"}));
    assert_eq!(
        log[1]["request"],
        json!({"qrcode": "***", "verify_code": "***"})
    );
    assert_eq!(log[2]["request"], json!({"qrcode": "***"}));
    assert_eq!(log[2]["response"]["status"], "confirmed");
    assert_eq!(
        log[2]["response"]["ilink_bot_id"],
        confirmed["ilink_bot_id"]
    );
    assert!(!format!("{:?}", simulator.violations()).contains(qrcode));
    let within = Duration::from_secs(60);
    assert_eq!(simulator.requests(Some("get_qrcode_status"), within), 3);
}
