//! The components under the accounts: found and loaded, loaded again and swapped on SIGHUP, and where
//! that is wanted when a file changes.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use futures::future::select_all;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Failure, beside_the_binary, other};
use crate::cli::WECOM;
use crate::gateway::{Gateway, SWAP_DEADLINE};
use crate::runtime::{Plugin, Runtime};
use crate::watch::FileWatch;

/// The platform of the account that the `WEIXIN_` variables name, unless a component says otherwise.
const WEIXIN: &str = "weixin";
/// A file is loaded when it has not changed for so long.
const QUIET: Duration = Duration::from_millis(500);

/// The files of the components, by their platforms. One that was named says itself which one it is
/// for; those of the others are beside the binary.
pub struct Components {
    /// The platform of the account that the `WEIXIN_` variables name: that of the first file that was
    /// named and is not WeCom's.
    pub main: String,
    paths: watch::Sender<BTreeMap<String, PathBuf>>,
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
            paths: watch::channel(paths).0,
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
        self.paths.send_modify(|paths| {
            paths.insert(platform.to_owned(), path);
        });
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
        let mut paths = self.paths.subscribe();
        Ok(async move {
            let mut files: BTreeMap<String, (PathBuf, FileWatch)> = BTreeMap::new();
            loop {
                let known = paths.borrow_and_update().clone();
                if watch {
                    for (platform, path) in &known {
                        if !files.contains_key(platform) {
                            let file = (path.clone(), FileWatch::new(path));
                            files.insert(platform.clone(), file);
                            // It may have changed between when it was loaded and now.
                            swap(gateway, platform, path, false).await;
                        }
                    }
                }
                tokio::select! {
                    _ = hang_up.recv() => {
                        for (platform, path) in &known {
                            swap(gateway, platform, path, true).await;
                        }
                    }
                    (platform, path) = changed(&mut files) => {
                        swap(gateway, &platform, &path, true).await;
                    }
                    // This has the sender.
                    _ = paths.changed() => {}
                }
            }
        })
    }
}

/// Waits until one of the files has changed.
async fn changed(files: &mut BTreeMap<String, (PathBuf, FileWatch)>) -> (String, PathBuf) {
    if files.is_empty() {
        return std::future::pending().await;
    }
    let each = files.iter_mut().map(|(platform, (path, file))| {
        async {
            file.changed(QUIET).await;
            (platform.clone(), path.clone())
        }
        .boxed_local()
    });
    select_all(each).await.0
}

/// Swaps a component, unless its file is what serves already, which is told if that is wanted.
async fn swap(gateway: &Gateway, platform: &str, path: &Path, tells: bool) {
    let serves = gateway.plugin_of(platform).map(|plugin| plugin.digest);
    let plugin = match gateway.runtime().load_other(path, serves.as_deref()).await {
        Ok(Some(plugin)) => plugin,
        Ok(None) => {
            if tells {
                tracing::info!("the component's file is the one that serves");
            }
            return;
        }
        Err(error) => {
            tracing::error!("the old component goes on: {error}");
            return;
        }
    };
    if let Err(error) = gateway.swap(&plugin, SWAP_DEADLINE).await {
        tracing::error!("the component {} is not taken: {error}", path.display());
    }
}
