//! The components under the accounts: found and loaded, loaded again and swapped on SIGHUP, and where
//! that is wanted when a file changes.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, beside_the_binary, other};
use crate::cli::WECOM;
use crate::gateway::{Gateway, SWAP_DEADLINE};
use crate::runtime::{Plugin, Runtime};

/// The platform of the account that the `WEIXIN_` variables name, unless a component says otherwise.
const WEIXIN: &str = "weixin";
/// How often it is looked at the file.
const LOOK: Duration = Duration::from_millis(500);

/// The files of the components, by their platforms. One that was named says itself which one it is
/// for; those of the others are beside the binary.
pub struct Components {
    /// The platform of the account that the `WEIXIN_` variables name: that of the first file that was
    /// named and is not WeCom's.
    pub main: String,
    paths: Mutex<BTreeMap<String, PathBuf>>,
}

impl Components {
    /// Loads what was named.
    ///
    /// # Errors
    /// When one can't be used, and when two are for one platform.
    pub async fn load(
        runtime: &Runtime,
        named: Vec<PathBuf>,
    ) -> Result<(Components, Vec<Plugin>), Failure> {
        let mut paths = BTreeMap::new();
        let mut plugins = Vec::new();
        for path in named {
            let plugin = runtime.load(&path).await.map_err(other)?;
            let platform = plugin.platform().to_owned();
            if paths.insert(platform.clone(), path).is_some() {
                return Err(Failure::Usage(format!(
                    "--component names two for the platform {platform}: leave one out"
                )));
            }
            plugins.push(plugin);
        }
        let mut platforms = plugins.iter().map(Plugin::platform);
        let main = platforms.find(|platform| *platform != WECOM);
        let components = Components {
            main: main.unwrap_or(WEIXIN).to_owned(),
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
        if plugin.platform() != platform {
            return Err(Failure::Other(format!(
                "component {}: it is for the platform {}, not {platform}",
                path.display(),
                plugin.platform()
            )));
        }
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.insert(platform.to_owned(), path);
        Ok(plugin)
    }

    /// Gives the gateway the component of a platform, where it has none.
    ///
    /// # Errors
    /// When it can't be used.
    pub async fn ensure(&self, gateway: &Gateway, platform: &str) -> Result<(), Failure> {
        if gateway.plugin_of(platform).is_none() {
            gateway.install(self.find(gateway.runtime(), platform).await?);
        }
        Ok(())
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
    if let Err(error) = gateway.swap(&plugin, SWAP_DEADLINE).await {
        tracing::error!("the component {} is not taken: {error}", path.display());
    }
}

fn modified(path: &Path) -> Option<Version> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}
