//! Connections that were left: their tokens have to be revoked at Zoom and forgotten here.
//!
//! `zoom-disconnect` does that at once; what it leaves behind, and the connections of deleted accounts, end here.

use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    call::RequestContext,
    error::Error,
    run::{each, Bounds},
    zoom::{
        revocation::{self, Revocation},
        Zoom,
    },
};

/// Revocations that are finished in one run.
const MAX_REVOCATIONS: u32 = 20;
/// Revocations that are finished at a time.
const AT_ONCE: usize = 2;

/// What a run did, by count.
#[derive(Debug, Default, Serialize)]
pub struct Finished {
    /// Revoked at Zoom, or found dead there, and forgotten.
    forgotten: u64,
}

#[derive(Deserialize)]
struct Claimed {
    revocations: Vec<Revocation>,
}

/// Finishes what is unfinished, and begins nothing more once the bounds are reached: what is left becomes due again by
/// time.
///
/// # Errors
/// As [`shared::db::Database::rpc`].
pub async fn finish(call: &RequestContext<'_>, zoom: &Zoom<'_>, bounds: &Bounds) -> Result<Finished, Error> {
    let claimed: Claimed = call
        .db
        .rpc("edge_revocations_claim", &json!({"max_rows": MAX_REVOCATIONS}))
        .await?;
    let mut finished = Finished::default();
    let finish = async |revocation| revocation::finish(zoom, &revocation).await;
    for outcome in each(claimed.revocations, AT_ONCE, bounds, finish)
        .await
        .into_iter()
        .flatten()
    {
        outcome?;
        finished.forgotten = finished.forgotten.saturating_add(1);
    }
    Ok(finished)
}
