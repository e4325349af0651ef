//! Zoom's signature: HMAC-SHA256 over `v0:<timestamp>:<raw body>`, in hexadecimal after `v0=`.
//!
//! See <https://developers.zoom.us/docs/api/webhooks/#verify-webhook-events>.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use shared::{error::Error, hash::hex, secret::Secret};

/// A timestamp may be this far ahead of our clock.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Checks that Zoom signed `body` within the last `max_age`. The body must be the bytes as they came: JSON that was
/// read and written again is another text.
///
/// # Errors
/// [`Error::Unauthorized`].
pub fn check(
    secret: &Secret<String>,
    signature: Option<&str>,
    timestamp: Option<&str>,
    body: &[u8],
    max_age: TimeDelta,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let timestamp = timestamp.ok_or(Error::Unauthorized)?;
    let signature = signature
        .and_then(|signature| signature.strip_prefix("v0="))
        .and_then(decode_hex)
        .ok_or(Error::Unauthorized)?;
    mac(secret, &[b"v0:", timestamp.as_bytes(), b":", body])?
        .verify_slice(&signature)
        .map_err(|_| Error::Unauthorized)?;
    let age = timestamp
        .parse()
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map(|signed_at| now.signed_duration_since(signed_at))
        .ok_or(Error::Unauthorized)?;
    if age > max_age || age < -CLOCK_TOLERANCE {
        return Err(Error::Unauthorized);
    }
    Ok(())
}

/// The answer to `endpoint.url_validation`: the token's HMAC-SHA256 in hexadecimal.
///
/// # Errors
/// [`Error::Misconfigured`] for a secret that is no key.
pub fn sign_token(secret: &Secret<String>, plain_token: &str) -> Result<String, Error> {
    Ok(hex(&mac(secret, &[plain_token.as_bytes()])?.finalize().into_bytes()))
}

fn mac(secret: &Secret<String>, parts: &[&[u8]]) -> Result<Hmac<Sha256>, Error> {
    let mut mac = Hmac::new_from_slice(secret.expose().as_bytes()).map_err(|_| Error::Misconfigured)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac)
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMESTAMP: i64 = 1_700_000_000;
    const BODY: &[u8] = br#"{"event":"meeting.ended","payload":{}}"#;

    fn secret() -> Secret<String> {
        Secret::new("hush".to_owned())
    }

    fn sign(body: &[u8], timestamp: &str) -> String {
        let tag = mac(&secret(), &[b"v0:", timestamp.as_bytes(), b":", body])
            .unwrap()
            .finalize()
            .into_bytes();
        format!("v0={}", hex(&tag))
    }

    fn check_at(signature: &str, timestamp: &str, body: &[u8], seconds_later: i64) -> Result<(), Error> {
        let now = DateTime::from_timestamp(TIMESTAMP.saturating_add(seconds_later), 0).unwrap();
        check(
            &secret(),
            Some(signature),
            Some(timestamp),
            body,
            TimeDelta::hours(2),
            now,
        )
    }

    #[test]
    fn a_genuine_event_passes_within_its_time() {
        let timestamp = TIMESTAMP.to_string();
        let signature = sign(BODY, &timestamp);
        for seconds_later in [0, 7_200, -300] {
            assert_eq!(
                check_at(&signature, &timestamp, BODY, seconds_later),
                Ok(()),
                "{seconds_later}"
            );
        }
        for seconds_later in [7_201, -301] {
            assert!(
                check_at(&signature, &timestamp, BODY, seconds_later).is_err(),
                "{seconds_later}"
            );
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let timestamp = TIMESTAMP.to_string();
        let signature = sign(BODY, &timestamp);
        assert!(check_at(
            &signature,
            &timestamp,
            b"{\"event\":\"meeting.ended\", \"payload\":{}}",
            0
        )
        .is_err());
        assert!(check_at(&signature, "1700000001", BODY, 0).is_err());
        assert!(check_at(&signature[..signature.len() - 1], &timestamp, BODY, 0).is_err());
        assert!(check_at(signature.trim_start_matches("v0="), &timestamp, BODY, 0).is_err());
        for odd in ["", "v0=", "v0=zz", "v1=00", "v0=é"] {
            assert!(check_at(odd, &timestamp, BODY, 0).is_err(), "{odd}");
        }
        assert!(check_at(&sign(BODY, "soon"), "soon", BODY, 0).is_err());
        assert!(check_at(&sign(BODY, "9223372036854775807"), "9223372036854775807", BODY, 0).is_err());
        let now = DateTime::from_timestamp(TIMESTAMP, 0).unwrap();
        assert!(check(&secret(), None, Some(&timestamp), BODY, TimeDelta::hours(2), now).is_err());
        assert!(check(&secret(), Some(&signature), None, BODY, TimeDelta::hours(2), now).is_err());
    }

    #[test]
    fn a_token_is_signed_as_zoom_documents() {
        // `printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac hush`
        assert_eq!(
            sign_token(&secret(), "qgg8vlvZRS6UYooatFL8Aw").unwrap(),
            "36517668f50730dfc6247803d9cc2b23e89a05172ec38cd1797466a23164362a"
        );
    }

    proptest! {
        #[test]
        fn no_header_panics(signature in ".{0,100}", timestamp in ".{0,30}", body in any::<Vec<u8>>()) {
            prop_assert!(check_at(&signature, &timestamp, &body, 0).is_err());
        }
    }
}
