use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::any;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::json;

use super::people::element;
use super::*;
use crate::simulator::query::{escaped, parameter};

/// What the callback URL of a test says to the next callback.
#[derive(Clone)]
enum Say {
    /// This status, and this body.
    Answer(u16, String),
    /// To a verification what it wants to hear, to a callback nothing but 200.
    Right,
    Nothing,
}

/// A callback URL: what it is to say, the last of it again and again, and what it was told.
#[derive(Clone)]
struct Receiver {
    seal: Seal,
    says: Arc<Mutex<VecDeque<Say>>>,
    told: Arc<Mutex<Vec<String>>>,
    url: String,
}

impl Receiver {
    async fn start(wecom: &WeCom, says: impl IntoIterator<Item = Say>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Receiver {
            seal: wecom.world.app.seal.clone(),
            says: Arc::new(Mutex::new(says.into_iter().collect())),
            told: Arc::default(),
            url: format!("http://{}/webhook/a", listener.local_addr().unwrap()),
        };
        let router = Router::new()
            .route("/webhook/a", any(hear))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// What was told in the callbacks that were signed.
    fn told(&self) -> Vec<String> {
        lock(&self.told).clone()
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
    lock(&receiver.told).push(match (is_signed, &opened) {
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

async fn start() -> WeCom {
    WeCom::start(Options::default()).await.unwrap()
}

/// A raw client of the API.
struct Caller<'a> {
    wecom: &'a WeCom,
    token: String,
}

type Heard = Result<(u16, HeaderMap, Bytes), String>;

impl Caller<'_> {
    async fn new(wecom: &WeCom) -> Caller<'_> {
        let mut caller = Caller {
            wecom,
            token: String::new(),
        };
        let secret = wecom.secret();
        let answer = caller.gettoken(wecom.corp_id(), secret).await;
        caller.token = answer["access_token"].as_str().unwrap().to_owned();
        caller
    }

    async fn gettoken(&self, corp_id: &str, secret: &str) -> Value {
        let path = format!("gettoken?corpid={corp_id}&corpsecret={secret}");
        self.json(Method::GET, &path, "", Bytes::new()).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(http::HeaderName, &str)],
        body: Bytes,
    ) -> Heard {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        let url = format!("{}/cgi-bin/{path}", self.wecom.base_url());
        *request.uri_mut() = url.parse().unwrap();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().insert(name, value);
        }
        let exchange = async {
            let answer = self.wecom.world.http.request(request).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok((head.status.as_u16(), head.headers, body.to_bytes()))
        };
        tokio::time::timeout(Duration::from_secs(10), exchange)
            .await
            .unwrap_or_else(|_| Err("nothing for ten seconds".to_owned()))
    }

    async fn json(&self, method: Method, path: &str, kind: &str, body: Bytes) -> Value {
        let (status, _, body) = self
            .call(method, path, &[(CONTENT_TYPE, kind)], body)
            .await
            .unwrap();
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    }

    async fn try_send(&self, body: &Value) -> Heard {
        let path = format!("message/send?access_token={}", self.token);
        let json = [(CONTENT_TYPE, "application/json")];
        self.call(Method::POST, &path, &json, body.to_string().into())
            .await
    }

    async fn send(&self, body: &Value) -> Value {
        let (_, _, answer) = self.try_send(body).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn upload(&self, kind: &str, name: &str, content: &[u8]) -> Value {
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"media\"; filename=\"{name}\"; \
             filelength={}\r\nContent-Type: text/plain\r\n\r\n",
            content.len()
        );
        let body = [head.as_bytes(), content, b"\r\n--b--\r\n"].concat();
        let path = format!("media/upload?access_token={}&type={kind}", self.token);
        let multipart = "multipart/form-data; boundary=b";
        self.json(Method::POST, &path, multipart, body.into()).await
    }

    async fn get(&self, media_id: &str, range: &str) -> (u16, HeaderMap, Bytes) {
        let token = &self.token;
        let path = format!("media/get?access_token={token}&media_id={media_id}");
        let headers = [(RANGE, range)];
        let headers = if range.is_empty() { &[][..] } else { &headers };
        self.call(Method::GET, &path, headers, Bytes::new())
            .await
            .unwrap()
    }
}

fn text(wecom: &WeCom, user: &str, content: &str) -> Value {
    json!({"touser": user, "msgtype": "text", "agentid": wecom.agent_id(),
        "text": {"content": content}})
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
            .told()
            .iter()
            .all(|told| told.parse::<u64>().is_ok())
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
        Kind::File,
        "报告.pdf",
        "application/pdf",
        &b"12345"[..],
    );
    wecom.send_location("alice", 23.1, 113.3, "here");
    wecom.send_link("alice", "T", "D", "https://example.com");
    let event = wecom.happen("alice", "enter_agent", "");
    let last = wecom.push_elements("alice", "<MsgType>hologram</MsgType>");
    wecom.wait_for(|wecom| wecom.is_answered(&last)).await;
    let told = receiver.told();
    let of = |name: &str| -> Vec<Option<String>> {
        told.iter().map(|told| element(told, name)).collect()
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
        let has_come = |_: &WeCom| receiver.told().len() == delivery;
        while !has_come(&wecom) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        wecom.world.clock.advance(Duration::from_secs(5));
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
        .told()
        .iter()
        .map(|told| element(told, "MsgId"))
        .collect();
    assert!(ids.iter().all(|id| id.as_deref() == Some(&*lost)));
}

#[tokio::test]
async fn people_do_not_wait_for_each_other() {
    let wecom = start().await;
    let receiver = Receiver::start(&wecom, [Say::Nothing, Say::Right]).await;
    wecom.callback_to(&receiver.url);
    let first = wecom.say("alice", "one");
    while receiver.told().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let other = wecom.say("bob", "two");
    wecom.wait_for(|wecom| wecom.is_answered(&other)).await;
    assert!(!wecom.is_answered(&first));
    wecom.world.clock.advance(Duration::from_secs(5));
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
        let told = receiver.told().pop().unwrap();
        assert!(told.contains(expect), "{wrong}: {told}");
    }
    let fault = json!({"callback": {"wrong": "content", "times": 1}});
    wecom.faults(&fault).unwrap();
    let id = wecom.say("alice", "hello");
    wecom.wait_for(|wecom| wecom.is_answered(&id)).await;
    let told = receiver.told().pop().unwrap();
    assert!(!told.contains("hello") && told != "not signed", "{told}");
    for (fault, clock) in [("duplicate", false), ("unanswered", true)] {
        let fault = json!({"redeliveries": 1, "callback": {fault: true, "times": 1}});
        wecom.faults(&fault).unwrap();
        let before = receiver.told().len();
        let id = wecom.say("alice", "twice");
        wecom.wait_for(|wecom| wecom.is_answered(&id)).await;
        if clock {
            wecom.world.clock.advance(Duration::from_secs(5));
        }
        let deliveries = |wecom: &WeCom| {
            let all = wecom.deliveries();
            all.iter().filter(|delivery| delivery["id"] == id).count()
        };
        wecom.wait_for(|wecom| deliveries(wecom) == 2).await;
        assert_eq!(receiver.told().len(), before + 2);
    }
}

#[tokio::test]
async fn a_reply_in_the_answer_is_shown_when_it_is_sealed_well() {
    let wecom = start().await;
    let seal = wecom.world.app.seal.clone();
    let reply = |message: &str, signed: &str| {
        let encrypt = seal.encrypt([5; 16], message.as_bytes());
        let signature = seal.sign("5", "6", if signed.is_empty() { &encrypt } else { signed });
        let body = format!(
            "<xml><Encrypt><![CDATA[{encrypt}]]></Encrypt><MsgSignature>{signature}</MsgSignature>\
             <TimeStamp>5</TimeStamp><Nonce>6</Nonce></xml>"
        );
        Say::Answer(200, body)
    };
    let good = "<xml><MsgType>text</MsgType><Content>hi there</Content></xml>";
    let says = [
        reply(good, ""),
        reply(good, "another"),
        reply("<xml/>", ""),
        Say::Answer(200, "hello".into()),
        Say::Answer(200, "success".into()),
    ];
    let receiver = Receiver::start(&wecom, says).await;
    wecom.callback_to(&receiver.url);
    for _ in 0..5 {
        let id = wecom.say("alice", "hello");
        wecom.wait_for(|wecom| wecom.is_answered(&id)).await;
    }
    assert_eq!(wecom.answers("alice"), ["hi there"]);
    let violations = wecom.violations();
    assert_eq!(violations.len(), 3, "{violations:?}");
    assert!(violations[0].contains("signature"));
}

#[tokio::test]
async fn a_token_is_the_same_until_its_time_is_up() {
    let wecom = start().await;
    let caller = Caller::new(&wecom).await;
    let again = Caller::new(&wecom).await;
    assert_eq!(caller.token, again.token);
    let code = async |corp_id: &str, secret: &str| {
        caller.gettoken(corp_id, secret).await["errcode"].clone()
    };
    assert_eq!(code("ww1", wecom.secret()).await, 40013);
    assert_eq!(code(wecom.corp_id(), "wrong").await, 40001);
    let hello = text(&wecom, "alice", "hello");
    assert_eq!(caller.send(&hello).await["errcode"], 0);
    wecom.world.clock.advance(Duration::from_secs(7200));
    assert_eq!(caller.send(&hello).await["errcode"], 42001);
    let new = Caller::new(&wecom).await;
    assert_ne!(caller.token, new.token);
    assert_eq!(new.send(&hello).await["errcode"], 0);
    wecom.expire_token();
    assert_eq!(new.send(&hello).await["errcode"], 42001);
    for (token, errcode) in [("made-up", 40014), ("", 41001)] {
        let caller = Caller {
            wecom: &wecom,
            token: token.to_owned(),
        };
        assert_eq!(caller.send(&hello).await["errcode"], errcode);
    }
    assert!(!format!("{:?}", wecom.log()).contains(&new.token));
}

#[tokio::test]
async fn a_send_is_shown_or_told_why_not() {
    let wecom = start().await;
    let caller = Caller::new(&wecom).await;
    let good = text(&wecom, "alice", "hello");
    let sent = caller.send(&good).await;
    assert_eq!(wecom.phone()[0]["message_id"], sent["msgid"]);
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let errcode = async |body: &Value| caller.send(body).await["errcode"].as_i64().unwrap();
    assert_eq!(errcode(&with("agentid", 5.into())).await, 301_002);
    assert_eq!(errcode(&with("touser", "".into())).await, 81013);
    assert_eq!(errcode(&with("msgtype", "hologram".into())).await, 40058);
    assert_eq!(errcode(&with("text", json!({"content": ""}))).await, 44004);
    wecom
        .faults(&json!({"users": ["alice", "bob"], "unlicensed": ["bob"]}))
        .unwrap();
    assert_eq!(errcode(&with("touser", "carol".into())).await, 81013);
    let partly = caller.send(&with("touser", "alice|bob|carol".into())).await;
    assert_eq!(
        (&partly["invaliduser"], &partly["unlicenseduser"]),
        (&json!("carol"), &json!("bob"))
    );
    wecom.faults(&json!({"reset": true})).unwrap();
    // A character of three bytes stands across the limit.
    let long = "你".repeat(700);
    assert_eq!(errcode(&with("text", json!({"content": long}))).await, 0);
    assert_eq!(wecom.answers("alice").pop().unwrap().len(), 2046);
    assert_eq!(wecom.violations().len(), 1);
    wecom
        .faults(&json!({"send_limit": {"sends": 1, "within_ms": 60_000}}))
        .unwrap();
    assert_eq!(errcode(&good).await, 0);
    assert_eq!(errcode(&good).await, 45009);
    wecom.world.clock.advance(Duration::from_secs(60));
    assert_eq!(errcode(&good).await, 0);
    wecom.faults(&json!({"address": "192.0.2.7"})).unwrap();
    let refused = caller.send(&good).await;
    assert_eq!(refused["errcode"], 60020);
    assert!(
        refused["errmsg"]
            .as_str()
            .unwrap()
            .contains("from ip: 192.0.2.7,")
    );
}

#[tokio::test]
async fn the_same_is_shown_once_when_the_sender_asks_so() {
    let wecom = start().await;
    let caller = Caller::new(&wecom).await;
    let body = text(&wecom, "alice", "hello");
    let mut careful = body.clone();
    careful["enable_duplicate_check"] = 1.into();
    careful["duplicate_check_interval"] = 120.into();
    for (body, shown) in [(&body, 1), (&body, 2), (&careful, 2)] {
        assert_eq!(caller.send(body).await["errcode"], 0);
        assert_eq!(wecom.answers("alice").len(), shown);
    }
    assert_eq!(wecom.counters().repeats, 1);
    wecom.world.clock.advance(Duration::from_secs(121));
    caller.send(&careful).await;
    assert_eq!(wecom.answers("alice").len(), 3);
}

#[tokio::test]
async fn files_go_up_and_down_until_their_time_is_up() {
    let wecom = start().await;
    let caller = Caller::new(&wecom).await;
    let uploaded = caller.upload("file", "报告.txt", b"content").await;
    let media_id = uploaded["media_id"].as_str().unwrap();
    let file = json!({"touser": "alice", "msgtype": "file", "agentid": wecom.agent_id(),
        "file": {"media_id": media_id}});
    let sent = caller.send(&file).await;
    let shown = wecom.phone_file(sent["msgid"].as_str().unwrap()).unwrap();
    assert_eq!(&*shown, b"content");
    assert_eq!(wecom.phone()[0]["item"]["name"], "报告.txt");
    let mut image = file.clone();
    image["msgtype"] = "image".into();
    image["image"] = json!({"media_id": media_id});
    assert_eq!(caller.send(&image).await["errcode"], 40007);
    let (status, headers, body) = caller.get(media_id, "").await;
    assert_eq!((status, &*body), (200, &b"content"[..]));
    assert_eq!(headers[CONTENT_TYPE], "text/plain");
    let disposition = headers[CONTENT_DISPOSITION].to_str().unwrap();
    assert!(disposition.contains(&escaped("报告.txt")), "{disposition}");
    let (status, _, body) = caller.get(media_id, "bytes=2-4").await;
    assert_eq!((status, &*body), (206, &b"nte"[..]));
    assert_eq!(caller.upload("file", "a", b"1234").await["errcode"], 40006);
    assert_eq!(caller.upload("film", "a", b"12345").await["errcode"], 40004);
    let received = wecom.send_file("alice", Kind::Image, "a.png", "image/png", &b"image"[..]);
    assert!(!received.is_empty());
    wecom
        .world
        .clock
        .advance(Duration::from_secs(3 * 24 * 3600));
    let caller = Caller::new(&wecom).await;
    let (status, headers, body) = caller.get(media_id, "").await;
    assert_eq!(status, 200);
    assert!(headers.get(CONTENT_DISPOSITION).is_none());
    let refused: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(refused["errcode"], 40007);
}

#[tokio::test]
async fn faults_stand_around_the_true_answers() {
    let wecom = start().await;
    let caller = Caller::new(&wecom).await;
    let mut shown = 0;
    for (fault, takes_effect, expect) in [
        (json!({"cut": "before"}), false, None),
        (json!({"cut": "after"}), true, None),
        (json!({"cut": "body"}), true, None),
        (json!({"status": 502}), false, Some(502)),
        (json!({"status": 502, "processed": true}), true, Some(502)),
        (
            json!({"errcode": -1, "errmsg": "system busy"}),
            false,
            Some(200),
        ),
        (json!({"body": "<html>"}), false, Some(200)),
        (json!({"truncated": true}), true, Some(200)),
        (json!({"skip": 1}), true, Some(200)),
    ] {
        wecom.faults(&json!({"message/send": fault})).unwrap();
        let heard = caller.try_send(&text(&wecom, "alice", "hello")).await;
        assert_eq!(
            heard.as_ref().ok().map(|(status, ..)| *status),
            expect,
            "{fault}: {heard:?}"
        );
        shown += usize::from(takes_effect);
        assert_eq!(wecom.answers("alice").len(), shown, "{fault}");
    }
    wecom
        .faults(&json!({"message/send": {"delay_ms": 60_000}}))
        .unwrap();
    let clock = wecom.world.clock.clone();
    let body = text(&wecom, "alice", "slow");
    let (heard, ()) = tokio::join!(caller.send(&body), async {
        wecom
            .wait_for(|wecom| wecom.answers("alice").len() == shown + 1)
            .await;
        clock.advance(Duration::from_secs(60));
    });
    assert_eq!(heard["errcode"], 0);
    assert_eq!(wecom.log().len(), 11);
}

#[tokio::test]
async fn a_stalled_exchange_ends_with_the_server() {
    let wecom = start().await;
    let caller = Caller::new(&wecom).await;
    wecom
        .faults(&json!({"message/send": {"stall": "headers"}}))
        .unwrap();
    let body = text(&wecom, "alice", "hello");
    let (heard, ()) = tokio::join!(caller.try_send(&body), async {
        wecom.wait_for(|wecom| wecom.log().len() == 2).await;
        wecom.shutdown().await;
    });
    assert!(heard.is_err());
    let listen = wecom.world.address;
    let options = Options {
        listen,
        ..Options::default()
    };
    assert!(WeCom::start(options).await.is_ok());
}

#[tokio::test]
async fn the_terminal_can_do_what_a_test_can() {
    let wecom = start().await;
    let receiver = Receiver::start(&wecom, []).await;
    let caller = Caller::new(&wecom).await;
    let control = async |method: Method, path: &str, body: Value| {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let path = format!("../sim/{path}");
        let url = path.replace("../", "");
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}/{url}", wecom.base_url()).parse().unwrap();
        let answer = caller.wecom.world.http.request(request).await.unwrap();
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
