//! Upgrades: the functions of the previous release on the database as it is now. While functions are being deployed,
//! and where a deployment is taken back, that is what runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use super::{counts, run_and_show, Kind, Outcome};
use crate::build::target_dir;
use crate::setup::step;

/// Names the commit that the previous release was built from.
const COMMIT_FILE: &str = "supabase/previous-release";

/// The programs of that release's own tests, and of these what has to pass: what its functions do, and what apps do
/// beside them.
const PROGRAMS: [&str; 2] = ["http", "drift"];
const TESTS: [&str; 6] = [
    "whole_path::",
    "bad_input::",
    "outbound_calls::",
    "idempotency::",
    "start::",
    "edits::",
];

/// Whether there is a release whose functions may still run on this database.
///
/// # Errors
/// If CHANGELOG.md cannot be read.
pub fn exists() -> Result<bool> {
    crate::sql::released()
}

/// Builds the previous release, puts our migrations and seed in place of its own, and runs its tests.
///
/// # Errors
/// If it is not in this clone's history, or cannot be built.
pub fn run(test_args: &[String]) -> Result<Outcome> {
    let repository = local_stack::repository();
    let commit = fs::read_to_string(repository.join(COMMIT_FILE)).context(COMMIT_FILE)?;
    let commit = commit.trim();
    let root = target_dir().join("previous-release").join(commit);
    if !root.join("Cargo.toml").is_file() {
        step(
            &format!("Taking the previous release, {commit:.10}, from the history"),
            || take(commit, &root),
        )?;
    }
    for name in ["migrations", "seed.sql"] {
        replace(
            &root.join("supabase").join(name),
            &repository.join("supabase").join(name),
        )?;
    }
    link_packages(&root)?;
    let mut build = cargo(&root);
    build.args(["xtask", "build"]);
    println!("Building the previous release…");
    if !build.status().context("running cargo")?.success() {
        bail!("the previous release does not build");
    }
    let mut test = cargo(&root);
    test.args(["test", "--no-fail-fast", "--package", "video-sessions-tests"])
        .args(PROGRAMS.iter().flat_map(|program| ["--test", program]))
        .arg("--")
        .args(TESTS)
        .args(test_args);
    run_and_show(Kind::Upgrade, &mut test, counts)
}

/// Puts the files of a commit into a new folder.
fn take(commit: &str, root: &Path) -> Result<()> {
    let repository = local_stack::repository();
    let unfinished = root.with_extension("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished)?;
    let archive = unfinished.with_extension("tar");
    let taken = Command::new("git")
        .args(["archive", "--format=tar", "--output"])
        .arg(&archive)
        .arg(commit)
        .current_dir(repository)
        .output()
        .context("running git")?;
    if !taken.status.success() {
        bail!(
            "git does not have the commit that {COMMIT_FILE} names: `git fetch --unshallow`, if this clone is shallow\n{}",
            String::from_utf8_lossy(&taken.stderr).trim_end()
        );
    }
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(&unfinished)
        .status()?;
    if !unpacked.success() {
        bail!("tar: {unpacked}");
    }
    fs::remove_file(archive)?;
    fs::rename(unfinished, root).context("the previous release's folder")
}

/// Lends it the npm packages that are installed here, as long as they are the same. If they are not, it installs its
/// own.
fn link_packages(root: &Path) -> Result<()> {
    let repository = local_stack::repository();
    let (ours, theirs) = (repository.join("node_modules"), root.join("node_modules"));
    if theirs.is_symlink() {
        // Installing would go through it.
        fs::remove_file(&theirs)?;
    }
    let lock = |root: &Path| fs::read(root.join("package-lock.json"));
    if lock(root)? == lock(repository)? && !theirs.exists() {
        symlink(ours, &theirs).with_context(|| theirs.display().to_string())?;
    }
    Ok(())
}

/// Puts a link to `ours` in place of what is at `theirs`.
fn replace(theirs: &Path, ours: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(theirs) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(theirs),
        Ok(_) => fs::remove_file(theirs),
        Err(_) => Ok(()),
    };
    removed
        .and_then(|()| symlink(ours, theirs))
        .with_context(|| theirs.display().to_string())
}

/// Cargo in the previous release's folder, without what was set for the tests of this one.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .env("CARGO_TARGET_DIR", root.join("target"))
        .stdin(Stdio::null());
    for name in ["EDGE_RUNTIME", "SUPABASE_URL", "SUPABASE_DB_URL"] {
        command.env_remove(name);
    }
    command
}
