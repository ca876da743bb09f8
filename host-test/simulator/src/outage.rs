//! Going dark: a server that cannot be reached for a while and comes back at the same address.
//!
//! In the dark connections are refused, as by a machine on which nothing listens, and the port is
//! held, so that nobody else gets it meanwhile.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::Simulator;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What a running server can be told.
pub(super) enum Command {
    GoOffline(oneshot::Sender<()>),
    ComeOnline(oneshot::Sender<io::Result<()>>),
}

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

impl Simulator {
    /// Makes the server unreachable: when this returns, every connection is closed and new ones
    /// are refused, on the control paths too, until [`Simulator::come_online`]. People can write
    /// all the same.
    pub async fn go_offline(&self) {
        let (done, when_done) = oneshot::channel();
        // A server that has ended cannot be reached either.
        if self
            .first
            .running
            .commands
            .send(Command::GoOffline(done))
            .is_ok()
        {
            let _ = when_done.await;
        }
    }

    /// Makes the server reachable again, at the same address.
    ///
    /// # Errors
    /// When somebody else took the port, or the server was shut down.
    pub async fn come_online(&self) -> io::Result<()> {
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "the simulator has ended");
        let (done, when_done) = oneshot::channel();
        let sent = self.first.running.commands.send(Command::ComeOnline(done));
        sent.map_err(|_| ended())?;
        when_done.await.map_err(|_| ended())?
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::{Client, texts};
    use super::super::{Simulator, SimulatorOptions};

    #[tokio::test]
    async fn the_network_goes_and_comes_back_at_the_same_address() {
        let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        let client = Client::new(&simulator);
        let waiting = client.clone();
        let empty = json!({"get_updates_buf": ""});
        let body = empty.clone();
        let poll = tokio::spawn(async move { waiting.post("getupdates", body).await });
        simulator
            .wait_for(|simulator| simulator.counters().polls_open == 1)
            .await;
        for _ in 0..2 {
            simulator.go_offline().await;
            assert_eq!(simulator.counters().polls_open, 0);
            assert!(client.post("getupdates", empty.clone()).await.is_err());
        }
        assert!(poll.await.unwrap().is_err());
        simulator.say("wxid_alice@im.wechat", "in the dark");
        for _ in 0..2 {
            simulator.come_online().await.unwrap();
            assert_eq!(texts(&client.poll("").await), ["in the dark"]);
        }
        simulator.go_offline().await;
        simulator.shutdown().await;
        simulator.go_offline().await;
        assert!(simulator.come_online().await.is_err());
    }
}
