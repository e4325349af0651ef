//! Codes and tokens: their lives, from consent to whatever ends them.
//!
//! An authorization gives a grant: an access token and a refresh token, replaced at every refresh. Each ends in one of
//! the ways that [`Status`] lists, and a request that presents an ended one learns which.

use std::collections::HashMap;
use std::fmt;

use anyhow::{Context, Result};
use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use super::opaque::{jwt, opaque, IssuedSecret, SecretKind};
use super::options::{OldAccessToken, OvertakenAt, ReusedCode, Rules};
use super::users::UserId;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// The API.
    Access,
    /// New tokens.
    Refresh,
}

/// Where a code or token is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It works.
    Live,
    /// Used, as refresh tokens and codes are once.
    Spent,
    /// An access token whose refresh has brought another one.
    Replaced,
    /// Its time is over.
    Expired,
    /// Revoked, or the app was removed by the user.
    Revoked,
    /// A newer authorization of the same user took its place.
    Overtaken,
    /// An administrator disabled the app.
    Disabled,
    /// Its user is gone.
    OwnerGone,
}

/// Which token, in the record of calls and in the state: nothing that would work as a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub(crate) struct TokenId(usize);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

/// Why a code or token was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    CodeExpired,
    CodeInvalid,
    RedirectMismatch,
    VerifierMismatch,
    OwnerGone,
    NotFound,
    Disabled,
    Overtaken,
    Invalid,
}

impl Refusal {
    /// Zoom's words: `error` and `reason`.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::CodeExpired => ("invalid_grant", "Authorization code has expired. (4733)"),
            Self::CodeInvalid => ("invalid_grant", "Invalid authorization code. (4734)"),
            Self::RedirectMismatch => ("invalid_request", "Redirect URI mismatch. (4709)"),
            Self::VerifierMismatch => ("invalid_grant", "Invalid code verifier."),
            Self::OwnerGone => ("invalid_grant", "The owner of the token does not exist. (4735)"),
            Self::NotFound => ("invalid_grant", "Token could not be found. (4737)"),
            Self::Disabled => ("invalid_grant", "The app was disabled by an administrator. (4738)"),
            Self::Overtaken => (
                "invalid_grant",
                "The token was superseded by a newer authorization. (4741)",
            ),
            Self::Invalid => ("invalid_grant", "Invalid Token!"),
        }
    }

    fn of_ended(status: Status) -> Self {
        match status {
            Status::Overtaken => Self::Overtaken,
            Status::Disabled => Self::Disabled,
            Status::OwnerGone => Self::OwnerGone,
            Status::Live | Status::Spent | Status::Replaced | Status::Expired | Status::Revoked => Self::Invalid,
        }
    }
}

struct Code {
    secret: String,
    user: UserId,
    redirect_uri: String,
    challenge: String,
    expires_at: DateTime<Utc>,
    end: Option<Status>,
    /// What it was exchanged for.
    grant: Option<usize>,
}

/// One authorization by one user.
pub(crate) struct GrantRecord {
    pub(crate) user: UserId,
    pub(crate) scopes: Vec<String>,
}

pub(crate) struct Token {
    pub(crate) id: TokenId,
    pub(crate) kind: TokenKind,
    pub(crate) user: UserId,
    secret: String,
    grant: usize,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    end: Option<(Status, DateTime<Utc>)>,
}

impl Token {
    pub(crate) fn status(&self, now: DateTime<Utc>) -> Status {
        match self.end {
            Some((status, _)) => status,
            None if now >= self.expires_at => Status::Expired,
            None => Status::Live,
        }
    }

    fn end(&mut self, status: Status, now: DateTime<Utc>) {
        if self.status(now) == Status::Live {
            self.end = Some((status, now));
        }
    }
}

/// What the token endpoint hands out.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) scope: String,
    pub(crate) user: UserId,
    /// Of the access token.
    pub(crate) id: TokenId,
}

/// What the consent page asked a user to agree to.
pub(crate) struct Consent {
    pub(crate) user: UserId,
    pub(crate) redirect_uri: String,
    /// SHA-256 of the PKCE verifier, as base64url.
    pub(crate) challenge: String,
}

/// All codes, grants and tokens that ever were.
#[derive(Default)]
pub(crate) struct Tokens {
    codes: Vec<Code>,
    grants: Vec<GrantRecord>,
    tokens: Vec<Token>,
    by_secret: HashMap<String, TokenId>,
}

impl Tokens {
    pub(crate) const CODE_LIFE: TimeDelta = TimeDelta::minutes(5);
    pub(crate) const ACCESS_TOKEN_SECONDS: i64 = 3599;
    const REFRESH_TOKEN_LIFE: TimeDelta = TimeDelta::days(90);

    /// The user agreed: a code, for one exchange.
    pub(crate) fn authorize(&mut self, consent: Consent, rules: &Rules, now: DateTime<Utc>) -> String {
        if rules.overtaken_at == OvertakenAt::Consent {
            self.end_all(&consent.user, Status::Overtaken, now);
        }
        let secret = opaque(48);
        self.codes.push(Code {
            secret: secret.clone(),
            user: consent.user,
            redirect_uri: consent.redirect_uri,
            challenge: consent.challenge,
            expires_at: now + Self::CODE_LIFE,
            end: None,
            grant: None,
        });
        secret
    }

    /// Exchanges a code. Whatever comes of it, the code has been used.
    pub(crate) fn exchange(
        &mut self,
        secret: &str,
        redirect_uri: &str,
        verifier: &str,
        scopes: impl FnOnce(&UserId) -> Vec<String>,
        rules: &Rules,
        now: DateTime<Utc>,
    ) -> Result<Issued, Refusal> {
        let code = self.codes.iter_mut().find(|code| code.secret == secret);
        let code = code.ok_or(Refusal::CodeInvalid)?;
        match code.end {
            None => {}
            Some(Status::Spent) => {
                if let (Some(grant), ReusedCode::RevokesTokens) = (code.grant, rules.reused_code) {
                    self.end_where(|token| token.grant == grant, Status::Revoked, now);
                }
                return Err(Refusal::CodeInvalid);
            }
            Some(status) => return Err(Refusal::of_ended(status)),
        }
        code.end = Some(Status::Spent);
        if now >= code.expires_at {
            return Err(Refusal::CodeExpired);
        }
        if code.redirect_uri != redirect_uri {
            return Err(Refusal::RedirectMismatch);
        }
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        if code.challenge != challenge {
            return Err(Refusal::VerifierMismatch);
        }
        let user = code.user.clone();
        code.grant = Some(self.grants.len());
        self.end_all(&user, Status::Overtaken, now);
        self.grants.push(GrantRecord {
            scopes: scopes(&user),
            user,
        });
        Ok(self.issue(self.grants.len() - 1, now))
    }

    /// Spends a refresh token for new tokens.
    pub(crate) fn refresh(&mut self, secret: &str, rules: &Rules, now: DateTime<Utc>) -> Result<Issued, Refusal> {
        let token = self.find(secret).ok_or(Refusal::NotFound)?;
        if token.kind != TokenKind::Refresh {
            return Err(Refusal::Invalid);
        }
        let grace = TimeDelta::seconds(rules.old_refresh_token_grace_seconds.into());
        match (token.status(now), token.end) {
            (Status::Live, _) => {}
            (Status::Spent, Some((_, since))) if now - since < grace => {}
            (ended, _) => return Err(Refusal::of_ended(ended)),
        }
        let grant = token.grant;
        let of_grant = |kind| move |token: &Token| token.grant == grant && token.kind == kind;
        self.end_where(of_grant(TokenKind::Refresh), Status::Spent, now);
        if rules.old_access_token == OldAccessToken::Dies {
            self.end_where(of_grant(TokenKind::Access), Status::Replaced, now);
        }
        Ok(self.issue(grant, now))
    }

    /// Revokes the user's authorization by an access token that still works.
    pub(crate) fn revoke(&mut self, secret: &str, now: DateTime<Utc>) -> Result<UserId, Refusal> {
        let token = self.find(secret).ok_or(Refusal::Invalid)?;
        match (token.kind, token.status(now)) {
            (TokenKind::Access, Status::Live) => {}
            (_, status) => return Err(Refusal::of_ended(status)),
        }
        let user = token.user.clone();
        self.end_all(&user, Status::Revoked, now);
        Ok(user)
    }

    fn issue(&mut self, grant: usize, now: DateTime<Utc>) -> Issued {
        let GrantRecord { user, scopes } = &self.grants[grant];
        let (user, scope) = (user.clone(), scopes.join(" "));
        let claims = |kind: &str, life: TimeDelta| {
            json!({
                "ver": 10, "auid": opaque(32), "code": opaque(33), "iss": "zm:cid", "gno": grant, "type": kind, "tid": 0,
                "aud": "https://oauth.zoom.us", "uid": user, "nbf": now.timestamp(), "iat": now.timestamp(),
                "exp": (now + life).timestamp(), "aid": opaque(22),
            })
        };
        let life = TimeDelta::seconds(Self::ACCESS_TOKEN_SECONDS);
        let access_token = jwt(&claims("access", life), 1100);
        let refresh_token = jwt(&claims("refresh", Self::REFRESH_TOKEN_LIFE), 800);
        self.keep(TokenKind::Refresh, &refresh_token, grant, Self::REFRESH_TOKEN_LIFE, now);
        let id = self.keep(TokenKind::Access, &access_token, grant, life, now);
        Issued {
            access_token,
            refresh_token,
            scope,
            user,
            id,
        }
    }

    fn keep(&mut self, kind: TokenKind, secret: &str, grant: usize, life: TimeDelta, now: DateTime<Utc>) -> TokenId {
        let id = TokenId(self.tokens.len());
        self.tokens.push(Token {
            id,
            kind,
            user: self.grants[grant].user.clone(),
            secret: secret.to_owned(),
            grant,
            issued_at: now,
            expires_at: now + life,
            end: None,
        });
        self.by_secret.insert(secret.to_owned(), id);
        id
    }

    pub(crate) fn find(&self, secret: &str) -> Option<&Token> {
        self.tokens.get(self.by_secret.get(secret)?.0)
    }

    /// Whose token or code this is.
    pub(crate) fn owner(&self, secret: &str) -> Option<&UserId> {
        let code = || self.codes.iter().find(|code| code.secret == secret);
        let token = self.find(secret).map(|token| &token.user);
        token.or_else(|| code().map(|code| &code.user))
    }

    /// The authorization that a token belongs to.
    pub(crate) fn grant_of(&self, token: &Token) -> &GrantRecord {
        &self.grants[token.grant]
    }

    /// Ends everything that works of a user, codes too.
    pub(crate) fn end_all(&mut self, user: &UserId, status: Status, now: DateTime<Utc>) {
        self.end_where(|token| token.user == *user, status, now);
        // A code that is out is no token yet: a newer authorization does not overtake it.
        if status != Status::Overtaken {
            let codes = self
                .codes
                .iter_mut()
                .filter(|code| code.user == *user && code.end.is_none());
            codes.for_each(|code| code.end = Some(status));
        }
    }

    fn end_where(&mut self, which: impl Fn(&Token) -> bool, status: Status, now: DateTime<Utc>) {
        let tokens = self.tokens.iter_mut().filter(|token| which(token));
        tokens.for_each(|token| token.end(status, now));
    }

    /// Ends one token, by its id: `t17`.
    pub(crate) fn end_one(&mut self, id: &str, status: Status, now: DateTime<Utc>) -> Result<()> {
        let token = self.tokens.iter_mut().find(|token| token.id.to_string() == id);
        token
            .with_context(|| format!("there is no token {id}"))?
            .end(status, now);
        Ok(())
    }

    /// Lets the live tokens of a user run out, of one kind or both.
    pub(crate) fn expire(&mut self, user: &UserId, kind: Option<TokenKind>, now: DateTime<Utc>) {
        let which = |token: &Token| token.user == *user && kind.is_none_or(|kind| kind == token.kind);
        self.end_where(which, Status::Expired, now);
    }

    /// What the user's authorizations allow from now on.
    pub(crate) fn set_scopes(&mut self, user: &UserId, scopes: &[String]) {
        for grant in self.grants.iter_mut().filter(|grant| grant.user == *user) {
            grant.scopes = scopes.to_vec();
        }
    }

    pub(crate) fn grow_older(&mut self, by: TimeDelta) {
        for code in &mut self.codes {
            code.expires_at -= by;
        }
        for token in &mut self.tokens {
            token.issued_at -= by;
            token.expires_at -= by;
            if let Some((_, since)) = &mut token.end {
                *since -= by;
            }
        }
    }

    /// Every token without its secret, in order of issue.
    pub(crate) fn to_json(&self, email_of: impl Fn(&UserId) -> String, now: DateTime<Utc>) -> Value {
        let token = |token: &Token| {
            json!({
                "id": token.id,
                "kind": token.kind,
                "status": token.status(now),
                "user": email_of(&token.user),
                "grant": format!("g{}", token.grant),
                "scope": self.grant_of(token).scopes.join(" "),
                "issued_at": token.issued_at,
                "expires_at": token.expires_at,
                "ended_at": token.end.map(|(_, since)| since),
            })
        };
        self.tokens.iter().map(token).collect()
    }

    /// Where a token is in its life; `None` for one that was never issued.
    pub(crate) fn status_of(&self, secret: &str, now: DateTime<Utc>) -> Option<Status> {
        self.find(secret).map(|token| token.status(now))
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = IssuedSecret> + '_ {
        let secret = |kind, value: &String| IssuedSecret {
            kind,
            value: value.clone(),
        };
        let codes = self
            .codes
            .iter()
            .map(move |code| secret(SecretKind::Code, &code.secret));
        let tokens = self.tokens.iter().map(move |token| {
            let kind = match token.kind {
                TokenKind::Access => SecretKind::AccessToken,
                TokenKind::Refresh => SecretKind::RefreshToken,
            };
            secret(kind, &token.secret)
        });
        codes.chain(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::super::users::Users;
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const REDIRECT: &str = "http://127.0.0.1/callback";

    struct Story {
        tokens: Tokens,
        rules: Rules,
        user: UserId,
        now: DateTime<Utc>,
    }

    impl Story {
        fn new() -> Self {
            let now = "2026-03-01T12:00:00Z".parse().unwrap();
            let users = Users::seeded(now).unwrap();
            let user = users.present().next().unwrap().id.clone();
            Self {
                tokens: Tokens::default(),
                rules: Rules::default(),
                user,
                now,
            }
        }

        fn consent(&mut self) -> String {
            let consent = Consent {
                user: self.user.clone(),
                redirect_uri: REDIRECT.to_owned(),
                challenge: CHALLENGE.to_owned(),
            };
            self.tokens.authorize(consent, &self.rules, self.now)
        }

        fn exchange(&mut self, code: &str, verifier: &str) -> Result<Issued, Refusal> {
            let scopes = |_: &UserId| vec!["user:read:user".to_owned()];
            self.tokens
                .exchange(code, REDIRECT, verifier, scopes, &self.rules, self.now)
        }

        fn connect(&mut self) -> Issued {
            let code = self.consent();
            self.exchange(&code, VERIFIER).unwrap()
        }

        fn refresh(&mut self, token: &str) -> Result<Issued, Refusal> {
            self.tokens.refresh(token, &self.rules, self.now)
        }

        fn status(&self, token: &str) -> Status {
            self.tokens.status_of(token, self.now).unwrap()
        }

        fn pass(&mut self, time: TimeDelta) {
            self.tokens.grow_older(time);
        }
    }

    #[test]
    fn a_code_works_once_within_five_minutes_for_whoever_knows_the_verifier() {
        let mut story = Story::new();
        let code = story.consent();
        story.pass(TimeDelta::seconds(299));
        let issued = story.exchange(&code, VERIFIER).unwrap();
        assert!(issued.access_token.len() > 1000 && issued.scope == "user:read:user");
        assert_eq!(story.exchange(&code, VERIFIER).unwrap_err(), Refusal::CodeInvalid);
        assert_eq!(
            story.status(&issued.access_token),
            Status::Revoked,
            "whoever comes second may be a thief"
        );

        story.rules.reused_code = ReusedCode::Refused;
        let code = story.consent();
        let issued = story.exchange(&code, VERIFIER).unwrap();
        assert_eq!(story.exchange(&code, VERIFIER).unwrap_err(), Refusal::CodeInvalid);
        assert_eq!(story.status(&issued.access_token), Status::Live);

        let late = story.consent();
        story.pass(TimeDelta::seconds(300));
        assert_eq!(story.exchange(&late, VERIFIER).unwrap_err(), Refusal::CodeExpired);
        let stolen = story.consent();
        assert_eq!(
            story.exchange(&stolen, &"x".repeat(43)).unwrap_err(),
            Refusal::VerifierMismatch
        );
        assert_eq!(
            story.exchange(&stolen, VERIFIER).unwrap_err(),
            Refusal::CodeInvalid,
            "it has been used"
        );
        let elsewhere = story.consent();
        let (rules, now) = (story.rules.clone(), story.now);
        let other = story
            .tokens
            .exchange(&elsewhere, "http://127.0.0.1/", VERIFIER, |_| Vec::new(), &rules, now);
        assert_eq!(other.unwrap_err(), Refusal::RedirectMismatch);
        assert_eq!(story.exchange("made up", VERIFIER).unwrap_err(), Refusal::CodeInvalid);
    }

    #[test]
    fn a_refresh_token_is_spent_at_once_and_takes_the_access_token_along() {
        let mut story = Story::new();
        let first = story.connect();
        let second = story.refresh(&first.refresh_token).unwrap();
        assert_eq!(story.status(&first.refresh_token), Status::Spent);
        assert_eq!(story.status(&first.access_token), Status::Replaced);
        assert_eq!(story.refresh(&first.refresh_token).unwrap_err(), Refusal::Invalid);
        assert_eq!(
            story.status(&second.refresh_token),
            Status::Live,
            "a second use of a spent one burns nothing more"
        );
        assert_eq!(
            story.refresh(&second.access_token).unwrap_err(),
            Refusal::Invalid,
            "it is no refresh token"
        );
        assert_eq!(story.refresh("made up").unwrap_err(), Refusal::NotFound);

        story.rules.old_access_token = OldAccessToken::LivesOn;
        story.rules.old_refresh_token_grace_seconds = 60;
        let third = story.refresh(&second.refresh_token).unwrap();
        assert_eq!(story.status(&second.access_token), Status::Live);
        story.pass(TimeDelta::seconds(59));
        let again = story.refresh(&second.refresh_token).unwrap();
        assert_eq!(story.status(&third.refresh_token), Status::Spent);
        story.pass(TimeDelta::seconds(1));
        assert_eq!(story.refresh(&second.refresh_token).unwrap_err(), Refusal::Invalid);
        assert!(story.refresh(&again.refresh_token).is_ok());
    }

    #[test]
    fn tokens_run_out() {
        let mut story = Story::new();
        let first = story.connect();
        story.pass(TimeDelta::seconds(3598));
        assert_eq!(story.status(&first.access_token), Status::Live);
        story.pass(TimeDelta::seconds(1));
        assert_eq!(story.status(&first.access_token), Status::Expired);
        story.pass(TimeDelta::days(89));
        let second = story.refresh(&first.refresh_token).unwrap();
        story.pass(TimeDelta::days(90));
        assert_eq!(story.refresh(&second.refresh_token).unwrap_err(), Refusal::Invalid);
        assert_eq!(story.status(&second.refresh_token), Status::Expired);
    }

    #[test]
    fn a_newer_authorization_overtakes_the_older_tokens() {
        let mut story = Story::new();
        let first = story.connect();
        let code = story.consent();
        assert_eq!(story.status(&first.access_token), Status::Live, "until the exchange");
        let second = story.exchange(&code, VERIFIER).unwrap();
        assert_eq!(story.status(&first.access_token), Status::Overtaken);
        assert_eq!(story.refresh(&first.refresh_token).unwrap_err(), Refusal::Overtaken);

        story.rules.overtaken_at = OvertakenAt::Consent;
        story.consent();
        assert_eq!(story.status(&second.refresh_token), Status::Overtaken);
    }

    #[test]
    fn revoking_needs_a_live_access_token_and_ends_everything() {
        let mut story = Story::new();
        let issued = story.connect();
        let code = story.consent();
        let now = story.now;
        assert_eq!(
            story.tokens.revoke(&issued.refresh_token, now).unwrap_err(),
            Refusal::Invalid
        );
        assert_eq!(story.tokens.revoke(&issued.access_token, now).unwrap(), story.user);
        assert_eq!(
            story.tokens.revoke(&issued.access_token, now).unwrap_err(),
            Refusal::Invalid
        );
        assert_eq!(story.refresh(&issued.refresh_token).unwrap_err(), Refusal::Invalid);
        assert_eq!(story.exchange(&code, VERIFIER).unwrap_err(), Refusal::Invalid);
    }

    #[test]
    fn what_ended_it_is_what_a_refresh_says() {
        for (status, refusal) in [
            (Status::Disabled, Refusal::Disabled),
            (Status::OwnerGone, Refusal::OwnerGone),
            (Status::Revoked, Refusal::Invalid),
            (Status::Expired, Refusal::Invalid),
        ] {
            let mut story = Story::new();
            let issued = story.connect();
            let (user, now) = (story.user.clone(), story.now);
            story.tokens.end_all(&user, status, now);
            story.tokens.end_all(&user, Status::Revoked, now);
            assert_eq!(story.refresh(&issued.refresh_token).unwrap_err(), refusal, "{status:?}");
        }
    }

    #[test]
    fn one_token_can_be_ended_and_none_shows_its_secret() {
        let mut story = Story::new();
        let issued = story.connect();
        let (user, now) = (story.user.clone(), story.now);
        story
            .tokens
            .end_one(&issued.id.to_string(), Status::Revoked, now)
            .unwrap();
        assert!(story.tokens.end_one("t99", Status::Revoked, now).is_err());
        story.tokens.expire(&user, Some(TokenKind::Refresh), now);
        let shown = story.tokens.to_json(|_| "trainer@zoom.test".to_owned(), now);
        assert_eq!(
            (&shown[0]["kind"], &shown[0]["status"]),
            (&json!("refresh"), &json!("expired"))
        );
        assert_eq!(
            (&shown[1]["kind"], &shown[1]["status"]),
            (&json!("access"), &json!("revoked"))
        );
        let secrets: Vec<_> = story.tokens.secrets().collect();
        assert_eq!(secrets.len(), 3);
        assert!(secrets.iter().all(|secret| !shown.to_string().contains(&secret.value)));
    }
}
