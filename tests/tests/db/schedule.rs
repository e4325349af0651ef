//! The clock that runs `zoom-sync` on Supabase. The extensions that it is made of cannot be had here: tables take what
//! they would be told.

use crate::support::db::options;
use anyhow::{ensure, Context, Result};
use local_stack::{repository, Stack};
use serde_json::{json, Value};
use tokio_postgres::Client;

/// What of the platform the schedule uses, as far as it uses it.
const PLATFORM: &str = "
    create schema vault;
    create table vault.decrypted_secrets (name text primary key, decrypted_secret text not null);
    create schema cron;
    create table cron.job (jobname text primary key, schedule text not null, command text not null);
    create function cron.schedule(text, text, text) returns bigint language sql as
      $$ insert into cron.job values ($1, $2, $3) returning 1 $$;
    create schema net;
    create table net.requests (request jsonb not null);
    create function net.http_post(
      url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds int default 5000
    ) returns bigint language sql as
      $$ insert into net.requests select jsonb_build_object(
           'url', url, 'body', body, 'params', params, 'headers', headers, 'timeout_milliseconds', timeout_milliseconds
         ) returning 1 $$;";

/// The schedule as it reads, the extensions taken for there.
fn schedule() -> Result<String> {
    let mut text = std::fs::read_to_string(repository().join("supabase/schemas/160_schedule.sql"))?;
    for (part, instead) in [
        (
            "(select count(*) from pg_catalog.pg_available_extensions where name in ('pg_cron', 'pg_net'))",
            "2",
        ),
        ("create extension if not exists pg_cron;", ""),
        ("create extension if not exists pg_net;", ""),
    ] {
        ensure!(text.matches(part).count() == 1, "the schedule has no {part}");
        text = text.replace(part, instead);
    }
    Ok(text)
}

/// Runs what the clock runs, and gives what is posted.
async fn tick(db: &Client) -> Result<Vec<Value>> {
    let command: String = db
        .query_one(
            "select command from cron.job where jobname = 'video-sessions-zoom-sync'",
            &[],
        )
        .await?
        .get(0);
    db.batch_execute(&command).await.context(command)?;
    let posted = db
        .query("delete from net.requests where true returning request", &[])
        .await?;
    Ok(posted.iter().map(|row| row.get(0)).collect())
}

#[tokio::test]
async fn every_minute_a_post_with_the_secret_key_once_both_secrets_are_there() -> Result<()> {
    let stack = Stack::start_local(options()).await?;
    let db = stack.db().await?;
    let scheduled = "select to_regprocedure('video_sessions_private.run_zoom_sync()') is not null";
    let is_scheduled = async || anyhow::Ok(db.query_one(scheduled, &[]).await?.get::<_, bool>(0));
    assert!(!is_scheduled().await?, "without the extensions there is no clock");

    db.batch_execute(PLATFORM).await?;
    db.batch_execute(&schedule()?).await?;
    assert!(is_scheduled().await?);
    let jobs = db.query("select jobname, schedule from cron.job", &[]).await?;
    let jobs: Vec<(&str, &str)> = jobs.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        ("video-sessions-zoom-sync", "* * * * *"),
        ("video-sessions-cron-history", "17 3 * * *"),
    ];
    assert_eq!(jobs, expected);

    assert_eq!(tick(&db).await?, Vec::<Value>::new());
    let keep = "insert into vault.decrypted_secrets values ($1, $2)";
    let url = "https://project.supabase.co/functions/v1/";
    db.execute(keep, &[&"video_sessions_functions_url", &url]).await?;
    assert_eq!(tick(&db).await?, Vec::<Value>::new());
    db.execute(keep, &[&"video_sessions_secret_key", &"sb_secret_x"])
        .await?;
    let expected = json!({
        "url": "https://project.supabase.co/functions/v1/zoom-sync", "body": {}, "params": {},
        "headers": {"content-type": "application/json", "apikey": "sb_secret_x"}, "timeout_milliseconds": 55000,
    });
    assert_eq!(tick(&db).await?, [expected]);

    // It hands the key out to nobody, nor a way to spend it.
    for role in ["anon", "authenticated", "service_role"] {
        let may = "select has_function_privilege($1, 'video_sessions_private.run_zoom_sync()', 'execute')";
        assert!(!db.query_one(may, &[&role]).await?.get::<_, bool>(0), "{role}");
    }
    stack.stop().await
}
