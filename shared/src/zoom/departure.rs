//! The end of a connection: revoked at Zoom, forgotten here.
//!
//! The connection's row is gone by then and its sealed tokens stand in a list of departures, out of everybody else's
//! reach. They are forgotten whatever Zoom says: a Zoom that is down does not keep tokens alive here.

use serde::Deserialize;
use serde_json::{json, Value};
use uuid::Uuid;

use super::{
    connection::{access_token_place, refresh_token_place},
    oauth::Revocation,
    verdict::TokenVerdict,
    Zoom,
};
use crate::{call, db::Database, error::Error};

/// The tokens of a connection that is no more; sealed.
#[derive(Debug, Deserialize)]
pub struct Departure {
    departure_id: Uuid,
    user_id: Uuid,
    access_token: String,
    refresh_token: String,
    /// Whether the access token can still be used.
    fresh: bool,
}

/// Revokes the grant and forgets its tokens.
///
/// # Errors
/// As [`Database::rpc`]; the departure stays for `zoom-sync` then.
pub async fn finish(zoom: &Zoom<'_>, db: &Database, departure: &Departure) -> Result<(), Error> {
    let revoked = revoke(zoom, departure).await;
    if matches!(revoked, Ok(Revocation::Failed) | Err(_)) {
        call::log(&json!({
            "event": "revocation_failed", "request_id": zoom.holder(), "user_id": departure.user_id,
            "code": revoked.err().map(|error| error.code()),
        }));
    }
    let _: Value = db
        .rpc(
            "zoom_disconnect_complete",
            &json!({"departure_id": departure.departure_id}),
        )
        .await?;
    Ok(())
}

/// Revokes the grant by its access token, which is refreshed for that if it has run out, or died before its time.
async fn revoke(zoom: &Zoom<'_>, departure: &Departure) -> Result<Revocation, Error> {
    let keys = &zoom.app().sealing_keys;
    if departure.fresh {
        let token = keys.open(access_token_place(departure.user_id), &departure.access_token)?;
        let revoked = zoom.revoke(&token).await;
        if revoked != Revocation::DeadToken {
            return Ok(revoked);
        }
    }
    let refresh_token = keys.open(refresh_token_place(departure.user_id), &departure.refresh_token)?;
    Ok(match zoom.refresh(&refresh_token).await {
        TokenVerdict::Granted(tokens) => zoom.revoke(&tokens.access_token).await,
        TokenVerdict::Ended(_) => Revocation::Done,
        TokenVerdict::OurConfiguration | TokenVerdict::TryLater(_) => Revocation::Failed,
    })
}
