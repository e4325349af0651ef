//! What a host sends to create a session, parsed into values that cannot be invalid.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;
use shared::{
    call::RequestContext,
    error::Error,
    hash::sha256_hex,
    input::{self, Fields},
    zoom::meeting_settings::Choices,
};
use uuid::Uuid;

/// The host counts as one of them.
const MAX_PEOPLE: u64 = 5;
/// A start may lie this far back: the host's clock, and "now" on a slow connection.
const START_TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// The start of a request with a key may lie this far back, since it may have come before: keys are kept for a week.
const REPEAT_TOLERANCE: TimeDelta = TimeDelta::days(30);
/// No start lies further ahead.
const LONGEST_AHEAD: TimeDelta = TimeDelta::days(5 * 365);

/// Who provides the video call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// A meeting in the host's Zoom account.
    Zoom,
    /// The host's own link.
    External,
}

/// A session that can be created, as far as can be told without the database.
#[derive(Debug, Serialize)]
pub struct NewSession {
    /// 1 to 200 characters.
    pub title: String,
    /// At most 2,000 characters.
    pub description: String,
    /// Not in the past; where a key is given, the database sees to that, unless it knows the key.
    pub scheduled_start: DateTime<Utc>,
    /// IANA name; the database knows which ones there are.
    pub timezone: String,
    /// 30, 45 or 60.
    pub duration_minutes: u64,
    /// 2 to 5, the host included.
    pub max_participants: u64,
    /// Without the host, each once.
    pub participant_ids: Vec<Uuid>,
    /// Zoom unless said otherwise.
    pub provider: Provider,
    /// The host's own link, for an external session only.
    pub join_url: Option<String>,
    /// How the meeting behaves, where that is other than the installation's choice.
    pub settings: Choices,
}

impl NewSession {
    /// Parses a request body. A request with a key may come again when its start is past.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with everything that is wrong.
    pub fn parse(mut fields: Fields, key: Option<&str>, now: DateTime<Utc>) -> Result<Self, Error> {
        let tolerance = key.map_or(START_TOLERANCE, |_| REPEAT_TOLERANCE);
        let title = fields.required("title", input::text(1, 200));
        let description = fields.optional("description", input::long_text(2_000));
        let scheduled_start = fields.required("scheduled_start", |value| start(value, tolerance, now));
        let timezone = fields.optional("timezone", input::text(1, 64));
        let duration_minutes = fields.required("duration_minutes", duration);
        let max_participants = fields.required("max_participants", people);
        let participant_ids = fields.optional("participant_ids", participants);
        let provider = fields.optional("provider", provider).unwrap_or(Provider::Zoom);
        let join_url = match provider {
            Provider::External => fields.required("join_url", input::text(1, 2_000)),
            Provider::Zoom => fields.optional("join_url", |_| {
                Err::<String, _>("is given by Zoom; leave it out".to_owned())
            }),
        };
        let settings = fields.optional("settings", |choices| match provider {
            Provider::Zoom => Choices::read(choices),
            Provider::External => Err("are those of a Zoom meeting; leave them out".to_owned()),
        });
        let participant_ids = participant_ids.unwrap_or_default();
        let invited = u64::try_from(participant_ids.len()).unwrap_or(u64::MAX);
        if max_participants.is_some_and(|most| invited.saturating_add(1) > most) {
            fields.refuse(
                "participant_ids",
                "are more people than max_participants allows, the host included",
            );
        }
        fields.finish()?;
        match (title, scheduled_start, duration_minutes, max_participants) {
            (Some(title), Some(scheduled_start), Some(duration_minutes), Some(max_participants)) => Ok(Self {
                title,
                description: description.unwrap_or_default(),
                scheduled_start,
                timezone: timezone.unwrap_or_else(|| "UTC".to_owned()),
                duration_minutes,
                max_participants,
                participant_ids,
                provider,
                join_url,
                settings: settings.unwrap_or_default(),
            }),
            _ => Err(Error::Internal("a required field was neither parsed nor refused")),
        }
    }

    /// SHA-256 of the parsed request in hexadecimal: two requests with one idempotency key must have the same.
    ///
    /// # Errors
    /// [`Error::Internal`] when it cannot be written as JSON.
    pub fn hash(&self) -> Result<String, Error> {
        let json = serde_json::to_vec(self).map_err(|_| Error::Internal("a session is not JSON"))?;
        Ok(sha256_hex(json))
    }
}

/// The `Idempotency-Key` header: 1 to 255 visible ASCII characters, where it is given.
///
/// # Errors
/// [`Error::InvalidRequest`] for any other.
pub fn idempotency_key<'a>(call: &'a RequestContext<'_>) -> Result<Option<&'a str>, Error> {
    let Some(key) = call.raw_header("idempotency-key") else {
        return Ok(None);
    };
    std::str::from_utf8(key)
        .ok()
        .filter(|key| (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()))
        .map(Some)
        .ok_or_else(|| Error::field("idempotency-key", "must have 1 to 255 visible ASCII characters"))
}

fn start(value: &Value, tolerance: TimeDelta, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let start = input::instant(value)?;
    if now.signed_duration_since(start) > tolerance {
        // The database says the same.
        Err("must not be in the past".to_owned())
    } else if start.signed_duration_since(now) > LONGEST_AHEAD {
        Err("must not be more than five years ahead".to_owned())
    } else {
        Ok(start)
    }
}

fn duration(value: &Value) -> Result<u64, String> {
    match input::whole_number(value)? {
        minutes @ (30 | 45 | 60) => Ok(minutes),
        _ => Err("must be 30, 45 or 60".to_owned()),
    }
}

fn people(value: &Value) -> Result<u64, String> {
    match input::whole_number(value)? {
        people @ 2..=MAX_PEOPLE => Ok(people),
        _ => Err(format!("must be 2 to {MAX_PEOPLE}, the host included")),
    }
}

/// In one order, each once: the same people make the same request.
fn participants(value: &Value) -> Result<Vec<Uuid>, String> {
    let mut ids = Vec::new();
    for id in input::uuids(100)(value)? {
        if let Err(place) = ids.binary_search(&id) {
            ids.insert(place, id);
        }
    }
    Ok(ids)
}

fn provider(value: &Value) -> Result<Provider, String> {
    match value.as_str() {
        Some("zoom") => Ok(Provider::Zoom),
        Some("external") => Ok(Provider::External),
        _ => Err("must be zoom or external".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-03-01T12:00:00Z";

    fn parse(changes: Value) -> Result<NewSession, Vec<String>> {
        parse_with(None, changes)
    }

    fn parse_with(key: Option<&str>, changes: Value) -> Result<NewSession, Vec<String>> {
        let mut body = json!({
            "title": "Check-in", "scheduled_start": "2026-03-02T17:00:00+01:00",
            "duration_minutes": 45, "max_participants": 3,
        });
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        let Value::Object(fields) = body else {
            panic!("an object")
        };
        NewSession::parse(Fields::new(fields), key, NOW.parse().unwrap()).map_err(|error| match error {
            Error::InvalidRequest(fields) => fields.keys().cloned().collect(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_session_needs_little() {
        let session = parse(json!({})).unwrap();
        assert_eq!(session.scheduled_start.to_rfc3339(), "2026-03-02T16:00:00+00:00");
        assert_eq!((session.timezone.as_str(), session.provider), ("UTC", Provider::Zoom));
    }

    #[test]
    fn bad_values_are_named() {
        let ids = |count: u128| (0..count).map(Uuid::from_u128).collect::<Vec<_>>();
        for (changes, field) in [
            (json!({"title": ""}), "title"),
            (json!({"title": "x".repeat(201)}), "title"),
            (json!({"title": null}), "title"),
            (json!({"description": "x".repeat(2_001)}), "description"),
            (json!({"scheduled_start": "2026-03-01T11:54:59Z"}), "scheduled_start"),
            (json!({"scheduled_start": "2099-03-01T11:00:00Z"}), "scheduled_start"),
            (json!({"scheduled_start": "tomorrow"}), "scheduled_start"),
            (json!({"duration_minutes": 31}), "duration_minutes"),
            (json!({"duration_minutes": "45"}), "duration_minutes"),
            (json!({"max_participants": 1}), "max_participants"),
            (json!({"max_participants": 6}), "max_participants"),
            (json!({"participant_ids": ids(3)}), "participant_ids"),
            (json!({"participant_ids": "x"}), "participant_ids"),
            (json!({"provider": "teams"}), "provider"),
            (json!({"provider": "external"}), "join_url"),
            (json!({"join_url": "https://a.example"}), "join_url"),
            (json!({"settings": {"audio": true}}), "settings"),
            (json!({"settings": {"waiting_room": "off"}}), "settings"),
            (
                json!({"settings": {}, "provider": "external", "join_url": "https://a.example"}),
                "settings",
            ),
            (json!({"status": "ended"}), "status"),
        ] {
            assert_eq!(parse(changes.clone()).unwrap_err(), [field], "{changes}");
        }
    }

    #[test]
    fn a_request_with_a_key_may_come_again_when_its_start_is_past() {
        for (start, without, with) in [
            ("2026-03-01T11:55:00Z", true, true),
            ("2026-03-01T11:54:59Z", false, true),
            ("2026-02-22T12:00:00Z", false, true),
            // The database need not understand every year that there was.
            ("2026-01-30T11:59:59Z", false, false),
            ("0000-01-01T00:00:00Z", false, false),
            ("2099-03-01T11:00:00Z", false, false),
        ] {
            for (key, accepted) in [(None, without), (Some("key"), with)] {
                let parsed = parse_with(key, json!({"scheduled_start": start}));
                assert_eq!(parsed.is_ok(), accepted, "{start} {key:?}");
            }
        }
    }

    #[test]
    fn equal_requests_have_equal_hashes() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let hash = |changes| parse(changes).unwrap().hash().unwrap();
        assert_eq!(
            hash(json!({"participant_ids": [one, two]})),
            hash(json!({"participant_ids": [two, one, two]}))
        );
        assert_eq!(
            hash(json!({})),
            hash(json!({"title": " Check-in ", "scheduled_start": "2026-03-02T16:00:00Z"}))
        );
        assert_ne!(hash(json!({})), hash(json!({"title": "Other"})));
    }
}
