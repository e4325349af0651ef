//! How a function comes by a usable access token, and what it does when Zoom refuses one.
//!
//! Zoom's refresh tokens are single-use and edge isolates share no memory, so the database decides who refreshes: a
//! step that needs a token answers with a [`TokenClaim`]. Whoever is told to refresh holds a lease; all others wait and
//! read again. The new tokens are saved by compare-and-swap on `token_version`, retried until saved or refused.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{json, Value};
use uuid::Uuid;

use super::{
    api::{classify, ApiFailure, ApiRequest},
    oauth::Revocation,
    verdict::{ExpiredReason, TokenSet, TokenVerdict},
    Zoom,
};
use crate::{
    call,
    error::Error,
    json, random,
    seal::Place,
    secret::Secret,
    time::{self, now},
};

/// The table that holds connections; sealed tokens are bound to it.
const TABLE: &str = "user_integrations_zoom";
/// An access token with less than this left is refreshed before it is used, in seconds.
const MIN_SECONDS: u32 = 60;
/// How long a caller waits for somebody else's refresh before it gives up.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// The cool-down after Zoom refused our own configuration: nobody else will fare better soon.
const MISCONFIGURED_COOLDOWN_SECONDS: u32 = 60;

/// Where a sealed access token belongs.
pub fn access_token_place(user_id: Uuid) -> Place {
    Place {
        table: TABLE,
        user_id,
        column: "access_token",
    }
}

/// Where a sealed refresh token belongs.
pub fn refresh_token_place(user_id: Uuid) -> Place {
    Place {
        table: TABLE,
        user_id,
        column: "refresh_token",
    }
}

/// What the database says to a caller that needs an access token. Tokens in it are sealed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
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
        /// Why, as in [`ExpiredReason`].
        reason: String,
    },
    /// There is no connection.
    NotConnected,
}

/// Reads a claim as the database writes it: `{"state": "fresh", …}`.
///
/// # Errors
/// Those of the deserializer, and for anything that is no claim.
pub fn token_claim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TokenClaim, D::Error> {
    let claim = json::untag(Value::deserialize(deserializer)?, "state");
    json::read(claim).ok_or_else(|| serde::de::Error::custom("not a token claim"))
}

/// An access token that the database holds for fresh.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token.
    pub secret: Secret<String>,
    version: i64,
}

/// A connection, and what its host may do with its tokens: the answer of `zoom_refresh_begin`.
#[derive(Debug, Deserialize)]
pub struct Connection {
    /// The way to an access token.
    #[serde(deserialize_with = "token_claim")]
    pub token: TokenClaim,
    /// Shown to the host.
    pub zoom_account_email: Option<String>,
    /// When the connection lapses unless it is used.
    pub expires_at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[serde(rename_all = "snake_case")]
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
    pub async fn access_token(&self, user_id: Uuid, mut claim: TokenClaim) -> Result<AccessToken, Error> {
        let mut waited = Duration::ZERO;
        loop {
            claim = match claim {
                TokenClaim::Fresh {
                    access_token,
                    token_version,
                } => {
                    let secret = self.app.sealing_keys.open(access_token_place(user_id), &access_token)?;
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
                    let wait = Duration::from_millis(retry_after_ms.clamp(50, 2_000)).mul_f64(0.5 + random::fraction());
                    waited = waited.saturating_add(wait);
                    if waited > LONGEST_WAIT {
                        return Err(Error::ZoomUnavailable(5));
                    }
                    time::sleep(wait).await;
                    self.claim(user_id, None).await?
                }
                TokenClaim::CoolingDown { retry_after_seconds } => {
                    return Err(Error::ZoomUnavailable(retry_after_seconds));
                }
                TokenClaim::Expired { reason } if reason == ExpiredReason::MissingScope.to_string() => {
                    return Err(Error::MissingScope);
                }
                TokenClaim::Expired { .. } => return Err(Error::ZoomExpired),
                TokenClaim::NotConnected => return Err(Error::ZoomNotConnected),
            };
        }
    }

    /// Reads a connection, claiming a token with at least `min_seconds` left. Tokens of version `refused` are those that
    /// Zoom has refused: nobody is given them again.
    ///
    /// # Errors
    /// As [`crate::db::Database::rpc`].
    pub async fn connection(&self, user_id: Uuid, min_seconds: u32, refused: Option<i64>) -> Result<Connection, Error> {
        self.db
            .rpc(
                "zoom_refresh_begin",
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
    pub async fn api(&self, user_id: Uuid, claim: TokenClaim, request: &ApiRequest) -> Result<Bytes, ApiFailure> {
        let mut token = self.access_token(user_id, claim).await.map_err(ApiFailure::NoToken)?;
        let mut answer = self.send_api(&token, request).await;
        if answer == Err(ApiFailure::TokenRefused) {
            let claim = self
                .claim(user_id, Some(token.version))
                .await
                .map_err(ApiFailure::NoToken)?;
            token = self.access_token(user_id, claim).await.map_err(ApiFailure::NoToken)?;
            answer = self.send_api(&token, request).await;
        }
        let ended = match &answer {
            Err(ApiFailure::MissingScope) => ExpiredReason::MissingScope,
            Err(ApiFailure::UserGone) => ExpiredReason::OwnerGone,
            _ => return answer,
        };
        let _: Judged = self
            .db
            .rpc(
                "zoom_connection_expire",
                &json!({
                    "user_id": user_id, "token_version": token.version, "reason": ended.to_string(),
                }),
            )
            .await
            .map_err(ApiFailure::NoToken)?;
        answer
    }

    async fn send_api(&self, token: &AccessToken, request: &ApiRequest) -> Result<Bytes, ApiFailure> {
        if request.not_after.is_some_and(|latest| now() > latest) {
            return Err(ApiFailure::NoToken(Error::ZoomUnavailable(5)));
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
        let verdict = match self.app.sealing_keys.open(refresh_token_place(user_id), refresh_token) {
            Ok(refresh_token) => Ok(self.refresh(&refresh_token).await),
            Err(error) => Err(error),
        };
        let (verdict, reason, cooldown_seconds, error) = match verdict {
            Ok(TokenVerdict::Granted(tokens)) => return self.save(user_id, token_version, tokens).await,
            Ok(TokenVerdict::Ended(reason)) => ("expired", reason.to_string(), 0, Error::ZoomExpired),
            Ok(TokenVerdict::OurConfiguration) => {
                call::log(&json!({
                    "event": "zoom_refuses_our_configuration", "request_id": self.holder,
                    "hint": "check ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET",
                }));
                let seconds = MISCONFIGURED_COOLDOWN_SECONDS;
                ("cooldown", "misconfigured".to_owned(), seconds, Error::Misconfigured)
            }
            Ok(TokenVerdict::TryLater(seconds)) => {
                let error = Error::ZoomUnavailable(seconds.into());
                ("cooldown", "unavailable".to_owned(), seconds, error)
            }
            // While keys rotate, another isolate may have a key that this one lacks: let it try at once.
            Err(error) => ("cooldown", "unreadable".to_owned(), 0, error),
        };
        let judged = self
            .db
            .commit(
                "zoom_refresh_fail",
                &json!({
                    "user_id": user_id, "holder": self.holder, "token_version": token_version,
                    "verdict": verdict, "reason": reason, "cooldown_seconds": cooldown_seconds,
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
            "user_id": user_id, "holder": self.holder, "token_version": token_version,
            "access_token": keys.seal(access_token_place(user_id), &tokens.access_token)?,
            "refresh_token": keys.seal(refresh_token_place(user_id), &tokens.refresh_token)?,
            "access_expires_in": tokens.expires_in, "scope": tokens.scope,
        });
        match self.db.commit("zoom_refresh_commit", &arguments).await {
            Ok(Committed::Saved { token_version }) => Ok(Some(AccessToken {
                secret: tokens.access_token,
                version: token_version,
            })),
            Ok(Committed::Superseded) => Ok(None),
            Ok(Committed::Refused) => {
                // The host disconnected while Zoom answered: these tokens must not live on.
                if let Revocation::Failed = self.revoke(&tokens.access_token).await {
                    call::log(&json!({"event": "orphaned_token_not_revoked", "request_id": self.holder}));
                }
                Ok(None)
            }
            Err(error) => {
                call::log(&json!({"event": "rotated_token_lost", "request_id": self.holder, "user_id": user_id}));
                Err(error)
            }
        }
    }
}
