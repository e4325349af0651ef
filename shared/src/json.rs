//! JSON, read in two steps: text into a [`Value`], and that into a type. Types read from text would each bring a parser
//! of their own into the wasm.

use chrono::{DateTime, Utc};
use serde::{
    de::{DeserializeOwned, Error},
    Deserialize, Deserializer,
};
use serde_json::Value;

/// Reads a value from JSON text; `None` if the text is not JSON, or JSON of another form.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    read(serde_json::from_slice(text).ok()?)
}

/// Reads a value from JSON; `None` if it has another form.
pub fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

/// Reads an object from JSON text. Unlike [`parse`], this does not take a list of the object's values for the object.
pub fn parse_object<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    let value: Value = serde_json::from_slice(text).ok()?;
    read(value.is_object().then_some(value)?)
}

/// Reads an instant as RFC 3339 text, for a field of a type that is read from JSON.
///
/// # Errors
/// Those of the deserializer, and for text that is not an instant.
pub fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    // The type's own reader also takes several forms that nobody uses here.
    let instant = DateTime::parse_from_rfc3339(&text).map_err(|_| D::Error::custom("not an instant"))?;
    Ok(instant.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Pair {
        one: u8,
        two: Option<u8>,
    }

    #[test]
    fn text_of_the_right_form_is_read() {
        assert_eq!(parse::<Vec<u8>>(b"[1, 2]"), Some(vec![1, 2]));
        for wrong in ["[1, 2", "{}", "", "[1] 2"] {
            assert_eq!(parse::<Vec<u8>>(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_list_is_not_an_object() {
        let pair = Some(Pair { one: 1, two: None });
        assert_eq!(parse_object(br#"{"one": 1, "three": 3}"#), pair);
        for wrong in ["[1, null]", "[1]", "1", r#"{"two": 2}"#] {
            assert_eq!(parse_object::<Pair>(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
