//! Secrets and ids as Zoom makes them: nobody can guess one, and a token is as long as a real one.

use base64::prelude::{Engine, BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// `length` random letters, digits, `-` and `_`.
pub(crate) fn opaque(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text.push_str(&BASE64_URL_SAFE_NO_PAD.encode(Uuid::new_v4()));
    }
    text.truncate(length);
    text
}

/// A token that looks like a JWT with these claims, of `length` characters or a little more.
pub(crate) fn jwt(claims: &Value, length: usize) -> String {
    let encode = |part: &str| BASE64_URL_SAFE_NO_PAD.encode(part);
    let head = format!(
        "{}.{}.",
        encode(&format!(
            r#"{{"sv":"000001","alg":"HS512","v":"2.0","kid":"{}"}}"#,
            Uuid::new_v4()
        )),
        encode(&claims.to_string())
    );
    let signature = opaque(length.saturating_sub(head.len()).max(86));
    head + &signature
}

/// A meeting's UUID: 16 bytes in base64, which may hold `/` and `+`.
pub(crate) fn meeting_uuid() -> String {
    BASE64_STANDARD.encode(Uuid::new_v4())
}

/// What a leak check looks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IssuedSecret {
    /// What it is.
    pub kind: SecretKind,
    /// The secret itself.
    pub value: String,
}

/// What a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// An authorization code.
    Code,
    /// An access token.
    AccessToken,
    /// A refresh token.
    RefreshToken,
    /// A link that makes its holder the host.
    StartUrl,
    /// The token in such a link.
    StartToken,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_have_their_length_and_differ() {
        assert_eq!(opaque(100).len(), 100);
        assert_ne!(opaque(24), opaque(24));
        let token = jwt(&json!({"uid": "u"}), 1100);
        assert!(token.len() >= 1100 && token.split('.').count() == 3);
    }
}
