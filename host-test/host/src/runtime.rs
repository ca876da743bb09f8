//! One engine for all accounts, and the components that it may run.
//!
//! A component is compiled once; the compiled code is kept in the user's cache directory, so that a
//! start does not pay for it. A component that does not fit the contract is refused with a sentence
//! that says what it is and what this host runs.

mod allocation;
mod available_memory;
mod descriptor;
mod engine;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use crate::bindings::exports::gateway::channel::meta::Descriptor;
use crate::clock::Clock;
use crate::egress::client::HttpClient;
use crate::egress::credential::Secrets;
use crate::egress::pins::Pins;
use crate::egress::proxy::Proxies;
use crate::egress::{self, Egress};
use crate::exports::{Exports, ExportsPre};
use crate::listener::ListenerLimits;
use crate::media::origin::Origin;
use crate::media::server::MediaServer;
use crate::sandbox::cpu::{Meter, Metered, Ticker};
use crate::sandbox::limits::{Exceeded, Limits};
use crate::sandbox::offload;
use crate::sandbox::tenant::Tenant;
use crate::sandbox::{self, Sandbox};
use crate::state::memory::MemoryState;
use crate::text::{REASON_BYTES, one_line};

pub use allocation::Allocation;
pub(crate) use descriptor::captured_by_logins;
pub use descriptor::{capture_line, egress_line};
pub use engine::RuntimeOptions;

/// Turns off host backtraces in wasmtime's errors for the whole process, unless `RUST_LIB_BACKTRACE` asks
/// for them. Call it at the start of the process.
///
/// `RUST_BACKTRACE` is meant for panics. With it, each call that ends the wait of an instance would take
/// a backtrace as well, which costs a busy process much of its time. Backtraces inside a component stay.
pub fn no_backtraces_of_errors() {
    let asks = std::env::var_os("RUST_LIB_BACKTRACE");
    if asks.is_none_or(|asks| asks == "0") {
        wasmtime::error::disable_backtrace();
    }
}

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
    allocation: Allocation,
    /// `None` if nothing is interrupted.
    ticker: Option<Arc<Ticker>>,
    linker: Arc<Linker<Sandbox>>,
    limits: Limits,
    component_bytes: u64,
    /// The way out, pooled.
    pub client: HttpClient,
    /// Origins that the operator pins, by platform.
    pub pins: Pins,
    /// The time.
    pub clock: Clock,
    /// Swaps that may hand over at once.
    pub(crate) handovers: Arc<Semaphore>,
    media: Arc<tokio::sync::OnceCell<MediaServer>>,
    media_limits: ListenerLimits,
}

/// A component that fits the contract.
#[derive(Clone)]
pub struct Plugin {
    pre: ExportsPre,
    /// What it says of itself.
    pub descriptor: Arc<Descriptor>,
    /// SHA-256 of its file in hex.
    pub digest: Arc<str>,
    /// Names of what it imports.
    pub imports: Arc<[String]>,
    /// Whether it exports an HTTP handler, for a platform that calls back.
    pub has_handler: bool,
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
    #[error("component {}: it does not describe itself as it must ({reason})", .path.display())]
    Undescribed { path: PathBuf, reason: String },
}

impl Runtime {
    /// A runtime that keeps compiled code in the user's cache directory, if there is one, and connects to
    /// every server directly.
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
        let options = RuntimeOptions {
            proxies,
            ..RuntimeOptions::default()
        };
        Runtime::with_options(clock, options)
    }

    /// The same, with everything that can be chosen.
    ///
    /// # Errors
    /// When this machine can't run WebAssembly, or gives no memory for it.
    pub fn with_options(clock: Clock, options: RuntimeOptions) -> wasmtime::Result<Runtime> {
        if !options.proxies.is_none() {
            tracing::info!("proxies: {}", options.proxies);
        }
        if let Some(warning) = options.proxies.warning() {
            tracing::warn!("{warning}");
        }
        let (engine, allocation) = engine::engine(&options)?;
        let ticker = match options.interruption {
            true => Some(Arc::new(Ticker::start(&engine)?)),
            false => None,
        };
        let mut linker = Linker::new(&engine);
        sandbox::add_to_linker(&mut linker)?;
        Ok(Runtime {
            engine,
            allocation,
            ticker,
            linker: Arc::new(linker),
            limits: options.limits,
            component_bytes: options.component_bytes,
            client: HttpClient::with_proxies(options.proxies),
            pins: options.pins,
            clock,
            handovers: Arc::new(Semaphore::new(
                2 * std::thread::available_parallelism().map_or(1, usize::from),
            )),
            media: Arc::default(),
            media_limits: options.media,
        })
    }

    /// The same runtime, with other limits for the accounts that are started with it. The pool keeps
    /// its numbers of memories and tables, and the size of these.
    pub fn limited(&self, limits: Limits) -> Runtime {
        Runtime {
            limits,
            ..self.clone()
        }
    }

    /// What each account may take.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The server of media for agents, started when it is first needed.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn media_server(&self) -> std::io::Result<&MediaServer> {
        let start = || MediaServer::start(self.clock.clone(), self.media_limits.clone());
        self.media.get_or_try_init(start).await
    }

    /// The origin of the URLs of media, if the agent was given any.
    pub(crate) fn media_origin(&self) -> Option<Origin> {
        self.media.get().and_then(MediaServer::origin)
    }

    /// Loads, compiles and checks a component.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub async fn load(&self, path: &Path) -> Result<Plugin, LoadError> {
        let bytes = self.read(path).await?;
        self.load_bytes(path, bytes).await
    }

    /// The same. Returns `None` if the content of the file has this digest.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub async fn load_other(
        &self,
        path: &Path,
        digest: Option<&str>,
    ) -> Result<Option<Plugin>, LoadError> {
        let bytes = self.read(path).await?;
        if digest == Some(&*digest_of(&bytes)) {
            return Ok(None);
        }
        self.load_bytes(path, bytes).await.map(Some)
    }

    async fn read(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        if let Ok(data) = tokio::fs::metadata(path).await {
            self.check_size(path, data.len())?;
        }
        let bytes = tokio::fs::read(path).await;
        bytes.map_err(|error| LoadError::Unreadable {
            path: path.to_owned(),
            reason: match error.kind() {
                ErrorKind::IsADirectory => "it is a directory: name the .wasm file".to_owned(),
                ErrorKind::NotFound => "there is no such file".to_owned(),
                _ => format!("it can't be read: {error}"),
            },
        })
    }

    /// The same for what is in memory; `path` is its name.
    ///
    /// # Errors
    /// One sentence that has the name.
    pub async fn load_bytes(&self, path: &Path, bytes: Vec<u8>) -> Result<Plugin, LoadError> {
        let path_buf = || path.to_owned();
        self.check_size(path, u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        if let Some(what) = something_else(&bytes) {
            return Err(LoadError::SomethingElse {
                path: path_buf(),
                what,
            });
        }
        let digest = digest_of(&bytes);
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
        let pre = ExportsPre::new(pre).map_err(|error| LoadError::Incomplete {
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
        descriptor::check(&descriptor).map_err(|reason| LoadError::Undescribed {
            path: path_buf(),
            reason,
        })?;
        Ok(Plugin {
            has_handler: pre.has_handler(),
            pre,
            descriptor: Arc::new(descriptor),
            digest: digest.into(),
            imports,
        })
    }

    /// Refuses a component that is too large to be compiled.
    fn check_size(&self, path: &Path, bytes: u64) -> Result<(), LoadError> {
        let most = self.component_bytes;
        if bytes <= most {
            return Ok(());
        }
        Err(LoadError::Unreadable {
            path: path.to_owned(),
            reason: format!("it has more than {most} bytes (`RuntimeOptions::component_bytes`)"),
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
    async fn describe(&self, pre: &ExportsPre) -> wasmtime::Result<Descriptor> {
        let egress = Egress::new(
            self.client.clone(),
            Vec::new(),
            Secrets::default(),
            egress::Limits::default(),
            self.clock.clone(),
        );
        let tenant = Tenant::new("".into(), self.limits.clone());
        let egress = egress.within(Arc::clone(&tenant.share));
        let sandbox = Sandbox::new(
            Arc::clone(&tenant),
            Arc::default(),
            Arc::new(MemoryState::default()),
            egress,
            self.clock.clone(),
        );
        let Started {
            mut store,
            exports: Exports { channel, .. },
            meter,
        } = self.instantiate(pre, sandbox).await?;
        let metering = meter.clone();
        let describing = offload::run(metering, async move {
            let describing = store.run_concurrent(async |accessor| {
                channel.gateway_channel_meta().call_describe(accessor).await
            });
            metered(meter, &tenant, describing).await
        });
        let limit = self.limits.calls.describe;
        match within(limit, describing).await {
            Some(described) => described?,
            None => Err(Exceeded::call("calls.describe", "it takes longer", limit).into()),
        }
    }

    async fn instantiate(&self, pre: &ExportsPre, sandbox: Sandbox) -> wasmtime::Result<Started> {
        let tenant = Arc::clone(sandbox.tenant());
        let limits = &tenant.limits;
        let mut store = Store::new(&self.engine, sandbox);
        store.limiter(|sandbox| &mut sandbox.growth);
        store.set_hostcall_fuel(limits.call_bytes);
        store.set_max_component_handles(limits.handles);
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(limits.tasks);
        }
        let meter = self
            .ticker
            .as_ref()
            .map(|ticker| Meter::new(Arc::clone(ticker), limits));
        if let Some(meter) = meter.clone() {
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(move |_| meter.at_tick());
        }
        let (metering, pre) = (meter.clone(), pre.clone());
        let limit = limits.calls.instantiate;
        let instantiating = offload::run(meter, async move {
            let instantiating = pre.instantiate_async(&mut store);
            let exports = metered(metering.clone(), &tenant, instantiating).await?;
            Ok::<_, wasmtime::Error>(Started {
                store,
                exports,
                meter: metering,
            })
        });
        match within(limit, instantiating).await {
            Some(Ok(started)) => Ok(started),
            Some(Err(error)) => Err(
                match available_memory::out_of_memory(&error, self.allocation) {
                    Some(why) => wasmtime::Error::msg(why),
                    None => error,
                },
            ),
            None => {
                let what = "its instantiation takes longer";
                Err(Exceeded::call("calls.instantiate", what, limit).into())
            }
        }
    }
}

/// A new instance.
pub(crate) struct Started {
    pub store: Store<Sandbox>,
    pub exports: Exports,
    /// None: its CPU time is not bounded.
    pub meter: Option<Arc<Meter>>,
}

/// The same future within the account's share of the CPU.
pub(crate) async fn metered<T>(
    meter: Option<Arc<Meter>>,
    tenant: &Arc<Tenant>,
    future: impl Future<Output = T>,
) -> T {
    match meter {
        Some(meter) => Metered::new(meter, Arc::clone(tenant), future).await,
        None => future.await,
    }
}

/// The result, unless it takes longer. Real time: the machine's time is what is limited.
async fn within<T>(limit: Duration, future: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok().flatten()
}

impl Plugin {
    /// The platform that it is for.
    pub fn platform(&self) -> &str {
        &self.descriptor.platform
    }

    /// Names of the interfaces that it exports.
    pub fn exports(&self) -> Vec<String> {
        let component = self.pre.component();
        let exports = component.component_type();
        let exports = exports.exports(component.engine());
        exports.map(|(name, _)| name.to_owned()).collect()
    }

    /// Asks a new instance for the description.
    pub async fn describe(&self, runtime: &Runtime) -> wasmtime::Result<Descriptor> {
        runtime.describe(&self.pre).await
    }

    /// A new instance in its sandbox.
    pub(crate) async fn instantiate(
        &self,
        runtime: &Runtime,
        sandbox: Sandbox,
    ) -> wasmtime::Result<Started> {
        runtime.instantiate(&self.pre, sandbox).await
    }
}

fn digest_of(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

/// Says what a file is that is no component.
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
    one_line(text.lines().next().unwrap_or_default(), REASON_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the test below runs as a process of its own: it is for the whole process.
    #[test]
    #[ignore = "a part of the next one"]
    fn prints_an_error() {
        no_backtraces_of_errors();
        println!("{:?}", wasmtime::Error::msg("an error"));
    }

    #[test]
    fn errors_take_a_backtrace_only_where_it_is_asked_for() {
        for (variables, expected) in [
            (&[("RUST_BACKTRACE", "1")] as &[(&str, &str)], false),
            (&[("RUST_BACKTRACE", "full")], false),
            (&[], false),
            (
                &[("RUST_LIB_BACKTRACE", "0"), ("RUST_BACKTRACE", "1")],
                false,
            ),
            (&[("RUST_LIB_BACKTRACE", "1")], true),
            (
                &[("RUST_LIB_BACKTRACE", "1"), ("RUST_BACKTRACE", "0")],
                true,
            ),
        ] {
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--ignored", "--nocapture"])
                .arg("runtime::tests::prints_an_error")
                .env_remove("RUST_BACKTRACE")
                .env_remove("RUST_LIB_BACKTRACE")
                .envs(variables.iter().copied())
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("an error"), "{text}");
            let has = text.contains("backtrace:");
            assert_eq!(has, expected, "{variables:?}: {text}");
        }
    }
}
