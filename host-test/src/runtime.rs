//! One engine for all accounts, and the components that it may run.
//!
//! A component is compiled once; the compiled code is kept in the user's cache directory, so that a
//! start does not pay for it. A component that does not fit the contract is refused with a sentence
//! that says what it is and what this host runs.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};
use wasmtime::{Cache, Config, Engine, Store};

use crate::bindings::exports::gateway::channel::meta::Descriptor;
use crate::bindings::{Channel, ChannelPre};
use crate::clock::Clock;
use crate::egress::client::HttpClient;
use crate::egress::credential::Secrets;
use crate::egress::proxy::Proxies;
use crate::egress::{Egress, Limits};
use crate::media::server::MediaServer;
use crate::sandbox::{self, Sandbox};
use crate::state::memory::MemoryState;

/// The package whose worlds this host runs.
pub const PACKAGE: &str = "gateway:channel";
/// Its version.
pub const PACKAGE_VERSION: &str = "0.1.0";
/// An interface that every channel exports.
const MARK: &str = "lifecycle";

/// What all accounts of a process share.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    linker: Arc<Linker<Sandbox>>,
    /// The way out, pooled.
    pub client: HttpClient,
    /// The time.
    pub clock: Clock,
    media: Arc<tokio::sync::OnceCell<MediaServer>>,
}

/// A component that fits the contract.
#[derive(Clone)]
pub struct Plugin {
    pre: ChannelPre<Sandbox>,
    /// What it says of itself.
    pub descriptor: Arc<Descriptor>,
    /// SHA-256 of its file in hex.
    pub digest: Arc<str>,
    /// Names of what it imports.
    pub imports: Arc<[String]>,
}

/// Why a component can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("component {}: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// It is something else, by its first bytes.
    #[error("component {}: it is no WebAssembly component, {what}", .path.display())]
    SomethingElse { path: PathBuf, what: &'static str },
    /// It is broken, or uses what wasmtime can't compile.
    #[error("component {}: it is no WebAssembly component that this host can compile: it is cut off, broken or newer than this host ({reason})", .path.display())]
    NotAComponent { path: PathBuf, reason: String },
    /// It belongs to another world.
    #[error(
        "component {}: it exports {found}, this host runs {PACKAGE}@{PACKAGE_VERSION}: use a \
         component or a host of the same version", .path.display()
    )]
    WrongWorld { path: PathBuf, found: String },
    /// It asks for something that this host does not give.
    #[error("component {}: it imports what this host does not give ({reason})", .path.display())]
    Unlinkable { path: PathBuf, reason: String },
    /// It has not all that a channel has.
    #[error(
        "component {}: it lacks an export of {PACKAGE}@{PACKAGE_VERSION}, or has it in another \
         shape ({reason})", .path.display()
    )]
    Incomplete { path: PathBuf, reason: String },
    /// It failed to describe itself.
    #[error("component {}: it failed to describe itself ({reason})", .path.display())]
    Undescribed { path: PathBuf, reason: String },
}

impl Runtime {
    /// A runtime that keeps compiled code in the user's cache directory, where there is one, and
    /// goes direct to every server.
    ///
    /// # Errors
    /// When this machine can't run WebAssembly.
    pub fn new(clock: Clock) -> wasmtime::Result<Runtime> {
        Runtime::with_proxies(clock, Proxies::none())
    }

    /// The same, with proxies on the way to the platform's servers.
    ///
    /// # Errors
    /// When this machine can't run WebAssembly.
    pub fn with_proxies(clock: Clock, proxies: Proxies) -> wasmtime::Result<Runtime> {
        if !proxies.is_none() {
            tracing::info!("proxies: {proxies}");
        }
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        match Cache::from_file(None) {
            Ok(cache) => {
                config.cache(Some(cache));
            }
            Err(error) => tracing::warn!(
                "compiled components are not kept, so each start compiles: {error:#}"
            ),
        }
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        sandbox::add_to_linker(&mut linker)?;
        Ok(Runtime {
            engine,
            linker: Arc::new(linker),
            client: HttpClient::with_proxies(proxies),
            clock,
            media: Arc::default(),
        })
    }

    /// The server of media for agents, started when it is first needed.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn media_server(&self) -> std::io::Result<&MediaServer> {
        let start = || MediaServer::start(self.clock.clone());
        self.media.get_or_try_init(start).await
    }

    /// Loads, compiles and checks a component.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub async fn load(&self, path: &Path) -> Result<Plugin, LoadError> {
        let path_buf = || path.to_owned();
        let bytes = tokio::fs::read(path)
            .await
            .map_err(|error| LoadError::Unreadable {
                path: path_buf(),
                reason: match error.kind() {
                    ErrorKind::IsADirectory => "it is a directory: name the .wasm file".to_owned(),
                    ErrorKind::NotFound => "there is no such file".to_owned(),
                    _ => format!("it can't be read: {error}"),
                },
            })?;
        if let Some(what) = something_else(&bytes) {
            return Err(LoadError::SomethingElse {
                path: path_buf(),
                what,
            });
        }
        let digest = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        let engine = self.engine.clone();
        let compiled = tokio::task::spawn_blocking(move || Component::new(&engine, &bytes))
            .await
            .map_err(|error| error.to_string())
            .and_then(|component| component.map_err(|error| innermost(&error)));
        let component = compiled.map_err(|reason| LoadError::NotAComponent {
            path: path_buf(),
            reason,
        })?;
        self.check_world(&component)
            .map_err(|found| LoadError::WrongWorld {
                path: path_buf(),
                found,
            })?;
        let imports = component
            .component_type()
            .imports(&self.engine)
            .map(|(name, _)| name.to_owned())
            .collect();
        let pre =
            self.linker
                .instantiate_pre(&component)
                .map_err(|error| LoadError::Unlinkable {
                    path: path_buf(),
                    reason: innermost(&error),
                })?;
        let pre = ChannelPre::new(pre).map_err(|error| LoadError::Incomplete {
            path: path_buf(),
            reason: innermost(&error),
        })?;
        let descriptor = self
            .describe(&pre)
            .await
            .map_err(|error| LoadError::Undescribed {
                path: path_buf(),
                reason: innermost(&error),
            })?;
        Ok(Plugin {
            pre,
            descriptor: Arc::new(descriptor),
            digest: digest.into(),
            imports,
        })
    }

    /// What the component exports instead, where its world is not this host's.
    fn check_world(&self, component: &Component) -> Result<(), String> {
        let ty = component.component_type();
        let exports: Vec<&str> = ty
            .exports(&self.engine)
            .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
            .map(|(name, _)| name)
            .collect();
        let wanted = format!("{PACKAGE}/{MARK}@{PACKAGE_VERSION}");
        if exports.contains(&wanted.as_str()) {
            return Ok(());
        }
        let version = exports
            .iter()
            .filter_map(|name| name.strip_prefix(&format!("{PACKAGE}/")))
            .find_map(|name| name.split_once('@'))
            .map(|(_, version)| version);
        Err(match (version, exports.as_slice()) {
            (Some(version), _) => format!("{PACKAGE}@{version}"),
            (None, []) => "no interface".to_owned(),
            (None, exports) => {
                let shown: Vec<&str> = exports.iter().take(3).copied().collect();
                format!("{} and no {PACKAGE}", shown.join(", "))
            }
        })
    }

    /// Asks a component for its description, in a sandbox that reaches nothing.
    async fn describe(&self, pre: &ChannelPre<Sandbox>) -> wasmtime::Result<Descriptor> {
        let egress = Egress::new(
            self.client.clone(),
            Vec::new(),
            Secrets::default(),
            Limits::default(),
            self.clock.clone(),
        );
        let sandbox = Sandbox::new(
            "".into(),
            Arc::default(),
            Arc::new(MemoryState::default()),
            egress,
            self.clock.clone(),
        );
        let (mut store, channel) = self.instantiate(pre, sandbox).await?;
        store
            .run_concurrent(async |accessor| {
                channel.gateway_channel_meta().call_describe(accessor).await
            })
            .await?
    }

    async fn instantiate(
        &self,
        pre: &ChannelPre<Sandbox>,
        sandbox: Sandbox,
    ) -> wasmtime::Result<(Store<Sandbox>, Channel)> {
        let mut store = Store::new(&self.engine, sandbox);
        store.limiter(|sandbox| &mut sandbox.limits);
        let channel = pre.instantiate_async(&mut store).await?;
        Ok((store, channel))
    }
}

impl Plugin {
    /// Names of the interfaces that it exports.
    pub fn exports(&self) -> Vec<String> {
        let component = self.pre.instance_pre().component();
        let exports = component.component_type();
        let exports = exports.exports(component.engine());
        exports.map(|(name, _)| name.to_owned()).collect()
    }

    /// Asks a new instance for the description.
    pub(crate) async fn describe(&self, runtime: &Runtime) -> wasmtime::Result<Descriptor> {
        runtime.describe(&self.pre).await
    }

    /// A new instance in its sandbox.
    pub(crate) async fn instantiate(
        &self,
        runtime: &Runtime,
        sandbox: Sandbox,
    ) -> wasmtime::Result<(Store<Sandbox>, Channel)> {
        runtime.instantiate(&self.pre, sandbox).await
    }
}

/// What a file is that is no component, in the words of who made it.
fn something_else(bytes: &[u8]) -> Option<&'static str> {
    // A binary's magic number is followed by a version and a layer: 1 and 0 is a module, and a layer
    // of 1 a component.
    match bytes {
        [] => Some("it is empty"),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Some(
            "it is a core module: build it for the target wasm32-wasip2, or make it a component \
             with `wasm-tools component new`",
        ),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => None,
        [b'\0', b'a', b's', b'm', ..] => {
            Some("it is cut off, or of a WebAssembly that this host does not know")
        }
        [0x7f, b'E', b'L', b'F', ..] => Some("it is a program or library of a machine"),
        text if std::str::from_utf8(text).is_ok() => Some(
            "it is text: a component is binary, `wasm-tools parse` makes one of its text format",
        ),
        _ => Some("its first bytes are of another kind of file"),
    }
}

/// The cause in one line.
pub(crate) fn innermost(error: &wasmtime::Error) -> String {
    let text = error.root_cause().to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
