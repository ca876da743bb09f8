//! HTTP requests and responses as plain values: the core's currency with the outside.

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// A request that the component wants made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: Method,
    /// Absolute, with scheme and host.
    pub url: String,
    /// Names in the spelling that is sent.
    pub headers: Vec<(&'static str, String)>,
    /// Empty for none.
    pub body: Vec<u8>,
    /// How long the whole answer may take.
    pub timeout: Duration,
}

impl Request {
    /// A `GET` of a URL.
    pub fn get(url: String, timeout: Duration) -> Request {
        Request {
            method: Method::Get,
            url,
            headers: Vec::new(),
            body: Vec::new(),
            timeout,
        }
    }

    /// A `POST` of JSON.
    pub fn post_json(url: String, json: &serde_json::Value, timeout: Duration) -> Request {
        Request {
            method: Method::Post,
            url,
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: json.to_string().into_bytes(),
            timeout,
        }
    }
}

/// A whole response, or why there is none.
pub type Answer = Result<Response, TransportError>;

/// The methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Without a body.
    Get,
    /// With a body.
    Post,
}

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Its whole body, of at most [`MAX_BODY_BYTES`].
    pub body: Vec<u8>,
}

/// Longest body that is read of an API's response; a longer one is an error of the transport. Stores
/// take a batch that was made of so many bytes as one value.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The time of a `Date` header, in milliseconds since the Unix epoch.
pub fn date_ms(header: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(header).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportError {
    /// Nothing left the host: the name, the connection or a rule of the host failed.
    NotSent(String),
    /// The request may have been received; no whole answer came.
    Unanswered(String),
    /// The time was up after the request had left.
    TimedOut,
}

impl std::fmt::Display for TransportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TransportError::NotSent(why) => write!(f, "not sent: {why}"),
            TransportError::Unanswered(why) => write!(f, "no whole answer: {why}"),
            TransportError::TimedOut => write!(f, "no answer in time"),
        }
    }
}

impl From<TransportError> for Error {
    /// `transient` where nothing left the host, else `unknown-outcome`.
    fn from(error: TransportError) -> Error {
        let kind = match error {
            TransportError::NotSent(_) => ErrorKind::Transient,
            TransportError::Unanswered(_) | TransportError::TimedOut => ErrorKind::UnknownOutcome,
        };
        Error::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_forms_are_read_and_others_are_none() {
        for (header, expect) in [
            ("Sat, 28 Nov 2026 07:01:31 GMT", Some(1_795_849_291_000)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777_000)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777_000)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("", None),
            ("now", None),
            ("Sat, 28 Nov 2026 25:01:31 GMT", None),
            ("1795849291", None),
        ] {
            assert_eq!(date_ms(header), expect, "{header}");
        }
    }
}
