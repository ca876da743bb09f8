//! The operator's API.

use std::sync::Arc;
use std::time::Duration;

use gateway_host::admin::{self, Token};
use gateway_host::agent::EchoAgent;
use gateway_host::credentials::Home;
use gateway_host::gateway::Gateway;
use gateway_simulator::Act;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use crate::harness::{ALICE, Harness, Recorder, eventually, runner, runner_of, signal, until};

const TOKEN: &str = "s3cret";

/// A client of the API.
struct Operator {
    origin: String,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The kind of an error, which has all its members.
    fn kind(&self) -> (u16, String) {
        let json = self.json();
        let members: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(members, ["kind", "message", "platform", "retry_after_ms"]);
        let kind = json["kind"].as_str().unwrap().to_owned();
        (self.status.as_u16(), kind)
    }

    fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

impl Operator {
    fn new(origin: String) -> Operator {
        Operator {
            origin,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::from(body.into())).unwrap();
        let response = self.client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        let token = format!("Bearer {TOKEN}");
        self.ask(Method::GET, path, Some(&token), "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let token = format!("Bearer {TOKEN}");
        self.ask(Method::POST, path, Some(&token), body.to_string())
            .await
    }
}

/// The API of a gateway.
async fn serve(gateway: &Gateway) -> Operator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let token = Token::new(TOKEN).unwrap();
    tokio::spawn(admin::serve(listener, token, gateway.clone()));
    Operator::new(origin)
}

/// A gateway to which a person has written, so that she can be written to.
async fn met() -> (Harness, Gateway, Operator, String) {
    let harness = Harness::new().await;
    let agent = Recorder::new(|_, _| async { Ok(None) });
    let (gateway, account) = harness.serve(agent, &[]).await;
    harness.simulator.say(ALICE, "hello");
    eventually(async || {
        let health = account.health().await.unwrap();
        harness.simulator.first().unacknowledged() == 0 && health.unacknowledged == 0
    })
    .await;
    let operator = serve(&gateway).await;
    let messages = format!("/accounts/{}/messages", account.id());
    (harness, gateway, operator, messages)
}

#[tokio::test]
async fn everything_but_healthz_wants_the_token() {
    let harness = Harness::new().await;
    let (gateway, _account) = harness.serve(Arc::new(EchoAgent), &[]).await;
    let operator = serve(&gateway).await;
    for (method, path) in [
        (Method::GET, "/metrics"),
        (Method::GET, "/accounts"),
        (Method::POST, "/accounts/x/messages"),
        (Method::GET, "/accounts/x/messages/k"),
        (Method::POST, "/accounts/x/login"),
        (Method::GET, "/accounts/x/login"),
        (Method::POST, "/accounts/x/login/code"),
        (Method::POST, "/component"),
        (Method::GET, "/nowhere"),
        (Method::DELETE, "/accounts"),
        (Method::GET, "/healthz/"),
        (Method::GET, "//healthz"),
    ] {
        for token in [None, Some("Bearer s3cre"), Some("Basic s3cret"), Some("")] {
            let answer = operator.ask(method.clone(), path, token, "{").await;
            assert_eq!(answer.kind(), (401, "unauthorized".to_owned()), "{path}");
            assert_eq!(answer.headers[WWW_AUTHENTICATE], "Bearer");
        }
    }
    let open = operator.ask(Method::GET, "/healthz", None, "").await;
    assert_ne!(open.status, 401);
}

#[tokio::test]
async fn healthz_says_whether_every_account_is_connected() {
    let harness = Harness::new().await;
    let (gateway, account) = harness.serve(Arc::new(EchoAgent), &[]).await;
    let operator = serve(&gateway).await;
    // A monitor on this machine needs no token.
    let health = async || operator.ask(Method::GET, "/healthz", None, "").await;
    eventually(async || health().await.status == 200).await;
    assert_eq!(
        health().await.json(),
        json!({"healthy": true, "accounts": []})
    );

    harness
        .simulator
        .faults(&json!({"getupdates": {"status": 502}}))
        .unwrap();
    harness.simulator.say(ALICE, "hello");
    eventually(async || health().await.status == 503).await;
    let unhealthy = health().await.json();
    assert_eq!(unhealthy["healthy"], false);
    assert_eq!(unhealthy["accounts"][0]["account"], account.id());
    assert_eq!(unhealthy["accounts"][0]["phase"], "degraded");
    let reason = unhealthy["accounts"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("HTTP 502"), "{reason}");
    let nobody = serve(&harness.gateway()).await;
    let nobody = nobody.ask(Method::GET, "/healthz", None, "").await;
    assert_eq!(nobody.status, 503);
}

#[tokio::test]
async fn accounts_are_listed_with_every_member() {
    let (harness, gateway, operator, _) = met().await;
    eventually(async || operator.get("/accounts").await.json()[0]["phase"] == "connected").await;
    let list = operator.get("/accounts").await.json();
    let expected = json!([{
        "account": harness.simulator.account_id(),
        "phase": "connected",
        "since_ms": list[0]["since_ms"].as_u64().unwrap(),
        "last_poll_ms": list[0]["last_poll_ms"].as_u64().unwrap(),
        "last_send_ms": null,
        "queued": 0,
        "unacknowledged": 0,
        "reason": null,
        "component": &*harness.plugin.digest(),
    }]);
    assert_eq!(list, expected);
    assert_eq!(harness.plugin.digest().len(), 64);

    // One that is removed is not there.
    gateway.remove(&harness.simulator.account_id()).await;
    assert_eq!(operator.get("/accounts").await.json(), json!([]));
}

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
        .faults(&json!({"sendmessage": {"ret": -7, "errmsg": "no", "times": 1}}))
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
            .faults(&json!({"sendmessage": null}))
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

#[tokio::test]
async fn a_login_goes_step_by_step() {
    let harness = Harness::new().await;
    let (gateway, account) = harness.serve(Arc::new(EchoAgent), &[]).await;
    let token = harness.simulator.token();
    let credentials = gateway.credentials();
    let home = Home::at("weixin", [harness.simulator.base_url().as_str()]);
    let operator = serve(&gateway).await;
    let path = format!("/accounts/{}/login", account.id());
    assert_eq!(
        operator.get(&path).await.kind(),
        (404, "not-found".to_owned())
    );
    // Another client took the person.
    harness.simulator.log_in_elsewhere(ALICE);
    let step = operator.post(&path, &json!({})).await.json();
    let code = harness.simulator.login(ALICE, Act::ScanWithDigits).unwrap();
    assert_eq!(
        (&step["step"], &step["text"]),
        (&json!("show-qr"), &json!(code.url))
    );
    assert!(step["until_ms"].as_u64().unwrap() > harness.clock.unix_ms());
    let moving = async {
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            harness.clock.advance(Duration::from_millis(100));
        }
    };
    let steps = async {
        assert_eq!(
            operator.get(&path).await.json(),
            json!({"step": "enter-code"})
        );
        let submit = format!("{path}/code");
        let wrong = operator.post(&submit, &json!({"code": "0"})).await;
        assert_eq!(wrong.json(), json!({"step": "enter-code"}));
        let none = operator.post(&submit, &json!({"code": " "})).await;
        assert_eq!(none.kind(), (400, "invalid".to_owned()));
        let confirming = async {
            eventually(async || harness.simulator.qr_codes()[0].status == "scaned").await;
            harness
                .simulator
                .login(ALICE, Act::Confirm)
                .unwrap()
                .account
        };
        let digits = json!({"code": code.digits});
        let (done, bot) = tokio::join!(operator.post(&submit, &digits), confirming);
        // The account's own id stays, also under another bot.
        let expected = json!({"step": "done", "account": account.id()});
        assert_eq!(done.json(), expected);
        let found = credentials.find(account.id(), &home).unwrap().unwrap();
        assert_eq!(found.bot, bot);
        assert!(!found.is_own);
    };
    tokio::select! {
        () = steps => {}
        () = moving => {}
    }
    assert!(
        credentials
            .is_replaced(account.id(), &home, &token)
            .unwrap()
    );
    assert_eq!(credentials.latest(&home).unwrap(), None);
    let begun = operator.post(&path, &json!({})).await.json();
    assert_eq!(begun["step"], "show-qr");
    harness.check();
}

#[tokio::test]
async fn a_component_is_swapped_or_refused_while_the_old_one_goes_on() {
    let (harness, gateway, operator, messages) = met().await;
    let before = gateway.plugin("weixin").unwrap().digest();
    for nonsense in ["", "{}", "\0asm\x01\0\0\0"] {
        let token = format!("Bearer {TOKEN}");
        let answer = operator
            .ask(Method::POST, "/component", Some(&token), nonsense)
            .await;
        assert_eq!(
            answer.kind(),
            (409, "invalid".to_owned()),
            "{}",
            answer.text
        );
    }
    let bytes = crate::gateway::another_component();
    let token = format!("Bearer {TOKEN}");
    let swapped = operator
        .ask(Method::POST, "/component", Some(&token), bytes)
        .await;
    assert_eq!(swapped.status, 200, "{}", swapped.text);
    let after = gateway.plugin("weixin").unwrap().digest();
    assert_ne!(before, after);
    assert_eq!(
        operator.get("/accounts").await.json()[0]["component"],
        json!(&*after)
    );
    let text = json!({"conversation": ALICE, "text": "still here"});
    assert_eq!(operator.post(&messages, &text).await.status, 200);
    let page = operator.get("/metrics").await.text;
    assert!(page.contains("channel_swaps_total"), "{page}");
    harness.check();
}

#[tokio::test]
async fn a_component_that_changes_what_is_trusted_wants_the_operators_word() {
    let (harness, gateway, operator, _) = met().await;
    let token = format!("Bearer {TOKEN}");
    let post = async |path: &str, bytes: Vec<u8>| {
        operator.ask(Method::POST, path, Some(&token), bytes).await
    };
    let before = gateway.plugin("weixin").unwrap().digest();
    // That of another platform is none for these accounts, confirmed or not.
    for path in ["/component", "/component?allow-changes=true"] {
        for other in [env!("HOSTILE"), env!("COMPONENT_WECOM")] {
            let refused = post(path, std::fs::read(other).unwrap()).await;
            assert_eq!(refused.kind(), (409, "invalid".to_owned()));
            assert!(refused.message().contains("platform"), "{}", refused.text);
        }
    }
    let refused = post("/component", crate::gateway::wider_component()).await;
    assert_eq!(refused.kind(), (409, "invalid".to_owned()));
    let message = refused.message();
    for words in ["it reaches https://*.wechax.com/", "?allow-changes=true"] {
        assert!(message.contains(words), "{message}");
    }
    let unknown = post("/component?allow=all", crate::gateway::wider_component()).await;
    assert_eq!(unknown.kind(), (400, "invalid".to_owned()));
    assert_eq!(gateway.plugin("weixin").unwrap().digest(), before);
    let path = "/component?allow-changes=true";
    let swapped = post(path, crate::gateway::wider_component()).await;
    assert_eq!(swapped.status, 200, "{}", swapped.text);
    assert_ne!(gateway.plugin("weixin").unwrap().digest(), before);
    harness.check();
}

#[tokio::test]
async fn nothing_of_a_configured_path_is_shown() {
    let harness = Harness::new().await;
    let base = format!("{}/s3cret-path/bot1", harness.simulator.base_url());
    let config = [("base-url", base.as_str())];
    let (gateway, _account) = harness.serve(Arc::new(EchoAgent), &config).await;
    let operator = serve(&gateway).await;
    // The simulated server knows no such path, and each request is counted all the same.
    let counted = async || {
        harness.clock.advance(Duration::from_millis(500));
        let page = operator.get("/metrics").await.text;
        page.contains("path=\"/ilink/bot/getupdates\",outcome=\"4xx\"")
    };
    eventually(counted).await;
    for path in ["/metrics", "/accounts", "/healthz"] {
        let shown = operator.get(path).await.text;
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let (harness, _gateway, operator, messages) = met().await;
    let text = json!({"conversation": ALICE, "text": "x"});
    assert_eq!(operator.post(&messages, &text).await.status, 200);
    let answer = operator.get("/metrics").await;
    assert_eq!(
        answer.headers[CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let id = harness.simulator.account_id();
    for line in [
        "# TYPE channel_parts_total counter".to_owned(),
        format!("channel_parts_total{{account=\"{id}\",state=\"accepted\"}} 1"),
        format!("channel_agent_messages_total{{account=\"{id}\"}} 1"),
        format!("channel_agent_failures_total{{account=\"{id}\"}} 0"),
        format!("channel_agent_errors_total{{account=\"{id}\",kind=\"no-answer\"}} 0"),
        format!("channel_put_aside_total{{account=\"{id}\"}} 0"),
        format!("channel_outage_notices_total{{account=\"{id}\"}} 0"),
        format!("channel_instance_restarts_total{{account=\"{id}\"}} 0"),
        format!(
            "channel_requests_total{{account=\"{id}\",path=\"/ilink/bot/sendmessage\",\
             outcome=\"2xx\"}} 1"
        ),
        "# TYPE channel_requests_open gauge".to_owned(),
        format!("channel_unacknowledged{{account=\"{id}\"}} 0"),
        format!("channel_phase{{account=\"{id}\",phase=\"stopped\"}} 0"),
    ] {
        assert!(answer.text.lines().any(|other| other == line), "{line}");
    }
    // Every sample belongs to the family above it, and is a number.
    let (mut family, mut samples) = (String::new(), Vec::new());
    for line in answer.text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap().to_owned();
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            samples = match typed.ends_with(" histogram") {
                true => ["_bucket", "_sum", "_count"]
                    .map(|of| format!("{family}{of}{{"))
                    .to_vec(),
                false => vec![format!("{family}{{")],
            };
        } else {
            assert!(
                samples.iter().any(|start| line.starts_with(start)),
                "{line}"
            );
            let (_, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
        }
    }
    harness.check();
}

#[tokio::test]
async fn the_runner_serves_it_and_says_where() {
    let harness = Harness::new().await;
    let mut child = runner_of(&harness.simulator, "memory", "echo")
        .args(["--admin", "127.0.0.1:0", "--log-format", "json"])
        .env("HOST_ADMIN_TOKEN", TOKEN)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = log.next_line().await.unwrap().expect("it says where");
        let line: Value = serde_json::from_str(&line).unwrap();
        if let Some(address) = line["address"].as_str() {
            break address.to_owned();
        }
    };
    let operator = Operator::new(format!("http://{address}"));
    let health = async || operator.ask(Method::GET, "/healthz", None, "").await;
    eventually(async || health().await.status == 200).await;
    harness.simulator.say(ALICE, "hello");
    until(&harness.simulator, |simulator| {
        !simulator.answers(ALICE).is_empty()
    })
    .await;
    let messages = format!("/accounts/{}/messages", harness.simulator.account_id());
    let text = json!({"conversation": ALICE, "text": "by the way"});
    assert_eq!(operator.post(&messages, &text).await.status, 200);
    assert_eq!(harness.simulator.answers(ALICE), ["hello", "by the way"]);
    signal(&child, rustix::process::Signal::TERM);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_place_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = runner(&["run", "--state", "memory", "--admin", &address])
        .env("HOST_ADMIN_TOKEN", TOKEN)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains(&format!("--admin {address}")), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}
