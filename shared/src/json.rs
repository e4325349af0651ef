//! JSON, read in two steps. Types read from a [`Value`] share one parser: read from text, each would bring a copy of its own
//! into the wasm.

use chrono::{DateTime, Utc};
use serde::{
    de::{DeserializeOwned, Error},
    Deserialize, Deserializer,
};
use serde_json::{Map, Value};

/// Reads a value from JSON text; `None` where it is none, or one of another form.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    let value: Value = serde_json::from_slice(text).ok()?;
    T::deserialize(value).ok()
}

/// Reads an instant as RFC 3339 text, for a field of a type that is read from JSON.
///
/// # Errors
/// Those of the deserializer, and for anything that is no instant.
pub fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Other than the type's own reader, which also knows several ways of writing that nobody uses here.
    let instant = DateTime::parse_from_rfc3339(&text).map_err(|_| D::Error::custom("not an instant"))?;
    Ok(instant.to_utc())
}

/// Turns `{"<tag>": "name", …}`, as the database writes its alternatives, into `{"name": {…}}` or, with nothing but the tag in
/// it, into `"name"`: the form in which enums are read without holding everything back until the tag is found. Anything
/// else stays as it is.
pub fn untag(value: Value, tag: &str) -> Value {
    let Value::Object(mut fields) = value else {
        return value;
    };
    match fields.remove(tag) {
        Some(Value::String(name)) if fields.is_empty() => Value::String(name),
        Some(Value::String(name)) => {
            let mut tagged = Map::new();
            tagged.insert(name, Value::Object(fields));
            Value::Object(tagged)
        }
        Some(other) => {
            fields.insert(tag.to_owned(), other);
            Value::Object(fields)
        }
        None => Value::Object(fields),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{parse, untag};

    #[test]
    fn alternatives_are_named_by_their_tag() {
        for (tagged, untagged) in [
            (json!({"outcome": "gone"}), json!("gone")),
            (json!({"outcome": "ready", "url": 1}), json!({"ready": {"url": 1}})),
            (json!({"outcome": 1, "url": 1}), json!({"outcome": 1, "url": 1})),
            (json!({"url": 1}), json!({"url": 1})),
            (json!([1]), json!([1])),
        ] {
            assert_eq!(untag(tagged, "outcome"), untagged);
        }
    }

    #[test]
    fn text_of_the_right_form_is_read() {
        assert_eq!(parse::<Vec<u8>>(b"[1, 2]"), Some(vec![1, 2]));
        for wrong in ["[1, 2", "{}", "", "[1] 2"] {
            assert_eq!(parse::<Vec<u8>>(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
