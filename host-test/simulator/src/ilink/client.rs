//! A raw client of the simulator for its own tests: sends what it is told, and shows what came.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::cipher::{Key, Sealing, padded};
use super::{Account, Simulator};
use crate::query::escaped;

/// An iLink client with the headers and bodies of the official one.
#[derive(Clone)]
pub(super) struct Client {
    http: Legacy<HttpConnector, Full<Bytes>>,
    pub(super) base_url: String,
    pub(super) headers: HeaderMap,
    control_token: String,
}

impl Client {
    pub(super) fn new(simulator: &Simulator) -> Client {
        Client::of(simulator, simulator.first())
    }

    pub(super) fn of(simulator: &Simulator, account: &Account) -> Client {
        let mut headers = HeaderMap::new();
        let bearer = format!("Bearer {}", account.token());
        for (name, value) in [
            ("content-type", "application/json"),
            ("authorizationtype", "ilink_bot_token"),
            ("authorization", &bearer),
            ("ilink-app-id", "bot"),
            ("ilink-app-clientversion", "132105"),
        ] {
            headers.insert(
                name,
                HeaderValue::from_str(value).expect("a header of the test"),
            );
        }
        let http = Legacy::builder(TokioExecutor::new()).build_http();
        Client {
            http,
            base_url: simulator.base_url(),
            headers,
            control_token: simulator.control_token().to_owned(),
        }
    }

    /// Status and body text, or how the exchange failed. Ten seconds at most.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, String), String> {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.base_url)
            .parse()
            .expect("a path of the test");
        *request.headers_mut() = self.headers.clone();
        if !self.headers.contains_key("x-wechat-uin") {
            use base64::Engine;
            let uin = rand::random::<u32>().to_string();
            let uin = base64::engine::general_purpose::STANDARD.encode(uin);
            let uin = HeaderValue::from_str(&uin).expect("base64 is a header");
            request.headers_mut().insert("x-wechat-uin", uin);
        }
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = response.status();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|error| error.to_string())?;
            Ok((
                status,
                String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            ))
        };
        tokio::time::timeout(Duration::from_secs(10), exchange)
            .await
            .unwrap_or_else(|_| Err("nothing for ten seconds".to_owned()))
    }

    /// A request to any URL with these headers alone: what a client of the CDN sends.
    pub(super) async fn fetch(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Response<Bytes>, String> {
        let mut request = Request::new(Full::from(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().expect("a URL of the test");
        *request.headers_mut() = headers;
        let exchange = async {
            let response = self.http.request(request).await;
            let (head, body) = response.map_err(|error| error.to_string())?.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(Duration::from_secs(10), exchange)
            .await
            .unwrap_or_else(|_| Err("nothing for ten seconds".to_owned()))
    }

    /// Downloads as the official client does.
    pub(super) async fn download(&self, url: &str) -> Result<Response<Bytes>, String> {
        self.fetch(Method::GET, url, HeaderMap::new(), Bytes::new())
            .await
    }

    /// Uploads a ciphertext as the official client does.
    pub(super) async fn upload(
        &self,
        url: &str,
        ciphertext: impl Into<Bytes>,
    ) -> Result<Response<Bytes>, String> {
        let octets = HeaderValue::from_static("application/octet-stream");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, octets)]);
        self.fetch(Method::POST, url, headers, ciphertext).await
    }

    /// Posts to an endpoint, with `base_info`.
    pub(super) async fn post(
        &self,
        endpoint: &str,
        mut body: Value,
    ) -> Result<(StatusCode, String), String> {
        body["base_info"] = json!({"channel_version": "2.4.9", "bot_agent": "OpenClaw"});
        self.request(
            Method::POST,
            &format!("/ilink/bot/{endpoint}"),
            body.to_string(),
        )
        .await
    }

    /// Posts to an endpoint and reads the JSON of a 200.
    pub(super) async fn call(&self, endpoint: &str, body: Value) -> Value {
        let (status, text) = self
            .post(endpoint, body)
            .await
            .expect("the exchange succeeds");
        assert_eq!(status, StatusCode::OK);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{endpoint}: no JSON: {text}"))
    }

    /// The headers of the official client on its way to a QR code, or to what became of it.
    pub(super) fn login_headers(&self, posts: bool) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.remove("authorization");
        match posts {
            true => drop(headers.insert("x-wechat-uin", HeaderValue::from_static("MA=="))),
            false => {
                headers.remove("content-type");
                headers.remove("authorizationtype");
            }
        }
        headers
    }

    /// Asks for a QR code as the official client does.
    pub(super) async fn qr(&self, tokens: &[&str]) -> Value {
        let url = format!("{}/ilink/bot/get_bot_qrcode?bot_type=3", self.base_url);
        let body = json!({"local_token_list": tokens}).to_string();
        let answer = self
            .fetch(Method::POST, &url, self.login_headers(true), body)
            .await;
        json_of(&answer.expect("the exchange succeeds"))
    }

    /// Asks what became of a QR code as the official client does.
    pub(super) async fn qr_status(&self, qr: &Value, digits: &str) -> Value {
        let answer = self.try_qr_status(qr, digits, None).await;
        json_of(&answer.expect("the exchange succeeds"))
    }

    /// Asks what became of a QR code; at another name of the server, if one is given.
    pub(super) async fn try_qr_status(
        &self,
        qr: &Value,
        digits: &str,
        host: Option<&str>,
    ) -> Result<Response<Bytes>, String> {
        let mut url = format!(
            "{}/ilink/bot/get_qrcode_status?qrcode={}",
            self.base_url,
            escaped(qr["qrcode"].as_str().unwrap_or_default())
        );
        if !digits.is_empty() {
            url += &format!("&verify_code={}", escaped(digits));
        }
        let mut headers = self.login_headers(false);
        if let Some(host) = host {
            headers.insert(
                HOST,
                HeaderValue::from_str(host).expect("a host of the test"),
            );
        }
        self.fetch(Method::GET, &url, headers, Bytes::new()).await
    }

    pub(super) async fn poll(&self, cursor: &str) -> Value {
        self.call("getupdates", json!({"get_updates_buf": cursor}))
            .await
    }

    pub(super) async fn send(&self, user: &str, text: &str, client_id: &str) -> Value {
        self.call("sendmessage", message(user, text, client_id))
            .await
    }

    /// A request to a control path.
    pub(super) async fn control(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let url = format!("{}{path}", self.base_url);
        let answer = self.fetch(method, &url, self.control_headers(), body).await;
        let answer = answer.expect("the exchange succeeds");
        (
            answer.status().as_u16(),
            serde_json::from_slice(answer.body()).expect("control answers are JSON"),
        )
    }

    /// What the control paths want.
    pub(super) fn control_headers(&self) -> HeaderMap {
        let bearer = format!("Bearer {}", self.control_token);
        let bearer = HeaderValue::from_str(&bearer).expect("a header of the test");
        HeaderMap::from_iter([(AUTHORIZATION, bearer)])
    }
}

/// The JSON of a 200.
pub(super) fn json_of(answer: &Response<Bytes>) -> Value {
    assert_eq!(answer.status(), StatusCode::OK);
    serde_json::from_slice(answer.body()).expect("the answer is JSON")
}

/// A text as the official client sends it, without context token.
pub(super) fn message(user: &str, text: &str, client_id: &str) -> Value {
    json!({"msg": {
        "from_user_id": "",
        "to_user_id": user,
        "client_id": client_id,
        "message_type": 2,
        "message_state": 2,
        "item_list": [{"type": 1, "text_item": {"text": text}}],
    }})
}

/// The key of the tests' uploads.
pub(super) const KEY: &str = "00112233445566778899aabbccddeeff";

/// What announces an upload under [`KEY`], without `base_info`.
pub(super) fn announcement(user: &str, media_type: u64, plain: &[u8]) -> Value {
    json!({
        "filekey": "0123456789abcdef0123456789abcdef",
        "media_type": media_type,
        "to_user_id": user,
        "rawsize": plain.len(),
        "rawfilemd5": super::Content::bytes(plain.to_vec()).md5(),
        "filesize": padded(plain.len() as u64),
        "no_need_thumb": true,
        "aeskey": KEY,
    })
}

/// The ciphertext under [`KEY`].
pub(super) fn sealed(plain: &[u8]) -> Vec<u8> {
    let mut bytes = plain.to_vec();
    Sealing::new(Key::of_hex(KEY).expect("it is a key")).last(&mut bytes);
    bytes
}

/// The texts of a poll's messages, in order.
pub(super) fn texts(answer: &Value) -> Vec<&str> {
    let messages = answer["msgs"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    messages
        .iter()
        .filter_map(|message| message["item_list"][0]["text_item"]["text"].as_str())
        .collect()
}

/// A poll's next cursor.
pub(super) fn cursor(answer: &Value) -> &str {
    answer["get_updates_buf"]
        .as_str()
        .expect("the answer has a cursor")
}

/// A simulator in strict mode with a short hold.
pub(super) async fn strict_simulator() -> Simulator {
    let options = super::SimulatorOptions {
        strict: true,
        hold: Duration::from_millis(300),
        ..super::SimulatorOptions::default()
    };
    Simulator::start(options)
        .await
        .expect("a free port is there")
}
