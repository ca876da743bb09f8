//! One engine for all accounts, and the components that it may run.
//!
//! A component is compiled once; the compiled code is kept in the user's cache directory, so that a
//! start does not pay for it. A component that does not fit the contract is refused with a sentence
//! that says what it is and what this host runs.

mod allocation;
mod available_memory;
mod descriptor;
mod engine;
mod loading;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Engine, Store};

use crate::bindings::exports::gateway::channel::meta::Descriptor;
use crate::clock::Clock;
use crate::egress::client::HttpClient;
use crate::egress::pins::Pins;
use crate::egress::proxy::Proxies;
use crate::exports::{Exports, ExportsPre};
use crate::listener::ListenerLimits;
use crate::media::origin::Origin;
use crate::media::server::MediaServer;
use crate::sandbox::cpu::{Meter, Metered, Ticker};
use crate::sandbox::limits::{Exceeded, Limits};
use crate::sandbox::offload;
use crate::sandbox::tenant::Tenant;
use crate::sandbox::{self, Sandbox};
use crate::text::{REASON_BYTES, one_line};

pub use allocation::Allocation;
pub(crate) use descriptor::captured_by_logins;
pub use descriptor::{capture_line, egress_line};
pub use engine::RuntimeOptions;
pub use loading::LoadError;

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

debug_by_name!(Runtime);

/// A component that fits the contract.
#[derive(Clone)]
pub struct Plugin {
    pre: ExportsPre,
    descriptor: Arc<Descriptor>,
    digest: Arc<str>,
    imports: Arc<[String]>,
    has_handler: bool,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("platform", &self.descriptor.platform)
            .field("version", &self.descriptor.version)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
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

    /// What it says of itself. Its rules are the policy of what it reaches, so nobody changes them.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// SHA-256 of its file in hex.
    pub fn digest(&self) -> Arc<str> {
        Arc::clone(&self.digest)
    }

    /// Names of what it imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Whether it exports an HTTP handler, for a platform that calls back.
    pub fn has_handler(&self) -> bool {
        self.has_handler
    }

    /// Names of the interfaces that it exports.
    pub fn exports(&self) -> Vec<String> {
        let component = self.pre.component();
        let exports = component.component_type();
        let exports = exports.exports(component.engine());
        exports.map(|(name, _)| name.to_owned()).collect()
    }

    /// Asks a new instance for the description.
    ///
    /// # Errors
    /// When it fails to give one.
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
