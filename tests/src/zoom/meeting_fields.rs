//! What a request may say of a meeting. Stricter than Zoom: an unknown field is refused, not passed over.

use chrono::{DateTime, NaiveDateTime, TimeZone, Utc};
use serde_json::{json, Map, Value};

use super::answer::Answer;

/// The kinds of a meeting's settings that are known here.
enum Setting {
    Switch,
    OneOf(&'static [&'static str]),
    Number(&'static [u64]),
}

const SETTINGS: [(&str, Setting); 11] = [
    ("waiting_room", Setting::Switch),
    ("join_before_host", Setting::Switch),
    ("mute_upon_entry", Setting::Switch),
    ("host_video", Setting::Switch),
    ("participant_video", Setting::Switch),
    ("meeting_authentication", Setting::Switch),
    ("watermark", Setting::Switch),
    ("approval_type", Setting::Number(&[0, 1, 2])),
    ("jbh_time", Setting::Number(&[0, 5, 10, 15])),
    ("audio", Setting::OneOf(&["both", "telephony", "voip"])),
    ("auto_recording", Setting::OneOf(&["local", "cloud", "none"])),
];

const MAX_TOPIC: usize = 200;
const MAX_AGENDA: usize = 2_000;
const MAX_PASSWORD: usize = 10;
const MAX_MINUTES: u64 = 1_440;

/// What the fields are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new meeting, which needs a topic, a type, a start and a duration.
    Create,
    /// A change, which needs a field.
    Update,
}

/// The fields of a valid request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MeetingFields {
    pub(crate) topic: Option<String>,
    pub(crate) agenda: Option<String>,
    pub(crate) start: Option<DateTime<Utc>>,
    pub(crate) duration: Option<u64>,
    pub(crate) timezone: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) settings: Map<String, Value>,
}

impl MeetingFields {
    /// Reads a request's body, or says all that is wrong with it as Zoom does.
    pub(crate) fn parse(body: &Value, purpose: Purpose) -> Result<Self, Answer> {
        let Some(body) = body.as_object() else {
            return Err(Answer::api_error(
                400,
                300,
                "Request Body should be a valid JSON object.",
            ));
        };
        let mut fields = Self::default();
        let mut wrong: Vec<(String, &str)> = Vec::new();
        for (name, value) in body {
            if let Err(message) = fields.set(name, value, body, &mut wrong) {
                wrong.push((name.clone(), message));
            }
        }
        let needed: &[&str] = match purpose {
            Purpose::Create => &["topic", "type", "start_time", "duration"],
            Purpose::Update => &[],
        };
        let missing = needed.iter().filter(|name| !body.contains_key(**name));
        wrong.extend(missing.map(|name| ((*name).to_owned(), "This field is required.")));
        if body.is_empty() && purpose == Purpose::Update {
            wrong.push(("body".to_owned(), "There is nothing to change."));
        }
        if wrong.is_empty() {
            return Ok(fields);
        }
        let errors: Vec<_> = wrong
            .iter()
            .map(|(field, message)| json!({"field": field, "message": message}))
            .collect();
        Err(Answer::json(
            400,
            json!({"code": 300, "message": "Validation Failed.", "errors": errors}),
        ))
    }

    fn set(
        &mut self,
        name: &str,
        value: &Value,
        body: &Map<String, Value>,
        wrong: &mut Vec<(String, &'static str)>,
    ) -> Result<(), &'static str> {
        match name {
            "type" => (value.as_u64() == Some(2))
                .then_some(())
                .ok_or("Only scheduled meetings are known here: 2.")?,
            "topic" => self.topic = Some(text(value, 1..=MAX_TOPIC)?),
            "agenda" => self.agenda = Some(text(value, 0..=MAX_AGENDA)?),
            "duration" => {
                let minutes = value.as_u64().filter(|minutes| (1..=MAX_MINUTES).contains(minutes));
                self.duration = Some(minutes.ok_or("Must be a number of minutes.")?);
            }
            "timezone" => self.timezone = Some(time_zone(value)?.name().to_owned()),
            "start_time" => self.start = Some(start_time(value, body.get("timezone"))?),
            "password" => {
                let password = text(value, 0..=MAX_PASSWORD)?;
                let allowed = |c: char| c.is_ascii_alphanumeric() || "@-_*!".contains(c);
                if !password.chars().all(allowed) {
                    return Err("Only letters, digits and @ - _ * ! may be used.");
                }
                self.password = Some(password);
            }
            "settings" => {
                let settings = value.as_object().ok_or("Must be an object.")?;
                for (name, value) in settings {
                    match setting(name, value) {
                        Ok(()) => drop(self.settings.insert(name.clone(), value.clone())),
                        Err(message) => wrong.push((format!("settings.{name}"), message)),
                    }
                }
            }
            _ => return Err("Unknown field."),
        }
        Ok(())
    }
}

/// Text of so many UTF-16 units, as Zoom counts.
fn text(value: &Value, length: std::ops::RangeInclusive<usize>) -> Result<String, &'static str> {
    let text = value.as_str().ok_or("Must be text.")?;
    if !length.contains(&text.encode_utf16().count()) {
        return Err("Too long or too short.");
    }
    Ok(text.to_owned())
}

fn time_zone(value: &Value) -> Result<chrono_tz::Tz, &'static str> {
    let name = value.as_str().ok_or("Must be text.")?;
    name.parse().map_err(|_| "Not a known time zone.")
}

/// `yyyy-MM-ddTHH:mm:ssZ`, or without the `Z` the local time of the field `timezone`.
fn start_time(value: &Value, timezone: Option<&Value>) -> Result<DateTime<Utc>, &'static str> {
    const FORMAT: &str = "Must be yyyy-MM-ddTHH:mm:ssZ, or local time with a timezone.";
    const SHAPE: &str = "0000-00-00T00:00:00";
    let text = value.as_str().ok_or(FORMAT)?;
    let local = text.strip_suffix('Z').unwrap_or(text);
    let fits = |(found, shape): (u8, u8)| {
        if shape == b'0' {
            found.is_ascii_digit()
        } else {
            found == shape
        }
    };
    if local.len() != SHAPE.len() || !local.bytes().zip(SHAPE.bytes()).all(fits) {
        return Err(FORMAT);
    }
    let time = NaiveDateTime::parse_from_str(local, "%Y-%m-%dT%H:%M:%S").map_err(|_| FORMAT)?;
    if local.len() < text.len() {
        return Ok(time.and_utc());
    }
    let zone = time_zone(timezone.ok_or(FORMAT)?)?;
    let instant = zone.from_local_datetime(&time).earliest();
    instant
        .map(|instant| instant.to_utc())
        .ok_or("There is no such time in this time zone.")
}

fn setting(name: &str, value: &Value) -> Result<(), &'static str> {
    let (_, kind) = SETTINGS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or("Unknown field.")?;
    let fits = match kind {
        Setting::Switch => value.is_boolean(),
        Setting::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Setting::Number(numbers) => value.as_u64().is_some_and(|number| numbers.contains(&number)),
    };
    fits.then_some(()).ok_or("Invalid value.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(changes: Value) -> Value {
        let mut body =
            json!({"topic": "First check-in", "type": 2, "start_time": "2026-03-01T17:00:00Z", "duration": 30});
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    fn wrong_fields(body: &Value, purpose: Purpose) -> Vec<String> {
        let answer = MeetingFields::parse(body, purpose).unwrap_err();
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!(300)));
        let errors = answer.body["errors"].as_array().into_iter().flatten();
        errors
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_zoom_takes() {
        let body = complete(json!({
            "topic": "🧘".repeat(100), "agenda": "x".repeat(2000), "timezone": "Europe/Berlin", "password": "aB3@-_*!",
            "settings": {"waiting_room": true, "approval_type": 2, "audio": "voip"},
        }));
        let fields = MeetingFields::parse(&body, Purpose::Create).unwrap();
        assert_eq!(fields.start, Some("2026-03-01T17:00:00Z".parse().unwrap()));
        assert_eq!(fields.settings["approval_type"], 2);

        let local = complete(json!({"start_time": "2026-03-01T17:00:00", "timezone": "America/New_York"}));
        let fields = MeetingFields::parse(&local, Purpose::Create).unwrap();
        assert_eq!(fields.start, Some("2026-03-01T22:00:00Z".parse().unwrap()));
        assert!(MeetingFields::parse(&json!({"agenda": ""}), Purpose::Update).is_ok());
    }

    #[test]
    fn what_it_refuses_and_why() {
        let table = [
            (json!({"topic": ""}), "topic"),
            (json!({"topic": "x".repeat(201)}), "topic"),
            (json!({"topic": "🧘".repeat(101)}), "topic"),
            (json!({"topic": 7}), "topic"),
            (json!({"agenda": "x".repeat(2001)}), "agenda"),
            (json!({"type": 1}), "type"),
            (json!({"type": "2"}), "type"),
            (json!({"start_time": "2026-03-01T17:00:00.000Z"}), "start_time"),
            (json!({"start_time": "2026-03-01T17:00:00+01:00"}), "start_time"),
            (json!({"start_time": "2026-03-01T17:00:00"}), "start_time"),
            (json!({"start_time": "2026-02-30T17:00:00Z"}), "start_time"),
            (json!({"start_time": "2026-3-1T17:00:00Z00"}), "start_time"),
            (json!({"start_time": 1_800_000_000}), "start_time"),
            (json!({"duration": 0}), "duration"),
            (json!({"duration": 30.5}), "duration"),
            (json!({"duration": "30"}), "duration"),
            (json!({"timezone": "Mars/Olympus"}), "timezone"),
            (json!({"password": "no spaces"}), "password"),
            (json!({"settings": []}), "settings"),
            (json!({"settings": {"waiting_room": "yes"}}), "settings.waiting_room"),
            (json!({"settings": {"approval_type": 3}}), "settings.approval_type"),
            (json!({"settings": {"waitingRoom": true}}), "settings.waitingRoom"),
            (json!({"title": "x"}), "title"),
        ];
        for (changes, field) in table {
            let wrong = wrong_fields(&complete(changes.clone()), Purpose::Create);
            assert_eq!(wrong, [field], "{changes}");
        }
        // In spring, this hour does not exist.
        let skipped = complete(json!({"start_time": "2026-03-29T02:30:00", "timezone": "Europe/Berlin"}));
        assert_eq!(wrong_fields(&skipped, Purpose::Create), ["start_time"]);
        assert_eq!(
            wrong_fields(&json!({}), Purpose::Create),
            ["topic", "type", "start_time", "duration"]
        );
        assert_eq!(wrong_fields(&json!({}), Purpose::Update), ["body"]);
        assert!(wrong_fields(&json!([]), Purpose::Update).is_empty());
    }
}
