//! The part of Supabase Auth that the project stands on: password sign-in, sessions, and tokens signed with ES256 by a key
//! that lives as long as the stack.
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
use base64::prelude::{Engine, BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use ring::rand::SystemRandom;
use ring::signature::{
    EcdsaKeyPair, KeyPair, UnparsedPublicKey, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING,
};
use ring::hmac;
use serde_json::{json, Value};
use uuid::Uuid;

use crate::postgres::Postgres;

const ACCESS_TOKEN_SECONDS: i64 = 3600;

/// Signs this stack's tokens, and forged ones for the tests.
pub struct Issuer {
    iss: String,
    key: SigningKey,
    database: Arc<Postgres>,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    /// The live refresh token of each session, with its user and session.
    refresh_tokens: HashMap<String, (Uuid, Uuid)>,
    ended: Vec<Uuid>,
}

struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl SigningKey {
    fn new() -> Result<Self> {
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

    fn token(&self, key_id: &str, claims: &Value) -> Result<String> {
        let signed = signed_part(&json!({"alg": "ES256", "kid": key_id, "typ": "JWT"}), claims);
        let signature = self.pair.sign(&self.random, signed.as_bytes()).ok().context("signing")?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The uncompressed point: a byte 4, then x and y of 32 bytes each.
    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
}

fn signed_part(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

impl Issuer {
    pub(crate) fn new(origin: &str, database: Arc<Postgres>) -> Result<Self> {
        Ok(Self {
            iss: format!("{origin}/auth/v1"),
            key: SigningKey::new()?,
            database,
            sessions: Mutex::default(),
        })
    }

    /// The public key as a JSON Web Key Set, as `/auth/v1/.well-known/jwks.json` serves it.
    pub fn jwks(&self) -> Value {
        let (x, y) = self.key.public()[1..].split_at(32);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "key_ops": ["verify"], "ext": true,
            "kid": self.key.id,
            "x": BASE64_URL_SAFE_NO_PAD.encode(x),
            "y": BASE64_URL_SAFE_NO_PAD.encode(y),
        }]})
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
        self.key.token(&self.key.id, claims)
    }

    /// What the gateway sends to PostgREST in place of a secret key.
    pub(crate) fn service_role_token(&self) -> Result<String> {
        let now = Utc::now().timestamp();
        self.token(&json!({"iss": self.iss, "role": "service_role", "iat": now, "exp": now + 60}))
    }

    /// Tokens that name `user_id` and that no function may believe, each with what is wrong with it. (PostgREST looks at
    /// neither issuer nor audience.)
    pub fn forged_tokens(&self, user_id: Uuid) -> Result<Vec<(&'static str, String)>> {
        let now = Utc::now().timestamp();
        let claims = self.claims(user_id, "forged@demo.test");
        let altered = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            self.token(&claims)
        };
        let mut without_sub = claims.clone();
        without_sub.as_object_mut().context("claims")?.remove("sub");
        let mut without_exp = claims.clone();
        without_exp.as_object_mut().context("claims")?.remove("exp");

        let unsigned = signed_part(&json!({"alg": "none", "kid": self.key.id, "typ": "JWT"}), &claims);
        // The classic confusion: the public key taken for an HMAC secret.
        let hs256 = signed_part(&json!({"alg": "HS256", "kid": self.key.id, "typ": "JWT"}), &claims);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.public_pem().as_bytes());
        let tag = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&secret, hs256.as_bytes()));

        let valid = self.token(&claims)?;
        let (head, signature) = valid.rsplit_once('.').context("a token has three parts")?;
        let mut other_claims = claims.clone();
        other_claims["sub"] = json!(Uuid::new_v4());
        let other = self.token(&other_claims)?;
        let (_, other_signature) = other.rsplit_once('.').context("a token has three parts")?;

        Ok(vec![
            ("expired", altered("exp", json!(now - 60))?),
            ("wrong audience", altered("aud", json!("anon"))?),
            ("wrong issuer", altered("iss", json!("https://elsewhere.test/auth/v1"))?),
            ("subject is no UUID", altered("sub", json!("admin"))?),
            ("no subject", self.token(&without_sub)?),
            ("no expiry", self.token(&without_exp)?),
            ("signed by a stranger", SigningKey::new()?.token(&self.key.id, &claims)?),
            ("unknown key id", self.key.token("unknown", &claims)?),
            ("alg none", format!("{unsigned}.")),
            ("alg none with a signature", format!("{unsigned}.{signature}")),
            ("HS256 with the public key", format!("{hs256}.{tag}")),
            ("signature of another token", format!("{head}.{other_signature}")),
            ("no signature", format!("{head}.")),
            ("cut off", head.to_owned()),
            ("garbled", "not.a.token".to_owned()),
        ])
    }

    fn public_pem(&self) -> String {
        // SubjectPublicKeyInfo for a P-256 key, up to the point itself (RFC 5480).
        let mut der = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        der.extend(self.key.public());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der))
    }

    /// The claims of a token that we signed and that has not expired.
    fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        let payload = BASE64_URL_SAFE_NO_PAD.decode(signed.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
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
        self.sessions().refresh_tokens.insert(refresh_token.clone(), (user_id, session_id));
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

    /// The user whom `condition` on `auth.users` (with two parameters) selects, as the API shows a user.
    async fn find_user(&self, condition: &str, first: &str, second: &str) -> Result<Option<Value>> {
        let client = self.database.connect("supabase_admin").await?;
        let query = format!("select to_jsonb(u) from auth.users u where {condition}");
        let row = client.query_opt(&query, &[&first, &second]).await?;
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

/// 24 random bytes as text, for keys and tokens.
pub(crate) fn random_text() -> Result<String> {
    let mut bytes = [0; 24];
    ring::rand::SecureRandom::fill(&SystemRandom::new(), &mut bytes).ok().context("random bytes")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The routes under `/auth/v1`.
pub(crate) fn router(issuer: Arc<Issuer>) -> Router {
    Router::new()
        .route("/.well-known/jwks.json", get(|State(issuer): State<Arc<Issuer>>| async move { Json(issuer.jwks()) }))
        .route("/token", post(token))
        .route("/user", get(user))
        .route("/logout", post(logout))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "not_found", "The local stack has no such Auth endpoint") })
        .with_state(issuer)
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"code": status.as_u16(), "error_code": code, "msg": message});
    (status, Json(body)).into_response()
}

/// A fault of our own, shown whole: this is a developer's machine.
struct Fault(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        error(StatusCode::INTERNAL_SERVER_ERROR, "unexpected_failure", &format!("{:#}", self.0))
    }
}

async fn token(
    State(issuer): State<Arc<Issuer>>,
    Query(query): Query<HashMap<String, String>>,
    Json(body): Json<Value>,
) -> Result<Response, Fault> {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    match query.get("grant_type").map(String::as_str) {
        Some("password") => {
            let matches = "u.email = lower($1) and u.encrypted_password = extensions.crypt($2, u.encrypted_password)";
            match issuer.find_user(matches, text("email"), text("password")).await? {
                Some(user) => Ok(issuer.session(&user, Uuid::new_v4())?.into_response()),
                None => Ok(error(StatusCode::BAD_REQUEST, "invalid_credentials", "Invalid login credentials")),
            }
        }
        Some("refresh_token") => {
            let known = issuer.sessions().refresh_tokens.remove(text("refresh_token"));
            let user = match known {
                Some((user_id, session_id)) => issuer
                    .find_user("u.id = $1::text::uuid and $2 = ''", &user_id.to_string(), "")
                    .await?
                    .map(|user| (user, session_id)),
                None => None,
            };
            match user {
                Some((user, session_id)) => Ok(issuer.session(&user, session_id)?.into_response()),
                None => Ok(error(
                    StatusCode::BAD_REQUEST,
                    "refresh_token_not_found",
                    "Invalid Refresh Token: Refresh Token Not Found",
                )),
            }
        }
        _ => Ok(error(StatusCode::BAD_REQUEST, "invalid_grant", "unsupported_grant_type")),
    }
}

/// The claims of the token that the request carries, unless its session has ended.
fn caller(issuer: &Issuer, headers: &HeaderMap) -> Result<Value, Response> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let Some(bearer) = bearer else {
        return Err(error(
            StatusCode::UNAUTHORIZED,
            "no_authorization",
            "This endpoint requires a valid Bearer token",
        ));
    };
    let Some(claims) = issuer.verify(bearer) else {
        return Err(error(StatusCode::FORBIDDEN, "bad_jwt", "invalid JWT: unable to parse or verify signature"));
    };
    let ended = issuer.sessions().ended.iter().any(|id| claims["session_id"] == json!(id));
    if ended {
        return Err(error(
            StatusCode::FORBIDDEN,
            "session_not_found",
            "Session from session_id claim in JWT does not exist",
        ));
    }
    Ok(claims)
}

async fn user(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Result<Response, Fault> {
    let claims = match caller(&issuer, &headers) {
        Ok(claims) => claims,
        Err(refused) => return Ok(refused),
    };
    let id = claims["sub"].as_str().unwrap_or_default();
    match issuer.find_user("u.id::text = $1 and $2 = ''", id, "").await? {
        Some(user) => Ok(Json(user).into_response()),
        None => Ok(error(
            StatusCode::FORBIDDEN,
            "user_not_found",
            "User from sub claim in JWT does not exist",
        )),
    }
}

async fn logout(
    State(issuer): State<Arc<Issuer>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let claims = match caller(&issuer, &headers) {
        Ok(claims) => claims,
        Err(refused) => return refused,
    };
    let same = |id: &Uuid, claim: &str| claims[claim] == json!(id);
    let scope = query.get("scope").map_or("global", String::as_str);
    let mut sessions = issuer.sessions();
    let mut ended = Vec::new();
    sessions.refresh_tokens.retain(|_, (user, session)| {
        let ends = match scope {
            "local" => same(session, "session_id"),
            "others" => same(user, "sub") && !same(session, "session_id"),
            _ => same(user, "sub"),
        };
        if ends {
            ended.push(*session);
        }
        !ends
    });
    sessions.ended.extend(ended);
    StatusCode::NO_CONTENT.into_response()
}
