//! The way in for platforms that call back: `GET` and `POST /webhook/{account}` go to the component of
//! the account, whatever the query and the body say; it is the component that trusts or refuses them.
//!
//! - Nothing of a request but the account is in the log, and nothing here asks for the operator's
//!   token: platforms have none.
//! - What a request may take is bounded: its head, its body and the time for both, the time until the
//!   answer begins, the answer itself, and how many there are at once.
//! - What fails ends one request, never the server.

use std::pin::Pin;
use std::sync::Arc;
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
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tower_service::Service;

use crate::gateway::Gateway;
use crate::instance::HandleError;

/// The largest body of a request, and of an answer.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// What the head of a request may take to come, the wait for it included.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// What the body of a request may take to come.
const BODY_WAIT: Duration = Duration::from_secs(5);
/// What the component may take until its answer begins; platforms give up after that, too.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// What the answer may take from there to its end.
const ANSWER_END: Duration = Duration::from_secs(30);
/// Connections that are open at once.
const MAX_CONNECTIONS: usize = 512;
/// The pause after a connection that can't be taken: some may come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the accounts of a gateway until it is dropped.
pub async fn serve(listener: TcpListener, gateway: Gateway) {
    let router = Router::new()
        .route("/webhook/{account}", any(webhook))
        .fallback(async || refused(StatusCode::NOT_FOUND, "there is no such path"))
        .with_state(gateway);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropping the set ends what is in it.
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    connection(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("a connection for webhooks can't be taken: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, router: Router) {
    // Without it small answers may wait for acknowledgements; it is no error to go on so.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| router.clone().call(with_plain_path(request)));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // What a client does to its own connection concerns nobody else.
    if let Err(error) = serving.await {
        tracing::trace!("a connection for webhooks ended: {error}");
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
    // What was one is one still; otherwise it stays as it came.
    if let Ok(uri) = plain.parse() {
        *request.uri_mut() = uri;
    }
    request
}

async fn webhook(
    State(gateway): State<Gateway>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    if request.method() != Method::GET && request.method() != Method::POST {
        let refusal = refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST");
        return ([(ALLOW, "GET, POST")], refusal).into_response();
    }
    let account = path.ok().and_then(|Path(id)| gateway.account(&id));
    let Some(account) = account.filter(|account| account.has_handler()) else {
        return refused(StatusCode::NOT_FOUND, "no such account takes webhooks");
    };
    let (head, body) = request.into_parts();
    let announced = head.headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return too_large();
    }
    let collecting = Limited::new(body, MAX_BODY_BYTES).collect();
    let body = match tokio::time::timeout(BODY_WAIT, collecting).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return too_large(),
        Ok(Err(_)) => return refused(StatusCode::BAD_REQUEST, "the body broke off"),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "the body takes too long"),
    };
    let answering = account.webhook(http::Request::from_parts(head, body));
    let answer = tokio::time::timeout(ANSWER_WAIT, answering).await;
    let id = account.id();
    let why = match answer {
        Ok(Ok(response)) => {
            return response.map(|body| {
                Body::new(Timed {
                    body: Box::pin(Limited::new(body, MAX_BODY_BYTES)),
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
        HandleError::NoHandler => refused(StatusCode::NOT_FOUND, "no webhooks"),
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

fn too_large() -> Response {
    let why = "the body is larger than 1 MiB";
    refused(StatusCode::PAYLOAD_TOO_LARGE, why)
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
