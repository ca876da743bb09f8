//! What an instance sees of the world: its imports, each as narrow as the contract says.
//!
//! HTTP goes through the account's [`Egress`], the key-value store is the account's own, the clock
//! is the host's. What std imports besides (arguments, environment, files, standard streams) is
//! there and empty; there are no sockets.

pub mod clocks;
pub mod config;
pub mod http;
pub mod keyvalue;
pub mod logging;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::ResourceLimiter;
use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings::wasi as generated;
use crate::clock::Clock;
use crate::egress::Egress;
use crate::state::State;

/// What std may print before a panic; more traps.
const STDERR_BYTES: usize = 64 * 1024;
/// Linear memory of an instance.
pub(crate) const MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// Elements of a table of an instance.
const TABLE_ELEMENTS: usize = 100_000;

/// The data of one instance's store.
pub struct Sandbox {
    account: Arc<str>,
    config: Arc<BTreeMap<String, String>>,
    state: Arc<dyn State>,
    clock: Clock,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: http::Hooks,
    table: ResourceTable,
    stderr: MemoryOutputPipe,
    /// Limits of memory and tables.
    pub limits: Limits,
}

/// What an instance may take, and what it has taken.
#[derive(Default)]
pub struct Limits {
    memory: Arc<AtomicUsize>,
}

impl Limits {
    /// Bytes of linear memory, as they grow.
    pub fn memory(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.memory)
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > MEMORY_BYTES {
            wasmtime::bail!("more than {MEMORY_BYTES} bytes of linear memory");
        }
        self.memory.fetch_max(desired, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

impl Sandbox {
    /// The sandbox of `account`.
    pub fn new(
        account: Arc<str>,
        config: Arc<BTreeMap<String, String>>,
        state: Arc<dyn State>,
        egress: Egress,
        clock: Clock,
    ) -> Sandbox {
        let stderr = MemoryOutputPipe::new(STDERR_BYTES);
        Sandbox {
            account,
            config,
            state,
            clock,
            wasi: WasiCtx::builder().stderr(stderr.clone()).build(),
            http: WasiHttpCtx::new(),
            hooks: http::Hooks::new(egress),
            table: ResourceTable::new(),
            stderr,
            limits: Limits::default(),
        }
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
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
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
