//! The whole path: connect Zoom, create, join, start, disconnect.

mod support;

use anyhow::{Context, Result};
use local_stack::{Stack, StackOptions};
use serde_json::json;
use support::{new_session, User};

#[tokio::test]
async fn connect_create_join_start_disconnect() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let client = User::sign_in(&stack, "client1").await?;
    assert_eq!(trainer.connection().await?["state"], "not_connected");

    let page = trainer.connect_zoom("trainer@zoom.test").await?;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("cotrainr://video/zoom-connected?success=1"), "{}", page.text);
    let connection = trainer.connection().await?;
    assert_eq!(connection["state"], "connected");
    assert_eq!(connection["zoom_account_email"], "trainer@zoom.test");

    let session = trainer
        .call("create-session", &new_session(json!({"timezone": "Europe/Berlin", "description": "Bring a mat."})))
        .await?
        .ok()?;
    assert_eq!(session["timezone"], "Europe/Berlin");
    let share_code = session["share_code"].as_str().context("no share_code")?;
    assert!(session["invite_url"].as_str().context("no invite_url")?.ends_with(share_code));
    assert!(session.get("host_start_url").is_none(), "{session}");

    assert_eq!(client.select("video_sessions?select=id").await?.ok()?, json!([]));
    let joined = client
        .rpc("join_video_session", &json!({"share_code": share_code}))
        .await?
        .ok()?;
    assert_eq!(joined["join_url"], session["join_url"]);
    let seen = client.select("video_sessions?select=id,join_url").await?.ok()?;
    assert_eq!(seen, json!([{"id": session["id"], "join_url": session["join_url"]}]));

    let started = trainer
        .call("start-session", &json!({"session_id": session["id"]}))
        .await?
        .ok()?;
    let start_url = started["host_start_url"].as_str().context("no host_start_url")?;
    assert!(start_url.contains("zak="), "{start_url}");

    let disconnected = trainer.call("zoom-disconnect", &json!({})).await?.ok()?;
    assert_eq!(disconnected, json!({"state": "not_connected"}));
    assert_eq!(trainer.connection().await?["state"], "not_connected");
    let row = stack
        .db()
        .await?
        .query_one(
            "select (select count(*) from public.user_integrations_zoom) + (select count(*) from private.zoom_departures)",
            &[],
        )
        .await?;
    assert_eq!(row.get::<_, i64>(0), 0, "no token is left in the database");
    let tokens = stack.zoom().state()["tokens"].clone();
    for token in tokens.as_array().context("no tokens")? {
        assert_ne!(token["status"], "live", "{token}");
    }
    let refused = trainer.call("create-session", &new_session(json!({}))).await?;
    assert_eq!(refused.code(), (403, "zoom_not_connected"));
    assert_eq!(refused.json["error"], "Connect Zoom before creating a session.");
    stack.stop().await
}

#[tokio::test]
async fn an_external_session_talks_to_nobody() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let link = "https://meet.example/room";
    let body = new_session(json!({"provider": "external", "join_url": link}));
    let session = trainer.call("create-session", &body).await?.ok()?;
    assert_eq!(session["join_url"], link);
    let started = trainer.call("start-session", &json!({"session_id": session["id"]})).await?.ok()?;
    assert_eq!(started, json!({"host_start_url": link, "expires_at": null}));
    assert!(stack.zoom().calls().is_empty());
    stack.stop().await
}
