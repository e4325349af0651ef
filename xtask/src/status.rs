//! `cargo xtask status`: where the running stack is, and its keys.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use clap::ValueEnum;
use local_stack::Stack;

/// What `cargo xtask status` takes.
#[derive(clap::Args)]
pub struct Args {
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "pretty")]
    output: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// `NAME="value"` lines: `eval "$(cargo xtask status -o env)"`.
    Env,
    /// One JSON object.
    Json,
    /// A table to read.
    Pretty,
}

/// Prints the running stack's URLs and keys, by the names that the Supabase CLI prints them.
///
/// # Errors
/// If no stack of this clone runs.
pub fn run(args: &Args) -> Result<()> {
    let values = read()?;
    match args.output {
        Format::Json => {
            let object: BTreeMap<_, _> = values.into_iter().collect();
            say(&(serde_json::to_string_pretty(&object)? + "\n"))
        }
        Format::Env => say(&lines(&values)),
        Format::Pretty => say(&table(&values)),
    }
}

/// Prints; a reader that has seen enough, such as `head`, is no failure.
fn say(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("printing"),
        _ => Ok(()),
    }
}

/// Names and texts, in the order of printing.
pub type Values = Vec<(String, String)>;

/// Names and values in two columns.
pub fn table(values: &Values) -> String {
    values
        .iter()
        .map(|(name, value)| format!("{name:>20}: {value}\n"))
        .collect()
}

/// What is known of a stack, by name.
pub fn values(stack: &Stack) -> Values {
    let entries = [
        ("API_URL", stack.url()),
        ("PUBLISHABLE_KEY", stack.publishable_key()),
        ("SECRET_KEY", stack.secret_key()),
        ("DB_URL", stack.db_url()),
        ("JWKS_URL", &stack.jwks_url()),
        ("ZOOM_SIMULATOR_URL", stack.simulator_url()),
    ];
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// For a shell to evaluate; URLs and keys hold nothing that one would expand inside double quotes.
fn lines(values: &Values) -> String {
    values
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\"\n"))
        .collect()
}

fn path() -> PathBuf {
    local_stack::repository().join(".local/stack.env")
}

/// The note that a stack of this clone runs. The lock on the file holds as long as its process lives, so that a note
/// that was left behind is known for what it is.
pub struct Note(File);

impl Note {
    /// Reserves the note.
    ///
    /// # Errors
    /// If a stack of this clone runs already.
    pub fn take() -> Result<Self> {
        let path = path();
        fs::create_dir_all(path.parent().context("a file in .local")?)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        match file.try_lock() {
            Ok(()) => file.set_len(0)?,
            Err(TryLockError::WouldBlock) => {
                bail!("a stack of this clone runs already: see `cargo xtask status`, or stop it with Ctrl-C where it runs")
            }
            Err(TryLockError::Error(error)) => return Err(error).context("locking .local/stack.env"),
        }
        Ok(Self(file))
    }

    /// Writes down where the stack is.
    pub fn write(&mut self, stack: &Stack) -> Result<()> {
        self.0.write_all(lines(&values(stack)).as_bytes())?;
        Ok(())
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // One that stays is recognised as stale.
        let _ = fs::remove_file(path());
    }
}

fn read() -> Result<Values> {
    const NOTHING_RUNS: &str = "no local stack runs: start one with `cargo xtask dev`";
    let Ok(file) = File::open(path()) else {
        bail!(NOTHING_RUNS);
    };
    if file.try_lock_shared().is_ok() {
        fs::remove_file(path()).context("removing the note of a stack that was killed")?;
        bail!(NOTHING_RUNS);
    }
    let text = fs::read_to_string(path())?;
    if text.is_empty() {
        bail!("the local stack is still starting");
    }
    let pair = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}
