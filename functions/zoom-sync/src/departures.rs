//! Connections that were left: their tokens have to be revoked at Zoom and forgotten here.
//!
//! `zoom-disconnect` does that at once; what it leaves behind, and the connections of deleted accounts, end here.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    call::Call,
    error::Error,
    time::now,
    zoom::{
        departure::{self, Departure},
        Zoom,
    },
};

/// Departures that are finished in one run.
const MAX_DEPARTURES: u32 = 20;

/// What a run did, by count.
#[derive(Debug, Default, Serialize)]
pub struct Finished {
    /// Revoked at Zoom, or found dead there, and forgotten.
    forgotten: u64,
}

#[derive(Deserialize)]
struct Claimed {
    departures: Vec<Departure>,
}

/// Finishes what is unfinished, and begins nothing more once `longest` is over: what is left becomes due again by time.
///
/// # Errors
/// As [`shared::db::Database::rpc`].
pub async fn finish(call: &Call<'_>, zoom: &Zoom<'_>, longest: TimeDelta) -> Result<Finished, Error> {
    let start = now();
    let claimed: Claimed = call
        .db
        .rpc("departures_claim", &json!({"max_rows": MAX_DEPARTURES}))
        .await?;
    let mut finished = Finished::default();
    for departure in claimed.departures {
        if now().signed_duration_since(start) > longest {
            break;
        }
        departure::finish(zoom, &call.db, &departure).await?;
        finished.forgotten = finished.forgotten.saturating_add(1);
    }
    Ok(finished)
}
