//! `POST start-session`: the host asks for the start URL.
//!
//! Whoever holds a start URL *is* the host in Zoom, so it goes to the session's host only. Zoom's are good for two
//! hours: a stored one with ten more minutes is given out, else Zoom is asked for a fresh one.

use http::Method;
use serde::Deserialize;
use serde_json::json;
use shared::{
    auth::User,
    call::{json_answer, Answer, Call, Endpoint},
    config::Need,
    error::Error,
    input,
    secret::Secret,
    zoom::{
        api::{read_meeting, ApiFailure, ApiRequest, MeetingId},
        connection::{token_claim, TokenClaim},
    },
};
use uuid::Uuid;

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "start-session",
    method: Method::POST,
    needs: &[Need::Zoom],
};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Begun {
    Ready(StartUrl),
    Fetch {
        meeting_id: MeetingId,
        #[serde(deserialize_with = "token_claim")]
        token: TokenClaim,
    },
    NotFound,
    NotTheHost,
    Ended,
    Gone,
    ZoomNotConnected,
    ZoomExpired,
    ZoomOtherAccount,
    CoolingDown {
        retry_after_seconds: u64,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Ready(StartUrl),
    NotFound,
}

#[derive(Deserialize)]
struct StartUrl {
    host_start_url: Secret<String>,
    /// `None` for an external link, which Zoom has no say in.
    expires_at: Option<String>,
}

/// Gives the host a start URL that is good for ten minutes at least.
///
/// # Errors
/// [`Error::SessionNotFound`], [`Error::NotTheHost`], [`Error::SessionEnded`], [`Error::SessionGone`], and those of every
/// function that talks to Zoom.
pub async fn handle(call: &Call<'_>) -> Result<Answer, Error> {
    let user = call.user().await?;
    let session_id = session_id(call)?;
    let begun = call
        .db
        .rpc(
            "start_begin",
            &json!({"user_id": user.id, "holder": call.id, "session_id": session_id}),
        )
        .await?;
    let url = match begun {
        Begun::Ready(url) => url,
        Begun::Fetch { meeting_id, token } => fetch(call, user, session_id, &meeting_id, token).await?,
        Begun::NotFound => return Err(Error::SessionNotFound),
        Begun::NotTheHost => return Err(Error::NotTheHost),
        Begun::Ended => return Err(Error::SessionEnded),
        Begun::Gone => return Err(Error::SessionGone),
        Begun::ZoomNotConnected => return Err(Error::ZoomNotConnected),
        Begun::ZoomExpired => return Err(Error::ZoomExpired),
        Begun::ZoomOtherAccount => return Err(Error::ZoomOtherAccount),
        Begun::CoolingDown { retry_after_seconds } => return Err(Error::ZoomUnavailable(retry_after_seconds)),
    };
    json_answer(&json!({"host_start_url": url.host_start_url.expose(), "expires_at": url.expires_at}))
}

fn session_id(call: &Call<'_>) -> Result<Uuid, Error> {
    let mut fields = call.fields()?;
    let session_id = fields.required("session_id", input::uuid);
    fields.finish()?;
    session_id.ok_or(Error::InvalidJson)
}

/// Asks Zoom for a fresh start URL and stores it.
async fn fetch(
    call: &Call<'_>,
    user: User,
    session_id: Uuid,
    meeting_id: &MeetingId,
    token: TokenClaim,
) -> Result<StartUrl, Error> {
    let meeting = call
        .zoom()?
        .api(user.id, token, &ApiRequest::get_meeting(meeting_id))
        .await
        .and_then(|body| read_meeting(&body));
    let meeting = match meeting {
        Ok(meeting) => meeting,
        Err(ApiFailure::MeetingGone) => {
            let _: serde_json::Value = call
                .db
                .rpc(
                    "start_gone",
                    &json!({"user_id": user.id, "session_id": session_id, "meeting_id": meeting_id}),
                )
                .await?;
            return Err(Error::SessionGone);
        }
        Err(failure) => return Err(failure.into()),
    };
    let stored = call
        .db
        .rpc(
            "start_complete",
            &json!({
                "user_id": user.id, "session_id": session_id, "meeting_id": meeting_id,
                "host_start_url": meeting.start_url.expose(),
            }),
        )
        .await?;
    match stored {
        Stored::Ready(url) => Ok(url),
        Stored::NotFound => Err(Error::SessionNotFound),
    }
}

#[cfg(target_arch = "wasm32")]
mod entry {
    #[worker::event(fetch)]
    async fn fetch(request: worker::Request, env: worker::Env, _: worker::Context) -> worker::Result<worker::Response> {
        shared::edge::serve(request, env, &super::ENDPOINT, super::handle).await
    }
}
