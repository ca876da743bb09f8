use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::super::*;
use super::start;
use crate::Fault;
use crate::faults::StallAt;
use crate::query::escaped;
use crate::wecom::{Endpoint, RuleChanges, SendLimit};

/// A raw client of the API.
struct Caller<'a> {
    wecom: &'a WecomSimulator,
    token: String,
}

type Heard = Result<(u16, HeaderMap, Bytes), String>;

impl Caller<'_> {
    async fn new(wecom: &WecomSimulator) -> Caller<'_> {
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
            let answer = self.wecom.server.http.request(request).await;
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

fn text(wecom: &WecomSimulator, user: &str, content: &str) -> Value {
    json!({"touser": user, "msgtype": "text", "agentid": wecom.agent_id(),
        "text": {"content": content}})
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
    wecom.server.clock.advance(Duration::from_secs(7200));
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
    wecom.change(&RuleChanges::new().reset()).unwrap();
    // A character of three bytes stands across the limit.
    let long = "你".repeat(700);
    assert_eq!(errcode(&with("text", json!({"content": long}))).await, 0);
    assert_eq!(wecom.answers("alice").pop().unwrap().len(), 2046);
    assert_eq!(wecom.violations().len(), 1);
    wecom
        .change(&RuleChanges::new().send_limit(Some(SendLimit {
            sends: 1,
            within: Duration::from_secs(60),
        })))
        .unwrap();
    assert_eq!(errcode(&good).await, 0);
    assert_eq!(errcode(&good).await, 45009);
    wecom.server.clock.advance(Duration::from_secs(60));
    assert_eq!(errcode(&good).await, 0);
    wecom
        .change(&RuleChanges::new().refuse_address(Some("192.0.2.7".to_owned())))
        .unwrap();
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
    wecom.server.clock.advance(Duration::from_secs(121));
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
    let received = wecom.send_file(
        "alice",
        MediaKind::Image,
        "a.png",
        "image/png",
        &b"image"[..],
    );
    assert!(!received.is_empty());
    wecom
        .server
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
        .fault(Endpoint::Send, Fault::delay(Duration::from_secs(60)))
        .unwrap();
    let clock = wecom.server.clock.clone();
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
        .fault(Endpoint::Send, Fault::stall(StallAt::Headers))
        .unwrap();
    let body = text(&wecom, "alice", "hello");
    let (heard, ()) = tokio::join!(caller.try_send(&body), async {
        wecom.wait_for(|wecom| wecom.log().len() == 2).await;
        wecom.shutdown().await;
    });
    assert!(heard.is_err());
    let listen = wecom.server.address;
    let options = WecomOptions {
        listen,
        ..WecomOptions::default()
    };
    assert!(WecomSimulator::start(options).await.is_ok());
}
