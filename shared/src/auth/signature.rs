//! Checking a signature: through WebCrypto at the edge, where pure Rust would take 15 times as long, and natively
//! through `ring`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::jwks::VerifyingKey;

/// Whether `signature` is `key`'s over `message`.
pub async fn is_valid(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    match key {
        VerifyingKey::Hs256 { k } => Hmac::<Sha256>::new_from_slice(k.expose())
            .is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok()),
        VerifyingKey::Es256 { .. } | VerifyingKey::Rs256 { .. } => platform::is_valid(key, message, signature).await,
    }
}

#[cfg(target_arch = "wasm32")]
mod platform {
    use std::cell::RefCell;

    use base64::{engine::general_purpose::URL_SAFE_NO_PAD, Engine};
    use js_sys::{Array, Object, Reflect, Uint8Array};
    use wasm_bindgen::{JsCast, JsValue};
    use wasm_bindgen_futures::JsFuture;
    use web_sys::{Crypto, CryptoKey, SubtleCrypto};

    use super::VerifyingKey;

    /// A key as WebCrypto has it.
    #[derive(Clone)]
    struct Imported {
        subtle: SubtleCrypto,
        algorithm: Object,
        key: CryptoKey,
    }

    thread_local! {
        // Importing takes as long as verifying, and most tokens of an isolate's life are signed with one key.
        static LAST: RefCell<Option<(VerifyingKey, Imported)>> = const { RefCell::new(None) };
    }

    pub async fn is_valid(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
        verify(key, message, signature).await.unwrap_or(false)
    }

    async fn verify(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<bool, JsValue> {
        let last = LAST.with_borrow(|last| Some(last.as_ref().filter(|(of, _)| of == key)?.1.clone()));
        let imported = match last {
            Some(imported) => imported,
            None => {
                let imported = import(key).await?;
                LAST.set(Some((key.clone(), imported.clone())));
                imported
            }
        };
        let answer = imported.subtle.verify_with_object_and_buffer_source_and_buffer_source(
            &imported.algorithm,
            &imported.key,
            &Uint8Array::from(signature),
            &Uint8Array::from(message),
        )?;
        Ok(JsFuture::from(answer).await? == JsValue::TRUE)
    }

    async fn import(key: &VerifyingKey) -> Result<Imported, JsValue> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (jwk, algorithm) = match key {
            VerifyingKey::Es256 { x, y } => (
                object(&[("kty", "EC"), ("crv", "P-256"), ("x", &text(x)), ("y", &text(y))])?,
                object(&[("name", "ECDSA"), ("namedCurve", "P-256"), ("hash", "SHA-256")])?,
            ),
            VerifyingKey::Rs256 { n, e } => (
                object(&[("kty", "RSA"), ("n", &text(n)), ("e", &text(e))])?,
                object(&[("name", "RSASSA-PKCS1-v1_5"), ("hash", "SHA-256")])?,
            ),
            VerifyingKey::Hs256 { .. } => return Err(JsValue::UNDEFINED),
        };
        let crypto: Crypto = Reflect::get(&js_sys::global(), &"crypto".into())?.unchecked_into();
        let subtle = crypto.subtle();
        let usages = Array::of1(&"verify".into());
        let imported = subtle.import_key_with_object("jwk", &jwk, &algorithm, false, &usages)?;
        let key = JsFuture::from(imported).await?.unchecked_into();
        Ok(Imported { subtle, algorithm, key })
    }

    fn object(entries: &[(&str, &str)]) -> Result<Object, JsValue> {
        let object = Object::new();
        for (name, value) in entries {
            Reflect::set(&object, &(*name).into(), &(*value).into())?;
        }
        Ok(object)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use ring::signature::{
        RsaPublicKeyComponents, UnparsedPublicKey, ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256,
    };

    use super::VerifyingKey;

    pub async fn is_valid(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
        match key {
            VerifyingKey::Es256 { x, y } => {
                let point = [&[4], x.as_slice(), y].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .is_ok()
            }
            VerifyingKey::Rs256 { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            VerifyingKey::Hs256 { .. } => false,
        }
    }
}
