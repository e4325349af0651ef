//! The requests that are measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::Utc;
use reqwest::RequestBuilder;
use ring::hmac;
use serde_json::json;

use crate::contestants::{new_session, Contestant, Setup};
use crate::load;

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A session with its meeting.
    Create,
    /// The address of the consent page.
    OauthStart,
    /// An event about a meeting that nobody knows.
    Webhook,
    /// A text that is not a token.
    GarbledToken,
    /// A token whose signature is another's.
    WrongSignature,
    /// An event that Zoom did not sign.
    ForgedEvent,
    /// The floor.
    Hello,
    /// The floor of a function that makes three calls.
    ThreeCalls,
}

impl Scenario {
    /// As the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create-session",
            Self::OauthStart => "zoom-oauth-start",
            Self::Webhook => "zoom-webhook",
            Self::GarbledToken => "refusal: garbled token",
            Self::WrongSignature => "refusal: wrong signature",
            Self::ForgedEvent => "refusal: forged event",
            Self::Hello => "hello",
            Self::ThreeCalls => "three calls",
        }
    }

    fn module(self) -> &'static str {
        match self {
            Self::Create | Self::GarbledToken | Self::WrongSignature => "create-session",
            Self::OauthStart => "zoom-oauth-start",
            Self::Webhook | Self::ForgedEvent => "zoom-webhook",
            Self::Hello => "hello",
            Self::ThreeCalls => "three-calls",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::GarbledToken | Self::WrongSignature | Self::ForgedEvent => 401,
            _ => 200,
        }
    }

    /// Sends `count` of them, `at_once` at a time.
    pub async fn send(
        self,
        setup: &Setup,
        contestant: &Contestant,
        count: usize,
        at_once: usize,
    ) -> Result<Vec<Duration>> {
        let url = contestant.url(self.module());
        let secret = setup
            .stack
            .env("ZOOM_WEBHOOK_SECRET_TOKEN")
            .await
            .context("no webhook secret")?;
        let make = |_| Ok(self.request(setup, &url, &secret).build()?);
        load::send(&setup.client, count, at_once, self.status(), make).await
    }

    fn request(self, setup: &Setup, url: &str, secret: &str) -> RequestBuilder {
        let post = setup.client.post(url);
        let token = &setup.host.access_token;
        match self {
            Self::Create => post.bearer_auth(token).json(&new_session()),
            Self::OauthStart => post.bearer_auth(token),
            Self::GarbledToken => post.bearer_auth("eyJhbGciOiJFUzI1NiJ9.garbled").json(&new_session()),
            Self::WrongSignature => {
                let (signed, signature) = token.rsplit_once('.').unwrap_or_default();
                let turned: String = signature.chars().rev().collect();
                post.bearer_auth(format!("{signed}.{turned}")).json(&new_session())
            }
            Self::Webhook => event(post, secret),
            Self::ForgedEvent => event(post, "another secret"),
            Self::Hello | Self::ThreeCalls => post,
        }
    }
}

fn event(post: RequestBuilder, secret: &str) -> RequestBuilder {
    // No two are alike, or the second would be a repetition.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let body = json!({
        "event": "meeting.started", "event_ts": Utc::now().timestamp_millis(),
        "payload": {"account_id": "abc", "object": {
            "id": "99999999999", "uuid": format!("{}==", NUMBER.fetch_add(1, Ordering::Relaxed)), "type": 2,
            "topic": "First check-in", "start_time": "2026-03-01T17:00:00Z", "timezone": "Europe/Berlin",
            "duration": 30, "host_id": "h",
        }},
    });
    let (body, timestamp) = (body.to_string(), Utc::now().timestamp());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("v0:{timestamp}:{body}").as_bytes());
    let signature: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    post.header("content-type", "application/json")
        .header("x-zm-request-timestamp", timestamp.to_string())
        .header("x-zm-signature", format!("v0={signature}"))
        .body(body)
}
