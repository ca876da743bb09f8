//! The examples of the component's crate, which measure one thing each: built with the component's
//! profile, and run natively or in the sandbox.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::Command as Program;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

const SANDBOX: &str = "wasm32-wasip2";

struct Host(WasiCtx, ResourceTable);

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.0,
            table: &mut self.1,
        }
    }
}

/// The numbers that an example prints in the sandbox.
pub async fn in_the_sandbox(example: &str) -> Vec<f64> {
    let program = built(example, Some(SANDBOX)).with_extension("wasm");
    let engine = Engine::default();
    let program = Component::from_file(&engine, program).expect("a component");
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
    let out = MemoryOutputPipe::new(1024);
    let wasi = WasiCtx::builder().stdout(out.clone()).build();
    let mut store = Store::new(&engine, Host(wasi, ResourceTable::new()));
    let program = Program::instantiate_async(&mut store, &program, &linker).await;
    let run = program
        .expect("it fits")
        .wasi_cli_run()
        .call_run(&mut store)
        .await;
    run.expect("it runs").expect("it succeeds");
    numbers(&out.contents())
}

/// The numbers that an example prints on the machine itself.
#[allow(
    dead_code,
    reason = "each bench has this module, and not all compare both"
)]
pub fn natively(example: &str) -> Vec<f64> {
    let output = Command::new(built(example, None)).output();
    numbers(&output.expect("it runs").stdout)
}

fn numbers(printed: &[u8]) -> Vec<f64> {
    let text = String::from_utf8_lossy(printed);
    let numbers = text.split_whitespace();
    numbers
        .map(|figure| figure.parse().expect("a figure"))
        .collect()
}

/// Builds an example and says where it is, without the extension.
fn built(example: &str, target: Option<&str>) -> PathBuf {
    // The component lies in TARGET_DIR/PROFILE, and its own build beside that.
    let component = Path::new(env!("COMPONENT"));
    let folder = component.ancestors().nth(2).expect("TARGET_DIR/PROFILE");
    let mut folder = folder.join("component");
    let mut build = Command::new(env!("CARGO"));
    build
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["build", "--package", "weixin", "--locked"])
        .args(["--example", example, "--profile", "component"])
        .arg("--target-dir")
        .arg(&folder)
        .env_remove("RUSTFLAGS")
        .stderr(Stdio::null());
    if let Some(target) = target {
        build.args(["--target", target]);
        folder.push(target);
    }
    assert!(
        build.status().is_ok_and(|status| status.success()),
        "the example {example} can't be built"
    );
    folder.join("component").join("examples").join(example)
}
