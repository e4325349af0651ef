//! A release in an app that has Node and Supabase's CLI alone: `add`, `db push`, `functions deploy`; and what the CLI
//! sends, without any `static_files`, serves the whole path.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::support::{new_session, readme, supabase_cli, User};
use anyhow::{bail, ensure, Context, Result};
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{header, HeaderMap, Method, StatusCode};
use axum::{Json, Router};
use local_stack::{repository, Stack, StackOptions};
use serde_json::{json, Value};
use tokio::net::TcpListener;
use tokio::process::Command;
use uuid::Uuid;

/// What a newcomer has: Node with npm, and what the README's commands for a shell need. No Rust.
const PROGRAMS: [&str; 11] = [
    "node", "npm", "npx", "bash", "sh", "curl", "jq", "grep", "tail", "date", "env",
];

/// A home with nothing in it but an app's folder and a PATH of a few programs. It goes when this goes.
struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be removed lies in the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Home {
    fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("video-sessions-release-{}", Uuid::new_v4().simple()));
        let home = Self(dir);
        fs::create_dir_all(home.app())?;
        fs::create_dir_all(home.path())?;
        for program in PROGRAMS {
            symlink(find(program)?, home.path().join(program))?;
        }
        // What a newcomer installs by npm.
        symlink(supabase_cli(), home.path().join("supabase"))?;
        symlink(repository().join("node_modules/deno/bin.cjs"), home.path().join("deno"))?;
        Ok(home)
    }

    fn app(&self) -> PathBuf {
        self.0.join("app")
    }

    fn path(&self) -> PathBuf {
        self.0.join("bin")
    }

    /// A program in the app's folder.
    fn command<A: AsRef<OsStr>>(&self, program: &str, arguments: &[A]) -> Command {
        let mut command = Command::new(self.path().join(program));
        command
            .args(arguments)
            .current_dir(self.app())
            .env_clear()
            .env("HOME", &self.0)
            .env("PATH", self.path())
            .env("SUPABASE_TELEMETRY_DISABLED", "1")
            .env("SUPABASE_ACCESS_TOKEN", format!("sbp_{}", "0".repeat(40)))
            .env("npm_config_offline", "true");
        command
    }

    /// Runs a program in the app's folder, which has to succeed, and gives what it said.
    async fn run<A: AsRef<OsStr>>(&self, program: &str, arguments: &[A]) -> Result<String> {
        let output = self.command(program, arguments).output().await;
        let output = output.with_context(|| format!("running {program}"))?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "{program}: {said}");
        Ok(said)
    }

    /// The release's command, as the README says it.
    async fn video_sessions(&self, arguments: &[&str]) -> Result<String> {
        self.run("npx", &[&npx_of(&archive()?)[..], &owned(arguments)].concat())
            .await
    }

    /// The same of another archive, whether it succeeds or not: whether it did, and what it said.
    async fn video_sessions_of(&self, archive: &Path, arguments: &[&str]) -> Result<(bool, String)> {
        let arguments = [&npx_of(archive)[..], &owned(arguments)].concat();
        let output = self.command("npx", &arguments).output().await.context("running npx")?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ok((output.status.success(), said))
    }

    async fn supabase(&self, arguments: &[&str]) -> Result<String> {
        self.run("supabase", arguments).await
    }
}

fn npx_of(archive: &Path) -> [String; 4] {
    let archive = archive.to_string_lossy().into_owned();
    [
        "--yes".to_owned(),
        "--package".to_owned(),
        archive,
        "video-sessions".to_owned(),
    ]
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

/// Where a program is.
fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file());
    found.with_context(|| format!("this test needs {program}"))
}

/// What `cargo xtask package` made.
fn archive() -> Result<PathBuf> {
    let name = format!("package/video-sessions-{}.tgz", env!("CARGO_PKG_VERSION"));
    // This program is in target/<profile>/deps.
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).context("a target directory")?;
    let archive = target.join(name);
    ensure!(
        archive.is_file(),
        "there is no {}: run `cargo xtask package`",
        archive.display()
    );
    Ok(archive)
}

/// Every file in a folder, by its path there.
fn files_in(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).with_context(|| at.display().to_string())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.insert(entry.path().strip_prefix(folder)?.to_owned(), fs::read(entry.path())?);
            }
        }
    }
    Ok(files)
}

/// What was uploaded: a function's name to its files, by path.
type Uploads = Arc<Mutex<BTreeMap<String, BTreeMap<String, Bytes>>>>;

/// Supabase's management API, as far as a deployment needs it.
async fn management_api() -> Result<(String, Uploads)> {
    let uploads = Uploads::default();
    let router = Router::new()
        .fallback(take)
        .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
        .with_state(uploads.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((url, uploads))
}

async fn take(
    State(uploads): State<Uploads>,
    method: Method,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let Some(slug) = query.get("slug").filter(|_| method == Method::POST) else {
        return (StatusCode::OK, Json(json!([])));
    };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let boundary = kind
        .and_then(|kind| kind.split_once("boundary="))
        .map(|(_, boundary)| boundary);
    let files = files(&body, boundary.unwrap_or_default());
    let mut uploads = uploads.lock().unwrap_or_else(PoisonError::into_inner);
    uploads.insert(slug.clone(), files);
    let function = json!({
        "id": Uuid::new_v4(), "slug": slug, "name": slug, "version": 1, "status": "ACTIVE", "created_at": 0, "updated_at": 0,
        "verify_jwt": false, "import_map": false, "entrypoint_path": "index.ts",
    });
    (StatusCode::CREATED, Json(function))
}

/// The files of a form, by their paths.
fn files(body: &[u8], boundary: &str) -> BTreeMap<String, Bytes> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let delimiter = format!("--{}", boundary.trim_matches('"')).into_bytes();
    let mut found = BTreeMap::new();
    let mut rest = body;
    while let Some(start) = find(rest, &delimiter) {
        rest = &rest[start + delimiter.len()..];
        let part = &rest[..find(rest, &delimiter).unwrap_or(0)];
        let Some(end) = find(part, b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&part[..end]).into_owned();
        if let Some((name, _)) = head
            .split_once("filename=\"")
            .and_then(|(_, rest)| rest.split_once('"'))
        {
            found.insert(name.to_owned(), Bytes::copy_from_slice(&part[end + 4..part.len() - 2]));
        }
    }
    found
}

/// A stack whose database has nothing of ours yet, and whose functions are those of a folder.
async fn stack(functions: PathBuf) -> Result<Stack> {
    Stack::start_local(StackOptions {
        migrate: false,
        functions: Some(functions),
        ..StackOptions::default()
    })
    .await
}

/// The README's "Add it to your app", by somebody who has Node and two npm packages.
#[tokio::test]
async fn a_newcomer_adds_it_pushes_serves_it_and_walks_the_whole_path() -> Result<()> {
    let home = Home::new()?;
    if home.path().join("cargo").exists() || home.path().join("rustc").exists() {
        bail!("there is a Rust on the newcomer's PATH");
    }
    home.supabase(&["init"]).await?;
    let fresh = files_in(&home.app())?;
    let config = String::from_utf8(fresh[Path::new("supabase/config.toml")].clone())?;

    let dry = home.video_sessions(&["add", "--dry-run"]).await?;
    assert!(dry.contains("a dry run: nothing is written"), "{dry}");
    assert_eq!(files_in(&home.app())?, fresh);

    let said = home.video_sessions(&["add"]).await?;
    assert!(said.contains("supabase db push --linked\n"), "{said}");
    let added = files_in(&home.app())?;
    let extended = String::from_utf8(added[Path::new("supabase/config.toml")].clone())?;
    assert!(extended.starts_with(&config) && extended.len() > config.len());

    // A second time there is nothing to add, and a clone adds the same.
    let again = home.video_sessions(&["add"]).await?;
    assert!(again.contains("nothing was changed"), "{again}");
    assert_eq!(files_in(&home.app())?, added);
    let other = Home::new()?;
    other.supabase(&["init"]).await?;
    let to = other.app();
    let from_clone = Command::new(env!("CARGO"))
        .args(["xtask", "add", "--to"])
        .arg(&to)
        .current_dir(repository())
        .output()
        .await
        .context("running cargo")?;
    let by_clone = String::from_utf8_lossy(&[from_clone.stdout, from_clone.stderr].concat()).into_owned();
    assert!(from_clone.status.success(), "{by_clone}");
    assert!(by_clone.contains(said.trim()), "{by_clone}\n{said}");
    assert_eq!(files_in(&to)?, added);

    let stack = stack(home.app().join("supabase/functions")).await?;
    let db_url = format!("{}?sslmode=disable", stack.db_url());
    let pushed = home.supabase(&["db", "push", "--db-url", &db_url, "--yes"]).await?;
    assert!(pushed.contains("_video_sessions.sql"), "{pushed}");
    let again = home.supabase(&["db", "push", "--db-url", &db_url, "--yes"]).await?;
    assert!(again.contains("up to date"), "{again}");
    serves_the_new_schema(&stack).await?;
    for (email, role) in [("trainer@demo.test", Some("trainer")), ("client1@demo.test", None)] {
        stack.create_user(email, role).await?;
    }
    readme::run_path_with_curl(&stack, Some(&home.path().to_string_lossy())).await
}

/// The archive as an earlier release may have been: another version, in which one function was different, and which had
/// one more.
fn earlier_archive(home: &Home) -> Result<PathBuf> {
    let tar = |arguments: &[&OsStr]| -> Result<()> {
        let status = std::process::Command::new("tar")
            .args(arguments)
            .status()
            .context("running tar")?;
        ensure!(status.success(), "tar: {status}");
        Ok(())
    };
    let folder = home.0.join("earlier");
    fs::create_dir_all(&folder)?;
    tar(&["xzf".as_ref(), archive()?.as_ref(), "-C".as_ref(), folder.as_ref()])?;
    let package = folder.join("package");
    let manifest = fs::read_to_string(package.join("package.json"))?;
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    ensure!(manifest.contains(&version), "{manifest}");
    fs::write(
        package.join("package.json"),
        manifest.replace(&version, "\"version\": \"0.0.9\""),
    )?;
    let functions = package.join("supabase");
    let start = functions.join("start-session/index.ts");
    fs::write(&start, format!("// An earlier one.\n{}", fs::read_to_string(&start)?))?;
    fs::create_dir(functions.join("zoom-poll"))?;
    fs::copy(&start, functions.join("zoom-poll/index.ts"))?;
    let earlier = home.0.join("video-sessions-0.0.9.tgz");
    tar(&[
        "czf".as_ref(),
        earlier.as_ref(),
        "-C".as_ref(),
        folder.as_ref(),
        "package".as_ref(),
    ])?;
    Ok(earlier)
}

#[tokio::test]
async fn an_earlier_release_is_upgraded_but_for_what_somebody_changed() -> Result<()> {
    let home = Home::new()?;
    home.supabase(&["init"]).await?;
    let (added, said) = home.video_sessions_of(&earlier_archive(&home)?, &["add"]).await?;
    assert!(added, "{said}");
    let functions = home.app().join("supabase/functions");
    assert!(functions.join("zoom-poll/index.ts").is_file());
    let by_hand = functions.join("join-session/index.ts");
    fs::write(&by_hand, "// by hand\n")?;

    let (finished, said) = home.video_sessions_of(&archive()?, &["add"]).await?;
    assert!(
        !finished && said.contains("supabase/functions/join-session\n"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&by_hand)?, "// by hand\n");
    let start = fs::read_to_string(functions.join("start-session/index.ts"))?;
    assert!(!start.contains("An earlier one"), "{said}");
    assert!(!functions.join("zoom-poll").exists(), "{said}");
    assert!(
        said.contains("[functions.zoom-poll] in supabase/config.toml: take it out"),
        "{said}"
    );

    let replaced = home.video_sessions(&["add", "--replace"]).await?;
    let kept = functions.join("join-session.replaced/index.ts");
    assert_eq!(fs::read_to_string(kept)?, "// by hand\n", "{replaced}");
    // As if it had been added today, but for what was kept.
    let fresh = Home::new()?;
    fresh.supabase(&["init"]).await?;
    fresh.video_sessions(&["add"]).await?;
    let mut upgraded = files_in(&home.app())?;
    upgraded.retain(|path, _| !path.to_string_lossy().contains(".replaced"));
    let fresh = files_in(&fresh.app())?;
    assert_eq!(upgraded.keys().collect::<Vec<_>>(), fresh.keys().collect::<Vec<_>>());
    for (path, content) in &fresh {
        assert!(
            path.ends_with("config.toml") || upgraded[path] == *content,
            "{}",
            path.display()
        );
    }
    Ok(())
}

/// Waits until PostgREST knows the tables that were pushed after it started.
async fn serves_the_new_schema(stack: &Stack) -> Result<()> {
    stack.db().await?.batch_execute("notify pgrst, 'reload schema'").await?;
    let anyone = User::create(stack, "anyone", None).await?;
    while anyone.rpc("zoom_connection", &json!({})).await?.status == 404 {}
    Ok(())
}

/// The CLI sends the functions, and what it sends is unpacked: whatever `config.toml` may name as static does not
/// arrive.
#[tokio::test]
async fn what_the_cli_deploys_has_its_webassembly_inside() -> Result<()> {
    let home = Home::new()?;
    home.supabase(&["init"]).await?;
    home.video_sessions(&["add"]).await?;
    let (api, uploads) = management_api().await?;
    let profile = home.0.join("profile.yaml");
    fs::write(
        &profile,
        format!("name: test\napi_url: {api}\ndashboard_url: {api}\nproject_host: localhost\n"),
    )?;
    let profile = profile.to_string_lossy().into_owned();
    let project = "--project-ref=abcdefghijklmnopqrst";
    let deploy = [
        "--profile",
        &profile,
        "functions",
        "deploy",
        "--use-api",
        "--yes",
        project,
    ];
    home.supabase(&deploy).await?;
    let deployed = home.0.join("deployed");
    let uploads = uploads.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(
        uploads.len(),
        fs::read_dir(repository().join("supabase/functions"))?.count()
    );
    for (function, files) in &uploads {
        for (path, content) in files {
            let name = Path::new(path).file_name().context("a name")?;
            let to = deployed.join(function).join(name);
            assert!(
                ["index.ts", "deno.json", "function.generated.js"].contains(&&*name.to_string_lossy()),
                "{path}"
            );
            fs::create_dir_all(deployed.join(function))?;
            fs::write(to, content)?;
        }
    }

    let stack = Stack::start_local(StackOptions {
        functions: Some(deployed),
        ..StackOptions::default()
    })
    .await?;
    let trainer = User::create(&stack, "trainer", Some("trainer")).await?;
    trainer.connect_zoom("trainer@zoom.test").await?;
    let session = trainer.call("create-session", &new_session(json!({}))).await?.ok()?;
    let started = trainer
        .call("start-session", &json!({"session_id": session["id"]}))
        .await?
        .ok()?;
    assert!(started["host_start_url"]
        .as_str()
        .context("a start URL")?
        .contains("zak="));
    let disconnected = trainer.call("zoom-disconnect", &json!({})).await?.ok()?;
    assert_eq!(disconnected["state"], "not_connected");
    Ok(())
}
