//! `POST zoom-disconnect`: a host ends the connection to Zoom.
//!
//! What the app changed in sessions is told to Zoom first, as far as that goes quickly. Then the connection's row goes and
//! its sealed tokens move to a list of departures, in one transaction: from then on nobody uses them. Last, Zoom is
//! asked to revoke them, and they are forgotten whatever it says. If this function dies in between, `zoom-sync` finishes
//! the departure.

use chrono::TimeDelta;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use shared::{
    call::{self, json_answer, Answer, Call, Endpoint},
    config::Need,
    error::Error,
    zoom::{
        departure::{self, Departure},
        outbox,
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

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Begun {
    NotConnected,
    /// Changes of this host still wait in the outbox; nothing has been ended yet.
    Pending,
    Revoke(Departure),
}

/// Ends the connection.
///
/// # Errors
/// Those of every function.
pub async fn handle(call: &Call<'_>) -> Result<Answer, Error> {
    let user = call.user().await?;
    let zoom = call.zoom()?;
    let mut begun = begin(call, user.id, "if_drained").await?;
    if let Begun::Pending = begun {
        let drained = outbox::drain(&zoom, &call.db, Some(user.id), LONGEST_DRAIN).await;
        if let Err(error) = drained {
            call::log(&json!({"event": "drain_failed", "request_id": call.id, "code": error.code()}));
        }
        begun = begin(call, user.id, "always").await?;
    }
    if let Begun::Revoke(departure) = begun {
        departure::finish(&zoom, &call.db, &departure).await?;
    }
    json_answer(&json!({"state": "not_connected"}))
}

async fn begin(call: &Call<'_>, user_id: Uuid, mode: &str) -> Result<Begun, Error> {
    call.db
        .rpc("zoom_disconnect_begin", &json!({"user_id": user_id, "mode": mode}))
        .await
}

#[cfg(target_arch = "wasm32")]
mod entry {
    #[worker::event(fetch)]
    async fn fetch(request: worker::Request, env: worker::Env, _: worker::Context) -> worker::Result<worker::Response> {
        shared::edge::serve(request, env, &super::ENDPOINT, super::handle).await
    }
}
