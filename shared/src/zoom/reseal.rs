//! Rotation of sealing keys: whatever is sealed with another key than the first is sealed anew, so that the old key can
//! go.

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use uuid::Uuid;

use super::{
    connection::{access_token_context, refresh_token_context},
    Zoom,
};
use crate::{
    error::Error,
    seal::{SealContext, SealingKeys},
};

/// Connections that are sealed anew in one run.
const MAX_CONNECTIONS: u32 = 200;

#[derive(Deserialize)]
struct Stale {
    connections: Vec<SealedTokens>,
    total: u64,
}

#[derive(Deserialize)]
struct SealedTokens {
    user_id: Uuid,
    token_version: i64,
    access_token: String,
    refresh_token: String,
}

/// What a run did, by count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resealed {
    /// Connections whose tokens carry the first key's seal now.
    pub resealed: u64,
    /// Connections that still need an older key. Zero: every key but the first can be removed.
    pub on_older_keys: u64,
}

/// Seals anew what is sealed with an older key. Connections may be in use meanwhile: one whose tokens change while this
/// runs is sealed with the first key by that change.
///
/// # Errors
/// As [`crate::db::Database::rpc`].
pub async fn reseal(zoom: &Zoom<'_>) -> Result<Resealed, Error> {
    let keys = &zoom.app().sealing_keys;
    let stale: Stale = zoom
        .db
        .rpc(
            "edge_reseal_claim",
            &json!({"key_id": keys.first_id(), "max_rows": MAX_CONNECTIONS}),
        )
        .await?;
    let mut counts = Resealed {
        resealed: 0,
        on_older_keys: stale.total,
    };
    for tokens in stale.connections {
        let (access_place, refresh_place) = (
            access_token_context(tokens.user_id),
            refresh_token_context(tokens.user_id),
        );
        // One that cannot be opened (its key is gone already) stays, and stays counted, for the operator to see.
        let (Ok(access_token), Ok(refresh_token)) = (
            seal_anew(keys, access_place, &tokens.access_token),
            seal_anew(keys, refresh_place, &tokens.refresh_token),
        ) else {
            continue;
        };
        let _: Value = zoom
            .db
            .rpc(
                "edge_reseal",
                &json!({
                    "user_id": tokens.user_id, "token_version": tokens.token_version,
                    "old_refresh_token": tokens.refresh_token,
                    "access_token": access_token, "refresh_token": refresh_token,
                }),
            )
            .await?;
        counts.resealed = counts.resealed.saturating_add(1);
        counts.on_older_keys = counts.on_older_keys.saturating_sub(1);
    }
    Ok(counts)
}

fn seal_anew(keys: &SealingKeys, place: SealContext, sealed: &str) -> Result<String, Error> {
    keys.seal(place, &keys.open(place, sealed)?)
}
