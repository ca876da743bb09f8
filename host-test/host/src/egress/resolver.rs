//! Resolves names as the operating system does, on threads of its own.
//!
//! A lookup blocks its thread for as long as the name server likes, even when nobody waits for it any
//! more. So lookups have threads that nothing else uses, and each account may use a few at a time.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};

use super::dialer::Resolve;
use super::share;

/// The most threads of the process that look up names. They start when they are needed, and end.
const THREADS: usize = 256;
const IDLE: Duration = Duration::from_secs(10);

/// A runtime that only lends its threads. It lives as long as the process, because a lookup that
/// hangs must not delay the exit.
static LOOKUPS: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_current_thread()
        .max_blocking_threads(THREADS)
        .thread_keep_alive(IDLE)
        .thread_name("lookups")
        .build()
});

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The operating system's resolver, with `/etc/hosts` and what else it is configured to ask.
#[derive(Clone)]
pub struct SystemResolver {
    lookup: Arc<Lookup>,
}

debug_by_name!(SystemResolver);

impl SystemResolver {
    /// The system's own.
    pub fn new() -> SystemResolver {
        SystemResolver::with_lookup(|host| {
            let addresses = (host, 0).to_socket_addrs()?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }

    /// The same bounds around another lookup, which may block.
    pub fn with_lookup(
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> SystemResolver {
        SystemResolver {
            lookup: Arc::new(lookup),
        }
    }
}

impl Default for SystemResolver {
    fn default() -> SystemResolver {
        SystemResolver::new()
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let lookup = Arc::clone(&self.lookup);
        async move {
            let turn = share::lookup().await;
            let threads = LOOKUPS.as_ref();
            let threads = threads.map_err(|error| io::Error::other(error.to_string()))?;
            let looking = threads.handle().spawn_blocking(move || {
                // The lookup uses its thread until it is over, even if nobody waits for it any more.
                let _turn = turn;
                lookup(&host)
            });
            looking.await.map_err(io::Error::other)?
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::sync::{Mutex, atomic::AtomicUsize, atomic::Ordering};

    use super::super::Limits;
    use super::super::share::Share;
    use super::*;
    use crate::sandbox::budget::Budget;

    fn share(lookups: usize) -> Arc<Share> {
        let limits = Limits {
            lookups,
            ..Limits::default()
        };
        Share::new(&limits, Budget::new(usize::MAX))
    }

    #[tokio::test]
    async fn an_accounts_lookups_that_hang_leave_the_others_theirs() {
        let (release, gate) = mpsc::channel::<()>();
        let (gate, hanging) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&hanging);
        let resolver = SystemResolver::with_lookup(move |host| {
            if host.starts_with("slow") {
                counted.fetch_add(1, Ordering::SeqCst);
                // One after the other, when the other end is gone.
                let _ = gate.lock().unwrap().recv();
            }
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        });
        let (hostile, honest) = (share(3), share(3));
        let slow: Vec<_> = (0..100)
            .map(|number| {
                let resolving = resolver.resolve(format!("slow{number}.example"));
                tokio::spawn(share::with(Some(Arc::clone(&hostile)), resolving))
            })
            .collect();
        while hanging.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        for share in [Some(honest), None] {
            let resolving = resolver.resolve("quick.example".to_owned());
            let found = share::with(share, resolving).await.unwrap();
            assert_eq!(found, [IpAddr::from([192, 0, 2, 1])]);
        }
        // The runtime's own blocking threads were not touched.
        assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7);
        assert_eq!(hanging.load(Ordering::SeqCst), 3);
        drop(release);
        for resolving in slow {
            assert!(resolving.await.unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_are_found() {
        let resolver = SystemResolver::new();
        let found = resolver.resolve("localhost".to_owned()).await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty());
        assert!(resolver.resolve("no such name".to_owned()).await.is_err());
    }
}
