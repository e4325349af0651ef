//! JSON Web Key Sets: the keys that sign user tokens.

use base64::{engine::general_purpose::URL_SAFE_NO_PAD, Engine};
use serde::Deserialize;
use serde_json::Value;

use crate::{json, secret::Secret};

/// A key set; keys of kinds that no Supabase project signs with are left out.
#[derive(Debug, Clone)]
pub struct Jwks(Vec<Jwk>);

/// One key, with the single algorithm that it may verify.
#[derive(Debug, Clone)]
pub struct Jwk {
    kid: Option<String>,
    /// The key itself.
    pub key: VerifyingKey,
}

/// Key material. A key verifies its own algorithm and no other, whatever a token's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyingKey {
    /// ECDSA on P-256 with SHA-256: the point's coordinates, 32 bytes each.
    Es256 {
        /// First coordinate.
        x: [u8; 32],
        /// Second coordinate.
        y: [u8; 32],
    },
    /// RSASSA-PKCS1-v1_5 with SHA-256: modulus and exponent, big-endian.
    Rs256 {
        /// Modulus, 2048 bits at least.
        n: Vec<u8>,
        /// Public exponent.
        e: Vec<u8>,
    },
    /// HMAC with SHA-256.
    Hs256 {
        /// The shared secret.
        k: Secret<Vec<u8>>,
    },
}

impl VerifyingKey {
    /// The algorithm's name in a token's header.
    pub fn alg(&self) -> &'static str {
        match self {
            Self::Es256 { .. } => "ES256",
            Self::Rs256 { .. } => "RS256",
            Self::Hs256 { .. } => "HS256",
        }
    }
}

impl Jwks {
    /// Parses `{"keys": […]}` or a bare array of keys.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut document: Value = serde_json::from_slice(text).ok()?;
        if let Some(keys) = document.get_mut("keys") {
            document = keys.take();
        }
        let Value::Array(keys) = document else {
            return None;
        };
        let keys = keys.into_iter().filter_map(|key| json::read::<RawJwk>(key)?.into_key());
        Some(Self(keys.collect()))
    }

    /// Whether the set holds no key that can verify: such a project's tokens are checked by its auth server.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the set has a shared secret (HS256). Supabase never publishes one: a self-hosted set may.
    pub fn has_shared_secret(&self) -> bool {
        self.0.iter().any(|jwk| matches!(jwk.key, VerifyingKey::Hs256 { .. }))
    }

    /// The key that a token's header names: by `kid` where it has one, else the only key of that algorithm.
    pub fn find(&self, alg: &str, kid: Option<&str>) -> Option<&VerifyingKey> {
        let mut fitting = self
            .0
            .iter()
            .filter(|jwk| jwk.key.alg() == alg && (kid.is_none() || jwk.kid.as_deref() == kid));
        match (fitting.next(), fitting.next()) {
            (Some(jwk), None) => Some(&jwk.key),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct RawJwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    k: Option<String>,
}

impl RawJwk {
    fn into_key(self) -> Option<Jwk> {
        let decode = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let key = match self.kty.as_str() {
            "EC" if self.crv.as_deref() == Some("P-256") => VerifyingKey::Es256 {
                x: decode(self.x)?.try_into().ok()?,
                y: decode(self.y)?.try_into().ok()?,
            },
            "RSA" => VerifyingKey::Rs256 {
                n: decode(self.n)?,
                e: decode(self.e)?,
            },
            "oct" => VerifyingKey::Hs256 {
                k: Secret::new(decode(self.k).filter(|k| k.len() >= 16)?),
            },
            _ => return None,
        };
        let for_signing = self.usage.is_none_or(|usage| usage == "sig");
        let own_algorithm = self.alg.is_none_or(|alg| alg == key.alg());
        (for_signing && own_algorithm).then_some(Jwk { kid: self.kid, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","kid":"a","alg":"ES256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn set(keys: &str) -> Jwks {
        Jwks::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_found_by_kid_and_its_own_algorithm() {
        let jwks = set(EC);
        assert!(jwks.find("ES256", Some("a")).is_some());
        assert!(jwks.find("ES256", None).is_some());
        assert!(jwks.find("ES256", Some("b")).is_none());
        for alg in ["HS256", "RS256", "none", ""] {
            assert!(jwks.find(alg, Some("a")).is_none(), "{alg}");
        }
    }

    #[test]
    fn without_a_kid_the_choice_must_be_clear() {
        let other = EC.replace(r#""kid":"a""#, r#""kid":"b""#);
        assert!(set(&format!("{EC},{other}")).find("ES256", None).is_none());
    }

    #[test]
    fn keys_that_cannot_verify_are_left_out() {
        let encryption = EC.replace(r#""alg""#, r#""use":"enc","alg""#);
        let wrong_alg = EC.replace("ES256", "ES384");
        let wrong_curve = EC.replace("P-256", "P-384");
        let weak = r#"{"kty":"oct","k":"c2hvcnQ"}"#;
        for keys in [&encryption, &wrong_alg, &wrong_curve, weak, r#"{"kty":"OKP"}"#] {
            assert!(set(keys).is_empty(), "{keys}");
        }
        assert!(Jwks::parse(b"{\"keys\":[]}").unwrap().is_empty());
        assert!(Jwks::parse(b"[]").unwrap().is_empty());
        assert!(Jwks::parse(b"{}").is_none());
        assert!(Jwks::parse(b"<html>").is_none());
    }
}
