//! Connections that must be refreshed to stay alive: those that will be needed within minutes, and those that nobody
//! has used for a month, since Zoom lets a refresh token die after about 90 days.

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::Zoom;
use crate::{
    error::Error,
    run::{each, Bounds},
};

/// An access token with less than this is refreshed ahead of its use, in seconds.
pub const MIN_SECONDS: u32 = 10 * 60;
/// One run refreshes at most this many connections.
const MAX_CONNECTIONS: u32 = 100;
/// Connections that are refreshed at a time.
const AT_ONCE: usize = 3;

#[derive(Deserialize)]
struct Due {
    user_ids: Vec<Uuid>,
    remaining: u64,
}

/// What a run did, by count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Refreshed {
    /// Connections with a fresh access token now.
    pub refreshed: u64,
    /// Connections that turned out to have ended.
    pub expired: u64,
    /// Connections that could not be refreshed this time.
    pub failed: u64,
    /// Connections that are due and were left for the next run.
    pub remaining: u64,
}

/// Refreshes what is due, and begins nothing more once the bounds are reached.
///
/// # Errors
/// As [`crate::db::Database::rpc`].
pub async fn refresh_due(zoom: &Zoom<'_>, bounds: &Bounds) -> Result<Refreshed, Error> {
    let due: Due = zoom
        .db
        .rpc("edge_refresh_due", &json!({"max_rows": MAX_CONNECTIONS}))
        .await?;
    let mut counts = Refreshed {
        remaining: due.remaining,
        ..Refreshed::default()
    };
    let refresh = async |user_id| refresh(&zoom.beside(), user_id).await;
    for refreshed in each(due.user_ids, AT_ONCE, bounds, refresh).await {
        let count = match refreshed {
            None => &mut counts.remaining,
            Some(Ok(())) => &mut counts.refreshed,
            Some(Err(Error::ZoomExpired | Error::MissingScope)) => &mut counts.expired,
            Some(Err(_)) => &mut counts.failed,
        };
        *count = count.saturating_add(1);
    }
    Ok(counts)
}

/// Sees to it that a user's access token is good for ten more minutes.
///
/// # Errors
/// As [`Zoom::access_token`].
pub async fn refresh(zoom: &Zoom<'_>, user_id: Uuid) -> Result<(), Error> {
    let connection = zoom.connection(user_id, MIN_SECONDS, None).await?;
    zoom.access_token(user_id, connection.token).await.map(drop)
}
