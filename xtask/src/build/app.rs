//! The reference web client: its modules as one file that a browser loads from the same origin as the page.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::inputs::Inputs;
use super::tools::{esbuild, target_dir};
use crate::setup::{run_quietly, step};

fn entry() -> PathBuf {
    local_stack::repository().join("app/src/main.js")
}

fn bundle() -> PathBuf {
    local_stack::repository().join("app/build/main.js")
}

fn stamp() -> PathBuf {
    target_dir().join("edge/app.sha256")
}

/// Bundles the client if it has changed since it was last bundled.
///
/// # Errors
/// With what the bundler says.
pub fn build() -> Result<()> {
    if !entry().is_file() {
        return Ok(());
    }
    let is_current = bundle().is_file()
        && fs::read_to_string(stamp()).is_ok_and(|stamp| whole_stamp().is_ok_and(|now| stamp == now));
    if is_current {
        return Ok(());
    }
    step("Bundling the web client", || {
        run_quietly(
            esbuild()
                .arg(entry())
                .args(["--format=esm", "--minify"])
                .arg(format!("--outfile={}", bundle().display())),
        )?;
        fs::create_dir_all(target_dir().join("edge"))?;
        fs::write(stamp(), whole_stamp()?).context("remembering what was bundled")
    })
}

/// Inputs and output.
fn whole_stamp() -> Result<String> {
    let root = local_stack::repository();
    let mut inputs = Inputs::default();
    inputs.text(include_str!("app.rs"));
    inputs.file(&root.join("package-lock.json"))?;
    inputs.folder(&root.join("app/src"))?;
    inputs.folder(&root.join("clients/typescript"))?;
    inputs.file(&bundle())?;
    Ok(inputs.finish())
}
