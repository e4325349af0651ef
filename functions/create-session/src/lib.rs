//! `POST create-session`: a host creates a session and its Zoom meeting.
//!
//! Three round trips: `session_begin` claims a row in the ledger of creations and a token, Zoom makes the meeting with
//! that row's id in its agenda, `session_complete` writes everything in one transaction. Zoom knows no idempotency
//! keys, so a meeting is asked for once. When nobody can tell what became of it, the ledger's row stays open and
//! `zoom-sync` finds the meeting by its marker.

mod input;

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::{json, Map, Value};
use shared::{
    auth::User,
    call::{json_answer, Answer, Call, Endpoint},
    config::Need,
    error::{Error, FieldErrors},
    time::now,
    zoom::{
        api::{read_meeting, ApiFailure, ApiRequest, Meeting, MeetingDetails},
        connection::{token_claim, TokenClaim},
    },
};
use uuid::Uuid;

use crate::input::{idempotency_key, NewSession, Provider};

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "create-session",
    method: Method::POST,
    needs: &[Need::Zoom],
};

/// When it is settled what became of a meeting that Zoom did not confirm, in seconds.
const SETTLED_IN_SECONDS: u64 = 60;
/// Zoom is asked for a meeting within this time or not at all: after two minutes `zoom-sync` takes a creation without a
/// meeting for abandoned.
const LATEST_REQUEST: TimeDelta = TimeDelta::seconds(60);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Begun {
    Create {
        creation_id: Uuid,
        #[serde(deserialize_with = "token_claim")]
        token: TokenClaim,
    },
    Created {
        session: Session,
    },
    Running {
        retry_after_seconds: u64,
    },
    Deleted,
    KeyReused,
    NotAHost,
    ZoomNotConnected,
    ZoomExpired,
    CoolingDown {
        retry_after_seconds: u64,
    },
    Invalid {
        fields: FieldErrors,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Completed {
    Created { session: Session },
    Closed,
}

/// A session as the database gives it to its host.
type Session = Map<String, Value>;

/// Creates a session.
///
/// # Errors
/// [`Error::ZoomOutcomeUnknown`] when the session may still come; any other error means that it never will.
pub async fn handle(call: &Call<'_>) -> Result<Answer, Error> {
    let latest = now().checked_add_signed(LATEST_REQUEST);
    let host = call.user().await?;
    let key = idempotency_key(call)?;
    let session = NewSession::parse(call.fields()?, key, now())?;
    let begun = call
        .db
        .rpc(
            "session_begin",
            &json!({
                "user_id": host.id, "holder": call.id,
                "idempotency_key": key, "request_hash": session.hash()?, "session": session,
            }),
        )
        .await
        .map_err(|error| match error {
            // This step creates an external session: it may be there. Any other takes more, which will not be done.
            Error::ServiceUnavailable | Error::Internal(_) if session.provider == Provider::External => {
                Error::ZoomOutcomeUnknown(SETTLED_IN_SECONDS)
            }
            error => error,
        })?;
    let created = match begun {
        Begun::Create { creation_id, token } => create(call, host, creation_id, token, &session, latest).await?,
        Begun::Created { session } => session,
        Begun::Running { retry_after_seconds } => return Err(Error::CreationRunning(retry_after_seconds)),
        Begun::Deleted => return Err(Error::SessionGone),
        Begun::KeyReused => return Err(Error::IdempotencyKeyReused),
        Begun::NotAHost => return Err(Error::NotAHost),
        Begun::ZoomNotConnected => return Err(Error::ZoomNotConnected),
        Begun::ZoomExpired => return Err(Error::ZoomExpired),
        Begun::CoolingDown { retry_after_seconds } => return Err(Error::ZoomUnavailable(retry_after_seconds)),
        Begun::Invalid { fields } => return Err(Error::InvalidRequest(fields)),
    };
    json_answer(&with_invite_url(call, created))
}

/// Has Zoom make the meeting, and the database the session.
async fn create(
    call: &Call<'_>,
    host: User,
    creation_id: Uuid,
    token: TokenClaim,
    session: &NewSession,
    latest: Option<DateTime<Utc>>,
) -> Result<Session, Error> {
    let request = ApiRequest::create_meeting(
        &MeetingDetails {
            topic: &session.title,
            description: &session.description,
            start: session.scheduled_start,
            duration_minutes: session.duration_minutes,
            timezone: &session.timezone,
        },
        creation_id,
        latest.unwrap_or(DateTime::<Utc>::MAX_UTC),
    );
    let meeting = call
        .zoom()?
        .api(host.id, token, &request)
        .await
        .and_then(|body| read_meeting(&body));
    let (result, error) = match meeting {
        Ok(meeting) => return complete(call, host, creation_id, &meeting).await,
        Err(ApiFailure::Unclear) => ("unknown", Error::ZoomOutcomeUnknown(SETTLED_IN_SECONDS)),
        // Of a meeting that is yet to be, this makes no sense.
        Err(ApiFailure::MeetingGone) => ("failed", Error::ZoomRejected),
        Err(failure) => ("failed", Error::from(failure)),
    };
    // If this is lost too, the ledger's row stays open, and `zoom-sync` closes it when it finds no meeting.
    let _: Result<Value, Error> = call
        .db
        .rpc(
            "session_fail",
            &json!({
                "creation_id": creation_id, "user_id": host.id, "result": result, "code": error.code(),
            }),
        )
        .await;
    Err(error)
}

async fn complete(call: &Call<'_>, host: User, creation_id: Uuid, meeting: &Meeting) -> Result<Session, Error> {
    let arguments = json!({
        "creation_id": creation_id, "user_id": host.id,
        "meeting": meeting.to_record(),
    });
    match call.db.commit("session_complete", &arguments).await {
        Ok(Completed::Created { session }) => Ok(session),
        // The creation was closed while Zoom answered: the meeting belongs to nobody, and `zoom-sync` will delete it.
        Ok(Completed::Closed) => Err(Error::ZoomUnavailable(SETTLED_IN_SECONDS)),
        // It may or may not have been saved. Deleting the meeting could tear it from its session; `zoom-sync` looks.
        Err(_) => Err(Error::ZoomOutcomeUnknown(SETTLED_IN_SECONDS)),
    }
}

fn with_invite_url(call: &Call<'_>, mut session: Session) -> Session {
    if let (Some(uri), Some(code)) = (
        &call.config.app_invite_uri,
        session.get("share_code").and_then(Value::as_str),
    ) {
        let mut invite_url = uri.clone();
        invite_url.query_pairs_mut().append_pair("share_code", code);
        session.insert("invite_url".to_owned(), invite_url.as_str().into());
    }
    session
}

#[cfg(target_arch = "wasm32")]
mod entry {
    #[worker::event(fetch)]
    async fn fetch(request: worker::Request, env: worker::Env, _: worker::Context) -> worker::Result<worker::Response> {
        shared::edge::serve(request, env, &super::ENDPOINT, super::handle).await
    }
}
