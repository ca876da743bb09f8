//! Everything that the component asks of its host: the only file that calls an import.

use std::time::Duration;

use futures::future::{Either, join, select};

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
use crate::channel::error::{Error, ErrorKind};
use crate::channel::store::{Bucket, GENERATION, Write};
use crate::http::{self, Failure};

pub use logging::Level;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 16 * 1024;

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

/// One line for the host's log.
pub fn log(level: Level, message: &str) {
    logging::log(level, "weixin", message);
}

/// A configuration value; one that the host can't read is an error of the log and absent.
pub fn config(key: &str) -> Option<String> {
    match config_store::get(key) {
        Ok(value) => value,
        Err(config_store::Error::Upstream(why) | config_store::Error::Io(why)) => {
            log(Level::Error, &format!("configuration key {key}: {why}"));
            None
        }
    }
}

/// The two buckets of the account.
pub struct Buckets {
    state: store::Bucket,
    receipts: store::Bucket,
}

impl Buckets {
    /// Opens them.
    pub fn open() -> Result<Buckets, Error> {
        Ok(Buckets {
            state: store::open("state").map_err(storage)?,
            receipts: store::open("receipts").map_err(storage)?,
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
pub async fn fetch(request: http::Request) -> Result<http::Response, Failure> {
    let deadline = now() + request.timeout;
    let exchange = std::pin::pin!(exchange(request));
    let timer = std::pin::pin!(sleep_until(deadline));
    match select(exchange, timer).await {
        Either::Left((answer, _)) => answer,
        Either::Right(((), _)) => Err(Failure::TimedOut),
    }
}

async fn exchange(request: http::Request) -> Result<http::Response, Failure> {
    let refused = |what: &str| Failure::NotSent(format!("the host refuses the {what}"));
    let (scheme, rest) = request
        .url
        .split_once("://")
        .ok_or_else(|| refused("URL"))?;
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err(refused("scheme")),
    };
    let (authority, path) = match rest.find('/') {
        Some(start) => rest.split_at(start),
        None => (rest, "/"),
    };
    let headers: Vec<(String, Vec<u8>)> = request
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .chain([(
            "Content-Length".to_owned(),
            request.body.len().to_string().into_bytes(),
        )])
        .collect();
    let headers = Fields::from_list(&headers).map_err(|_| refused("headers"))?;
    let options = RequestOptions::new();
    let limit = |duration: Duration| u64::try_from(duration.as_nanos()).ok();
    // A host that knows no such limits has its own.
    let _ = options.set_connect_timeout(limit(CONNECT_TIMEOUT));
    let _ = options.set_first_byte_timeout(limit(request.timeout));
    let _ = options.set_between_bytes_timeout(limit(request.timeout));

    let (mut content, content_reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (outgoing, transmitted) = Request::new(
        headers,
        Some(content_reader),
        trailers_reader,
        Some(options),
    );
    drop(transmitted);
    let method = match request.method {
        http::Method::Get => Method::Get,
        http::Method::Post => Method::Post,
    };
    outgoing
        .set_method(&method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(path)))
        .map_err(|()| refused("URL"))?;

    let body = async {
        // A body that is not taken shows in the answer.
        let _ = content.write_all(request.body).await;
        drop(content);
        let _ = trailers.write(Ok(None)).await;
    };
    let (response, ()) = join(client::send(outgoing), body).await;
    let response = response.map_err(failure)?;
    let status = response.get_status_code();
    let body = read(response).await?;
    Ok(http::Response { status, body })
}

async fn read(response: Response) -> Result<Vec<u8>, Failure> {
    let (_done, done_reader) = wit_future::new(|| Ok(()));
    let (mut content, end) = Response::consume_body(response, done_reader);
    let mut body = Vec::new();
    let mut window = Vec::with_capacity(READ_BYTES);
    loop {
        let (result, bytes) = content.read(window).await;
        body.extend_from_slice(&bytes);
        if body.len() > http::MAX_BODY_BYTES {
            return Err(Failure::Unanswered("the answer is too long".to_owned()));
        }
        match result {
            wit_bindgen::StreamResult::Complete(_) => {
                window = bytes;
                window.clear();
            }
            wit_bindgen::StreamResult::Dropped | wit_bindgen::StreamResult::Cancelled => break,
        }
    }
    end.await.map_err(failure)?;
    Ok(body)
}

/// Whether anything can have taken effect.
fn failure(code: ErrorCode) -> Failure {
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
        | ErrorCode::ConfigurationError => Failure::NotSent(code.to_string()),
        ErrorCode::HttpResponseTimeout | ErrorCode::ConnectionReadTimeout => Failure::TimedOut,
        _ => Failure::Unanswered(code.to_string()),
    }
}
