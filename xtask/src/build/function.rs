//! One function: from what the compiler made to what is deployed.
//!
//! The steps leave their results in `target/edge/<name>`: a WebAssembly module and its glue, the same for all hosts.
//! What a host is given lies where it looks for it, see [`Host`].

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use wasm_bindgen_cli_support::Bindgen;

use super::inputs::Inputs;
use super::sizes::Size;
use super::tools::{esbuild, target_dir, wasm_opt};
use crate::setup::run_quietly;

/// The target that functions are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// What the hosts all run. More would go in with `-all`, such as multiple memories, which they do not.
const WASM_FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// What makes the module small once it is compressed. What is skipped makes it smaller only before that.
const SHRINKING: [&str; 8] = [
    "-Oz",
    "--skip-pass=inlining-optimizing",
    "--skip-pass=local-cse",
    "--skip-pass=memory-packing",
    "--skip-pass=merge-similar-functions",
    "--skip-pass=simplify-locals",
    "--strip-producers",
    "--strip-target-features",
];

/// What the glue gives to the host's side, as far as a function has it.
const ENTRIES: [&str; 2] = ["fetch", "scheduled"];

/// What the functions run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Host {
    /// Cloudflare Workers: `functions/<name>/build`.
    Cloudflare,
    /// Supabase Edge Functions: generated files beside `supabase/functions/<name>/index.ts`.
    Supabase,
}

/// How much is done for the sake of size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// As it is deployed.
    Full,
    /// Compiled in a fraction of the time, for development: `EDGE_BUILD=quick`.
    Quick,
}

impl Effort {
    /// What `EDGE_BUILD` asks for.
    pub fn from_env() -> Self {
        match std::env::var("EDGE_BUILD").as_deref() {
            Ok("quick") => Self::Quick,
            _ => Self::Full,
        }
    }

    /// The Cargo profile, and the folder in `target/` that has its name.
    pub fn profile(self) -> &'static str {
        match self {
            Self::Full => "release",
            Self::Quick => "quick",
        }
    }
}

/// One folder in `functions/`.
pub struct Function {
    name: String,
    dir: PathBuf,
    host: Host,
}

impl Function {
    /// All functions, by name.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn all(host: Host) -> Result<Vec<Self>> {
        let mut functions = Vec::new();
        for entry in fs::read_dir(local_stack::repository().join("functions"))? {
            let dir = entry?.path();
            if dir.join("Cargo.toml").is_file() {
                let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                functions.push(Self { name, dir, host });
            }
        }
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(functions)
    }

    /// Its name, as in its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The deployed JavaScript.
    pub fn javascript(&self) -> PathBuf {
        match self.host {
            Host::Cloudflare => self.dir.join("build/index.js"),
            Host::Supabase => self.supabase_dir().join("function.generated.js"),
        }
    }

    /// The WebAssembly that is deployed: with Cloudflare beside the JavaScript, with Supabase inside.
    pub fn wasm(&self) -> PathBuf {
        match self.host {
            Host::Cloudflare => self.dir.join("build/index_bg.wasm"),
            // It is in the JavaScript.
            Host::Supabase => self.module(),
        }
    }

    fn supabase_dir(&self) -> PathBuf {
        local_stack::repository().join("supabase/functions").join(&self.name)
    }

    /// The JavaScript that the host's side begins with.
    fn entry(&self) -> PathBuf {
        let file = match self.host {
            Host::Cloudflare => "edge/worker.mjs",
            Host::Supabase => "edge/supabase.mjs",
        };
        local_stack::repository().join(file)
    }

    fn work_dir(&self) -> PathBuf {
        target_dir().join("edge").join(&self.name)
    }

    fn factory(&self) -> PathBuf {
        self.work_dir().join("factory.mjs")
    }

    fn module(&self) -> PathBuf {
        self.work_dir().join("index_bg.wasm")
    }

    fn module_stamp(&self) -> PathBuf {
        self.work_dir().join("module.sha256")
    }

    fn bundle_stamp(&self) -> PathBuf {
        self.work_dir().join(format!("{:?}.sha256", self.host).to_lowercase())
    }

    fn size_file(&self) -> PathBuf {
        self.work_dir().join(format!("{:?}.size", self.host).to_lowercase())
    }

    /// What it weighs, compressed.
    ///
    /// # Errors
    /// If what was built cannot be read.
    pub fn size(&self) -> Result<Size> {
        match Size::recall(&self.size_file()) {
            Some(size) => Ok(size),
            None => self.measure(),
        }
    }

    fn measure(&self) -> Result<Size> {
        match self.host {
            Host::Cloudflare => Size::measure(Some(&self.wasm()), &self.javascript()),
            Host::Supabase => Size::measure(None, &self.javascript()),
        }
    }

    /// Whether the module and its glue are there as they were made from the same inputs. `common` stands for the inputs
    /// that all functions share.
    ///
    /// # Errors
    /// If an input cannot be read.
    pub fn has_module(&self, common: &str) -> Result<bool> {
        let mut inputs = Inputs::default();
        inputs.text(common);
        inputs.file(&self.dir.join("Cargo.toml"))?;
        inputs.folder(&self.dir.join("src"))?;
        is_as_stamped(&self.module_stamp(), inputs, &[self.factory(), self.module()])
    }

    /// Makes the module and its glue from what the compiler made.
    ///
    /// # Errors
    /// If one of the tools fails.
    pub fn make_module(&self, common: &str, effort: Effort) -> Result<()> {
        let work = self.work_dir();
        // What an earlier version of the glue imported must not be found again.
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work)?;
        self.bind(&work, effort)
            .and_then(|()| self.shrink(&work, effort))
            .with_context(|| self.name.clone())?;
        let mut inputs = Inputs::default();
        inputs.text(common);
        inputs.file(&self.dir.join("Cargo.toml"))?;
        inputs.folder(&self.dir.join("src"))?;
        write_stamp(&self.module_stamp(), inputs, &[self.factory(), self.module()])
    }

    /// Makes the JavaScript that passes values in and out, and leaves out of both what no function of ours uses: the
    /// `worker` crate exports classes for all that a Worker can have.
    fn bind(&self, work: &Path, effort: Effort) -> Result<()> {
        let file = format!("{}.wasm", self.name.replace('-', "_"));
        let mut output = Bindgen::new()
            .input_path(target_dir().join(TARGET).join(effort.profile()).join(file))
            .out_name("glue")
            .web(true)?
            .typescript(false)
            .omit_default_module_path(true)
            .remove_name_section(true)
            .remove_producers_section(true)
            .generate_output()?;
        output.emit(work)?;
        let entries: Vec<&str> = ENTRIES
            .into_iter()
            .filter(|entry| output.wasm().exports.iter().any(|export| export.name == *entry))
            .collect();
        self.isolate(work, &entries)?;

        let glue = fs::read_to_string(self.factory())?;
        let unused: Vec<_> = output
            .wasm()
            .exports
            .iter()
            .filter(|export| places(&glue, &format!("wasm.{}", export.name)).next().is_none())
            .map(|export| export.id())
            .collect();
        let module = output.wasm_mut();
        unused.into_iter().for_each(|export| module.exports.delete(export));
        fs::write(work.join("glue_bg.wasm"), module.emit_wasm()).context("glue_bg.wasm")
    }

    /// The glue keeps one instance in its module's variables: makes a function of it that gives a new glue each time.
    fn isolate(&self, work: &Path, entries: &[&str]) -> Result<()> {
        let glue = work.join("glue.js");
        // Without these lines, and told that a registry does nothing by itself, the bundler sees which classes nobody
        // uses.
        let text = fs::read_to_string(&glue)?;
        let lines = text.lines().filter(|line| !line.starts_with("if (Symbol.dispose) "));
        let text = lines.collect::<Vec<_>>().join("\n");
        const REGISTRY: &str = " new FinalizationRegistry(";
        ensure!(
            text.contains(REGISTRY),
            "wasm-bindgen writes its registries in another way"
        );
        let text = text.replace(REGISTRY, " /* @__PURE__ */ new FinalizationRegistry(");
        fs::write(&glue, text)?;
        let entry = work.join("entry.js");
        fs::write(
            &entry,
            format!("export {{ initSync, {} }} from \"./glue.js\";\n", entries.join(", ")),
        )?;
        run_quietly(
            esbuild()
                .arg(entry)
                .args(["--format=iife", "--global-name=glue"])
                .arg("--banner:js=export function makeGlue(WebAssembly, console, fetch = globalThis.fetch) {")
                .arg("--footer:js=return glue;\n}")
                .arg(format!("--outfile={}", self.factory().display())),
        )
    }

    fn shrink(&self, work: &Path, effort: Effort) -> Result<()> {
        let bound = work.join("glue_bg.wasm");
        match effort {
            Effort::Quick => fs::copy(bound, self.module()).map(drop).context("the module"),
            Effort::Full => run_quietly(
                wasm_opt()
                    .arg(bound)
                    .args(WASM_FEATURES)
                    .args(SHRINKING)
                    .arg("-o")
                    .arg(self.module()),
            ),
        }
    }

    fn bundle_inputs(&self) -> Result<Inputs> {
        let mut inputs = Inputs::default();
        inputs.text(include_str!("function.rs"));
        inputs.file(&local_stack::repository().join("package-lock.json"))?;
        inputs.file(&local_stack::repository().join("edge/functions-core.mjs"))?;
        inputs.file(&self.entry())?;
        inputs.file(&self.factory())?;
        inputs.file(&self.module())?;
        Ok(inputs)
    }

    /// Whether what the host is given is there as it was made from this module.
    ///
    /// # Errors
    /// If an input cannot be read.
    pub fn has_bundle(&self) -> Result<bool> {
        is_as_stamped(
            &self.bundle_stamp(),
            self.bundle_inputs()?,
            &[self.javascript(), self.wasm()],
        )
    }

    /// Joins the glue with the host's side, and puts what is deployed where the host looks for it.
    ///
    /// # Errors
    /// If the bundler fails.
    pub fn make_bundle(&self) -> Result<()> {
        run_quietly(
            esbuild()
                .arg(self.entry())
                .args(["--format=esm", "--minify", "--loader:.wasm=binary"])
                .args((self.host == Host::Cloudflare).then_some("--external:*.wasm"))
                .arg(format!("--alias:function-glue={}", self.factory().display()))
                .arg(format!("--alias:function-wasm={}", self.module().display()))
                .arg(format!("--define:FUNCTION_NAME=\"{}\"", self.name))
                .arg(format!("--outfile={}", self.javascript().display())),
        )
        .with_context(|| self.name.clone())?;
        if self.host == Host::Cloudflare {
            fs::copy(self.module(), self.wasm()).with_context(|| self.wasm().display().to_string())?;
        }
        self.measure()?.remember(&self.size_file())?;
        write_stamp(
            &self.bundle_stamp(),
            self.bundle_inputs()?,
            &[self.javascript(), self.wasm()],
        )
    }
}

/// Where a name stands in the glue, and does not only begin another.
fn places<'g>(glue: &'g str, name: &'g str) -> impl Iterator<Item = usize> + 'g {
    let is_whole = |after: &str| !after.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
    let all = glue.match_indices(name);
    all.map(|(place, _)| place)
        .filter(move |place| is_whole(&glue[place + name.len()..]))
}

/// Inputs and outputs: a build of another branch, copied over this one's, is noticed.
fn stamp_text(inputs: Inputs, outputs: &[PathBuf]) -> Result<String> {
    let mut hash = Inputs::default();
    for output in outputs {
        hash.file(output)?;
    }
    Ok(format!("{} {}\n", inputs.finish(), hash.finish()))
}

fn is_as_stamped(stamp: &Path, inputs: Inputs, outputs: &[PathBuf]) -> Result<bool> {
    let Ok(stamped) = fs::read_to_string(stamp) else {
        return Ok(false);
    };
    Ok(outputs.iter().all(|path| path.is_file()) && stamped == stamp_text(inputs, outputs)?)
}

fn write_stamp(stamp: &Path, inputs: Inputs, outputs: &[PathBuf]) -> Result<()> {
    fs::write(stamp, stamp_text(inputs, outputs)?).context("remembering what was built")
}
