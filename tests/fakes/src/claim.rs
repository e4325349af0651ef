//! What the database says to a function that needs an access token, with tokens sealed as they are in the database.

use serde_json::{json, Value};
use shared::{
    seal::{SealContext, SealingKeys},
    secret::Secret,
    zoom::connection::{access_token_context, refresh_token_context},
};
use uuid::Uuid;

/// The newer one first; the older one only opens.
pub const KEYS: &str =
    "new:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,old:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

/// Use this access token.
pub fn fresh(user_id: Uuid, access_token: &str, token_version: i64) -> Value {
    json!({
        "state": "fresh", "token_version": token_version,
        "access_token": seal(access_token_context(user_id), access_token),
    })
}

/// Refresh with this refresh token: the lease is yours.
pub fn refresh(user_id: Uuid, refresh_token: &str, token_version: i64) -> Value {
    json!({
        "state": "refresh", "token_version": token_version,
        "refresh_token": seal(refresh_token_context(user_id), refresh_token),
    })
}

/// Somebody else is refreshing.
pub fn busy(retry_after_ms: u64) -> Value {
    json!({"state": "busy", "retry_after_ms": retry_after_ms})
}

/// Zoom's token endpoint failed a moment ago.
pub fn cooling_down(retry_after_seconds: u64) -> Value {
    json!({"state": "cooling_down", "retry_after_seconds": retry_after_seconds})
}

/// The connection has ended.
pub fn expired(reason: &str) -> Value {
    json!({"state": "expired", "reason": reason})
}

/// There is no connection.
pub fn not_connected() -> Value {
    json!({"state": "not_connected"})
}

/// A connection with this claim: the answer of `edge_token_claim`.
pub fn connection(claim: &Value) -> Value {
    json!({"token": claim, "zoom_account_email": "host@zoom.test", "expires_at": "2027-01-01T00:00:00Z"})
}

/// A secret as it is in the database, sealed with the first key.
pub fn seal(context: SealContext, secret: &str) -> String {
    seal_with(KEYS, context, secret)
}

/// The same, sealed with the key that is to go.
pub fn seal_with_the_older_key(context: SealContext, secret: &str) -> String {
    let (_, older) = KEYS.split_once(',').expect("two keys");
    seal_with(older, context, secret)
}

fn seal_with(keys: &str, context: SealContext, secret: &str) -> String {
    let keys = SealingKeys::parse(keys).expect("sealing keys");
    keys.seal(context, &Secret::new(secret.to_owned()))
        .expect("a sealed value")
}

/// What the database was given to keep as a user's access token.
///
/// # Panics
/// If it does not open, or is not sealed with the first key.
pub fn opened_access_token(user_id: Uuid, sealed: &Value) -> String {
    open(access_token_context(user_id), sealed)
}

/// What the database was given to keep as a user's refresh token.
///
/// # Panics
/// As [`opened_access_token`].
pub fn opened_refresh_token(user_id: Uuid, sealed: &Value) -> String {
    open(refresh_token_context(user_id), sealed)
}

/// Opens what is sealed with the first key.
///
/// # Panics
/// As [`opened_access_token`].
pub fn open(context: SealContext, sealed: &Value) -> String {
    let (first, _) = KEYS.split_once(',').expect("two keys");
    let keys = SealingKeys::parse(first).expect("a sealing key");
    let sealed = sealed.as_str().expect("a sealed text");
    keys.open(context, sealed)
        .expect("a value sealed with the first key")
        .expose()
        .clone()
}

/// The answer of a step that found no way to a token.
pub fn no_token(claim: &Value) -> Value {
    json!({"outcome": "no_token", "token": claim})
}
