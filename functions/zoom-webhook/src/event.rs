//! Zoom's events, reduced to what the database decides on: no more of them is kept.
//!
//! See <https://developers.zoom.us/docs/api/meetings/events/>.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{json, zoom::api::MeetingId};

/// The last millisecond of the year 9999: nothing happens later.
const LATEST_EVENT_MS: i64 = 253_402_300_799_999;
/// A month; Zoom ends meetings after a day or so.
const LONGEST_MEETING_MINUTES: u32 = 31 * 24 * 60;

/// An event as it stands in a webhook's body.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// Its name, such as `meeting.ended`.
    pub event: String,
    /// When it happened, in milliseconds since 1970.
    #[serde(default)]
    pub event_ts: i64,
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
    user_id: String,
    account_id: String,
    deauthorization_time: DateTime<Utc>,
}

#[derive(Deserialize)]
struct MeetingEvent {
    object: Meeting,
}

#[derive(Deserialize)]
struct Meeting {
    /// Text in some events, a number in others.
    id: MeetingId,
    topic: Option<String>,
    start_time: Option<DateTime<Utc>>,
    end_time: Option<DateTime<Utc>>,
    duration: Option<u32>,
    timezone: Option<String>,
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
    /// Nothing: an event that nobody subscribed to.
    Unknown,
}

/// A change in Zoom, as `webhook_receive` takes it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// A meeting was started, ended, updated or deleted.
    Meeting {
        /// The meeting.
        meeting_id: MeetingId,
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

impl Envelope {
    /// What the event asks of us. `None`: it lacks what an event of its name has.
    pub fn into_event(self) -> Option<Event> {
        if !(0..=LATEST_EVENT_MS).contains(&self.event_ts) {
            return None;
        }
        Some(match self.event.as_str() {
            "endpoint.url_validation" => {
                let UrlValidation { plain_token } = json::read(self.payload)?;
                Event::UrlValidation { plain_token }
            }
            "meeting.started" | "meeting.ended" | "meeting.updated" | "meeting.deleted" => {
                let MeetingEvent { object: meeting } = json::read(self.payload)?;
                Event::Change(Change::Meeting {
                    meeting_id: meeting.id,
                    topic: meeting.topic.map(|topic| topic.replace('\0', "")),
                    start_time: meeting.start_time,
                    end_time: meeting.end_time,
                    duration: meeting.duration.filter(|minutes| *minutes <= LONGEST_MEETING_MINUTES),
                    timezone: meeting.timezone.map(|timezone| timezone.replace('\0', "")),
                })
            }
            "app_deauthorized" => {
                let payload: Deauthorization = json::read(self.payload)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(body: &serde_json::Value) -> Option<Event> {
        json::read::<Envelope>(body.clone())?.into_event()
    }

    #[test]
    fn a_meeting_number_may_be_text_or_a_number() {
        for id in [json!("9007199254740993"), json!(9_007_199_254_740_993_u64)] {
            let body = json!({"event": "meeting.deleted", "event_ts": 1, "payload": {"account_id": "a", "object": {"id": id, "uuid": "u"}}});
            let Some(Event::Change(change)) = event(&body) else {
                panic!("must be a change")
            };
            assert_eq!(
                serde_json::to_value(change).unwrap(),
                json!({"meeting_id": "9007199254740993"})
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
            json!({"event": "app_deauthorized", "payload": {"user_id": "u", "account_id": "a"}}),
            json!({"event": "endpoint.url_validation", "payload": {}}),
            json!({"payload": {}}),
        ] {
            assert_eq!(event(&body), None, "{body}");
        }
    }

    #[test]
    fn what_the_database_cannot_hold_never_gets_there() {
        let meeting = |event_ts: i64| {
            json!({"event": "meeting.updated", "event_ts": event_ts, "payload": {"object": {
                "id": "1", "topic": "a\0b", "timezone": "\0", "duration": u32::MAX,
            }}})
        };
        for event_ts in [-1, i64::MIN, i64::MAX, 253_402_300_800_000] {
            assert_eq!(event(&meeting(event_ts)), None, "{event_ts}");
        }
        let Some(Event::Change(change)) = event(&meeting(1)) else {
            panic!("must be a change")
        };
        assert_eq!(
            serde_json::to_value(change).unwrap(),
            json!({"meeting_id": "1", "topic": "ab", "timezone": ""})
        );
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
                let _ = envelope.into_event();
            }
        }
    }
}
