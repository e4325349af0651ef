//! Every way a function can say no: status, stable code, and a sentence for a person.
//!
//! What the caller did wrong is told to the caller. What went wrong on our side (database, configuration, a reply of
//! Zoom's that makes no sense) is logged where it happens and told in general words only: no secret, no stack and no
//! upstream body ever reaches an answer.

use chrono::{DateTime, Utc};
use http::{header, Method, StatusCode};
use serde_json::{json, Map, Value};
use uuid::Uuid;

/// Reasons by field name, as they stand in an `invalid_request` answer.
pub type FieldErrors = Map<String, Value>;

/// A refusal or a failure. The `Display` text is the sentence that the caller reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
// For tests of all of them.
#[cfg_attr(not(target_arch = "wasm32"), derive(strum::EnumIter))]
pub enum Error {
    /// 401 `unauthorized`: no token, or one that this project did not sign for this audience.
    #[error("Sign in and try again.")]
    Unauthorized,
    /// 401 `token_expired`: a genuine token whose time is over.
    #[error("Your sign-in has expired. Refresh it and try again.")]
    TokenExpired,
    /// 405 `method_not_allowed`, with the method that is allowed.
    #[error("This address answers {0} requests only.")]
    MethodNotAllowed(Method),
    /// 415 `unsupported_media_type`.
    #[error("Send the request body as application/json.")]
    UnsupportedMediaType,
    /// 413 `payload_too_large`, with the limit in KiB.
    #[error("The request body is too large: send at most {0} KiB.")]
    PayloadTooLarge(usize),
    /// 400 `invalid_json`: not UTF-8, not JSON, or not an object.
    #[error("The request body is not a valid JSON object.")]
    InvalidJson,
    /// 400 `invalid_request`, with the reason for each field.
    #[error("Some of the values cannot be used. Correct them and try again.")]
    InvalidRequest(FieldErrors),
    /// 403 `not_a_host`.
    #[error("Only trainers and nutritionists can do this.")]
    NotAHost,
    /// 403 `not_the_host`: a participant asked for what is the host's alone.
    #[error("Only the host of this session can start it.")]
    NotTheHost,
    /// 403 `zoom_not_connected`.
    #[error("Connect Zoom first, then try again.")]
    ZoomNotConnected,
    /// 403 `zoom_expired`: the host has to reconnect. The reason is for the log; the app reads it by `zoom_connection`.
    #[error("Your Zoom connection has ended. Reconnect Zoom and try again.")]
    ZoomExpired,
    /// 403 `zoom_other_account`: the session's meeting belongs to another Zoom account than the connected one; its
    /// email address, where it is known.
    #[error("This session was created with {}. Connect that account to start it.", other_account(.0.as_deref()))]
    ZoomOtherAccount(Option<String>),
    /// 403 `missing_scope`: the connection lacks a permission that the call needs.
    #[error("Zoom did not grant all the permissions this needs. Reconnect Zoom and allow all of them.")]
    MissingScope,
    /// 403 `zoom_cannot_host`: this Zoom user may not host meetings.
    #[error("Your Zoom account may not host meetings. Ask your Zoom administrator, or connect another account.")]
    ZoomCannotHost,
    /// 404 `session_not_found`.
    #[error("There is no such session.")]
    SessionNotFound,
    /// 404 `session_not_joinable`: a code that leads nowhere, or to a session that the caller cannot join.
    #[error(
        "This code does not lead to a session that you can join. \
         It may be mistyped, or the session is full, cancelled or \
         over: ask your host."
    )]
    SessionNotJoinable,
    /// 403 `anonymous_not_allowed`: anonymous sign-ins do not take part in this project.
    #[error("Sign in with an account of your own to join.")]
    AnonymousNotAllowed,
    /// 429 `too_many_attempts`: too many codes that lead nowhere; seconds to wait.
    #[error("Too many codes that lead nowhere. Try again in ten minutes.")]
    TooManyAttempts(u64),
    /// 429 `quota_reached`: more than any person does; the database's sentence, and seconds to wait.
    #[error("{0}")]
    QuotaReached(String, u64),
    /// 410 `session_ended`.
    #[error("This session is over.")]
    SessionEnded,
    /// 410 `session_gone`: cancelled, or its meeting was deleted in Zoom.
    #[error("This session was cancelled. Create a new one.")]
    SessionGone,
    /// 409 `creation_running`: the same creation is still on its way; seconds to wait.
    #[error("This session is still being created. Try again in a moment with the same key.")]
    CreationRunning(u64),
    /// 422 `idempotency_key_reused`.
    #[error("This idempotency key was used for a different request. Use a new key for a new session.")]
    IdempotencyKeyReused,
    /// 429 `zoom_daily_limit`: the host's 100 meeting changes of the day are used up; seconds until they are back.
    #[error("Zoom allows 100 meeting changes a day, and today's are used up. Try again after 00:00 UTC.")]
    ZoomDailyLimit(u64),
    /// 429 `zoom_daily_limit`: the Zoom account has used up its requests of the day; seconds until they are back.
    #[error("Your Zoom account has no requests left for today. Try again after 00:00 UTC.")]
    ZoomAccountDailyLimit(u64),
    /// 503 `zoom_rate_limited`; seconds to wait.
    #[error("Zoom is receiving too many requests right now. Try again in a moment.")]
    ZoomRateLimited(u64),
    /// 503 `zoom_unavailable`: Zoom did not do it; seconds to wait.
    #[error("Zoom is not available right now. Try again in a moment.")]
    ZoomUnavailable(u64),
    /// 503 `zoom_outcome_unknown`: Zoom, or the database, may or may not have done it; seconds until that is settled.
    #[error(
        "The session is not confirmed yet and may still appear: \
         look at your sessions in a minute before you try again."
    )]
    ZoomOutcomeUnknown(u64),
    /// 502 `zoom_rejected`: Zoom refused in a way that the caller cannot mend.
    #[error("Zoom did not accept the request. Try again, and contact support if it happens again.")]
    ZoomRejected,
    /// 503 `service_unavailable`: our own database did not answer.
    #[error("The service is not available right now. Try again in a moment.")]
    ServiceUnavailable,
    /// 500 `misconfigured`: what is wrong was logged when the configuration was read.
    #[error("The service is not set up correctly. Contact support.")]
    Misconfigured,
    /// 500 `internal`: a fault of ours; the text is for the log.
    #[error("Something went wrong on our side. Try again, and contact support if it happens again.")]
    Internal(&'static str),
}

impl Error {
    /// A refusal of one field.
    pub fn field(name: &str, reason: &str) -> Self {
        let mut fields = FieldErrors::new();
        fields.insert(name.to_owned(), json!(reason));
        Self::InvalidRequest(fields)
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::InvalidJson | Self::InvalidRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::TokenExpired => StatusCode::UNAUTHORIZED,
            Self::NotAHost
            | Self::NotTheHost
            | Self::ZoomNotConnected
            | Self::ZoomExpired
            | Self::ZoomOtherAccount(_)
            | Self::MissingScope
            | Self::AnonymousNotAllowed
            | Self::ZoomCannotHost => StatusCode::FORBIDDEN,
            Self::SessionNotFound | Self::SessionNotJoinable => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::CreationRunning(_) => StatusCode::CONFLICT,
            Self::SessionEnded | Self::SessionGone => StatusCode::GONE,
            Self::PayloadTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::ZoomDailyLimit(_)
            | Self::ZoomAccountDailyLimit(_)
            | Self::TooManyAttempts(_)
            | Self::QuotaReached(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::ZoomRejected => StatusCode::BAD_GATEWAY,
            Self::ZoomRateLimited(_)
            | Self::ZoomUnavailable(_)
            | Self::ZoomOutcomeUnknown(_)
            | Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable code that programs decide on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::PayloadTooLarge(_) => "payload_too_large",
            Self::InvalidJson => "invalid_json",
            Self::InvalidRequest(_) => "invalid_request",
            Self::NotAHost => "not_a_host",
            Self::NotTheHost => "not_the_host",
            Self::ZoomNotConnected => "zoom_not_connected",
            Self::ZoomExpired => "zoom_expired",
            Self::ZoomOtherAccount(_) => "zoom_other_account",
            Self::MissingScope => "missing_scope",
            Self::ZoomCannotHost => "zoom_cannot_host",
            Self::SessionNotFound => "session_not_found",
            Self::SessionNotJoinable => "session_not_joinable",
            Self::AnonymousNotAllowed => "anonymous_not_allowed",
            Self::TooManyAttempts(_) => "too_many_attempts",
            Self::QuotaReached(..) => "quota_reached",
            Self::SessionEnded => "session_ended",
            Self::SessionGone => "session_gone",
            Self::CreationRunning(_) => "creation_running",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::ZoomDailyLimit(_) | Self::ZoomAccountDailyLimit(_) => "zoom_daily_limit",
            Self::ZoomRateLimited(_) => "zoom_rate_limited",
            Self::ZoomUnavailable(_) => "zoom_unavailable",
            Self::ZoomOutcomeUnknown(_) => "zoom_outcome_unknown",
            Self::ZoomRejected => "zoom_rejected",
            Self::ServiceUnavailable => "service_unavailable",
            Self::Misconfigured => "misconfigured",
            Self::Internal(_) => "internal",
        }
    }

    /// Seconds after which it is worth trying again; every 409, 429 and 503 has them.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::CreationRunning(seconds)
            | Self::TooManyAttempts(seconds)
            | Self::QuotaReached(_, seconds)
            | Self::ZoomDailyLimit(seconds)
            | Self::ZoomAccountDailyLimit(seconds)
            | Self::ZoomRateLimited(seconds)
            | Self::ZoomUnavailable(seconds)
            | Self::ZoomOutcomeUnknown(seconds) => Some((*seconds).max(1)),
            Self::ServiceUnavailable => Some(5),
            _ => None,
        }
    }

    /// The answer on the wire: `{"error", "code", "request_id", "fields"?}`.
    pub fn to_body(&self, request_id: Uuid) -> serde_json::Value {
        let mut body = json!({"error": self.to_string(), "code": self.code(), "request_id": request_id});
        if let (Self::InvalidRequest(fields), Some(body)) = (self, body.as_object_mut()) {
            body.insert("fields".to_owned(), json!(fields));
        }
        body
    }

    /// Headers that belong to this refusal.
    pub fn headers(&self) -> Vec<(header::HeaderName, String)> {
        let mut headers = Vec::new();
        if let Some(seconds) = self.retry_after() {
            headers.push((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Self::MethodNotAllowed(allowed) = self {
            headers.push((header::ALLOW, format!("{allowed}, OPTIONS")));
        }
        headers
    }
}

/// What the sentence of [`Error::ZoomOtherAccount`] calls the account.
fn other_account(email: Option<&str>) -> String {
    email.map_or_else(
        || "another Zoom account".to_owned(),
        |email| format!("the Zoom account {email}"),
    )
}

/// Whole seconds after which `instant` has come, at least one: what `Retry-After` carries.
pub fn seconds_until(instant: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
    u64::try_from(instant.signed_duration_since(now).num_milliseconds())
        .unwrap_or(0)
        .div_ceil(1_000)
        .max(1)
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    /// Every variant with its status and code: what clients rely on does not change unseen.
    #[test]
    fn statuses_and_codes() {
        let table: Vec<(Error, u16, &str)> = vec![
            (Error::Unauthorized, 401, "unauthorized"),
            (Error::TokenExpired, 401, "token_expired"),
            (Error::MethodNotAllowed(Method::POST), 405, "method_not_allowed"),
            (Error::UnsupportedMediaType, 415, "unsupported_media_type"),
            (Error::PayloadTooLarge(64), 413, "payload_too_large"),
            (Error::InvalidJson, 400, "invalid_json"),
            (Error::field("title", "is empty"), 400, "invalid_request"),
            (Error::NotAHost, 403, "not_a_host"),
            (Error::NotTheHost, 403, "not_the_host"),
            (Error::ZoomNotConnected, 403, "zoom_not_connected"),
            (Error::ZoomExpired, 403, "zoom_expired"),
            (Error::ZoomOtherAccount(None), 403, "zoom_other_account"),
            (Error::MissingScope, 403, "missing_scope"),
            (Error::ZoomCannotHost, 403, "zoom_cannot_host"),
            (Error::SessionNotFound, 404, "session_not_found"),
            (Error::SessionNotJoinable, 404, "session_not_joinable"),
            (Error::AnonymousNotAllowed, 403, "anonymous_not_allowed"),
            (Error::TooManyAttempts(600), 429, "too_many_attempts"),
            (
                Error::QuotaReached("Try again later.".to_owned(), 600),
                429,
                "quota_reached",
            ),
            (Error::SessionEnded, 410, "session_ended"),
            (Error::SessionGone, 410, "session_gone"),
            (Error::CreationRunning(2), 409, "creation_running"),
            (Error::IdempotencyKeyReused, 422, "idempotency_key_reused"),
            (Error::ZoomDailyLimit(60), 429, "zoom_daily_limit"),
            (Error::ZoomAccountDailyLimit(60), 429, "zoom_daily_limit"),
            (Error::ZoomRateLimited(2), 503, "zoom_rate_limited"),
            (Error::ZoomUnavailable(30), 503, "zoom_unavailable"),
            (Error::ZoomOutcomeUnknown(60), 503, "zoom_outcome_unknown"),
            (Error::ZoomRejected, 502, "zoom_rejected"),
            (Error::ServiceUnavailable, 503, "service_unavailable"),
            (Error::Misconfigured, 500, "misconfigured"),
            (Error::Internal("secret detail"), 500, "internal"),
        ];
        let kinds: Vec<_> = table.iter().map(|(error, ..)| std::mem::discriminant(error)).collect();
        assert!(Error::iter().all(|error| kinds.contains(&std::mem::discriminant(&error))));
        for (error, status, code) in table {
            assert_eq!(error.status().as_u16(), status, "{code}");
            assert_eq!(error.code(), code);
            let waits = matches!(status, 409 | 429 | 503);
            assert_eq!(error.retry_after().is_some(), waits, "{code}");
            let sentence = error.to_string();
            assert!(sentence.ends_with('.') && !sentence.contains("secret"), "{sentence}");
        }
    }

    #[test]
    fn who_waits_as_long_as_told_is_not_too_early() {
        let now: DateTime<Utc> = "2026-03-01T23:59:58.400Z".parse().unwrap();
        let table = [
            ("2026-03-02T00:00:00Z", 2),
            ("2026-03-01T23:59:59.400Z", 1),
            ("2026-03-01T23:59:58.400Z", 1),
            ("2026-03-01T12:00:00Z", 1),
        ];
        for (instant, seconds) in table {
            assert_eq!(seconds_until(instant.parse().unwrap(), now), seconds, "{instant}");
        }
    }

    #[test]
    fn the_other_account_is_named_where_it_is_known() {
        let sentence = |email: Option<&str>| Error::ZoomOtherAccount(email.map(str::to_owned)).to_string();
        assert_eq!(
            sentence(Some("work@zoom.test")),
            "This session was created with the Zoom account work@zoom.test. Connect that account to start it."
        );
        assert!(sentence(None).starts_with("This session was created with another Zoom account."));
    }

    #[test]
    fn the_body_names_the_fields() {
        let body = Error::field("title", "is empty").to_body(Uuid::nil());
        assert_eq!(body["fields"]["title"], "is empty");
        assert_eq!(body["request_id"], Uuid::nil().to_string());
        assert!(Error::Unauthorized.to_body(Uuid::nil()).get("fields").is_none());
    }
}
