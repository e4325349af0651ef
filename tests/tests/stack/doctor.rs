//! `video-sessions doctor` against the stack: all is well, then each single thing is broken in turn, and that line says
//! so.

use std::collections::BTreeMap;

use crate::support::User;
use anyhow::{Context, Result};
use local_stack::zoom::{Endpoint, Fault};
use local_stack::{repository, Stack, StackOptions};
use tokio::process::Command;

const WEBHOOK_SECRET: &str = "the secret token of this test";

/// What the doctor says: whether all is well, and the lines that say that something is not.
async fn doctor(stack: &Stack, changes: &[(&str, &str)]) -> Result<(bool, Vec<String>, String)> {
    let user = User::sign_in(stack, "trainer").await?;
    let token = user.signed_in.as_ref().context("a session")?.access_token.clone();
    let mut env = BTreeMap::from([
        ("SUPABASE_SECRET_KEY", stack.secret_key()),
        ("SUPABASE_USER_TOKEN", &token),
        ("ZOOM_WEBHOOK_SECRET_TOKEN", WEBHOOK_SECRET),
    ]);
    env.extend(changes.iter().copied());
    let output = Command::new("node")
        .arg(repository().join("addon/cli.mjs"))
        .args(["doctor", "--functions-url", &format!("{}/functions/v1", stack.url())])
        .envs(&env)
        .output()
        .await
        .context("running node")?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    for secret in env.values() {
        assert!(!said.contains(*secret), "a secret is printed:\n{said}");
    }
    let wrong = said.lines().filter_map(|line| line.strip_prefix("WRONG "));
    let wrong = wrong.map(str::to_owned).collect();
    Ok((output.status.success(), wrong, said))
}

/// Asserts that the doctor finds this, and nothing else.
async fn assert_wrong(stack: &Stack, changes: &[(&str, &str)], start: &str) -> Result<()> {
    let (fine, wrong, said) = doctor(stack, changes).await?;
    assert!(!fine && !wrong.is_empty(), "{start}\n{said}");
    assert!(wrong.iter().all(|line| line.contains(start)), "{start}\n{said}");
    Ok(())
}

#[tokio::test]
async fn each_thing_that_breaks_is_named_by_its_line() -> Result<()> {
    let stack = Stack::start_local(StackOptions {
        env: BTreeMap::from([("ZOOM_WEBHOOK_SECRET_TOKEN".to_owned(), WEBHOOK_SECRET.to_owned())]),
        ..StackOptions::default()
    })
    .await?;
    let db = stack.db().await?;

    assert_wrong(&stack, &[], "Clock: zoom-sync has never run").await?;
    let synced = reqwest::Client::new()
        .post(format!("{}/functions/v1/zoom-sync", stack.url()))
        .header("apikey", stack.secret_key())
        .send()
        .await?;
    assert_eq!(synced.status(), 200);
    let (fine, wrong, said) = doctor(&stack, &[]).await?;
    assert!(fine && wrong.is_empty(), "{said}");
    for line in [
        "Users: this user's token is accepted",
        "Zoom: takes the client id",
        "Events: ",
        "Clock: zoom-sync ran",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }

    // What is wrong with what the doctor is given.
    assert_wrong(
        &stack,
        &[("SUPABASE_SECRET_KEY", "sb_secret_of_nobody")],
        "Secret key: ",
    )
    .await?;
    assert_wrong(
        &stack,
        &[("ZOOM_WEBHOOK_SECRET_TOKEN", "a webhook token of somebody else")],
        "Events: ",
    )
    .await?;
    assert_wrong(&stack, &[("SUPABASE_USER_TOKEN", "e30.e30.e30")], "Users: ").await?;

    // The database.
    let task = "insert into video_sessions_private.zoom_outbox (meeting_id, session_id, user_id, kind, dead_at, next_attempt_at)
        values ('1', gen_random_uuid(), (select id from auth.users where email = 'trainer@demo.test'), 'delete',";
    for (breaks, mends, line) in [
        (
            "update video_sessions_private.clock set ran_at = now() - interval '4 minutes'",
            "update video_sessions_private.clock set ran_at = now()",
            "Clock: zoom-sync ran 24",
        ),
        (
            "create or replace function video_sessions_private.version() returns text language sql immutable set search_path = ''
             as $$ select '0.0.9' $$",
            "create or replace function video_sessions_private.version() returns text language sql immutable set search_path = ''
             as $$ select '0.1.0' $$",
            "Database: of 0.0.9",
        ),
        (
            &format!("{task} now(), now())"),
            "delete from video_sessions_private.zoom_outbox",
            "Dead letters: 1 changes",
        ),
        (
            &format!(
                "insert into public.user_integrations_zoom (user_id, zoom_user_id, zoom_account_id, zoom_account_email, scope,
                   access_token, refresh_token, access_token_expires_at, expires_at)
                 select id, 'z', 'a', 'e', 's', 'v1.x', 'v1.x', now() + interval '1 hour', now() + interval '90 days'
                 from auth.users where email = 'trainer@demo.test';
                 {task} null, now() - interval '11 minutes')"
            ),
            "delete from video_sessions_private.zoom_outbox; delete from public.user_integrations_zoom",
            "Late changes: 1 changes",
        ),
        (
            "insert into video_sessions_private.session_creations
               (user_id, request_hash, request, state, next_check_at, created_at)
             select gen_random_uuid(), 'h', '{}', 'unknown', now() + interval '1 hour', now() - interval '16 minutes'",
            "delete from video_sessions_private.session_creations",
            "Open creations: 1 creations",
        ),
        (
            "insert into video_sessions_private.zoom_revocations (user_id, zoom_user_id, access_token, refresh_token,
               access_token_expires_at, claimed_until, created_at)
             select gen_random_uuid(), 'z', 'v1.x', 'v1.x', now(), now() + interval '1 hour', now() - interval '1 day'",
            "delete from video_sessions_private.zoom_revocations",
            "Revocations: 1 tokens",
        ),
        (
            "alter function public.edge_health() rename to edge_health_of_old",
            "alter function public.edge_health_of_old() rename to edge_health",
            "Database: does not answer",
        ),
    ] {
        db.batch_execute(breaks).await.context(line)?;
        db.batch_execute("notify pgrst, 'reload schema'").await?;
        if line.contains("does not answer") {
            // PostgREST notices in its own time.
            while doctor(&stack, &[]).await?.1.is_empty() {}
        }
        assert_wrong(&stack, &[], line).await?;
        db.batch_execute(mends).await.context(line)?;
    }
    db.batch_execute("notify pgrst, 'reload schema'").await?;
    while !doctor(&stack, &[]).await?.1.is_empty() {}

    // The functions' configuration.
    for (name, value, line) in [
        (
            "ZOOM_CLIENT_SECRET",
            "a client secret of somebody else",
            "Zoom: refuses",
        ),
        ("ZOOM_CLIENT_ID", " ", "ZOOM_CLIENT_ID is missing"),
        (
            "APP_REDIRECT_URI",
            "javascript:alert(1)",
            "zoom-oauth-callback: APP_REDIRECT_URI has a scheme",
        ),
        (
            "ZOOM_WEBHOOK_SECRET_TOKEN",
            "a webhook token of somebody else",
            "Events: ",
        ),
        (
            "SUPABASE_JWKS_URL",
            "http://127.0.0.1:9/none",
            "Users: the key set cannot be read",
        ),
        (
            "SUPABASE_JWT_ISSUER",
            "https://another-project.supabase.co/auth/v1",
            "Users: this user's token is refused, by its issuer",
        ),
    ] {
        let before = stack.env(name).await;
        stack.set_env(name, value).await;
        stack.restart_worker(0).await?;
        assert_wrong(&stack, &[], line).await?;
        stack.set_env(name, &before.unwrap_or_default()).await;
    }
    stack.restart_worker(0).await?;
    stack.zoom().order(Fault::at(Endpoint::Token).dropping().lasting())?;
    assert_wrong(&stack, &[], "Zoom: does not answer").await?;
    stack.zoom().withdraw_all();
    let (fine, _, said) = doctor(&stack, &[]).await?;
    assert!(fine, "{said}");
    Ok(())
}

/// Nothing is told to anybody without a secret key, and Zoom's redirects are not taken for checks.
#[tokio::test]
async fn a_secret_key_alone_is_answered() -> Result<()> {
    let stack = Stack::start_local(StackOptions::default()).await?;
    let http = reqwest::Client::new();
    for function in ["zoom-sync", "zoom-oauth-callback", "create-session"] {
        for what in ["configuration", "database", "zoom", "users"] {
            let url = format!("{}/functions/v1/{function}?check={what}", stack.url());
            let answer = http.get(&url).header("apikey", stack.publishable_key()).send().await?;
            assert_eq!(answer.status(), 401, "{url}");
            let plain = http.get(&url).send().await?;
            let expected = if function == "zoom-oauth-callback" { 400 } else { 405 };
            assert_eq!(plain.status(), expected, "{url}");
        }
    }
    Ok(())
}
