//! The watch: what Zoom's events would have said, by asking. It needs none of them.
//!
//! The database says what to ask: about a session around its planned start and end and while it runs over, where events
//! have not said so already, and twice a day for each host's list of meetings.

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use shared::{
    call::RequestContext,
    error::{seconds_until, Error},
    json,
    run::{each, Bounds},
    time::{self, now},
    zoom::{
        api::{ApiRequest, MeetingId, PageToken},
        api_failure::ApiFailure,
        connection::TokenClaim,
        meeting_settings::shown,
        Zoom,
    },
};
use uuid::Uuid;

/// Questions that are claimed at a time.
const MAX_QUESTIONS: u32 = 30;
/// Lists that are claimed at a time.
const MAX_LISTS: u32 = 10;
/// Questions that are asked, or lists that are read, at a time.
const AT_ONCE: usize = 3;
/// Pages of 300 meetings of one host.
const MAX_PAGES: u32 = 20;
/// A month; Zoom ends meetings after a day or so.
const LONGEST_MEETING_MINUTES: u64 = 31 * 24 * 60;
/// Zoom's code for what is no meeting any more, but a webinar.
const NO_MEETING: i64 = 3000;

/// What a run did, by count.
#[derive(Debug, Default, Serialize)]
pub struct Watched {
    /// Meetings that Zoom answered about.
    asked: u64,
    /// Lists of hosts that were looked through.
    lists: u64,
    /// Sessions whose meeting was not in its host's list.
    missing: u64,
    /// Questions and lists that wait: Zoom could not be asked, or did not answer.
    postponed: u64,
}

#[derive(Deserialize)]
struct Claimed {
    questions: Vec<Question>,
    lists: Vec<List>,
    /// By the database's clock, before anything is asked.
    asked_at: String,
    /// Another claim may find more.
    more: bool,
}

#[derive(Deserialize)]
struct Question {
    session_id: Uuid,
    user_id: Uuid,
    zoom_user_id: String,
    meeting_id: MeetingId,
    token: TokenClaim,
}

#[derive(Deserialize)]
struct List {
    user_id: Uuid,
    zoom_user_id: String,
    token: TokenClaim,
}

/// What Zoom said to a question.
#[derive(Debug, PartialEq)]
enum Said {
    /// The meeting is there.
    Found { meeting: Value },
    /// There is no meeting of this number, or none of this Zoom user's.
    Gone,
    /// It is no meeting any more.
    NoMeeting,
    /// Nothing that can be used.
    Failed { retry_after_seconds: Option<u64> },
}

impl Said {
    /// As `edge_watch_save` takes it.
    fn into_record(self) -> Value {
        match self {
            Self::Found { meeting } => json!({"outcome": "found", "meeting": meeting}),
            Self::Gone => json!({"outcome": "gone"}),
            Self::NoMeeting => json!({"outcome": "no_meeting"}),
            Self::Failed { retry_after_seconds } => {
                json!({"outcome": "failed", "retry_after_seconds": retry_after_seconds})
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Saved {
    Found,
    Gone,
    NoMeeting,
    Postponed,
    Superseded,
}

#[derive(Deserialize)]
struct Followed {
    missing: u64,
}

/// Asks what is due, and begins nothing more once the bounds are reached: what is left becomes due again by time.
///
/// # Errors
/// As [`shared::db::Database::rpc`].
pub async fn watch(call: &RequestContext<'_>, zoom: &Zoom<'_>, bounds: &Bounds) -> Result<Watched, Error> {
    let mut watched = Watched::default();
    loop {
        let claimed: Claimed = call
            .db
            .rpc(
                "edge_watch_claim",
                &json!({"max_questions": MAX_QUESTIONS, "max_lists": MAX_LISTS}),
            )
            .await?;
        let asked_at = &claimed.asked_at;
        let ask = async |question| ask(call, &zoom.beside(), &question, asked_at).await;
        for saved in each(claimed.questions, AT_ONCE, bounds, ask).await {
            let count = match saved {
                Some(Ok(Saved::Found | Saved::Gone | Saved::NoMeeting)) => &mut watched.asked,
                Some(Ok(Saved::Postponed | Saved::Superseded) | Err(_)) | None => &mut watched.postponed,
            };
            *count = count.saturating_add(1);
        }
        let look_through = async |list| look_through(call, &zoom.beside(), &list, asked_at).await;
        for followed in each(claimed.lists, AT_ONCE, bounds, look_through).await {
            if let Some(Ok(Followed { missing })) = followed {
                watched.lists = watched.lists.saturating_add(1);
                watched.missing = watched.missing.saturating_add(missing);
            } else {
                watched.postponed = watched.postponed.saturating_add(1);
            }
        }
        if !claimed.more || bounds.reached() {
            return Ok(watched);
        }
    }
}

async fn ask(call: &RequestContext<'_>, zoom: &Zoom<'_>, question: &Question, asked_at: &str) -> Result<Saved, Error> {
    let request = ApiRequest::get_meeting(&question.meeting_id);
    let said = understand(zoom.api(question.user_id, question.token.clone(), &request).await);
    call.db
        .rpc(
            "edge_watch_save",
            &json!({
                "session_id": question.session_id, "zoom_user_id": question.zoom_user_id, "asked_at": asked_at,
                "answer": said.into_record(),
            }),
        )
        .await
}

fn understand(answer: Result<impl AsRef<[u8]>, ApiFailure>) -> Said {
    match answer {
        Ok(body) => match json::parse::<Value>(body.as_ref()).filter(Value::is_object) {
            Some(meeting) => Said::Found {
                meeting: outline(&meeting),
            },
            None => Said::Failed {
                retry_after_seconds: None,
            },
        },
        Err(ApiFailure::MeetingGone) => Said::Gone,
        Err(ApiFailure::Refused(_, NO_MEETING)) => Said::NoMeeting,
        Err(ApiFailure::RateLimited(limit)) => Said::Failed {
            retry_after_seconds: Some(seconds_until(limit.until, now())),
        },
        Err(ApiFailure::NoToken(error)) => Said::Failed {
            retry_after_seconds: error.retry_after(),
        },
        Err(_) => Said::Failed {
            retry_after_seconds: None,
        },
    }
}

/// What of a meeting the database looks at. Each field is read for itself: one that makes no sense is left out.
fn outline(meeting: &Value) -> Value {
    let text = |name: &str| {
        let text = meeting.get(name).and_then(Value::as_str)?.replace('\0', "");
        Some(text).filter(|text| !text.is_empty())
    };
    let start = text("start_time").and_then(|start| time::parse(&start));
    let duration = meeting.get("duration").and_then(Value::as_u64);
    json!({
        "id": meeting.get("id").cloned().and_then(json::read::<MeetingId>),
        "uuid": text("uuid"), "status": text("status"), "topic": text("topic"), "timezone": text("timezone"),
        "start_time": start.map(|start| start.to_rfc3339_opts(SecondsFormat::Secs, true)),
        "duration": duration.filter(|minutes| *minutes <= LONGEST_MEETING_MINUTES),
        "join_url": text("join_url"), "passcode": text("password"),
        "settings": shown(meeting.get("settings").unwrap_or(&Value::Null)),
    })
}

#[derive(Deserialize)]
struct Page {
    meetings: Vec<Value>,
    #[serde(default)]
    next_page_token: PageToken,
}

/// Reads a host's whole list, and has the database follow it.
async fn look_through(
    call: &RequestContext<'_>,
    zoom: &Zoom<'_>,
    list: &List,
    asked_at: &str,
) -> Result<Followed, Error> {
    let mut meetings = Vec::new();
    let mut page = PageToken::default();
    let mut is_whole = false;
    for _ in 0..MAX_PAGES {
        let request = ApiRequest::list_meetings(&page);
        let body = zoom.api(list.user_id, list.token.clone(), &request).await?;
        let read: Page = json::parse(&body).ok_or(Error::ZoomUnavailable(60))?;
        meetings.extend(read.meetings.iter().map(outline));
        if read.next_page_token.is_empty() {
            is_whole = true;
            break;
        }
        page = read.next_page_token;
    }
    call.db
        .rpc(
            "edge_watch_save_list",
            &json!({
                "user_id": list.user_id, "zoom_user_id": list.zoom_user_id, "asked_at": asked_at,
                "meetings": meetings, "is_whole": is_whole,
            }),
        )
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_makes_no_sense_is_left_out() {
        let nothing = json!({
            "id": null, "uuid": null, "status": null, "topic": null, "timezone": null, "start_time": null,
            "duration": null, "join_url": null, "passcode": null, "settings": {},
        });
        for odd in [
            json!({}),
            json!({"id": "../x", "uuid": 7, "topic": "", "start_time": "", "duration": "45", "password": ""}),
            json!({"start_time": "2026-03-01T12:00:00", "duration": u32::MAX, "topic": "\0"}),
        ] {
            assert_eq!(outline(&odd), nothing, "{odd}");
        }
        let meeting = json!({
            "id": 9_007_199_254_740_993_u64, "uuid": "u==", "status": "started", "topic": "A", "password": "p",
            "start_time": "2026-03-01T12:00:00Z", "duration": 45, "timezone": "UTC", "join_url": "https://zoom.us/j/1",
            "start_url": "secret", "settings": {"waiting_room": true, "audio": "both"},
        });
        assert_eq!(
            outline(&meeting),
            json!({
                "id": "9007199254740993", "uuid": "u==", "status": "started", "topic": "A", "passcode": "p",
                "start_time": "2026-03-01T12:00:00Z", "duration": 45, "timezone": "UTC",
                "join_url": "https://zoom.us/j/1", "settings": {"waiting_room": true},
            })
        );
    }

    #[test]
    fn only_a_404_of_zooms_own_says_that_a_meeting_is_gone() {
        let failed = |retry_after_seconds| Said::Failed { retry_after_seconds };
        for (answer, expected) in [
            (Err(ApiFailure::MeetingGone), Said::Gone),
            (Err(ApiFailure::Refused(400, 3000)), Said::NoMeeting),
            (Err(ApiFailure::Refused(404, 0)), failed(None)),
            (Err(ApiFailure::Unclear), failed(None)),
            (Err(ApiFailure::NoToken(Error::ZoomUnavailable(9))), failed(Some(9))),
            (Ok("[]"), failed(None)),
            (Ok("{\"id\": 1"), failed(None)),
        ] {
            assert_eq!(understand(answer), expected);
        }
    }
}
