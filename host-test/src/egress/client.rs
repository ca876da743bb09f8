//! The HTTP client of the process: two pools of connections for all accounts.
//!
//! What was connected without a check of its address is never lent to a request that needs one, so
//! each [`Reach`] has a pool of its own. HTTP/1.1 alone; redirects are not followed; idle
//! connections are few and short-lived, and an answer's head is bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::BoxError;
use super::connector::{Connector, Reach, Resolve, SystemResolver};

/// Of one host. More are opened when needed and closed afterwards.
const IDLE_CONNECTIONS: usize = 256;
/// Shorter than what servers and gateways on the way usually allow.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// TCP alone, divided among the addresses of a name.
pub(crate) const TCP_LIMIT: Duration = Duration::from_secs(10);
const HEADERS: usize = 100;
/// The head of an answer, and the most that one connection reads ahead of its reader.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// The connections of the process; clones share them.
#[derive(Clone)]
pub struct HttpClient {
    public: Client<Connector, RequestBody>,
    anywhere: Client<Connector, RequestBody>,
}

pub(super) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

impl HttpClient {
    /// A client that resolves names as the operating system does.
    pub fn new() -> HttpClient {
        HttpClient::with_resolver(Arc::new(SystemResolver))
    }

    /// A client with another resolver. What it returns is checked like everything else.
    pub fn with_resolver(resolver: Arc<dyn Resolve>) -> HttpClient {
        HttpClient {
            public: pool(Connector::new(resolver.clone(), Reach::Public, TCP_LIMIT)),
            anywhere: pool(Connector::new(resolver, Reach::Anywhere, TCP_LIMIT)),
        }
    }

    pub(super) fn pool(&self, reach: Reach) -> &Client<Connector, RequestBody> {
        match reach {
            Reach::Public => &self.public,
            Reach::Anywhere => &self.anywhere,
        }
    }
}

impl Default for HttpClient {
    fn default() -> HttpClient {
        HttpClient::new()
    }
}

/// A pool of HTTP/1.1 connections with the limits of this process.
pub(crate) fn pool<B>(connector: Connector) -> Client<Connector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_max_headers(HEADERS)
        .http1_max_buf_size(READ_BUFFER_BYTES)
        .build(connector)
}
