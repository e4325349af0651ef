//! Zoom's API: requests about meetings and users, and what their answers hold.
//!
//! See <https://developers.zoom.us/docs/api/>.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{json, Map, Value};
use uuid::Uuid;

use super::{
    api_failure::{classify, ApiFailure},
    meeting_settings::{self, MeetingSettings},
    Zoom,
};
use crate::{json, secret::Secret, time::now};

/// Zoom counts a topic's length as Java does.
const MAX_TOPIC_UTF16: usize = 200;
const MAX_AGENDA_UTF16: usize = 2_000;

/// A meeting's number. Zoom sends it as a number or as text, and it may pass 2^53: it is kept as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeetingId(String);

impl MeetingId {
    /// A meeting number as text: digits only, since it becomes part of an address.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for MeetingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MeetingId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a meeting number"))
    }
}

/// A meeting as Zoom answers it, as far as we keep it.
#[derive(Debug, Clone, Deserialize)]
pub struct Meeting {
    /// Its number.
    pub id: MeetingId,
    /// Of the instance that goes on, or else of the next one.
    pub uuid: Option<String>,
    /// The link for participants; carries the passcode.
    pub join_url: String,
    /// The link that makes its holder the host. Good for two hours.
    pub start_url: Secret<String>,
    /// The passcode, where there is one.
    #[serde(rename = "password")]
    pub passcode: Option<String>,
    /// The time zone that Zoom took, where it says so.
    pub timezone: Option<String>,
    /// What the settings came to: all that Zoom says of them.
    #[serde(default)]
    pub settings: Value,
}

impl Meeting {
    /// The meeting as the database takes it. Carries the start URL.
    pub fn to_record(&self) -> Value {
        json!({
            "id": self.id, "uuid": self.uuid, "join_url": self.join_url, "passcode": self.passcode,
            "start_url": self.start_url.expose(), "timezone": self.timezone,
            "settings": meeting_settings::shown(&self.settings),
        })
    }
}

/// One page of a host's meetings.
#[derive(Debug, Clone, Deserialize)]
pub struct MeetingPage {
    /// The meetings. An answer without them is none: that nothing is there has to be said.
    pub meetings: Vec<ListedMeeting>,
    /// Where the next page begins; empty on the last one.
    #[serde(default)]
    pub next_page_token: PageToken,
}

/// A meeting as lists show it.
#[derive(Debug, Clone, Deserialize)]
pub struct ListedMeeting {
    /// Its number.
    pub id: MeetingId,
    /// Cut to 250 characters.
    #[serde(default)]
    pub agenda: String,
}

/// Where a page of a list begins; empty for the first. Kept as it goes into an address.
#[derive(Debug, Clone, Default)]
pub struct PageToken(String);

impl PageToken {
    /// Whether there is no further page.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for PageToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(text.bytes().map(|byte| format!("%{byte:02X}")).collect()))
    }
}

/// The Zoom user behind a connection.
#[derive(Debug, Clone, Deserialize)]
pub struct ZoomUser {
    /// The user's id; deauthorization events name the user by it.
    pub id: String,
    /// The account's id.
    pub account_id: String,
    /// Shown to the host, if Zoom tells it.
    pub email: Option<String>,
}

/// One request to the API.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    /// For the log.
    pub what: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Path below the API's base.
    pub path: String,
    /// JSON body.
    pub body: Option<Value>,
    /// Not to be sent after this instant: by then somebody else may have drawn conclusions from its absence.
    pub not_after: Option<DateTime<Utc>>,
}

/// What a session wants its meeting to be. Zoom is told what is there, and keeps the rest.
#[derive(Debug, Clone, Default)]
pub struct MeetingDetails<'a> {
    /// Title.
    pub topic: Option<&'a str>,
    /// More text; may be empty.
    pub description: Option<&'a str>,
    /// Start.
    pub start: Option<DateTime<Utc>>,
    /// Planned length in minutes.
    pub duration_minutes: Option<u64>,
    /// A name that Zoom knows; what its own pages and invitations show.
    pub timezone: Option<&'a str>,
}

impl ApiRequest {
    /// `POST /users/me/meetings`. `marker` stands at the start of the agenda, so that a meeting whose answer was lost
    /// can be found in the host's list. `not_after`: see [`ApiRequest::not_after`].
    pub fn create_meeting(
        details: &MeetingDetails<'_>,
        settings: &MeetingSettings,
        marker: Uuid,
        not_after: DateTime<Utc>,
    ) -> Self {
        let mut body = details.body(marker);
        body.insert("type".to_owned(), json!(2));
        body.insert("settings".to_owned(), settings.to_zoom());
        Self {
            what: "create_meeting",
            method: Method::POST,
            path: "/users/me/meetings".to_owned(),
            body: Some(body.into()),
            not_after: Some(not_after),
        }
    }

    /// `PATCH /meetings/{id}`.
    pub fn update_meeting(id: &MeetingId, details: &MeetingDetails<'_>, marker: Uuid) -> Self {
        Self {
            what: "update_meeting",
            method: Method::PATCH,
            path: format!("/meetings/{id}"),
            body: Some(details.body(marker).into()),
            not_after: None,
        }
    }

    /// `GET /users/me/meetings`: one page of the host's scheduled meetings.
    pub fn list_meetings(page: &PageToken) -> Self {
        Self {
            what: "list_meetings",
            method: Method::GET,
            path: format!(
                "/users/me/meetings?type=scheduled&page_size=300&next_page_token={}",
                page.0
            ),
            body: None,
            not_after: None,
        }
    }

    /// `GET /meetings/{id}`: carries a fresh start URL.
    pub fn get_meeting(id: &MeetingId) -> Self {
        Self {
            what: "get_meeting",
            method: Method::GET,
            path: format!("/meetings/{id}"),
            body: None,
            not_after: None,
        }
    }

    /// `PUT /meetings/{id}/status`: ends a meeting that goes on, where the scope for it was granted.
    pub fn end_meeting(id: &MeetingId) -> Self {
        Self {
            what: "end_meeting",
            method: Method::PUT,
            path: format!("/meetings/{id}/status"),
            body: Some(json!({"action": "end"})),
            not_after: None,
        }
    }

    /// `DELETE /meetings/{id}`.
    pub fn delete_meeting(id: &MeetingId) -> Self {
        Self {
            what: "delete_meeting",
            method: Method::DELETE,
            path: format!("/meetings/{id}"),
            body: None,
            not_after: None,
        }
    }
}

impl MeetingDetails<'_> {
    fn body(&self, marker: Uuid) -> Map<String, Value> {
        let details = [
            ("topic", self.topic.map(|topic| json!(cut(topic, MAX_TOPIC_UTF16)))),
            (
                "start_time",
                self.start
                    .map(|start| json!(start.to_rfc3339_opts(SecondsFormat::Secs, true))),
            ),
            ("duration", self.duration_minutes.map(Value::from)),
            ("timezone", self.timezone.map(Value::from)),
            (
                "agenda",
                self.description.map(|description| json!(agenda(marker, description))),
            ),
        ];
        let mut body = Map::new();
        for (name, value) in details {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        }
        body
    }
}

/// The agenda: the marker first, since lists cut agendas to 250 characters.
fn agenda(marker: Uuid, description: &str) -> String {
    cut(format!("{marker}\n{description}").trim_end(), MAX_AGENDA_UTF16)
}

/// The longest beginning of at most `max` UTF-16 units.
fn cut(text: &str, max: usize) -> String {
    let mut units = 0_usize;
    text.chars()
        .take_while(|c| {
            units = units.saturating_add(c.len_utf16());
            units <= max
        })
        .collect()
}

/// Reads a meeting out of an answer.
///
/// # Errors
/// [`ApiFailure::Unclear`] when it is none, as when its body was cut.
pub fn read_meeting(body: &[u8]) -> Result<Meeting, ApiFailure> {
    json::parse(body).ok_or(ApiFailure::Unclear)
}

/// Reads a page of meetings out of an answer.
///
/// # Errors
/// [`ApiFailure::Unclear`] when it is none.
pub fn read_page(body: &[u8]) -> Result<MeetingPage, ApiFailure> {
    json::parse(body).ok_or(ApiFailure::Unclear)
}

impl Zoom<'_> {
    /// `GET /users/me` with a token that is not saved yet: who has just connected.
    ///
    /// # Errors
    /// [`ApiFailure`].
    pub async fn me(&self, access_token: &Secret<String>) -> Result<ZoomUser, ApiFailure> {
        let request = self
            .client
            .get(format!("{}/users/me", self.app.api_url))
            .bearer_auth(access_token.expose());
        let body = classify(self.send("users_me", request).await, now())?;
        json::parse(&body).ok_or(ApiFailure::Unclear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meeting_number_is_kept_as_text() {
        let meeting = |id: &str| {
            read_meeting(format!(r#"{{"id":{id},"join_url":"j","start_url":"s","password":"p"}}"#).as_bytes())
                .map(|meeting| meeting.id.to_string())
        };
        assert_eq!(meeting("9007199254740993"), Ok("9007199254740993".to_owned()));
        assert_eq!(meeting("\"85746065\""), Ok("85746065".to_owned()));
        for bad in ["1.5", "-1", "\"../users/me\"", "null", "\"\""] {
            assert!(meeting(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_says_what_it_holds() {
        assert!(read_page(br#"{"meetings":[]}"#).unwrap().next_page_token.is_empty());
        for none in ["", "{}", r#"{"meetings":[{"id":1}"#, r#"{"next_page_token":""}"#] {
            assert_eq!(read_page(none.as_bytes()).err(), Some(ApiFailure::Unclear), "{none}");
        }
    }

    #[test]
    fn the_marker_stands_first_and_nothing_is_too_long() {
        let details = MeetingDetails {
            topic: Some(&"🧘".repeat(200)),
            description: Some(&"x".repeat(2_000)),
            start: Some("2026-03-01T17:00:00.123Z".parse().unwrap()),
            duration_minutes: Some(45),
            timezone: None,
        };
        let body = ApiRequest::create_meeting(&details, &MeetingSettings::default(), Uuid::nil(), Utc::now())
            .body
            .unwrap();
        assert_eq!(body["start_time"], "2026-03-01T17:00:00Z");
        assert_eq!(body["topic"].as_str().unwrap().encode_utf16().count(), 200);
        let agenda = body["agenda"].as_str().unwrap();
        assert!(agenda.starts_with(&Uuid::nil().to_string()));
        assert_eq!(agenda.len(), 2_000);
        assert!(body.get("timezone").is_none());
    }

    #[test]
    fn an_update_carries_what_has_changed() {
        let id = MeetingId::parse("1").unwrap();
        for (details, body) in [
            (
                MeetingDetails {
                    topic: Some("New"),
                    ..MeetingDetails::default()
                },
                json!({"topic": "New"}),
            ),
            (
                MeetingDetails {
                    description: Some(""),
                    ..MeetingDetails::default()
                },
                json!({"agenda": Uuid::nil()}),
            ),
        ] {
            let request = ApiRequest::update_meeting(&id, &details, Uuid::nil());
            assert_eq!(request.body, Some(body));
        }
    }
}
