//! Sign-in as it is in the field: a legacy secret with and without a standby key, a custom domain. Everybody who signed
//! in gets through, and nobody else.

use crate::support::{new_session, Reply, User};
use anyhow::Result;
use local_stack::{Signing, Stack, StackOptions};
use reqwest::Method;
use serde_json::json;

async fn check(options: StackOptions) -> Result<()> {
    let stack = Stack::start(options).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    let client = User::sign_in(&stack, "client1").await?;
    trainer.connect_zoom("trainer@zoom.test").await?;
    let session = trainer.call("create-session", &new_session(json!({}))).await?.ok()?;
    let joined = client
        .call("join-session", &json!({"share_code": session["share_code"]}))
        .await?;
    assert_eq!(joined.code(), (200, "ok"));
    trainer
        .call("start-session", &json!({"session_id": session["id"]}))
        .await?
        .ok()?;
    trainer.call("zoom-sync", &json!({})).await?.ok()?;

    let nobody = User::nobody(&stack);
    let user_id = trainer.signed_in.as_ref().map(|user| user.user_id).unwrap_or_default();
    let forged = stack.issuer().forged_tokens(user_id)?;
    println!("{} tokens", forged.len());
    for forged in &forged {
        let request = nobody
            .request(Method::POST, "/functions/v1/create-session")
            .bearer_auth(&forged.token)
            .json(&new_session(json!({})));
        let reply = Reply::read(request.send().await?).await?;
        let code = if forged.expired {
            "token_expired"
        } else {
            "unauthorized"
        };
        assert_eq!(reply.code(), (401, code), "{}: {}", forged.what, reply.text);
    }
    let sessions = trainer.select("video_sessions?select=id").await?;
    assert_eq!(sessions.json.as_array().map(Vec::len), Some(1));
    stack.stop().await
}

#[tokio::test]
async fn a_legacy_secret() -> Result<()> {
    check(StackOptions {
        signing: Signing::LegacySecret,
        ..StackOptions::default()
    })
    .await
}

#[tokio::test]
async fn a_legacy_secret_beside_a_standby_key() -> Result<()> {
    check(StackOptions {
        signing: Signing::LegacySecretBesideStandbyKey,
        ..StackOptions::default()
    })
    .await
}

#[tokio::test]
async fn a_custom_domain() -> Result<()> {
    let issuer = "https://ref.supabase.co/auth/v1".to_owned();
    check(StackOptions {
        env: [("SUPABASE_JWT_ISSUER".to_owned(), issuer.clone())].into(),
        issuer: Some(issuer),
        ..StackOptions::default()
    })
    .await
}
