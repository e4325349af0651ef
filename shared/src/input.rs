//! Request bodies, taken apart field by field.
//!
//! Every field goes through a parser, all reasons are collected, and what nobody asked for is refused: one answer
//! tells a developer everything that is wrong with a request.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    error::{Error, FieldErrors},
    time,
};

/// The fields of a JSON object on their way to being parsed.
pub struct Fields {
    given: Map<String, Value>,
    problems: FieldErrors,
}

impl Fields {
    /// The fields of a request body.
    pub fn new(given: Map<String, Value>) -> Self {
        Self {
            given,
            problems: FieldErrors::new(),
        }
    }

    /// Takes a field that may be missing or null.
    pub fn optional<T>(&mut self, name: &'static str, parse: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let value = self.given.remove(name).filter(|value| !value.is_null())?;
        parse(&value).map_err(|reason| self.refuse(name, reason)).ok()
    }

    /// Takes a field that has to be there. `None` means that [`Fields::finish`] will refuse the request.
    pub fn required<T>(&mut self, name: &'static str, parse: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        if self.given.get(name).is_none_or(Value::is_null) {
            self.refuse(name, "is required");
        }
        self.optional(name, parse)
    }

    /// Refuses a field for a reason that its own parser could not know.
    pub fn refuse(&mut self, name: &str, reason: impl Into<String>) {
        self.problems.insert(name.to_owned(), Value::String(reason.into()));
    }

    /// Ends the taking apart.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with everything that was wrong, unknown fields included.
    pub fn finish(mut self) -> Result<(), Error> {
        for name in self.given.keys() {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            self.problems
                .insert(shown, Value::from("is not a field of this request"));
        }
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Error::InvalidRequest(self.problems))
        }
    }
}

/// One line of text, trimmed, of `min` to `max` characters, without control characters.
pub fn text(min: usize, max: usize) -> impl Fn(&Value) -> Result<String, String> {
    move |value| {
        let text = value.as_str().ok_or("must be text")?.trim();
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters".to_owned());
        }
        within(text, min, max)
    }
}

/// Text of several lines, trimmed, of at most `max` characters.
pub fn long_text(max: usize) -> impl Fn(&Value) -> Result<String, String> {
    move |value| {
        let text = value.as_str().ok_or("must be text")?.trim();
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err("must not contain control characters".to_owned());
        }
        within(text, 0, max)
    }
}

fn within(text: &str, min: usize, max: usize) -> Result<String, String> {
    match text.chars().count() {
        length if length < min => Err("must not be empty".to_owned()),
        length if length > max => Err(format!("must have at most {max} characters, and has {length}")),
        _ => Ok(text.to_owned()),
    }
}

/// A whole number.
///
/// # Errors
/// The reason, for anything else.
pub fn whole_number(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| "must be a whole number".to_owned())
}

/// True or false.
///
/// # Errors
/// The reason, for anything else.
pub fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// A UUID as text.
///
/// # Errors
/// The reason, for anything else.
pub fn uuid(value: &Value) -> Result<Uuid, String> {
    value
        .as_str()
        .and_then(|text| Uuid::try_parse(text).ok())
        .ok_or_else(|| "must be a UUID".to_owned())
}

/// A list of UUIDs, at most `max` of them.
pub fn uuids(max: usize) -> impl Fn(&Value) -> Result<Vec<Uuid>, String> {
    move |value| {
        let list = value.as_array().ok_or("must be a list of UUIDs")?;
        if list.len() > max {
            return Err(format!("must name at most {max}"));
        }
        list.iter()
            .map(uuid)
            .collect::<Result<_, _>>()
            .map_err(|_| "must be a list of UUIDs".to_owned())
    }
}

/// An instant as RFC 3339 text with an offset, such as `2026-03-01T17:00:00+01:00`; fractions of seconds are cut off,
/// since Zoom has none.
///
/// # Errors
/// The reason, for anything else.
pub fn instant(value: &Value) -> Result<DateTime<Utc>, String> {
    value
        .as_str()
        .and_then(time::parse)
        .and_then(|instant| DateTime::from_timestamp(instant.timestamp(), 0))
        .ok_or_else(|| "must be a time with an offset, such as 2026-03-01T17:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_measured_in_characters() {
        let title = text(1, 200);
        assert_eq!(title(&json!("  Yoga 🧘 ")).unwrap(), "Yoga 🧘");
        assert!(title(&json!("🧘".repeat(200))).is_ok());
        for bad in [
            json!(""),
            json!("   "),
            json!("x".repeat(201)),
            json!("a\0b"),
            json!("a\nb"),
            json!(7),
            json!(["x"]),
        ] {
            assert!(title(&bad).is_err(), "{bad}");
        }
        assert!(long_text(10)(&json!("a\nb\tc")).is_ok());
        assert!(long_text(10)(&json!("a\0")).is_err());
    }

    #[test]
    fn numbers_are_whole() {
        assert_eq!(whole_number(&json!(30)), Ok(30));
        for bad in [json!(-1), json!(1.5), json!("30"), json!(1e30), json!(true)] {
            assert!(whole_number(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_instant_has_an_offset() {
        for (given, whole) in [
            ("2026-03-01T16:00:00.999Z", "2026-03-01T16:00:00+00:00"),
            ("2026-12-31T23:59:60Z", "2026-12-31T23:59:59+00:00"),
        ] {
            assert_eq!(instant(&json!(given)).unwrap().to_rfc3339(), whole);
        }
        assert_eq!(
            instant(&json!("2026-03-01T17:00:00+01:00")).unwrap().to_rfc3339(),
            "2026-03-01T16:00:00+00:00"
        );
        for bad in [
            json!("2026-03-01T17:00:00"),
            json!("2026-03-01"),
            json!("tomorrow"),
            json!(1_700_000_000),
        ] {
            assert!(instant(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let Value::Object(given) = json!({"title": "", "count": 1, "extra": 1}) else {
            panic!("an object")
        };
        let mut fields = Fields::new(given);
        fields.required("title", text(1, 5));
        fields.required("when", instant);
        assert_eq!(fields.optional("count", whole_number), Some(1));
        let Err(Error::InvalidRequest(problems)) = fields.finish() else {
            panic!("must be refused")
        };
        assert_eq!(problems.keys().collect::<Vec<_>>(), ["extra", "title", "when"]);
    }

    proptest! {
        #[test]
        fn no_parser_panics(text_value in any::<String>(), number in any::<f64>()) {
            for value in [json!(text_value), json!(number), json!([text_value])] {
                let _ = (text(1, 5)(&value), long_text(5)(&value), whole_number(&value), uuid(&value), uuids(3)(&value));
                let _ = instant(&value);
            }
        }
    }
}
