//! `POST start-session`: the host asks for the start URL.
//!
//! Whoever holds a start URL *is* the host in Zoom, so it goes to the session's host only. Zoom's are good for two
//! hours: a stored one with ten more minutes is given out, else Zoom is asked for a fresh one.

use http::Method;
use serde::Deserialize;
use serde_json::json;
use shared::{
    auth::User,
    call::{json_answer, Answer, Endpoint, RequestContext},
    config::Need,
    error::Error,
    input,
    secret::Secret,
    zoom::{
        api::{read_meeting, ApiRequest, MeetingId},
        api_failure::ApiFailure,
        connection::TokenClaim,
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
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Begun {
    Ready(StartUrl),
    Fetch {
        meeting_id: MeetingId,
        token: TokenClaim,
    },
    NotFound,
    NotTheHost,
    /// The host role was taken away, or the account is banned.
    NotAHost,
    Ended,
    Gone,
    ZoomOtherAccount {
        /// Of the account that made the meeting.
        zoom_account_email: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Stored {
    Ready(StartUrl),
    NotFound,
    /// The connection has ended while Zoom was asked.
    NoToken {
        token: TokenClaim,
    },
    /// The host has connected another Zoom account meanwhile.
    ZoomOtherAccount,
}

/// What is known of a meeting that Zoom does not find.
#[derive(Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Gone {
    Gone,
    ZoomOtherAccount,
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
/// [`Error::SessionNotFound`], [`Error::NotTheHost`], [`Error::NotAHost`], [`Error::SessionEnded`],
/// [`Error::SessionGone`], and
/// those of every function that talks to Zoom.
pub async fn handle(call: &RequestContext<'_>) -> Result<Answer, Error> {
    let user = call.user().await?;
    let session_id = session_id(call).await?;
    let begun = call
        .db
        .rpc(
            "edge_start_begin",
            &json!({"user_id": user.id, "holder": call.id, "session_id": session_id}),
        )
        .await?;
    let url = match begun {
        Begun::Ready(url) => url,
        Begun::Fetch { meeting_id, token } => fetch(call, user, session_id, &meeting_id, token).await?,
        Begun::NotFound => return Err(Error::SessionNotFound),
        Begun::NotTheHost => return Err(Error::NotTheHost),
        Begun::NotAHost => return Err(Error::NotAHost),
        Begun::Ended => return Err(Error::SessionEnded),
        Begun::Gone => return Err(Error::SessionGone),
        Begun::ZoomOtherAccount { zoom_account_email } => return Err(Error::ZoomOtherAccount(zoom_account_email)),
    };
    json_answer(&json!({"host_start_url": url.host_start_url.expose(), "expires_at": url.expires_at}))
}

async fn session_id(call: &RequestContext<'_>) -> Result<Uuid, Error> {
    let mut fields = call.fields().await?;
    let session_id = fields.required("session_id", input::uuid);
    fields.finish()?;
    session_id.ok_or(Error::InvalidJson)
}

/// Asks Zoom for a fresh start URL and stores it.
async fn fetch(
    call: &RequestContext<'_>,
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
            let gone = call
                .db
                .rpc(
                    "edge_start_gone",
                    &json!({"user_id": user.id, "session_id": session_id, "meeting_id": meeting_id}),
                )
                .await?;
            return Err(match gone {
                Gone::Gone => Error::SessionGone,
                Gone::ZoomOtherAccount => Error::ZoomOtherAccount(None),
            });
        }
        Err(failure) => return Err(failure.into()),
    };
    let stored = call
        .db
        .rpc(
            "edge_start_complete",
            &json!({
                "user_id": user.id, "session_id": session_id, "meeting_id": meeting_id,
                "meeting": meeting.to_record(),
            }),
        )
        .await?;
    match stored {
        Stored::Ready(url) => Ok(url),
        Stored::NotFound => Err(Error::SessionNotFound),
        Stored::NoToken { token } => Err(token.refusal()),
        Stored::ZoomOtherAccount => Err(Error::ZoomOtherAccount(None)),
    }
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
