//! `POST zoom-oauth-start`: a host begins to connect a Zoom account.
//!
//! The answer carries the address of Zoom's consent page. The state in it is 256 bits of chance, stored as a hash and
//! bound to the host; the PKCE verifier is stored sealed. Both live for ten minutes and work once, in
//! `zoom-oauth-callback`.

use http::Method;
use serde::Deserialize;
use serde_json::json;
use shared::{
    call::{json_answer, Answer, Call, Endpoint},
    config::Need,
    error::Error,
    random,
    secret::Secret,
    zoom::oauth::{state_hash, verifier_place},
};

/// This function.
pub static ENDPOINT: Endpoint = Endpoint {
    name: "zoom-oauth-start",
    method: Method::POST,
    needs: &[Need::Zoom],
};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Begun {
    Ok { expires_at: String },
    NotAHost,
}

/// Makes the address of the consent page.
///
/// # Errors
/// [`Error::NotAHost`], and those of every function.
pub async fn handle(call: &Call<'_>) -> Result<Answer, Error> {
    let user = call.user().await?;
    let zoom = call.zoom()?;
    let state = random::token()?;
    let verifier = Secret::new(random::token()?);
    let sealed_verifier = zoom.app().sealing_keys.seal(verifier_place(user.id), &verifier)?;
    let begun = call
        .db
        .rpc(
            "zoom_oauth_begin",
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
    }
}

#[cfg(target_arch = "wasm32")]
mod entry {
    #[worker::event(fetch)]
    async fn fetch(request: worker::Request, env: worker::Env, _: worker::Context) -> worker::Result<worker::Response> {
        shared::edge::serve(request, env, &super::ENDPOINT, super::handle).await
    }
}
