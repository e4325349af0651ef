//! Where the two hosts of the functions differ. Everything else here runs on either, the same tests with the same
//! outcome: `EDGE_RUNTIME=deno cargo test …` runs them on Supabase's.
//!
//! | | Cloudflare (workerd) | Supabase (Deno) |
//! |---|---|---|
//! | HTML | is served | on the shared domain it would become text, so the way back to the app is a redirect |
//! | the clock that runs `zoom-sync` | a cron trigger | `pg_cron` posts, with a secret key |
//! | a kept connection breaks | the request fails | one without a body may be sent again, once |

use crate::support::connection::until;
use crate::support::{new_session, Reply, User};
use anyhow::{Context, Result};
use local_stack::zoom::{Endpoint, Fault};
use local_stack::{EdgeRuntime, Stack, StackOptions, SHARED_DOMAIN};
use reqwest::Method;
use serde_json::json;

/// What the browser hears where Zoom sends it.
async fn come_back(stack: &Stack, user: &User, address: &str) -> Result<Reply> {
    let address = address
        .strip_prefix(SHARED_DOMAIN)
        .context("not on the shared domain")?;
    user.browse(&format!("{}{address}", stack.url())).await
}

#[tokio::test]
async fn the_way_back_from_the_shared_domain_is_a_redirect() -> Result<()> {
    let options = StackOptions {
        on_shared_domain: true,
        ..StackOptions::default()
    };
    let stack = Stack::start_local(options).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    for (decision, outcome, state) in [
        ("deny", "error=access_denied", "not_connected"),
        ("allow", "success=1", "connected"),
    ] {
        let started = trainer.call("zoom-oauth-start", &json!({})).await?.ok()?;
        let address = trainer.consent(&started, "trainer@zoom.test", decision).await?;
        // A browser that comes again goes the same way.
        for _ in 0..2 {
            let answer = come_back(&stack, &trainer, &address).await?;
            assert_eq!((answer.status, answer.text.as_str()), (302, ""));
            let handle = answer.handle().map(|handle| format!("&handle={handle}"));
            assert_eq!(
                answer.header("location"),
                format!(
                    "cotrainr://video/zoom-connected?{outcome}{}",
                    handle.unwrap_or_default()
                )
            );
            if let Some(handle) = answer.handle() {
                assert_eq!(trainer.confirm(&handle).await?.status, 204);
            }
        }
        assert_eq!(trainer.connection().await?["state"], state);
    }

    // On a domain of its own the same function serves a page.
    let own = format!("{}/functions/v1/zoom-oauth-callback", stack.url());
    stack.set_env("ZOOM_REDIRECT_URI", &own).await;
    stack.restart_worker(0).await?;
    let page = trainer.browse(&format!("{own}?state=none")).await?;
    assert_eq!(
        (page.status, page.header("content-type")),
        (400, "text/html; charset=utf-8")
    );
    assert!(page.text.contains("error=invalid_state"), "{}", page.text);
    stack.stop().await
}

#[tokio::test]
async fn the_clock_of_each_host_runs_zoom_sync() -> Result<()> {
    let stack = Stack::start_local(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    trainer.connect_zoom("trainer@zoom.test").await?;
    let session = trainer.call("create-session", &new_session(json!({}))).await?.ok()?;
    let id = session["id"].as_str().context("no id")?;
    let query = format!("video_sessions?id=eq.{id}");
    let renamed = trainer
        .write(Method::PATCH, &query, &json!({"title": "Renamed"}))
        .await?;
    assert_eq!(renamed.status, 200);

    let clock = "/functions/v1/zoom-sync/__scheduled";
    let kind = match stack.edge_runtime() {
        EdgeRuntime::Workerd => {
            let address = format!("{}{clock}", stack.url());
            let refused = User::nobody(&stack).browse(&address).await?;
            assert_eq!((refused.status, refused.text.as_str()), (401, ""));
            let run = reqwest::Client::new()
                .get(&address)
                .header("apikey", stack.secret_key());
            let ran = Reply::read(run.send().await?).await?;
            assert_eq!((ran.status, &ran.json["outcome"]), (200, &json!("ok")), "{}", ran.text);
            "cron"
        }
        EdgeRuntime::Deno => {
            let address = format!("{}/functions/v1/zoom-sync", stack.url());
            let post = || reqwest::Client::new().post(&address);
            assert_eq!(Reply::read(post().send().await?).await?.code(), (401, "unauthorized"));
            let ran = post().header("apikey", stack.secret_key()).send().await?;
            assert_eq!(Reply::read(ran).await?.ok()?["outbox"]["sent"], 1);
            "service"
        }
    };
    let meetings = stack.zoom().live_meetings();
    let titles: Vec<_> = meetings.iter().map(|meeting| meeting.topic.as_str()).collect();
    assert_eq!(titles, ["Renamed"]);
    let ran =
        |line: &String| line.contains(r#""function":"zoom-sync""#) && line.contains(&format!(r#""kind":"{kind}""#));
    until("its line is there", async || Ok(stack.logs().iter().any(ran))).await?;
    stack.stop().await
}

#[tokio::test]
async fn only_requests_without_a_body_are_ever_sent_again() -> Result<()> {
    let stack = Stack::start_local(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    trainer.connect_zoom("trainer@zoom.test").await?;
    let create = async || trainer.call("create-session", &new_session(json!({}))).await;
    let session = create().await?.ok()?;
    let start = async || {
        let forget = "update public.video_session_host_meta set expires_at = now()";
        stack.db().await?.execute(forget, &[]).await?;
        let body = json!({"session_id": session["id"]});
        trainer.call("start-session", &body).await
    };
    let (mut created, mut read) = (0, 0);
    for _ in 0..10 {
        // With a body: a meeting is made. What went well before leaves a connection to keep.
        create().await?.ok()?;
        stack.zoom().clear_calls();
        stack.zoom().order(Fault::at(Endpoint::CreateMeeting).dropping())?;
        assert_eq!(create().await?.code(), (503, "zoom_outcome_unknown"));
        created += stack.zoom().calls().len();

        // Without: the meeting is read for its start URL.
        start().await?.ok()?;
        stack.zoom().clear_calls();
        stack.zoom().order(Fault::at(Endpoint::GetMeeting).dropping())?;
        let started = start().await?;
        let calls = stack.zoom().calls().len();
        let code = if calls == 1 {
            (503, "zoom_unavailable")
        } else {
            (200, "ok")
        };
        assert_eq!(started.code(), code);
        read += calls;
    }
    assert_eq!(created, 10);
    match stack.edge_runtime() {
        EdgeRuntime::Workerd => assert_eq!(read, 10),
        // Some went out on connections that had been kept, which is Deno's choice.
        EdgeRuntime::Deno => assert!((11..=20).contains(&read), "{read}"),
    }
    stack.stop().await
}
