//! The Dart client, as far as it can be checked without a Dart SDK: a grammar reads its files, and the page shows them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use local_stack::repository;

fn files() -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(repository().join("clients/dart/lib"))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A Python that has the grammar, made once.
fn python() -> Result<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dart-grammar-0.7");
    let python = venv.join("bin/python");
    let import = ["-c", "import tree_sitter_dart_orchard"];
    if !python.is_file() || !Command::new(&python).args(import).output()?.status.success() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "tree-sitter==0.26.1",
            "tree-sitter-dart-orchard==0.7.0",
        ]))?;
    }
    Ok(python)
}

#[test]
fn every_file_parses() -> Result<()> {
    let files = files()?;
    ensure!(files.len() >= 6, "{files:?}");
    run(Command::new(python()?)
        .arg(repository().join("tests/clients/dart_syntax.py"))
        .args(files))
}

#[test]
fn the_page_names_every_file_and_holds_no_copy() -> Result<()> {
    let page = std::fs::read_to_string(repository().join("docs/flutter.md"))?;
    for file in files()? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(
            page.contains(&format!("clients/dart/lib/{name}")),
            "docs/flutter.md does not show {name}"
        );
    }
    ensure!(!page.contains("class VideoSessions"), "the page copies the client");
    Ok(())
}

/// Calls on the same lines of Dart's core, and of these files themselves.
const DARTS_OWN: [&str; 2] = ["fromJson", "timeout"];

/// Nobody compiles these files here: what they call of Supabase's client has been looked up, and stands in the page.
#[test]
fn every_call_of_supabases_client_was_looked_up() -> Result<()> {
    let page = std::fs::read_to_string(repository().join("docs/flutter.md"))?;
    let client = std::fs::read_to_string(repository().join("clients/dart/lib/video_sessions.dart"))?;
    let of_supabase = |line: &&str| line.contains("_supabase.") || line.trim_start().starts_with('.');
    let mut calls = BTreeSet::new();
    for line in client.lines().filter(of_supabase) {
        for part in line.split('.').skip(1) {
            let (name, rest) = part.split_at(part.find(|c: char| !c.is_alphanumeric()).unwrap_or(part.len()));
            if rest.starts_with(['(', '<']) && !DARTS_OWN.contains(&name) {
                calls.insert(name);
            }
        }
    }
    ensure!(calls.len() >= 12, "{calls:?}");
    for call in calls {
        let named = [format!("`{call}`"), format!("auth.{call}`"), format!("`{call} ")];
        ensure!(
            named.iter().any(|name| page.contains(name)),
            "docs/flutter.md has no {call}"
        );
    }
    Ok(())
}
