//! The CDN: where encrypted files are put and taken from. It knows neither bots nor tokens, only
//! tickets, and is served below `/c2c` beside the API.
//!
//! It promises to stay small. What it keeps of a file is its key, its size and its MD5; contents
//! in memory are bounded together, the oldest are forgotten first, and the newest is always
//! kept. An upload that is larger than the simulator was told to keep whole is checked while it
//! comes and not kept at all.

mod download;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use rand::RngCore;
use serde_json::{Map, Value, json};

use super::account::Bot;
use super::breakage::{AnswerBody, Cut, whole};
use super::cipher::Key;
use super::content::Storage;
use super::endpoint::Endpoint;
use super::faults::Fault;
use super::media::payload_key;
use super::query::{escaped, parameter};
use super::recent::Recent;
use super::wire::Exchange;
use super::{Content, MediaKind, ServerState, lock};
use gateway_listener::Received;

/// Files, announcements and shown files that are remembered.
const REMEMBERED: usize = 10_000;
/// Bytes of all contents in memory.
const IN_MEMORY: u64 = 64 * 1024 * 1024;
/// Bytes of all contents in files without a name.
const ON_DISK: u64 = 4 * 1024 * 1024 * 1024;

/// What is kept between requests.
pub(super) struct Cdn {
    /// Bytes up to which an upload is kept whole.
    whole_bytes: u64,
    shelf: Mutex<Shelf>,
}

struct Shelf {
    announced: Recent<String, Arc<Announced>>,
    blobs: Recent<String, Arc<Blob>>,
    /// Tickets of what phones show, by message.
    shown: Recent<u64, String>,
    in_memory: Kept,
    on_disk: Kept,
}

/// Contents that are bounded together.
struct Kept {
    /// Their tickets and sizes, oldest first.
    contents: VecDeque<(String, u64)>,
    bytes: u64,
    most: u64,
}

impl Kept {
    fn new(most: u64) -> Kept {
        Kept {
            contents: VecDeque::new(),
            bytes: 0,
            most,
        }
    }

    /// Adds one; returns the tickets of those that have to go.
    fn add(&mut self, ticket: &str, size: u64) -> Vec<String> {
        self.bytes += size;
        self.contents.push_back((ticket.to_owned(), size));
        let mut gone = Vec::new();
        while self.bytes > self.most
            && self.contents.len() > 1
            && let Some((oldest, size)) = self.contents.pop_front()
        {
            self.bytes -= size;
            gone.push(oldest);
        }
        gone
    }
}

/// An upload that `getuploadurl` allowed.
pub(super) struct Announced {
    pub(super) bot: Arc<Bot>,
    pub(super) user: String,
    pub(super) filekey: String,
    pub(super) kind: MediaKind,
    pub(super) size: u64,
    pub(super) md5: String,
    pub(super) key: Key,
}

/// A file on the CDN.
#[derive(Clone)]
pub(super) struct Blob {
    /// The bot that put it there, or that it was sent to.
    pub(super) bot: Arc<Bot>,
    /// `None` when it is not encrypted.
    pub(super) key: Option<Key>,
    pub(super) kind: MediaKind,
    pub(super) name: Option<String>,
    pub(super) content: Content,
    /// For whom the bot uploaded it; `None` when a person sent it.
    pub(super) uploaded: Option<String>,
}

impl Cdn {
    pub(super) fn new(whole_bytes: u64) -> Cdn {
        let shelf = Shelf {
            announced: Recent::new(REMEMBERED),
            blobs: Recent::new(REMEMBERED),
            shown: Recent::new(REMEMBERED),
            in_memory: Kept::new(IN_MEMORY),
            on_disk: Kept::new(ON_DISK),
        };
        Cdn {
            whole_bytes,
            shelf: Mutex::new(shelf),
        }
    }

    /// Expects an upload; returns the parameter that it must come with.
    pub(super) fn announce(&self, announced: Announced) -> String {
        let ticket = new_ticket();
        let mut shelf = lock(&self.shelf);
        shelf
            .announced
            .remember(ticket.clone(), Arc::new(announced));
        ticket
    }

    /// Puts a file there; returns the ticket to take it with.
    pub(super) fn store(&self, blob: Blob) -> String {
        let ticket = new_ticket();
        let mut shelf = lock(&self.shelf);
        let (size, storage) = (blob.content.size(), blob.content.storage());
        shelf.blobs.remember(ticket.clone(), Arc::new(blob));
        let gone = match storage {
            Storage::Memory => shelf.in_memory.add(&ticket, size),
            Storage::Disk => shelf.on_disk.add(&ticket, size),
            Storage::Elsewhere => Vec::new(),
        };
        for oldest in gone {
            if let Some(blob) = shelf.blobs.find_mut(&oldest) {
                Arc::make_mut(blob).content.forget();
            }
        }
        ticket
    }

    /// The file of this ticket.
    pub(super) fn find(&self, ticket: &str) -> Option<Arc<Blob>> {
        lock(&self.shelf).blobs.find(ticket).cloned()
    }

    /// The file that an item refers to.
    pub(super) fn of_item(&self, item: &Value) -> Option<Arc<Blob>> {
        let kind = MediaKind::of_item(item["type"].as_u64()?)?;
        let media = &item[payload_key(kind)]["media"];
        if let Some(ticket) = media["encrypt_query_param"].as_str() {
            return self.find(ticket);
        }
        let (_, query) = media["full_url"].as_str()?.split_once('?')?;
        self.find(&parameter(Some(query), "encrypted_query_param"))
    }

    /// Remembers that a phone shows this file.
    pub(super) fn shows(&self, message_id: u64, ticket: &str) {
        let mut shelf = lock(&self.shelf);
        shelf.shown.remember(message_id, ticket.to_owned());
    }

    /// The bytes of the file that this message of a bot shows, if they are in memory.
    pub(super) fn shown(&self, message_id: u64) -> Option<Bytes> {
        let shelf = lock(&self.shelf);
        let blob = shelf.blobs.find(shelf.shown.find(&message_id)?)?;
        blob.content.in_memory().cloned()
    }

    fn announced(&self, ticket: &str) -> Option<Arc<Announced>> {
        lock(&self.shelf).announced.find(ticket).cloned()
    }
}

impl Blob {
    /// What a phone shows of it.
    pub(super) fn summary(&self) -> Value {
        json!({
            "kind": self.kind.name(),
            "name": self.name,
            "size": self.content.size(),
            "md5": self.content.md5(),
        })
    }
}

impl ServerState {
    /// A full URL to put a file at.
    pub(super) fn upload_url(&self, base: Option<&str>, ticket: &str, filekey: &str) -> String {
        let base = self.cdn_base(base);
        let ticket = escaped(ticket);
        format!("{base}/upload?encrypted_query_param={ticket}&filekey={filekey}")
    }

    /// A full URL to take a file from.
    pub(super) fn download_url(&self, base: Option<&str>, ticket: &str) -> String {
        let base = self.cdn_base(base);
        format!("{base}/download?encrypted_query_param={}", escaped(ticket))
    }

    fn cdn_base(&self, base: Option<&str>) -> String {
        match base {
            Some(base) => base.trim_end_matches('/').to_owned(),
            None => format!("http://{}/c2c", self.address_to_call()),
        }
    }
}

/// Base64 with each of its special characters, so that a client that does not escape them is
/// caught.
fn new_ticket() -> String {
    let mut bytes = [0; 64];
    rand::rng().fill_bytes(&mut bytes);
    bytes[..3].copy_from_slice(&[0xfb, 0xff, 0xbf]);
    STANDARD.encode(bytes)
}

/// Answers a path below `/c2c/`.
pub(super) async fn answer(
    server: Arc<ServerState>,
    head: Parts,
    body: Received,
) -> Result<Response<AnswerBody>, Cut> {
    let path = head.uri.path().strip_prefix("/c2c/").unwrap_or_default();
    match (path, head.method.as_str()) {
        ("upload", "POST") => upload::upload(server, head, body).await,
        ("download", "GET") => download::download(server, head).await,
        (_, method) => {
            if matches!(path, "upload" | "download") {
                server.violation(format!("{path}: the CDN takes no {method} here"));
            }
            Ok(refusal(StatusCode::NOT_FOUND, "not found"))
        }
    }
}

/// One request to the CDN, for the checks and the wire log.
struct Visit {
    server: Arc<ServerState>,
    endpoint: Endpoint,
    at: Duration,
    at_ms: u64,
    host: Option<String>,
    headers: HeaderMap,
    bot: Arc<Bot>,
}

impl Visit {
    /// Counts and checks the request, and tells its fault. `owner` is the bot whose file it is.
    fn arrive(
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

    fn violation(&self, sentence: &str) {
        let endpoint = self.endpoint.name();
        self.server.violation(format!("{endpoint}: {sentence}"));
    }

    /// Records the exchange without the bodies: how many bytes, from which host, and which
    /// headers of the API came along.
    fn record(&self, status: Option<StatusCode>, received: u64, sent: u64, error: Option<&str>) {
        self.server.wire.record(|| {
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

fn refusal(status: StatusCode, message: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    let message = http::HeaderValue::from_static(message);
    response.headers_mut().insert("x-error-message", message);
    response
}
