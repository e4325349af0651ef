//! The reference web client in a real browser: the manual checklist, played by Chromium.
//!
//! `tests/browser/checklist.mjs` plays it, this starts the stack around it. `UPDATE_SCREENSHOTS=1` keeps the pictures
//! in `docs/screenshots`; otherwise they go to cargo's directory for temporary files, and so do those of a failure.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use local_stack::{Stack, StackOptions};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::Mutex;

/// Far longer than the checklist takes; for a browser that hangs.
const LONGEST_RUN: Duration = Duration::from_secs(300);

#[tokio::test]
async fn the_checklist_holds_in_a_browser() -> Result<()> {
    let bundle = local_stack::repository().join("app/build/main.js");
    ensure!(
        bundle.is_file(),
        "{} is missing: `cargo xtask build` makes it",
        bundle.display()
    );
    let chromium = chromium().await?;
    let stack = Stack::start_local(StackOptions {
        env: BTreeMap::from([("APP_REDIRECT_URI".to_owned(), "{url}/".to_owned())]),
        ..StackOptions::default()
    })
    .await?;

    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("web-client-{}", stack.edge_runtime().name()));
    let screenshots = match std::env::var_os("UPDATE_SCREENSHOTS") {
        Some(_) => local_stack::repository().join("docs/screenshots"),
        None => temporary.clone(),
    };
    let received = temporary.join("received.json");
    std::fs::create_dir_all(&temporary)?;
    let mut checklist = Command::new("node")
        .arg(local_stack::repository().join("tests/browser/checklist.mjs"))
        .envs([
            ("APP_URL", stack.url()),
            ("SECRET_KEY", stack.secret_key()),
            ("ZOOM_URL", stack.simulator_url()),
        ])
        .envs([
            ("CHROME", &chromium),
            ("SCREENSHOTS", &screenshots),
            ("FAILURES", &temporary),
            ("RECEIVED", &received),
        ])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("running node")?;
    let mut lines = BufReader::new(checklist.stdout.take().context("the checklist's output")?).lines();
    let run = async {
        while let Some(line) = lines.next_line().await? {
            println!("{line}");
        }
        anyhow::Ok(checklist.wait().await?)
    };
    let status = tokio::time::timeout(LONGEST_RUN, run)
        .await
        .context("the browser hangs")??;
    ensure!(
        status.success(),
        "the checklist does not hold; the last pictures are in {}",
        temporary.display()
    );
    no_secret_was_sent(&stack, &received)?;
    stack.stop().await
}

/// Gives a user so many sessions, three in ten of them to come. Triggers would take a minute.
async fn host_sessions(stack: &Stack, email: &str, count: i32) -> Result<()> {
    let db = stack.db().await?;
    let statements = [
        "alter table public.video_sessions disable trigger user",
        "alter table public.video_session_participants disable trigger user",
        "insert into public.video_sessions (host_id, provider, title, scheduled_start, duration_minutes, max_participants,
           join_url, provider_meeting_id, status, started_at, ended_at)
         select id, 'zoom', case when is_past then 'Past ' else 'To come ' end || n, start, 30, 5,
           'https://zoom.us/j/' || n, id || ' ' || n, case when is_past then 'ended' else 'scheduled' end,
           case when is_past then start end, case when is_past then start + interval '30 minutes' end
         from auth.users, generate_series(1, $2::int) n, lateral (select n % 10 > 2 as is_past) as lived,
           lateral (select now() + case when is_past then -1 else 1 end * n * interval '2 hours' as start) as planned
         where email = $1",
        "insert into public.video_session_participants (session_id, host_id, user_id, role)
         select id, host_id, host_id, 'host' from public.video_sessions v
         where not exists (select from public.video_session_participants where session_id = v.id)",
        "alter table public.video_sessions enable trigger user",
        "alter table public.video_session_participants enable trigger user",
        "analyze public.video_sessions, public.video_session_participants",
    ];
    for statement in statements {
        if statement.contains("$1") {
            db.execute(statement, &[&email, &count]).await?;
        } else {
            db.batch_execute(statement).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn ten_thousand_sessions_feel_like_ten() -> Result<()> {
    let chromium = chromium().await?;
    let stack = Stack::start_local(StackOptions::default()).await?;
    host_sessions(&stack, "trainer@demo.test", 10).await?;
    host_sessions(&stack, "nutritionist@demo.test", 10_000).await?;
    let failures = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("many-{}", stack.edge_runtime().name()));
    let status = Command::new("node")
        .arg(local_stack::repository().join("tests/browser/many.mjs"))
        .envs([("APP_URL", stack.url())])
        .envs([("CHROME", &chromium), ("FAILURES", &failures)])
        .kill_on_drop(true)
        .status();
    succeeds(status, "tests/browser/many.mjs").await?;
    stack.stop().await
}

/// The client package as three apps use it: on Node, on Deno, in a browser.
#[tokio::test]
async fn the_client_package_works_on_each_platform() -> Result<()> {
    let chromium = chromium().await?;
    let stack = Stack::start_local(StackOptions::default()).await?;
    let status = Command::new("node")
        .arg(local_stack::repository().join("tests/clients/run.mjs"))
        .envs([
            ("API_URL", stack.url()),
            ("PUBLISHABLE_KEY", stack.publishable_key()),
            ("EMAIL", "trainer@demo.test"),
            ("PASSWORD", local_stack::DEMO_PASSWORD),
        ])
        .env("CHROME", &chromium)
        .kill_on_drop(true)
        .status();
    succeeds(status, "tests/clients/run.mjs").await?;
    stack.stop().await
}

/// Waits for a program, which has to succeed.
async fn succeeds(program: impl Future<Output = io::Result<ExitStatus>>, name: &str) -> Result<()> {
    let status = tokio::time::timeout(LONGEST_RUN, program)
        .await
        .with_context(|| format!("{name} hangs"))??;
    ensure!(status.success(), "{name} does not succeed: {status}");
    Ok(())
}

/// Chromium: what `CHROME` names, else what PATH has, else what Debian has, if this may install it.
async fn chromium() -> Result<PathBuf> {
    if let Some(chrome) = std::env::var_os("CHROME").filter(|chrome| !chrome.is_empty()) {
        let chrome = PathBuf::from(chrome);
        ensure!(
            chrome.is_file(),
            "CHROME names {}, and there is no such file",
            chrome.display()
        );
        return Ok(chrome);
    }
    // The tests of this file run side by side, and one of them installs it.
    static TURN: Mutex<()> = Mutex::const_new(());
    let _turn = TURN.lock().await;
    if let Some(found) = installed() {
        return Ok(found);
    }
    if rustix::process::geteuid().is_root() && Path::new("/etc/debian_version").exists() {
        println!("Installing the package chromium, once…");
        let script = "apt-get -qq update && apt-get -qq -y -o DPkg::Lock::Timeout=300 install chromium";
        let install = Command::new("sh")
            .args(["-c", script])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .await?;
        ensure!(
            install.status.success(),
            "installing chromium failed: {}",
            String::from_utf8_lossy(&install.stderr)
        );
        if let Some(found) = installed() {
            return Ok(found);
        }
    }
    bail!(
        "This test plays the web client in Chromium, and there is none. Install it (Debian, Ubuntu: `sudo apt-get install \
         chromium`; Fedora: `sudo dnf install chromium`; macOS: `brew install --cask google-chrome`), or set CHROME to the \
         path of a Chromium or Chrome."
    )
}

fn installed() -> Option<PathBuf> {
    const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).flat_map(|dir| NAMES.map(|name| dir.join(name)));
    let on_macos = PathBuf::from("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome");
    on_path.chain([on_macos]).find(|candidate| candidate.is_file())
}

/// Searches everything that participants' browsers were sent for the secrets that the simulator ever gave out.
fn no_secret_was_sent(stack: &Stack, received: &Path) -> Result<()> {
    let received: Vec<Value> = serde_json::from_slice(&std::fs::read(received)?)?;
    let secrets = stack.zoom().issued_secrets();
    ensure!(
        received.len() > 50,
        "the participants were sent {} bodies",
        received.len()
    );
    ensure!(!secrets.is_empty(), "the simulator gave out no secret");
    for answer in &received {
        let body = answer["body"].as_str().unwrap_or_default();
        for secret in &secrets {
            ensure!(
                !body.contains(&secret.value),
                "{} was sent a {:?} by {}",
                answer["name"],
                secret.kind,
                answer["url"]
            );
        }
    }
    println!(
        "{} bodies searched for {} secrets: none found",
        received.len(),
        secrets.len()
    );
    Ok(())
}
