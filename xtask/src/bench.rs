//! `cargo xtask bench`: what the project costs, in ratios of what was measured in one run. The measurements are in
//! `bench/`, see there.

use std::fs;
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::build::{self, Host};
use crate::setup::{self, run_quietly, step};

/// What the twin and the floors are made of: files in `bench/twin`.
const TWINS: [&str; 5] = [
    "create-session",
    "zoom-oauth-start",
    "zoom-webhook",
    "hello",
    "three-calls",
];

/// What cargo is told for a program that measures: compiled for speed, so that it is not what is measured.
const PROFILE: &str = "bench-stack";

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Passed on to the measurements: `--quick`, `--only sizes`, `--write`, `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the functions as they are deployed and everything else for speed, and measures.
///
/// # Errors
/// If something does not build, or a figure is off that cannot be noise.
pub fn run(args: &Args) -> Result<()> {
    setup::run()?;
    for host in [Host::Cloudflare, Host::Supabase] {
        build::run(&build::Args { host, only: None })?;
    }
    twins()?;
    let status = Command::new(env!("CARGO"))
        .current_dir(local_stack::repository())
        .args([
            "run",
            "--quiet",
            "--locked",
            "--profile",
            PROFILE,
            "--package",
            "bench",
            "--",
        ])
        .args(&args.arguments)
        .status()
        .context("running cargo")?;
    if !status.success() {
        bail!("the benchmark says so");
    }
    Ok(())
}

/// Installs what the twin is made of and bundles it, for each host as it takes a function.
fn twins() -> Result<()> {
    let twin = local_stack::repository().join("bench/twin");
    if !twin.join("node_modules").is_dir() {
        step("Installing the twin's npm packages", || {
            run_quietly(Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(&twin))
        })?;
    }
    let out = build::target_dir().join("edge/twin");
    step("Bundling the twin", || {
        for (host, entry) in [
            ("workerd", "export default { fetch: handle };"),
            (
                "deno",
                "const env = Deno.env.toObject();\nDeno.serve((request) => handle(request, env));",
            ),
        ] {
            let folder = out.join(host);
            fs::create_dir_all(&folder)?;
            for name in TWINS {
                let source = folder.join(format!("{name}.entry.mjs"));
                let file = twin.join(format!("{name}.ts"));
                fs::write(
                    &source,
                    format!("import handle from {:?};\n{entry}\n", file.display().to_string()),
                )?;
                run_quietly(
                    build::esbuild()
                        .arg(source)
                        .args(["--format=esm", "--minify", "--conditions=workerd,worker,browser"])
                        .arg(format!("--outfile={}", folder.join(format!("{name}.js")).display())),
                )?;
            }
        }
        Ok(())
    })
}
