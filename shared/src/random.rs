//! Randomness from the platform's strong source.

use base64::{engine::general_purpose::URL_SAFE_NO_PAD, Engine};

use crate::error::Error;

/// `N` bytes from the platform's strong source.
///
/// # Errors
/// [`Error::Internal`] when the platform has none.
pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::Internal("no source of randomness"))?;
    Ok(bytes)
}

/// A new 256-bit token as base64url text (43 characters): an OAuth state, a PKCE code verifier.
///
/// # Errors
/// As [`bytes()`].
pub fn token() -> Result<String, Error> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

/// A random fraction in `0.0..1.0`, for jitter; 0.5 where there is no randomness, since jitter is no secret.
pub fn fraction() -> f64 {
    bytes::<4>().map_or(0.5, |b| f64::from(u32::from_le_bytes(b)) / 4_294_967_296.0)
}
