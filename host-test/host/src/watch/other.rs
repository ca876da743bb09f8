//! What systems other than Linux tell of directories.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::watched_path::WatchedPath;

/// Directories of which the system tells.
pub(super) struct Events {
    watcher: RecommendedWatcher,
    told: UnboundedReceiver<notify::Result<Event>>,
    directories: BTreeSet<PathBuf>,
}

impl Events {
    pub fn new() -> io::Result<Events> {
        let (sender, told) = unbounded_channel();
        // Nobody listens any more at the end.
        let tell = move |event| drop(sender.send(event));
        Ok(Events {
            watcher: notify::recommended_watcher(tell).map_err(io::Error::other)?,
            told,
            directories: BTreeSet::new(),
        })
    }

    /// Watches these directories, and no others.
    pub fn watch(&mut self, wanted: &BTreeSet<&Path>) -> io::Result<()> {
        for gone in &self.directories {
            if !wanted.contains(&**gone) {
                // It may be gone already.
                let _ = self.watcher.unwatch(gone);
            }
        }
        for directory in wanted {
            if !self.directories.contains(*directory) {
                let watched = self.watcher.watch(directory, RecursiveMode::NonRecursive);
                watched.map_err(io::Error::other)?;
            }
        }
        self.directories = wanted.iter().map(|one| (*one).to_owned()).collect();
        Ok(())
    }

    /// Waits until something happened to one of the paths.
    pub async fn next(&mut self, paths: &BTreeSet<WatchedPath>) -> io::Result<()> {
        loop {
            let Some(event) = self.told.recv().await else {
                return Err(io::Error::other("the system's watcher has ended"));
            };
            let event = event.map_err(io::Error::other)?;
            let is_about = |path: &PathBuf| {
                self.directories.contains(path)
                    || paths
                        .iter()
                        .any(|watched| watched.directory.join(&watched.name) == *path)
            };
            let is_reading = matches!(event.kind, EventKind::Access(_));
            if event.need_rescan() || (!is_reading && event.paths.iter().any(is_about)) {
                return Ok(());
            }
        }
    }
}
