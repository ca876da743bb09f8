//! Opens sockets: names to addresses, addresses to connections, and TLS on top where the URL says so.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, Write};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tower_service::Service;

use super::address::is_public;
use super::error::innermost;
use super::roots::advice;
use crate::sandbox::limits::Exceeded;

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Those of the public internet.
    Public,
    /// All, for origins that the operator named.
    Anywhere,
}

/// Turns names into addresses.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`.
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address, or its server did not answer.
    #[error("{0}")]
    Dns(String),
    /// The host has none but addresses that are not public.
    #[error("the host has no public address")]
    ProhibitedAddress,
    /// No address took the connection.
    #[error("{0}")]
    Tcp(String),
    /// The certificate or the TLS of the server is not accepted.
    #[error("{0}")]
    Tls(String),
    /// The connection ended within the TLS handshake.
    #[error("{0}")]
    Cut(String),
    /// The proxy can't be reached, or makes no connection.
    #[error("proxy {0}")]
    Proxy(String),
    /// The account has as many connections as it may.
    #[error(transparent)]
    Share(Exceeded),
}

/// TLS on top of a connection, for URLs that say so.
#[derive(Clone, Default)]
pub(super) struct Tls(pub Option<Arc<ClientConfig>>);

impl Tls {
    pub async fn over<W>(
        self,
        mut route: W,
        uri: Uri,
    ) -> Result<MaybeHttpsStream<W::Response>, ConnectError>
    where
        W: Service<Uri, Error = ConnectError>,
        W::Response: Connection + Read + Write + Unpin + Send + 'static,
        W::Future: Send + 'static,
    {
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(MaybeHttpsStream::Http(route.call(uri).await?));
        }
        let config = match self.0 {
            Some(config) => config,
            None => tls_config().await,
        };
        let stream = HttpsConnector::from((route, config)).call(uri).await;
        stream.map_err(|error| match error.downcast::<ConnectError>() {
            Ok(error) => *error,
            Err(error) if is_cut(&*error) => ConnectError::Cut(innermost(&*error)),
            Err(error) => {
                let why = innermost(&*error);
                ConnectError::Tls(format!("{why}{}", advice(&why)))
            }
        })
    }
}

/// Whether a handshake failed because the connection ended.
fn is_cut(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let outer = error.downcast_ref::<io::Error>();
    let inner = outer.and_then(|error| error.get_ref()?.downcast_ref::<io::Error>());
    let kind = inner.or(outer).map(io::Error::kind);
    matches!(
        kind,
        Some(
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        )
    )
}

/// The way to a proxy.
#[derive(Clone)]
pub(super) struct ProxyDialer {
    pub tcp: Tcp,
    pub tls: Tls,
}

impl ProxyDialer {
    pub(super) async fn open(
        self,
        uri: Uri,
    ) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, ConnectError> {
        self.tls.over(self.tcp, uri).await
    }
}

/// A connection without TLS.
#[derive(Clone)]
pub(super) struct Tcp {
    tcp: HttpConnector<Resolver>,
    pub policy: AddressPolicy,
}

impl Tcp {
    pub fn new(resolver: Arc<dyn Resolve>, policy: AddressPolicy, limit: Duration) -> Tcp {
        let mut tcp = HttpConnector::new_with_resolver(Resolver { resolver, policy });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limit));
        // Finds idle connections whose other end has vanished, for instance while the machine slept.
        tcp.set_keepalive(Some(Duration::from_secs(15)));
        tcp.set_keepalive_interval(Some(Duration::from_secs(5)));
        tcp.set_keepalive_retries(Some(3));
        Tcp { tcp, policy }
    }
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Err(error) = self.policy.check_literal(&uri) {
            return futures::future::ready(Err(error)).boxed();
        }
        let connecting = self.tcp.call(uri);
        async move {
            connecting.await.map_err(|error| {
                match std::error::Error::source(&error).and_then(|source| source.downcast_ref()) {
                    Some(ConnectError::Dns(reason)) => ConnectError::Dns(reason.clone()),
                    Some(ConnectError::ProhibitedAddress) => ConnectError::ProhibitedAddress,
                    _ => ConnectError::Tcp(innermost(&error)),
                }
            })
        }
        .boxed()
    }
}

impl AddressPolicy {
    fn includes(self, address: IpAddr) -> bool {
        self == AddressPolicy::Anywhere || is_public(address)
    }

    /// An address in the URL never passes through a resolver.
    pub(super) fn check_literal(self, uri: &Uri) -> Result<(), ConnectError> {
        let host = uri.host().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        match literal.parse::<IpAddr>() {
            Ok(address) if !self.includes(address) => Err(ConnectError::ProhibitedAddress),
            _ => Ok(()),
        }
    }
}

/// Resolves names and leaves out addresses that may not be reached.
#[derive(Clone)]
struct Resolver {
    resolver: Arc<dyn Resolve>,
    policy: AddressPolicy,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.resolver.resolve(name.as_str().to_owned());
        let policy = self.policy;
        async move {
            let found = resolving
                .await
                .map_err(|error| ConnectError::Dns(error.to_string()))?;
            if found.is_empty() {
                return Err(ConnectError::Dns("it has no address".to_owned()));
            }
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| policy.includes(*address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if allowed.is_empty() {
                return Err(ConnectError::ProhibitedAddress);
            }
            Ok(allowed.into_iter())
        }
        .boxed()
    }
}

/// One configuration for the process, so that sessions are resumed whoever connects.
async fn tls_config() -> Arc<ClientConfig> {
    static CONFIG: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    CONFIG
        .get_or_init(|| async {
            // Reading the system's roots takes milliseconds, so another thread does it. If that thread
            // fails, the built-in roots are used.
            let loading = tokio::task::spawn_blocking(|| load_tls_config(true)).await;
            Arc::new(loading.unwrap_or_else(|_| load_tls_config(false)))
        })
        .await
        .clone()
}

fn load_tls_config(native_roots: bool) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring implements the default versions of TLS")
    };
    let native = if native_roots {
        builder()
            .with_native_roots()
            .inspect_err(|error| {
                tracing::warn!(
                    "the system has no usable certificate roots ({error}): using Mozilla's"
                );
            })
            .ok()
    } else {
        None
    };
    native
        .unwrap_or_else(|| builder().with_webpki_roots())
        .with_no_client_auth()
}

#[cfg(test)]
mod tests;
