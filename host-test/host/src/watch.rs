//! Watches files: the operating system reports changes, and nothing polls in between.
//!
//! - A file changes when it is closed after a write, when another one is moved, linked or created in
//!   its place, and when it goes away. Links on the way to the file are followed, and a change of a
//!   link is a change of the file: Kubernetes swaps a link to a directory.
//! - On Linux, a file changes as well when a directory further up is moved, if this process may read
//!   that directory.
//! - No such change is lost. A change between [`FileWatch::new`] and the next call, or while the file is
//!   read, is reported by that call.
//! - The file and its directories need not exist yet.
//! - If the system reports nothing, as for a network's file system, the watch looks every [`LOOK`],
//!   and the log says so.

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(not(target_os = "linux"))]
mod other;
mod watched_path;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[cfg(target_os = "linux")]
use self::inotify::Events;
#[cfg(not(target_os = "linux"))]
use self::other::Events;
use self::watched_path::{Version, WatchedPath, version, watched_paths};

/// How often the watch looks if the system reports nothing.
pub const LOOK: Duration = Duration::from_secs(5);
/// A file that changes without a pause is reported all the same, after this many times the usual pause.
const IMPATIENCE: u32 = 20;

/// A watched file. The watch ends when this is dropped.
pub struct FileWatch {
    changes: watch::Receiver<u64>,
    /// A change was seen and not reported yet.
    is_pending: bool,
    looks: Arc<AtomicU64>,
    following: JoinHandle<()>,
}

debug_by_name!(FileWatch);

impl FileWatch {
    /// Watches from now on. Must be called within a tokio runtime.
    pub fn new(path: &Path) -> FileWatch {
        FileWatch::with(path, Events::new(), LOOK)
    }

    fn with(path: &Path, events: std::io::Result<Events>, look: Duration) -> FileWatch {
        let (sender, changes) = watch::channel(0);
        let looks = Arc::new(AtomicU64::new(0));
        let mut following = Following {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            events: None,
            paths: BTreeSet::new(),
            seen: version(path),
            why_slow: None,
            look,
            changes: sender,
            looks: Arc::clone(&looks),
        };
        match events {
            Ok(events) => following.events = Some(events),
            Err(error) => following.slow(&error.to_string()),
        }
        following.arm();
        FileWatch {
            changes,
            is_pending: false,
            looks,
            following: tokio::spawn(following.follow()),
        }
    }

    /// Waits for a change since the watch began or since the last call, and then for a short pause
    /// without changes: a file that is written in several steps is reported once. A call that is
    /// dropped loses nothing.
    pub async fn changed(&mut self, quiet: Duration) {
        if !self.is_pending {
            // The task that follows has the sender, and ends with this value.
            if self.changes.changed().await.is_err() {
                return std::future::pending().await;
            }
            self.is_pending = true;
        }
        for _ in 0..IMPATIENCE {
            match timeout(quiet, self.changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => break,
            }
        }
        self.is_pending = false;
    }

    /// How often this process has looked at the file or its directories, or was woken for them.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// What follows a file.
struct Following {
    path: PathBuf,
    /// `None` if the system reports nothing.
    events: Option<Events>,
    /// Where the system has to tell of changes.
    paths: BTreeSet<WatchedPath>,
    /// What was seen when it was last looked.
    seen: Option<Version>,
    /// Why it is looked now and then as well.
    why_slow: Option<String>,
    /// How often.
    look: Duration,
    changes: watch::Sender<u64>,
    looks: Arc<AtomicU64>,
}

impl Following {
    async fn follow(mut self) {
        loop {
            let (is_slow, look) = (self.why_slow.is_some(), self.look);
            let pause = async {
                match is_slow {
                    true => tokio::time::sleep(look).await,
                    false => std::future::pending().await,
                }
            };
            let told = async {
                match &mut self.events {
                    Some(events) => events.next(&self.paths).await,
                    None => std::future::pending().await,
                }
            };
            let is_change = tokio::select! {
                told = told => match told {
                    Ok(()) => true,
                    Err(error) => {
                        self.events = None;
                        self.slow(&error.to_string());
                        true
                    }
                },
                () = pause => false,
            };
            self.looks.fetch_add(1, Ordering::Relaxed);
            self.arm();
            let now = version(&self.path);
            if is_change || now != self.seen {
                self.seen = now;
                self.changes.send_modify(|number| *number += 1);
            }
        }
    }

    /// Watches the directories of the file and of the links to it.
    fn arm(&mut self) {
        // Between looking where they are and watching there, they may change.
        loop {
            let now = watched_paths(&self.path);
            let directories: BTreeSet<&Path> =
                now.iter().map(|watched| &*watched.directory).collect();
            if let Some(remote) = directories.iter().find(|one| watched_path::is_remote(one)) {
                let why = format!("{} is not on this machine", remote.display());
                self.slow(&why);
            }
            if let Some(events) = &mut self.events
                && let Err(error) = events.watch(&directories)
            {
                self.events = None;
                self.slow(&error.to_string());
            }
            let is_settled = now == self.paths;
            self.paths = now;
            if is_settled || self.events.is_none() {
                return;
            }
        }
    }

    fn slow(&mut self, why: &str) {
        if self.why_slow.is_none() {
            tracing::warn!(
                "the system does not tell of changes of {} ({why}): it is looked every {} s",
                self.path.display(),
                self.look.as_secs()
            );
            self.why_slow = Some(why.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
