//! The part of Supabase Auth that the project stands on: password sign-in, sessions, and tokens signed by a key that
//! lives as long as the stack.
//!
//! Answers have the shape of Supabase Auth's (`/auth/v1`), so that its client libraries work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::extract::{Query, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    EcdsaKeyPair, KeyPair, UnparsedPublicKey, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING,
};
use serde::Deserialize;
use serde_json::{json, Value};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::forged_tokens::signed_part;
use crate::postgres::Postgres;
use crate::random::random_text;

const ACCESS_TOKEN_SECONDS: i64 = 3600;

/// What signs a project's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// A key that the key set publishes.
    #[default]
    Es256,
    /// The secret of a project of before there were signing keys, which is in no key set.
    LegacySecret,
    /// The same, while the key set publishes a standby key already that signs nothing yet.
    LegacySecretBesideStandbyKey,
}

/// Signs this stack's tokens, and forged ones for the tests.
pub struct Issuer {
    iss: String,
    signing: Signing,
    key: SigningKey,
    legacy_secret: hmac::Key,
    /// As PostgREST is told it.
    legacy_secret_text: String,
    database: Arc<Postgres>,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    /// The live refresh token of each session, with its user and session.
    refresh_tokens: HashMap<String, (Uuid, Uuid)>,
    ended: Vec<Uuid>,
}

pub(crate) struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl SigningKey {
    pub(crate) fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .ok()
            .context("generating a P-256 key")?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .ok()
            .context("reading the key just made")?;
        Ok(Self {
            pair,
            random,
            id: Uuid::new_v4().to_string(),
        })
    }

    /// A token with this header, whatever it says, and an ES256 signature.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> Result<String> {
        let signed = signed_part(header, claims);
        let signature = self
            .pair
            .sign(&self.random, signed.as_bytes())
            .ok()
            .context("signing")?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The uncompressed point: a byte 4, then x and y of 32 bytes each.
    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The public key as a JSON Web Key.
    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.public()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "key_ops": ["verify"], "ext": true,
            "kid": self.id,
            "x": BASE64_URL_SAFE_NO_PAD.encode(x),
            "y": BASE64_URL_SAFE_NO_PAD.encode(y),
        })
    }
}

impl Issuer {
    pub(crate) fn new(iss: String, signing: Signing, database: Arc<Postgres>) -> Result<Self> {
        let legacy_secret_text = random_text()?;
        Ok(Self {
            iss,
            signing,
            key: SigningKey::new()?,
            legacy_secret: hmac::Key::new(hmac::HMAC_SHA256, legacy_secret_text.as_bytes()),
            legacy_secret_text,
            database,
            sessions: Mutex::default(),
        })
    }

    /// The public key as a JSON Web Key Set, as `/auth/v1/.well-known/jwks.json` serves it.
    pub fn jwks(&self) -> Value {
        match self.signing {
            Signing::LegacySecret => json!({"keys": []}),
            Signing::Es256 | Signing::LegacySecretBesideStandbyKey => json!({"keys": [self.key.jwk()]}),
        }
    }

    /// Every key that verifies this project's tokens, secret ones too: what PostgREST has.
    pub(crate) fn verifying_keys(&self) -> Value {
        let legacy = json!({
            "kty": "oct", "alg": "HS256", "k": BASE64_URL_SAFE_NO_PAD.encode(&self.legacy_secret_text),
        });
        match self.signing {
            Signing::Es256 => json!({"keys": [self.key.jwk()]}),
            Signing::LegacySecret => json!({"keys": [legacy]}),
            Signing::LegacySecretBesideStandbyKey => json!({"keys": [legacy, self.key.jwk()]}),
        }
    }

    /// The claims of a valid access token, for a test to alter before it has them signed.
    pub fn claims(&self, user_id: Uuid, email: &str) -> Value {
        let now = Utc::now().timestamp();
        json!({
            "iss": self.iss,
            "sub": user_id,
            "aud": "authenticated",
            "role": "authenticated",
            "iat": now,
            "exp": now + ACCESS_TOKEN_SECONDS,
            "email": email,
            "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {},
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": now}],
            "session_id": Uuid::new_v4(),
            "is_anonymous": false,
        })
    }

    /// Signs `claims`, whatever they say, as the project's own token.
    pub fn token(&self, claims: &Value) -> Result<String> {
        if self.signing == Signing::Es256 {
            return self.sign(&json!({"alg": "ES256", "kid": self.key.id, "typ": "JWT"}), claims);
        }
        let signed = signed_part(&json!({"alg": "HS256", "typ": "JWT"}), claims);
        let tag = hmac::sign(&self.legacy_secret, signed.as_bytes());
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag)))
    }

    pub(crate) fn signing(&self) -> Signing {
        self.signing
    }

    /// The same by the key of the key set, whether or not it is in use, and under any header.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> Result<String> {
        self.key.sign(header, claims)
    }

    pub(crate) fn jwk(&self) -> Value {
        self.key.jwk()
    }

    pub(crate) fn key_id(&self) -> &str {
        self.key.id()
    }

    pub(crate) fn public(&self) -> &[u8] {
        self.key.public()
    }

    /// What the gateway sends to PostgREST in place of a secret key.
    pub(crate) fn service_role_token(&self) -> Result<String> {
        let now = Utc::now().timestamp();
        self.token(&json!({"iss": self.iss, "role": "service_role", "iat": now, "exp": now + 60}))
    }

    /// The claims of a token that we signed and that has not expired.
    fn verify(&self, token: &str) -> Option<Value> {
        let read =
            |part: &str| -> Option<Value> { serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = read(header)?;
        if !header["crit"].is_null() {
            return None;
        }
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let is_ours = match (self.signing, header["alg"].as_str()?) {
            (Signing::Es256 | Signing::LegacySecretBesideStandbyKey, "ES256") => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public());
                header["kid"] == self.key.id && key.verify(signed.as_bytes(), &signature).is_ok()
            }
            (Signing::LegacySecret | Signing::LegacySecretBesideStandbyKey, "HS256") => {
                hmac::verify(&self.legacy_secret, signed.as_bytes(), &signature).is_ok()
            }
            _ => false,
        };
        if !is_ours {
            return None;
        }
        let claims = read(claims)?;
        (claims["exp"].as_i64()? > Utc::now().timestamp()).then_some(claims)
    }

    /// A new access token and refresh token for a session.
    fn session(&self, user: &Value, session_id: Uuid) -> Result<Json<Value>> {
        let user_id: Uuid = serde_json::from_value(user["id"].clone())?;
        let mut claims = self.claims(user_id, user["email"].as_str().unwrap_or_default());
        claims["app_metadata"] = user["app_metadata"].clone();
        claims["user_metadata"] = user["user_metadata"].clone();
        claims["session_id"] = json!(session_id);
        let refresh_token = random_text()?;
        self.sessions()
            .refresh_tokens
            .insert(refresh_token.clone(), (user_id, session_id));
        Ok(Json(json!({
            "access_token": self.token(&claims)?,
            "token_type": "bearer",
            "expires_in": ACCESS_TOKEN_SECONDS,
            "expires_at": claims["exp"],
            "refresh_token": refresh_token,
            "user": user,
            "weak_password": null,
        })))
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn user_by_password(&self, email: &str, password: &str) -> Result<Option<Value>> {
        let matches = "email = lower($1) and encrypted_password = extensions.crypt($2, encrypted_password)";
        self.user_where(matches, &[&email, &password]).await
    }

    async fn user_by_id(&self, id: Uuid) -> Result<Option<Value>> {
        self.user_where("id = $1", &[&id]).await
    }

    /// A user as the API shows one.
    async fn user_where(&self, condition: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Option<Value>> {
        let client = self.database.connect("supabase_admin").await?;
        let query = format!("select to_jsonb(users) from auth.users where {condition}");
        let row = client.query_opt(&query, values).await?;
        Ok(row.map(|row| {
            let user: Value = row.get(0);
            json!({
                "id": user["id"],
                "aud": "authenticated",
                "role": "authenticated",
                "email": user["email"],
                "email_confirmed_at": user["email_confirmed_at"],
                "confirmed_at": user["email_confirmed_at"],
                "phone": "",
                "app_metadata": user["raw_app_meta_data"],
                "user_metadata": user["raw_user_meta_data"],
                "identities": [],
                "created_at": user["created_at"],
                "updated_at": user["updated_at"],
                "is_anonymous": false,
            })
        }))
    }
}

/// The routes under `/auth/v1`.
pub(crate) fn router(issuer: Arc<Issuer>) -> Router {
    Router::new()
        .route("/.well-known/jwks.json", get(jwks))
        .route("/token", post(token))
        .route("/user", get(user))
        .route("/logout", post(logout))
        .fallback(|| async {
            Refusal(
                StatusCode::NOT_FOUND,
                "not_found",
                "No such endpoint in the local stack".into(),
            )
        })
        .with_state(issuer)
}

/// An error as Supabase Auth words it: status, code, message.
struct Refusal(StatusCode, &'static str, String);

impl<E: Into<anyhow::Error>> From<E> for Refusal {
    /// A fault of our own, shown whole: this is a developer's machine.
    fn from(error: E) -> Self {
        let message = format!("{:#}", error.into());
        Self(StatusCode::INTERNAL_SERVER_ERROR, "unexpected_failure", message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let body = json!({"code": status.as_u16(), "error_code": code, "msg": message});
        (status, Json(body)).into_response()
    }
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(issuer.jwks())
}

async fn token(
    State(issuer): State<Arc<Issuer>>,
    Query(query): Query<HashMap<String, String>>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, Refusal> {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let refused = |code, message: &str| Refusal(StatusCode::BAD_REQUEST, code, message.to_owned());
    match query.get("grant_type").map(String::as_str) {
        Some("password") => {
            let user = issuer.user_by_password(text("email"), text("password")).await?;
            let user = user.ok_or_else(|| refused("invalid_credentials", "Invalid login credentials"))?;
            Ok(issuer.session(&user, Uuid::new_v4())?)
        }
        Some("refresh_token") => {
            let unknown = || {
                refused(
                    "refresh_token_not_found",
                    "Invalid Refresh Token: Refresh Token Not Found",
                )
            };
            let spent = issuer.sessions().refresh_tokens.remove(text("refresh_token"));
            let (user_id, session_id) = spent.ok_or_else(unknown)?;
            let user = issuer.user_by_id(user_id).await?.ok_or_else(unknown)?;
            Ok(issuer.session(&user, session_id)?)
        }
        _ => Err(refused("invalid_grant", "unsupported_grant_type")),
    }
}

async fn user(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let caller = Caller::identify(&issuer, &headers)?;
    let user = issuer.user_by_id(caller.sub).await?;
    user.map(Json).ok_or_else(|| {
        let message = "User from sub claim in JWT does not exist";
        Refusal(StatusCode::FORBIDDEN, "user_not_found", message.to_owned())
    })
}

async fn logout(
    State(issuer): State<Arc<Issuer>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let caller = Caller::identify(&issuer, &headers)?;
    let scope = query.get("scope").map_or("global", String::as_str);
    let mut sessions = issuer.sessions();
    let mut ended = Vec::new();
    sessions.refresh_tokens.retain(|_, (user_id, session_id)| {
        let ends = match scope {
            "local" => *session_id == caller.session_id,
            "others" => *user_id == caller.sub && *session_id != caller.session_id,
            _ => *user_id == caller.sub,
        };
        if ends {
            ended.push(*session_id);
        }
        !ends
    });
    sessions.ended.extend(ended);
    Ok(StatusCode::NO_CONTENT)
}

/// Who a request with a valid access token comes from.
#[derive(Deserialize)]
struct Caller {
    sub: Uuid,
    session_id: Uuid,
}

impl Caller {
    fn identify(issuer: &Issuer, headers: &HeaderMap) -> Result<Self, Refusal> {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let Some(bearer) = bearer else {
            let message = "This endpoint requires a valid Bearer token";
            return Err(Refusal(
                StatusCode::UNAUTHORIZED,
                "no_authorization",
                message.to_owned(),
            ));
        };
        let claims = issuer
            .verify(bearer)
            .and_then(|claims| serde_json::from_value::<Self>(claims).ok());
        let Some(caller) = claims else {
            let message = "invalid JWT: unable to parse or verify signature";
            return Err(Refusal(StatusCode::FORBIDDEN, "bad_jwt", message.to_owned()));
        };
        if issuer.sessions().ended.contains(&caller.session_id) {
            let message = "Session from session_id claim in JWT does not exist";
            return Err(Refusal(StatusCode::FORBIDDEN, "session_not_found", message.to_owned()));
        }
        Ok(caller)
    }
}
