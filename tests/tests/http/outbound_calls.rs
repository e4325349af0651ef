//! How many calls to others a function makes, one after another: every one of them is time that a person waits.

use crate::support::{new_session, User};
use anyhow::{Context, Result};
use local_stack::{Caller, Jwks, Stack, StackOptions};
use serde_json::json;

/// What functions asked of the gateway (by path) and of Zoom (by endpoint) since the last look.
fn outbound(stack: &Stack) -> Vec<String> {
    let requests = stack.gateway().requests();
    let inward = requests.iter().filter(|request| request.caller == Caller::Edge);
    let mut calls: Vec<String> = inward.map(|request| request.path.clone()).collect();
    calls.extend(
        stack
            .zoom()
            .calls()
            .iter()
            .map(|call| format!("zoom {}", call.endpoint)),
    );
    stack.gateway().clear();
    stack.zoom().clear_calls();
    calls
}

async fn count_all(jwks: Jwks, verification: usize) -> Result<()> {
    let options = StackOptions {
        jwks,
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let db = stack.db().await?;
    // Each function keeps its own key set: the first call of each may fetch it, later ones may not.
    for (function, body) in [
        ("zoom-oauth-start", json!({})),
        ("create-session", new_session(json!({}))),
        (
            "start-session",
            json!({"session_id": "00000000-0000-4000-8000-000000000000"}),
        ),
        ("zoom-disconnect", json!({})),
    ] {
        outbound(&stack);
        trainer.call(function, &body).await?;
        let calls = outbound(&stack);
        assert_eq!(
            calls.iter().filter(|path| path.contains("jwks")).count(),
            verification,
            "{function}: {calls:?}"
        );
    }

    let started = trainer.call("zoom-oauth-start", &json!({})).await?.ok()?;
    assert_eq!(outbound(&stack), ["/rest/v1/rpc/edge_oauth_begin"]);

    let callback = trainer.consent(&started, "trainer@zoom.test", "allow").await?;
    outbound(&stack);
    let page = trainer.browse(&callback).await?;
    let calls = outbound(&stack);
    assert_eq!(
        calls,
        [
            "/rest/v1/rpc/edge_oauth_consume",
            "/rest/v1/rpc/edge_oauth_complete",
            "zoom token",
            "zoom users_me",
        ]
    );

    // Confirming is the app's own call.
    let confirmed = trainer.confirm(&page.handle().context("no handle")?).await?;
    assert_eq!(confirmed.status, 204, "{}", confirmed.text);
    assert!(outbound(&stack).is_empty());

    let session = trainer.call("create-session", &new_session(json!({}))).await?.ok()?;
    let create = [
        "/rest/v1/rpc/edge_session_begin",
        "/rest/v1/rpc/edge_session_complete",
        "zoom create_meeting",
    ];
    assert_eq!(outbound(&stack), create);

    db.execute(
        "update public.user_integrations_zoom set access_token_expires_at = now()",
        &[],
    )
    .await?;
    trainer.call("create-session", &new_session(json!({}))).await?.ok()?;
    assert_eq!(
        outbound(&stack),
        [
            "/rest/v1/rpc/edge_session_begin",
            "/rest/v1/rpc/edge_refresh_commit",
            "/rest/v1/rpc/edge_session_complete",
            "zoom token",
            "zoom create_meeting",
        ]
    );

    let start = json!({"session_id": session["id"]});
    trainer.call("start-session", &start).await?.ok()?;
    assert_eq!(outbound(&stack), ["/rest/v1/rpc/edge_start_begin"]);

    db.execute(
        "update public.video_session_host_meta set expires_at = now() + interval '9 minutes'",
        &[],
    )
    .await?;
    trainer.call("start-session", &start).await?.ok()?;
    assert_eq!(
        outbound(&stack),
        [
            "/rest/v1/rpc/edge_start_begin",
            "/rest/v1/rpc/edge_start_complete",
            "zoom get_meeting"
        ]
    );

    trainer.call("zoom-disconnect", &json!({})).await?.ok()?;
    assert_eq!(
        outbound(&stack),
        [
            "/rest/v1/rpc/edge_disconnect_begin",
            "/rest/v1/rpc/edge_disconnect_complete",
            "zoom revoke",
        ]
    );
    stack.stop().await
}

#[tokio::test]
async fn with_a_key_set_that_is_fetched_once() -> Result<()> {
    count_all(Jwks::Url, 1).await
}

#[tokio::test]
async fn with_a_key_set_in_the_configuration() -> Result<()> {
    count_all(Jwks::Inline, 0).await
}
