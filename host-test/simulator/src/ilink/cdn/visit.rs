//! One request to the CDN, for the checks and the wire log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::body::{AnswerBody, whole};
use crate::faults::Fault;
use crate::ilink::endpoint::Endpoint;
use crate::ilink::state::{Bot, Exchange, ServerState};

/// A request to the CDN.
pub(super) struct Visit {
    pub(super) server: Arc<ServerState>,
    endpoint: Endpoint,
    at: Duration,
    at_ms: u64,
    host: Option<String>,
    headers: HeaderMap,
    pub(super) bot: Arc<Bot>,
}

impl Visit {
    /// Counts and checks the request; returns its fault. `owner` is the bot whose file it is.
    pub(super) fn arrive(
        server: Arc<ServerState>,
        endpoint: Endpoint,
        head: Parts,
        owner: Option<&Arc<Bot>>,
    ) -> (Visit, Fault) {
        let bot = owner.unwrap_or(&server.first).clone();
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let visit = Visit {
            at: server.clock.elapsed(),
            at_ms: server.clock.unix_ms(),
            host: host.map(str::to_owned),
            headers: head.headers,
            endpoint,
            bot,
            server,
        };
        let (fault, strict) = {
            let mut state = visit.bot.lock();
            state.count(endpoint);
            (state.rules.fault(endpoint), state.rules.strict)
        };
        visit.check(strict, head.uri.query().unwrap_or_default());
        visit.server.changed.notify_waiters();
        (visit, fault.unwrap_or_default())
    }

    /// The bot token must never come here; in strict mode, nothing that is the API's.
    fn check(&self, strict: bool, query: &str) {
        let token = self.bot.lock().token.clone();
        let has_token = |value: &[u8]| {
            value
                .windows(token.len())
                .any(|part| part == token.as_bytes())
        };
        for (name, value) in &self.headers {
            let name = name.as_str();
            if name == "authorization" || has_token(value.as_bytes()) {
                self.violation(&format!("the header {name} of the API reached the CDN"));
            } else if strict && API_HEADERS.contains(&name) {
                self.violation(&format!("the header {name} is not sent to the CDN"));
            }
        }
        if has_token(query.as_bytes()) {
            self.violation("the bot token is in the URL");
        }
        let is_upload = self.endpoint == Endpoint::Upload;
        let content_type = self.headers.get("content-type");
        if strict && is_upload && content_type.is_none_or(|kind| kind != "application/octet-stream")
        {
            self.violation("the header content-type is not `application/octet-stream`");
        }
    }

    pub(super) fn violation(&self, sentence: &str) {
        let endpoint = self.endpoint.name();
        self.server.violation(format!("{endpoint}: {sentence}"));
    }

    /// Records the exchange without the bodies: how many bytes, from which host, and which
    /// headers of the API came along.
    pub(super) fn record(
        &self,
        status: Option<StatusCode>,
        received: u64,
        sent: u64,
        error: Option<&str>,
    ) {
        self.server.wire_log.record(|| {
            let names = self.headers.keys().map(|name| name.as_str());
            let of_api: Vec<&str> = names.filter(|name| API_HEADERS.contains(name)).collect();
            let request = json!({"host": self.host, "api_headers": of_api, "bytes": received});
            let mut response = Map::from_iter([("bytes".to_owned(), sent.into())]);
            if let Some(error) = error {
                response.insert("error".to_owned(), error.into());
            }
            Exchange {
                at: self.at,
                at_ms: self.at_ms,
                host: self.host.as_deref().map(Box::from),
                account: Some(self.bot.account.clone()),
                endpoint: self.endpoint.name(),
                status: status.map(|status| status.as_u16()),
                request: request.to_string().into_bytes().into(),
                response: Value::Object(response).to_string().into_bytes().into(),
            }
        });
        self.server.changed.notify_waiters();
    }
}

/// Headers that belong to the API, none of which the CDN gets.
const API_HEADERS: [&str; 7] = [
    "authorization",
    "authorizationtype",
    "cookie",
    "ilink-app-clientversion",
    "ilink-app-id",
    "skroutetag",
    "x-wechat-uin",
];

/// An answer that says why the CDN refuses.
pub(super) fn refusal(status: StatusCode, message: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    let message = HeaderValue::from_static(message);
    response.headers_mut().insert("x-error-message", message);
    response
}
