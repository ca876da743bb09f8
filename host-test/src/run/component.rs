//! The components under the accounts: found and loaded, loaded again and swapped on SIGHUP, and where
//! that is wanted when a file changes.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, beside_the_binary, other};
use crate::account::SwapError;
use crate::cli::{WECOM, WEIXIN};
use crate::gateway::{Gateway, SWAP_DEADLINE};
use crate::runtime::{Plugin, Runtime};

/// How often it is looked at the file.
const LOOK: Duration = Duration::from_millis(500);

/// The files of the components, by their platforms. One that was named says itself which one it is
/// for; those of the others are beside the binary.
pub struct Components {
    paths: Mutex<BTreeMap<String, PathBuf>>,
}

impl Components {
    /// Loads what was named.
    ///
    /// # Errors
    /// When one can't be used, when two are for one platform, and when one is for a platform of which
    /// this runner has no accounts: it would get another platform's.
    pub async fn load(
        runtime: &Runtime,
        named: Vec<PathBuf>,
    ) -> Result<(Components, Vec<Plugin>), Failure> {
        let mut paths = BTreeMap::new();
        let mut plugins = Vec::new();
        for path in named {
            let plugin = runtime.load(&path).await.map_err(other)?;
            check_platform(&path, &plugin, &[WEIXIN, WECOM])?;
            let platform = plugin.platform().to_owned();
            if paths.insert(platform.clone(), path).is_some() {
                return Err(Failure::Usage(format!(
                    "--component names two for the platform {platform}: leave one out"
                )));
            }
            plugins.push(plugin);
        }
        let components = Components {
            paths: Mutex::new(paths),
        };
        Ok((components, plugins))
    }

    /// Loads the component of a platform that was not named.
    ///
    /// # Errors
    /// When it can't be used.
    pub async fn find(&self, runtime: &Runtime, platform: &str) -> Result<Plugin, Failure> {
        let path = beside_the_binary(&format!("{platform}.wasm"))?;
        let plugin = runtime.load(&path).await.map_err(other)?;
        check_platform(&path, &plugin, &[platform])?;
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.insert(platform.to_owned(), path);
        Ok(plugin)
    }

    /// The gateway's component of a platform; it is given one where it has none.
    ///
    /// # Errors
    /// When it can't be used.
    pub async fn ensure(&self, gateway: &Gateway, platform: &str) -> Result<Plugin, Failure> {
        if let Some(plugin) = gateway.plugin_of(platform) {
            return Ok(plugin);
        }
        let plugin = self.find(gateway.runtime(), platform).await?;
        gateway.install(plugin.clone());
        Ok(plugin)
    }

    fn paths(&self) -> Vec<PathBuf> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.values().cloned().collect()
    }

    /// Swaps until it is dropped. What does not fit is told in the log, and the old one goes on.
    ///
    /// # Errors
    /// When the signal can't be listened for.
    pub fn reload<'a>(
        &'a self,
        gateway: &'a Gateway,
        watch: bool,
    ) -> Result<impl Future<Output = ()> + 'a, Failure> {
        let mut hang_up = signal(SignalKind::hangup()).map_err(other)?;
        let mut seen: BTreeMap<PathBuf, Version> = BTreeMap::new();
        self.look(&mut seen);
        Ok(async move {
            loop {
                let changed = async {
                    loop {
                        tokio::time::sleep(LOOK).await;
                        let changed = self.look(&mut seen);
                        if watch && !changed.is_empty() {
                            return changed;
                        }
                    }
                };
                let changed = tokio::select! {
                    _ = hang_up.recv() => self.paths(),
                    changed = changed => {
                        for path in &changed {
                            settled(path).await;
                        }
                        changed
                    }
                };
                for path in changed {
                    swap(gateway, &path).await;
                }
                self.look(&mut seen);
            }
        })
    }

    /// The files that are others than at the last look; those that are looked at first are not.
    fn look(&self, seen: &mut BTreeMap<PathBuf, Version>) -> Vec<PathBuf> {
        let mut paths = self.paths();
        paths.retain(|path| {
            let Some(now) = modified(path) else {
                return false;
            };
            let before = seen.insert(path.clone(), now);
            before.is_some_and(|before| before != now)
        });
        paths
    }
}

/// Refuses a component that is for none of these platforms: the accounts and their credentials are
/// of one platform, and no other's component gets them.
///
/// # Errors
/// One line that says which it is for.
pub(super) fn check_platform(
    path: &Path,
    plugin: &Plugin,
    platforms: &[&str],
) -> Result<(), Failure> {
    if platforms.contains(&plugin.platform()) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "component {}: it is for the platform {:?}, and the accounts here are of {}: name the \
         component of that platform, or leave --component out",
        path.display(),
        plugin.platform(),
        platforms.join(" and ")
    )))
}

/// What differs after a change of a file.
type Version = (SystemTime, u64);

/// Waits until a file that is being written does not change any more.
async fn settled(path: &Path) {
    let mut before = modified(path);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = modified(path);
        if now == before {
            return;
        }
        before = now;
    }
}

async fn swap(gateway: &Gateway, path: &Path) {
    let plugin = match gateway.runtime().load(path).await {
        Ok(plugin) => plugin,
        Err(error) => {
            tracing::error!("the old component goes on: {error}");
            return;
        }
    };
    let current = gateway.plugin_of(plugin.platform());
    if current.is_some_and(|current| current.digest == plugin.digest) {
        tracing::info!("the component's file is the one that serves");
        return;
    }
    let path = path.display();
    match gateway.swap(&plugin, SWAP_DEADLINE).await {
        Ok(()) => {}
        Err(SwapError::Unconfirmed(why)) => tracing::error!(
            "the component {path} is not taken: {why}, by starting again or with POST \
             /component?allow-changes=true; `host-test check NEW --against OLD` shows all of it"
        ),
        Err(error) => tracing::error!("the component {path} is not taken: {error}"),
    }
}

fn modified(path: &Path) -> Option<Version> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}
