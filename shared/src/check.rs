//! How an installation is, for the command `video-sessions doctor`: `GET …?check=<what>` on any function, with a secret
//! key.
//!
//! `configuration` names what is missing or malformed in this function's environment; `database` gives the schema's
//! version and the numbers of the operations guide's daily look; `zoom` asks Zoom whether it takes the client id and
//! secret; `users` fetches the key set, and verifies the bearer token if there is one. Answers hold names and counts,
//! never a value.

use http::{Method, Request};
use serde_json::{json, Value};

use crate::{
    auth,
    call::{json_answer, Answer, Endpoint, RequestContext},
    config::{ConfigError, Need, SecretKeys},
    error::Error,
    secret::Secret,
    zoom::token_response::TokenVerdict,
};

/// What is asked for, if this is a check at all: Zoom's redirects come by `GET`, too, but bring no key.
pub fn asked_for<B>(request: &Request<B>) -> Option<&str> {
    let is_check = request.method() == Method::GET && request.headers().contains_key("apikey");
    let query = request.uri().query().filter(|_| is_check)?;
    query.split('&').find_map(|pair| pair.strip_prefix("check="))
}

/// What a function says of its configuration, good or bad. Without any secret key there is nobody to tell.
///
/// # Errors
/// [`Error::Unauthorized`].
pub fn configuration(
    endpoint: &Endpoint,
    problem: Option<&ConfigError>,
    apikey: Option<&str>,
    keys: Option<&SecretKeys>,
) -> Result<Answer, Error> {
    auth::service(apikey, keys.ok_or(Error::Misconfigured)?)?;
    let problems: Vec<Value> = problem
        .map(ConfigError::problems)
        .unwrap_or_default()
        .iter()
        .map(|(name, problem)| json!({"name": name, "problem": problem}))
        .collect();
    json_answer(&json!({
        "function": endpoint.name, "version": env!("CARGO_PKG_VERSION"), "problems": problems,
        "zoom": endpoint.needs.contains(&Need::Zoom),
    }))
}

/// The other checks, which need a configuration.
///
/// # Errors
/// [`Error::Unauthorized`]; [`Error::InvalidRequest`] for a check that does not exist; those of what is asked.
pub async fn answer(call: &RequestContext<'_>, what: &str) -> Result<Answer, Error> {
    call.service()?;
    let answer = match what {
        "database" => call.db.rpc("edge_health", &json!({})).await?,
        "zoom" => json!({"zoom": credentials(call).await?}),
        "users" => json!({"users": users(call).await}),
        _ => return Err(Error::field("check", "must be configuration, database, zoom or users")),
    };
    json_answer(&answer)
}

/// Zoom refuses a made-up refresh token in one way for an app that it knows, and in another for one that it does not.
async fn credentials(call: &RequestContext<'_>) -> Result<&'static str, Error> {
    let verdict = call
        .zoom()?
        .refresh(&Secret::new("video-sessions-doctor".to_owned()))
        .await;
    Ok(match verdict {
        TokenVerdict::Ended(_) | TokenVerdict::Granted(_) => "accepted",
        TokenVerdict::OurConfiguration => "refused",
        TokenVerdict::TryLater(_) => "no_answer",
    })
}

async fn users(call: &RequestContext<'_>) -> &'static str {
    let has_token = call.header(http::header::AUTHORIZATION.as_str()).is_some();
    let checked = match has_token {
        true => call.user().await.map(|_| ()),
        false => call.key_set().await,
    };
    match checked {
        Ok(()) if has_token => "token_accepted",
        Ok(()) => "keys_found",
        Err(Error::TokenExpired) => "token_expired",
        Err(Error::Unauthorized) => "token_refused",
        Err(_) => "no_keys",
    }
}
