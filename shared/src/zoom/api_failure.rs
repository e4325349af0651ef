//! What the errors of Zoom's API mean: for the caller, and for what is tried again.
//!
//! See <https://developers.zoom.us/docs/api/>.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    limits::{RateLimit, Whose},
    NoReply,
};
use crate::{
    error::{seconds_until, Error},
    json,
    outbound::Reply,
    time::now,
};

/// Why the API did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiFailure {
    /// There is no usable token: nothing was sent, or nothing more.
    NoToken(Error),
    /// 401, or code 124: the token is not accepted.
    TokenRefused,
    /// Code 4711 or 4700: the connection lacks a scope.
    MissingScope,
    /// 404/3001: the meeting does not exist any more.
    MeetingGone,
    /// 404/1001: the Zoom user does not exist any more.
    UserGone,
    /// 3161: this user may not host.
    CannotHost,
    /// 429.
    RateLimited(RateLimit),
    /// Any other refusal, by status and Zoom's code.
    Refused(u16, i64),
    /// No answer, a 5xx, or one that makes no sense: Zoom may or may not have acted.
    Unclear,
}

/// What kept something from Zoom, as the database keeps it (`last_code`, `code`): for the operator, and for what waits
/// for the same. No answer to a caller holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// There is no connection, or one that has ended or lacks a permission.
    NotConnected,
    /// Zoom takes no more of these today.
    DailyLimit,
    /// Zoom takes no more of these at the moment.
    RateLimit,
    /// There is no access token at the moment.
    NoToken,
    /// Zoom refuses our own configuration.
    Misconfigured,
    /// Nobody knows whether Zoom has done it.
    Unclear,
    /// Zoom refused.
    Refused,
    /// This Zoom user may not host.
    CannotHost,
    /// The meeting does not exist any more.
    MeetingGone,
    /// The meeting goes on, and cannot be changed as long as it does.
    MeetingRunning,
    /// A fault of ours.
    Internal,
}

impl ApiFailure {
    /// What kept the request from being done.
    pub fn obstacle(&self) -> Obstacle {
        match self {
            Self::NoToken(Error::ZoomNotConnected | Error::ZoomExpired | Error::MissingScope)
            | Self::MissingScope
            | Self::UserGone => Obstacle::NotConnected,
            Self::NoToken(Error::ZoomUnavailable(_) | Error::ServiceUnavailable) => Obstacle::NoToken,
            Self::NoToken(Error::Misconfigured) => Obstacle::Misconfigured,
            Self::NoToken(_) => Obstacle::Internal,
            Self::RateLimited(limit) if limit.daily => Obstacle::DailyLimit,
            Self::RateLimited(_) => Obstacle::RateLimit,
            Self::TokenRefused | Self::Unclear => Obstacle::Unclear,
            Self::Refused(..) => Obstacle::Refused,
            Self::CannotHost => Obstacle::CannotHost,
            Self::MeetingGone => Obstacle::MeetingGone,
        }
    }
}

impl From<ApiFailure> for Error {
    /// The refusal that the caller reads, for a request that changes nothing or was surely not done.
    fn from(failure: ApiFailure) -> Self {
        match failure {
            ApiFailure::NoToken(error) => error,
            ApiFailure::MissingScope => Self::MissingScope,
            ApiFailure::MeetingGone => Self::SessionGone,
            ApiFailure::UserGone => Self::ZoomExpired,
            ApiFailure::CannotHost => Self::ZoomCannotHost,
            ApiFailure::RateLimited(limit) => {
                let seconds = seconds_until(limit.until, now());
                match (limit.daily, limit.whose) {
                    (true, Whose::Hosts) => Self::ZoomDailyLimit(seconds),
                    (true, Whose::Accounts) => Self::ZoomAccountDailyLimit(seconds),
                    (false, _) => Self::ZoomRateLimited(seconds),
                }
            }
            ApiFailure::Refused(..) => Self::ZoomRejected,
            ApiFailure::TokenRefused | ApiFailure::Unclear => Self::ZoomUnavailable(30),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ApiError {
    code: i64,
    message: String,
}

/// Decides on status and code what an answer of the API means.
pub fn classify(reply: Result<Reply, NoReply>, now: DateTime<Utc>) -> Result<Bytes, ApiFailure> {
    let Ok(reply) = reply else {
        return Err(ApiFailure::Unclear);
    };
    if (200..300).contains(&reply.status) {
        return Ok(reply.body);
    }
    let error: ApiError = json::parse(&reply.body).unwrap_or_default();
    Err(match (reply.status, error.code) {
        // 408: the wait ended before the outcome was known.
        (..=399 | 408 | 500.., _) => ApiFailure::Unclear,
        (429, _) => ApiFailure::RateLimited(RateLimit::read(&reply.headers, &error.message, now)),
        (_, 4711 | 4700) => ApiFailure::MissingScope,
        (400..=403, _) if error.message.contains("does not contain scopes") => ApiFailure::MissingScope,
        (401, _) | (_, 124) => ApiFailure::TokenRefused,
        (404, 3001) => ApiFailure::MeetingGone,
        (404, 1001) => ApiFailure::UserGone,
        (_, 3161) => ApiFailure::CannotHost,
        (status, code) => ApiFailure::Refused(status, code),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: &str) -> Result<Bytes, ApiFailure> {
        let reply = Reply {
            status,
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        };
        classify(Ok(reply), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn errors_are_decided_on_status_and_code() {
        let table = [
            (
                401,
                r#"{"code":124,"message":"Invalid access token."}"#,
                ApiFailure::TokenRefused,
            ),
            (401, "", ApiFailure::TokenRefused),
            (400, r#"{"code":124}"#, ApiFailure::TokenRefused),
            (
                400,
                r#"{"code":4711,"message":"Invalid access token, does not contain scopes:[…]"}"#,
                ApiFailure::MissingScope,
            ),
            (401, r#"{"code":4711}"#, ApiFailure::MissingScope),
            (400, r#"{"code":4700,"message":"x"}"#, ApiFailure::MissingScope),
            (
                400,
                r#"{"code":200,"message":"It does not contain scopes: x"}"#,
                ApiFailure::MissingScope,
            ),
            (
                400,
                r#"{"code":300,"message":"Validation Failed."}"#,
                ApiFailure::Refused(400, 300),
            ),
            (400, r#"{"code":3161}"#, ApiFailure::CannotHost),
            (403, r#"{"code":200}"#, ApiFailure::Refused(403, 200)),
            (404, r#"{"code":3001}"#, ApiFailure::MeetingGone),
            (404, r#"{"code":1001}"#, ApiFailure::UserGone),
            (404, "<html>", ApiFailure::Refused(404, 0)),
            (500, r#"{"code":3001}"#, ApiFailure::Unclear),
            (502, "<html>", ApiFailure::Unclear),
            (302, "", ApiFailure::Unclear),
            (408, "", ApiFailure::Unclear),
        ];
        for (status, body, expected) in table {
            assert_eq!(answer(status, body), Err(expected), "{status} {body}");
        }
        assert!(matches!(answer(429, ""), Err(ApiFailure::RateLimited(_))));
        assert!(answer(204, "").is_ok());
        assert_eq!(classify(Err(NoReply), DateTime::UNIX_EPOCH), Err(ApiFailure::Unclear));
    }

    proptest! {
        #[test]
        fn no_answer_panics(status in 0u16..1000, body in ".{0,200}") {
            let _ = answer(status, &body);
            let _ = crate::zoom::api::read_meeting(body.as_bytes());
        }
    }
}
