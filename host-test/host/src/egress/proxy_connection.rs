//! The connection below a server's own TLS: straight to the server, or through a proxy.
//!
//! A proxy resolves the server's name, so it also has to check the addresses. An address in the URL
//! itself is checked here all the same. The proxy may have any address, because the operator named it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Ready, ready};
use http::Uri;
use http::uri::{Authority, Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tower_service::Service;

use super::dialer::{AddressPolicy, ConnectError, ProxyDialer, Tcp};
use super::error::innermost;
use super::share;

/// Opens connections on one of the two ways.
#[derive(Clone)]
pub(super) enum Route {
    Direct(Tcp),
    Through {
        proxy: Intercept,
        /// The way to the proxy.
        dialer: ProxyDialer,
        policy: AddressPolicy,
    },
}

/// An open connection.
pub struct ProxyConnection {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// A proxy reads the requests, so they name the server.
    is_forwarding: bool,
    /// The connection counts for the account that opened it.
    _permit: Option<OwnedSemaphorePermit>,
}

debug_by_name!(ProxyConnection);

impl Service<Uri> for Route {
    type Response = ProxyConnection;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<ProxyConnection, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self.clone() {
            Route::Direct(mut tcp) => async move {
                let permit = share::connection().map_err(ConnectError::Share)?;
                Ok(ProxyConnection {
                    stream: MaybeHttpsStream::Http(tcp.call(uri).await?),
                    is_forwarding: false,
                    _permit: permit,
                })
            }
            .boxed(),
            Route::Through {
                proxy,
                dialer,
                policy,
            } => through(proxy, dialer, policy, uri).boxed(),
        }
    }
}

async fn through(
    proxy: Intercept,
    dialer: ProxyDialer,
    policy: AddressPolicy,
    uri: Uri,
) -> Result<ProxyConnection, ConnectError> {
    policy.check_literal(&uri)?;
    let permit = share::connection().map_err(ConnectError::Share)?;
    let failed =
        |why: &dyn std::fmt::Display| ConnectError::Proxy(format!("{}: {why}", name(&proxy)));
    let stream = dialer
        .open(address(proxy.uri()))
        .await
        .map_err(|error| match error {
            ConnectError::Dns(why) => failed(&format_args!("its name can't be resolved: {why}")),
            ConnectError::Tls(why) | ConnectError::Cut(why) => {
                failed(&format_args!("no TLS connection to it: {why}"))
            }
            error => failed(&format_args!("it can't be reached: {error}")),
        })?;
    let manner = Manner::of(&proxy, &uri);
    let stream = match manner {
        Manner::Forwarded => stream,
        Manner::Tunnel => {
            let mut tunnel = Tunnel::new(uri.clone(), Opened(Some(stream)));
            if let Some(credentials) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(credentials.clone());
            }
            let opening = tunnel.call(uri).await;
            opening.map_err(|error| match error.to_string().as_str() {
                "tunnel error: proxy authorization required" => failed(&unauthorized(&proxy)),
                "tunnel error: unexpected end of file" => {
                    failed(&"it ended the connection instead of opening a tunnel")
                }
                "tunnel error: unsuccessful" => failed(&"it opens no tunnel to this server"),
                _ => failed(&format_args!("it opens no tunnel: {}", innermost(&error))),
            })?
        }
        Manner::Socks => {
            let mut socks = SocksV5::new(uri.clone(), Opened(Some(stream)));
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            let opening = socks.call(with_port(uri)).await;
            opening.map_err(|error| failed(&error))?
        }
    };
    Ok(ProxyConnection {
        stream,
        is_forwarding: manner == Manner::Forwarded,
        _permit: permit,
    })
}

/// What a proxy does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It reads the requests of plain http and sends them on.
    Forwarded,
    /// It passes bytes on after a CONNECT.
    Tunnel,
    /// It passes bytes on after a handshake of SOCKS.
    Socks,
}

impl Manner {
    pub(super) fn of(proxy: &Intercept, uri: &Uri) -> Manner {
        if is_socks(proxy.uri()) {
            Manner::Socks
        } else if uri.scheme() == Some(&Scheme::HTTPS) {
            Manner::Tunnel
        } else {
            Manner::Forwarded
        }
    }
}

fn is_socks(proxy: &Uri) -> bool {
    let scheme = proxy.scheme_str();
    scheme.is_some_and(|scheme| scheme.starts_with("socks"))
}

/// The proxy for people, without a user or a password.
pub(super) fn name(proxy: &Intercept) -> String {
    let uri = proxy.uri();
    let authority = uri.authority().map_or("", Authority::as_str);
    format!("{}://{authority}", uri.scheme_str().unwrap_or("http"))
}

/// What is to be done when a proxy answers 407.
pub(super) fn unauthorized(proxy: &Intercept) -> &'static str {
    match proxy.basic_auth() {
        Some(_) => "it does not accept the user and the password in its URL (407)",
        None => "it asks for a user and a password (407): put them into its URL",
    }
}

/// Where a proxy listens; TCP knows no scheme of SOCKS.
fn address(proxy: &Uri) -> Uri {
    match is_socks(proxy) {
        true => of_host_and_port(proxy, proxy.port_u16().unwrap_or(1080)),
        false => proxy.clone(),
    }
}

/// The server with its port; SOCKS takes a URI without one for https.
fn with_port(uri: Uri) -> Uri {
    let is_https = uri.scheme() == Some(&Scheme::HTTPS);
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    of_host_and_port(&uri, port)
}

fn of_host_and_port(uri: &Uri, port: u16) -> Uri {
    let authority = format!("{}:{port}", uri.host().unwrap_or_default());
    let built = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query("/")
        .build();
    built.unwrap_or_else(|_| uri.clone())
}

/// A connection that is open already, for what would open one.
struct Opened(Option<MaybeHttpsStream<TokioIo<TcpStream>>>);

impl Service<Uri> for Opened {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(
            self.0
                .take()
                .ok_or_else(|| io::ErrorKind::NotConnected.into()),
        )
    }
}

impl Connection for ProxyConnection {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.is_forwarding)
    }
}

impl Read for ProxyConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for ProxyConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
