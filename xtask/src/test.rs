//! `cargo xtask test`: every test, or those of one kind, and a summary.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::ValueEnum;

use crate::{build, setup};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Run the tests of one kind only.
    #[arg(long, value_enum)]
    only: Option<Kind>,
    /// Passed on to the test programs, such as the part of a test's name.
    #[arg(last = true)]
    test_args: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The crates' own tests, without a stack.
    Unit,
    /// The database by itself: `tests/tests/db_*.rs`.
    Db,
    /// The whole stack: every other file in `tests/tests`.
    E2e,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Db => "db",
            Self::E2e => "e2e",
        }
    }
}

struct Outcome {
    name: &'static str,
    passed: u32,
    failed: u32,
    succeeded: bool,
    elapsed: Duration,
}

/// Sets up what is missing, builds the functions, runs the tests.
///
/// # Errors
/// If a test failed or could not be run.
pub fn run(args: &Args) -> Result<()> {
    setup::run()?;
    build::everything(build::Host::Cloudflare)?;
    let mut outcomes = Vec::new();
    for kind in [Kind::Unit, Kind::Db, Kind::E2e] {
        if args.only.is_none_or(|only| only == kind) {
            outcomes.extend(run_kind(kind, &args.test_args)?);
        }
    }
    // A choice of tests by name is Cargo's.
    if args.only.is_none_or(|only| only == Kind::Unit) && args.test_args.is_empty() {
        outcomes.push(run_edge()?);
    }
    println!("\n{:<6}{:>8}{:>8}{:>9}", "tests", "passed", "failed", "seconds");
    for outcome in &outcomes {
        println!(
            "{:<6}{:>8}{:>8}{:>9.1}{}",
            outcome.name,
            outcome.passed,
            outcome.failed,
            outcome.elapsed.as_secs_f32(),
            if outcome.succeeded { "" } else { "  FAILED" }
        );
    }
    if outcomes.iter().any(|outcome| !outcome.succeeded) {
        bail!("not all tests passed");
    }
    Ok(())
}

/// `None` where there are no tests of this kind.
fn run_kind(kind: Kind, test_args: &[String]) -> Result<Option<Outcome>> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(local_stack::repository())
        .args(["test", "--no-fail-fast"]);
    if kind == Kind::Unit {
        command.args(["--workspace", "--lib", "--bins"]);
    } else {
        let files = test_files(kind)?;
        if files.is_empty() {
            return Ok(None);
        }
        command.args(["--package", "video-sessions-tests"]);
        for file in files {
            command.args(["--test", &file]);
        }
    }
    command.arg("--").args(test_args);
    // "test result: ok. 3 passed; 0 failed; …"
    let counts = |line: &str| {
        let counts = line.strip_prefix("test result: ")?;
        Some((count(counts, " passed"), count(counts, " failed")))
    };
    run_program(kind.name(), &mut command, counts).map(Some)
}

/// The tests of the JavaScript around the functions.
fn run_edge() -> Result<Outcome> {
    let mut command = Command::new("node");
    command.current_dir(local_stack::repository()).args([
        "--test",
        "--test-reporter=tap",
        "edge/functions-core.test.mjs",
    ]);
    // "# pass 3"
    let counts = |line: &str| {
        let number = |word| line.strip_prefix(word).and_then(|number| number.parse().ok());
        let (passed, failed) = (number("# pass "), number("# fail "));
        (passed.is_some() || failed.is_some()).then(|| (passed.unwrap_or(0), failed.unwrap_or(0)))
    };
    run_program("edge", &mut command, counts)
}

/// Runs tests and shows what they print. `counts` finds the passed and failed ones in a line.
fn run_program(
    name: &'static str,
    command: &mut Command,
    counts: impl Fn(&str) -> Option<(u32, u32)>,
) -> Result<Outcome> {
    println!("\n== {name} tests");
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("running {}", command.get_program().display()))?;
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(child.stdout.take().context("the tests' output")?).lines() {
        let line = line?;
        println!("{line}");
        if let Some(counts) = counts(&line) {
            passed += counts.0;
            failed += counts.1;
        }
    }
    Ok(Outcome {
        name,
        passed,
        failed,
        succeeded: child.wait()?.success(),
        elapsed: begun.elapsed(),
    })
}

/// The number that stands before `word`.
fn count(text: &str, word: &str) -> u32 {
    text.split(word)
        .next()
        .and_then(|before| before.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// The test programs of a kind, in the order of their names.
fn test_files(kind: Kind) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(local_stack::repository().join("tests/tests"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|e| e == "rs") && name.starts_with("db_") == (kind == Kind::Db) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
