//! Keys and secrets for one stack.

use anyhow::{Context, Result};
use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok().context("random bytes")?;
    Ok(bytes)
}

/// 24 random bytes, as letters, digits, `-` and `_`.
pub(crate) fn random_text() -> Result<String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<24>()?))
}
