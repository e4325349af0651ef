//! How a meeting behaves: what Zoom is asked for. An account may lock a setting and overrule it, so Zoom's answer
//! counts.

use serde::Serialize;
use serde_json::{Map, Value};

/// The settings that can be chosen, as Zoom calls them.
const NAMES: [&str; 5] = [
    "waiting_room",
    "join_before_host",
    "mute_upon_entry",
    "host_video",
    "participant_video",
];

/// Settings that are on or off. A meeting's others are as the host has them in Zoom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeetingSettings(Map<String, Value>);

impl Default for MeetingSettings {
    /// Nobody gets in unseen, before the host, or unmuted.
    fn default() -> Self {
        let mut settings = Map::new();
        for (name, on) in [
            ("waiting_room", true),
            ("join_before_host", false),
            ("mute_upon_entry", true),
        ] {
            settings.insert(name.to_owned(), on.into());
        }
        Self(settings)
    }
}

/// Settings that are chosen: on, off, or (null) as the host has it in Zoom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Choices(Map<String, Value>);

impl Choices {
    /// Reads `{"waiting_room": true, "host_video": "host", …}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(choices: &Value) -> Result<Self, String> {
        let mut chosen = Self::default();
        for (name, value) in choices.as_object().ok_or("must be an object")? {
            let value = match value {
                Value::Bool(on) => Some(*on),
                Value::String(text) if text == "host" => None,
                _ => return Err("may be true, false or \"host\" each".to_owned()),
            };
            chosen
                .add(name, value)
                .ok_or_else(|| format!("may be {} only", NAMES.join(", ")))?;
        }
        Ok(chosen)
    }

    fn add(&mut self, name: &str, value: Option<bool>) -> Option<()> {
        let known = NAMES.contains(&name);
        known.then(|| drop(self.0.insert(name.to_owned(), value.into())))
    }
}

impl MeetingSettings {
    /// Reads `ZOOM_MEETING_SETTINGS`: `host` for all as the host has them, or `name=on|off|host, …`. What is not named
    /// is as by default.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "host" {
            return Ok(Self(Map::new()));
        }
        let mut chosen = Choices::default();
        for setting in text.split(',') {
            let (name, value) = setting
                .split_once('=')
                .ok_or("is neither host nor name=on|off|host,…")?;
            let value = match value.trim() {
                "on" => Some(true),
                "off" => Some(false),
                "host" => None,
                _ => return Err("has a value that is not on, off or host"),
            };
            chosen
                .add(name.trim(), value)
                .ok_or("names a setting that cannot be chosen")?;
        }
        Ok(Self::default().with(&chosen))
    }

    /// These settings, but for what is chosen otherwise.
    pub fn with(&self, chosen: &Choices) -> Self {
        let mut settings = self.0.clone();
        for (name, value) in &chosen.0 {
            match value {
                Value::Null => settings.remove(name),
                on => settings.insert(name.clone(), on.clone()),
            };
        }
        Self(settings)
    }

    /// For a request to Zoom. Nobody has to register.
    pub fn to_zoom(&self) -> Value {
        let mut settings = self.0.clone();
        settings.insert("approval_type".to_owned(), 2.into());
        settings.into()
    }
}

/// What of a meeting's settings in an answer of Zoom's is kept and shown.
pub fn shown(settings: &Value) -> Value {
    let mut shown = Map::new();
    for name in NAMES {
        if let Some(on) = settings.get(name).and_then(Value::as_bool) {
            shown.insert(name.to_owned(), on.into());
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_installation_chooses() {
        let zoom = |text| MeetingSettings::parse(text).map(|settings| settings.to_zoom());
        assert_eq!(zoom("host"), Ok(json!({"approval_type": 2})));
        assert_eq!(
            zoom("waiting_room=off, join_before_host = on,mute_upon_entry=host,host_video=on"),
            Ok(json!({"waiting_room": false, "join_before_host": true, "host_video": true, "approval_type": 2}))
        );
        assert_eq!(
            MeetingSettings::default().to_zoom(),
            json!({"waiting_room": true, "join_before_host": false, "mute_upon_entry": true, "approval_type": 2})
        );
        for wrong in [
            "waiting_room",
            "waiting_room=yes",
            "audio=on",
            "waiting_room=on,,",
            "Host",
        ] {
            assert!(zoom(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_session_chooses_otherwise() {
        let zoom = |choices: Value| {
            let chosen = Choices::read(&choices)?;
            Ok::<_, String>(MeetingSettings::default().with(&chosen).to_zoom())
        };
        assert_eq!(
            zoom(json!({"waiting_room": "host", "participant_video": true})),
            Ok(json!({
                "join_before_host": false, "mute_upon_entry": true, "participant_video": true, "approval_type": 2,
            }))
        );
        assert_eq!(zoom(json!({})), Ok(MeetingSettings::default().to_zoom()));
        for wrong in [
            json!([]),
            json!("host"),
            json!({"audio": true}),
            json!({"waiting_room": 1}),
            json!({"waiting_room": "on"}),
        ] {
            assert!(zoom(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_zoom_made_of_it_is_shown() {
        let answer = json!({"waiting_room": true, "join_before_host": null, "audio": "both", "host_video": false});
        assert_eq!(shown(&answer), json!({"waiting_room": true, "host_video": false}));
        assert_eq!(shown(&json!(null)), json!({}));
    }
}
