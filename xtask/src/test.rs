//! `cargo xtask test`: every test, or those of one kind, and a summary.

mod previous_release;
mod programs;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::ValueEnum;

use crate::{build, package, setup};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Run the tests of one kind only; without this, those of unit, edge, db and e2e. CI runs all six.
    #[arg(long, value_enum)]
    only: Option<Kind>,
    /// Of db, e2e and deno run one file only, such as `http/whole_path`; can be repeated.
    #[arg(long)]
    file: Vec<String>,
    /// Passed on to the test programs, such as the part of a test's name.
    #[arg(last = true)]
    test_args: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The crates' own tests, without a stack.
    Unit,
    /// The tests of the JavaScript around the functions.
    Edge,
    /// The database by itself: `tests/tests/db`.
    Db,
    /// The whole stack, its functions on workerd as on Cloudflare: every other folder in `tests/tests`.
    E2e,
    /// The same tests of the whole stack, its functions on Deno as on Supabase.
    Deno,
    /// The previous release and its own tests, on the database as it is now.
    Upgrade,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Edge => "edge",
            Self::Db => "db",
            Self::E2e => "e2e",
            Self::Deno => "deno",
            Self::Upgrade => "upgrade",
        }
    }
}

/// What became of the tests of one kind, or of a part of them.
struct Outcome {
    kind: Kind,
    /// Of the program that ran them.
    name: String,
    passed: u32,
    failed: u32,
    succeeded: bool,
    elapsed: Duration,
}

/// Sets up what is missing, builds the functions, runs the tests.
///
/// # Errors
/// If a test failed or could not be run, or none was run.
pub fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let kinds = kinds(args)?;
    setup::run()?;
    build::everything(build::Host::Cloudflare)?;
    if kinds.contains(&Kind::Deno) {
        package::make()?;
    }
    let mut outcomes = Vec::new();
    for kind in kinds {
        let ran = match kind {
            Kind::Unit => run_unit(&args.test_args).map(|outcome| vec![outcome]),
            Kind::Edge => run_edge().map(|outcome| vec![outcome]),
            Kind::Db | Kind::E2e | Kind::Deno => programs::run(kind, &args.file, &args.test_args),
            Kind::Upgrade if !previous_release::exists()? => {
                println!("Nothing has been released: there is no upgrade to test.");
                return Ok(());
            }
            Kind::Upgrade => previous_release::run(&args.test_args).map(|outcome| vec![outcome]),
        };
        // What has run so far is told all the same.
        outcomes.extend(ran.unwrap_or_else(|error| {
            println!("\nerror: {error:#}");
            vec![Outcome::not_run(kind)]
        }));
    }
    summarize(&outcomes);
    println!(
        "\nAll of it, building included: {:.0} s.",
        begun.elapsed().as_secs_f32()
    );
    if outcomes.iter().any(|outcome| !outcome.succeeded) {
        bail!("not all tests passed");
    }
    if outcomes.iter().all(|outcome| outcome.passed == 0) {
        bail!("no test was run: there is none by this name");
    }
    Ok(())
}

/// What is to be run, in this order.
fn kinds(args: &Args) -> Result<Vec<Kind>> {
    let has_files = |kind| matches!(kind, Kind::Db | Kind::E2e | Kind::Deno);
    if let Some(only) = args.only {
        if !args.file.is_empty() && !has_files(only) {
            bail!(
                "--file chooses among the tests of db, e2e and deno, not of {}",
                only.name()
            );
        }
        return Ok(vec![only]);
    }
    let mut kinds = vec![Kind::Unit, Kind::Edge, Kind::Db, Kind::E2e];
    // A choice of tests by file or name is one among Rust's.
    kinds.retain(|kind| args.test_args.is_empty() || *kind != Kind::Edge);
    kinds.retain(|kind| args.file.is_empty() || has_files(*kind));
    Ok(kinds)
}

impl Outcome {
    fn not_run(kind: Kind) -> Self {
        Self {
            kind,
            name: kind.name().to_owned(),
            passed: 0,
            failed: 0,
            succeeded: false,
            elapsed: Duration::ZERO,
        }
    }
}

fn summarize(outcomes: &[Outcome]) {
    println!("\n{:<8}{:>8}{:>8}{:>9}", "tests", "passed", "failed", "seconds");
    for of_kind in outcomes.chunk_by(|one, next| one.kind == next.kind) {
        println!(
            "{:<8}{:>8}{:>8}{:>9.1}{}",
            of_kind[0].kind.name(),
            of_kind.iter().map(|outcome| outcome.passed).sum::<u32>(),
            of_kind.iter().map(|outcome| outcome.failed).sum::<u32>(),
            of_kind
                .iter()
                .map(|outcome| outcome.elapsed)
                .sum::<Duration>()
                .as_secs_f32(),
            if of_kind.iter().all(|outcome| outcome.succeeded) {
                ""
            } else {
                "  FAILED"
            }
        );
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.succeeded) {
        println!("FAILED: {}", outcome.name);
    }
}

fn run_unit(test_args: &[String]) -> Result<Outcome> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(local_stack::repository())
        .args(["test", "--no-fail-fast", "--workspace", "--lib", "--bins", "--"])
        .args(test_args);
    run_and_show(Kind::Unit, &mut command, counts)
}

fn run_edge() -> Result<Outcome> {
    let mut command = Command::new("node");
    command.current_dir(local_stack::repository()).args([
        "--test",
        "--test-reporter=tap",
        "edge/functions-core.test.mjs",
        "addon/add.test.mjs",
        "addon/doctor.test.mjs",
        "tests/clients/package.test.mjs",
    ]);
    // "# pass 3"
    let counts = |line: &str| {
        let number = |word| line.strip_prefix(word).and_then(|number| number.parse().ok());
        let (passed, failed) = (number("# pass "), number("# fail "));
        (passed.is_some() || failed.is_some()).then(|| (passed.unwrap_or(0), failed.unwrap_or(0)))
    };
    run_and_show(Kind::Edge, &mut command, counts)
}

/// Runs tests and shows what they print, as they print it. `counts` finds the passed and failed ones in a line.
fn run_and_show(kind: Kind, command: &mut Command, counts: impl Fn(&str) -> Option<(u32, u32)>) -> Result<Outcome> {
    println!("\n== {} tests", kind.name());
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
        kind,
        name: kind.name().to_owned(),
        passed,
        failed,
        succeeded: child.wait()?.success(),
        elapsed: begun.elapsed(),
    })
}

/// The passed and failed tests in the last line of a Rust test program: `test result: ok. 3 passed; 0 failed; …`.
fn counts(line: &str) -> Option<(u32, u32)> {
    let counts = line.strip_prefix("test result: ")?;
    let before = |word| {
        let number = counts.split(word).next()?.rsplit(' ').next()?;
        number.parse().ok()
    };
    Some((before(" passed")?, before(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_has_the_counts() {
        let line = "test result: FAILED. 18 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 5.36s";
        assert_eq!(counts(line), Some((18, 2)));
        assert_eq!(counts("test result_is_read ... ok"), None);
    }
}
