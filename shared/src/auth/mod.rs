//! Who the caller is.
//!
//! User tokens are verified here, against the project's JSON Web Key Set: signature, `exp`, `aud`, `iss`, `role`,
//! `sub`. A token that does not pass is a refusal, never an anonymous caller. A project with a legacy JWT secret keeps
//! that secret out of its key set, so its HS256 tokens are checked by asking `/auth/v1/user`. Service callers present a
//! secret key, compared in constant time.

pub mod jwks;
mod signature;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{engine::general_purpose::URL_SAFE_NO_PAD, Engine};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::{
    config::{Config, JwksSource, SecretKeys},
    error::Error,
    hash::sha256_hex,
    json,
    outbound::{self, Reply},
    time,
};
use jwks::{Jwks, VerifyingKey};

/// A user whose token was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The token's `sub`: the id in `auth.users`.
    pub id: Uuid,
}

/// A caller that presented a secret key of the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service;

const AUTH_SERVER_DEADLINE: Duration = Duration::from_secs(5);
const KEY_SET_MAX_AGE: TimeDelta = TimeDelta::minutes(10);
const KEY_SET_MIN_INTERVAL: TimeDelta = TimeDelta::minutes(1);
/// How long the auth server's word about a token counts.
const VERDICT_MAX_AGE: TimeDelta = TimeDelta::minutes(1);
/// How many of its words are kept at most.
const MAX_VERDICTS: usize = 500;

/// Checks a service caller's `apikey` against the project's secret keys.
///
/// # Errors
/// [`Error::Unauthorized`] when it is none of them.
pub fn service(apikey: Option<&str>, keys: &SecretKeys) -> Result<Service, Error> {
    let apikey = apikey.unwrap_or_default().as_bytes();
    let mut known = subtle::Choice::from(0);
    for key in keys.accepted() {
        known |= key.expose().as_bytes().ct_eq(apikey);
    }
    if known.into() {
        Ok(Service)
    } else {
        Err(Error::Unauthorized)
    }
}

/// Verifies user tokens. One per isolate: it keeps the key set, and for a minute what the auth server has said.
#[derive(Debug, Default)]
pub struct UserVerifier {
    fetched: Mutex<Option<FetchedKeys>>,
    verdicts: Mutex<HashMap<String, Verdict>>,
}

/// What the auth server said of a token, which is known by its hash.
#[derive(Debug, Clone)]
struct Verdict {
    user: Result<User, Error>,
    said_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
struct FetchedKeys {
    keys: Arc<Jwks>,
    tried_at: DateTime<Utc>,
}

impl UserVerifier {
    /// The user that a token was made out for.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::TokenExpired`], or [`Error::ServiceUnavailable`] when the project's
    /// auth server has to be asked and does not answer.
    pub async fn verify(&self, token: &str, config: &Config, client: &reqwest::Client) -> Result<User, Error> {
        let token = Token::parse(token)?;
        let keys = self.keys(&token, config, client).await?;
        let Some(key) = token.key(&keys) else {
            if !token.has_legacy_signature(&keys) {
                return Err(Error::Unauthorized);
            }
            let claimed = token.check_claims(&config.supabase.jwt_issuer, time::now())?;
            let user = self.verdict(token.text, config, client).await?;
            return if user == claimed {
                Ok(user)
            } else {
                Err(Error::Unauthorized)
            };
        };
        if !signature::is_valid(key, token.signed.as_bytes(), &token.signature).await {
            return Err(Error::Unauthorized);
        }
        token.check_claims(&config.supabase.jwt_issuer, time::now())
    }

    /// What the auth server says of a token, now or within the last minute.
    async fn verdict(&self, token: &str, config: &Config, client: &reqwest::Client) -> Result<User, Error> {
        let hash = sha256_hex(token);
        let now = time::now();
        let fresh = |verdict: &Verdict| now.signed_duration_since(verdict.said_at) < VERDICT_MAX_AGE;
        let known = self.verdicts().get(&hash).filter(|verdict| fresh(verdict)).cloned();
        if let Some(verdict) = known {
            return verdict.user;
        }
        let user = ask_auth_server(token, config, client).await;
        if matches!(user, Ok(_) | Err(Error::Unauthorized)) {
            let mut verdicts = self.verdicts();
            verdicts.retain(|_, verdict| fresh(verdict));
            if verdicts.len() < MAX_VERDICTS {
                verdicts.insert(
                    hash,
                    Verdict {
                        user: user.clone(),
                        said_at: now,
                    },
                );
            }
        }
        user
    }

    fn verdicts(&self) -> MutexGuard<'_, HashMap<String, Verdict>> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key set: inline, or fetched and kept; fetched again when it is old or lacks the token's key, at most once a
    /// minute.
    async fn keys(&self, token: &Token<'_>, config: &Config, client: &reqwest::Client) -> Result<Arc<Jwks>, Error> {
        let url = match &config.supabase.jwks {
            JwksSource::Inline(keys) => return Ok(Arc::clone(keys)),
            JwksSource::Url(url) => url,
        };
        let now = time::now();
        let kept = self.kept();
        if let Some(kept) = &kept {
            let age = now.signed_duration_since(kept.tried_at);
            let known = token.has_legacy_signature(&kept.keys) || token.key(&kept.keys).is_some();
            if age < KEY_SET_MIN_INTERVAL || (known && age < KEY_SET_MAX_AGE) {
                return Ok(Arc::clone(&kept.keys));
            }
        }
        let keys = match (fetch_keys(url, client).await, kept) {
            (Ok(keys), _) => Arc::new(keys),
            (Err(_), Some(kept)) => kept.keys,
            (Err(error), None) => return Err(error),
        };
        *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Some(FetchedKeys {
            keys: Arc::clone(&keys),
            tried_at: now,
        });
        Ok(keys)
    }

    /// Whether the key set can be read: inline it was, else it is fetched.
    ///
    /// # Errors
    /// [`Error::ServiceUnavailable`].
    pub async fn key_set(&self, config: &Config, client: &reqwest::Client) -> Result<(), Error> {
        match &config.supabase.jwks {
            JwksSource::Inline(_) => Ok(()),
            JwksSource::Url(url) => fetch_keys(url, client).await.map(drop),
        }
    }

    fn kept(&self) -> Option<FetchedKeys> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn fetch_keys(url: &str, client: &reqwest::Client) -> Result<Jwks, Error> {
    let reply = ask(client.get(url)).await?;
    match reply.status {
        ..400 => Jwks::parse(&reply.body).ok_or(Error::ServiceUnavailable),
        _ => Err(Error::ServiceUnavailable),
    }
}

/// Asks the project's auth server whose token this is.
async fn ask_auth_server(token: &str, config: &Config, client: &reqwest::Client) -> Result<User, Error> {
    #[derive(Deserialize)]
    struct Answer {
        id: Uuid,
        aud: String,
    }
    let request = client
        .get(format!("{}/auth/v1/user", config.supabase.url))
        .header("apikey", config.supabase.secret_keys.own().expose())
        .bearer_auth(token);
    let reply = ask(request).await?;
    match reply.status {
        ..400 => match json::parse(&reply.body) {
            Some(Answer { id, aud }) if aud == "authenticated" => Ok(User { id }),
            Some(_) => Err(Error::Unauthorized),
            None => Err(Error::ServiceUnavailable),
        },
        400..500 => Err(Error::Unauthorized),
        _ => Err(Error::ServiceUnavailable),
    }
}

async fn ask(request: RequestBuilder) -> Result<Reply, Error> {
    let reply = outbound::send(request, AUTH_SERVER_DEADLINE).await;
    reply.map_err(|_| Error::ServiceUnavailable)
}

/// A token taken apart; nothing in it is to be believed before the signature is checked.
struct Token<'a> {
    text: &'a str,
    unverified_header: Header,
    unverified_claims: Claims,
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    role: Option<String>,
    /// Text, or a list of texts.
    #[serde(default)]
    aud: Value,
}

impl<'a> Token<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        fn part(text: &str) -> Result<Vec<u8>, Error> {
            URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Unauthorized)
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Error::Unauthorized)?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Unauthorized)?;
        let unverified_header: Header = json::parse(&part(header)?).ok_or(Error::Unauthorized)?;
        if unverified_header.crit.is_some() {
            return Err(Error::Unauthorized);
        }
        Ok(Self {
            text,
            unverified_header,
            unverified_claims: json::parse(&part(claims)?).ok_or(Error::Unauthorized)?,
            signed,
            signature: part(signature)?,
        })
    }

    fn key<'k>(&self, keys: &'k Jwks) -> Option<&'k VerifyingKey> {
        keys.find(&self.unverified_header.alg, self.unverified_header.kid.as_deref())
    }

    /// Whether the signature is one that this key set cannot judge: HS256, where the set has no such key at all; any,
    /// where the set is empty.
    fn has_legacy_signature(&self, keys: &Jwks) -> bool {
        keys.is_empty() || self.unverified_header.alg == "HS256" && !keys.has_shared_secret()
    }

    /// Checks the claims of a token, whose signature is good or about to be checked.
    fn check_claims(&self, issuer: &str, now: DateTime<Utc>) -> Result<User, Error> {
        let claims = &self.unverified_claims;
        #[allow(clippy::cast_precision_loss)]
        let now = now.timestamp() as f64;
        let for_users = match claims.aud.as_array() {
            Some(audiences) => audiences.iter().any(|audience| audience == "authenticated"),
            None => claims.aud == "authenticated",
        };
        let for_users = for_users && claims.role.as_deref() == Some("authenticated");
        let begun = claims.nbf.is_none_or(|begin| begin <= now);
        if !for_users || !begun || claims.iss.as_deref() != Some(issuer) {
            return Err(Error::Unauthorized);
        }
        let id = claims
            .sub
            .as_deref()
            .and_then(|subject| Uuid::try_parse(subject).ok())
            .ok_or(Error::Unauthorized)?;
        match claims.exp {
            Some(end) if end > now => Ok(User { id }),
            Some(_) => Err(Error::TokenExpired),
            None => Err(Error::Unauthorized),
        }
    }
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{EcdsaKeyPair, KeyPair, ECDSA_P256_SHA256_FIXED_SIGNING},
    };
    use serde_json::{json, Value};

    use super::*;

    const URL: &str = "https://ref.supabase.co";
    const USER: &str = "5b2d6c66-5f0a-4c0e-9f4e-3a3f6f2f8a01";

    struct Issuer(EcdsaKeyPair);

    impl Issuer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
            Self(pair)
        }

        fn jwks(&self) -> Value {
            let point = self.0.public_key().as_ref();
            json!({"keys": [{
                "kty": "EC", "crv": "P-256", "kid": "a", "alg": "ES256",
                "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
            }]})
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", encode(header), encode(claims));
            let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn config(jwks: &Value) -> Config {
        Config::read(
            |name| match name {
                "SUPABASE_URL" => Some(URL.to_owned()),
                "SUPABASE_SECRET_KEY" => Some("sb_secret_1".to_owned()),
                "SUPABASE_JWKS" => Some(jwks.to_string()),
                _ => None,
            },
            &[],
        )
        .unwrap()
    }

    fn claims() -> Value {
        json!({
            "sub": USER, "aud": "authenticated", "iss": format!("{URL}/auth/v1"),
            "exp": time::now().timestamp() + 3600, "role": "authenticated",
        })
    }

    fn header() -> Value {
        json!({"alg": "ES256", "kid": "a", "typ": "JWT"})
    }

    async fn verify(issuer: &Issuer, token: &str) -> Result<User, Error> {
        UserVerifier::default()
            .verify(token, &config(&issuer.jwks()), &reqwest::Client::new())
            .await
    }

    #[tokio::test]
    async fn a_genuine_token_names_its_user() {
        let issuer = Issuer::new();
        let user = verify(&issuer, &issuer.sign(&header(), &claims())).await.unwrap();
        assert_eq!(user.id.to_string(), USER);
    }

    #[tokio::test]
    async fn every_other_token_is_refused() {
        let issuer = Issuer::new();
        let with = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            issuer.sign(&header(), &claims)
        };
        let past = time::now().timestamp() - 1;
        let expired = with("exp", json!(past));
        assert_eq!(verify(&issuer, &expired).await, Err(Error::TokenExpired));

        let genuine = issuer.sign(&header(), &claims());
        let (signed, signature) = genuine.rsplit_once('.').unwrap();
        let other_claims = with("sub", json!("5b2d6c66-5f0a-4c0e-9f4e-3a3f6f2f8a02"));
        let (other_signed, _) = other_claims.rsplit_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let refused = [
            String::new(),
            "nonsense".to_owned(),
            "a.b.c".to_owned(),
            format!("{genuine}.d"),
            format!("{signed}."),
            format!("{other_signed}.{signature}"),
            format!("{none}.{}.", URL_SAFE_NO_PAD.encode(claims().to_string())),
            Issuer::new().sign(&header(), &claims()),
            issuer.sign(&json!({"alg": "none"}), &claims()),
            issuer.sign(&json!({"alg": "ES256", "kid": "b"}), &claims()),
            issuer.sign(&json!({"alg": "ES256", "kid": "a", "crit": ["exp"]}), &claims()),
            with("aud", json!("anon")),
            with("aud", Value::Null),
            with("iss", json!("https://other.supabase.co/auth/v1")),
            with("iss", Value::Null),
            with("sub", json!("not-a-uuid")),
            with("sub", Value::Null),
            with("exp", Value::Null),
            with("nbf", json!(time::now().timestamp() + 600)),
            with("role", json!("service_role")),
            with("role", json!("anon")),
            with("role", Value::Null),
        ];
        for token in refused {
            assert_eq!(verify(&issuer, &token).await, Err(Error::Unauthorized), "{token}");
        }
    }

    #[tokio::test]
    async fn a_shared_secret_verifies_hs256() {
        let secret = [7_u8; 32];
        let jwks = json!({"keys": [{"kty": "oct", "kid": "s", "k": URL_SAFE_NO_PAD.encode(secret)}]});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&json!({"alg": "HS256", "kid": "s"})), encode(&claims()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        let signature = ring::hmac::sign(&key, signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let verifier = UserVerifier::default();
        let client = reqwest::Client::new();
        assert!(verifier.verify(&token, &config(&jwks), &client).await.is_ok());
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 32]));
        assert!(verifier.verify(&forged, &config(&jwks), &client).await.is_err());
    }

    /// An auth server that answers each `/auth/v1/user` with this, and counts how often it was asked.
    fn auth_server(status: u16, body: String) -> (String, Arc<std::sync::atomic::AtomicUsize>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 8192];
                let _ = stream.read(&mut request).unwrap();
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (url, asked)
    }

    fn hs256(claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&json!({"alg": "HS256", "kid": "old"})), encode(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 32]))
    }

    #[tokio::test]
    async fn the_auth_server_decides_about_a_legacy_secret() {
        let issuer = Issuer::new();
        let answer = json!({"id": USER, "aud": "authenticated", "role": "authenticated"}).to_string();
        // With a standby key beside the secret, and without.
        for keys in [issuer.jwks(), json!({"keys": []})] {
            let (url, asked) = auth_server(200, answer.clone());
            let config = Config::read(
                |name| match name {
                    "SUPABASE_URL" => Some(url.clone()),
                    "SUPABASE_JWT_ISSUER" => Some(format!("{URL}/auth/v1")),
                    "SUPABASE_SECRET_KEY" => Some("sb_secret_1".to_owned()),
                    "SUPABASE_JWKS" => Some(keys.to_string()),
                    _ => None,
                },
                &[],
            )
            .unwrap();
            let (verifier, client) = (UserVerifier::default(), reqwest::Client::new());
            let asked = || asked.load(std::sync::atomic::Ordering::SeqCst);
            let token = hs256(&claims());
            for _ in 0..3 {
                assert_eq!(
                    verifier.verify(&token, &config, &client).await.unwrap().id.to_string(),
                    USER
                );
            }
            assert_eq!(asked(), 1, "its word is kept for a minute");
            // Claims that do not fit are no question.
            for (name, value) in [
                ("iss", json!("https://elsewhere.test/auth/v1")),
                ("aud", json!("anon")),
                ("role", json!("service_role")),
                ("sub", Value::Null),
                ("exp", json!(1)),
            ] {
                let mut claims = claims();
                claims[name] = value;
                assert!(
                    verifier.verify(&hs256(&claims), &config, &client).await.is_err(),
                    "{name}"
                );
            }
            // Neither is a signature that can be judged here, or a key that nobody knows.
            if keys != json!({"keys": []}) {
                let unknown = issuer.sign(&json!({"alg": "ES256", "kid": "b"}), &claims());
                assert_eq!(
                    verifier.verify(&unknown, &config, &client).await,
                    Err(Error::Unauthorized)
                );
            }
            assert_eq!(asked(), 1);
            // Somebody else's id in the answer is no yes.
            let mut other = claims();
            other["sub"] = json!("5b2d6c66-5f0a-4c0e-9f4e-3a3f6f2f8a02");
            assert_eq!(
                verifier.verify(&hs256(&other), &config, &client).await,
                Err(Error::Unauthorized)
            );
            // A bounded number is kept.
            for n in 0..600_u32 {
                let mut claims = claims();
                claims["n"] = json!(n);
                verifier.verify(&hs256(&claims), &config, &client).await.unwrap();
            }
            assert!(verifier.verdicts().len() <= MAX_VERDICTS);
        }
    }

    #[tokio::test]
    async fn a_refusal_of_the_auth_server_is_one_and_a_failure_is_none() {
        for (status, expected) in [
            (401, Error::Unauthorized),
            (403, Error::Unauthorized),
            (502, Error::ServiceUnavailable),
        ] {
            let (url, asked) = auth_server(status, "{}".to_owned());
            let config = Config::read(
                |name| match name {
                    "SUPABASE_URL" => Some(url.clone()),
                    "SUPABASE_JWT_ISSUER" => Some(format!("{URL}/auth/v1")),
                    "SUPABASE_SECRET_KEY" => Some("sb_secret_1".to_owned()),
                    "SUPABASE_JWKS" => Some(r#"{"keys":[]}"#.to_owned()),
                    _ => None,
                },
                &[],
            )
            .unwrap();
            let (verifier, client) = (UserVerifier::default(), reqwest::Client::new());
            for _ in 0..2 {
                assert_eq!(
                    verifier.verify(&hs256(&claims()), &config, &client).await,
                    Err(expected.clone())
                );
            }
            let times = if status == 502 { 2 } else { 1 };
            assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), times, "{status}");
        }
    }

    #[test]
    fn a_service_presents_a_secret_key() {
        let config = config(&json!({"keys": []}));
        let keys = &config.supabase.secret_keys;
        assert_eq!(service(Some("sb_secret_1"), keys), Ok(Service));
        for wrong in [
            None,
            Some(""),
            Some("sb_secret_"),
            Some("sb_secret_12"),
            Some("sb_publishable_1"),
        ] {
            assert_eq!(service(wrong, keys), Err(Error::Unauthorized));
        }
    }
}
