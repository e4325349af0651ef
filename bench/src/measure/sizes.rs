//! What is uploaded for each function on Cloudflare, compressed: WebAssembly and JavaScript.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{write::GzEncoder, Compression};

use crate::report::{Bound, Row};

/// No function may weigh more, in KB.
const LIMIT_KB: f64 = 230.0;

/// Weighs what `cargo xtask build` has made.
pub fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let functions = fs::read_dir(local_stack::repository().join("functions"))?;
    let mut folders = functions.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let build = folder.join("build");
        let bytes = gzipped(&build.join("index_bg.wasm"))? + gzipped(&build.join("index.js"))?;
        let row = Row::new(format!("{name}, KB gzipped"), bytes as f64 / 1_000.0);
        rows.push(row.certain(Bound::AtMost(LIMIT_KB)));
    }
    Ok(rows)
}

fn gzipped(path: &Path) -> Result<usize> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    Ok(encoder.finish()?.len())
}
