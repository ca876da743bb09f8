//! The component under the accounts: loaded again and swapped on SIGHUP, and where that is wanted when
//! its file changes.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, other};
use crate::gateway::{Gateway, SWAP_DEADLINE};

/// How often it is looked at the file.
const LOOK: Duration = Duration::from_millis(500);

/// Swaps until it is dropped. What does not fit is told in the log, and the old one goes on.
///
/// # Errors
/// When the signal can't be listened for.
pub fn reload(
    gateway: Gateway,
    path: PathBuf,
    watch: bool,
) -> Result<impl Future<Output = ()>, Failure> {
    let mut hang_up = signal(SignalKind::hangup()).map_err(other)?;
    let mut seen = modified(&path);
    Ok(async move {
        loop {
            let changed = async {
                loop {
                    tokio::time::sleep(LOOK).await;
                    let now = modified(&path);
                    // A file that is being written changes again.
                    if watch && now.is_some() && now != seen {
                        tokio::time::sleep(LOOK).await;
                        if modified(&path) == now {
                            return;
                        }
                    }
                }
            };
            tokio::select! {
                _ = hang_up.recv() => {}
                () = changed => {}
            }
            seen = modified(&path);
            swap(&gateway, &path).await;
        }
    })
}

async fn swap(gateway: &Gateway, path: &Path) {
    let plugin = match gateway.runtime().load(path).await {
        Ok(plugin) => plugin,
        Err(error) => {
            tracing::error!("the old component goes on: {error}");
            return;
        }
    };
    if plugin.digest == gateway.plugin().digest {
        tracing::info!("the component's file is the one that serves");
        return;
    }
    if let Err(error) = gateway.swap(&plugin, SWAP_DEADLINE).await {
        tracing::error!("the component {} is not taken: {error}", path.display());
    }
}

fn modified(path: &Path) -> Option<(SystemTime, u64)> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}
