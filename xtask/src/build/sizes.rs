//! What the functions weigh, compressed as they are uploaded.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{write::GzEncoder, Compression};

use super::function::Function;

/// What one function may weigh: WebAssembly and JavaScript, each compressed.
const LIMIT_KB: f64 = 230.0;

/// The same where the WebAssembly is base64 inside the JavaScript.
const LIMIT_INSIDE_KB: f64 = 310.0;

/// What one function weighs, in bytes.
pub struct Size {
    wasm: u32,
    javascript: u32,
}

impl Size {
    /// Compresses the files to see. Where there is no WebAssembly it is in the JavaScript, a third larger for it.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn measure(wasm: Option<&Path>, javascript: &Path) -> Result<Self> {
        Ok(Self {
            wasm: wasm.map_or(Ok(0), gzipped)?,
            javascript: gzipped(javascript)?,
        })
    }

    /// Keeps it in a file: measuring takes a while.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn remember(&self, file: &Path) -> Result<()> {
        fs::write(file, format!("{} {}\n", self.wasm, self.javascript)).context("remembering the size")
    }

    /// What [`Size::remember`] kept.
    pub fn recall(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (wasm, javascript) = text.trim().split_once(' ')?;
        Some(Self {
            wasm: wasm.parse().ok()?,
            javascript: javascript.parse().ok()?,
        })
    }
}

/// Prints the sizes. Gives what is to be said of functions that are too large; empty if none is.
///
/// # Errors
/// If a built file cannot be read.
pub fn weigh(functions: &[Function]) -> Result<String> {
    let mut limit = LIMIT_KB;
    for function in functions {
        if function.size()?.wasm == 0 {
            limit = LIMIT_INSIDE_KB;
        }
    }
    println!(
        "\n{:<22}{:>9}{:>9}{:>9}   KB gzipped, limit {limit}",
        "function", "wasm", "js", "total"
    );
    let mut too_large = Vec::new();
    for function in functions {
        let size = function.size()?;
        let (wasm, javascript) = (f64::from(size.wasm) / 1000.0, f64::from(size.javascript) / 1000.0);
        let total = wasm + javascript;
        println!("{:<22}{wasm:>9.1}{javascript:>9.1}{total:>9.1}", function.name());
        if total > limit {
            too_large.push(format!("{} weighs {total:.1} KB", function.name()));
        }
    }
    println!();
    if too_large.is_empty() {
        return Ok(String::new());
    }
    Ok(format!("{}; the limit is {limit} KB, compressed", too_large.join(", ")))
}

fn gzipped(path: &Path) -> Result<u32> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    Ok(u32::try_from(encoder.finish()?.len())?)
}
