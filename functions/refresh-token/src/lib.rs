//! `POST refresh-token`: keeps connections alive.
//!
//! A host refreshes the own connection and learns its state. A service (secret key) refreshes all connections that are
//! due: those that will be needed within ten minutes, and those that nobody has used for 30 days, since Zoom lets a
//! refresh token die after 90. The same call seals anew what is sealed with an older key, so that keys can rotate.

use chrono::TimeDelta;
use http::Method;
use serde::Serialize;
use serde_json::json;
use shared::{
    auth::User,
    call::{json_answer, Answer, Endpoint, RequestContext},
    config::Need,
    error::Error,
    zoom::{
        keep_alive::{refresh, refresh_due, Refreshed},
        reseal::{reseal, Resealed},
    },
};

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "refresh-token",
    method: Method::POST,
    needs: &[Need::Zoom],
};

/// A run for all begins no further refresh after this time.
const LONGEST_RUN: TimeDelta = TimeDelta::seconds(20);
/// A run for all begins no further refresh after this many calls.
const MAX_CALLS: u32 = 900;

/// Refreshes the caller's connection, or all that are due.
///
/// # Errors
/// [`Error::ZoomUnavailable`] while Zoom's token endpoint fails, and those of every function.
pub async fn handle(call: &RequestContext<'_>) -> Result<Answer, Error> {
    match call.service() {
        Ok(_) => refresh_all(call).await,
        Err(_) => refresh_own(call, call.user().await?).await,
    }
}

/// What a run for all did, by count.
#[derive(Serialize)]
struct Counts {
    #[serde(flatten)]
    refreshed: Refreshed,
    #[serde(flatten)]
    resealed: Resealed,
}

async fn refresh_all(call: &RequestContext<'_>) -> Result<Answer, Error> {
    let zoom = call.zoom()?;
    json_answer(&Counts {
        resealed: reseal(&zoom).await?,
        refreshed: refresh_due(&zoom, &zoom.bounds(LONGEST_RUN, MAX_CALLS)).await?,
    })
}

async fn refresh_own(call: &RequestContext<'_>, user: User) -> Result<Answer, Error> {
    let zoom = call.zoom()?;
    let state = match refresh(&zoom, user.id).await {
        Ok(()) => "connected",
        Err(Error::ZoomExpired | Error::MissingScope) => "expired",
        Err(Error::ZoomNotConnected) => "not_connected",
        Err(error) => return Err(error),
    };
    let connection = zoom.connection(user.id, 0, None).await?;
    json_answer(&json!({
        "state": state,
        "zoom_account_email": connection.zoom_account_email,
        "expires_at": connection.expires_at,
    }))
}

#[cfg(target_arch = "wasm32")]
mod entry {
    use shared::edge::{serve, HostRequest, HostResponse, NoResponse};

    #[worker::event(fetch)]
    async fn fetch(request: HostRequest, env: worker::Env, _: worker::Context) -> Result<HostResponse, NoResponse> {
        serve(request, env, &super::ENDPOINT, super::handle).await
    }
}

#[cfg(test)]
mod tests;
