//! The programs that npm installed, and where the build keeps its results.

use std::path::PathBuf;
use std::process::Command;

/// Where Cargo puts what it builds: it says so to its build scripts and tests, not to what it runs.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || local_stack::repository().join("target"),
        |dir| local_stack::repository().join(dir),
    )
}

/// The optimizer of WebAssembly.
pub fn wasm_opt() -> Command {
    let mut command = Command::new("node");
    command.arg(npm_package("binaryen").join("bin/wasm-opt"));
    command
}

/// The bundler of JavaScript, for the hosts and browsers of our time.
pub fn esbuild() -> Command {
    let mut command = Command::new("node");
    command.arg(npm_package("esbuild").join("bin/esbuild")).args([
        "--bundle",
        "--target=es2022",
        "--log-level=warning",
    ]);
    command
}

fn npm_package(name: &str) -> PathBuf {
    local_stack::repository().join("node_modules").join(name)
}
