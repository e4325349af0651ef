//! `POST zoom-disconnect`: a host ends the connection to Zoom.
//!
//! The connection's row goes first and its sealed tokens move to a list of departures, in one transaction: from then
//! on nobody uses them. Then Zoom is asked to revoke them, and they are forgotten whatever it says: a Zoom that is down
//! does not keep tokens alive here. If this function dies in between, `zoom-sync` finishes the departure.

use http::Method;
use serde::Deserialize;
use serde_json::{json, Value};
use shared::{
    auth::User,
    call::{self, json_answer, Answer, Call, Endpoint},
    config::Need,
    error::Error,
    zoom::{
        connection::{access_token_place, refresh_token_place},
        oauth::Revocation,
        verdict::TokenVerdict,
        Zoom,
    },
};

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "zoom-disconnect",
    method: Method::POST,
    needs: &[Need::Zoom],
};

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Begun {
    NotConnected,
    Revoke(Departure),
}

/// The tokens of a connection that is no more; sealed.
#[derive(Deserialize)]
struct Departure {
    departure_id: String,
    access_token: String,
    refresh_token: String,
    /// Whether the access token can still be used.
    fresh: bool,
}

/// Ends the connection.
///
/// # Errors
/// Those of every function.
pub async fn handle(call: &Call<'_>) -> Result<Answer, Error> {
    let user = call.user().await?;
    let begun = call
        .db
        .rpc("zoom_disconnect_begin", &json!({"user_id": user.id}))
        .await?;
    if let Begun::Revoke(departure) = begun {
        if let Revocation::Failed = revoke(&call.zoom()?, user, &departure).await? {
            call::log(&json!({"event": "revocation_failed", "request_id": call.id, "user_id": user.id}));
        }
        let _: Value = call
            .db
            .rpc(
                "zoom_disconnect_complete",
                &json!({"departure_id": departure.departure_id}),
            )
            .await?;
    }
    json_answer(&json!({"state": "not_connected"}))
}

/// Revokes the grant by its access token, which is refreshed for that if it has run out.
async fn revoke(zoom: &Zoom<'_>, user: User, departure: &Departure) -> Result<Revocation, Error> {
    let keys = &zoom.app().sealing_keys;
    if departure.fresh {
        let token = keys.open(access_token_place(user.id), &departure.access_token)?;
        return Ok(zoom.revoke(&token).await);
    }
    let refresh_token = keys.open(refresh_token_place(user.id), &departure.refresh_token)?;
    Ok(match zoom.refresh(&refresh_token).await {
        TokenVerdict::Granted(tokens) => zoom.revoke(&tokens.access_token).await,
        TokenVerdict::Ended(_) => Revocation::Done,
        TokenVerdict::OurConfiguration | TokenVerdict::TryLater(_) => Revocation::Failed,
    })
}

#[cfg(target_arch = "wasm32")]
mod entry {
    #[worker::event(fetch)]
    async fn fetch(request: worker::Request, env: worker::Env, _: worker::Context) -> worker::Result<worker::Response> {
        shared::edge::serve(request, env, &super::ENDPOINT, super::handle).await
    }
}
