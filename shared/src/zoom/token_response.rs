//! What the token endpoint's answers mean for a connection.
//!
//! A refusal in OAuth's own words ends a connection, unless it is about our client id and secret, or says that it will
//! pass. Everything else, and above all everything unknown (5xx, HTML, XML, empty or cut bodies), means that Zoom could
//! not be understood this time.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{limits::RateLimit, NoReply};
use crate::{
    error::{seconds_until, Error},
    json,
    outbound::Reply,
    secret::Secret,
};

/// Tokens as Zoom hands them out.
#[derive(Debug, Clone, Deserialize)]
pub struct TokenSet {
    /// Good for `expires_in` seconds.
    pub access_token: Secret<String>,
    /// Good for one use within about 90 days.
    pub refresh_token: Secret<String>,
    /// Seconds, 3599 or 3600.
    pub expires_in: u32,
    /// Granted scopes, space separated.
    #[serde(default)]
    pub scope: String,
}

/// Why a connection has ended, as `user_integrations_zoom.expired_reason` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiredReason {
    /// The grant is gone: removed by the host, run out, or its token was spent by a lost refresh.
    Revoked,
    /// The Zoom user that owned it is gone (4735).
    OwnerGone,
    /// An administrator disabled the app (4738, 4717).
    DisabledByAdmin,
    /// A newer authorization of the same Zoom user took its place (4741).
    Superseded,
    /// It lacks a permission that the functions need.
    MissingScope,
    /// Another user of the app has connected the same Zoom user since. Only the database says so.
    ConnectedElsewhere,
    /// Nobody used it for 90 days. Only the database says so.
    Idle,
    /// A reason of a newer schema.
    #[serde(other)]
    Other,
}

impl ExpiredReason {
    /// What a host is told whose connection has ended for this reason.
    pub const fn refusal(self) -> Error {
        match self {
            Self::MissingScope => Error::MissingScope,
            _ => Error::ZoomExpired,
        }
    }
}

/// The verdict over one answer of the token endpoint.
#[derive(Debug, Clone)]
pub enum TokenVerdict {
    /// New tokens.
    Granted(TokenSet),
    /// The grant is refused for good.
    Ended(ExpiredReason),
    /// Zoom refuses the app itself: our client id, secret or redirect address.
    OurConfiguration,
    /// Not this time; seconds to wait before anybody asks again.
    TryLater(u32),
}

/// The cool-down after an answer that says nothing about when to come back.
const COOLDOWN_SECONDS: u32 = 30;

#[derive(Deserialize, Default)]
#[serde(default)]
struct OAuthError {
    error: String,
    reason: String,
    error_description: String,
}

/// Judges an answer of the token endpoint.
pub fn judge(reply: &Result<Reply, NoReply>, now: DateTime<Utc>) -> TokenVerdict {
    let Ok(reply) = reply else {
        return TokenVerdict::TryLater(COOLDOWN_SECONDS);
    };
    match reply.status {
        200 => json::parse::<TokenSet>(&reply.body)
            .filter(is_complete)
            .map_or(TokenVerdict::TryLater(COOLDOWN_SECONDS), TokenVerdict::Granted),
        400 | 401 => json::parse::<OAuthError>(&reply.body)
            .map_or(TokenVerdict::TryLater(COOLDOWN_SECONDS), |error| judge_error(&error)),
        429 => {
            let limit = RateLimit::read(&reply.headers, "", now);
            TokenVerdict::TryLater(u32::try_from(seconds_until(limit.until, now)).unwrap_or(COOLDOWN_SECONDS))
        }
        _ => TokenVerdict::TryLater(COOLDOWN_SECONDS),
    }
}

fn is_complete(tokens: &TokenSet) -> bool {
    !tokens.access_token.expose().is_empty() && !tokens.refresh_token.expose().is_empty() && tokens.expires_in > 0
}

fn judge_error(error: &OAuthError) -> TokenVerdict {
    let text = format!("{} {}", error.reason, error.error_description);
    let says = |code: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word == code)
    };
    let lower = text.to_ascii_lowercase();
    match error.error.as_str() {
        "invalid_client" | "unauthorized_client" | "unsupported_grant_type" => return TokenVerdict::OurConfiguration,
        "temporarily_unavailable" | "server_error" | "slow_down" | "" => {
            return TokenVerdict::TryLater(COOLDOWN_SECONDS);
        }
        "invalid_grant" => {}
        _ if ["client_id", "client_secret", "redirect", "grant type"]
            .iter()
            .any(|ours| lower.contains(ours)) =>
        {
            return TokenVerdict::OurConfiguration;
        }
        // Refusals of a grant come under many names: 4711, 4717 and 4740 as `invalid_request`, for one.
        _ => {}
    }
    TokenVerdict::Ended(if says("4735") {
        ExpiredReason::OwnerGone
    } else if says("4738") || says("4717") {
        ExpiredReason::DisabledByAdmin
    } else if says("4741") {
        ExpiredReason::Superseded
    } else if says("4711") || says("4700") || lower.contains("does not contain scopes") {
        ExpiredReason::MissingScope
    } else {
        ExpiredReason::Revoked
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn verdict(status: u16, body: &str) -> String {
        let reply = Reply {
            status,
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        };
        match judge(&Ok(reply), DateTime::UNIX_EPOCH) {
            TokenVerdict::Granted(_) => "granted".to_owned(),
            TokenVerdict::Ended(reason) => json!(reason).as_str().expect("a name").to_owned(),
            TokenVerdict::OurConfiguration => "ours".to_owned(),
            TokenVerdict::TryLater(_) => "later".to_owned(),
        }
    }

    #[test]
    fn the_verdict_table() {
        let granted = r#"{"access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":3599,
            "scope":"s","api_url":"https://x"}"#;
        let table = [
            (200, granted, "granted"),
            (200, "", "later"),
            (200, r#"{"access_token":"a","refr"#, "later"),
            (200, r#"{"access_token":"a","expires_in":3599}"#, "later"),
            (
                200,
                r#"{"access_token":"","refresh_token":"","expires_in":3599}"#,
                "later",
            ),
            (200, "<html></html>", "later"),
            (400, r#"{"reason":"Invalid Token!","error":"invalid_grant"}"#, "revoked"),
            (401, r#"{"reason":"Invalid Token!","error":"invalid_grant"}"#, "revoked"),
            (
                400,
                r#"{"reason":"Invalid Token!","error":"invalid_request"}"#,
                "revoked",
            ),
            (
                400,
                r#"{"reason":"The token can't be found (4737)","error":"invalid_request"}"#,
                "revoked",
            ),
            (
                400,
                r#"{"reason":"4735: owner does not exist","error":"invalid_grant"}"#,
                "owner_gone",
            ),
            (
                400,
                r#"{"reason":"4738 disabled by an administrator","error":"invalid_request"}"#,
                "disabled_by_admin",
            ),
            (401, r#"{"reason":"4741","error":"invalid_grant"}"#, "superseded"),
            (
                400,
                r#"{"reason":"Missing grant type.","error":"invalid_request"}"#,
                "ours",
            ),
            (
                400,
                r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#,
                "ours",
            ),
            (
                401,
                r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#,
                "ours",
            ),
            (
                400,
                r#"{"reason":"The app has been disabled by Zoom. (4717)","error":"invalid_request"}"#,
                "disabled_by_admin",
            ),
            (
                400,
                r#"{"reason":"Invalid access token, does not contain scopes. (4711)","error":"invalid_request"}"#,
                "missing_scope",
            ),
            (400, r#"{"reason":"4700","error":"invalid_token"}"#, "missing_scope"),
            (400, r#"{"reason":"4740","error":"invalid_request"}"#, "revoked"),
            (400, r#"{"error":"something_new"}"#, "revoked"),
            (400, r#"{"error":"temporarily_unavailable"}"#, "later"),
            (
                400,
                r#"{"reason":"Redirect URI mismatch. (4709)","error":"invalid_request"}"#,
                "ours",
            ),
            (400, "", "later"),
            (400, "<xml/>", "later"),
            (401, r#"{"code":124,"message":"Invalid access token."}"#, "later"),
            (403, r#"{"error":"invalid_grant"}"#, "later"),
            (404, "", "later"),
            (429, "", "later"),
            (500, r#"{"error":"invalid_grant"}"#, "later"),
            (502, "<html>Bad Gateway</html>", "later"),
        ];
        for (status, body, expected) in table {
            assert_eq!(verdict(status, body), expected, "{status} {body}");
        }
    }

    proptest! {
        /// Whatever Zoom sends, nothing but a refusal in OAuth's words ends a connection.
        #[test]
        fn the_unknown_never_ends_a_connection(status in 100u16..600, body in ".{0,300}") {
            let ended = !matches!(verdict(status, &body).as_str(), "granted" | "ours" | "later");
            prop_assert!(!ended);
        }
    }
}
