//! An agent behind a URL: one POST for each message, over pooled connections.
//!
//! - 2xx acknowledges, whatever the body. A body that was meant as a reply and can't be read (JSON that
//!   is broken, a web page) is an error, which is final; any other is no reply. Every other status, a
//!   broken connection and silence are errors.
//! - Of several lines (`application/x-ndjson`, `text/event-stream`) the last one is the reply; lines of
//!   progress before it are said as they arrive.
//! - Redirects are not followed.

mod reader;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;

use super::message::{Message, Reply};
use super::progress::Progress;
use super::{ANSWER_TIME, Agent, AgentError, Fault, MAX_ANSWER_BYTES};
use crate::clock::Clock;
use crate::egress::client::{TCP_LIMIT, pool};
use crate::egress::connector::{AddressPolicy, Connector};
use crate::egress::error::innermost;
use crate::egress::resolver::SystemResolver;
use reader::Reader;

/// An agent behind an `http` or `https` URL that the operator named.
pub struct HttpAgent {
    url: Uri,
    client: Client<Connector, Full<Bytes>>,
    clock: Clock,
}

debug_by_name!(HttpAgent);

impl HttpAgent {
    /// An agent at `url`, with connections of its own.
    pub fn new(url: Uri, clock: Clock) -> HttpAgent {
        let connector = Connector::new(
            Arc::new(SystemResolver::new()),
            AddressPolicy::Anywhere,
            TCP_LIMIT,
        );
        HttpAgent {
            url,
            client: pool(connector),
            clock,
        }
    }

    async fn post(
        &self,
        message: &Message,
        progress: &Progress,
    ) -> Result<Option<Reply>, AgentError> {
        let json = serde_json::to_vec(message).expect("a message has string keys alone");
        let mut request = Request::new(Full::from(json));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);

        let response = self.client.request(request).await.map_err(|error| {
            let reason = format!("{}: {}", shown(&self.url), innermost(&error));
            if error.is_connect() {
                AgentError::Unreachable(reason)
            } else {
                AgentError::Incomplete(reason)
            }
        })?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let status = head.status.as_u16();
            return Err(AgentError::Refused {
                server: shown(&self.url),
                status,
                // The words may be about what the person wrote.
                reason: String::new(),
                fault: Fault::of_status(status),
                retry_after: retry_after(&head.headers),
            });
        }
        let mut body = Limited::new(body, MAX_ANSWER_BYTES);
        if head.status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let mut reader = Reader::new(progress);
        if is_stream(&head.headers) {
            while let Some(frame) = body.frame().await {
                if let Ok(bytes) = frame.map_err(broken)?.into_data() {
                    reader.feed(&bytes);
                }
            }
        } else {
            reader.feed(&body.collect().await.map_err(broken)?.to_bytes());
        }
        reader.reply()
    }
}

impl Agent for HttpAgent {
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        async move {
            tokio::select! {
                biased;
                result = self.post(message, progress) => result,
                () = self.clock.sleep(ANSWER_TIME) => Err(AgentError::TimedOut),
            }
        }
        .boxed()
    }

    fn url(&self) -> Option<&Uri> {
        Some(&self.url)
    }
}

fn broken(error: Box<dyn Error + Send + Sync>) -> AgentError {
    if error.is::<LengthLimitError>() {
        AgentError::TooLarge
    } else {
        AgentError::Incomplete(innermost(&*error))
    }
}

/// A URL for the log: without its user and its query, which may hold a secret.
pub(super) fn shown(url: &Uri) -> String {
    let host = url.authority().map_or("", |authority| authority.as_str());
    let host = host.rsplit('@').next().unwrap_or_default();
    format!(
        "{}://{host}{}",
        url.scheme_str().unwrap_or("http"),
        url.path()
    )
}

/// When a server wants to be asked again, where it says so in seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: f64 = value.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kinds = [
        "application/x-ndjson",
        "application/jsonl",
        "text/event-stream",
    ];
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| {
            kinds
                .iter()
                .any(|known| kind.trim().eq_ignore_ascii_case(known))
        })
}

#[cfg(test)]
mod tests;
