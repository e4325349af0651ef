//! `cargo xtask build`: each function as one WebAssembly module and one JavaScript module, and what they weigh.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{bail, Context, Result};
use flate2::{write::GzEncoder, Compression};
use sha2::{Digest, Sha256};
use wasm_bindgen_cli_support::Bindgen;

use crate::setup::{run_quietly, step};

const TARGET: &str = "wasm32-unknown-unknown";

/// What one function may weigh: WebAssembly and JavaScript, each compressed.
const LIMIT_KB: f64 = 200.0;

/// What the workers' hosts all run. More would go in with `-all`, such as multiple memories, which they do not.
const WASM_FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// What `cargo xtask build` takes.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Build one function only.
    #[arg(long)]
    only: Option<String>,
}

/// Builds what has changed, prints the sizes.
///
/// # Errors
/// If something does not compile, or a function is too large.
pub fn run(args: &Args) -> Result<()> {
    let all = Function::all()?;
    let functions: Vec<Function> = match &args.only {
        Some(name) => all.into_iter().filter(|function| function.name == *name).collect(),
        None => all,
    };
    if functions.is_empty() {
        bail!("there is no such function: the folders in functions/ name them all");
    }
    let tools = Tools::find()?;
    let common = inputs_of_all()?;
    let stale: Vec<&Function> = functions
        .iter()
        .filter_map(|function| match function.is_current(&common) {
            Ok(true) => None,
            Ok(false) => Some(Ok(function)),
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_>>()?;
    if !stale.is_empty() {
        compile(&stale)?;
        let what = format!("Shrinking and bundling {} functions", stale.len());
        step(&what, || in_parallel(&stale, |function| function.finish(&tools, &common)))?;
    }
    weigh(&functions)
}

/// One folder in `functions/`.
struct Function {
    name: String,
    dir: PathBuf,
}

impl Function {
    fn all() -> Result<Vec<Self>> {
        let mut functions = Vec::new();
        for entry in fs::read_dir(local_stack::repository().join("functions"))? {
            let dir = entry?.path();
            if dir.join("Cargo.toml").is_file() {
                let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                functions.push(Self { name, dir });
            }
        }
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(functions)
    }

    fn javascript(&self) -> PathBuf {
        self.dir.join("build/index.js")
    }

    fn wasm(&self) -> PathBuf {
        self.dir.join("build/index_bg.wasm")
    }

    /// Where the steps of the build keep their results.
    fn work_dir(&self) -> PathBuf {
        target_dir().join("edge").join(&self.name)
    }

    fn stamp(&self) -> PathBuf {
        self.work_dir().join("inputs.sha256")
    }

    /// A hash of all that this function is made from.
    fn inputs(&self, common: &str) -> Result<String> {
        let mut inputs = Inputs::default();
        inputs.text(common);
        inputs.file(&self.dir.join("Cargo.toml"))?;
        inputs.folder(&self.dir.join("src"))?;
        Ok(inputs.finish())
    }

    /// Whether what was built from the same inputs is still there as it was built.
    fn is_current(&self, common: &str) -> Result<bool> {
        let Ok(stamp) = fs::read_to_string(self.stamp()) else {
            return Ok(false);
        };
        let built = [self.javascript(), self.wasm()];
        Ok(built.iter().all(|path| path.is_file()) && stamp == self.whole_stamp(common)?)
    }

    /// Inputs and outputs: a build of another branch, copied over this one's, is noticed.
    fn whole_stamp(&self, common: &str) -> Result<String> {
        let mut outputs = Inputs::default();
        outputs.file(&self.javascript())?;
        outputs.file(&self.wasm())?;
        Ok(format!("{} {}\n", self.inputs(common)?, outputs.finish()))
    }

    /// From what the compiler made to what is deployed.
    fn finish(&self, tools: &Tools, common: &str) -> Result<()> {
        let work = self.work_dir();
        // What an earlier version of the glue imported must not be found again.
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work)?;
        self.bind(&work)
            .and_then(|()| self.shrink(tools, &work))
            .and_then(|()| self.bundle(tools, &work))
            .with_context(|| self.name.clone())?;
        fs::write(self.stamp(), self.whole_stamp(common)?).context("remembering what was built")
    }

    /// Makes the JavaScript that passes values in and out.
    fn bind(&self, work: &Path) -> Result<()> {
        let file = format!("{}.wasm", self.name.replace('-', "_"));
        Bindgen::new()
            .input_path(target_dir().join(TARGET).join("release").join(file))
            .out_name("glue")
            .web(true)?
            .typescript(false)
            .omit_default_module_path(true)
            .remove_name_section(true)
            .remove_producers_section(true)
            .generate(work)
    }

    fn shrink(&self, tools: &Tools, work: &Path) -> Result<()> {
        fs::create_dir_all(self.dir.join("build"))?;
        run_quietly(
            Command::new("node")
                .arg(&tools.wasm_opt)
                .arg(work.join("glue_bg.wasm"))
                .args(WASM_FEATURES)
                .args(["-Oz", "--strip-producers", "--strip-target-features", "-o"])
                .arg(self.wasm()),
        )
    }

    /// Two steps. The glue keeps one instance in its module's variables, so the first makes a function of it that gives a new
    /// glue each time it is called; the second joins that with the shim.
    fn bundle(&self, tools: &Tools, work: &Path) -> Result<()> {
        let factory = work.join("factory.mjs");
        run_quietly(
            tools
                .esbuild()
                .arg(work.join("glue.js"))
                .args(["--format=iife", "--global-name=glue"])
                .arg("--banner:js=export function makeGlue(WebAssembly, console) {")
                .arg("--footer:js=return glue;\n}")
                .arg(format!("--outfile={}", factory.display())),
        )?;
        run_quietly(
            tools
                .esbuild()
                .arg(local_stack::repository().join("edge/worker.mjs"))
                .args(["--format=esm", "--minify", "--external:*.wasm"])
                .arg(format!("--alias:function-glue={}", factory.display()))
                .arg(format!("--define:FUNCTION_NAME=\"{}\"", self.name))
                .arg(format!("--outfile={}", self.javascript().display())),
        )
    }
}

/// The programs that npm installed.
struct Tools {
    wasm_opt: PathBuf,
    esbuild: PathBuf,
}

impl Tools {
    fn find() -> Result<Self> {
        let modules = local_stack::repository().join("node_modules");
        let tools = Self {
            wasm_opt: modules.join("binaryen/bin/wasm-opt"),
            esbuild: modules.join("esbuild/bin/esbuild"),
        };
        if !tools.wasm_opt.is_file() || !tools.esbuild.is_file() {
            // Only `cargo xtask build` comes here without the setup having run.
            crate::setup::run()?;
        }
        Ok(tools)
    }

    fn esbuild(&self) -> Command {
        let mut command = Command::new("node");
        command
            .arg(&self.esbuild)
            .args(["--bundle", "--target=es2022", "--log-level=warning"]);
        command
    }
}

/// Where this very program was built to: Cargo says so to its build scripts and tests, not to what it runs.
fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || local_stack::repository().join("target"),
        |dir| local_stack::repository().join(dir),
    )
}

fn compile(functions: &[&Function]) -> Result<()> {
    println!("Compiling to WebAssembly…");
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(local_stack::repository())
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir())
        .stdin(Stdio::null());
    for function in functions {
        command.args(["--package", &function.name]);
    }
    if !command.status().context("running cargo")?.success() {
        bail!("the functions do not compile");
    }
    Ok(())
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

/// Prints the sizes.
fn weigh(functions: &[Function]) -> Result<()> {
    println!("\n{:<22}{:>9}{:>9}{:>9}   KB gzipped, limit {LIMIT_KB}", "function", "wasm", "js", "total");
    let mut too_large = Vec::new();
    for function in functions {
        let (wasm, javascript) = (gzipped_kb(&function.wasm())?, gzipped_kb(&function.javascript())?);
        let total = wasm + javascript;
        println!("{:<22}{wasm:>9.1}{javascript:>9.1}{total:>9.1}", function.name);
        if total > LIMIT_KB {
            too_large.push(format!("{} weighs {total:.1} KB", function.name));
        }
    }
    println!();
    if !too_large.is_empty() {
        bail!("{}; the limit is {LIMIT_KB} KB, compressed", too_large.join(", "));
    }
    Ok(())
}

fn gzipped_kb(path: &Path) -> Result<f64> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    let length = u32::try_from(encoder.finish()?.len())?;
    Ok(f64::from(length) / 1000.0)
}

/// A hash of what every function is made from.
fn inputs_of_all() -> Result<String> {
    let root = local_stack::repository();
    let rustc = Command::new("rustc").arg("-vV").output().context("running rustc")?;
    let mut inputs = Inputs::default();
    inputs.text(&String::from_utf8_lossy(&rustc.stdout));
    // This program's own way of building.
    inputs.text(include_str!("build.rs"));
    for file in ["Cargo.toml", "Cargo.lock", "package-lock.json", "shared/Cargo.toml"] {
        inputs.file(&root.join(file))?;
    }
    inputs.folder(&root.join("shared/src"))?;
    inputs.folder(&root.join("edge"))?;
    Ok(inputs.finish())
}

/// A hash in the making.
#[derive(Default)]
struct Inputs(Sha256);

impl Inputs {
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// With the length first, so that no two lists of inputs look alike.
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes.len().to_be_bytes());
        self.0.update(bytes);
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        self.bytes(&bytes);
        Ok(())
    }

    /// Every file in the folder and below, with its name.
    fn folder(&mut self, dir: &Path) -> Result<()> {
        let mut entries: Vec<_> = fs::read_dir(dir)
            .with_context(|| dir.display().to_string())?
            .collect::<std::io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            self.text(&entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.folder(&entry.path())?;
            } else {
                self.file(&entry.path())?;
            }
        }
        Ok(())
    }

    fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
