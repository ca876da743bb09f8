//! Builds the components and puts them beside the binary as `weixin.wasm` and `wecom.wasm`. With them it
//! builds those that only the tests load: the hostile one, and the example `telegram`.
//!
//! They are crates of another target, so this runs a cargo of its own, with a target directory of its
//! own (two cargos can't share one); each build finds the dependencies of those before. What is missing
//! is installed, or named.

#![allow(clippy::panic, reason = "a build that fails ends so")]

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
    let example = root.join("examples/telegram");
    println!("cargo::rerun-if-changed={}", example.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    // OUT_DIR is TARGET_DIR/PROFILE/build/PACKAGE/out.
    let profile = out.ancestors().nth(3).expect("OUT_DIR lies in a profile");
    let target = profile
        .parent()
        .expect("a profile lies in the target directory")
        .join("component");

    install_target();
    let hostile = build(root, &target, "hostile");
    println!("cargo::rustc-env=HOSTILE={}", hostile.display());
    let example = build(root, &target, "telegram");
    println!("cargo::rustc-env=TELEGRAM={}", example.display());
    for platform in ["wecom", "weixin"] {
        let built = build(root, &target, platform);
        let kept = profile.join(format!("{platform}.wasm"));
        copy(&built, &kept);
        copy(
            &built,
            &profile.join("examples").join(format!("{platform}.wasm")),
        );
        let variable = match platform {
            "weixin" => "COMPONENT".to_owned(),
            other => format!("COMPONENT_{}", other.to_ascii_uppercase()),
        };
        println!("cargo::rustc-env={variable}={}", kept.display());
    }
}

/// Builds the component of a package, and returns where it is.
fn build(root: &Path, target: &Path, package: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").expect("cargo sets it");
    let mut build = Command::new(cargo);
    build
        .current_dir(root)
        .args(["build", "--package", package, "--lib", "--locked"])
        .args(["--profile", "component", "--target", TARGET])
        .arg("--target-dir")
        .arg(target);
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
    assert!(
        status.success(),
        "the component {package} can't be built, see above"
    );
    target
        .join(TARGET)
        .join("component")
        .join(format!("{package}.wasm"))
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
