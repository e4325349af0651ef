//! How a function comes by a usable access token, and what it does when Zoom refuses one.
//!
//! Zoom's refresh tokens are single-use and edge isolates share no memory, so the database decides who refreshes: a
//! step that needs a token answers with a [`TokenClaim`]. Whoever is told to refresh holds a lease; all others wait and
//! read again. The new tokens are saved by compare-and-swap on `token_version`, retried until saved or refused.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    api::ApiRequest,
    api_failure::{classify, ApiFailure},
    oauth::RevokeOutcome,
    token_response::{ExpiredReason, TokenSet, TokenVerdict},
    Zoom,
};
use crate::{
    error::Error,
    log, random,
    seal::SealContext,
    secret::Secret,
    time::{self, now},
};

/// The table that holds connections; sealed tokens are bound to it.
const TABLE: &str = "user_integrations_zoom";
/// An access token with less than this left is refreshed before it is used, in seconds.
const MIN_SECONDS: u32 = 60;
/// How long a caller waits for somebody else's refresh before it gives up.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// How long a refresh under a lease waits for its turn: a lease lasts five seconds longer than Zoom is waited for.
const LONGEST_WAIT_FOR_A_TURN: Duration = Duration::from_secs(4);
/// When to come back where a token is being refreshed for longer than anybody waits, in seconds.
const BUSY_SECONDS: u64 = 5;
/// The cool-down after Zoom refused our own configuration: nobody else will fare better soon.
const MISCONFIGURED_COOLDOWN_SECONDS: u32 = 60;

/// Where a sealed access token belongs.
pub fn access_token_context(user_id: Uuid) -> SealContext {
    SealContext {
        table: TABLE,
        user_id,
        column: "access_token",
    }
}

/// Where a sealed refresh token belongs.
pub fn refresh_token_context(user_id: Uuid) -> SealContext {
    SealContext {
        table: TABLE,
        user_id,
        column: "refresh_token",
    }
}

/// What the database says to a caller that needs an access token. Tokens in it are sealed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename = "state", rename_all = "snake_case")]
pub enum TokenClaim {
    /// Use this one.
    Fresh {
        /// Sealed.
        access_token: String,
        /// The version that it belongs to.
        token_version: i64,
    },
    /// The caller holds the lease now: refresh with this one.
    Refresh {
        /// Sealed.
        refresh_token: String,
        /// The version that it belongs to.
        token_version: i64,
    },
    /// Somebody else is refreshing: ask again after this many milliseconds.
    Busy {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// Zoom's token endpoint failed a moment ago: nobody asks it for this many seconds.
    CoolingDown {
        /// Seconds.
        retry_after_seconds: u64,
    },
    /// The connection has ended.
    Expired {
        /// Why.
        reason: ExpiredReason,
    },
    /// There is no connection.
    NotConnected,
}

impl TokenClaim {
    /// What the host is told where the claim leads to no token.
    pub const fn refusal(&self) -> Error {
        match self {
            Self::NotConnected => Error::ZoomNotConnected,
            Self::Expired { reason } => reason.refusal(),
            Self::CoolingDown { retry_after_seconds } => Error::ZoomUnavailable(*retry_after_seconds),
            Self::Busy { .. } | Self::Fresh { .. } | Self::Refresh { .. } => Error::ZoomUnavailable(BUSY_SECONDS),
        }
    }
}

/// An access token that the database holds for fresh.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token.
    pub secret: Secret<String>,
    version: i64,
}

/// A connection, and what its host may do with its tokens: the answer of `edge_token_claim`.
#[derive(Debug, Deserialize)]
pub struct Connection {
    /// The way to an access token.
    pub token: TokenClaim,
    /// Shown to the host.
    pub zoom_account_email: Option<String>,
    /// When the connection lapses unless it is used.
    pub expires_at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Committed {
    Saved {
        token_version: i64,
    },
    /// There are newer tokens.
    Superseded,
    /// There is no connection any more.
    Refused,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "outcome", rename_all = "snake_case")]
enum Judged {
    Recorded,
    Superseded,
}

impl Zoom<'_> {
    /// Turns a claim into an access token: opens it, refreshes it, or waits for whoever is refreshing it.
    ///
    /// # Errors
    /// [`Error::ZoomNotConnected`], [`Error::ZoomExpired`], [`Error::MissingScope`]; [`Error::ZoomUnavailable`] while
    /// Zoom's token endpoint fails; [`Error::ServiceUnavailable`] when the database does.
    pub fn access_token(&self, user_id: Uuid, mut claim: TokenClaim) -> LocalBoxFuture<'_, Result<AccessToken, Error>> {
        Box::pin(async move {
            let mut waited = Duration::ZERO;
            loop {
                claim = match claim {
                    TokenClaim::Fresh {
                        access_token,
                        token_version,
                    } => {
                        let secret = self
                            .app
                            .sealing_keys
                            .open(access_token_context(user_id), &access_token)?;
                        return Ok(AccessToken {
                            secret,
                            version: token_version,
                        });
                    }
                    TokenClaim::Refresh {
                        refresh_token,
                        token_version,
                    } => match self.refresh_under_lease(user_id, &refresh_token, token_version).await? {
                        Some(token) => return Ok(token),
                        None => self.claim(user_id, None).await?,
                    },
                    TokenClaim::Busy { retry_after_ms } => {
                        let wait = Duration::from_millis(random::jittered(retry_after_ms.clamp(50, 2_000)));
                        waited = waited.saturating_add(wait);
                        if waited > LONGEST_WAIT {
                            return Err(Error::ZoomUnavailable(BUSY_SECONDS));
                        }
                        time::sleep(wait).await;
                        self.claim(user_id, None).await?
                    }
                    TokenClaim::CoolingDown { .. } | TokenClaim::Expired { .. } | TokenClaim::NotConnected => {
                        return Err(claim.refusal());
                    }
                };
            }
        })
    }

    /// Reads a connection, claiming a token with at least `min_seconds` left. Tokens of version `refused` are those
    /// that Zoom has refused: nobody is given them again.
    ///
    /// # Errors
    /// As [`crate::db::Database::rpc`].
    pub async fn connection(&self, user_id: Uuid, min_seconds: u32, refused: Option<i64>) -> Result<Connection, Error> {
        self.db
            .rpc(
                "edge_token_claim",
                &json!({
                    "user_id": user_id, "holder": self.holder,
                    "min_seconds": min_seconds, "refused_version": refused,
                }),
            )
            .await
    }

    async fn claim(&self, user_id: Uuid, refused: Option<i64>) -> Result<TokenClaim, Error> {
        Ok(self.connection(user_id, MIN_SECONDS, refused).await?.token)
    }

    /// Sends a request to the API with the host's token. A token that Zoom refuses (401, or code 124) is refreshed
    /// once, whatever its age, and the request sent once more.
    ///
    /// # Errors
    /// [`ApiFailure`]; one that says that the connection itself is at fault has been recorded already.
    pub fn api<'a>(
        &'a self,
        user_id: Uuid,
        claim: TokenClaim,
        request: &'a ApiRequest,
    ) -> LocalBoxFuture<'a, Result<Bytes, ApiFailure>> {
        Box::pin(async move {
            let mut token = self.access_token(user_id, claim).await.map_err(ApiFailure::NoToken)?;
            let mut answer = self.send_api(user_id, &token, request).await;
            if answer == Err(ApiFailure::TokenRefused) {
                let claim = self
                    .claim(user_id, Some(token.version))
                    .await
                    .map_err(ApiFailure::NoToken)?;
                token = self.access_token(user_id, claim).await.map_err(ApiFailure::NoToken)?;
                answer = self.send_api(user_id, &token, request).await;
            }
            let ended = match &answer {
                Err(ApiFailure::MissingScope) => ExpiredReason::MissingScope,
                Err(ApiFailure::UserGone) => ExpiredReason::OwnerGone,
                _ => return answer,
            };
            let _: Judged = self
                .db
                .rpc(
                    "edge_connection_expire",
                    &json!({
                        "user_id": user_id, "token_version": token.version, "reason": ended,
                    }),
                )
                .await
                .map_err(ApiFailure::NoToken)?;
            answer
        })
    }

    async fn send_api(&self, user_id: Uuid, token: &AccessToken, request: &ApiRequest) -> Result<Bytes, ApiFailure> {
        let _turn = self.calls.turn_for_host(user_id).await;
        if request.not_after.is_some_and(|latest| now() > latest) {
            return Err(ApiFailure::NoToken(Error::ZoomUnavailable(BUSY_SECONDS)));
        }
        let mut builder = self
            .client
            .request(request.method.clone(), format!("{}{}", self.app.api_url, request.path))
            .bearer_auth(token.secret.expose());
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        classify(self.send(request.what, builder).await, now())
    }

    /// Spends the refresh token, once, and saves what comes back. `None`: the connection has moved on meanwhile.
    async fn refresh_under_lease(
        &self,
        user_id: Uuid,
        refresh_token: &str,
        token_version: i64,
    ) -> Result<Option<AccessToken>, Error> {
        // A lease that waits long for its turn would end while Zoom is still being asked.
        let Ok(turn) = time::with_deadline(LONGEST_WAIT_FOR_A_TURN, self.calls.turn_to_zoom()).await else {
            return Ok(None);
        };
        let verdict = match self
            .app
            .sealing_keys
            .open(refresh_token_context(user_id), refresh_token)
        {
            Ok(refresh_token) => Ok(self.refresh_in_turn(turn, &refresh_token).await),
            Err(error) => Err(error),
        };
        let (expired_reason, cooldown_seconds, error) = match verdict {
            Ok(TokenVerdict::Granted(tokens)) => return self.save(user_id, token_version, tokens).await,
            Ok(TokenVerdict::Ended(reason)) => (Some(reason), 0, reason.refusal()),
            Ok(TokenVerdict::OurConfiguration) => {
                log::write(&json!({
                    "event": "zoom_refuses_our_configuration", "request_id": self.request_id,
                    "hint": "check ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET",
                }));
                (None, MISCONFIGURED_COOLDOWN_SECONDS, Error::Misconfigured)
            }
            Ok(TokenVerdict::TryLater(seconds)) => (None, seconds, Error::ZoomUnavailable(seconds.into())),
            // While keys rotate, another isolate may have a key that this one lacks: let it try at once.
            Err(error) => (None, 0, error),
        };
        let judged = self
            .db
            .commit(
                "edge_refresh_fail",
                &json!({
                    "user_id": user_id, "holder": self.holder, "token_version": token_version,
                    "expired_reason": expired_reason, "cooldown_seconds": cooldown_seconds,
                }),
            )
            .await?;
        match judged {
            Judged::Recorded => Err(error),
            Judged::Superseded => Ok(None),
        }
    }

    async fn save(&self, user_id: Uuid, token_version: i64, tokens: TokenSet) -> Result<Option<AccessToken>, Error> {
        let keys = &self.app.sealing_keys;
        let arguments = json!({
            "user_id": user_id, "token_version": token_version,
            "access_token": keys.seal(access_token_context(user_id), &tokens.access_token)?,
            "refresh_token": keys.seal(refresh_token_context(user_id), &tokens.refresh_token)?,
            "access_expires_in": tokens.expires_in, "scope": tokens.scope,
        });
        match self.db.commit("edge_refresh_commit", &arguments).await {
            Ok(Committed::Saved { token_version }) => Ok(Some(AccessToken {
                secret: tokens.access_token,
                version: token_version,
            })),
            Ok(Committed::Superseded) => Ok(None),
            Ok(Committed::Refused) => {
                // The host disconnected while Zoom answered: these tokens must not live on.
                if let RevokeOutcome::Failed = self.revoke(&tokens.access_token).await {
                    log::write(&json!({"event": "orphaned_token_not_revoked", "request_id": self.request_id}));
                }
                Ok(None)
            }
            Err(error) => {
                log::write(&json!({"event": "rotated_token_lost", "request_id": self.request_id, "user_id": user_id}));
                Err(error)
            }
        }
    }
}
