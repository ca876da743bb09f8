//! The connections of one server: which ones are accepted, and which ones are closed to make room.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::ListenerLimits;
use super::tls::Acceptor;
use super::watched::{self, Peer, Received, Watch};
use crate::once_per::OncePer;

/// The pause after a connection that can't be accepted. Others may end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The log reports refused connections at most once within this time, because anybody can cause them.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The connections of a server. Dropping it ends them.
pub struct Connections {
    /// For the log.
    what: &'static str,
    limits: ListenerLimits,
    slots: Arc<Mutex<Slots>>,
    tasks: JoinSet<()>,
    /// Before this time no deadline is due.
    look_at: Duration,
    telling: OncePer,
}

debug_by_name!(Connections);

/// Who is connected.
#[derive(Default)]
struct Slots {
    taken: u64,
    open: HashMap<u64, Slot>,
}

struct Slot {
    /// None: on this machine.
    peer: Option<IpAddr>,
    watch: Arc<Watch>,
}

/// A slot that comes free.
struct Held {
    id: u64,
    slots: Arc<Mutex<Slots>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.slots).open.remove(&self.id);
    }
}

impl Connections {
    /// No connections yet; `what` is served, for the log.
    pub fn new(what: &'static str, limits: ListenerLimits) -> Connections {
        Connections {
            what,
            limits,
            slots: Arc::default(),
            tasks: JoinSet::new(),
            look_at: Duration::ZERO,
            telling: OncePer::new(TELL_EVERY),
        }
    }

    /// Serves a connection without TLS, if there is room or room can be made.
    pub fn take<A, F, B, E>(&mut self, stream: TcpStream, remote: SocketAddr, answer: A)
    where
        A: Fn(Request<Received>, Peer) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<crate::BoxError>,
        E: Into<crate::BoxError>,
    {
        self.take_with(stream, remote, None, answer);
    }

    /// The same, with TLS where there is an acceptor.
    pub(crate) fn take_with<A, F, B, E>(
        &mut self,
        stream: TcpStream,
        remote: SocketAddr,
        tls: Option<Acceptor>,
        answer: A,
    ) where
        A: Fn(Request<Received>, Peer) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<crate::BoxError>,
        E: Into<crate::BoxError>,
    {
        // A connection that has ended already has no addresses to ask for.
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let peer = Peer {
            remote,
            local: local.ip(),
        };
        let watch = Arc::new(Watch::new(&self.limits.clock));
        let taken = lock(&self.slots).take(remote.ip(), Arc::clone(&watch), &self.limits);
        let Some(id) = taken else {
            self.tell("as many connections are open as may be, and all are at work");
            return;
        };
        let held = Held {
            id,
            slots: Arc::clone(&self.slots),
        };
        let limits = self.limits.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = watched::serve(stream, tls, peer, Arc::clone(&watch), limits, answer) => {}
                () = watch.closed() => {}
            }
            drop(held);
        });
    }

    /// Deals with a connection that could not be accepted.
    pub async fn cannot_accept(&mut self, error: &io::Error) {
        // The client gave up before the connection was accepted.
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        // Out of file descriptors, most likely.
        lock(&self.slots).make_room(|_| true);
        self.tell(&error.to_string());
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    /// Closes connections that have waited for their client for too long. Never returns.
    pub async fn tend(&mut self) {
        loop {
            if self.tasks.is_empty() {
                std::future::pending::<()>().await;
            }
            let now = self.limits.clock.elapsed();
            if now >= self.look_at {
                // A deadline that begins later is not due before.
                let latest = now + self.limits.shortest();
                let next = lock(&self.slots).close_overdue(now, &self.limits);
                self.look_at = next.map_or(latest, |next| next.min(latest));
            }
            tokio::select! {
                _ = self.tasks.join_next() => {}
                () = self.limits.clock.sleep_until(self.look_at) => {}
            }
        }
    }

    /// Ends all connections, and returns when they have ended.
    pub async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }

    fn tell(&mut self, why: &str) {
        let now = self.limits.clock.elapsed();
        if self.telling.passes(now) {
            tracing::warn!("a connection for {} is not taken: {why}", self.what);
        }
    }
}

impl Slots {
    /// The number of the slot that a connection gets; none where there is no room.
    fn take(&mut self, peer: IpAddr, watch: Arc<Watch>, limits: &ListenerLimits) -> Option<u64> {
        let peer = network(peer);
        if let Some(peer) = peer {
            let is_its = |slot: &Slot| slot.peer == Some(peer);
            let its = self.open.values().filter(|slot| is_its(slot)).count();
            if its >= limits.connections_per_peer && !self.make_room(is_its) {
                return None;
            }
        }
        if self.open.len() >= limits.connections && !self.make_room(|_| true) {
            return None;
        }
        self.taken += 1;
        self.open.insert(self.taken, Slot { peer, watch });
        Some(self.taken)
    }

    /// Closes the one of these connections that has waited for its client for longest. Returns whether
    /// there was one.
    fn make_room(&mut self, of: impl Fn(&Slot) -> bool) -> bool {
        let those = self.open.iter().filter(|(_, slot)| of(slot));
        let oldest = those
            .filter_map(|(id, slot)| Some((slot.watch.waits()?, *id)))
            .min();
        let slot = oldest.and_then(|(_, id)| self.open.remove(&id));
        if let Some(slot) = &slot {
            slot.watch.close();
        }
        slot.is_some()
    }

    /// Returns the first of the deadlines that are left.
    fn close_overdue(&mut self, now: Duration, limits: &ListenerLimits) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        self.open.retain(|_, slot| {
            let Some(deadline) = slot.watch.deadline(limits) else {
                return true;
            };
            if deadline <= now {
                slot.watch.close();
                return false;
            }
            next = Some(next.map_or(deadline, |next| next.min(deadline)));
            true
        });
        next
    }
}

fn lock(slots: &Mutex<Slots>) -> MutexGuard<'_, Slots> {
    // Each change is whole at any time.
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The peer that a connection counts for; `None` for this machine.
fn network(peer: IpAddr) -> Option<IpAddr> {
    match peer.to_canonical() {
        peer if peer.is_loopback() => None,
        IpAddr::V6(peer) => {
            let network = u128::from(peer) >> 64 << 64;
            Some(Ipv6Addr::from(network).into())
        }
        peer => Some(peer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(slots: &mut Slots, peer: &str, limits: &ListenerLimits) -> Option<(u64, Arc<Watch>)> {
        let watch = Arc::new(Watch::new(&limits.clock));
        limits.clock.advance(Duration::from_millis(1));
        let id = slots.take(peer.parse().unwrap(), Arc::clone(&watch), limits)?;
        Some((id, watch))
    }

    #[test]
    fn a_peer_has_its_share_and_this_machine_none() {
        let limits = ListenerLimits {
            connections: 6,
            connections_per_peer: 2,
            ..ListenerLimits::default()
        };
        let mut slots = Slots::default();
        // One network is one peer, however many addresses it has; its own oldest makes room.
        let neighbour = taken(&mut slots, "192.0.2.1", &limits).unwrap().0;
        let first = taken(&mut slots, "2001:db8::1", &limits).unwrap().0;
        let second = taken(&mut slots, "2001:db8::2", &limits).unwrap().0;
        let third = taken(&mut slots, "2001:db8::3", &limits).unwrap().0;
        let open = |slots: &Slots| {
            let mut open: Vec<u64> = slots.open.keys().copied().collect();
            open.sort_unstable();
            open
        };
        assert_eq!(open(&slots), [neighbour, second, third]);
        assert!(!open(&slots).contains(&first));
        // An address has the same share in each of its spellings.
        for peer in ["::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"] {
            taken(&mut slots, peer, &limits).unwrap();
        }
        assert_eq!(slots.open.len(), 4);
        // A proxy on this machine may fill what is left, and then the oldest of all go.
        for peer in ["127.0.0.1", "::1", "127.0.0.9"] {
            taken(&mut slots, peer, &limits).unwrap();
        }
        assert_eq!(slots.open.len(), 6);
        assert!(!open(&slots).contains(&second));
    }
}
