//! HTTP requests and responses as plain values: the core's currency with the outside.

use std::time::Duration;

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

/// The methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Without a body.
    Get,
    /// With a body.
    Post,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Everything that came, up to the limit of [`MAX_BODY_BYTES`].
    pub body: Vec<u8>,
}

/// Largest answer of an API call that is read; more is a failure of the transport. What a batch
/// becomes in the store is within what stores take for one value.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The time of a `Date` header, in milliseconds since the Unix epoch.
pub fn date_ms(header: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(header).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nothing left the host: the name, the connection or a rule of the host failed.
    NotSent(String),
    /// The request may have been received; no whole answer came.
    Unanswered(String),
    /// The time was up after the request had left.
    TimedOut,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::NotSent(why) => write!(f, "not sent: {why}"),
            Failure::Unanswered(why) => write!(f, "no whole answer: {why}"),
            Failure::TimedOut => write!(f, "no answer in time"),
        }
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
