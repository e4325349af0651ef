//! How connecting can end, as the app hears of it.

use http::StatusCode;

/// The end of a connect, successful or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The host allowed it and Zoom gave what is needed; the app confirms.
    Success,
    /// The host said no on the consent page.
    AccessDenied,
    /// No such state, or one that is not ours: start again.
    InvalidState,
    /// The ten minutes are over: start again.
    StateExpired,
    /// The Zoom app was not granted everything that it needs.
    MissingScope,
    /// Zoom did not answer in a way that could be understood: try again later.
    ZoomUnavailable,
    /// Zoom refused to hand out tokens: start again.
    TokenExchangeFailed,
    /// A fault on our side.
    ServerError,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Success,
        Self::AccessDenied,
        Self::InvalidState,
        Self::StateExpired,
        Self::MissingScope,
        Self::ZoomUnavailable,
        Self::TokenExchangeFailed,
        Self::ServerError,
    ];

    /// The stable code: what `error=` carries, and what is kept for repeated callbacks.
    pub fn code(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::AccessDenied => "access_denied",
            Self::InvalidState => "invalid_state",
            Self::StateExpired => "state_expired",
            Self::MissingScope => "missing_scope",
            Self::ZoomUnavailable => "zoom_unavailable",
            Self::TokenExchangeFailed => "token_exchange_failed",
            Self::ServerError => "server_error",
        }
    }

    /// The outcome that a kept code stands for.
    pub fn from_code(code: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.code() == code)
            .unwrap_or(Self::ServerError)
    }

    /// What the page says: a heading, and what to do next.
    pub fn sentences(self) -> (&'static str, &'static str) {
        match self {
            Self::Success => (
                "Almost connected",
                "Go back to the app, which completes the connection.",
            ),
            Self::AccessDenied => (
                "Zoom is not connected",
                "You did not allow the connection. Go back to the app and tap Connect Zoom if you change your mind.",
            ),
            Self::InvalidState => (
                "This link cannot be used",
                "It was used before, or it is not complete. Go back to the app and tap Connect Zoom again.",
            ),
            Self::StateExpired => (
                "This link has expired",
                "Connecting took longer than ten minutes. Go back to the app and tap Connect Zoom again.",
            ),
            Self::MissingScope => (
                "Zoom did not grant all permissions",
                "Go back to the app, tap Connect Zoom again and allow everything that is asked for.",
            ),
            Self::ZoomUnavailable => (
                "Zoom is not available right now",
                "Nothing was connected. Go back to the app and try again in a few minutes.",
            ),
            Self::TokenExchangeFailed => (
                "Zoom did not complete the connection",
                "Go back to the app and tap Connect Zoom again.",
            ),
            Self::ServerError => (
                "Something went wrong on our side",
                "Nothing was connected. Go back to the app and try again in a few minutes.",
            ),
        }
    }

    /// The page's status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Success => StatusCode::OK,
            Self::ZoomUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TokenExchangeFailed => StatusCode::BAD_GATEWAY,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::AccessDenied | Self::InvalidState | Self::StateExpired | Self::MissingScope => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_for_its_outcome() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_code(outcome.code()), outcome);
        }
        assert_eq!(Outcome::from_code("<script>"), Outcome::ServerError);
    }
}
