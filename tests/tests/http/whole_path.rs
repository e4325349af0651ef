//! The whole path: connect Zoom, create, join, start, disconnect.

use crate::support::{new_session, User};
use anyhow::{Context, Result};
use local_stack::{Stack, StackOptions};
use serde_json::json;

#[tokio::test]
async fn connect_create_join_start_disconnect() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let client = User::sign_in(&stack, "client1").await?;
    assert_eq!(trainer.connection().await?["state"], "not_connected");

    let page = trainer.connect_zoom("trainer@zoom.test").await?;
    assert_eq!(page.status, 200);
    assert!(
        page.text.contains("cotrainr://video/zoom-connected?success=1"),
        "{}",
        page.text
    );
    let connection = trainer.connection().await?;
    assert_eq!(connection["state"], "connected");
    assert_eq!(connection["zoom_account_email"], "trainer@zoom.test");

    let session = trainer
        .call(
            "create-session",
            &new_session(json!({"timezone": "Europe/Berlin", "description": "Bring a mat."})),
        )
        .await?
        .ok()?;
    assert_eq!(session["timezone"], "Europe/Berlin");
    let share_code = session["share_code"].as_str().context("no share_code")?;
    assert!(session["invite_url"]
        .as_str()
        .context("no invite_url")?
        .ends_with(share_code));
    assert!(session.get("host_start_url").is_none(), "{session}");

    assert_eq!(client.select("video_sessions?select=id").await?.ok()?, json!([]));
    let look = json!({"share_code": share_code, "preview": true});
    let shown = client.call("join-session", &look).await?.ok()?;
    assert_eq!(shown["title"], session["title"]);
    assert_eq!((&shown["seats_left"], &shown["joined"]), (&json!(2), &json!(false)));
    assert!(shown.get("join_url").is_none() && shown.get("id").is_none(), "{shown}");
    assert_eq!(client.select("video_sessions?select=id").await?.ok()?, json!([]));
    let joined = client
        .call("join-session", &json!({"share_code": share_code}))
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
    let nothing = json!({"changes": 0, "deletions": 0, "creations": 0});
    assert_eq!(disconnected, json!({"state": "not_connected", "left_at_zoom": nothing}));
    assert_eq!(trainer.connection().await?["state"], "not_connected");
    let row = stack
        .db()
        .await?
        .query_one(
            "select (select count(*) from public.user_integrations_zoom) + (select count(*) from video_sessions_private.zoom_revocations)",
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
    assert_eq!(refused.json["error"], "Connect Zoom first, then try again.");
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
    let started = trainer
        .call("start-session", &json!({"session_id": session["id"]}))
        .await?
        .ok()?;
    assert_eq!(started, json!({"host_start_url": link, "expires_at": null}));
    assert!(stack.zoom().calls().is_empty());
    stack.stop().await
}

/// The same path as an app takes it: with the real client library. In the end it prints `fine`.
const SUPABASE_JS: &str = r#"
import assert from "node:assert";
import { createClient } from "@supabase/supabase-js";
const [url, key] = process.argv.slice(1);
// Node 20 has no WebSocket, which the client demands even where nothing is in real time.
const client = async (email) => {
  const supabase = createClient(url, key, { auth: { persistSession: false }, realtime: { transport: class {} } });
  ok(await supabase.auth.signInWithPassword({ email, password: "demo-password" }));
  return supabase;
};
const ok = ({ data, error }) => { assert.ifError(error); return data; };

const trainer = await client("trainer@demo.test");
const guest = await client("client1@demo.test");
const session = {
  title: "Check-in", scheduled_start: new Date(Date.now() + 86_400_000).toISOString(), duration_minutes: 45, max_participants: 2,
};

const early = await trainer.functions.invoke("create-session", { body: session });
assert.equal(early.error.context.status, 403);
assert.equal((await early.error.context.json()).code, "zoom_not_connected");

const { auth_url } = ok(await trainer.functions.invoke("zoom-oauth-start"));
const consent = await fetch(auth_url, { method: "POST", body: new URLSearchParams({ decision: "allow" }) });
const [, handle] = (await consent.text()).match(/zoom-connected\?success=1&amp;handle=([\w-]+)/);
assert.equal(ok(await trainer.rpc("zoom_connection")).state, "not_connected");
assert.ok((await guest.rpc("confirm_zoom_connection", { handle })).error);
ok(await trainer.rpc("confirm_zoom_connection", { handle }));
const connection = ok(await trainer.rpc("zoom_connection"));
assert.equal(connection.state, "connected");
assert.match(connection.zoom_account_email, /@/);

const headers = { "idempotency-key": "one-tap" };
const created = ok(await trainer.functions.invoke("create-session", { body: session, headers }));
assert.deepEqual(ok(await trainer.functions.invoke("create-session", { body: session, headers })), created);
const seen = ok(await trainer.from("video_sessions").select("*, video_session_participants(user_id, role)"));
assert.equal(seen.length, 1);
assert.equal(seen[0].video_session_participants[0].role, "host");

const joined = ok(await guest.functions.invoke("join-session", { body: { share_code: created.share_code } }));
assert.equal(joined.join_url, created.join_url);
assert.deepEqual(ok(await guest.from("video_session_host_meta").select()), []);
const wrong = await guest.functions.invoke("join-session", { body: { share_code: "0000-0000-0000" } });
assert.equal(wrong.error.context.status, 404);
const why = await wrong.error.context.json();
assert.equal(why.code, "session_not_joinable");
assert.match(why.error, /ask your host/);

const { host_start_url } = ok(await trainer.functions.invoke("start-session", { body: { session_id: created.id } }));
assert.match(host_start_url, /zak=/);
const refused = await guest.functions.invoke("start-session", { body: { session_id: created.id } });
assert.equal((await refused.error.context.json()).code, "not_the_host");

ok(await trainer.from("video_sessions").update({ title: "Moved" }).eq("id", created.id));
assert.equal(ok(await guest.from("video_sessions").select("title").single()).title, "Moved");
assert.deepEqual(ok(await trainer.functions.invoke("zoom-disconnect")), {
  state: "not_connected",
  left_at_zoom: { changes: 0, deletions: 0, creations: 0 },
});
assert.equal(ok(await trainer.rpc("zoom_connection")).state, "not_connected");
console.log("fine");
"#;

#[tokio::test]
async fn the_same_with_supabase_js() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
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
    stack.stop().await
}
