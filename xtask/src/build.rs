//! `cargo xtask build`: each function as one WebAssembly module and one JavaScript module for its host, and what they
//! weigh; the web client as one file.

mod app;
mod function;
mod inputs;
mod sizes;
mod tools;

use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{bail, Context, Result};

use function::TARGET;
pub use function::{Effort, Function, Host};
use inputs::Inputs;
pub use tools::{esbuild, target_dir};

use crate::setup::step;

/// What `cargo xtask build` takes.
#[derive(clap::Args)]
pub struct Args {
    /// What the functions are to run on.
    #[arg(long = "for", value_enum, default_value = "cloudflare")]
    pub host: Host,
    /// Build one function only.
    #[arg(long)]
    pub only: Option<String>,
}

/// Builds what has changed, prints the sizes.
///
/// # Errors
/// If something does not compile, or a function is too large.
pub fn run(args: &Args) -> Result<()> {
    let too_large = build(args.host, args.only.as_deref(), Effort::Full)?;
    if !too_large.is_empty() {
        bail!(too_large);
    }
    Ok(())
}

/// Builds what has changed of everything, prints the sizes. A function that is too large still runs here.
///
/// # Errors
/// If something does not compile.
pub fn everything(host: Host) -> Result<()> {
    let effort = Effort::from_env();
    let too_large = build(host, None, effort)?;
    if effort == Effort::Full && !too_large.is_empty() {
        println!("Too large to deploy: {too_large}.\n");
    }
    Ok(())
}

fn build(host: Host, only: Option<&str>, effort: Effort) -> Result<String> {
    let _alone = one_at_a_time()?;
    let functions = select(Function::all(host)?, only)?;
    let common = common_inputs(effort)?;
    let stale = filter(&functions, |function| function.has_module(&common))?;
    if !stale.is_empty() {
        compile(&stale, effort)?;
        let what = match effort {
            Effort::Full => format!("Shrinking {}", counted(stale.len())),
            Effort::Quick => format!("Making {}, for development only", counted(stale.len())),
        };
        step(&what, || {
            in_parallel(&stale, |function| {
                function.make_module(&common, effort)?;
                print!("{}, ", function.name());
                Ok(std::io::stdout().flush()?)
            })
        })?;
    }
    let stale = filter(&functions, Function::has_bundle)?;
    if !stale.is_empty() {
        let what = format!("Bundling {}", counted(stale.len()));
        step(&what, || in_parallel(&stale, Function::make_bundle))?;
    }
    if only.is_none() {
        app::build()?;
    }
    sizes::weigh(&functions)
}

/// Waits until no other build of this clone runs; two would write to the same files.
fn one_at_a_time() -> Result<File> {
    let dir = target_dir().join("edge");
    fs::create_dir_all(&dir)?;
    let file = File::create(dir.join("lock")).context("target/edge/lock")?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        println!("Waiting for another build to end…");
        file.lock().context("locking target/edge/lock")?;
    }
    Ok(file)
}

/// All functions, or the one of this name.
///
/// # Errors
/// If there is none of this name.
pub fn select(functions: Vec<Function>, only: Option<&str>) -> Result<Vec<Function>> {
    let Some(name) = only else {
        return Ok(functions);
    };
    let names: Vec<String> = functions.iter().map(|function| function.name().to_owned()).collect();
    let selected: Vec<_> = functions
        .into_iter()
        .filter(|function| function.name() == name)
        .collect();
    if selected.is_empty() {
        bail!("there is no function {name}: there are {}", names.join(", "));
    }
    Ok(selected)
}

fn counted(functions: usize) -> String {
    if functions == 1 {
        "one function".to_owned()
    } else {
        format!("{functions} functions")
    }
}

/// The functions that do not have what they should.
fn filter(functions: &[Function], has: impl Fn(&Function) -> Result<bool>) -> Result<Vec<&Function>> {
    let mut lacking = Vec::new();
    for function in functions {
        if !has(function)? {
            lacking.push(function);
        }
    }
    Ok(lacking)
}

fn compile(functions: &[&Function], effort: Effort) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(local_stack::repository())
        .args(["build", "--profile", effort.profile(), "--locked", "--target", TARGET])
        .arg("--config")
        .arg(format!("target.{TARGET}.rustflags={:?}", rust_flags()?))
        .arg("--target-dir")
        .arg(target_dir())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    for function in functions {
        command.args(["--package", function.name()]);
    }
    let mut child = command.spawn().context("running cargo")?;
    show_progress(child.stderr.take().context("cargo's messages")?)?;
    if !child.wait().context("running cargo")?.success() {
        bail!("the functions do not compile");
    }
    Ok(())
}

/// Shows one line that counts in place of a line for each crate, and everything else that the compiler says.
fn show_progress(messages: impl Read) -> Result<()> {
    let mut compiled = 0;
    print!("Compiling to WebAssembly…");
    std::io::stdout().flush()?;
    for line in BufReader::new(messages).lines() {
        let line = line?;
        match line.split_whitespace().next() {
            Some("Compiling") => {
                compiled += 1;
                if std::io::stdout().is_terminal() {
                    print!("\rCompiling to WebAssembly… {compiled} crates");
                    std::io::stdout().flush()?;
                }
            }
            Some("Finished" | "Blocking" | "Downloading" | "Downloaded" | "Locking" | "Updating") | None => {}
            Some(_) => eprintln!("{line}"),
        }
    }
    println!();
    Ok(())
}

/// The compact variants of the ciphers, which run once or twice a request; and no path of this machine in the module.
fn rust_flags() -> Result<Vec<String>> {
    let mut flags = Vec::new();
    for cfg in ["aes_backend", "sha2_backend"] {
        flags.push(format!("--cfg={cfg}=\"soft\""));
        flags.push(format!("--cfg={cfg}_soft=\"compact\""));
    }
    // Only what Cargo itself says: a guess that is wrong on the next run would compile everything again.
    if let Some(cargo_home) = std::env::var_os("CARGO_HOME") {
        let sources = Path::new(&cargo_home).join("registry/src");
        flags.push(format!("--remap-path-prefix={}=", sources.display()));
    }
    // The standard library's sources, where they are installed, by the name that its compiled parts already have for
    // them.
    let sysroot = rustc(&["--print", "sysroot"])?;
    let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    if let Some(commit) = rustc(&["-vV"])?
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
    {
        flags.push(format!("--remap-path-prefix={}=/rustc/{commit}", sources.display()));
    }
    Ok(flags)
}

/// What the compiler says about itself.
fn rustc(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc")
        .args(arguments)
        .output()
        .context("running rustc")?;
    if !output.status.success() {
        bail!(
            "rustc {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Does the work for each, with as many at a time as there are processors.
fn in_parallel(functions: &[&Function], work: impl Fn(&Function) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new(Ok(()));
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(functions.len()) {
            scope.spawn(|| {
                while let Some(function) = functions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(function) {
                        *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A hash of what every function's module is made from.
fn common_inputs(effort: Effort) -> Result<String> {
    let root = local_stack::repository();
    let mut inputs = Inputs::default();
    inputs.text(&rustc(&["-vV"])?);
    inputs.text(effort.profile());
    // This program's own way of building.
    inputs.text(include_str!("build.rs"));
    inputs.text(include_str!("build/function.rs"));
    for file in ["Cargo.toml", "Cargo.lock", "package-lock.json", "shared/Cargo.toml"] {
        inputs.file(&root.join(file))?;
    }
    inputs.folder(&root.join("shared/src"))?;
    Ok(inputs.finish())
}
