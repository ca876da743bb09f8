//! Everything that the component asks of its host: the only file that calls an import.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use futures::future::{Either, join, select};
use wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter};

use super::bindings::wasi::clocks::{monotonic_clock, system_clock};
use super::bindings::wasi::config::store as config_store;
use super::bindings::wasi::http::client;
use super::bindings::wasi::http::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme,
};
use super::bindings::wasi::keyvalue::{atomics, store};
use super::bindings::wasi::logging::logging;
use super::bindings::wasi::random::random;
use super::bindings::{wit_future, wit_stream};
use crate::error::{Error, ErrorKind};
use crate::host::{Answered, Level, LocalFuture, whole};
use crate::http::{self, TransportError};
use crate::store::{Bucket, GENERATION, Write};
use crate::transfer::Source;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time on the host's monotonic clock.
pub fn now() -> Duration {
    Duration::from_nanos(monotonic_clock::now())
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let instant = system_clock::now();
    let seconds = u64::try_from(instant.seconds).unwrap_or(0);
    seconds * 1000 + u64::from(instant.nanoseconds / 1_000_000)
}

/// Waits until the monotonic clock shows `at`; for ever when that is [`Duration::MAX`].
pub async fn sleep_until(at: Duration) {
    match u64::try_from(at.as_nanos()) {
        Ok(mark) => monotonic_clock::wait_until(mark).await,
        Err(_) => std::future::pending().await,
    }
}

/// A random number.
pub fn random() -> u64 {
    random::get_random_u64()
}

/// The host's log, and its word for the component.
#[derive(Debug, Clone, Copy)]
pub struct Log(pub &'static str);

impl Log {
    /// One line.
    pub fn line(self, level: Level, line: &str) {
        let level = match level {
            Level::Debug => logging::Level::Debug,
            Level::Info => logging::Level::Info,
            Level::Warn => logging::Level::Warn,
            Level::Error => logging::Level::Error,
        };
        logging::log(level, self.0, line);
    }
}

/// A configuration value; one that the host can't read is an error of the log and absent.
pub fn config(log: Log, key: &str) -> Option<String> {
    match config_store::get(key) {
        Ok(value) => value,
        Err(config_store::Error::Upstream(why) | config_store::Error::Io(why)) => {
            log.line(Level::Error, &format!("configuration key {key}: {why}"));
            None
        }
    }
}

/// The buckets of the account.
pub struct Buckets {
    state: store::Bucket,
    receipts: store::Bucket,
    messages: store::Bucket,
}

impl Buckets {
    /// Opens them.
    pub fn open() -> Result<Buckets, Error> {
        Ok(Buckets {
            state: store::open("state").map_err(storage)?,
            receipts: store::open("receipts").map_err(storage)?,
            messages: store::open("messages").map_err(storage)?,
        })
    }

    /// Takes the account over: the number of this instance, higher than any before.
    pub fn next_generation(&self) -> Result<u64, Error> {
        atomics::increment(&self.state, GENERATION, 1).map_err(storage)
    }

    /// Reads a value.
    pub fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.bucket(bucket).get(key).map_err(storage)
    }

    /// All keys of the state bucket, in no order.
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        let mut keys = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.state.list_keys(cursor).map_err(storage)?;
            keys.extend(page.keys);
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(keys),
            }
        }
    }

    /// Makes a change.
    pub fn write(&self, write: Write) -> Result<(), Error> {
        let bucket = self.bucket(write.bucket);
        match write.value {
            Some(value) => bucket.set(&write.key, &value),
            None => bucket.delete(&write.key),
        }
        .map_err(storage)
    }

    fn bucket(&self, bucket: Bucket) -> &store::Bucket {
        match bucket {
            Bucket::State => &self.state,
            Bucket::Receipts => &self.receipts,
            Bucket::Messages => &self.messages,
        }
    }
}

fn storage(error: store::Error) -> Error {
    let why = match error {
        store::Error::NoSuchStore => "the host has no such bucket".to_owned(),
        store::Error::AccessDenied => "the host denies access".to_owned(),
        store::Error::Other(why) => why,
    };
    Error::new(ErrorKind::Storage, format!("key-value store: {why}"))
}

/// Makes a request and reads the whole answer.
pub async fn fetch(request: http::Request) -> Result<http::Response, TransportError> {
    let deadline = now() + request.timeout;
    let exchange = std::pin::pin!(exchange(request));
    let timer = std::pin::pin!(sleep_until(deadline));
    match select(exchange, timer).await {
        Either::Left((answer, _)) => answer,
        Either::Right(((), _)) => Err(TransportError::TimedOut),
    }
}

async fn exchange(mut request: http::Request) -> Result<http::Response, TransportError> {
    let length = request.body.len().to_string();
    request.headers.push(("Content-Length", length));
    let content = std::mem::take(&mut request.body);
    let (outgoing, mut writer, trailers) = outgoing(request)?;
    let body = async {
        // A body that is not taken shows in the answer.
        let _ = writer.write_all(content).await;
        drop(writer);
        let _ = trailers.write(Ok(None)).await;
    };
    let (response, ()) = join(client::send(outgoing), body).await;
    let response = response.map_err(transport_error)?;
    let status = response.get_status_code();
    let date = header(&response.get_headers(), "date");
    if let Some(date_ms) = date.as_deref().and_then(http::date_ms) {
        DATE.set(Some(Date {
            date_ms,
            at: now(),
            own_ms: now_ms(),
        }));
    }
    let body = whole(&mut Body::of(response), http::MAX_BODY_BYTES).await?;
    let too_long = || TransportError::Unanswered("the answer is too long".to_owned());
    let body = body.ok_or_else(too_long)?;
    Ok(http::Response { status, body })
}

/// What the platform's clock showed, and what ours did when that came.
#[derive(Debug, Clone, Copy)]
pub struct Date {
    /// By the platform.
    pub date_ms: u64,
    /// By our monotonic clock.
    pub at: Duration,
    /// By our time of day.
    pub own_ms: u64,
}

thread_local! {
    static DATE: Cell<Option<Date>> = const { Cell::new(None) };
}

/// The date of the newest answer of the platform's API, once.
pub fn take_date() -> Option<Date> {
    DATE.take()
}

/// The first header of this name.
fn header(headers: &Fields, name: &str) -> Option<String> {
    let value = headers.get(name).into_iter().next()?;
    String::from_utf8(value).ok()
}

fn answered(response: Response) -> Answered {
    let headers = response.get_headers();
    Answered::new(
        response.get_status_code(),
        Box::new(move |name| header(&headers, name)),
        Box::new(Body::of(response)),
    )
}

/// Begins a download. What it may take is up to the pauses within it.
pub async fn download(request: http::Request) -> Result<Answered, TransportError> {
    let (outgoing, writer, trailers) = outgoing(request)?;
    drop(writer);
    let end = async {
        // Without a body, a host need not ask for its end.
        let _ = trailers.write(Ok(None)).await;
        std::future::pending::<Infallible>().await
    };
    let (send, end) = (std::pin::pin!(client::send(outgoing)), std::pin::pin!(end));
    let response = match select(send, end).await {
        Either::Left((response, _)) => response.map_err(transport_error)?,
        Either::Right((never, _)) => match never {},
    };
    Ok(answered(response))
}

/// Makes a request whose body `send` writes. When that fails, the request is broken off, and never
/// ends as if it were whole.
pub async fn upload(
    request: http::Request,
    send: impl AsyncFnOnce(StreamWriter<u8>) -> Result<(), Error>,
) -> Result<Answered, Error> {
    let transport = |error: TransportError| {
        Error::new(ErrorKind::Transient, format!("the upload fails: {error}"))
    };
    let (outgoing, writer, trailers) = outgoing(request).map_err(transport)?;
    let body = async {
        send(writer).await?;
        let _ = trailers.write(Ok(None)).await;
        Ok::<(), Error>(())
    };
    let answer = async {
        let answer = client::send(outgoing).await;
        answer.map_err(|code| transport(transport_error(code)))
    };
    let (answer, body) = (std::pin::pin!(answer), std::pin::pin!(body));
    let response = match select(answer, body).await {
        // An answer that comes before the end is a refusal: the rest is not sent.
        Either::Left((answer, _)) => answer?,
        Either::Right((sent, answer)) => {
            sent?;
            answer.await?
        }
    };
    Ok(answered(response))
}

type Outgoing = (
    Request,
    StreamWriter<u8>,
    FutureWriter<Result<Option<Fields>, ErrorCode>>,
);

/// A request, and where its body and the end of its body go.
fn outgoing(request: http::Request) -> Result<Outgoing, TransportError> {
    let refused = |what: &str| TransportError::NotSent(format!("the host refuses the {what}"));
    let (scheme, rest) = request
        .url
        .split_once("://")
        .ok_or_else(|| refused("URL"))?;
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err(refused("scheme")),
    };
    let (authority, path) = match rest.find(['/', '?']) {
        Some(start) => rest.split_at(start),
        None => (rest, "/"),
    };
    let headers: Vec<(String, Vec<u8>)> = request
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .collect();
    let headers = Fields::from_list(&headers).map_err(|_| refused("headers"))?;
    let options = RequestOptions::new();
    let limit = |duration: Duration| u64::try_from(duration.as_nanos()).ok();
    // A host that knows no such limits has its own.
    let _ = options.set_connect_timeout(limit(CONNECT_TIMEOUT));
    let _ = options.set_first_byte_timeout(limit(request.timeout));
    let _ = options.set_between_bytes_timeout(limit(request.timeout));

    let (content, content_reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| {
        // The body was given up.
        Err(ErrorCode::InternalError(None))
    });
    let (method, content_reader) = match request.method {
        http::Method::Get => (Method::Get, None),
        http::Method::Post => (Method::Post, Some(content_reader)),
    };
    let (outgoing, transmitted) =
        Request::new(headers, content_reader, trailers_reader, Some(options));
    drop(transmitted);
    outgoing
        .set_method(&method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(path)))
        .map_err(|()| refused("URL"))?;
    Ok((outgoing, content, trailers))
}

/// The content of an answer.
pub struct Body {
    content: StreamReader<u8>,
    end: Option<FutureReader<Result<Option<Fields>, ErrorCode>>>,
    /// The host may be told that the answer was no good; it is told nothing.
    _verdict: FutureWriter<Result<(), ErrorCode>>,
}

impl Body {
    /// That of a request to the component.
    pub fn of_request(request: Request) -> Body {
        let (verdict, verdict_reader) = wit_future::new(|| Ok(()));
        let (content, end) = Request::consume_body(request, verdict_reader);
        Body {
            content,
            end: Some(end),
            _verdict: verdict,
        }
    }

    fn of(response: Response) -> Body {
        let (verdict, verdict_reader) = wit_future::new(|| Ok(()));
        let (content, end) = Response::consume_body(response, verdict_reader);
        Body {
            content,
            end: Some(end),
            _verdict: verdict,
        }
    }
}

impl Source for Body {
    fn read<'a>(
        &'a mut self,
        buffer: &'a mut Vec<u8>,
    ) -> LocalFuture<'a, Result<bool, TransportError>> {
        Box::pin(async move {
            let (result, filled) = self.content.read(std::mem::take(buffer)).await;
            *buffer = filled;
            match result {
                StreamResult::Complete(_) => Ok(true),
                StreamResult::Dropped | StreamResult::Cancelled => {
                    if let Some(end) = self.end.take() {
                        end.await.map_err(transport_error)?;
                    }
                    Ok(false)
                }
            }
        })
    }
}

/// Whether anything can have taken effect.
fn transport_error(code: ErrorCode) -> TransportError {
    match code {
        ErrorCode::DnsTimeout
        | ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpProhibited
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_)
        | ErrorCode::HttpRequestDenied
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::ConfigurationError => TransportError::NotSent(words(&code)),
        ErrorCode::HttpResponseTimeout | ErrorCode::ConnectionReadTimeout => {
            TransportError::TimedOut
        }
        _ => TransportError::Unanswered(words(&code)),
    }
}

/// The case's name in words, with what it carries of a name's resolution.
fn words(code: &ErrorCode) -> String {
    match code {
        ErrorCode::DnsError(payload) => {
            let why = payload.rcode.as_deref().unwrap_or("no reason given");
            format!("the server's name has no address ({why})")
        }
        ErrorCode::ConnectionRefused => "the connection is refused".to_owned(),
        ErrorCode::ConnectionTimeout => "the connection takes too long".to_owned(),
        ErrorCode::ConnectionTerminated => "the connection was lost".to_owned(),
        ErrorCode::DestinationIpProhibited => "the server has no public address".to_owned(),
        ErrorCode::HttpRequestDenied => "the host's rules deny the request".to_owned(),
        ErrorCode::HttpResponseIncomplete => "the answer broke off".to_owned(),
        ErrorCode::HttpProtocolError => "the answer is no valid HTTP".to_owned(),
        ErrorCode::HttpResponseBodySize(_) => "the answer is too long".to_owned(),
        ErrorCode::TlsProtocolError | ErrorCode::TlsCertificateError => {
            "the server's certificate or TLS is not accepted".to_owned()
        }
        other => format!("{other:?}"),
    }
}
