//! Secrets at rest: AES-256-GCM, bound to the row and column they stand in.
//!
//! A sealed value is the text `v1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>` with a random 96-bit nonce. The
//! additional data is table, user and column, so a value copied into another row or column does not open. The first
//! key of `TOKEN_ENCRYPTION_KEYS` seals, all of them open, which is what lets keys rotate while they are in use.
//! Handles of pending connections are made with the first key, too; they live for ten minutes.

use aes_gcm::{
    aead::{Aead, KeyInit, Payload},
    Aes256Gcm, Nonce,
};
use base64::{
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    Engine,
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::{error::Error, random, secret::Secret};

const NONCE_BYTES: usize = 12;

/// The place that a sealed value belongs to.
#[derive(Debug, Clone, Copy)]
pub struct SealContext {
    /// The table.
    pub table: &'static str,
    /// The user whose row it is.
    pub user_id: Uuid,
    /// The column.
    pub column: &'static str,
}

impl SealContext {
    fn additional_data(&self) -> String {
        format!("{}/{}/{}", self.table, self.user_id, self.column)
    }
}

/// The keys of `TOKEN_ENCRYPTION_KEYS`, at least one.
#[derive(Debug)]
pub struct SealingKeys {
    first: SealingKey,
    others: Vec<SealingKey>,
}

#[derive(Debug)]
struct SealingKey {
    id: String,
    key: Secret<[u8; 32]>,
}

impl SealingKeys {
    /// Parses `id:base64,…`: ids of letters, digits, `_` and `-`, keys of 32 bytes.
    ///
    /// # Errors
    /// What is wrong, without any of the value.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut keys = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let key = SealingKey::parse(entry)?;
            if keys.iter().any(|other: &SealingKey| other.id == key.id) {
                return Err("names the same key id twice");
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        Ok(Self {
            first: keys.next().ok_or("is missing")?,
            others: keys.collect(),
        })
    }

    /// Seals a secret with the first key.
    ///
    /// # Errors
    /// [`Error::Internal`] when the platform gives no randomness.
    pub fn seal(&self, place: SealContext, secret: &Secret<String>) -> Result<String, Error> {
        let nonce = random::bytes::<NONCE_BYTES>()?;
        let ciphertext = self
            .first
            .cipher()
            .encrypt(
                &Nonce::from(nonce),
                Payload {
                    msg: secret.expose().as_bytes(),
                    aad: place.additional_data().as_bytes(),
                },
            )
            .map_err(|_| Error::Internal("sealing failed"))?;
        let sealed = [nonce.as_slice(), &ciphertext].concat();
        Ok(format!("v1.{}.{}", self.first.id, URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens a sealed value with the key that it names.
    ///
    /// # Errors
    /// [`Error::Internal`] when the key is not configured, or the value was changed or belongs to another place.
    pub fn open(&self, place: SealContext, sealed: &str) -> Result<Secret<String>, Error> {
        let (id, encoded) = sealed
            .strip_prefix("v1.")
            .and_then(|rest| rest.split_once('.'))
            .ok_or(Error::Internal("a sealed value is malformed"))?;
        let key = std::iter::once(&self.first)
            .chain(&self.others)
            .find(|key| key.id == id)
            .ok_or(Error::Internal("a value is sealed with a key that is not configured"))?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| Error::Internal("a sealed value is malformed"))?;
        let (nonce, ciphertext) = bytes
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(Error::Internal("a sealed value is malformed"))?;
        let opened = key
            .cipher()
            .decrypt(
                &Nonce::from(*nonce),
                Payload {
                    msg: ciphertext,
                    aad: place.additional_data().as_bytes(),
                },
            )
            .map_err(|_| Error::Internal("a sealed value does not open"))?;
        String::from_utf8(opened)
            .map(Secret::new)
            .map_err(|_| Error::Internal("a sealed value is malformed"))
    }

    /// A text that only the holder of the first key can make from these parts: HMAC-SHA256 in base64url, of a key made
    /// for this purpose alone. Parts are told apart by their lengths.
    ///
    /// # Errors
    /// [`Error::Internal`] for a key that HMAC does not take, which it does at any length.
    pub fn authenticate(&self, purpose: &str, parts: &[&str]) -> Result<String, Error> {
        let keyed = |key: &[u8]| {
            Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::Internal("HMAC does not take a sealing key"))
        };
        let mut derived = keyed(self.first.key.expose())?;
        derived.update(purpose.as_bytes());
        let mut mac = keyed(&derived.finalize().into_bytes())?;
        for part in parts {
            mac.update(format!("{}:", part.len()).as_bytes());
            mac.update(part.as_bytes());
        }
        Ok(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// The id of the key that seals.
    pub fn first_id(&self) -> &str {
        &self.first.id
    }
}

impl SealingKey {
    fn parse(entry: &str) -> Result<Self, &'static str> {
        const PROBLEM: &str = "is not a list of id:base64 with keys of 32 bytes";
        let (id, encoded) = entry.split_once(':').ok_or(PROBLEM)?;
        let named =
            !id.is_empty() && id.len() <= 32 && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let key: Option<[u8; 32]> = STANDARD.decode(encoded).ok().and_then(|key| key.try_into().ok());
        match (named, key) {
            (true, Some(key)) => Ok(Self {
                id: id.to_owned(),
                key: Secret::new(key),
            }),
            _ => Err(PROBLEM),
        }
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.key.expose().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "k2:HxwdHhscGRoXGBUWExQREg8QDQ4LDAkKBwgFBgMEAQI=";

    fn place(column: &'static str, user: u128) -> SealContext {
        SealContext {
            table: "user_integrations_zoom",
            user_id: Uuid::from_u128(user),
            column,
        }
    }

    #[test]
    fn a_value_opens_in_its_own_place_only() {
        let keys = SealingKeys::parse(OLD).unwrap();
        let sealed = keys
            .seal(place("access_token", 1), &Secret::new("token".to_owned()))
            .unwrap();
        assert!(sealed.starts_with("v1.k1."));
        assert!(!sealed.contains("token"));
        assert_eq!(keys.open(place("access_token", 1), &sealed).unwrap().expose(), "token");
        assert!(keys.open(place("refresh_token", 1), &sealed).is_err());
        assert!(keys.open(place("access_token", 2), &sealed).is_err());
    }

    #[test]
    fn the_same_secret_never_seals_to_the_same_text() {
        let keys = SealingKeys::parse(OLD).unwrap();
        let secret = Secret::new("token".to_owned());
        let place = place("access_token", 1);
        assert_ne!(keys.seal(place, &secret).unwrap(), keys.seal(place, &secret).unwrap());
    }

    #[test]
    fn what_is_authenticated_depends_on_key_purpose_and_parts() {
        let (old, new) = (SealingKeys::parse(OLD).unwrap(), SealingKeys::parse(NEW).unwrap());
        let texts = [
            old.authenticate("a", &["b", "c"]),
            new.authenticate("a", &["b", "c"]),
            old.authenticate("b", &["b", "c"]),
            old.authenticate("a", &["c", "b"]),
            old.authenticate("a", &["bc", ""]),
            old.authenticate("a", &["bc"]),
        ];
        let different: std::collections::BTreeSet<_> = texts.iter().map(|text| text.clone().unwrap()).collect();
        assert_eq!(different.len(), texts.len());
        assert!(different.iter().all(|text| text.len() == 43));
        assert_eq!(old.authenticate("a", &["b", "c"]), texts[0]);
    }

    #[test]
    fn keys_rotate_while_in_use() {
        let place = place("refresh_token", 1);
        let old = SealingKeys::parse(OLD).unwrap();
        let sealed = old.seal(place, &Secret::new("token".to_owned())).unwrap();

        let both = SealingKeys::parse(&format!("{NEW}, {OLD}")).unwrap();
        let resealed = both.seal(place, &both.open(place, &sealed).unwrap()).unwrap();
        assert_eq!(both.first_id(), "k2");
        assert!(resealed.starts_with("v1.k2."));

        let new = SealingKeys::parse(NEW).unwrap();
        assert_eq!(new.open(place, &resealed).unwrap().expose(), "token");
        assert_eq!(
            new.open(place, &sealed).unwrap_err(),
            Error::Internal("a value is sealed with a key that is not configured")
        );
    }

    #[test]
    fn malformed_keys_are_refused() {
        let short = "k1:AAEC";
        let no_id = ":AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let twice = format!("{OLD},{OLD}");
        for bad in [
            "",
            ",",
            "k1",
            short,
            no_id,
            "k.1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            &twice,
        ] {
            assert!(SealingKeys::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_what_was_sealed_opens(text in ".{0,200}", at in 0usize..1000, flip in 1u8..) {
            let keys = SealingKeys::parse(OLD).unwrap();
            let place = place("access_token", 1);
            prop_assert!(keys.open(place, &text).is_err());
            let sealed = keys.seal(place, &Secret::new(text.clone())).unwrap();
            let opened = keys.open(place, &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &text);

            let (head, encoded) = sealed.rsplit_once('.').unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(encoded).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let changed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(bytes));
            prop_assert!(keys.open(place, &changed).is_err());
        }
    }
}
