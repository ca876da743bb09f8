//! The HTTP client of the process: two pools of connections for all accounts.
//!
//! A request that needs a check of the address never gets a connection that was made without one:
//! each [`AddressPolicy`] has a pool of its own, and so have requests through a proxy.
//!
//! The client speaks HTTP/1.1 only and follows no redirects. It keeps few idle connections, closes
//! them early, and bounds the head of an answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::Connector;
use super::dialer::{AddressPolicy, Resolve};
use super::error::BoxError;
use super::proxy::Proxies;
use super::resolver::SystemResolver;

/// Idle connections to one host. More are opened when needed and closed afterwards.
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
    pools: Pools,
    /// The client without its proxies. It is the same client if there are none.
    direct: Pools,
    pub(super) proxies: Proxies,
}

debug_by_name!(HttpClient);

#[derive(Clone)]
struct Pools {
    public: Client<Connector, RequestBody>,
    anywhere: Client<Connector, RequestBody>,
}

pub(super) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

impl HttpClient {
    /// A client that resolves names as the operating system does, and goes direct.
    pub fn new() -> HttpClient {
        HttpClient::with_proxies(Proxies::none())
    }

    /// A client that goes through proxies, where they say so.
    pub fn with_proxies(proxies: Proxies) -> HttpClient {
        HttpClient::with_resolver(Arc::new(SystemResolver::new()), proxies)
    }

    /// A client with another resolver. What it returns is checked like everything else.
    pub fn with_resolver(resolver: Arc<dyn Resolve>, proxies: Proxies) -> HttpClient {
        let connector = |policy| Connector::new(resolver.clone(), policy, TCP_LIMIT);
        HttpClient::of(&connector, proxies)
    }

    pub(super) fn of(
        connector: &dyn Fn(AddressPolicy) -> Connector,
        proxies: Proxies,
    ) -> HttpClient {
        let pools = |proxies: &Proxies| Pools {
            public: pool(connector(AddressPolicy::Public).through(proxies.clone())),
            anywhere: pool(connector(AddressPolicy::Anywhere).through(proxies.clone())),
        };
        let direct = pools(&Proxies::none());
        HttpClient {
            pools: match proxies.is_none() {
                true => direct.clone(),
                false => pools(&proxies),
            },
            direct,
            proxies,
        }
    }

    /// The same client without its proxies, for what is in the operator's own network.
    pub fn direct(&self) -> HttpClient {
        HttpClient {
            pools: self.direct.clone(),
            direct: self.direct.clone(),
            proxies: Proxies::none(),
        }
    }

    pub(super) fn pool(&self, policy: AddressPolicy) -> &Client<Connector, RequestBody> {
        match policy {
            AddressPolicy::Public => &self.pools.public,
            AddressPolicy::Anywhere => &self.pools.anywhere,
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
