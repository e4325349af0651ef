//! `cargo xtask package`: a release as an archive that needs Node alone; `cargo xtask add`: the same, put into an app.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use flate2::{Compression, GzBuilder};
use serde_json::Value;

use crate::build::{self, target_dir, Function, Host};
use crate::setup;

/// What npm runs of the package.
const COMMAND: &str = "cli.mjs";

/// What `cargo xtask add` takes.
#[derive(clap::Args)]
pub struct AddArgs {
    /// The app's folder, in which `supabase/` is.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Take over functions that are there already; yours are kept beside, as NAME.replaced.
    #[arg(long)]
    replace: bool,
}

/// Makes the archive, and prints its path.
///
/// # Errors
/// If something does not build.
pub fn run() -> Result<()> {
    setup::run()?;
    let archive = make()?;
    println!("{}", archive.display());
    Ok(())
}

/// Makes the archive, and gives its path.
///
/// # Errors
/// If something does not build.
pub fn make() -> Result<PathBuf> {
    let folder = stage(&[Host::Supabase, Host::Cloudflare])?;
    let archive = target_dir().join(format!("package/video-sessions-{}.tgz", env!("CARGO_PKG_VERSION")));
    fs::write(&archive, pack(&folder)?).with_context(|| archive.display().to_string())?;
    Ok(archive)
}

/// A folder as npm takes it: nothing in the bytes comes from this machine, its clock or its user's settings.
fn pack(folder: &Path) -> Result<Vec<u8>> {
    let mut files = Vec::new();
    list(folder, Path::new("package"), &mut files)?;
    files.sort();
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut archive = tar::Builder::new(gzip);
    for (name, file) in &files {
        let content = fs::read(file).with_context(|| file.display().to_string())?;
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len().try_into()?);
        header.set_mode(if file.ends_with(COMMAND) { 0o755 } else { 0o644 });
        archive.append_data(&mut header, name, content.as_slice())?;
    }
    Ok(archive.into_inner()?.finish()?)
}

/// Every file in a folder: its name in the archive, and where it is.
fn list(folder: &Path, name: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = name.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &name, files)?;
        } else {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}

/// Puts this clone's release into an app's folder, by the command that the archive has.
///
/// # Errors
/// If something does not build, or the folder has something else in the way.
pub fn add(args: &AddArgs) -> Result<()> {
    setup::run()?;
    let folder = stage(&[Host::Supabase])?;
    let mut command = Command::new("node");
    command.arg(folder.join(COMMAND)).arg("add").current_dir(&args.to);
    if args.dry_run {
        command.arg("--dry-run");
    }
    if args.replace {
        command.arg("--replace");
    }
    ensure!(
        command.status().context("running node")?.success(),
        "nothing was finished: see above"
    );
    Ok(())
}

/// The folder of the package: what is built is built here.
fn stage(hosts: &[Host]) -> Result<PathBuf> {
    let root = local_stack::repository();
    let folder = target_dir().join("package/video-sessions");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    for file in [COMMAND, "add.mjs", "doctor.mjs"] {
        copy(&root.join("addon").join(file), &folder.join(file))?;
    }
    let mut manifest: Value = serde_json::from_str(&fs::read_to_string(root.join("addon/package.json"))?)?;
    manifest["version"] = env!("CARGO_PKG_VERSION").into();
    fs::write(
        folder.join("package.json"),
        serde_json::to_string_pretty(&manifest)? + "\n",
    )?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE"] {
        copy(&root.join(file), &folder.join(file))?;
    }
    copy_tree(&root.join("supabase/migrations"), &folder.join("migrations"))?;
    for client in ["typescript", "dart"] {
        let from = root.join("clients").join(client);
        if from.is_dir() {
            copy_tree(&from, &folder.join("clients").join(client))?;
        }
    }
    let example = fs::read_to_string(root.join(".dev.vars.example"))?;
    fs::write(folder.join("env.example"), for_supabase(&example))?;
    for host in hosts {
        build::everything(*host)?;
        for function in Function::all(*host)? {
            match host {
                Host::Supabase => {
                    let to = folder.join("supabase").join(function.name());
                    let from = root.join("supabase/functions").join(function.name());
                    for file in ["index.ts", "deno.json", "function.generated.js"] {
                        copy(&from.join(file), &to.join(file))?;
                    }
                }
                Host::Cloudflare => {
                    let to = folder.join("cloudflare").join(function.name());
                    copy(&function.javascript(), &to.join("build/index.js"))?;
                    copy(&function.wasm(), &to.join("build/index_bg.wasm"))?;
                }
            }
        }
        if *host == Host::Cloudflare {
            let wrangler = fs::read_to_string(root.join("wrangler.toml"))?;
            fs::write(folder.join("cloudflare/wrangler.toml"), built_already(&wrangler))?;
        }
    }
    Ok(folder)
}

/// The example without the variables that Supabase gives to every function itself, and takes none of.
fn for_supabase(example: &str) -> String {
    let head = "# What the functions of Video Sessions are configured with. Copy this file to .env.video-sessions, keep that out of git, put\n\
                # your values in, and run: supabase secrets set --env-file .env.video-sessions\n\n";
    let zoom = example.find("# The Zoom app:").unwrap_or_default();
    let text = example.get(zoom..).unwrap_or_default();
    format!(
        "{head}{}",
        text.replace("cargo xtask keys new", "video-sessions keys new")
    )
}

/// The Workers' configuration without what builds them, beside their folders.
fn built_already(wrangler: &str) -> String {
    let lines = wrangler.lines().filter(|line| !line.starts_with("build = "));
    lines
        .map(|line| line.replace("main = \"functions/", "main = \"") + "\n")
        .collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file in a folder")?)?;
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "node_modules" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        let to = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else {
            copy(&entry.path(), &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Two people with other clocks, other settings and another order of making the files.
    #[test]
    fn an_archive_depends_on_nothing_but_the_files() -> Result<()> {
        let root = std::env::temp_dir().join(format!("video-sessions-package-{}", std::process::id()));
        let files = [
            (COMMAND, "// all of it"),
            ("a/b.txt", "b"),
            ("a/B.txt", "B"),
            ("\u{e9}.txt", "e"),
        ];
        let make = |name: &str, mode: u32, age: u64, backwards: bool| -> Result<Vec<u8>> {
            let mut files = files.to_vec();
            if backwards {
                files.reverse();
            }
            for (file, content) in files {
                let path = root.join(name).join(file);
                fs::create_dir_all(path.parent().context("a folder")?)?;
                fs::write(&path, content)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
                let time = SystemTime::now() - Duration::from_secs(age);
                fs::File::options().append(true).open(&path)?.set_modified(time)?;
            }
            pack(&root.join(name))
        };
        let (one, other) = (make("one", 0o644, 0, false)?, make("other", 0o600, 123_456, true)?);
        assert_eq!(one, other);
        fs::write(root.join("other/a/b.txt"), "c")?;
        assert_ne!(one, pack(&root.join("other"))?);
        fs::remove_dir_all(&root)?;
        Ok(())
    }

    #[test]
    fn the_example_for_supabase_has_no_variable_of_the_platforms() {
        let text = for_supabase(include_str!("../../.dev.vars.example"));
        assert!(text.contains("\nZOOM_CLIENT_ID=") && text.contains("\nAPP_REDIRECT_URI="));
        assert!(!text.contains("SUPABASE_") && !text.contains("cargo"));
        let wrangler = built_already(include_str!("../../wrangler.toml"));
        assert!(
            wrangler.contains("main = \"create-session/build/index.js\"") && !wrangler.contains("cargo xtask build")
        );
        let manifest = include_str!("../../addon/package.json");
        assert!(manifest.contains(&format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"))));
    }
}
