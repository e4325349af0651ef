//! Zoom's events: what they say, and how they are signed.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ring::hmac;
use serde::Serialize;
use serde_json::{json, Map, Value};

use super::meetings::{instant, Instance, Meeting};
use super::users::User;

/// An event, delivered or not.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Its place among all events.
    pub id: u64,
    /// `meeting.started`, …
    pub name: String,
    /// The body of its deliveries.
    pub body: Value,
    /// How often its delivery was tried.
    pub attempts: u32,
    /// What its first delivery was signed with.
    pub(crate) first_timestamp: Option<i64>,
}

/// Events that wait for their delivery, and those whose delivery failed.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) held: Vec<Event>,
    pub(crate) failed: Vec<Event>,
    /// Of neither: on their way.
    pub(crate) in_delivery: usize,
    count: u64,
    last_at: i64,
}

/// Who changed a meeting, in Zoom or through the app.
fn operation(host: &User) -> Map<String, Value> {
    Map::from_iter([
        ("account_id".to_owned(), json!(host.account_id)),
        ("operator".to_owned(), json!(host.email)),
        ("operator_id".to_owned(), json!(host.id)),
    ])
}

impl Events {
    /// Takes the events that wait, or only those among them with these ids, for their delivery.
    pub(crate) fn take_held(&mut self, only: Option<&[u64]>) -> Vec<Event> {
        let is_wanted = |event: &mut Event| only.is_none_or(|ids| ids.contains(&event.id));
        let taken: Vec<_> = self.held.extract_if(.., is_wanted).collect();
        self.in_delivery += taken.len();
        taken
    }

    /// Takes the events whose delivery failed, for another try.
    pub(crate) fn take_failed(&mut self) -> Vec<Event> {
        self.in_delivery += self.failed.len();
        std::mem::take(&mut self.failed)
    }

    fn add(&mut self, name: &str, payload: Value, now: DateTime<Utc>) {
        // No two events happen at the same time, so that their order is never in doubt.
        self.last_at = now.timestamp_millis().max(self.last_at + 1);
        self.count += 1;
        self.held.push(Event {
            id: self.count,
            name: name.to_owned(),
            body: json!({"event": name, "event_ts": self.last_at, "payload": payload}),
            attempts: 0,
            first_timestamp: None,
        });
    }

    pub(crate) fn started(&mut self, host: &User, meeting: &Meeting, now: DateTime<Utc>) {
        let mut object = with_text_id(meeting);
        let started_at = meeting.running().map_or(now, |running| running.started_at);
        object.insert("start_time".to_owned(), json!(instant(started_at)));
        self.add(
            "meeting.started",
            json!({"account_id": host.account_id, "object": object}),
            now,
        );
    }

    pub(crate) fn ended(&mut self, host: &User, meeting: &Meeting, instance: &Instance, now: DateTime<Utc>) {
        let mut object = with_text_id(meeting);
        object.insert("uuid".to_owned(), json!(instance.uuid));
        object.insert("start_time".to_owned(), json!(instant(instance.started_at)));
        object.insert("end_time".to_owned(), json!(instant(now)));
        self.add(
            "meeting.ended",
            json!({"account_id": host.account_id, "object": object}),
            now,
        );
    }

    pub(crate) fn updated(
        &mut self,
        host: &User,
        id: u64,
        (mut changed, mut old): (Map<String, Value>, Map<String, Value>),
        now: DateTime<Utc>,
    ) {
        if changed.is_empty() {
            return;
        }
        changed.insert("id".to_owned(), json!(id));
        old.insert("id".to_owned(), json!(id));
        let mut payload = operation(host);
        payload.insert("scope".to_owned(), json!("single"));
        payload.insert("operation".to_owned(), json!("single"));
        payload.insert("object".to_owned(), changed.into());
        payload.insert("old_object".to_owned(), old.into());
        payload.insert("time_stamp".to_owned(), json!(now.timestamp_millis()));
        self.add("meeting.updated", payload.into(), now);
    }

    pub(crate) fn deleted(&mut self, host: &User, meeting: &Meeting, now: DateTime<Utc>) {
        self.whole("meeting.deleted", host, meeting, now);
    }

    pub(crate) fn recovered(&mut self, host: &User, meeting: &Meeting, now: DateTime<Utc>) {
        self.whole("meeting.recovered", host, meeting, now);
    }

    pub(crate) fn permanently_deleted(&mut self, host: &User, meeting: &Meeting, now: DateTime<Utc>) {
        self.whole("meeting.permanently_deleted", host, meeting, now);
    }

    /// What happens to a whole meeting. `single` says nothing about recurring ones: plain meetings have it too.
    fn whole(&mut self, name: &str, host: &User, meeting: &Meeting, now: DateTime<Utc>) {
        let mut payload = operation(host);
        payload.insert("operation".to_owned(), json!("single"));
        payload.insert("object".to_owned(), meeting.outline().into());
        self.add(name, payload.into(), now);
    }

    /// One occurrence of a recurring meeting was moved, or (without changes) deleted; the others stay as they are.
    pub(crate) fn of_occurrence(
        &mut self,
        host: &User,
        meeting: &Meeting,
        changes: Option<&Map<String, Value>>,
        now: DateTime<Utc>,
    ) {
        let mut occurrence = json!({
            "occurrence_id": instant(meeting.start).replace(|c: char| !c.is_ascii_digit(), ""),
            "start_time": instant(meeting.start), "duration": meeting.duration,
            "status": if changes.is_some() { "available" } else { "deleted" },
        });
        let mut object = if changes.is_some() {
            Map::from_iter([("id".to_owned(), json!(meeting.id))])
        } else {
            meeting.outline()
        };
        for (name, value) in changes.into_iter().flatten() {
            occurrence[name.as_str()] = value.clone();
            object.insert(name.clone(), value.clone());
        }
        object.insert("type".to_owned(), json!(8));
        object.insert("occurrences".to_owned(), json!([occurrence]));
        let mut payload = operation(host);
        payload.insert("operation".to_owned(), json!("single"));
        payload.insert("object".to_owned(), object.into());
        if changes.is_some() {
            payload.insert("scope".to_owned(), json!("single"));
            payload.insert("old_object".to_owned(), json!({"id": meeting.id, "type": 8}));
            payload.insert("time_stamp".to_owned(), json!(now.timestamp_millis()));
        }
        let name = ["meeting.deleted", "meeting.updated"][usize::from(changes.is_some())];
        self.add(name, payload.into(), now);
    }

    pub(crate) fn deauthorized(&mut self, user: &User, client_id: &str, now: DateTime<Utc>) {
        let payload = json!({
            "account_id": user.account_id,
            "user_id": user.id,
            "signature": hex(hmac::sign(&key(client_id), user.id.to_string().as_bytes()).as_ref()),
            "deauthorization_time": now.to_rfc3339_opts(SecondsFormat::Millis, true),
            "client_id": client_id,
        });
        self.add("app_deauthorized", payload, now);
    }

    /// Time passes: what the undelivered events tell of is longer ago now.
    pub(crate) fn grow_older(&mut self, by: TimeDelta) {
        for event in self.held.iter_mut().chain(&mut self.failed) {
            if let Some(at) = event.body["event_ts"].as_i64() {
                event.body["event_ts"] = json!(at - by.num_milliseconds());
            }
            grow_older(&mut event.body, by);
        }
        self.last_at -= by.num_milliseconds();
    }
}

/// Moves every instant in a body.
fn grow_older(value: &mut Value, by: TimeDelta) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|field| grow_older(field, by)),
        Value::String(text) => {
            if let Ok(at) = text.parse::<DateTime<Utc>>() {
                let precision = if text.contains('.') {
                    SecondsFormat::Millis
                } else {
                    SecondsFormat::Secs
                };
                *text = (at - by).to_rfc3339_opts(precision, true);
            }
        }
        _ => {}
    }
}

/// In some events a meeting's number is text.
fn with_text_id(meeting: &Meeting) -> Map<String, Value> {
    let mut object = meeting.outline();
    object.insert("id".to_owned(), json!(meeting.id.to_string()));
    object
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The header `x-zm-signature` of a body that is sent at `timestamp`, in seconds.
pub(crate) fn signature(secret_token: &str, timestamp: i64, body: &[u8]) -> String {
    let signed = [format!("v0:{timestamp}:").as_bytes(), body].concat();
    format!("v0={}", hex(hmac::sign(&key(secret_token), &signed).as_ref()))
}

/// What an endpoint must make of the token in `endpoint.url_validation`.
pub(crate) fn encrypted_token(secret_token: &str, plain_token: &str) -> String {
    hex(hmac::sign(&key(secret_token), plain_token.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::super::meeting_fields::{MeetingFields, Purpose};
    use super::super::meetings::Meetings;
    use super::super::users::Users;
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00.250Z".parse().unwrap()
    }

    #[test]
    fn events_say_what_zoom_says() {
        let users = Users::seeded(now()).unwrap();
        let host = &users.all()[0];
        let fields = json!({"topic": "t", "type": 2, "start_time": "2026-03-02T12:00:00Z", "duration": 30});
        let fields = MeetingFields::parse(&fields, Purpose::Create).unwrap();
        let mut meetings = Meetings::default();
        let mut meeting = meetings.create(host, fields, now()).clone();
        let mut events = Events::default();
        meeting.start(now());
        events.started(host, &meeting, now());
        let instance = meeting.end(now() + TimeDelta::minutes(30)).unwrap();
        assert_ne!(instance.uuid, meeting.uuid);
        events.ended(host, &meeting, &instance, now() + TimeDelta::minutes(30));
        let change = MeetingFields::parse(&json!({"duration": 45}), Purpose::Update).unwrap();
        let changes = meeting.update(change, &Map::new());
        events.updated(host, meeting.id, changes, now());
        events.updated(host, meeting.id, (Map::new(), Map::new()), now());
        events.deleted(host, &meeting, now());
        events.deauthorized(host, "client", now());

        let [started, ended, updated, deleted, deauthorized] = events.held.as_slice() else {
            panic!("five events, and none for a change that changed nothing");
        };
        assert_eq!(started.body["payload"]["object"]["id"], json!(meeting.id.to_string()));
        assert_eq!(started.body["payload"]["object"]["start_time"], "2026-03-01T12:00:00Z");
        assert_eq!(ended.body["payload"]["object"]["end_time"], "2026-03-01T12:30:00Z");
        assert_eq!(ended.body["payload"]["object"]["start_time"], "2026-03-01T12:00:00Z");
        assert_eq!(ended.body["payload"]["object"]["uuid"], json!(instance.uuid));
        assert_eq!(started.body["payload"]["object"]["uuid"], json!(instance.uuid));
        assert_eq!(
            updated.body["payload"]["object"],
            json!({"id": meeting.id, "duration": 45})
        );
        assert_eq!(
            updated.body["payload"]["old_object"],
            json!({"id": meeting.id, "duration": 30})
        );
        assert_eq!(deleted.body["payload"]["object"]["id"], json!(meeting.id));
        assert_eq!(deauthorized.body["payload"]["user_id"], json!(host.id));
        assert_eq!(
            deauthorized.body["payload"]["deauthorization_time"],
            "2026-03-01T12:00:00.250Z"
        );
        assert!(deauthorized.body["payload"].get("object").is_none());
        let times: Vec<_> = events
            .held
            .iter()
            .map(|event| event.body["event_ts"].as_i64())
            .collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");

        events.grow_older(TimeDelta::days(1));
        assert_eq!(
            events.held[1].body["payload"]["object"]["end_time"],
            "2026-02-28T12:30:00Z"
        );
        assert_eq!(
            events.held[4].body["payload"]["deauthorization_time"],
            "2026-02-28T12:00:00.250Z"
        );
        assert_eq!(
            events.held[0].body["event_ts"].as_i64(),
            times[0].map(|at| at - 86_400_000)
        );
    }

    #[test]
    fn the_signature_is_zooms() {
        // printf 'v0:1700000000:{"event":"x"}' | openssl dgst -sha256 -hmac hush
        assert_eq!(
            signature("hush", 1_700_000_000, br#"{"event":"x"}"#),
            "v0=f00f498574404cd8722bd9666974dcc8d897e620e4284628a87a6c356e2c0705"
        );
        // printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac hush
        assert_eq!(
            encrypted_token("hush", "qgg8vlvZRS6UYooatFL8Aw"),
            "36517668f50730dfc6247803d9cc2b23e89a05172ec38cd1797466a23164362a"
        );
    }
}
