//! Creations whose outcome is unknown: Zoom was asked for a meeting and no answer was saved.
//!
//! The meeting, if there is one, carries the creation's id at the start of its agenda. It is adopted, unless its time
//! is over: then it is deleted. If there is none, the creation has failed. A host who is not connected any more cannot
//! be asked about: the creation stays open until they are again.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    api::{read_meeting, read_page, ApiRequest, MeetingId, PageToken},
    api_failure::ApiFailure,
    connection::TokenClaim,
    Zoom,
};
use crate::{
    error::Error,
    json,
    run::{each, Bounds},
    time::now,
};

/// Creations that are settled in one run.
const MAX_CREATIONS: u32 = 20;
/// Creations that are settled at a time.
const AT_ONCE: usize = 2;
/// Pages of 300 meetings that are searched for one creation.
const MAX_PAGES: u32 = 20;

/// What a run did, by count.
#[derive(Debug, Default, Serialize)]
pub struct Settled {
    /// Meetings that became sessions.
    adopted: u64,
    /// Meetings that were deleted, their time being over, or will be, their host's account being gone.
    deleted: u64,
    /// Creations that had come to nothing.
    failed: u64,
    /// Creations that stay open: Zoom could not be asked, or the meeting may still be on its way.
    postponed: u64,
}

#[derive(Deserialize)]
struct Claimed {
    creations: Vec<Creation>,
}

#[derive(Deserialize)]
struct Creation {
    creation_id: Uuid,
    user_id: Uuid,
    request: Requested,
    token: TokenClaim,
}

/// As much of the request as decides whether its time is over.
#[derive(Deserialize)]
struct Requested {
    #[serde(deserialize_with = "json::instant")]
    scheduled_start: DateTime<Utc>,
    duration_minutes: u32,
}

/// Settles what is unsettled and due, or all of one user's, and begins nothing more once the bounds are reached: what
/// is left becomes due again by time.
///
/// # Errors
/// As [`crate::db::Database::rpc`].
pub async fn settle(zoom: &Zoom<'_>, only_user: Option<Uuid>, bounds: &Bounds) -> Result<Settled, Error> {
    let claimed: Claimed = zoom
        .db
        .rpc(
            "edge_creations_claim",
            &json!({"max_rows": MAX_CREATIONS, "only_user": only_user}),
        )
        .await?;
    let mut settled = Settled::default();
    let settle = async |creation| settle_one(&zoom.beside(), &creation).await;
    for outcome in each(claimed.creations, AT_ONCE, bounds, settle).await {
        let count = match outcome {
            Some(Ok(Outcome::Adopted)) => &mut settled.adopted,
            Some(Ok(Outcome::Deleted)) => &mut settled.deleted,
            Some(Ok(Outcome::Failed)) => &mut settled.failed,
            Some(Ok(Outcome::Open) | Err(_)) | None => &mut settled.postponed,
        };
        *count = count.saturating_add(1);
    }
    Ok(settled)
}

enum Outcome {
    Adopted,
    Deleted,
    Failed,
    Open,
}

async fn settle_one(zoom: &Zoom<'_>, creation: &Creation) -> Result<Outcome, Error> {
    let Some(meeting_id) = find_meeting(zoom, creation).await? else {
        return fail(zoom, creation, "no_meeting").await;
    };
    if is_over(&creation.request, now()) {
        delete(zoom, creation, &meeting_id).await?;
        fail(zoom, creation, "too_late").await?;
        return Ok(Outcome::Deleted);
    }
    adopt(zoom, creation, &meeting_id).await
}

fn is_over(request: &Requested, now: DateTime<Utc>) -> bool {
    request
        .scheduled_start
        .checked_add_signed(TimeDelta::minutes(request.duration_minutes.into()))
        .is_none_or(|end| end < now)
}

/// Looks through the host's meetings for the one that carries the creation's id.
async fn find_meeting(zoom: &Zoom<'_>, creation: &Creation) -> Result<Option<MeetingId>, Error> {
    let marker = creation.creation_id.to_string();
    let mut page = PageToken::default();
    for _ in 0..MAX_PAGES {
        let request = ApiRequest::list_meetings(&page);
        let body = zoom.api(creation.user_id, creation.token.clone(), &request).await?;
        let listed = read_page(&body)?;
        if let Some(meeting) = listed
            .meetings
            .into_iter()
            .find(|meeting| meeting.agenda.starts_with(&marker))
        {
            return Ok(Some(meeting.id));
        }
        if listed.next_page_token.is_empty() {
            return Ok(None);
        }
        page = listed.next_page_token;
    }
    Err(Error::ZoomUnavailable(60))
}

async fn adopt(zoom: &Zoom<'_>, creation: &Creation, meeting_id: &MeetingId) -> Result<Outcome, Error> {
    let connection = zoom.connection(creation.user_id, 60, None).await?;
    let request = ApiRequest::get_meeting(meeting_id);
    let body = match zoom.api(creation.user_id, connection.token, &request).await {
        Ok(body) => body,
        // Deleted a moment ago. That it is gone is only believed together with a last DELETE.
        Err(ApiFailure::MeetingGone) => {
            delete(zoom, creation, meeting_id).await?;
            return fail(zoom, creation, "meeting_gone").await;
        }
        Err(failure) => return Err(failure.into()),
    };
    let meeting = read_meeting(&body)?;
    #[derive(Deserialize)]
    #[serde(rename = "outcome", rename_all = "snake_case")]
    enum Completed {
        Created {},
        Closed,
    }
    let completed = zoom
        .db
        .commit(
            "edge_session_complete",
            &json!({"creation_id": creation.creation_id, "user_id": creation.user_id, "meeting": meeting.to_record()}),
        )
        .await?;
    match completed {
        Completed::Created {} => Ok(Outcome::Adopted),
        // The outbox has it now.
        Completed::Closed => Ok(Outcome::Deleted),
    }
}

async fn delete(zoom: &Zoom<'_>, creation: &Creation, meeting_id: &MeetingId) -> Result<(), Error> {
    let connection = zoom.connection(creation.user_id, 60, None).await?;
    let request = ApiRequest::delete_meeting(meeting_id);
    match zoom.api(creation.user_id, connection.token, &request).await {
        Ok(_) | Err(ApiFailure::MeetingGone) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// Closes the creation, unless its meeting may still be on its way.
async fn fail(zoom: &Zoom<'_>, creation: &Creation, code: &str) -> Result<Outcome, Error> {
    #[derive(Deserialize)]
    #[serde(rename = "outcome", rename_all = "snake_case")]
    enum Failed {
        Closed,
        Open,
    }
    let failed = zoom
        .db
        .rpc(
            "edge_session_fail",
            &json!({"creation_id": creation.creation_id, "user_id": creation.user_id, "result": "failed", "code": code}),
        )
        .await?;
    Ok(match failed {
        Failed::Closed => Outcome::Failed,
        Failed::Open => Outcome::Open,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_over_when_its_planned_time_is() {
        let request = Requested {
            scheduled_start: "2026-03-01T12:00:00Z".parse().unwrap(),
            duration_minutes: 45,
        };
        assert!(!is_over(&request, "2026-03-01T12:44:00Z".parse().unwrap()));
        assert!(is_over(&request, "2026-03-01T12:46:00Z".parse().unwrap()));
    }
}
