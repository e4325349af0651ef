//! Tokens that nobody may be taken for a user by: forged, foreign, confused, expired, and with odd claims.

use anyhow::{Context, Result};
use base64::prelude::{Engine, BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use ring::hmac;
use serde_json::{json, Value};
use uuid::Uuid;

use crate::auth_issuer::{Issuer, Signing, SigningKey};

/// A token that names a user, and that no function takes.
#[derive(Clone, Debug)]
pub struct ForgedToken {
    /// What is wrong with it.
    pub what: String,
    /// For `Authorization: Bearer`.
    pub token: String,
    /// Whether the functions say `token_expired`, not `unauthorized`.
    pub expired: bool,
    /// Whether the project's own key signed it, and what it says is odd. PostgREST looks at neither `iss` nor `aud` nor
    /// `kid`, and at `role` and `exp` in its own way.
    pub is_signed: bool,
}

impl Issuer {
    /// Tokens that name `user_id`, each with what is wrong with it.
    ///
    /// # Errors
    /// If one cannot be signed.
    pub fn forged_tokens(&self, user_id: Uuid) -> Result<Vec<ForgedToken>> {
        let mut claims = self.claims(user_id, "forged@demo.test");
        claims["app_metadata"]["role"] = json!("trainer");
        let mut tokens = self.odd_claims(&claims)?;
        let mut forged = vec![
            self.strangers_signatures(&claims)?,
            self.confused_algorithms(&claims)?,
            self.broken_shapes(&claims)?,
        ];
        if self.signing() == Signing::Es256 {
            tokens.extend(self.odd_headers(&claims)?);
            forged.push(self.broken_signatures(&claims)?);
        }
        tokens.extend(forged.concat().into_iter().map(|(what, token)| ForgedToken {
            what,
            token,
            expired: false,
            is_signed: false,
        }));
        Ok(tokens)
    }

    fn odd_claims(&self, claims: &Value) -> Result<Vec<ForgedToken>> {
        let now = Utc::now().timestamp();
        let issuer = claims["iss"].as_str().context("an issuer")?;
        let user = claims["sub"].as_str().context("a subject")?;
        let values = [
            (
                "exp",
                json!([null, "", "soon", (now + 60).to_string(), [now + 60], {}, true]),
            ),
            ("nbf", json!([now + 600, 9_999_999_999_i64, "now", [now]])),
            (
                "aud",
                json!([
                    null,
                    "",
                    "anon",
                    "Authenticated",
                    "authenticated ",
                    [],
                    ["anon"],
                    [["authenticated"]],
                    {},
                    7,
                    true
                ]),
            ),
            (
                "iss",
                json!([
                    null,
                    "",
                    "supabase",
                    "https://elsewhere.test/auth/v1",
                    format!("{issuer}/"),
                    format!("{issuer}/v2"),
                    format!(" {issuer}"),
                    issuer.to_uppercase(),
                    issuer.replace("http:", "https:"),
                    issuer.replace("127.0.0.1", "localhost"),
                    issuer.replace("/auth/v1", ""),
                    [issuer],
                    {},
                    7
                ]),
            ),
            (
                "role",
                json!([
                    null,
                    "",
                    "anon",
                    "service_role",
                    "supabase_admin",
                    "postgres",
                    "authenticator",
                    "Authenticated",
                    "authenticated ",
                    ["authenticated"],
                    {},
                    7,
                    true
                ]),
            ),
            (
                "sub",
                json!([
                    null, "", "admin", 7, [user], {"id": user}, true, format!("{user} "), format!("{user}\u{0}"),
                    format!("{user}' or true --"), &user[1..], format!("{user},{user}")
                ]),
            ),
        ];
        let odd = |what: String, claims: &Value, expired| {
            anyhow::Ok(ForgedToken {
                what,
                token: self.token(claims)?,
                expired,
                is_signed: true,
            })
        };
        let mut tokens = Vec::new();
        for (name, values) in values {
            let odd_ones = values.as_array().into_iter().flatten();
            for value in odd_ones.filter(|value| **value != claims[name]) {
                let mut changed = claims.clone();
                changed[name] = value.clone();
                tokens.push(odd(format!("{name} is {value}"), &changed, false)?);
            }
            if name != "nbf" {
                let mut changed = claims.clone();
                changed.as_object_mut().context("claims")?.remove(name);
                tokens.push(odd(format!("no {name}"), &changed, false)?);
            }
        }
        for end in [json!(now - 60), json!(now - 86_400), json!(0), json!(-1), json!(1.5)] {
            let mut changed = claims.clone();
            changed["exp"] = end;
            tokens.push(odd(format!("expired at {}", changed["exp"]), &changed, true)?);
        }
        Ok(tokens)
    }

    /// Our own signature under a header that names another key, or asks for what nobody here understands.
    fn odd_headers(&self, claims: &Value) -> Result<Vec<ForgedToken>> {
        let ours = self.key_id();
        let headers = [
            ("an unknown key id", json!({"alg": "ES256", "kid": "unknown"})),
            ("a number as key id", json!({"alg": "ES256", "kid": 7})),
            ("a list as key id", json!({"alg": "ES256", "kid": [ours]})),
            ("crit", json!({"alg": "ES256", "kid": ours, "crit": ["exp"]})),
            (
                "an unencoded payload",
                json!({"alg": "ES256", "kid": ours, "b64": false, "crit": ["b64"]}),
            ),
        ];
        let odd = |(what, header): (&str, Value)| {
            anyhow::Ok(ForgedToken {
                what: what.to_owned(),
                token: self.sign(&header, claims)?,
                expired: false,
                is_signed: true,
            })
        };
        headers.into_iter().map(odd).collect()
    }

    /// Signed well, by somebody else's key.
    fn strangers_signatures(&self, claims: &Value) -> Result<Vec<(String, String)>> {
        let stranger = SigningKey::new()?;
        let ours = self.key_id();
        let jwk = stranger.jwk();
        let headers = [
            ("our key id", json!({"alg": "ES256", "kid": ours})),
            ("no key id", json!({"alg": "ES256"})),
            ("the stranger's key id", json!({"alg": "ES256", "kid": stranger.id()})),
            (
                "its key in the header",
                json!({"alg": "ES256", "kid": ours, "jwk": jwk}),
            ),
            ("its key alone in the header", json!({"alg": "ES256", "jwk": jwk})),
            (
                "a key set elsewhere",
                json!({"alg": "ES256", "kid": stranger.id(), "jku": "https://evil.example/jwks.json"}),
            ),
            (
                "a certificate elsewhere",
                json!({"alg": "ES256", "kid": ours, "x5u": "https://evil.example/x.pem"}),
            ),
            ("a certificate", json!({"alg": "ES256", "kid": ours, "x5c": ["MIIB"]})),
            (
                "a path as key id",
                json!({"alg": "ES256", "kid": "../../../../dev/null"}),
            ),
            ("SQL as key id", json!({"alg": "ES256", "kid": "' union select 'x"})),
            ("an empty key id", json!({"alg": "ES256", "kid": ""})),
            ("a long key id", json!({"alg": "ES256", "kid": "x".repeat(4000)})),
        ];
        let mut tokens = Vec::new();
        for (what, header) in headers {
            tokens.push((
                format!("a stranger's signature, {what}"),
                stranger.sign(&header, claims)?,
            ));
        }
        Ok(tokens)
    }

    /// Another algorithm than the key's: none at all, or HMAC with what everybody knows of the key for a secret.
    fn confused_algorithms(&self, claims: &Value) -> Result<Vec<(String, String)>> {
        let ours = self.key_id();
        let signed = |alg: &Value| signed_part(&json!({"alg": alg, "kid": ours, "typ": "JWT"}), claims);
        let genuine = self.token(claims)?;
        let (_, signature) = genuine.rsplit_once('.').context("a token has three parts")?;
        let mut tokens = Vec::new();
        for alg in ["none", "None", "NONE", "nOnE", "", "null"] {
            let head = signed(&json!(alg));
            tokens.push((format!("alg {alg:?}"), format!("{head}.")));
            tokens.push((format!("alg {alg:?} with a signature"), format!("{head}.{signature}")));
        }
        for alg in [json!(null), json!(7), json!(["ES256"]), json!({"ES256": true})] {
            let head = signed(&alg);
            tokens.push((format!("alg {alg}"), format!("{head}.{signature}")));
        }
        let header = json!({"kid": ours, "typ": "JWT"});
        tokens.push((
            "no alg".to_owned(),
            format!("{}.{signature}", signed_part(&header, claims)),
        ));
        for alg in [
            "es256", "ES384", "ES512", "ES256K", "RS256", "RS512", "PS256", "EdDSA", "HS256 ", "ECDH-ES",
        ] {
            tokens.push((format!("alg {alg}"), format!("{}.{signature}", signed(&json!(alg)))));
        }
        let jwk = self.jwk();
        let jwks = json!({"keys": [jwk]});
        let secrets: [(&str, Vec<u8>); 9] = [
            ("the public key as PEM", self.public_pem().into_bytes()),
            (
                "the public key as PEM, trimmed",
                self.public_pem().trim().as_bytes().to_vec(),
            ),
            ("the public key as DER", self.public_der()),
            ("the point", self.public().to_vec()),
            ("the key set", jwks.to_string().into_bytes()),
            ("the key's JSON", jwk.to_string().into_bytes()),
            (
                "the x coordinate",
                jwk["x"].as_str().unwrap_or_default().as_bytes().to_vec(),
            ),
            ("the key id", ours.as_bytes().to_vec()),
            ("nothing", Vec::new()),
        ];
        for (alg, algorithm) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            for (what, secret) in &secrets {
                let head = signed(&json!(alg));
                let tag = hmac::sign(&hmac::Key::new(algorithm, secret), head.as_bytes());
                let token = format!("{head}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag));
                tokens.push((format!("{alg} with {what}"), token));
            }
        }
        Ok(tokens)
    }

    /// Our own header and claims under a signature that is none.
    fn broken_signatures(&self, claims: &Value) -> Result<Vec<(String, String)>> {
        /// The order of P-256's group, big-endian.
        const ORDER: [u8; 32] = [
            0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
            0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
        ];
        let genuine = self.token(claims)?;
        let (head, signature) = genuine.rsplit_once('.').context("a token has three parts")?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature)?;
        let (header, payload) = head.split_once('.').context("a header and claims")?;
        let mut others = claims.clone();
        others["sub"] = json!(Uuid::new_v4());
        let other = self.token(&others)?;
        let (other_head, other_signature) = other.rsplit_once('.').context("a token has three parts")?;
        let flipped = |at: usize| {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            changed
        };
        let der = [&[0x30, 0x44, 0x02, 0x20], &bytes[..32], &[0x02, 0x20], &bytes[32..]].concat();
        let encoded = [
            ("of zeros", vec![0; 64]),
            ("of ones", vec![0xff; 64]),
            ("of the group's order", [ORDER, ORDER].concat()),
            ("whose r is 0", [&[0; 32], &bytes[32..]].concat()),
            ("whose s is 0", [&bytes[..32], &[0; 32]].concat()),
            ("whose halves are swapped", [&bytes[32..], &bytes[..32]].concat()),
            ("as DER", der),
            ("one byte short", bytes[..63].to_vec()),
            ("one byte long", [&bytes[..], &[0]].concat()),
            ("twice", [&bytes[..], &bytes[..]].concat()),
            ("first bit flipped", flipped(0)),
            ("middle bit flipped", flipped(31)),
            ("last bit flipped", flipped(63)),
        ];
        let mut tokens: Vec<_> = encoded
            .into_iter()
            .map(|(what, bytes)| {
                let token = format!("{head}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
                (format!("a signature {what}"), token)
            })
            .collect();
        tokens.extend([
            ("no signature".to_owned(), format!("{head}.")),
            (
                "the signature of another token".to_owned(),
                format!("{head}.{other_signature}"),
            ),
            ("another's claims".to_owned(), format!("{other_head}.{signature}")),
            (
                "a signature that is no base64".to_owned(),
                format!("{head}.{}", "*".repeat(86)),
            ),
            ("the claims for a signature".to_owned(), format!("{head}.{payload}")),
            (
                "claims and header swapped".to_owned(),
                format!("{payload}.{header}.{signature}"),
            ),
        ]);
        // Every field that says who somebody is, changed after signing.
        for (name, value) in [
            ("sub", others["sub"].clone()),
            ("role", json!("service_role")),
            ("exp", json!(9_999_999_999_i64)),
            ("is_anonymous", json!(true)),
        ] {
            let mut changed = claims.clone();
            changed[name] = value;
            let payload = BASE64_URL_SAFE_NO_PAD.encode(changed.to_string());
            tokens.push((format!("{name} changed"), format!("{header}.{payload}.{signature}")));
        }
        Ok(tokens)
    }

    /// What is no token of three parts.
    fn broken_shapes(&self, claims: &Value) -> Result<Vec<(String, String)>> {
        let genuine = self.token(claims)?;
        let parts: Vec<_> = genuine.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            anyhow::bail!("a token has three parts");
        };
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let shapes = [
            ("cut off", format!("{header}.{payload}")),
            ("a header alone", header.to_owned()),
            ("four parts", format!("{genuine}.{signature}")),
            (
                "five parts",
                format!("{header}.{payload}.{signature}.{payload}.{signature}"),
            ),
            ("an empty part before", format!(".{genuine}")),
            ("an empty part after", format!("{genuine}.")),
            ("no header", format!(".{payload}.{signature}")),
            ("no claims", format!("{header}..{signature}")),
            ("dots", "..".to_owned()),
            ("words", "not.a.token".to_owned()),
            ("null", "null".to_owned()),
            ("undefined", "undefined".to_owned()),
            (
                "a header that is no JSON",
                format!("{}.{payload}.{signature}", encode("{alg:ES256}")),
            ),
            (
                "a header that is a list",
                format!("{}.{payload}.{signature}", encode("[\"ES256\"]")),
            ),
            (
                "a header that is a text",
                format!("{}.{payload}.{signature}", encode("\"ES256\"")),
            ),
            (
                "claims that are no JSON",
                format!("{header}.{}.{signature}", encode("{")),
            ),
            (
                "claims that are a list",
                format!("{header}.{}.{signature}", encode("[]")),
            ),
            (
                "claims that are null",
                format!("{header}.{}.{signature}", encode("null")),
            ),
            (
                "a header of 20,000 levels",
                format!("{}.{payload}.{signature}", encode(&"[".repeat(20_000))),
            ),
            ("the user's id", claims["sub"].as_str().unwrap_or_default().to_owned()),
        ];
        let mut tokens: Vec<_> = shapes
            .into_iter()
            .map(|(what, token)| (what.to_owned(), token))
            .collect();
        // Signed by us, as it happens, and still no claims of a user.
        for (what, claims) in [("a list", json!([])), ("nothing", json!({})), ("a text", json!("x"))] {
            tokens.push((format!("{what} for claims, signed"), self.token(&claims)?));
        }
        Ok(tokens)
    }

    fn public_der(&self) -> Vec<u8> {
        // SubjectPublicKeyInfo for a P-256 key, up to the point itself (RFC 5480).
        let mut der = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        der.extend(self.public());
        der
    }

    fn public_pem(&self) -> String {
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64_STANDARD.encode(self.public_der())
        )
    }
}

/// Header and claims as they are signed.
pub(crate) fn signed_part(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}
