//! The wire log: what went over the wire lately, secrets masked.
//!
//! It holds bytes as they came and reads them only when someone asks, so that recording costs a
//! copy. It keeps at most the given number of exchanges and 16 MiB of bodies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::sync::lock;

const BODY_BYTES: usize = 16 * 1024 * 1024;

/// One request and its answer.
pub(crate) struct Exchange {
    /// The request's arrival on the clock that never goes back.
    pub(crate) at: Duration,
    /// The request's arrival since the Unix epoch.
    pub(crate) at_ms: u64,
    /// The name that the client has for the server.
    pub(crate) host: Option<Box<str>>,
    /// Unknown when the request's token was, and of the login.
    pub(crate) account: Option<Arc<str>>,
    pub(crate) endpoint: &'static str,
    /// `None` when the connection was closed without an answer.
    pub(crate) status: Option<u16>,
    pub(crate) request: Box<[u8]>,
    pub(crate) response: Box<[u8]>,
}

pub(crate) struct WireLog {
    limit: usize,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    exchanges: VecDeque<Exchange>,
    bytes: usize,
}

impl WireLog {
    pub(crate) fn new(limit: usize) -> WireLog {
        WireLog {
            limit,
            ring: Mutex::default(),
        }
    }

    /// Records what `exchange` makes, unless the log is off.
    pub(crate) fn record(&self, exchange: impl FnOnce() -> Exchange) {
        if self.limit == 0 {
            return;
        }
        let exchange = exchange();
        let mut ring = lock(&self.ring);
        ring.bytes += exchange.size();
        ring.exchanges.push_back(exchange);
        while ring.exchanges.len() > self.limit || ring.bytes > BODY_BYTES {
            let Some(oldest) = ring.exchanges.pop_front() else {
                break;
            };
            ring.bytes -= oldest.size();
        }
    }

    pub(crate) fn entries(&self) -> Vec<Value> {
        lock(&self.ring)
            .exchanges
            .iter()
            .map(Exchange::entry)
            .collect()
    }

    /// Exchanges that arrived at or after `since`: of one endpoint, or of all.
    pub(crate) fn count(&self, endpoint: Option<&str>, since: Duration) -> usize {
        let ring = lock(&self.ring);
        let of_it = |exchange: &&Exchange| endpoint.is_none_or(|name| name == exchange.endpoint);
        // A held poll is recorded late, so the order of arrival is not the ring's.
        ring.exchanges
            .iter()
            .filter(|exchange| exchange.at >= since)
            .filter(of_it)
            .count()
    }
}

impl Exchange {
    fn size(&self) -> usize {
        self.request.len() + self.response.len()
    }

    fn entry(&self) -> Value {
        json!({
            "at_ms": self.at_ms,
            "host": self.host,
            "account": self.account.as_deref(),
            "endpoint": self.endpoint,
            "status": self.status,
            "request": masked_body(&self.request),
            "response": self.status.map(|_| masked_body(&self.response)),
        })
    }
}

/// The body as JSON with its secrets replaced. One that is no JSON may hold a secret anywhere,
/// so of a broken one the log has only the length. Pages and empty bodies are shown.
fn masked_body(bytes: &[u8]) -> Value {
    match serde_json::from_slice(bytes) {
        Ok(mut body) => {
            mask(&mut body);
            body
        }
        Err(_) if bytes.is_empty() || bytes.starts_with(b"<") => {
            String::from_utf8_lossy(bytes).into()
        }
        Err(_) => format!("{} bytes that are no JSON", bytes.len()).into(),
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match key.as_str() {
                    "context_token"
                    | "typing_ticket"
                    | "bot_token"
                    | "local_token_list"
                    | "aes_key"
                    | "aeskey"
                    | "encrypt_query_param"
                    | "full_url"
                    | "upload_full_url"
                    | "upload_param"
                    | "qrcode"
                    | "qrcode_img_content"
                    | "verify_code" => {
                        *member = "***".into();
                    }
                    _ => mask(member),
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(mask),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(request: &str, response: &str) -> Exchange {
        Exchange {
            at: Duration::ZERO,
            at_ms: 1,
            host: None,
            account: None,
            endpoint: "getupdates",
            status: Some(200),
            request: request.as_bytes().into(),
            response: response.as_bytes().into(),
        }
    }

    #[test]
    fn secrets_never_leave_the_log() {
        let wire = WireLog::new(10);
        let secret = r#"{"msgs":[{"context_token":"SECRET","message_id":18446744073709551615}]}"#;
        wire.record(|| exchange(r#"{"typing_ticket":"SECRET"}"#, secret));
        wire.record(|| exchange("", &secret[..30]));
        let signed = r#"{"upload_full_url":"http://SECRET","upload_param":"SECRET","aeskey":"SECRET","item_list":[{"media":{"aes_key":"SECRET","full_url":"SECRET","encrypt_query_param":"SECRET"}}]}"#;
        wire.record(|| exchange(signed, signed));
        let login = r#"{"qrcode":"SECRET","qrcode_img_content":"SECRET","verify_code":"SECRET","bot_token":"SECRET","local_token_list":["SECRET"]}"#;
        wire.record(|| exchange(login, login));
        let entries = wire.entries();
        assert!(!format!("{entries:?}").contains("SECRET"), "{entries:?}");
        assert_eq!(
            entries[0]["response"]["msgs"][0]["message_id"],
            json!(u64::MAX)
        );
    }

    #[test]
    fn the_log_is_bounded_in_number_and_bytes() {
        let wire = WireLog::new(3);
        (0..10).for_each(|_| wire.record(|| exchange("{}", "{}")));
        assert_eq!(wire.count(None, Duration::ZERO), 3);
        let wire = WireLog::new(1000);
        let page = "<".repeat(1024 * 1024);
        (0..40).for_each(|_| wire.record(|| exchange("", &page)));
        assert_eq!(wire.count(Some("getupdates"), Duration::ZERO), 16);
        assert_eq!(wire.count(Some("sendmessage"), Duration::ZERO), 0);
        let off = WireLog::new(0);
        off.record(|| exchange("{}", "{}"));
        assert!(off.entries().is_empty());
    }
}
