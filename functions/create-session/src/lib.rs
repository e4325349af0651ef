//! `POST create-session`: a host creates a session and its Zoom meeting.
//!
//! Three round trips: `edge_session_begin` claims a row in the ledger of creations and a token, Zoom makes the meeting
//! with that row's id in its agenda, `edge_session_complete` writes everything in one transaction. Zoom knows no
//! idempotency keys, so a meeting is asked for once. When nobody can tell what became of it, the ledger's row stays
//! open and `zoom-sync` finds the meeting by its marker.

mod input;

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::{json, Map, Value};
use shared::{
    auth::User,
    call::{json_answer, Answer, Endpoint, RequestContext},
    config::Need,
    error::{Error, FieldErrors},
    time::now,
    zoom::{
        api::{read_meeting, ApiRequest, Meeting, MeetingDetails},
        api_failure::ApiFailure,
        connection::TokenClaim,
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
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Begun {
    Create {
        creation_id: Uuid,
        token: TokenClaim,
        /// The session's time zone as Zoom knows it.
        zoom_timezone: Option<String>,
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
    NoToken {
        token: TokenClaim,
    },
    QuotaReached {
        sentence: String,
        retry_after_seconds: u64,
    },
    Invalid {
        fields: FieldErrors,
    },
}

#[derive(Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
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
pub async fn handle(call: &RequestContext<'_>) -> Result<Answer, Error> {
    let latest = now().checked_add_signed(LATEST_REQUEST);
    let host = call.user().await?;
    let key = idempotency_key(call)?;
    let session = NewSession::parse(call.fields().await?, key, now())?;
    let begun = call
        .db
        .rpc(
            "edge_session_begin",
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
        Begun::Create {
            creation_id,
            token,
            zoom_timezone,
        } => create(call, host, creation_id, token, &session, zoom_timezone, latest).await?,
        Begun::Created { session } => session,
        Begun::Running { retry_after_seconds } => return Err(Error::CreationRunning(retry_after_seconds)),
        Begun::Deleted => return Err(Error::SessionGone),
        Begun::KeyReused => return Err(Error::IdempotencyKeyReused),
        Begun::NotAHost => return Err(Error::NotAHost),
        Begun::NoToken { token } => return Err(token.refusal()),
        Begun::QuotaReached {
            sentence,
            retry_after_seconds,
        } => return Err(Error::QuotaReached(sentence, retry_after_seconds)),
        Begun::Invalid { fields } => return Err(Error::InvalidRequest(fields)),
    };
    json_answer(&with_invite_url(call, created))
}

/// Has Zoom make the meeting, and the database the session.
async fn create(
    call: &RequestContext<'_>,
    host: User,
    creation_id: Uuid,
    token: TokenClaim,
    session: &NewSession,
    timezone: Option<String>,
    latest: Option<DateTime<Utc>>,
) -> Result<Session, Error> {
    let zoom = call.zoom()?;
    let request = ApiRequest::create_meeting(
        &MeetingDetails {
            topic: Some(&session.title),
            description: Some(&session.description),
            start: Some(session.scheduled_start),
            duration_minutes: Some(session.duration_minutes),
            timezone: timezone.as_deref(),
        },
        &zoom.app().meeting_settings.with(&session.settings),
        creation_id,
        latest.unwrap_or(DateTime::<Utc>::MAX_UTC),
    );
    let meeting = zoom
        .api(host.id, token, &request)
        .await
        .and_then(|body| read_meeting(&body));
    let failure = match meeting {
        Ok(meeting) => return complete(call, host, creation_id, &meeting).await,
        Err(failure) => failure,
    };
    let code = failure.obstacle();
    let (result, error) = match failure {
        ApiFailure::Unclear => ("unknown", Error::ZoomOutcomeUnknown(SETTLED_IN_SECONDS)),
        // Of a meeting that is yet to be, this makes no sense.
        ApiFailure::MeetingGone => ("failed", Error::ZoomRejected),
        failure => ("failed", Error::from(failure)),
    };
    // If this is lost too, the ledger's row stays open, and `zoom-sync` closes it when it finds no meeting.
    let _: Result<Value, Error> = call
        .db
        .rpc(
            "edge_session_fail",
            &json!({
                "creation_id": creation_id, "user_id": host.id, "result": result, "code": code,
            }),
        )
        .await;
    Err(error)
}

async fn complete(
    call: &RequestContext<'_>,
    host: User,
    creation_id: Uuid,
    meeting: &Meeting,
) -> Result<Session, Error> {
    let arguments = json!({
        "creation_id": creation_id, "user_id": host.id,
        "meeting": meeting.to_record(),
    });
    match call.db.commit("edge_session_complete", &arguments).await {
        Ok(Completed::Created { session }) => Ok(session),
        // The creation was closed while Zoom answered: the meeting belongs to nobody, and `zoom-sync` will delete it.
        Ok(Completed::Closed) => Err(Error::ZoomUnavailable(SETTLED_IN_SECONDS)),
        // It may or may not have been saved. Deleting the meeting could tear it from its session; `zoom-sync` looks.
        Err(_) => Err(Error::ZoomOutcomeUnknown(SETTLED_IN_SECONDS)),
    }
}

fn with_invite_url(call: &RequestContext<'_>, mut session: Session) -> Session {
    if let (Some(uri), Some(code)) = (
        &call.config.app_invite_uri,
        session.get("share_code").and_then(Value::as_str),
    ) {
        let mut invite_url = uri.clone();
        if matches!(invite_url.scheme(), "http" | "https") {
            // A web page: what stands behind `#` reaches no server's log and no `Referer`.
            invite_url.set_fragment(Some(&format!("share_code={code}")));
        } else {
            invite_url.query_pairs_mut().append_pair("share_code", code);
        }
        session.insert("invite_url".to_owned(), invite_url.as_str().into());
    }
    session
}

#[cfg(target_arch = "wasm32")]
mod entry {
    use shared::edge::{serve, HostRequest, HostResponse, NoResponse};

    #[worker::event(fetch)]
    async fn fetch(request: HostRequest, env: worker::Env, _: worker::Context) -> Result<HostResponse, NoResponse> {
        serve(request, env, &super::ENDPOINT, super::handle).await
    }
}

#[cfg(test)]
mod tests;
