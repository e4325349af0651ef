//! The test programs that use the local stack, `tests/tests/*.rs`: as many at a time as there are processors, since much of what
//! they do is waiting.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{mpsc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use local_stack::EdgeRuntime;
use serde_json::Value;

use super::{counts, Kind, Outcome};
use crate::build::target_dir;

const PACKAGE: &str = "video-sessions-tests";

/// A program that runs for longer hangs.
const LONGEST_RUN: Duration = Duration::from_secs(20 * 60);

/// Files that have no use for the functions, whatever runs them.
const WITHOUT_FUNCTIONS: [&str; 1] = ["zoom_simulator"];

/// A program that was built, and what it is run for.
struct Program {
    kind: Kind,
    /// Of the file, and of what runs the functions.
    name: String,
    path: PathBuf,
}

/// Builds and runs the programs of a kind, all or those of certain files. What one prints is shown when it ends; until then it is
/// in `target/test-output`.
///
/// # Errors
/// If there is no such file, or a program cannot be built or run.
pub fn run(kind: Kind, only: &[String], test_args: &[String]) -> Result<Vec<Outcome>> {
    let programs = build(kind, only)?;
    let at_a_time = std::thread::available_parallelism().map_or(1, |count| count.get());
    println!(
        "\n== {} tests: {} programs, {at_a_time} at a time",
        kind.name(),
        programs.len()
    );
    let queue = Mutex::new(programs.iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (ended, all_ended) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            let ended = ended.clone();
            scope.spawn(move || {
                while let Some(program) = next() {
                    if ended.send(program.run(test_args)).is_err() {
                        return; // An earlier one could not be run.
                    }
                }
            });
        }
        drop(ended);
        let mut outcomes = Vec::new();
        for ran in all_ended {
            let (outcome, output) = ran?;
            println!(
                "\n== {}, {:.1} s\n{}",
                outcome.name,
                outcome.elapsed.as_secs_f32(),
                output.trim()
            );
            outcomes.push(outcome);
        }
        Ok(outcomes)
    })
}

impl Program {
    /// Runs it; gives what it printed, too.
    fn run(&self, test_args: &[String]) -> Result<(Outcome, String)> {
        let begun = Instant::now();
        let dir = target_dir().join("test-output");
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("{}.log", self.name.replace(' ', "-")));
        let output = File::create(&path).with_context(|| path.display().to_string())?;
        let mut command = Command::new(&self.path);
        command
            .current_dir(local_stack::repository().join("tests"))
            .args(test_args)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        if let Some(runtime) = runtime(self.kind) {
            command.env("EDGE_RUNTIME", runtime.name());
        }
        let status = wait(&mut command).with_context(|| format!("running {}", self.name))?;
        let mut text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        let told = text.lines().find_map(counts);
        let succeeded = status.is_some_and(|status| status.success());
        if status.is_none() {
            text += "\nIt has been running for too long, and was killed.";
        }
        // One that ended before it could tell has one failure at least.
        let (passed, failed) = told.unwrap_or((0, u32::from(!succeeded)));
        let outcome = Outcome {
            kind: self.kind,
            name: self.name.clone(),
            passed,
            failed,
            succeeded,
            elapsed: begun.elapsed(),
        };
        Ok((outcome, text))
    }
}

/// Runs a program to its end; `None` if it had to be killed.
fn wait(command: &mut Command) -> Result<Option<ExitStatus>> {
    let begun = Instant::now();
    let mut child = command.spawn()?;
    while begun.elapsed() < LONGEST_RUN {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn runtime(kind: Kind) -> Option<EdgeRuntime> {
    match kind {
        Kind::E2e => Some(EdgeRuntime::Workerd),
        Kind::Deno => Some(EdgeRuntime::Deno),
        Kind::Unit | Kind::Edge | Kind::Db | Kind::Upgrade => None,
    }
}

/// Each file's program, in the order of their names.
fn build(kind: Kind, only: &[String]) -> Result<Vec<Program>> {
    let all = files()?;
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("there is no tests/tests/{unknown}.rs");
    }
    let wanted: Vec<_> = all
        .into_iter()
        .filter(|file| file.starts_with("db_") == (kind == Kind::Db))
        .filter(|file| kind != Kind::Deno || !WITHOUT_FUNCTIONS.contains(&file.as_str()))
        .filter(|file| only.is_empty() || only.contains(file))
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
    let program = |file: &String| {
        let name = match runtime(kind) {
            Some(runtime) => format!("{file} on {}", runtime.name()),
            None => file.clone(),
        };
        Ok(Program {
            kind,
            name,
            path: path_of(file)?,
        })
    };
    wanted.iter().map(program).collect()
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
