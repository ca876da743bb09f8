//! Builds the component and puts it beside the binary as `weixin.wasm`; with it the one that the tests
//! do harm with.
//!
//! A component is a crate of another target, so this runs a cargo of its own, with a target
//! directory of its own (two cargos can't share one). What is missing is installed, or named.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = host.parent().expect("the crate lies in the workspace");
    for input in ["src", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo::rerun-if-changed=tests/guests");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    // OUT_DIR is TARGET_DIR/PROFILE/build/PACKAGE/out.
    let profile = out.ancestors().nth(3).expect("OUT_DIR lies in a profile");
    let target = profile
        .parent()
        .expect("a profile lies in the target directory")
        .join("component");

    install_target();
    let cargo = env::var_os("CARGO").expect("cargo sets it");
    let mut build = Command::new(cargo);
    build
        .current_dir(root)
        .args(["build", "--package", "weixin", "--package", "hostile"])
        .args(["--lib", "--locked"])
        .args(["--profile", "component", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target);
    // What is meant for the host's build would break or change the component's.
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
    ] {
        build.env_remove(name);
    }
    let status = build.status().expect("cargo can be started");
    assert!(status.success(), "the component can't be built, see above");

    let built = |name| target.join(TARGET).join("component").join(name);
    println!(
        "cargo::rustc-env=HOSTILE={}",
        built("hostile.wasm").display()
    );
    let built = built("weixin.wasm");
    copy(&built, &profile.join("weixin.wasm"));
    copy(&built, &profile.join("examples").join("weixin.wasm"));
    println!("cargo::rustc-env=COMPONENT={}", built.display());
}

/// Installs the component's target where it is missing.
fn install_target() {
    let rustc = env::var_os("RUSTC").expect("cargo sets it");
    let installed = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .is_ok_and(|output| {
            let path = String::from_utf8_lossy(&output.stdout);
            Path::new(path.trim()).is_dir()
        });
    if installed {
        return;
    }
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .status()
        .is_ok_and(|status| status.success());
    assert!(
        added,
        "the Rust target {TARGET} is missing: install it with `rustup target add {TARGET}`"
    );
}

fn copy(from: &Path, to: &Path) {
    if let Some(folder) = to.parent() {
        // The copy says so if this fails.
        let _ = std::fs::create_dir_all(folder);
    }
    std::fs::copy(from, to)
        .unwrap_or_else(|error| panic!("{} can't be copied: {error}", from.display()));
}
