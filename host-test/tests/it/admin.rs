//! The operator's API.

mod accounts;
mod messages;

use std::sync::Arc;
use std::time::Duration;

use gateway_host::admin::{self, Token};
use gateway_host::agent::EchoAgent;
use gateway_host::credentials::Home;
use gateway_host::gateway::Gateway;
use gateway_simulator::ilink::Endpoint;
use gateway_simulator::{Act, Fault};
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
        .fault(Endpoint::GetUpdates, Fault::status(502))
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
