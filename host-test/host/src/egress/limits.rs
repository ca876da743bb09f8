//! What the host allows any request to take, and what a caller may shorten of it.

use std::time::Duration;

/// What the host allows any request to take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the start to a connection: resolution, TCP and TLS.
    pub connect: Duration,
    /// From the last step of the request to the head of the answer.
    pub first_byte: Duration,
    /// The longest pause within the body of an answer.
    pub between_bytes: Duration,
    /// From the start to the end of the answer's body.
    pub total: Duration,
    /// The largest body of a request to a place that gets credentials in a header or in JSON.
    pub request_bytes: u64,
    /// The largest body of its answer.
    pub response_bytes: u64,
    /// The largest body, in either direction, of all other requests: media, which are streamed.
    pub media_bytes: u64,
    /// Connections of an account, idle ones included.
    pub connections: usize,
    /// Names that are looked up for an account at the same time; the others wait.
    pub lookups: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(15),
            // A long poll is held for 35 s and more.
            first_byte: Duration::from_secs(120),
            between_bytes: Duration::from_secs(30),
            total: Duration::from_secs(30 * 60),
            request_bytes: 16 * 1024 * 1024,
            response_bytes: 16 * 1024 * 1024,
            media_bytes: 128 * 1024 * 1024,
            connections: 1024,
            lookups: 8,
        }
    }
}

/// What a caller asks for one request. A value above the host's [`Limits`] counts as that limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timeouts {
    /// Until the connection is there.
    pub connect: Option<Duration>,
    /// From there until the answer begins.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the answer.
    pub between_bytes: Option<Duration>,
}

impl Limits {
    /// These, or what a caller wants where that is shorter.
    pub(super) fn shortened(self, options: Timeouts) -> Limits {
        let shorter =
            |limit: Duration, wanted: Option<Duration>| wanted.unwrap_or(limit).min(limit);
        Limits {
            connect: shorter(self.connect, options.connect),
            first_byte: shorter(self.first_byte, options.first_byte),
            between_bytes: shorter(self.between_bytes, options.between_bytes),
            ..self
        }
    }

    /// The largest body of media, and the field that says so.
    pub(super) fn media(&self) -> (u64, &'static str) {
        (self.media_bytes, "media_bytes")
    }
}
