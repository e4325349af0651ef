//! The local stack itself: it starts, keeps the roles apart, and leaves nothing behind.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use local_stack::{Caller, Stack, StackOptions};
use serde_json::{json, Value};
use tokio::time::Instant;

/// A stack whose database can say which role PostgREST took on.
async fn start() -> Result<Stack> {
    Stack::start_local(StackOptions {
        worker_processes: 0,
        before_migrations: "create function public.whoami() returns text language sql as 'select current_user::text';
            grant execute on function public.whoami to anon, authenticated, service_role;"
            .to_owned(),
        ..StackOptions::default()
    })
    .await
}

/// The role of a request with this key and token, or why it was refused.
async fn role(stack: &Stack, apikey: &str, bearer: Option<&str>) -> Result<Value> {
    let mut request = reqwest::Client::new()
        .post(format!("{}/rest/v1/rpc/whoami", stack.url()))
        .header("apikey", apikey);
    if let Some(token) = bearer {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let body = answer.text().await?;
    ensure!(status.is_success(), "{status} {body}");
    Ok(serde_json::from_str(&body)?)
}

#[tokio::test]
async fn two_stacks_side_by_side_keep_their_roles_apart() -> Result<()> {
    let (one, other) = tokio::try_join!(start(), start())?;
    let (publishable, secret) = (one.publishable_key(), one.secret_key());
    let trainer = one.sign_in("trainer@demo.test").await?.access_token;

    assert_eq!(role(&one, publishable, None).await?, "anon");
    assert_eq!(role(&one, publishable, Some(publishable)).await?, "anon");
    assert_eq!(role(&one, publishable, Some(&trainer)).await?, "authenticated");
    assert_eq!(role(&one, secret, None).await?, "service_role");
    assert_eq!(role(&one, secret, Some(secret)).await?, "service_role");
    assert_eq!(role(&one, secret, Some(&trainer)).await?, "authenticated");
    let calls = one.gateway().requests();
    let calls: Vec<_> = calls.iter().filter(|call| call.path == "/rest/v1/rpc/whoami").collect();
    assert_eq!(calls.len(), 6);
    assert!(calls
        .iter()
        .all(|call| call.caller == Caller::Outside && call.status == 200));
    one.gateway().clear();
    assert!(one.gateway().requests().is_empty());

    assert!(role(&one, "", None).await.is_err());
    assert!(
        role(&one, publishable, Some(secret)).await.is_err(),
        "a secret key is no token"
    );
    assert!(role(&one, other.publishable_key(), None).await.is_err());
    assert!(role(&other, other.publishable_key(), Some(&trainer)).await.is_err());
    let browser = reqwest::Client::new()
        .get(format!("{}/rest/v1/", one.url()))
        .header("apikey", secret)
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")
        .send()
        .await?;
    assert_eq!(browser.status(), 401);
    Ok(())
}

#[tokio::test]
async fn it_answers_to_its_own_names_alone() -> Result<()> {
    let stack = start().await?;
    let port = stack.url().rsplit(':').next().context("a port")?;
    let ask = async |host: &str, path: &str| {
        let request = reqwest::Client::new().get(format!("{}{path}", stack.url()));
        anyhow::Ok(request.header("host", host).send().await?.status().as_u16())
    };
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        // A page whose name has come to lead to this machine.
        (format!("evil.example:{port}"), 421),
        (format!("127.0.0.1.evil.example:{port}"), 421),
        ("127.0.0.1".to_owned(), 421),
        ("localhost".to_owned(), 421),
    ] {
        assert_eq!(ask(&host, "/config.json").await?, status, "{host}");
    }
    // Events come through a tunnel, under its name: without functions, nobody is there to take them.
    assert_eq!(ask("tunnel.example", "/functions/v1/zoom-webhook").await?, 503);
    stack.stop().await
}

#[tokio::test]
async fn a_session_lives_until_it_is_ended() -> Result<()> {
    let stack = start().await?;
    let http = reqwest::Client::new();
    let auth = |path: &str| format!("{}/auth/v1/{path}", stack.url());
    let key = stack.publishable_key();
    let first = stack.create_user("new@demo.test", Some("trainer")).await?;

    let user = |token: String| http.get(auth("user")).header("apikey", key).bearer_auth(token).send();
    let shown: Value = user(first.access_token).await?.json().await?;
    assert_eq!(shown["id"], json!(first.user_id));
    assert_eq!(shown["app_metadata"]["role"], "trainer");

    let refresh = |token: String| {
        http.post(auth("token?grant_type=refresh_token"))
            .header("apikey", key)
            .json(&json!({"refresh_token": token}))
            .send()
    };
    let second: Value = refresh(first.refresh_token.clone()).await?.json().await?;
    assert_eq!(
        refresh(first.refresh_token).await?.status(),
        400,
        "a refresh token serves once"
    );
    let token = second["access_token"].as_str().context("an access token")?.to_owned();
    let out = http
        .post(auth("logout"))
        .header("apikey", key)
        .bearer_auth(&token)
        .send()
        .await?;
    assert_eq!(out.status(), 204);
    assert_eq!(user(token).await?.status(), 403);
    let spent = second["refresh_token"].as_str().context("a refresh token")?.to_owned();
    assert_eq!(refresh(spent).await?.status(), 400);

    let wrong = http
        .post(auth("token?grant_type=password"))
        .header("apikey", key)
        .json(&json!({"email": "new@demo.test", "password": "guess"}))
        .send()
        .await?;
    assert_eq!(wrong.status(), 400);
    assert_eq!(wrong.json::<Value>().await?["error_code"], "invalid_credentials");
    Ok(())
}

#[tokio::test]
async fn a_browser_may_call_from_any_origin() -> Result<()> {
    let stack = start().await?;
    let http = reqwest::Client::new();
    let whoami = format!("{}/rest/v1/rpc/whoami", stack.url());
    let preflight = http
        .request(reqwest::Method::OPTIONS, &whoami)
        .header("origin", "https://app.test")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "apikey,authorization")
        .send()
        .await?;
    assert_eq!(preflight.status(), 200);
    assert_eq!(
        preflight.headers()["access-control-allow-headers"],
        "apikey,authorization"
    );
    assert_eq!(preflight.headers()["access-control-allow-methods"], "POST");

    for key in [stack.publishable_key(), "wrong"] {
        let answer = http
            .post(&whoami)
            .header("origin", "https://app.test")
            .header("apikey", key)
            .send()
            .await?;
        let allowed: Vec<_> = answer.headers().get_all("access-control-allow-origin").iter().collect();
        assert_eq!(allowed, ["*"]);
    }
    Ok(())
}

/// What supabase-js makes of the stack, as a client would: in the end it prints `fine`.
const SUPABASE_JS: &str = r#"
import assert from "node:assert";
import { createClient } from "@supabase/supabase-js";
const [url, key] = process.argv.slice(1);
// Node 20 has no WebSocket, which the client demands even where nothing is in real time.
const supabase = createClient(url, key, { auth: { persistSession: false }, realtime: { transport: class {} } });
const ok = ({ data, error }) => { assert.ifError(error); return data; };

assert.equal(ok(await supabase.rpc("whoami")), "anon");
const wrong = await supabase.auth.signInWithPassword({ email: "trainer@demo.test", password: "guess" });
assert.equal(wrong.error?.code, "invalid_credentials");

const { session, user } = ok(
  await supabase.auth.signInWithPassword({ email: "trainer@demo.test", password: "demo-password" }),
);
assert.equal(user.email, "trainer@demo.test");
assert.equal(ok(await supabase.rpc("whoami")), "authenticated");
assert.equal(ok(await supabase.auth.getUser()).user.id, user.id);
assert.equal(ok(await supabase.auth.getClaims()).claims.sub, user.id);
const renewed = ok(await supabase.auth.refreshSession()).session;
assert.notEqual(renewed.refresh_token, session.refresh_token);
assert.ifError((await supabase.auth.signOut()).error);
assert.equal(ok(await supabase.rpc("whoami")), "anon");
console.log("fine");
"#;

#[tokio::test]
async fn supabase_js_takes_it_for_the_platform() -> Result<()> {
    let stack = start().await?;
    let node = tokio::process::Command::new("node")
        .args([
            "--input-type=module",
            "--eval",
            SUPABASE_JS,
            "--",
            stack.url(),
            stack.publishable_key(),
        ])
        .current_dir(local_stack::repository())
        .output()
        .await?;
    let (out, err) = (
        String::from_utf8_lossy(&node.stdout),
        String::from_utf8_lossy(&node.stderr),
    );
    assert_eq!(out.trim(), "fine", "{err}");
    Ok(())
}

/// Whatever a stack starts works in its directory: the command line of every process that still does.
fn at_work_in(dir: &Path) -> Vec<String> {
    let prefix = dir.to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|process| {
            let cwd = std::fs::read_link(process.path().join("cwd")).unwrap_or_default();
            cwd.to_string_lossy().starts_with(&prefix)
        })
        .map(|process| std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn nothing_is_left_when_a_stack_stops() -> Result<()> {
    let stack = start().await?;
    let dir = stack.run_dir().to_owned();
    assert!(
        at_work_in(&dir).len() >= 2,
        "the server and PostgREST: {:?}",
        at_work_in(&dir)
    );
    stack.stop().await?;
    assert_eq!(at_work_in(&dir), Vec::<String>::new());
    assert!(!dir.exists());
    Ok(())
}

const DIRECTORY_OF_THE_CHILD: &str = "directory of the child's stack: ";

/// The parent runs this very test in a process of its own, and kills that one.
#[tokio::test]
async fn nothing_is_left_when_its_process_is_killed() -> Result<()> {
    const CHILD: &str = "VIDEO_SESSIONS_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let stack = start().await?;
        println!("\n{DIRECTORY_OF_THE_CHILD}{}", stack.run_dir().display());
        std::io::stdout().flush()?;
        return std::future::pending().await;
    }
    let mut child = Command::new(std::env::current_exe()?)
        .args([
            "--exact",
            "local_stack::nothing_is_left_when_its_process_is_killed",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().context("the child's output")?).lines();
    let dir = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(DIRECTORY_OF_THE_CHILD).map(PathBuf::from))
        .context("the child started no stack")?;
    assert!(dir.exists() && at_work_in(&dir).len() >= 2);
    child.kill()?;
    child.wait()?;

    let deadline = Instant::now() + Duration::from_secs(10);
    while dir.exists() || !at_work_in(&dir).is_empty() {
        ensure!(
            Instant::now() < deadline,
            "left behind: {:?} in {}",
            at_work_in(&dir),
            dir.display()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn no_page_may_frame_the_web_client() -> Result<()> {
    let stack = start().await?;
    let static_host = std::fs::read_to_string(local_stack::repository().join("app/_headers"))?;
    for path in ["/", "/join/", "/src/main.js", "/nothing-here"] {
        let answer = reqwest::get(format!("{}{path}", stack.url())).await?;
        let policy = answer.headers()["content-security-policy"].to_str()?;
        assert_eq!(
            static_host,
            format!("/*\n  Content-Security-Policy: {policy}\n"),
            "{path}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    }
    stack.stop().await
}
