//! `GET zoom-oauth-callback`: where the host's browser arrives from Zoom's consent page.
//!
//! The state is consumed first, atomically, so a code is exchanged once however often the browser comes. Then the
//! code is exchanged, the Zoom user read, the granted scopes checked, and what Zoom gave is kept as a pending
//! connection. Whatever happens, the browser goes back to the app with `success=1&handle=…` or `error=<code>`. The app
//! confirms by the handle as the user who asked for the consent page, because this browser may be anybody's.

mod outcome;
mod page;

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{json, Value};
use shared::{
    call::{Answer, Endpoint, RequestContext},
    config::Need,
    error::Error,
    log,
    secret::Secret,
    time,
    zoom::{
        api_failure::ApiFailure,
        connection::{access_token_context, refresh_token_context},
        oauth::{connection_handle, handle_hash, state_hash, verifier_context, RevokeOutcome},
        scopes,
        token_response::{TokenSet, TokenVerdict},
        Zoom,
    },
};
use uuid::Uuid;

use crate::outcome::Outcome;

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "zoom-oauth-callback",
    method: Method::GET,
    needs: &[Need::Zoom, Need::AppRedirect],
};

/// A repeated callback waits this often for the first one's outcome, this long each time: in all, as long as the first
/// one may take.
const WAITS: u32 = 45;
const WAIT: Duration = Duration::from_secs(1);

/// More than any access token has left, in seconds: with this a connection is refreshed, whatever its token's age.
const ALWAYS_REFRESH: u32 = 100_000;

#[derive(Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Consumed {
    Claimed { user_id: Uuid, sealed_verifier: String },
    Running,
    Finished { result: String },
    Expired,
    Unknown,
}

#[derive(Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Completed {
    /// The user is connected as this Zoom user already.
    Connected,
    /// The user has to confirm it.
    Pending,
    InvalidState,
}

/// Connects, and sends the browser back to the app.
///
/// # Errors
/// Only when there is no way back to the app.
pub async fn handle(call: &RequestContext<'_>) -> Result<Answer, Error> {
    let (outcome, handle) = match arrival(call) {
        None => (Outcome::InvalidState, None),
        Some(arrival) => {
            let outcome = outcome(call, &arrival).await.unwrap_or_else(|error| {
                let detail = if let Error::Internal(detail) = error {
                    detail
                } else {
                    ""
                };
                log::write(
                    &json!({"event": "connect_failed", "request_id": call.id, "code": error.code(), "detail": detail}),
                );
                Outcome::ServerError
            });
            (outcome, arrival.handle(call)?)
        }
    };
    if outcome != Outcome::Success {
        call.set_code(outcome.code());
    }
    page::return_to_app(call.config, outcome, handle.as_ref())
}

/// What the browser brought from Zoom.
struct Arrival {
    state: String,
    said: Said,
}

enum Said {
    /// The host allowed the connection, and this is the code.
    Code(String),
    /// There is no code, for this reason.
    Denied(Outcome),
}

impl Arrival {
    fn handle(&self, call: &RequestContext<'_>) -> Result<Option<Secret<String>>, Error> {
        match &self.said {
            Said::Code(code) => connection_handle(&call.config.zoom()?.sealing_keys, &self.state, code).map(Some),
            Said::Denied(_) => Ok(None),
        }
    }
}

fn arrival(call: &RequestContext<'_>) -> Option<Arrival> {
    let state = call.query("state").filter(|state| is_state(state))?;
    let said = match call.query("error").as_deref() {
        Some("access_denied") => Said::Denied(Outcome::AccessDenied),
        Some(_) => Said::Denied(Outcome::TokenExchangeFailed),
        None => Said::Code(call.query("code").filter(|code| !code.is_empty())?),
    };
    Some(Arrival { state, said })
}

/// What became of it.
async fn outcome(call: &RequestContext<'_>, arrival: &Arrival) -> Result<Outcome, Error> {
    let hash = state_hash(&arrival.state);
    let (code, denied) = match &arrival.said {
        Said::Code(code) => (code.as_str(), None),
        Said::Denied(outcome) => ("", Some(outcome.code())),
    };
    let handle_hash = arrival.handle(call)?.as_ref().map(handle_hash);
    for _ in 0..WAITS {
        let consumed = call
            .db
            .rpc(
                "edge_oauth_consume",
                &json!({"state_hash": hash, "handle_hash": handle_hash, "denied": denied}),
            )
            .await?;
        return Ok(match consumed {
            Consumed::Claimed {
                user_id,
                sealed_verifier,
            } => connect(call, &hash, user_id, &sealed_verifier, code).await,
            Consumed::Finished { result } => Outcome::from_code(&result),
            Consumed::Expired => Outcome::StateExpired,
            Consumed::Unknown => Outcome::InvalidState,
            Consumed::Running => {
                time::sleep(WAIT).await;
                continue;
            }
        });
    }
    Ok(Outcome::ServerError)
}

/// A state as `zoom-oauth-start` makes them: 43 characters of base64url.
fn is_state(state: &str) -> bool {
    state.len() == 43
        && state
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Exchanges the code and saves the connection; a failure is kept for repeated callbacks.
async fn connect(call: &RequestContext<'_>, hash: &str, user_id: Uuid, sealed_verifier: &str, code: &str) -> Outcome {
    let connected = exchange_and_save(call, hash, user_id, sealed_verifier, code).await;
    let outcome = connected.unwrap_or_else(|error| {
        log::write(&json!({"event": "connect_failed", "request_id": call.id, "code": error.code()}));
        Outcome::ServerError
    });
    if outcome != Outcome::Success {
        // Should this be lost, a repeated callback learns `state_expired` instead.
        let _: Result<Value, Error> = call
            .db
            .rpc(
                "edge_oauth_fail",
                &json!({"state_hash": hash, "result": outcome.code()}),
            )
            .await;
    }
    outcome
}

async fn exchange_and_save(
    call: &RequestContext<'_>,
    hash: &str,
    user_id: Uuid,
    sealed_verifier: &str,
    code: &str,
) -> Result<Outcome, Error> {
    let zoom = call.zoom()?;
    let verifier = zoom
        .app()
        .sealing_keys
        .open(verifier_context(user_id), sealed_verifier)?;
    let tokens = match zoom.exchange_code(code, &verifier).await {
        TokenVerdict::Granted(tokens) => tokens,
        TokenVerdict::Ended(_) => return Ok(Outcome::TokenExchangeFailed),
        TokenVerdict::OurConfiguration => {
            log::write(&json!({
                "event": "zoom_refuses_our_configuration", "request_id": call.id,
                "hint": "check ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET and ZOOM_REDIRECT_URI",
            }));
            return Ok(Outcome::TokenExchangeFailed);
        }
        TokenVerdict::TryLater(_) => return Ok(Outcome::ZoomUnavailable),
    };
    let saved = save(call, &zoom, hash, user_id, &tokens).await;
    if !matches!(saved, Ok(Saved::Kept(_))) {
        // Nobody will use these tokens: they must not live on.
        if let RevokeOutcome::Failed = zoom.revoke(&tokens.access_token).await {
            log::write(&json!({"event": "orphaned_token_not_revoked", "request_id": call.id}));
        }
    }
    let outcome = saved.map(|saved| match saved {
        Saved::Kept(outcome) | Saved::Nowhere(outcome) => outcome,
    });
    if !matches!(outcome, Ok(Outcome::Success)) {
        // Zoom may have ended a connection that the host had before. A refresh finds out, and keeps its verdict itself;
        // should even that fail, the next use does.
        if let Ok(before) = zoom.connection(user_id, ALWAYS_REFRESH, None).await {
            let _: Result<_, Error> = zoom.access_token(user_id, before.token).await;
        }
    }
    outcome
}

/// Where the tokens are when the callback is done with them.
enum Saved {
    /// In the database, which decides what becomes of them.
    Kept(Outcome),
    /// Nowhere but here.
    Nowhere(Outcome),
}

async fn save(
    call: &RequestContext<'_>,
    zoom: &Zoom<'_>,
    hash: &str,
    user_id: Uuid,
    tokens: &TokenSet,
) -> Result<Saved, Error> {
    let missing = scopes::missing(&tokens.scope);
    if !missing.is_empty() {
        log::write(&json!({"event": "missing_scopes", "request_id": call.id, "missing": missing}));
    }
    let zoom_user = match zoom.me(&tokens.access_token).await {
        Ok(zoom_user) => zoom_user,
        Err(ApiFailure::MissingScope) => return Ok(Saved::Nowhere(Outcome::MissingScope)),
        Err(ApiFailure::Unclear | ApiFailure::RateLimited(_)) => return Ok(Saved::Nowhere(Outcome::ZoomUnavailable)),
        Err(_) => return Ok(Saved::Nowhere(Outcome::TokenExchangeFailed)),
    };
    let seal = |place, token: &Secret<String>| zoom.app().sealing_keys.seal(place, token);
    let arguments = json!({
        "state_hash": hash, "user_id": user_id,
        "zoom_user_id": zoom_user.id, "zoom_account_id": zoom_user.account_id, "zoom_account_email": zoom_user.email,
        "scope": tokens.scope, "lacking_scope": !missing.is_empty(),
        "access_token": seal(access_token_context(user_id), &tokens.access_token)?,
        "refresh_token": seal(refresh_token_context(user_id), &tokens.refresh_token)?,
        "access_expires_in": tokens.expires_in,
    });
    Ok(match call.db.commit("edge_oauth_complete", &arguments).await? {
        Completed::Connected | Completed::Pending if missing.is_empty() => Saved::Kept(Outcome::Success),
        Completed::Connected | Completed::Pending => Saved::Kept(Outcome::MissingScope),
        Completed::InvalidState => Saved::Nowhere(Outcome::InvalidState),
    })
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
