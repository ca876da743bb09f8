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

use super::error::{RunError, other};
use crate::cli::{WECOM, WEIXIN};
use gateway_host::account::SwapError;
use gateway_host::gateway::{Gateway, SWAP_DEADLINE};
use gateway_host::runtime::{LoadError, Plugin, Runtime};
use gateway_host::watch::FileWatch;

/// A file is loaded when it has not changed for so long.
const QUIET: Duration = Duration::from_millis(500);

/// The files of the components, by their platforms. One that was named says itself which one it is
/// for; those of the others are beside the binary.
pub struct Components {
    paths: watch::Sender<BTreeMap<String, PathBuf>>,
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
    ) -> Result<(Components, Vec<Plugin>), RunError> {
        let mut paths = BTreeMap::new();
        let mut plugins = Vec::new();
        for path in named {
            let plugin = load(runtime, &path, &[WEIXIN, WECOM]).await?;
            let platform = plugin.platform().to_owned();
            if paths.insert(platform.clone(), path).is_some() {
                return Err(RunError::Usage(format!(
                    "--component names two for the platform {platform}: leave one out"
                )));
            }
            plugins.push(plugin);
        }
        let components = Components {
            paths: watch::channel(paths).0,
        };
        Ok((components, plugins))
    }

    /// The gateway's component of a platform. It is given the one beside the binary where it has none.
    ///
    /// # Errors
    /// When it can't be used.
    pub async fn ensure(&self, gateway: &Gateway, platform: &str) -> Result<Plugin, RunError> {
        if let Some(plugin) = gateway.plugin(platform) {
            return Ok(plugin);
        }
        let path = beside_the_binary(platform)?;
        let plugin = load(gateway.runtime(), &path, &[platform]).await?;
        self.paths.send_modify(|paths| {
            paths.insert(platform.to_owned(), path);
        });
        gateway.install(plugin.clone());
        Ok(plugin)
    }

    /// Swaps until it is dropped. What does not fit is told in the log, and the old one goes on.
    ///
    /// # Errors
    /// When the signal can't be listened for.
    pub fn reload<'a>(
        &'a self,
        gateway: &'a Gateway,
        watch: bool,
    ) -> Result<impl Future<Output = ()> + 'a, RunError> {
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

/// The file of a platform's component, where nobody named another one.
pub fn beside_the_binary(platform: &str) -> Result<PathBuf, RunError> {
    let binary = std::env::current_exe().map_err(other)?;
    Ok(binary.with_file_name(format!("{platform}.wasm")))
}

/// Loads a component, and refuses one that is for none of these platforms: the accounts and their
/// credentials are of one platform, and no other's component gets them.
///
/// # Errors
/// One line that names the file, for the user to correct.
pub async fn load(runtime: &Runtime, path: &Path, platforms: &[&str]) -> Result<Plugin, RunError> {
    let plugin = runtime.load(path).await.map_err(|error| {
        let cure = match error {
            LoadError::Unreadable { .. } => ": name a component that can be read with --component",
            _ => "",
        };
        RunError::Usage(format!("{error}{cure}"))
    })?;
    if platforms.contains(&plugin.platform()) {
        return Ok(plugin);
    }
    Err(RunError::Usage(format!(
        "component {}: it is for the platform {:?}, and the accounts here are of {}: name the \
         component of that platform, or leave --component out",
        path.display(),
        plugin.platform(),
        platforms.join(" and ")
    )))
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
    let serves = gateway.plugin(platform).map(|plugin| plugin.digest());
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
