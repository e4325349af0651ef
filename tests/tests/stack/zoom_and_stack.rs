//! The Zoom simulator as a part of the stack: faults reach the functions, events the webhook, and time passes for all.

use crate::support::{new_session, User};
use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use local_stack::zoom::{DeliveryPlan, Endpoint, Fault, SecretKind, Signature, TokenStatus, Truncation, Webhooks};
use local_stack::{Stack, StackOptions};
use serde_json::{json, Value};

/// A stack with a trainer who has connected Zoom.
async fn connected() -> Result<(Stack, User)> {
    let stack = Stack::start_local(StackOptions::default()).await?;
    let trainer = User::sign_in(&stack, "trainer").await?;
    trainer.connect_zoom("trainer@zoom.test").await?;
    stack.gateway().clear();
    stack.zoom().clear_calls();
    Ok((stack, trainer))
}

async fn create(trainer: &User) -> Result<Value> {
    trainer.call("create-session", &new_session(json!({}))).await?.ok()
}

#[tokio::test]
async fn calls_are_recorded_in_order_and_faults_reach_the_functions() -> Result<()> {
    let (stack, trainer) = connected().await?;
    create(&trainer).await?;
    let calls = stack.outbound_calls();
    let own: Vec<_> = calls
        .iter()
        .filter(|call| !call.what.contains("jwks"))
        .map(ToString::to_string)
        .collect();
    let expected = [
        "/rest/v1/rpc/edge_session_begin 200",
        "zoom create_meeting 201",
        "/rest/v1/rpc/edge_session_complete 200",
    ];
    assert_eq!(own, expected);
    assert!(calls.windows(2).all(|pair| pair[0].number < pair[1].number));

    let create_meeting = Endpoint::CreateMeeting;
    for fault in [
        Fault::at(create_meeting).after_acting().dropping(),
        Fault::at(create_meeting).truncating(Truncation::Broken),
        Fault::at(create_meeting).truncating(Truncation::Fitting),
    ] {
        stack.zoom().clear_calls();
        let meetings = stack.zoom().live_meetings().len();
        stack.zoom().order(fault)?;
        let lost = trainer.call("create-session", &new_session(json!({}))).await?;
        assert_eq!(lost.status, 503, "{}", lost.text);
        assert_eq!(stack.zoom().live_meetings().len(), meetings + 1);
        let calls = stack.zoom().calls();
        assert_eq!(
            (calls.len(), calls[0].acted),
            (1, true),
            "nobody on the way tries again: {calls:?}"
        );
    }
    stack.zoom().order(Fault::at(create_meeting).dropping())?;
    let meetings = stack.zoom().live_meetings().len();
    assert_eq!(
        trainer.call("create-session", &new_session(json!({}))).await?.status,
        503
    );
    assert_eq!(stack.zoom().live_meetings().len(), meetings);
    stack.stop().await
}

#[tokio::test]
async fn events_reach_the_webhook() -> Result<()> {
    let (stack, trainer) = connected().await?;
    let zoom = stack.zoom();
    zoom.validate_endpoint().await?;
    create(&trainer).await?;
    let meeting = zoom.meetings()[0].id.clone();
    zoom.start_meeting(&meeting)?;
    zoom.end_meeting(&meeting)?;
    let plan = DeliveryPlan {
        copies: 2,
        spoiled_share: 0.5,
        ..DeliveryPlan::default()
    };
    for report in zoom.deliver(&plan).await? {
        let expected = if report.signature == Signature::Genuine {
            200
        } else {
            401
        };
        assert_eq!(report.status, Some(expected), "{report:?}");
    }
    let db = stack.db().await?;
    let row = db
        .query_one(
            "select status, (select count(*) from video_sessions_private.meeting_instances where ended_at is not null)
             from public.video_sessions",
            &[],
        )
        .await?;
    // A look the day before: the meeting was held, the session is still to come.
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i64>(1)), ("scheduled", 1));

    zoom.change_rules(|rules| rules.webhooks = Webhooks::Sent);
    zoom.deauthorize("trainer@zoom.test")?;
    zoom.settled().await?;
    assert_eq!(trainer.connection().await?["state"], "not_connected");
    stack.stop().await
}

#[tokio::test]
async fn time_passes_for_the_database_and_for_zoom() -> Result<()> {
    let (stack, trainer) = connected().await?;
    let session = create(&trainer).await?;
    let before: DateTime<Utc> = session["scheduled_start"]
        .as_str()
        .context("scheduled_start")?
        .parse()?;
    let tokens = stack.zoom().issued_secrets();
    let access_token = tokens
        .iter()
        .find(|secret| secret.kind == SecretKind::AccessToken)
        .context("a token")?;
    stack.travel(TimeDelta::hours(2)).await?;
    assert_eq!(
        stack.zoom().token_status(&access_token.value),
        Some(TokenStatus::Expired)
    );
    let db = stack.db().await?;
    let row = db
        .query_one(
            "select s.scheduled_start, c.request->>'scheduled_start', s.updated_at
             from public.video_sessions as s, video_sessions_private.session_creations as c",
            &[],
        )
        .await?;
    let planned: DateTime<Utc> = row.get(0);
    assert_eq!(before - planned, TimeDelta::hours(2));
    assert_eq!(stack.zoom().meetings()[0].start_time.timestamp(), planned.timestamp());
    assert!(
        row.get::<_, DateTime<Utc>>(2) < Utc::now() - TimeDelta::hours(2),
        "no trigger has touched it"
    );
    if let Some(requested) = row.get::<_, Option<&str>>(1) {
        assert_eq!(requested.parse::<DateTime<Utc>>()?.timestamp(), planned.timestamp());
    }
    let waiting = db
        .query_one("select count(*) from video_sessions_private.zoom_outbox", &[])
        .await?;
    assert_eq!(waiting.get::<_, i64>(0), 0);

    // The stored start URL has run out, and the access token with it: both are renewed.
    stack.gateway().clear();
    stack.zoom().clear_calls();
    let started = trainer
        .call("start-session", &json!({"session_id": session["id"]}))
        .await?
        .ok()?;
    let start_url = started["host_start_url"].as_str().context("host_start_url")?;
    assert_eq!(
        stack.zoom().opened_by(start_url),
        Some(stack.zoom().meetings()[0].id.clone())
    );
    let calls: Vec<_> = stack.outbound_calls().into_iter().map(|call| call.what).collect();
    assert!(calls.contains(&"zoom token_refresh".to_owned()), "{calls:?}");

    stack.travel(TimeDelta::days(91)).await?;
    assert_eq!(
        trainer.call("create-session", &new_session(json!({}))).await?.status,
        403
    );
    assert_eq!(trainer.connection().await?["state"], "expired");
    stack.stop().await
}

#[tokio::test]
async fn the_dump_holds_everything_but_usable_tokens() -> Result<()> {
    let (stack, trainer) = connected().await?;
    let session = create(&trainer).await?;
    let dump = stack.dump().await?;
    assert!(dump.contains("public.user_integrations_zoom\n{") && dump.contains("video_sessions_private.time_zones\n{"));
    assert!(dump.contains(session["share_code"].as_str().context("share_code")?));
    for secret in stack.zoom().issued_secrets() {
        let entitled = matches!(secret.kind, SecretKind::StartUrl | SecretKind::StartToken);
        assert_eq!(dump.contains(&secret.value), entitled, "{:?}", secret.kind);
    }
    stack.stop().await
}

#[tokio::test]
async fn the_web_client_finds_its_platform_and_functions_their_origin() -> Result<()> {
    let stack = Stack::start_local(StackOptions {
        env: [("APP_REDIRECT_URI".to_owned(), "{url}/?connected".to_owned())].into(),
        ..StackOptions::default()
    })
    .await?;
    let config = reqwest::get(format!("{}/config.json", stack.url()))
        .await?
        .json::<Value>()
        .await?;
    assert_eq!(
        config,
        json!({"supabase_url": stack.url(), "publishable_key": stack.publishable_key()})
    );
    let simulator = reqwest::get(stack.simulator_url()).await?.text().await?;
    assert!(simulator.contains("trainer@zoom.test"));

    let trainer = User::sign_in(&stack, "trainer").await?;
    let returned = trainer.connect_zoom("trainer@zoom.test").await?;
    let text = format!("{} {}", returned.text, returned.header("location"));
    assert!(text.contains(&format!("{}/?connected", stack.url())), "{text}");
    stack.stop().await
}
