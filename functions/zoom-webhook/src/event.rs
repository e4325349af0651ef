//! Zoom's events, reduced to what the database decides on: no more of them is kept.
//!
//! See <https://developers.zoom.us/docs/api/meetings/events/>.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::zoom::api::MeetingId;

/// An event as it stands in a webhook's body.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// Its name, such as `meeting.ended`.
    pub event: String,
    /// When it happened, in milliseconds since 1970.
    #[serde(default)]
    pub event_ts: i64,
    /// What it is about.
    #[serde(default)]
    payload: Payload,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    plain_token: Option<String>,
    #[serde(rename = "user_id")]
    user_id: Option<String>,
    #[serde(rename = "account_id")]
    account_id: Option<String>,
    #[serde(rename = "deauthorization_time")]
    deauthorization_time: Option<DateTime<Utc>>,
    object: Option<MeetingObject>,
}

#[derive(Debug, Deserialize)]
struct MeetingObject {
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
        let payload = self.payload;
        match self.event.as_str() {
            "endpoint.url_validation" => Some(Event::UrlValidation {
                plain_token: payload.plain_token?,
            }),
            "meeting.started" | "meeting.ended" | "meeting.updated" | "meeting.deleted" => {
                let meeting = payload.object?;
                Some(Event::Change(Change::Meeting {
                    meeting_id: meeting.id,
                    topic: meeting.topic,
                    start_time: meeting.start_time,
                    end_time: meeting.end_time,
                    duration: meeting.duration,
                    timezone: meeting.timezone,
                }))
            }
            "app_deauthorized" => Some(Event::Change(Change::Deauthorization {
                zoom_user_id: payload.user_id?,
                zoom_account_id: payload.account_id?,
                deauthorization_time: payload.deauthorization_time?,
            })),
            _ => Some(Event::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(body: &serde_json::Value) -> Option<Event> {
        serde_json::from_value::<Envelope>(body.clone()).ok()?.into_event()
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
        assert_eq!(
            event(&json!({"event": "user.created", "payload": {"object": {"id": "1"}}})),
            Some(Event::Unknown)
        );
    }

    proptest! {
        #[test]
        fn no_body_panics(body in ".{0,300}") {
            if let Ok(envelope) = serde_json::from_str::<Envelope>(&body) {
                let _ = envelope.into_event();
            }
        }
    }
}
