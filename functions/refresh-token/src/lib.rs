//! `POST refresh-token`: keeps connections alive.
//!
//! A host refreshes the own connection and learns its state. A service (secret key) refreshes all connections that are
//! due: those that will be needed within ten minutes, and those that nobody has used for 30 days, since Zoom lets a
//! refresh token die after 90.

use chrono::TimeDelta;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    auth::User,
    call::{json_answer, Answer, Call, Endpoint},
    config::Need,
    error::Error,
    time::now,
};
use uuid::Uuid;

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "refresh-token",
    method: Method::POST,
    needs: &[Need::Zoom],
};

/// An access token with less than this is refreshed, in seconds.
const MIN_SECONDS: u32 = 10 * 60;
/// One run refreshes at most this many connections, and begins none after this time.
const MAX_CONNECTIONS: u32 = 100;
const LONGEST_RUN: TimeDelta = TimeDelta::seconds(20);

/// Refreshes the caller's connection, or all that are due.
///
/// # Errors
/// [`Error::ZoomUnavailable`] while Zoom's token endpoint fails, and those of every function.
pub async fn handle(call: &Call<'_>) -> Result<Answer, Error> {
    match call.service() {
        Ok(_) => refresh_due(call).await,
        Err(_) => refresh_own(call, call.user().await?).await,
    }
}

async fn refresh_own(call: &Call<'_>, user: User) -> Result<Answer, Error> {
    let state = match refresh(call, user.id).await {
        Ok(()) => "connected",
        Err(Error::ZoomExpired | Error::MissingScope) => "expired",
        Err(Error::ZoomNotConnected) => "not_connected",
        Err(error) => return Err(error),
    };
    let connection = call.zoom()?.connection(user.id, 0, None).await?;
    json_answer(&json!({
        "state": state,
        "zoom_account_email": connection.zoom_account_email,
        "expires_at": connection.expires_at,
    }))
}

async fn refresh(call: &Call<'_>, user_id: Uuid) -> Result<(), Error> {
    let zoom = call.zoom()?;
    let connection = zoom.connection(user_id, MIN_SECONDS, None).await?;
    zoom.access_token(user_id, connection.token).await.map(drop)
}

#[derive(Deserialize)]
struct Due {
    user_ids: Vec<Uuid>,
    remaining: u64,
}

/// What a run did, by count.
#[derive(Default, Serialize)]
struct Counts {
    refreshed: u64,
    expired: u64,
    failed: u64,
    remaining: u64,
}

async fn refresh_due(call: &Call<'_>) -> Result<Answer, Error> {
    let start = now();
    let due: Due = call
        .db
        .rpc("zoom_refresh_due", &json!({"max_rows": MAX_CONNECTIONS}))
        .await?;
    let mut counts = Counts {
        remaining: due.remaining,
        ..Counts::default()
    };
    for user_id in due.user_ids {
        let count = if now().signed_duration_since(start) > LONGEST_RUN {
            &mut counts.remaining
        } else {
            match refresh(call, user_id).await {
                Ok(()) => &mut counts.refreshed,
                Err(Error::ZoomExpired | Error::MissingScope) => &mut counts.expired,
                Err(_) => &mut counts.failed,
            }
        };
        *count = count.saturating_add(1);
    }
    json_answer(&counts)
}

#[cfg(target_arch = "wasm32")]
mod entry {
    #[worker::event(fetch)]
    async fn fetch(request: worker::Request, env: worker::Env, _: worker::Context) -> worker::Result<worker::Response> {
        shared::edge::serve(request, env, &super::ENDPOINT, super::handle).await
    }
}
