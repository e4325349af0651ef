//! `POST /oauth/token` and `POST /oauth/revoke`.

use axum::http::header;
use base64::prelude::{Engine, BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::answer::Answer;
use super::options::OvertakenSays;
use super::request::{one, stranger, Parameters, Request};
use super::tokens::{Issued, Refusal, Tokens};
use super::users::UserId;
use super::world::{Notes, World};

/// Hands out tokens for a code or a refresh token.
pub(crate) fn token(
    world: &mut World,
    request: &Request,
    notes: &mut Notes,
    now: DateTime<Utc>,
) -> Result<Answer, Answer> {
    let form = form_of_our_client(world, request)?;
    let Some(grant_type) = one(&form, "grant_type") else {
        return Err(invalid_request("Missing grant type. (4706)"));
    };
    let issued = match grant_type {
        "authorization_code" => {
            let [code, redirect_uri, verifier] = fields(&form, ["code", "redirect_uri", "code_verifier"])?;
            if !is_verifier(verifier) {
                return Err(invalid_request("Invalid code verifier."));
            }
            let users = &world.users;
            let scopes = |id: &UserId| users.by_id(id).map(|user| user.scopes.clone()).unwrap_or_default();
            world
                .tokens
                .exchange(code, redirect_uri, verifier, scopes, &world.rules, now)
        }
        "refresh_token" => {
            let [refresh_token] = fields(&form, ["refresh_token"])?;
            note(world, notes, refresh_token);
            world.tokens.refresh(refresh_token, &world.rules, now)
        }
        _ => {
            let reason = "Grant type is not supported from token endpoint. (4705)";
            return Err(Answer::oauth_error(400, "unsupported_grant_type", reason));
        }
    };
    let issued = issued.map_err(|refusal| refused(world, refusal))?;
    notes.user = Some(issued.user.clone());
    notes.token = notes.token.or(Some(issued.id));
    Ok(granted(&issued))
}

/// Removes the app for the user of an access token.
pub(crate) fn revoke(
    world: &mut World,
    request: &Request,
    notes: &mut Notes,
    now: DateTime<Utc>,
) -> Result<Answer, Answer> {
    let form = form_of_our_client(world, request)?;
    if let Some(name) = stranger(&form, &["token"]) {
        return Err(invalid_request(&format!("Unexpected parameter: {name}")));
    }
    let Some(token) = one(&form, "token") else {
        return Err(invalid_request("Token cannot be empty. (4700)"));
    };
    note(world, notes, token);
    let user = world
        .tokens
        .revoke(token, now)
        .map_err(|refusal| refused(world, refusal))?;
    if let Some(user) = world.users.by_id(&user).cloned() {
        world.uninstall(&user, now);
    }
    Ok(Answer::json(200, json!({"status": "success"})))
}

/// The form of a request that our client made, and nobody else.
fn form_of_our_client(world: &World, request: &Request) -> Result<Parameters, Answer> {
    let client = format!("{}:{}", world.app.client_id, world.app.client_secret);
    let given = request
        .header(header::AUTHORIZATION)
        .and_then(|value| value.strip_prefix("Basic "));
    let given = given.and_then(|value| BASE64_STANDARD.decode(value).ok());
    if given.as_deref() != Some(client.as_bytes()) {
        return Err(Answer::oauth_error(
            400,
            "invalid_client",
            "Invalid client_id or client_secret",
        ));
    }
    if !request.query.is_empty() {
        return Err(invalid_request(
            "Parameters belong in the body, where no log sees them.",
        ));
    }
    request
        .form()
        .ok_or_else(|| invalid_request("The body must be application/x-www-form-urlencoded."))
}

/// The values of the fields that belong to a grant, and no others.
fn fields<'f, const N: usize>(form: &'f Parameters, names: [&str; N]) -> Result<[&'f str; N], Answer> {
    let known: Vec<&str> = names.into_iter().chain(["grant_type"]).collect();
    if let Some(name) = stranger(form, &known) {
        return Err(invalid_request(&format!("Unexpected parameter: {name}")));
    }
    let mut values = [""; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = one(form, name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| invalid_request(&format!("Missing parameter, or more than one: {name}")))?;
    }
    Ok(values)
}

/// RFC 7636: 43 to 128 characters that need no encoding.
fn is_verifier(verifier: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&verifier.len()) && verifier.bytes().all(allowed)
}

fn note(world: &World, notes: &mut Notes, token: &str) {
    if let Some(token) = world.tokens.find(token) {
        notes.token = Some(token.id);
        notes.user = Some(token.user.clone());
    }
}

fn granted(issued: &Issued) -> Answer {
    Answer::json(
        200,
        json!({
            "access_token": issued.access_token,
            "token_type": "bearer",
            "refresh_token": issued.refresh_token,
            "expires_in": Tokens::ACCESS_TOKEN_SECONDS,
            "scope": issued.scope,
            // The user's region. Whoever goes there has not read that https://api.zoom.us always works.
            "api_url": "https://api-eu.zoom.us",
        }),
    )
}

fn refused(world: &World, refusal: Refusal) -> Answer {
    let told = match (refusal, world.rules.overtaken_says) {
        (Refusal::Overtaken, OvertakenSays::InvalidToken) => Refusal::Invalid,
        (refusal, _) => refusal,
    };
    let (error, reason) = told.words();
    Answer::oauth_error(world.rules.refused_grant_status, error, reason)
}

fn invalid_request(reason: &str) -> Answer {
    Answer::oauth_error(400, "invalid_request", reason)
}
