//! The clock of a process, and the listener that all its servers use: it accepts connections, bounds
//! them, and checks the names by which a server is called.
//!
//! - A connection that waits for its client has a deadline: for the head of a request, for its body, for
//!   an answer that nobody reads, and between two requests. A connection that waits for this process has
//!   none: a long poll, the next step of a login, media that arrive slowly.
//! - The number of connections is bounded, for each peer and in all. When there is no room, the
//!   connection that has waited for its client for longest is closed, idle ones first.
//! - A connection that can't be accepted concerns one client, and ends nothing.
//! - A server that checks [`Names`] refuses requests of web pages: a page has a foreign `Origin`, or it
//!   reached the server by a name of its own.

#![warn(missing_debug_implementations)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::panic,
        reason = "a test that fails ends so"
    )
)]

#[macro_use]
mod debug;

pub mod clock;
mod connections;
mod names;
mod once_per;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod token;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;

use crate::clock::Clock;
pub use connections::Connections;
pub use names::Names;
pub use names::{Foreign, has_origin};
pub use once_per::OncePer;
#[cfg(not(feature = "tls"))]
use tls::Tls;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
pub use token::Token;
pub use watched::{Peer, Received};

/// Any error of a service or a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The limits of a listener's connections. A connection that waits for this process has no limit here.
#[derive(Clone)]
pub struct ListenerLimits {
    /// Connections that are open at once.
    pub connections: usize,
    /// Connections of one peer: an IPv4 address, or the 64 bits of an IPv6 network. This machine's own
    /// addresses are exempt, because a proxy on it brings everybody's connections.
    pub connections_per_peer: usize,
    /// Bytes of a request's head; at least 8 KiB.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// From the first byte of a request until its head is complete. For the first request it begins with
    /// the connection, and includes the TLS handshake.
    pub head: Duration,
    /// The longest wait for a KiB of a body, or for its end.
    pub body: Duration,
    /// The longest wait for a client to read more of an answer.
    pub write: Duration,
    /// The longest pause between two requests.
    pub idle: Duration,
    /// The clock that measures the deadlines. It is one of their own, which tests can move.
    pub clock: Clock,
}

debug_by_name!(ListenerLimits);

impl Default for ListenerLimits {
    fn default() -> ListenerLimits {
        ListenerLimits {
            connections: 512,
            connections_per_peer: 128,
            head_bytes: 32 * 1024,
            headers: 64,
            head: Duration::from_secs(10),
            body: Duration::from_secs(20),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            clock: Clock::new(),
        }
    }
}

impl ListenerLimits {
    /// The limits of the media server. An agent may pause while it reads, and the system reports progress
    /// only when the client has read much of the buffers.
    pub fn media() -> ListenerLimits {
        ListenerLimits {
            connections: 256,
            head_bytes: 128 * 1024,
            write: Duration::from_secs(300),
            ..ListenerLimits::default()
        }
    }

    /// The limits of a simulated server, at which thousands of accounts poll, and other clients as well.
    pub fn simulator() -> ListenerLimits {
        ListenerLimits {
            connections: 20_000,
            connections_per_peer: 20_000,
            head_bytes: 256 * 1024,
            headers: 100,
            body: Duration::from_secs(120),
            write: Duration::from_secs(120),
            idle: Duration::from_secs(600),
            ..ListenerLimits::default()
        }
    }

    /// The shortest of the deadlines. No connection can be overdue earlier.
    fn shortest(&self) -> Duration {
        self.head.min(self.body).min(self.write).min(self.idle)
    }
}

/// Where a server listens, and under which rules. A [`TcpListener`] alone is one with the default
/// limits, no TLS, and the names of this machine.
pub struct Listener {
    tcp: TcpListener,
    limits: ListenerLimits,
    names: Names,
    tls: Option<Arc<Tls>>,
}

debug_by_name!(Listener);

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Listener {
        Listener {
            tcp,
            limits: ListenerLimits::default(),
            names: Names::default(),
            tls: None,
        }
    }
}

impl Listener {
    /// The same, with these limits.
    pub fn limited(self, limits: ListenerLimits) -> Listener {
        Listener { limits, ..self }
    }

    /// The same, but a server that checks names also accepts these.
    pub fn named(self, names: Names) -> Listener {
        Listener { names, ..self }
    }

    /// The same, with TLS.
    #[cfg(feature = "tls")]
    pub fn with_tls(self, tls: Arc<Tls>) -> Listener {
        Listener {
            tls: Some(tls),
            ..self
        }
    }

    /// The names that it accepts.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Answers requests until the returned value is dropped; all connections end then. `what` names the
    /// server in the log.
    pub async fn serve<A, F, B, E>(self, what: &'static str, answer: A)
    where
        A: Fn(Request<Received>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<crate::BoxError>,
        E: Into<crate::BoxError>,
    {
        let mut connections = Connections::new(what, self.limits);
        loop {
            tokio::select! {
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let tls = self.tls.as_ref().map(Tls::acceptor);
                        connections.take_with(stream, peer, tls, answer.clone());
                    }
                    Err(error) => connections.cannot_accept(&error).await,
                },
                () = connections.tend() => {}
            }
        }
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
