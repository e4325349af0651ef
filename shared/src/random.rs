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

/// Half of `millis` to one and a half of it, for jitter; `millis` where there is no randomness, since jitter is no
/// secret.
pub fn jittered(millis: u64) -> u64 {
    let random = bytes::<2>().map_or(u16::MAX / 2, u16::from_le_bytes);
    let share = millis.saturating_mul(u64::from(random)) >> 16;
    (millis / 2).saturating_add(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_half_to_one_and_a_half() {
        for millis in [0_u64, 1, 50, 2_000] {
            let range = millis / 2..=millis.saturating_mul(3) / 2;
            assert!((0..100).all(|_| range.contains(&jittered(millis))), "{millis}");
        }
    }
}
