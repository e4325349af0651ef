//! The tests that use the local stack. Each folder in `tests/tests` is one program; each of its files is run by itself,
//! three at a time for every two processors, since much of what they do is waiting.

use std::fs;
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
const LONGEST_RUN: Duration = Duration::from_secs(30 * 60);

/// The folder whose tests need no functions.
const DATABASE: &str = "db";

/// Files that have no use for the functions, whatever runs them.
const WITHOUT_FUNCTIONS: [&str; 1] = ["stack/zoom_simulator"];

/// Files that are about Supabase's functions alone.
const ON_DENO: [&str; 1] = ["stack/release"];

/// Files that take long and want the machine for themselves: they run when they are named, as CI does.
const WHEN_NAMED: [&str; 1] = ["drift/fault_matrix"];

/// The tests of one file.
struct File {
    kind: Kind,
    /// Of the file, and of what runs the functions.
    name: String,
    /// The program of its folder.
    program: PathBuf,
    /// The full names of its tests that are to be run.
    tests: Vec<String>,
}

/// Builds and runs the tests of a kind, all or those of certain files. `test_args`: parts of names, of which a test has
/// to have one, and options for the test programs. What the tests of a file print is shown when they end; until then it
/// is in `target/test-output`.
///
/// # Errors
/// If there is no such file, or a program cannot be built or run.
pub fn run(kind: Kind, only: &[String], test_args: &[String]) -> Result<Vec<Outcome>> {
    let (options, names): (Vec<_>, Vec<_>) = test_args.iter().partition(|argument| argument.starts_with('-'));
    let files = build(kind, only, &names)?;
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    let at_a_time = processors.saturating_add(processors / 2);
    println!(
        "\n== {} tests: {} files, {at_a_time} at a time",
        kind.name(),
        files.len()
    );
    let queue = Mutex::new(files.iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (ended, all_ended) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            let ended = ended.clone();
            let options = &options;
            scope.spawn(move || {
                while let Some(file) = next() {
                    if ended.send(file.run(options)).is_err() {
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

impl File {
    /// Runs its tests; gives what they printed, too.
    fn run(&self, options: &[&String]) -> Result<(Outcome, String)> {
        let begun = Instant::now();
        let dir = target_dir().join("test-output");
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("{}.log", self.name.replace([' ', '/'], "-")));
        let output = fs::File::create(&path).with_context(|| path.display().to_string())?;
        let mut command = Command::new(&self.program);
        command
            .current_dir(local_stack::repository().join("tests"))
            .arg("--exact")
            .args(options)
            .args(&self.tests)
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

/// The files that have tests to run, in the order of their names.
fn build(kind: Kind, only: &[String], names: &[&String]) -> Result<Vec<File>> {
    let all = files()?;
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("there is no tests/tests/{unknown}.rs");
    }
    let wanted: Vec<_> = all
        .into_iter()
        .filter(|file| (folder(file) == DATABASE) == (kind == Kind::Db))
        .filter(|file| kind == Kind::Deno || !ON_DENO.contains(&file.as_str()))
        .filter(|file| kind != Kind::Deno || !WITHOUT_FUNCTIONS.contains(&file.as_str()))
        .filter(|file| only.contains(file) || only.is_empty() && !WHEN_NAMED.contains(&file.as_str()))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut folders: Vec<_> = wanted.iter().map(|file| folder(file)).collect();
    folders.dedup();
    let programs = programs(&folders)?;
    let mut files = Vec::new();
    for file in &wanted {
        let (_, program, tests) = programs
            .iter()
            .find(|(name, ..)| name == folder(file))
            .with_context(|| format!("cargo built no program of {file}"))?;
        let module = format!("{}::", file.rsplit('/').next().unwrap_or(file));
        let is_chosen = |test: &&String| {
            test.starts_with(&module) && (names.is_empty() || names.iter().any(|name| test.contains(name.as_str())))
        };
        let tests: Vec<_> = tests.iter().filter(is_chosen).cloned().collect();
        if !tests.is_empty() {
            files.push(File {
                kind,
                name: match runtime(kind) {
                    Some(runtime) => format!("{file} on {}", runtime.name()),
                    None => file.clone(),
                },
                program: program.clone(),
                tests,
            });
        }
    }
    Ok(files)
}

/// Builds the programs of folders; gives the name, the path and the tests of each.
fn programs(folders: &[&str]) -> Result<Vec<(String, PathBuf, Vec<String>)>> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(local_stack::repository())
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .args(["--package", PACKAGE])
        .args(folders.iter().flat_map(|folder| ["--test", folder]))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().context("running cargo")?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    let mut programs = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_default();
        let (name, path) = (&message["target"]["name"], &message["executable"]);
        if let ("test", Some(name), Some(path)) = (
            message["target"]["kind"][0].as_str().unwrap_or_default(),
            name.as_str(),
            path.as_str(),
        ) {
            let listed = Command::new(path)
                .arg("--list")
                .output()
                .with_context(|| path.to_owned())?;
            let listed = String::from_utf8_lossy(&listed.stdout);
            let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
            programs.push((name.to_owned(), PathBuf::from(path), tests.map(str::to_owned).collect()));
        }
    }
    Ok(programs)
}

/// The folder of a file.
fn folder(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}

/// The names of all files of tests, such as `db/sessions`, sorted.
fn files() -> Result<Vec<String>> {
    let root = local_stack::repository().join("tests/tests");
    let mut names = Vec::new();
    for dir in fs::read_dir(&root)? {
        let dir = dir?.path();
        if !dir.join("main.rs").is_file() {
            continue;
        }
        for file in fs::read_dir(&dir)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("main.rs") {
                let name = path.with_extension("");
                names.push(name.strip_prefix(&root)?.to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}
