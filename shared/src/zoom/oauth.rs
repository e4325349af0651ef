//! Zoom's OAuth endpoints: the consent page's address, exchange, refresh, revoke.
//!
//! See <https://developers.zoom.us/docs/integrations/oauth/>.

use base64::{engine::general_purpose::URL_SAFE_NO_PAD, Engine};
use reqwest::{RequestBuilder, Url};
use sha2::{Digest, Sha256};
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use super::{
    token_response::{judge, TokenVerdict},
    NoReply, Zoom,
};
use crate::{
    error::Error,
    hash::sha256_hex,
    outbound::Reply,
    seal::{SealContext, SealingKeys},
    secret::Secret,
    time::now,
};

/// SHA-256 as base64url: the PKCE code challenge of a verifier (RFC 7636).
pub fn code_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// What is stored of an OAuth state: its SHA-256 in hexadecimal.
pub fn state_hash(state: &str) -> String {
    sha256_hex(state)
}

/// The handle of a pending connection: a secret that only a callback with this state *and* this code leads to. The user
/// who asked for the consent page knows the state, so it must not lead there by itself.
///
/// # Errors
/// As [`SealingKeys::authenticate`].
pub fn connection_handle(keys: &SealingKeys, state: &str, code: &str) -> Result<Secret<String>, Error> {
    keys.authenticate("pending Zoom connection", &[state, code])
        .map(Secret::new)
}

/// What is stored of a handle: its SHA-256 in hexadecimal.
pub fn handle_hash(handle: &Secret<String>) -> String {
    sha256_hex(handle.expose())
}

/// Where a sealed PKCE verifier belongs.
pub fn verifier_context(user_id: Uuid) -> SealContext {
    SealContext {
        table: "zoom_oauth_states",
        user_id,
        column: "sealed_verifier",
    }
}

/// What revoking a token came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeOutcome {
    /// Zoom has revoked the grant.
    Done,
    /// Zoom takes the token for none any more. Its grant may live on.
    DeadToken,
    /// Zoom could not be understood; worth another try.
    Failed,
}

impl Zoom<'_> {
    /// The address of the consent page, for the host's browser.
    ///
    /// # Errors
    /// [`Error::Internal`] when the configured address is none.
    pub fn consent_url(&self, state: &str, verifier: &Secret<String>) -> Result<String, Error> {
        let mut url = Url::parse(&format!("{}/authorize", self.app.oauth_url))
            .map_err(|_| Error::Internal("ZOOM_OAUTH_URL is not a URL"))?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.app.client_id)
            .append_pair("redirect_uri", self.redirect_uri())
            .append_pair("state", state)
            .append_pair("code_challenge", &code_challenge(verifier.expose()))
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Exchanges an authorization code. A code works once: this is never retried.
    pub async fn exchange_code(&self, code: &str, verifier: &Secret<String>) -> TokenVerdict {
        let reply = self
            .post(
                "token_exchange",
                "token",
                &[
                    ("grant_type", "authorization_code"),
                    ("code", code),
                    ("redirect_uri", self.redirect_uri()),
                    ("code_verifier", verifier.expose()),
                ],
            )
            .await;
        judge(&reply, now())
    }

    /// Spends a refresh token for new tokens. Only its one holder may: under the lease in [`super::connection`], or
    /// after a disconnect took the token out of everybody else's reach. A refresh that is on its way at that moment is
    /// not waited for: Zoom refuses one of the two, and the other revokes what it is given.
    pub async fn refresh(&self, refresh_token: &Secret<String>) -> TokenVerdict {
        let turn = self.calls.turn_to_zoom().await;
        self.refresh_in_turn(turn, refresh_token).await
    }

    pub(super) async fn refresh_in_turn(
        &self,
        turn: Option<SemaphorePermit<'_>>,
        refresh_token: &Secret<String>,
    ) -> TokenVerdict {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
        ];
        let request = self.form_request("token", &form);
        judge(&self.send_in_turn(turn, "token_refresh", request).await, now())
    }

    /// Revokes a grant by its access token: Zoom uninstalls the app for that user.
    pub async fn revoke(&self, access_token: &Secret<String>) -> RevokeOutcome {
        let reply = self.post("revoke", "revoke", &[("token", access_token.expose())]).await;
        match reply {
            Ok(reply) if reply.status == 200 => RevokeOutcome::Done,
            // A 4xx that is not about us says that the token is none any more.
            Ok(reply) if is_dead_token(&reply) => RevokeOutcome::DeadToken,
            _ => RevokeOutcome::Failed,
        }
    }

    /// The redirect URI exactly as entered at Zoom.
    fn redirect_uri(&self) -> &str {
        &self.app.redirect_uri
    }

    async fn post(&self, what: &'static str, path: &str, form: &[(&str, &str)]) -> Result<Reply, NoReply> {
        self.send(what, self.form_request(path, form)).await
    }

    fn form_request(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.client
            .post(format!("{}/{path}", self.app.oauth_url))
            .basic_auth(&self.app.client_id, Some(self.app.client_secret.expose()))
            .form(form)
    }
}

fn is_dead_token(reply: &Reply) -> bool {
    matches!(judge(&Ok(reply.clone()), now()), TokenVerdict::Ended(_))
}

#[cfg(test)]
mod tests {
    use super::code_challenge;

    #[test]
    fn the_challenge_of_the_rfc() {
        assert_eq!(
            code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
