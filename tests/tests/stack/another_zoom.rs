//! The local stack with a Zoom that is not its own, as `cargo xtask dev --real-zoom` has it: another stack's simulator
//! stands in for Zoom.

use std::collections::BTreeMap;

use crate::support::{new_session, User};
use anyhow::{Context, Result};
use local_stack::zoom::NewUser;
use local_stack::{Stack, StackOptions};
use serde_json::json;

#[tokio::test]
async fn sessions_become_meetings_at_a_zoom_outside() -> Result<()> {
    let outside = Stack::start_local(StackOptions::default()).await?;
    let zoom = outside.simulator_url();
    let mut env = BTreeMap::new();
    for name in ["ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET", "ZOOM_REDIRECT_URI"] {
        env.insert(name.to_owned(), outside.env(name).await.context(name)?);
    }
    env.insert("ZOOM_OAUTH_URL".to_owned(), format!("{zoom}/oauth"));
    env.insert("ZOOM_API_URL".to_owned(), format!("{zoom}/v2"));
    let stack = Stack::start_local(StackOptions {
        env,
        outside: vec![zoom.to_owned()],
        ..StackOptions::default()
    })
    .await?;

    let host = User::sign_in(&stack, "trainer").await?;
    outside.zoom().create_user(NewUser::named("host@zoom.test"))?;
    let started = host.call("zoom-oauth-start", &json!({})).await?.ok()?;
    // That Zoom sends browsers to the stack that it belongs to: this browser goes to ours.
    let callback = host.consent(&started, "host@zoom.test", "allow").await?;
    let page = host.come_back(&callback.replace(outside.url(), stack.url())).await?;
    assert!(page.text.contains("success=1"), "{} {}", page.status, page.text);
    let session = host.call("create-session", &new_session(json!({}))).await?.ok()?;

    let meetings = outside.zoom().live_meetings();
    assert_eq!(meetings.len(), 1);
    assert_eq!(session["provider_meeting_id"], meetings[0].id);
    assert!(
        stack.zoom().calls().is_empty(),
        "the stack's own Zoom knows nothing of it"
    );
    stack.stop().await?;
    outside.stop().await
}

#[tokio::test]
async fn what_is_not_named_is_out_of_bounds() -> Result<()> {
    let outside = Stack::start_local(StackOptions::default()).await?;
    let env = BTreeMap::from([("ZOOM_API_URL".to_owned(), format!("{}/v2", outside.simulator_url()))]);
    let stack = Stack::start_local(StackOptions {
        env,
        ..StackOptions::default()
    })
    .await?;
    let host = User::sign_in(&stack, "trainer").await?;
    let page = host.connect_zoom("trainer@zoom.test").await?;
    assert!(page.text.contains("zoom_unavailable"), "{} {}", page.status, page.text);
    assert!(outside.zoom().calls().is_empty());
    stack.stop().await?;
    outside.stop().await
}
