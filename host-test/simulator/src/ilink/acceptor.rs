//! Where connections come in, which can be closed for a while.
//!
//! While the server is offline, connections are refused, as by a machine on which nothing listens.
//! The port is held, so that nobody else gets it meanwhile.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Where connections come in.
pub(super) enum Acceptor {
    Open(TcpListener),
    /// With the socket that holds the port; none if it could not be had.
    Closed(Option<TcpSocket>),
}

impl Acceptor {
    /// The next connection; never comes while the acceptor is closed.
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Acceptor::Open(listener) => listener.accept().await,
            Acceptor::Closed(_) => std::future::pending().await,
        }
    }

    pub(super) fn close(&mut self, address: SocketAddr) {
        if matches!(self, Acceptor::Open(_)) {
            // A port that is listened on cannot be bound again, so the listener goes first.
            *self = Acceptor::Closed(None);
            *self = Acceptor::Closed(bound(address).ok());
        }
    }

    pub(super) fn open(&mut self, address: SocketAddr) -> io::Result<()> {
        if let Acceptor::Closed(held) = self {
            let socket = held.take().map_or_else(|| bound(address), Ok)?;
            *self = Acceptor::Open(socket.listen(BACKLOG)?);
        }
        Ok(())
    }
}

/// A socket that has this address and does not listen.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections that were closed lately still have the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
