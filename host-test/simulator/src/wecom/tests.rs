mod api;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::any;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::seal::Seal;
use super::xml::element;
use super::*;
use crate::query::parameter;
use crate::sync::lock;

/// What the callback URL of a test says to the next callback.
#[derive(Clone)]
enum Say {
    /// This status, and this body.
    Answer(u16, String),
    /// To a verification what it wants to hear, to a callback nothing but 200.
    Right,
    Nothing,
}

/// A callback URL: what it is to say, the last of it again and again, and what it was received.
#[derive(Clone)]
struct Receiver {
    seal: Seal,
    says: Arc<Mutex<VecDeque<Say>>>,
    received: Arc<Mutex<Vec<String>>>,
    url: String,
}

impl Receiver {
    async fn start(wecom: &WecomSimulator, says: impl IntoIterator<Item = Say>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Receiver {
            seal: wecom.server.app.seal.clone(),
            says: Arc::new(Mutex::new(says.into_iter().collect())),
            received: Arc::default(),
            url: format!("http://{}/webhook/a", listener.local_addr().unwrap()),
        };
        let router = Router::new()
            .route("/webhook/a", any(hear))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// What was received in the callbacks that were signed.
    fn received(&self) -> Vec<String> {
        lock(&self.received).clone()
    }
}

async fn hear(
    State(receiver): State<Receiver>,
    RawQuery(query): RawQuery,
    body: String,
) -> (http::StatusCode, String) {
    let query = query.as_deref();
    let encrypt = match element(&body, "Encrypt") {
        Some(encrypt) => encrypt,
        None => parameter(query, "echostr"),
    };
    let (timestamp, nonce) = (parameter(query, "timestamp"), parameter(query, "nonce"));
    let is_signed =
        receiver.seal.sign(&timestamp, &nonce, &encrypt) == parameter(query, "msg_signature");
    let opened = receiver.seal.decrypt(&encrypt);
    let opened = opened.map(|bytes| String::from_utf8(bytes).unwrap());
    lock(&receiver.received).push(match (is_signed, &opened) {
        (false, _) => "not signed".to_owned(),
        (true, Ok(message)) => message.clone(),
        (true, Err(why)) => (*why).to_owned(),
    });
    let say = {
        let mut says = lock(&receiver.says);
        match says.len() {
            0 | 1 => says.front().cloned().unwrap_or(Say::Right),
            _ => says.pop_front().unwrap_or(Say::Right),
        }
    };
    match say {
        Say::Answer(status, body) => (http::StatusCode::from_u16(status).unwrap(), body),
        Say::Right if body.is_empty() => (http::StatusCode::OK, opened.unwrap()),
        Say::Right => (http::StatusCode::OK, String::new()),
        Say::Nothing => std::future::pending().await,
    }
}

async fn start() -> WecomSimulator {
    WecomSimulator::start(WecomOptions::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_url_is_verified_by_what_it_answers() {
    let wecom = start().await;
    let says = [
        Say::Right,
        Say::Answer(200, "no".into()),
        Say::Answer(403, String::new()),
        Say::Nothing,
    ];
    let receiver = Receiver::start(&wecom, says).await;
    let verified = async || wecom.verify(&receiver.url).await;
    assert_eq!(verified().await, Ok(()));
    assert!(verified().await.unwrap_err().contains("echostr alone"));
    assert_eq!(verified().await.unwrap_err(), "the answer is HTTP 403");
    assert!(verified().await.unwrap_err().contains("within a second"));
    assert!(wecom.verify("http://127.0.0.1:1/x").await.is_err());
    assert!(
        receiver
            .received()
            .iter()
            .all(|received| received.parse::<u64>().is_ok())
    );
}

#[tokio::test]
async fn what_people_send_is_called_back_in_order() {
    let wecom = start().await;
    let receiver = Receiver::start(&wecom, []).await;
    wecom.callback_to(&receiver.url);
    let first = wecom.say("alice", "hello ]]> <b>");
    wecom.send_file(
        "alice",
        MediaKind::File,
        "报告.pdf",
        "application/pdf",
        &b"12345"[..],
    );
    wecom.send_location("alice", 23.1, 113.3, "here");
    wecom.send_link("alice", "T", "D", "https://example.com");
    let event = wecom.happen("alice", "enter_agent", "");
    let last = wecom.push_elements("alice", "<MsgType>hologram</MsgType>");
    wecom.wait_for(|wecom| wecom.is_answered(&last)).await;
    let received = receiver.received();
    let of = |name: &str| -> Vec<Option<String>> {
        received
            .iter()
            .map(|received| element(received, name))
            .collect()
    };
    let kinds: Vec<String> = of("MsgType").into_iter().flatten().collect();
    assert_eq!(
        kinds,
        ["text", "file", "location", "link", "event", "hologram"]
    );
    assert_eq!(of("Content")[0].as_deref(), Some("hello ]]> <b>"));
    assert_eq!(of("MsgId")[0], Some(first));
    assert_eq!(of("MsgId")[4], None);
    assert!(wecom.is_answered(&event));
    assert_eq!(wecom.phone().len(), 5);
    assert_eq!(wecom.counters().answered, 6);
}

#[tokio::test]
async fn what_is_not_answered_in_time_comes_again_and_then_no_more() {
    let wecom = start().await;
    let says = [
        Say::Nothing,
        Say::Answer(500, String::new()),
        Say::Answer(204, String::new()),
    ];
    let receiver = Receiver::start(&wecom, says.into_iter().chain([Say::Nothing])).await;
    wecom.callback_to(&receiver.url);
    let lost = wecom.say("alice", "hello");
    for delivery in 1..=4 {
        let has_come = |_: &WecomSimulator| receiver.received().len() == delivery;
        while !has_come(&wecom) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        wecom.server.clock.advance(Duration::from_secs(5));
        wecom
            .wait_for(|wecom| wecom.deliveries().len() == delivery)
            .await;
    }
    wecom.wait_for(|wecom| wecom.counters().given_up == 1).await;
    assert!(!wecom.is_answered(&lost));
    let statuses: Vec<Value> = wecom
        .deliveries()
        .iter()
        .map(|delivery| delivery["status"].clone())
        .collect();
    assert_eq!(statuses, [json!(null), json!(500), json!(204), json!(null)]);
    let ids: Vec<Option<String>> = receiver
        .received()
        .iter()
        .map(|received| element(received, "MsgId"))
        .collect();
    assert!(ids.iter().all(|id| id.as_deref() == Some(&*lost)));
}

#[tokio::test]
async fn people_do_not_wait_for_each_other() {
    let wecom = start().await;
    let receiver = Receiver::start(&wecom, [Say::Nothing, Say::Right]).await;
    wecom.callback_to(&receiver.url);
    let first = wecom.say("alice", "one");
    while receiver.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let other = wecom.say("bob", "two");
    wecom.wait_for(|wecom| wecom.is_answered(&other)).await;
    assert!(!wecom.is_answered(&first));
    wecom.server.clock.advance(Duration::from_secs(5));
    wecom.wait_for(|wecom| wecom.is_answered(&first)).await;
}

#[tokio::test]
async fn callbacks_go_wrong_when_they_are_told_to() {
    let wecom = start().await;
    let receiver = Receiver::start(&wecom, []).await;
    wecom.callback_to(&receiver.url);
    for (wrong, expect) in [
        ("signature", "not signed"),
        ("receiver", "it is sealed for another receiver"),
        ("agent", "<AgentID>999</AgentID>"),
        ("time", "hello"),
    ] {
        let fault = json!({"callback": {"wrong": wrong, "times": 1}});
        wecom.faults(&fault).unwrap();
        let id = wecom.say("alice", "hello");
        wecom.wait_for(|wecom| wecom.is_answered(&id)).await;
        let received = receiver.received().pop().unwrap();
        assert!(received.contains(expect), "{wrong}: {received}");
    }
    let fault = json!({"callback": {"wrong": "content", "times": 1}});
    wecom.faults(&fault).unwrap();
    let id = wecom.say("alice", "hello");
    wecom.wait_for(|wecom| wecom.is_answered(&id)).await;
    let received = receiver.received().pop().unwrap();
    assert!(
        !received.contains("hello") && received != "not signed",
        "{received}"
    );
    for (fault, clock) in [("duplicate", false), ("unanswered", true)] {
        let fault = json!({"redeliveries": 1, "callback": {fault: true, "times": 1}});
        wecom.faults(&fault).unwrap();
        let before = receiver.received().len();
        let id = wecom.say("alice", "twice");
        wecom.wait_for(|wecom| wecom.is_answered(&id)).await;
        if clock {
            wecom.server.clock.advance(Duration::from_secs(5));
        }
        let deliveries = |wecom: &WecomSimulator| {
            let all = wecom.deliveries();
            all.iter().filter(|delivery| delivery["id"] == id).count()
        };
        wecom.wait_for(|wecom| deliveries(wecom) == 2).await;
        assert_eq!(receiver.received().len(), before + 2);
    }
}

#[tokio::test]
async fn a_reply_in_the_answer_is_shown_when_it_is_sealed_well() {
    let wecom = start().await;
    let seal = wecom.server.app.seal.clone();
    let now_s = wecom.server.clock.unix().as_secs().to_string();
    let reply_at = |time: &str, message: &str, signed: &str| {
        let encrypt = seal.encrypt([5; 16], message.as_bytes());
        let signed = if signed.is_empty() { &encrypt } else { signed };
        let signature = seal.sign(time, "6", signed);
        let body = format!(
            "<xml><Encrypt><![CDATA[{encrypt}]]></Encrypt><MsgSignature>{signature}</MsgSignature>\
             <TimeStamp>{time}</TimeStamp><Nonce>6</Nonce></xml>"
        );
        Say::Answer(200, body)
    };
    let reply = |message: &str, signed: &str| reply_at(&now_s, message, signed);
    let message = |user: &str, corp: &str, text: &str| {
        format!(
            "<xml><ToUserName>{user}</ToUserName><FromUserName>{corp}</FromUserName>\
             <CreateTime>{now_s}</CreateTime><MsgType>text</MsgType><Content>{text}</Content></xml>"
        )
    };
    let corp = wecom.corp_id();
    let good = &message("alice", corp, "hi there");
    let wrong = [
        (reply(good, "another"), "signature"),
        (reply_at("5", good, ""), "its time"),
        (reply(&message("bob", corp, "x"), ""), "somebody else"),
        (reply(&message("alice", "ww9", "x"), ""), "another corp"),
        (reply(&good.replace(&now_s, "5"), ""), "another time"),
        (
            reply(&message("alice", corp, &"x".repeat(2049)), ""),
            "too long",
        ),
        (reply("<xml/>", ""), "ToUserName"),
        (Say::Answer(200, "hello".into()), "Encrypt"),
    ];
    let (wrong, why): (Vec<_>, Vec<_>) = wrong.into_iter().unzip();
    let right = [reply(good, ""), Say::Answer(200, "success".into())];
    let receiver = Receiver::start(&wecom, right.into_iter().chain(wrong)).await;
    wecom.callback_to(&receiver.url);
    for _ in 0..2 + why.len() {
        let id = wecom.say("alice", "hello");
        wecom.wait_for(|wecom| wecom.is_answered(&id)).await;
    }
    assert_eq!(wecom.answers("alice"), ["hi there"]);
    assert_eq!(wecom.counters().passive, 1);
    let violations = wecom.violations();
    assert_eq!(violations.len(), why.len(), "{violations:?}");
    for (violation, why) in violations.iter().zip(why) {
        assert!(violation.contains(why), "{violation}");
    }
}

#[tokio::test]
async fn the_terminal_can_do_what_a_test_can() {
    let wecom = start().await;
    let receiver = Receiver::start(&wecom, []).await;
    let control = async |method: Method, path: &str, body: Value| {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}/sim/{path}", wecom.base_url()).parse().unwrap();
        let bearer = format!("Bearer {}", wecom.control_token());
        request
            .headers_mut()
            .insert("authorization", bearer.parse().unwrap());
        let answer = wecom.server.http.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (post, get) = (Method::POST, Method::GET);
    let wrong = json!({"url": "http://127.0.0.1:1/"});
    assert_eq!(control(post.clone(), "callback", wrong).await.0, 400);
    let url = json!({"url": receiver.url});
    assert_eq!(control(post.clone(), "callback", url).await.0, 200);
    for body in [
        json!({"text": "hi"}),
        json!({"user": "bob", "event": "subscribe"}),
    ] {
        let (status, answer) = control(post.clone(), "messages", body).await;
        assert_eq!(status, 200);
        let id = answer["id"].as_str().unwrap();
        wecom.wait_for(|wecom| wecom.is_answered(id)).await;
    }
    assert_eq!(
        control(get.clone(), "messages", Value::Null).await.1[0]["text"],
        "hi"
    );
    let deliveries = control(get.clone(), "deliveries", Value::Null).await.1;
    assert_eq!(deliveries.as_array().unwrap().len(), 2);
    let fault = json!({"token_ms": "x"});
    assert_eq!(control(post.clone(), "faults", fault).await.0, 400);
    let clock = json!({"advance_ms": 1000});
    assert!(control(post.clone(), "clock", clock).await.1["now_ms"].is_u64());
    for (method, path, body) in [
        (post.clone(), "messages", json!({})),
        (post.clone(), "messages", Value::Null),
        (get, "nothing", Value::Null),
    ] {
        assert!(control(method, path, body).await.0 >= 400, "{path}");
    }
    assert_eq!(
        control(Method::GET, "violations", Value::Null).await.1,
        json!([])
    );
}

#[tokio::test]
async fn it_ends_with_its_last_handle() {
    let wecom = start().await;
    let address = wecom.server.address;
    let clone = wecom.clone();
    drop(wecom);
    assert!(tokio::net::TcpStream::connect(address).await.is_ok());
    drop(clone);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
