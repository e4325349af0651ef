//! The end of a connection: revoked at Zoom, forgotten here.
//!
//! The connection's row is gone by then and its sealed tokens stand in a list of revocations, out of everybody else's
//! reach. They are forgotten whatever Zoom says: a Zoom that is down does not keep tokens alive here.

use serde::Deserialize;
use serde_json::{json, Value};
use uuid::Uuid;

use super::{
    connection::{access_token_context, refresh_token_context},
    oauth::RevokeOutcome,
    token_response::TokenVerdict,
    Zoom,
};
use crate::{error::Error, log};

/// The tokens of a connection that is no more; sealed.
#[derive(Debug, Deserialize)]
pub struct Revocation {
    revocation_id: Uuid,
    user_id: Uuid,
    access_token: String,
    refresh_token: String,
    /// Whether the access token can still be used.
    fresh: bool,
}

/// Revokes the grant and forgets its tokens.
///
/// # Errors
/// As [`crate::db::Database::rpc`]; the revocation stays for `zoom-sync` then.
pub async fn finish(zoom: &Zoom<'_>, revocation: &Revocation) -> Result<(), Error> {
    let revoked = revoke(zoom, revocation).await;
    if matches!(revoked, Ok(RevokeOutcome::Failed) | Err(_)) {
        log::write(&json!({
            "event": "revocation_failed", "request_id": zoom.request_id(), "user_id": revocation.user_id,
            "code": revoked.err().map(|error| error.code()),
        }));
    }
    let _: Value = zoom
        .db
        .rpc(
            "edge_disconnect_complete",
            &json!({"revocation_id": revocation.revocation_id}),
        )
        .await?;
    Ok(())
}

/// Revokes the grant by its access token, which is refreshed for that if it has run out, or died before its time.
async fn revoke(zoom: &Zoom<'_>, revocation: &Revocation) -> Result<RevokeOutcome, Error> {
    let keys = &zoom.app().sealing_keys;
    if revocation.fresh {
        let token = keys.open(access_token_context(revocation.user_id), &revocation.access_token)?;
        let revoked = zoom.revoke(&token).await;
        if revoked != RevokeOutcome::DeadToken {
            return Ok(revoked);
        }
    }
    let refresh_token = keys.open(refresh_token_context(revocation.user_id), &revocation.refresh_token)?;
    Ok(match zoom.refresh(&refresh_token).await {
        TokenVerdict::Granted(tokens) => zoom.revoke(&tokens.access_token).await,
        TokenVerdict::Ended(_) => RevokeOutcome::Done,
        TokenVerdict::OurConfiguration | TokenVerdict::TryLater(_) => RevokeOutcome::Failed,
    })
}
