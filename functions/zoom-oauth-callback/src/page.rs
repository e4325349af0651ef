//! The way back to the app: a redirect, or a small page that opens the app's link.
//!
//! The target comes from the configuration alone; nothing of the request reaches the link or the page.

use bytes::Bytes;
use http::{header, HeaderName, HeaderValue, Response, StatusCode};
use reqwest::Url;
use shared::{
    call::Answer,
    config::{Config, ZoomApp},
    error::Error,
    random,
    secret::Secret,
};

use crate::outcome::Outcome;

/// Sends the browser back to the app.
///
/// An `https` target can be redirected to, and so must be where HTML may not be served: Supabase's shared domain turns
/// it into text. Elsewhere a page opens the app's own link, with a button for browsers that want a tap for that.
///
/// # Errors
/// [`Error::Internal`] when the configured target cannot stand in a header.
pub fn return_to_app(config: &Config, outcome: Outcome, handle: Option<&Secret<String>>) -> Result<Answer, Error> {
    let target = target(config.app_redirect_uri()?, outcome, handle);
    if target.scheme() == "https" || is_on_shared_domain(config.zoom()?) {
        redirect(&target)
    } else {
        page(&target, outcome)
    }
}

fn target(redirect_uri: &Url, outcome: Outcome, handle: Option<&Secret<String>>) -> Url {
    let mut target = redirect_uri.clone();
    match (outcome, handle) {
        (Outcome::Success, Some(handle)) => target
            .query_pairs_mut()
            .append_pair("success", "1")
            .append_pair("handle", handle.expose()),
        (failure, _) => target.query_pairs_mut().append_pair("error", failure.code()),
    };
    target
}

fn is_on_shared_domain(zoom: &ZoomApp) -> bool {
    let host = Url::parse(&zoom.redirect_uri)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default();
    host.ends_with(".supabase.co") || host.ends_with(".supabase.in")
}

fn redirect(target: &Url) -> Result<Answer, Error> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::FOUND;
    let location =
        HeaderValue::from_str(target.as_str()).map_err(|_| Error::Internal("APP_REDIRECT_URI is not a header"))?;
    answer.headers_mut().insert(header::LOCATION, location);
    add_page_headers(&mut answer, "default-src 'none'")?;
    Ok(answer)
}

fn page(target: &Url, outcome: Outcome) -> Result<Answer, Error> {
    let nonce = random::token()?;
    let (heading, advice) = outcome.sentences();
    let html = include_str!("page.html")
        .replace("{{nonce}}", &nonce)
        .replace(
            "{{state}}",
            if outcome == Outcome::Success {
                "success"
            } else {
                "failure"
            },
        )
        .replace("{{heading}}", &escape(heading))
        .replace("{{advice}}", &escape(advice))
        .replace("{{target}}", &escape(target.as_str()));
    let mut answer = Response::new(Bytes::from(html));
    *answer.status_mut() = outcome.status();
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    add_page_headers(&mut answer, &policy)?;
    Ok(answer)
}

/// What Zoom's review asks of every page, and no referrer: the address carries the code.
fn add_page_headers(answer: &mut Answer, policy: &str) -> Result<(), Error> {
    let policy = HeaderValue::from_str(policy).map_err(|_| Error::Internal("the page's policy is not a header"))?;
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000; includeSubDomains"),
        ),
    ];
    answer.headers_mut().extend(headers);
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(app_redirect_uri: &str, zoom_redirect_uri: &str, outcome: Outcome) -> Answer {
        let variable = |name: &str| {
            Some(match name {
                "SUPABASE_URL" => "https://ref.supabase.co".to_owned(),
                "SUPABASE_SECRET_KEY" | "ZOOM_CLIENT_ID" | "ZOOM_CLIENT_SECRET" => "x".to_owned(),
                "TOKEN_ENCRYPTION_KEYS" => "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
                "ZOOM_REDIRECT_URI" => zoom_redirect_uri.to_owned(),
                "APP_REDIRECT_URI" => app_redirect_uri.to_owned(),
                _ => return None,
            })
        };
        let config = Config::read(variable, crate::ENDPOINT.needs).unwrap();
        let handle = Secret::new("a-handle_0".to_owned());
        return_to_app(&config, outcome, Some(&handle)).unwrap()
    }

    const DEEP_LINK: &str = "cotrainr://video/zoom-connected";
    const OWN_HOST: &str = "https://api.app.example/functions/v1/zoom-oauth-callback";

    #[test]
    fn a_page_opens_the_deep_link_without_any_script() {
        let answer = answer(DEEP_LINK, OWN_HOST, Outcome::Success);
        assert_eq!(answer.status(), 200);
        let html = std::str::from_utf8(answer.body()).unwrap();
        let link = "cotrainr://video/zoom-connected?success=1&amp;handle=a-handle_0";
        assert_eq!(html.matches(link).count(), 2);
        assert!(!html.contains("<script") && !html.contains("{{"));
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
    }

    #[test]
    fn failures_carry_their_code() {
        let answer = answer("app://done?from=zoom&x='\"<", OWN_HOST, Outcome::MissingScope);
        assert_eq!(answer.status(), 400);
        let html = std::str::from_utf8(answer.body()).unwrap();
        assert!(html.contains("&amp;error=missing_scope"), "{html}");
        assert!(!html.contains("\"<"), "{html}");
    }

    #[test]
    fn https_targets_and_the_shared_domain_get_a_redirect() {
        let shared = "https://ref.supabase.co/functions/v1/zoom-oauth-callback";
        for (app, zoom) in [("https://app.example/done?a=1", OWN_HOST), (DEEP_LINK, shared)] {
            let answer = answer(app, zoom, Outcome::StateExpired);
            assert_eq!(answer.status(), 302);
            let location = answer.headers()["location"].to_str().unwrap();
            assert!(
                location.starts_with(app) && location.ends_with("error=state_expired"),
                "{location}"
            );
            assert!(answer.body().is_empty());
        }
    }
}
