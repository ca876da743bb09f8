//! What an instance sees of the world: its imports, each as narrow as the contract says.
//!
//! HTTP goes through the account's [`Egress`]. The key-value store is the account's own, and the clock
//! is the host's. [`limits`] bounds each of them, and CPU and memory as well. What the host keeps for
//! the instance counts against the account's [`budget`]. Rust's std also imports arguments,
//! environment, files and standard streams: they exist and are empty. There are no sockets.
//! `docs/en/wasi-imports.md` goes through all imports, function by function.

mod background_pool;
pub mod bucket;
pub mod budget;
pub mod clocks;
pub mod config;
pub(crate) mod cpu;
mod cpu_budget;
mod held;
pub mod http;
mod http_types;
pub mod keyvalue;
pub mod limits;
mod log_volume;
pub mod logging;
pub(crate) mod memory;
pub(crate) mod offload;
pub mod requests;
pub mod tenant;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::http::HeaderMap;
use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings::wasi as generated;
use crate::clock::Clock;
use crate::egress::Egress;
use crate::state::State;
use budget::Charge;
use held::Held;
use memory::Growth;
use tenant::Tenant;

/// The most bytes that std may print before a panic. More of them trap.
const STDERR_BYTES: usize = 64 * 1024;

/// The host memory that every instance needs: standard error, tables, stack.
const INSTANCE_BYTES: usize = 128 * 1024;

/// Random bytes of one call.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// Instances of this process so far.
static INSTANCES: AtomicU64 = AtomicU64::new(0);

/// The data of one instance's store.
pub struct Sandbox {
    number: u64,
    tenant: Arc<Tenant>,
    config: Arc<BTreeMap<String, String>>,
    state: Arc<dyn State>,
    clock: Clock,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: http::Hooks,
    table: ResourceTable,
    stderr: MemoryOutputPipe,
    /// What the table takes of the host's memory.
    held: Held,
    /// What each instance takes, whatever it does.
    _own: Charge,
    /// Memory and tables.
    pub(crate) growth: Growth,
}

debug_by_name!(Sandbox);

impl Sandbox {
    /// The sandbox of an account.
    pub fn new(
        tenant: Arc<Tenant>,
        config: Arc<BTreeMap<String, String>>,
        state: Arc<dyn State>,
        egress: Egress,
        clock: Clock,
    ) -> Sandbox {
        let stderr = MemoryOutputPipe::new(STDERR_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(tenant.limits.handles);
        let held = Held::new(&tenant);
        Sandbox {
            number: INSTANCES.fetch_add(1, Ordering::Relaxed) + 1,
            growth: Growth::new(&tenant.limits),
            hooks: http::Hooks::new(egress, Arc::clone(&tenant), held.unseen()),
            held,
            _own: tenant.share.budget.note(INSTANCE_BYTES),
            tenant,
            config,
            state,
            clock,
            wasi: WasiCtx::builder()
                .stderr(stderr.clone())
                .max_random_size(MAX_RANDOM_BYTES)
                .build(),
            http: WasiHttpCtx::new(),
            table,
            stderr,
        }
    }

    /// Which instance of this process it is, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whose it is.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// Counts what the host puts into the table of its own accord.
    pub(crate) fn note(&self, fields: &HeaderMap) {
        let weight = held::weight_of_fields(fields);
        self.held.unseen().fetch_add(weight, Ordering::Relaxed);
    }

    /// What std printed: a panic's message.
    pub fn stderr(&self) -> MemoryOutputPipe {
        self.stderr.clone()
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// Everything that a component may import, and nothing else.
pub fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    http_types::add_to_linker(linker)?;
    wasmtime_wasi::p3::bindings::random::random::add_to_linker::<
        Sandbox,
        wasmtime_wasi::random::WasiRandom,
    >(linker, |sandbox| sandbox.wasi.random())?;
    type Own = HasSelf<Sandbox>;
    generated::clocks::types::add_to_linker::<Sandbox, Own>(linker, |sandbox| sandbox)?;
    generated::clocks::monotonic_clock::add_to_linker::<Sandbox, Own>(linker, |sandbox| sandbox)?;
    generated::clocks::system_clock::add_to_linker::<Sandbox, Own>(linker, |sandbox| sandbox)?;
    generated::keyvalue::store::add_to_linker::<Sandbox, Own>(linker, |sandbox| sandbox)?;
    generated::keyvalue::atomics::add_to_linker::<Sandbox, Own>(linker, |sandbox| sandbox)?;
    generated::config::store::add_to_linker::<Sandbox, Own>(linker, |sandbox| sandbox)?;
    generated::logging::logging::add_to_linker::<Sandbox, Own>(linker, |sandbox| sandbox)?;
    add_std_to_linker(linker)
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// What std of `wasm32-wasip2` imports on its own.
fn add_std_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    use wasmtime_wasi::cli::{WasiCli, WasiCliView};
    use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
    use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
    use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random};
    use wasmtime_wasi::random::WasiRandom;

    io::error::add_to_linker::<Sandbox, Table>(linker, |sandbox| &mut sandbox.table)?;
    io::poll::add_to_linker::<Sandbox, Table>(linker, |sandbox| &mut sandbox.table)?;
    io::streams::add_to_linker::<Sandbox, Table>(linker, |sandbox| &mut sandbox.table)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Sandbox::cli)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, Sandbox::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, Sandbox::clocks)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, Sandbox::filesystem)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, Sandbox::filesystem)?;
    random::random::add_to_linker::<_, WasiRandom>(linker, |sandbox| sandbox.wasi.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, |sandbox| sandbox.wasi.random())
}
