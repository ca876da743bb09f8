//! Notices changes that other processes make. The file system or the Redis server reports them.
//!
//! Promises: while nothing changes, nothing is read and nobody is asked. A change never comes without a
//! signal. A signal may come without a change, at the start and after the server was away. If the
//! server's user may not subscribe, the host looks now and then, and the log says so.

use std::sync::{Arc, Weak};
use std::time::Duration;

#[cfg(feature = "redis")]
use futures::StreamExt;
#[cfg(feature = "redis")]
use redis::RedisError;

#[cfg(feature = "redis")]
use super::redis::KEY;
use super::{Backend, Shared};
#[cfg(feature = "redis")]
use crate::state::redis::address::Address;
#[cfg(feature = "redis")]
use crate::state::redis::server::is_forbidden;
#[cfg(feature = "dir")]
use crate::watch::FileWatch;
#[cfg(feature = "redis")]
use crate::watch::LOOK;

#[cfg(feature = "dir")]
/// The file is replaced as a whole, so there is nothing to wait for.
const QUIET: Duration = Duration::ZERO;
#[cfg(feature = "redis")]
/// Pauses between two attempts to listen to a server.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
#[cfg(feature = "redis")]
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Signals changes of other processes until the credentials are dropped.
pub(super) fn start(shared: &Arc<Shared>) {
    let changed = Arc::downgrade(shared);
    match &shared.backend {
        // Only this process makes any.
        Backend::Memory(_) => {}
        #[cfg(feature = "dir")]
        Backend::Directory(directory) => {
            // From now on, and not from when the task is run.
            let file = FileWatch::new(directory.file());
            run(shared, follow_file(file, changed));
        }
        #[cfg(feature = "redis")]
        Backend::Redis(server) => run(shared, follow_server(server.address().clone(), changed)),
    }
}

/// Runs a task that ends with the credentials.
fn run(shared: &Shared, task: impl Future<Output = ()> + Send + 'static) {
    let mut receiver = shared.changed.subscribe();
    tokio::spawn(async move {
        let over = async { while receiver.changed().await.is_ok() {} };
        tokio::select! {
            () = over => {}
            () = task => {}
        }
    });
}

#[cfg(feature = "dir")]
async fn follow_file(mut file: FileWatch, changed: Weak<Shared>) {
    loop {
        file.changed(QUIET).await;
        tell(&changed);
    }
}

fn tell(shared: &Weak<Shared>) {
    if let Some(shared) = shared.upgrade() {
        shared.changed.send_replace(());
    }
}

#[cfg(feature = "redis")]
async fn follow_server(address: Address, changed: Weak<Shared>) {
    let mut pause = FIRST_PAUSE;
    let mut is_told = false;
    loop {
        match listen(&address, &changed).await {
            // It was connected for some time.
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) if is_forbidden(&error) => {
                if !is_told {
                    tracing::warn!(
                        "the user at {address} may not listen for new logins: they are looked for \
                         every {} s; give it `&weixin:* +subscribe +publish`",
                        LOOK.as_secs()
                    );
                }
                is_told = true;
                tokio::time::sleep(LOOK).await;
                tell(&changed);
                continue;
            }
            // The store says that it is away.
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(feature = "redis")]
/// Listens until the connection is lost.
async fn listen(address: &Address, changed: &Weak<Shared>) -> Result<(), RedisError> {
    let mut subscription = address.client()?.get_async_pubsub().await?;
    subscription.subscribe(KEY).await?;
    // What came before this is read now.
    tell(changed);
    let mut messages = subscription.on_message();
    while messages.next().await.is_some() {
        tell(changed);
    }
    Ok(())
}
