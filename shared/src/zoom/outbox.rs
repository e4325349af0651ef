//! The outbox: what the app changed in sessions, told to Zoom.
//!
//! Triggers write it, one row per session at most; [`drain`] sends what is due. PATCH and DELETE are repeatable, so
//! whatever is unclear is tried again, with the back-off that the database decides on.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use uuid::Uuid;

use super::{
    api::{ApiFailure, ApiRequest, MeetingDetails, MeetingId},
    connection::{token_claim, TokenClaim},
    Zoom,
};
use crate::{
    db::Database,
    error::{seconds_until, Error},
    json,
    time::{self, now},
};

/// Rows that are claimed at a time. Claims hold for five minutes; a drain begins nothing new long before that.
const ROWS_AT_A_TIME: u32 = 10;

/// What a drain did, by count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Drained {
    /// Told to Zoom, or nothing left to tell.
    pub sent: u64,
    /// To be tried again later.
    pub postponed: u64,
}

/// How often a drain for one user looks whether somebody else has sent the rest.
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(300);

#[derive(Deserialize)]
struct Claimed {
    tasks: Vec<Task>,
    /// Of one user's changes somebody else is sending some.
    #[serde(default)]
    busy: bool,
}

#[derive(Deserialize)]
struct Task {
    task_id: Value,
    user_id: Uuid,
    meeting_id: MeetingId,
    #[serde(deserialize_with = "token_claim")]
    token: TokenClaim,
    kind: Kind,
    /// Of an update.
    desired: Option<Desired>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Update,
    Delete,
}

/// The session as the meeting should be.
#[derive(Deserialize)]
struct Desired {
    title: String,
    description: String,
    #[serde(deserialize_with = "json::instant")]
    scheduled_start: DateTime<Utc>,
    timezone: String,
    duration_minutes: u64,
    creation_id: Uuid,
}

/// Sends what is due, of one user or of all, until nothing is or `longest` is over. Of one user also what would be due later, and
/// what somebody else is sending is waited for.
///
/// # Errors
/// As [`Database::rpc`]; rows that are claimed by then become due again by time.
pub async fn drain(
    zoom: &Zoom<'_>,
    db: &Database,
    only_user: Option<Uuid>,
    longest: TimeDelta,
) -> Result<Drained, Error> {
    let start = now();
    let mut drained = Drained::default();
    loop {
        let claimed: Claimed = db
            .rpc(
                "outbox_claim",
                &json!({"holder": zoom.holder(), "max_rows": ROWS_AT_A_TIME, "only_user": only_user}),
            )
            .await?;
        if claimed.tasks.is_empty() {
            if !claimed.busy || now().signed_duration_since(start) > longest {
                return Ok(drained);
            }
            time::sleep(WAIT_FOR_OTHERS).await;
            continue;
        }
        // Hosts of whom Zoom takes no more changes today, and the wait: what is claimed already is not sent any more.
        let mut limited: Vec<(Uuid, Option<u64>)> = Vec::new();
        for task in claimed.tasks {
            if now().signed_duration_since(start) > longest {
                let _: Value = db.rpc("outbox_release", &json!({"holder": zoom.holder()})).await?;
                return Ok(drained);
            }
            let limit = limited
                .iter()
                .find(|(user_id, _)| *user_id == task.user_id && task.kind == Kind::Update);
            let (result, code, retry_after_seconds) = match limit {
                Some((_, wait)) => ("retry", "daily_limit", *wait),
                None => send(zoom, &task).await,
            };
            if code == "daily_limit" {
                limited.push((task.user_id, retry_after_seconds));
            }
            let count = if result == "retry" {
                &mut drained.postponed
            } else {
                &mut drained.sent
            };
            *count = count.saturating_add(1);
            let _: Value = db
                .rpc(
                    "outbox_settle",
                    &json!({
                        "task_id": task.task_id, "holder": zoom.holder(), "result": result, "code": code,
                        "retry_after_seconds": retry_after_seconds,
                    }),
                )
                .await?;
        }
    }
}

/// Sends one change: the result, a code for the operator, and the seconds to wait where Zoom named them.
async fn send(zoom: &Zoom<'_>, task: &Task) -> (&'static str, &'static str, Option<u64>) {
    let request = match (&task.kind, &task.desired) {
        (Kind::Update, Some(desired)) => ApiRequest::update_meeting(
            &task.meeting_id,
            &MeetingDetails {
                topic: &desired.title,
                description: &desired.description,
                start: desired.scheduled_start,
                duration_minutes: desired.duration_minutes,
                timezone: &desired.timezone,
            },
            desired.creation_id,
        ),
        (Kind::Update, None) => return ("retry", "internal", None),
        (Kind::Delete, _) => ApiRequest::delete_meeting(&task.meeting_id),
    };
    match (
        zoom.api(task.user_id, task.token.clone(), &request).await,
        &task.desired,
    ) {
        (Ok(_), _) => ("done", "ok", None),
        (Err(ApiFailure::MeetingGone), None) => ("done", "meeting_gone", None),
        (Err(ApiFailure::MeetingGone), Some(_)) => ("gone", "meeting_gone", None),
        (Err(ApiFailure::RateLimited(limit)), _) => {
            let code = if limit.daily { "daily_limit" } else { "rate_limit" };
            ("retry", code, Some(seconds_until(limit.until, now())))
        }
        (Err(ApiFailure::NoToken(Error::ZoomUnavailable(seconds))), _) => ("retry", "no_token", Some(seconds)),
        (Err(ApiFailure::NoToken(Error::ServiceUnavailable)), _) => ("retry", "no_token", None),
        (Err(failure), _) => ("retry", Error::from(failure).code(), None),
    }
}
