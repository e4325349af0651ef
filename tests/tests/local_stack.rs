//! The local stack itself: it starts, keeps the roles apart, and leaves nothing behind.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use local_stack::{Caller, Stack, StackOptions};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

fn options() -> StackOptions {
    StackOptions {
        worker_processes: 0,
        ..StackOptions::default()
    }
}

/// Whose tables PostgREST shows with these credentials: the role that it took on.
async fn role(stack: &Stack, apikey: &str, bearer: Option<&str>) -> Result<Value> {
    let mut request = reqwest::Client::new()
        .post(format!("{}/rest/v1/rpc/whoami", stack.url()))
        .header("apikey", apikey);
    if let Some(token) = bearer {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    Ok(answer.json().await?)
}

async fn start() -> Result<Stack> {
    let stack = Stack::start_local(StackOptions {
        before_migrations: "create function public.whoami() returns text language sql as 'select current_user::text';
            grant execute on function public.whoami to anon, authenticated, service_role;"
            .to_owned(),
        ..options()
    })
    .await?;
    Ok(stack)
}

#[tokio::test]
async fn two_stacks_side_by_side_keep_their_roles_apart() -> Result<()> {
    let started = std::time::Instant::now();
    let (one, other) = tokio::try_join!(start(), start())?;
    println!("both started after {:?}", started.elapsed());

    let trainer = one.sign_in("trainer@demo.test").await?;
    assert_eq!(role(&one, one.publishable_key(), None).await?, "anon");
    assert_eq!(role(&one, one.publishable_key(), Some(&trainer.access_token)).await?, "authenticated");
    assert_eq!(role(&one, one.secret_key(), None).await?, "service_role");
    assert_eq!(role(&one, one.secret_key(), Some(one.secret_key())).await?, "service_role");
    assert_eq!(role(&one, one.secret_key(), Some(&trainer.access_token)).await?, "authenticated");
    assert!(role(&one, other.publishable_key(), None).await.is_err());
    assert!(role(&other, other.publishable_key(), Some(&trainer.access_token)).await.is_err());

    let path = "/rest/v1/rpc/whoami";
    let requests = one.gateway().requests();
    let calls: Vec<_> = requests.iter().filter(|r| r.path == path).collect();
    assert_eq!(calls.len(), 6);
    assert!(calls.iter().all(|r| r.caller == Caller::Outside && r.method == "POST"));
    one.gateway().clear();
    assert!(one.gateway().requests().is_empty());

    let (a, b) = tokio::join!(one.stop(), other.stop());
    a?;
    b
}
