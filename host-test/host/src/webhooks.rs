//! The server for platforms that call back: `GET` and `POST /webhook/{account}` go to the component of
//! the account. The component decides whether it trusts the query and the body.
//!
//! - The log shows nothing of a request but the account. The operator's token is not needed, because
//!   platforms do not have it.
//! - A caller without a signature learns nothing about accounts. The answer is the same if there is no
//!   such account, if its component takes no requests, and if the component refuses. It is given no
//!   sooner than `REFUSED_AFTER`.
//! - A request is bounded: its body and the time for it, the time until the answer begins, and the
//!   answer itself. The other bounds are in [`crate::listener`].
//! - A failure ends one request, never the server.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH};
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use crate::gateway::Gateway;
use crate::instance::HandleError;
use crate::listener::{Listener, OncePer};

/// The largest body of a request that components take. A larger one is refused before the account is
/// looked up.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// The largest body of an answer.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// How long the body of a request may take.
const BODY_WAIT: Duration = Duration::from_secs(5);
/// How long the component may take until its answer begins. Platforms give up at about this time, too.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long the answer may take from its beginning to its end.
const ANSWER_END: Duration = Duration::from_secs(30);
/// The least time from a request to its refusal. It is longer than a component needs to reject a
/// signature, so the time does not reveal whether a component was asked.
const REFUSED_AFTER: Duration = Duration::from_millis(25);
/// The log reports requests without an account at most once within this time, because anybody can send
/// them.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Serves the accounts of a gateway until it is dropped. Any `Host` is accepted: the signature decides.
pub async fn serve(listener: impl Into<Listener>, gateway: Gateway) {
    let router = Router::new()
        .route("/webhook/{account}", any(webhook))
        .fallback(async || refused(StatusCode::NOT_FOUND, "there is no such path"))
        .with_state(Webhooks {
            gateway,
            telling: Arc::new(Mutex::new(OncePer::new(TELL_EVERY))),
        });
    let answer = move |request: http::Request<_>, _| {
        router.clone().call(with_plain_path(request.map(Body::new)))
    };
    listener.into().serve("webhooks", answer).await;
}

#[derive(Clone)]
struct Webhooks {
    gateway: Gateway,
    /// Lines of the log about requests for nobody.
    telling: Arc<Mutex<OncePer<Instant>>>,
}

impl Webhooks {
    fn tell_of_nobody(&self) {
        let mut telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        if telling.passes(Instant::now()) {
            tracing::warn!(
                "a webhook was refused, because its path names no account that takes any: the path is \
                 /webhook/ACCOUNT, with the id percent-encoded"
            );
        }
    }
}

/// The same request without slashes at the end of its path and several in a row, which proxies add.
fn with_plain_path<B>(mut request: http::Request<B>) -> http::Request<B> {
    let path = request.uri().path();
    if !path.contains("//") && !path.ends_with('/') {
        return request;
    }
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut plain: String = segments.flat_map(|segment| ["/", segment]).collect();
    if plain.is_empty() {
        plain.push('/');
    }
    if let Some(query) = request.uri().query() {
        plain = format!("{plain}?{query}");
    }
    // A valid URI stays valid. If not, the request stays as it came.
    if let Ok(uri) = plain.parse() {
        *request.uri_mut() = uri;
    }
    request
}

async fn webhook(
    State(webhooks): State<Webhooks>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let refused_at = Instant::now() + REFUSED_AFTER;
    let response = answer(&webhooks, path, request).await;
    if response.status() != StatusCode::FORBIDDEN {
        return response;
    }
    tokio::time::sleep_until(refused_at).await;
    // Not the component's own answer: its headers would reveal that there is a component.
    StatusCode::FORBIDDEN.into_response()
}

async fn answer(
    webhooks: &Webhooks,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    if request.method() != Method::GET && request.method() != Method::POST {
        let refusal = refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST");
        return ([(ALLOW, "GET, POST")], refusal).into_response();
    }
    // The checks that need no account come first.
    let request = match whole(request).await {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    let account = path.ok().and_then(|Path(id)| webhooks.gateway.account(&id));
    let Some(account) = account.filter(|account| account.has_handler()) else {
        webhooks.tell_of_nobody();
        return StatusCode::FORBIDDEN.into_response();
    };
    let answer = tokio::time::timeout(ANSWER_WAIT, account.webhook(request)).await;
    let id = account.id();
    let why = match answer {
        Ok(Ok(response)) => {
            return response.map(|body| {
                Body::new(Timed {
                    body: Box::pin(Limited::new(body, MAX_ANSWER_BYTES)),
                    end: Box::pin(tokio::time::sleep(ANSWER_END)),
                })
            });
        }
        Ok(Err(error)) => error,
        Err(_) => {
            let seconds = ANSWER_WAIT.as_secs();
            tracing::warn!(account = id, "a webhook has no answer after {seconds} s");
            return refused(StatusCode::GATEWAY_TIMEOUT, "no answer in time");
        }
    };
    tracing::warn!(account = id, "a webhook was not answered: {why}");
    match why {
        HandleError::NoHandler => StatusCode::FORBIDDEN.into_response(),
        HandleError::Busy => refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests are open",
        ),
        HandleError::Ended(_) => refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "it is being replaced: try again",
        ),
        HandleError::Failed(_) => refused(StatusCode::BAD_GATEWAY, "the component has no answer"),
    }
}

/// Reads the whole body of the request. The error is the answer to send.
async fn whole(request: Request) -> Result<http::Request<Bytes>, Response> {
    let (head, body) = request.into_parts();
    let announced = head.headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    let collecting = Limited::new(body, MAX_BODY_BYTES).collect();
    let body = match tokio::time::timeout(BODY_WAIT, collecting).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(_)) => return Err(refused(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => {
            let why = "the body takes too long";
            return Err(refused(StatusCode::REQUEST_TIMEOUT, why));
        }
    };
    Ok(http::Request::from_parts(head, body))
}

fn too_large() -> Response {
    StatusCode::PAYLOAD_TOO_LARGE.into_response()
}

fn refused(status: StatusCode, why: &'static str) -> Response {
    (status, why).into_response()
}

/// The body of an answer that has to end in time; it never ends as if it were whole.
struct Timed<B> {
    body: Pin<Box<B>>,
    end: Pin<Box<Sleep>>,
}

impl<B> http_body::Body for Timed<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        match self.body.as_mut().poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => match self.end.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err("the answer takes too long".into()))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
