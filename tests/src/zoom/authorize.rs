//! `/oauth/authorize`: the consent page, and where it sends the browser.

use chrono::{DateTime, Utc};

use super::answer::Answer;
use super::pages;
use super::request::{one, stranger, Parameters, Request};
use super::tokens::Consent;
use super::users::{AppAccess, User};
use super::world::{Notes, World};

const KNOWN: [&str; 6] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// Shows the page (`GET`), or does what was decided on it (`POST` to the same address).
pub(crate) fn answer(
    world: &mut World,
    request: &Request,
    notes: &mut Notes,
    now: DateTime<Utc>,
) -> Result<Answer, Answer> {
    let query = request.query_parameters();
    let (state, challenge) = check(world, &query).map_err(|problem| pages::problem(&problem))?;
    if request.method == "GET" {
        let users: Vec<&User> = world.users.present().collect();
        return Ok(pages::consent(&users));
    }
    let form = request
        .form()
        .ok_or_else(|| pages::problem("A decision comes as a form."))?;
    if let Some(name) = stranger(&form, &["decision", "email"]) {
        return Err(pages::problem(&format!("The form has no field {name}.")));
    }
    let mut users = world.users.present();
    let user = match form.iter().any(|(name, _)| name == "email") {
        true => one(&form, "email").and_then(|email| users.find(|user| user.email == email)),
        false => users.next(),
    };
    let user = user
        .ok_or_else(|| pages::problem("There is no Zoom user of this address."))?
        .clone();
    notes.user = Some(user.id.clone());
    let redirect_uri = world.app.redirect_uri.clone();
    match one(&form, "decision") {
        Some("deny") => Ok(redirect(
            &redirect_uri,
            &[("error", "access_denied"), ("state", &state)],
        )),
        Some("allow") => {
            may_use_the_app(&user)?;
            let consent = Consent {
                user: user.id,
                redirect_uri: redirect_uri.clone(),
                challenge,
            };
            let code = world.tokens.authorize(consent, &world.rules, now);
            Ok(redirect(&redirect_uri, &[("code", &code), ("state", &state)]))
        }
        _ => Err(pages::problem("The decision is either allow or deny.")),
    }
}

/// The state and the code challenge of a request that may be answered by a redirect. What is wrong with any other is
/// shown on a page: it must not send the browser anywhere.
fn check(world: &World, query: &Parameters) -> Result<(String, String), String> {
    if let Some(name) = stranger(query, &KNOWN) {
        return Err(format!("The parameter {name} is unknown."));
    }
    let value =
        |name: &str| one(query, name).ok_or_else(|| format!("The parameter {name} must be there exactly once."));
    if value("client_id")? != world.app.client_id {
        return Err("Invalid client_id (4,702)".to_owned());
    }
    if value("redirect_uri")? != world.app.redirect_uri {
        return Err("Invalid redirect url (4,700)".to_owned());
    }
    if value("response_type")? != "code" {
        return Err("The response_type must be code.".to_owned());
    }
    // Zoom takes `plain` when the method is left out, which protects nothing: here it has to be named.
    if value("code_challenge_method")? != "S256" {
        return Err("The code_challenge_method must be S256.".to_owned());
    }
    let challenge = value("code_challenge")?;
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if challenge.len() != 43 || !challenge.bytes().all(base64url) {
        return Err("The code_challenge must be a SHA-256 as base64url.".to_owned());
    }
    let state = value("state")?;
    if state.is_empty() {
        return Err("The state must not be empty.".to_owned());
    }
    Ok((state.to_owned(), challenge.to_owned()))
}

/// A user whose administrator has not approved the app does not come back from the page.
fn may_use_the_app(user: &User) -> Result<(), Answer> {
    match user.app {
        AppAccess::Allowed => Ok(()),
        AppAccess::Disabled => Err(pages::message(
            403,
            "This app is disabled",
            "Your administrator does not allow it to be added to your account.",
        )),
        AppAccess::NeedsApproval => Err(pages::message(
            200,
            "Your request was sent",
            "An administrator has to approve this app before you can add it.",
        )),
    }
}

fn redirect(to: &str, parameters: &[(&str, &str)]) -> Answer {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    let separator = if to.contains('?') { '&' } else { '?' };
    Answer::empty(302)
        .with_header("location", format!("{to}{separator}{query}"))
        .with_header("cache-control", "no-store")
}
