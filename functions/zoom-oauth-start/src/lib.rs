//! `POST zoom-oauth-start`: a host begins to connect a Zoom account.
//!
//! The answer carries the address of Zoom's consent page. The state in it is 256 bits of chance, stored as a hash and
//! bound to the host; the PKCE verifier is stored sealed. Both live for ten minutes and work once, in
//! `zoom-oauth-callback`.

use http::Method;
use serde::Deserialize;
use serde_json::json;
use shared::{
    call::{json_answer, Answer, Endpoint, RequestContext},
    config::Need,
    error::Error,
    random,
    secret::Secret,
    zoom::oauth::{state_hash, verifier_context},
};

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "zoom-oauth-start",
    method: Method::POST,
    needs: &[Need::Zoom],
};

#[derive(Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Begun {
    Ok { expires_at: String },
    NotAHost,
    QuotaReached { sentence: String, retry_after_seconds: u64 },
}

/// Makes the address of the consent page.
///
/// # Errors
/// [`Error::NotAHost`], [`Error::QuotaReached`], and those of every function.
pub async fn handle(call: &RequestContext<'_>) -> Result<Answer, Error> {
    let user = call.user().await?;
    let zoom = call.zoom()?;
    let state = random::token()?;
    let verifier = Secret::new(random::token()?);
    let sealed_verifier = zoom.app().sealing_keys.seal(verifier_context(user.id), &verifier)?;
    let begun = call
        .db
        .rpc(
            "edge_oauth_begin",
            &json!({
                "user_id": user.id, "state_hash": state_hash(&state), "sealed_verifier": sealed_verifier,
            }),
        )
        .await?;
    match begun {
        Begun::Ok { expires_at } => {
            let auth_url = zoom.consent_url(&state, &verifier)?;
            json_answer(&json!({"auth_url": auth_url, "expires_at": expires_at}))
        }
        Begun::NotAHost => Err(Error::NotAHost),
        Begun::QuotaReached {
            sentence,
            retry_after_seconds,
        } => Err(Error::QuotaReached(sentence, retry_after_seconds)),
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
