//! Zoom's events, reduced to what the database decides on: no more of them is kept. Each field is read for itself: one
//! that makes no sense is left out, and the rest counts.
//!
//! See <https://developers.zoom.us/docs/api/meetings/events/>.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{json, time, zoom::api::MeetingId};

/// Zoom says the year 1 of meetings without a fixed time.
const SENSIBLE_YEARS: RangeInclusive<i32> = 2000..=2100;
/// No field that is kept is longer.
const LONGEST_TEXT: usize = 2_000;
/// A month; Zoom ends meetings after a day or so.
const LONGEST_MEETING_MINUTES: u32 = 31 * 24 * 60;

/// An event as it stands in a webhook's body.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// Its name, such as `meeting.ended`.
    pub event: String,
    /// When it happened, in milliseconds since 1970.
    #[serde(default)]
    event_ts: Value,
    /// What it is about. Each kind of event has a form of its own.
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UrlValidation {
    plain_token: String,
}

#[derive(Deserialize)]
struct Deauthorization {
    client_id: String,
    user_id: String,
    account_id: String,
    #[serde(deserialize_with = "json::instant")]
    deauthorization_time: DateTime<Utc>,
}

/// What an event asks of us.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Zoom checks that this address is ours, every 72 hours.
    UrlValidation {
        /// To be signed and sent back.
        plain_token: String,
    },
    /// Something that the database has to know.
    Change(Change),
    /// Nothing: an event that nobody subscribed to, or another app's.
    Unknown,
}

/// A change in Zoom, as `edge_webhook_receive` takes it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// A meeting was started, ended, updated, deleted or recovered.
    Meeting {
        /// The meeting.
        meeting_id: MeetingId,
        /// Which of the times that the meeting is held.
        #[serde(skip_serializing_if = "Option::is_none")]
        uuid: Option<String>,
        /// The Zoom account that the event comes from.
        #[serde(skip_serializing_if = "Option::is_none")]
        account_id: Option<String>,
        /// New title, in an update.
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        /// New start in an update, actual start in `meeting.started`.
        #[serde(skip_serializing_if = "Option::is_none")]
        start_time: Option<DateTime<Utc>>,
        /// When it ended.
        #[serde(skip_serializing_if = "Option::is_none")]
        end_time: Option<DateTime<Utc>>,
        /// New length in minutes, in an update.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration: Option<u32>,
        /// New time zone, in an update.
        #[serde(skip_serializing_if = "Option::is_none")]
        timezone: Option<String>,
        /// There: passcode or settings were changed, and the link with them, which no event carries.
        #[serde(skip_serializing_if = "Option::is_none")]
        changes_link: Option<ChangesLink>,
    },
    /// A Zoom user removed the app: the connection and its data have to go.
    Deauthorization {
        /// The user.
        zoom_user_id: String,
        /// The user's account.
        zoom_account_id: String,
        /// When; a connection made later is another one.
        deauthorization_time: DateTime<Utc>,
    },
}

/// That an update changes the link, or how the meeting behaves.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ChangesLink {}

impl Envelope {
    /// When it happened, in milliseconds since 1970; `now` where the event does not say so, or nothing that makes
    /// sense.
    pub fn happened_at(&self, now: DateTime<Utc>) -> i64 {
        let told = self.event_ts.as_i64().and_then(DateTime::from_timestamp_millis);
        told.filter(is_sensible).unwrap_or(now).timestamp_millis()
    }

    /// What the event asks of us, the app with this client id. `None`: it lacks what nothing can be done without.
    pub fn into_event(self, client_id: &str) -> Option<Event> {
        Some(match self.event.as_str() {
            "endpoint.url_validation" => {
                let UrlValidation { plain_token } = json::read(self.payload)?;
                Event::UrlValidation { plain_token }
            }
            "meeting.started" | "meeting.ended" => Event::Change(meeting(&self.payload)?),
            "meeting.updated" | "meeting.deleted" | "meeting.recovered" | "meeting.permanently_deleted" => {
                let change = meeting(&self.payload)?;
                // One occurrence of a recurring meeting: the meeting itself stays as it is.
                let of_occurrence = self.payload.pointer("/object/occurrences").and_then(Value::as_array);
                if of_occurrence.is_some_and(|occurrences| !occurrences.is_empty()) {
                    Event::Unknown
                } else {
                    Event::Change(change)
                }
            }
            "app_deauthorized" => {
                let payload: Deauthorization = json::read(self.payload)?;
                if payload.client_id != client_id {
                    return Some(Event::Unknown);
                }
                Event::Change(Change::Deauthorization {
                    zoom_user_id: payload.user_id,
                    zoom_account_id: payload.account_id,
                    deauthorization_time: payload.deauthorization_time,
                })
            }
            _ => Event::Unknown,
        })
    }
}

fn meeting(payload: &Value) -> Option<Change> {
    let object = payload.get("object")?;
    let time = |name| time::parse(object.get(name)?.as_str()?).filter(is_sensible);
    let minutes = || u32::try_from(object.get("duration")?.as_u64()?).ok();
    Some(Change::Meeting {
        meeting_id: MeetingId::parse(&match object.get("id")? {
            // Text in some events, a number in others.
            Value::String(id) => id.clone(),
            id => id.to_string(),
        })?,
        uuid: text(object, "uuid"),
        account_id: text(payload, "account_id"),
        topic: text(object, "topic"),
        start_time: time("start_time"),
        end_time: time("end_time"),
        duration: minutes().filter(|minutes| *minutes <= LONGEST_MEETING_MINUTES),
        timezone: text(object, "timezone"),
        changes_link: ["password", "settings"]
            .iter()
            .any(|name| object.get(name).is_some())
            .then_some(ChangesLink {}),
    })
}

/// Text that the database can hold.
fn text(object: &Value, name: &str) -> Option<String> {
    let text = object.get(name)?.as_str()?.replace('\0', "");
    (!text.is_empty() && text.len() <= LONGEST_TEXT).then_some(text)
}

fn is_sensible(time: &DateTime<Utc>) -> bool {
    SENSIBLE_YEARS.contains(&time.year())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(body: &serde_json::Value) -> Option<Event> {
        json::read::<Envelope>(body.clone())?.into_event("c")
    }

    #[test]
    fn a_meeting_number_may_be_text_or_a_number() {
        for id in [json!("9007199254740993"), json!(9_007_199_254_740_993_u64)] {
            let payload = json!({"account_id": "a", "object": {"id": id, "uuid": "u"}});
            let body = json!({"event": "meeting.deleted", "event_ts": 1, "payload": payload});
            let Some(Event::Change(change)) = event(&body) else {
                panic!("must be a change")
            };
            assert_eq!(
                serde_json::to_value(change).unwrap(),
                json!({"meeting_id": "9007199254740993", "uuid": "u", "account_id": "a"})
            );
        }
    }

    #[test]
    fn a_deauthorization_names_the_user() {
        let body = json!({"event": "app_deauthorized", "event_ts": 1, "payload": {
            "account_id": "a", "user_id": "u", "client_id": "c", "signature": "s",
            "deauthorization_time": "2026-03-01T12:00:00Z",
        }});
        let Some(Event::Change(change)) = event(&body) else {
            panic!("must be a change")
        };
        assert_eq!(
            serde_json::to_value(change).unwrap(),
            json!({"zoom_user_id": "u", "zoom_account_id": "a", "deauthorization_time": "2026-03-01T12:00:00Z"})
        );
    }

    #[test]
    fn what_is_not_complete_is_no_event() {
        for body in [
            json!({"event": "meeting.started", "payload": {}}),
            json!({"event": "meeting.started", "payload": {"object": {"id": "../x"}}}),
            json!({"event": "app_deauthorized", "payload": {"client_id": "c", "user_id": "u", "account_id": "a"}}),
            json!({"event": "endpoint.url_validation", "payload": {}}),
            json!({"payload": {}}),
        ] {
            assert_eq!(event(&body), None, "{body}");
        }
    }

    #[test]
    fn a_field_that_makes_no_sense_is_left_out_and_the_rest_counts() {
        let change = |object: serde_json::Value| {
            let body = json!({"event": "meeting.updated", "payload": {"account_id": 7, "object": object}});
            match event(&body) {
                Some(Event::Change(change)) => serde_json::to_value(change).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            change(json!({"id": "1", "topic": "a\0b", "timezone": "\0", "duration": u32::MAX})),
            json!({"meeting_id": "1", "topic": "ab"})
        );
        let times = [
            json!(""),
            json!("soon"),
            json!(null),
            json!(7),
            json!({}),
            json!("0001-01-01T00:00:00Z"),
            json!("9999-12-31T23:59:59Z"),
            json!("2026-03-01T12:00:00"),
            json!("2026-02-30T12:00:00Z"),
        ];
        for time in times {
            assert_eq!(
                change(json!({"id": 1, "topic": "t", "start_time": time, "end_time": time})),
                json!({"meeting_id": "1", "topic": "t"}),
                "{time}"
            );
        }
        for odd in [
            json!(-1),
            json!("30"),
            json!(30.5),
            json!([]),
            json!(null),
            json!(1e300),
        ] {
            assert_eq!(
                change(json!({"id": 1, "uuid": odd, "topic": [odd], "timezone": {"a": odd}, "duration": odd})),
                if odd == "30" {
                    json!({"meeting_id": "1", "uuid": "30"})
                } else {
                    json!({"meeting_id": "1"})
                },
                "{odd}"
            );
        }
        assert_eq!(
            change(json!({"id": 1, "topic": "x".repeat(2_001)})),
            json!({"meeting_id": "1"})
        );
    }

    #[test]
    fn an_event_without_a_sensible_time_happens_now() {
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let at = |event_ts: serde_json::Value| {
            let body = json!({"event": "meeting.started", "event_ts": event_ts, "payload": {}});
            json::read::<Envelope>(body).unwrap().happened_at(now)
        };
        assert_eq!(at(json!(1_764_000_000_000_i64)), 1_764_000_000_000);
        for odd in [
            json!(null),
            json!(0),
            json!(-1),
            json!(i64::MIN),
            json!(u64::MAX),
            json!("x"),
            json!(253_402_300_799_999_i64),
        ] {
            assert_eq!(at(odd.clone()), now.timestamp_millis(), "{odd}");
        }
        let missing = json::read::<Envelope>(json!({"event": "meeting.started"})).unwrap();
        assert_eq!(missing.happened_at(now), now.timestamp_millis());
    }

    #[test]
    fn an_occurrence_changes_nothing() {
        for name in ["meeting.updated", "meeting.deleted"] {
            let body = |occurrences: serde_json::Value| {
                let object = json!({"id": 1, "occurrences": occurrences});
                json!({"event": name, "payload": {"operation": "single", "object": object}})
            };
            assert_eq!(event(&body(json!([{"occurrence_id": "1"}]))), Some(Event::Unknown));
            for none in [json!([]), json!(null), json!("x")] {
                assert!(matches!(event(&body(none)), Some(Event::Change(_))));
            }
        }
    }

    #[test]
    fn what_nobody_subscribed_to_may_look_like_anything() {
        for payload in [
            json!({"object": {"id": "KDcuGIm1QgePTO8WbOqwIQ"}}),
            json!({"object": []}),
            json!(null),
        ] {
            let body = json!({"event": "user.created", "payload": payload});
            assert_eq!(event(&body), Some(Event::Unknown), "{body}");
        }
        assert_eq!(event(&json!({"event": "user.created"})), Some(Event::Unknown));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in ".{0,300}") {
            if let Some(envelope) = json::parse::<Envelope>(body.as_bytes()) {
                let _ = envelope.into_event("c");
            }
        }
    }
}
