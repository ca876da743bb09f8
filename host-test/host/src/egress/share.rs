//! The share of one account in what all accounts use to send requests: connections, lookups of names,
//! and memory for requests under way.
//!
//! The connection pools know nothing of accounts. So a request carries its share along to the place
//! where its connection is made, even if the pool goes on in a task of its own.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::Limits;
use crate::sandbox::budget::Budget;
use crate::sandbox::limits::Exceeded;

/// The longest body that is searched at once, on the thread that has it.
pub(super) const SMALL_BODY_BYTES: usize = 16 * 1024;

tokio::task_local! {
    static SHARE: Arc<Share>;
}

/// The share of one account.
#[derive(Debug)]
pub struct Share {
    /// The memory budget, which covers everything that the host holds for the account.
    pub budget: Arc<Budget>,
    connections: Arc<Semaphore>,
    connections_limit: usize,
    lookups: Arc<Semaphore>,
    /// Large bodies are searched on other threads, one at a time.
    searching: Arc<Semaphore>,
}

impl Share {
    /// A share of which nothing is used yet.
    pub fn new(limits: &Limits, budget: Arc<Budget>) -> Arc<Share> {
        let most = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Arc::new(Share {
            budget,
            connections: most(limits.connections),
            connections_limit: limits.connections,
            lookups: most(limits.lookups),
            searching: most(1),
        })
    }

    /// The account's connections, idle ones included.
    pub fn connections(&self) -> usize {
        let limit = self.connections_limit.min(Semaphore::MAX_PERMITS);
        limit.saturating_sub(self.connections.available_permits())
    }

    /// Does work that takes long for a body of this many bytes. Large bodies go to another thread, so
    /// that nothing else waits.
    ///
    /// # Errors
    /// Why the work did not finish.
    pub(super) async fn searching<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        if bytes <= SMALL_BODY_BYTES {
            return Ok(work());
        }
        let turn = Arc::clone(&self.searching).acquire_owned().await;
        let turn = turn.map_err(|error| error.to_string())?;
        let working = tokio::task::spawn_blocking(move || {
            // The work goes on when nobody waits for it any more.
            let _turn = turn;
            work()
        });
        working.await.map_err(|error| error.to_string())
    }

    /// The most connections that it may have.
    pub fn connections_limit(&self) -> usize {
        self.connections_limit
    }
}

/// Runs `future` with a share.
pub(super) async fn with<F: Future>(share: Option<Arc<Share>>, future: F) -> F::Output {
    match share {
        Some(share) => SHARE.scope(share, future).await,
        None => future.await,
    }
}

/// The share that the current task uses. `None` for the operator's own requests, for instance to an
/// agent.
pub(super) fn current() -> Option<Arc<Share>> {
    SHARE.try_with(Arc::clone).ok()
}

/// Room for one more connection, until this is dropped.
///
/// # Errors
/// When the account has as many as it may.
pub(super) fn connection() -> Result<Option<OwnedSemaphorePermit>, Exceeded> {
    let Some(share) = current() else {
        return Ok(None);
    };
    let permit = Arc::clone(&share.connections).try_acquire_owned();
    permit.map(Some).map_err(|_| {
        let what = "it has more connections";
        Exceeded::count("egress.connections", what, share.connections_limit, "open")
    })
}

/// The account's turn to look up a name, until this is dropped.
pub(super) async fn lookup() -> Option<OwnedSemaphorePermit> {
    let share = current()?;
    // It is never closed.
    Arc::clone(&share.lookups).acquire_owned().await.ok()
}
