//! The test programs that use the local stack, `tests/tests/*.rs`: as many at a time as there are processors, since much of what
//! they do is waiting.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{mpsc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{bail, Context, Result};
use local_stack::EdgeRuntime;
use serde_json::Value;

use super::{counts, Kind, Outcome};

const PACKAGE: &str = "video-sessions-tests";

/// A program that was built, and what it is run for.
struct Program {
    kind: Kind,
    file: String,
    path: PathBuf,
}

/// What became of it, and all that it printed.
struct Report {
    outcome: Outcome,
    name: String,
    output: String,
}

/// Builds and runs the programs of these kinds, all or those of certain files. What one prints is shown when it ends.
///
/// # Errors
/// If there is no such file, or a program cannot be built or run.
pub fn run(kinds: &[Kind], only: &[String], test_args: &[String]) -> Result<Vec<Outcome>> {
    let programs = build(kinds, only)?;
    let at_a_time = std::thread::available_parallelism().map_or(1, |count| count.get());
    println!("\n== {} test programs, {at_a_time} at a time", programs.len());
    let queue = Mutex::new(programs.iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (reports, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            let reports = reports.clone();
            scope.spawn(move || {
                while let Some(program) = next() {
                    if reports.send(program.run(test_args)).is_err() {
                        return; // An earlier one could not be run.
                    }
                }
            });
        }
        drop(reports);
        let mut outcomes = Vec::new();
        for report in ended {
            let Report { outcome, name, output } = report?;
            println!("\n== {name}, {:.1} s\n{}", outcome.elapsed.as_secs_f32(), output.trim());
            outcomes.push(outcome);
        }
        Ok(outcomes)
    })
}

impl Program {
    fn run(&self, test_args: &[String]) -> Result<Report> {
        let begun = Instant::now();
        let mut command = Command::new(&self.path);
        command
            .current_dir(local_stack::repository().join("tests"))
            .args(test_args)
            .stdin(Stdio::null());
        let mut name = self.file.clone();
        if let Some(runtime) = runtime(self.kind) {
            command.env("EDGE_RUNTIME", runtime.name());
            name = format!("{name} on {}", runtime.name());
        }
        let output = command.output().with_context(|| format!("running {name}"))?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let (passed, failed) = text.lines().find_map(counts).unwrap_or_default();
        let outcome = Outcome {
            kind: self.kind,
            passed,
            failed,
            succeeded: output.status.success(),
            elapsed: begun.elapsed(),
        };
        Ok(Report {
            outcome,
            name,
            output: text,
        })
    }
}

fn runtime(kind: Kind) -> Option<EdgeRuntime> {
    match kind {
        Kind::E2e => Some(EdgeRuntime::Workerd),
        Kind::Deno => Some(EdgeRuntime::Deno),
        Kind::Unit | Kind::Edge | Kind::Db | Kind::Upgrade => None,
    }
}

/// Each file's program, in the order of their names within a kind.
fn build(kinds: &[Kind], only: &[String]) -> Result<Vec<Program>> {
    let all = files()?;
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("there is no tests/tests/{unknown}.rs");
    }
    let of_kind = |file: &str, kind: Kind| file.starts_with("db_") == (kind == Kind::Db);
    let wanted: Vec<_> = all
        .into_iter()
        .filter(|file| only.is_empty() || only.contains(file))
        .filter(|file| kinds.iter().any(|kind| of_kind(file, *kind)))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(local_stack::repository())
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .args(["--package", PACKAGE])
        .args(wanted.iter().flat_map(|file| ["--test", file]))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().context("running cargo")?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    let messages: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let path_of = |file: &str| {
        let built = messages
            .iter()
            .find(|message| message["target"]["name"] == *file && message["target"]["kind"][0] == "test");
        let path = built.and_then(|message| message["executable"].as_str());
        path.map(PathBuf::from)
            .with_context(|| format!("cargo built no program of {file}"))
    };
    let mut programs = Vec::new();
    for kind in kinds {
        for file in wanted.iter().filter(|file| of_kind(file, *kind)) {
            programs.push(Program {
                kind: *kind,
                file: file.clone(),
                path: path_of(file)?,
            });
        }
    }
    Ok(programs)
}

/// The names of all files of tests, sorted.
fn files() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(local_stack::repository().join("tests/tests"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
