//! Opens connections: it resolves the name, connects to an address, and adds TLS for `https` URLs.
//!
//! - The connector resolves the name first, checks each address, and connects to an address that it
//!   has checked. So a name that changes its address in between gains nothing. Addresses in the URL
//!   are checked as well.
//! - It tries all addresses of a name, IPv6 and IPv4 side by side, and resolves the name for each
//!   connection.
//! - It loads certificate roots with the first https connection, not at the start.
//! - It connects directly unless it has [`Proxies`]. A proxy is below the server's TLS, see
//!   `proxy_connection.rs`, and the check of addresses is then the proxy's.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::MaybeHttpsStream;
#[cfg(test)]
use rustls::ClientConfig;
use tower_service::Service;

use super::dialer::{ProxyDialer, Tcp, Tls};
use super::proxy::Proxies;
use super::proxy_connection::{self, ProxyConnection, Route};
use super::share;

pub use super::dialer::{AddressPolicy, ConnectError, Resolve};

/// Connects to `http` and `https` URLs.
#[derive(Clone)]
pub struct Connector {
    direct: Tcp,
    dialer: ProxyDialer,
    proxies: Proxies,
}

debug_by_name!(Connector);

impl Connector {
    /// A connector that gives up on TCP after `limit`, divided among the addresses of a name.
    pub fn new(resolver: Arc<dyn Resolve>, policy: AddressPolicy, limit: Duration) -> Connector {
        let tcp = |policy| Tcp::new(resolver.clone(), policy, limit);
        Connector {
            direct: tcp(policy),
            dialer: ProxyDialer {
                tcp: tcp(AddressPolicy::Anywhere),
                tls: Tls::default(),
            },
            proxies: Proxies::none(),
        }
    }

    /// The same through proxies.
    pub fn through(self, proxies: Proxies) -> Connector {
        Connector { proxies, ..self }
    }

    /// The same with other certificate roots.
    #[cfg(test)]
    pub(super) fn trusting(mut self, config: Arc<ClientConfig>) -> Connector {
        self.dialer.tls = Tls(Some(config));
        self
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<ProxyConnection>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // The pool may go on with it in a task of its own.
        let share = share::current();
        let tls = self.dialer.tls.clone();
        let Some(proxy) = self.proxies.of_request(&uri) else {
            let route = Route::Direct(self.direct.clone());
            return share::with(share, async move { tls.over(route, uri).await }).boxed();
        };
        let name = proxy_connection::name(&proxy);
        let route = Route::Through {
            proxy,
            dialer: self.dialer.clone(),
            policy: self.direct.policy,
        };
        let connecting = async move {
            tls.over(route, uri).await.map_err(|error| match error {
                ConnectError::Tls(why) => {
                    ConnectError::Tls(format!("{why} (through the proxy {name})"))
                }
                ConnectError::Cut(why) => ConnectError::Proxy(format!(
                    "{name}: the tunnel ended before there was a TLS connection: {why}"
                )),
                error => error,
            })
        };
        share::with(share, connecting).boxed()
    }
}
