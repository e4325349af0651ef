//! `GET zoom-oauth-callback`: where the host's browser arrives from Zoom's consent page.
//!
//! The state is consumed first, atomically, so a code is exchanged once however often the browser comes. Then the
//! code is exchanged, the Zoom user read, the granted scopes checked, and the connection saved in one step. Whatever
//! happens, the browser goes back to the app with `success=1` or `error=<code>`.

mod outcome;
mod page;

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{json, Value};
use shared::{
    call::{self, Answer, Call, Endpoint},
    config::Need,
    error::Error,
    secret::Secret,
    time,
    zoom::{
        api::ApiFailure,
        connection::{access_token_place, refresh_token_place},
        oauth::{state_hash, verifier_place, Revocation},
        scopes,
        verdict::{TokenSet, TokenVerdict},
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

/// A repeated callback waits this often for the first one's outcome, this long each time: in all, as long as the first one may take.
const WAITS: u32 = 45;
const WAIT: Duration = Duration::from_secs(1);

/// More than any access token has left, in seconds: with this a connection is refreshed, whatever its token's age.
const ALWAYS_REFRESH: u32 = 100_000;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Consumed {
    Claimed { user_id: Uuid, sealed_verifier: String },
    Running,
    Finished { result: String },
    Expired,
    Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Completed {
    Connected,
    InvalidState,
}

/// Connects, and sends the browser back to the app.
///
/// # Errors
/// Only when there is no way back to the app.
pub async fn handle(call: &Call<'_>) -> Result<Answer, Error> {
    let outcome = outcome(call).await.unwrap_or_else(|error| {
        let detail = if let Error::Internal(detail) = error {
            detail
        } else {
            ""
        };
        call::log(&json!({"event": "connect_failed", "request_id": call.id, "code": error.code(), "detail": detail}));
        Outcome::ServerError
    });
    if outcome != Outcome::Success {
        call.set_code(outcome.code());
    }
    page::return_to_app(call.config, outcome)
}

/// What the browser brought, and what became of it.
async fn outcome(call: &Call<'_>) -> Result<Outcome, Error> {
    let Some(state) = call.query("state").filter(|state| is_state(state)) else {
        return Ok(Outcome::InvalidState);
    };
    let hash = state_hash(&state);
    let denied = call.query("error").map(|error| match error.as_str() {
        "access_denied" => Outcome::AccessDenied,
        _ => Outcome::TokenExchangeFailed,
    });
    let code = call.query("code").filter(|code| !code.is_empty());
    if denied.is_none() && code.is_none() {
        return Ok(Outcome::InvalidState);
    }
    for _ in 0..WAITS {
        let consumed = call
            .db
            .rpc(
                "zoom_oauth_consume",
                &json!({"state_hash": hash, "denied": denied.map(Outcome::code)}),
            )
            .await?;
        return Ok(match (consumed, &code) {
            (
                Consumed::Claimed {
                    user_id,
                    sealed_verifier,
                },
                Some(code),
            ) => connect(call, &hash, user_id, &sealed_verifier, code).await,
            (Consumed::Claimed { .. }, None) => Outcome::InvalidState,
            (Consumed::Finished { result }, _) => Outcome::from_code(&result),
            (Consumed::Expired, _) => Outcome::StateExpired,
            (Consumed::Unknown, _) => Outcome::InvalidState,
            (Consumed::Running, _) => {
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
async fn connect(call: &Call<'_>, hash: &str, user_id: Uuid, sealed_verifier: &str, code: &str) -> Outcome {
    let connected = exchange_and_save(call, hash, user_id, sealed_verifier, code).await;
    let outcome = connected.unwrap_or_else(|error| {
        call::log(&json!({"event": "connect_failed", "request_id": call.id, "code": error.code()}));
        Outcome::ServerError
    });
    if outcome != Outcome::Success {
        // Should this be lost, a repeated callback learns `state_expired` instead.
        let _: Result<Value, Error> = call
            .db
            .rpc(
                "zoom_oauth_fail",
                &json!({"state_hash": hash, "result": outcome.code()}),
            )
            .await;
    }
    outcome
}

async fn exchange_and_save(
    call: &Call<'_>,
    hash: &str,
    user_id: Uuid,
    sealed_verifier: &str,
    code: &str,
) -> Result<Outcome, Error> {
    let zoom = call.zoom()?;
    let verifier = zoom.app().sealing_keys.open(verifier_place(user_id), sealed_verifier)?;
    let tokens = match zoom.exchange_code(code, &verifier).await {
        TokenVerdict::Granted(tokens) => tokens,
        TokenVerdict::Ended(_) => return Ok(Outcome::TokenExchangeFailed),
        TokenVerdict::OurConfiguration => {
            call::log(&json!({
                "event": "zoom_refuses_our_configuration", "request_id": call.id,
                "hint": "check ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET and ZOOM_REDIRECT_URI",
            }));
            return Ok(Outcome::TokenExchangeFailed);
        }
        TokenVerdict::TryLater(_) => return Ok(Outcome::ZoomUnavailable),
    };
    let outcome = save(call, &zoom, hash, user_id, &tokens).await;
    if !matches!(outcome, Ok(Outcome::Success)) {
        // Nobody will use these tokens: they must not live on.
        if let Revocation::Failed = zoom.revoke(&tokens.access_token).await {
            call::log(&json!({"event": "orphaned_token_not_revoked", "request_id": call.id}));
        }
        // With them Zoom may have ended a connection that the host had before. A refresh finds out, and keeps its verdict itself;
        // should even that fail, the next use does.
        if let Ok(before) = zoom.connection(user_id, ALWAYS_REFRESH, None).await {
            let _: Result<_, Error> = zoom.access_token(user_id, before.token).await;
        }
    }
    outcome
}

async fn save(
    call: &Call<'_>,
    zoom: &Zoom<'_>,
    hash: &str,
    user_id: Uuid,
    tokens: &TokenSet,
) -> Result<Outcome, Error> {
    let missing = scopes::missing(&tokens.scope);
    if !missing.is_empty() {
        call::log(&json!({"event": "missing_scopes", "request_id": call.id, "missing": missing}));
        return Ok(Outcome::MissingScope);
    }
    let zoom_user = match zoom.me(&tokens.access_token).await {
        Ok(zoom_user) => zoom_user,
        Err(ApiFailure::MissingScope) => return Ok(Outcome::MissingScope),
        Err(ApiFailure::Unclear | ApiFailure::RateLimited(_)) => return Ok(Outcome::ZoomUnavailable),
        Err(_) => return Ok(Outcome::TokenExchangeFailed),
    };
    let seal = |place, token: &Secret<String>| zoom.app().sealing_keys.seal(place, token);
    let arguments = json!({
        "state_hash": hash, "user_id": user_id,
        "zoom_user_id": zoom_user.id, "zoom_account_id": zoom_user.account_id, "zoom_account_email": zoom_user.email,
        "scope": tokens.scope,
        "access_token": seal(access_token_place(user_id), &tokens.access_token)?,
        "refresh_token": seal(refresh_token_place(user_id), &tokens.refresh_token)?,
        "access_expires_in": tokens.expires_in,
    });
    Ok(match call.db.commit("zoom_oauth_complete", &arguments).await? {
        Completed::Connected => Outcome::Success,
        Completed::InvalidState => Outcome::InvalidState,
    })
}

#[cfg(target_arch = "wasm32")]
mod entry {
    #[worker::event(fetch)]
    async fn fetch(request: worker::Request, env: worker::Env, _: worker::Context) -> worker::Result<worker::Response> {
        shared::edge::serve(request, env, &super::ENDPOINT, super::handle).await
    }
}
