//! `POST zoom-disconnect`: a host ends the connection to Zoom.
//!
//! First, for a few seconds, creations whose outcome is unknown are settled, and Zoom is told what the app changed. The
//! answer says what is left. Then, in one transaction, the connection's row goes and its sealed tokens move to a list
//! of revocations, where nobody uses them. Last, Zoom is asked to revoke them, and they are forgotten whatever it says.
//! If this function dies in between, `zoom-sync` finishes the revocation.

use chrono::TimeDelta;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    call::{json_answer, Answer, Endpoint, RequestContext},
    config::Need,
    error::Error,
    log,
    zoom::{
        creations,
        outbox::{self, Whose},
        revocation::{self, Revocation},
    },
};
use uuid::Uuid;

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "zoom-disconnect",
    method: Method::POST,
    needs: &[Need::Zoom],
};

/// The outbox of the host is drained for at most this long.
const LONGEST_DRAIN: TimeDelta = TimeDelta::seconds(10);
/// And with at most this many calls.
const MAX_CALLS: u32 = 500;

#[derive(Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Begun {
    NotConnected {
        left_at_zoom: LeftAtZoom,
    },
    /// Changes of this host still wait in the outbox; nothing has been ended yet.
    Pending,
    Revoke {
        revocation: Revocation,
        left_at_zoom: LeftAtZoom,
    },
}

/// What Zoom does not know of the host's sessions, and will not hear while they are not connected: by count.
#[derive(Clone, Copy, Deserialize, Serialize)]
struct LeftAtZoom {
    /// Sessions whose meeting has an old title, time or description.
    changes: u64,
    /// Meetings of sessions that do not exist any more.
    deletions: u64,
    /// Sessions that may or may not have a meeting in Zoom.
    creations: u64,
}

/// Ends the connection.
///
/// # Errors
/// Those of every function.
pub async fn handle(call: &RequestContext<'_>) -> Result<Answer, Error> {
    let user = call.user().await?;
    let zoom = call.zoom()?;
    let mut begun = begin(call, user.id, "if_drained").await?;
    if let Begun::Pending = begun {
        let bounds = zoom.bounds(LONGEST_DRAIN, MAX_CALLS);
        let settled = creations::settle(&zoom, Some(user.id), &bounds).await.map(drop);
        let drained = outbox::drain(&zoom, Whose::AllOf(user.id), &bounds).await.map(drop);
        for error in [settled, drained].into_iter().filter_map(Result::err) {
            log::write(&json!({"event": "drain_failed", "request_id": call.id, "code": error.code()}));
        }
        begun = begin(call, user.id, "always").await?;
    }
    let left_at_zoom = match begun {
        Begun::NotConnected { left_at_zoom } => left_at_zoom,
        Begun::Revoke {
            revocation,
            left_at_zoom,
        } => {
            revocation::finish(&zoom, &revocation).await?;
            left_at_zoom
        }
        Begun::Pending => return Err(Error::Internal("a disconnect that is to happen anyway waits")),
    };
    json_answer(&json!({"state": "not_connected", "left_at_zoom": left_at_zoom}))
}

async fn begin(call: &RequestContext<'_>, user_id: Uuid, mode: &str) -> Result<Begun, Error> {
    call.db
        .rpc("edge_disconnect_begin", &json!({"user_id": user_id, "mode": mode}))
        .await
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
