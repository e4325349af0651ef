//! JSON, read in two steps: text into a [`Value`], and that into a type. Types read from text would each bring a parser of their
//! own into the wasm.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{
    de::{
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
        DeserializeOwned, Error, IntoDeserializer, Visitor,
    },
    forward_to_deserialize_any, Deserialize, Deserializer,
};
use serde_json::{Map, Value};

/// Reads a value from JSON text; `None` where it is none, or one of another form.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    read(serde_json::from_slice(text).ok()?)
}

/// Reads a value from JSON; `None` where it has another form.
pub fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    T::deserialize(Json(value)).ok()
}

/// Reads the types of this project from JSON as `serde_json` does, with two differences: a list of an object's values is not that
/// object, and an error does not say what is wrong, since nobody would read what takes kilobytes to write. (Keys of maps that
/// are not text cannot be read.)
struct Json(Value);

/// The JSON has another form.
#[derive(Debug, thiserror::Error)]
#[error("JSON of another form was expected")]
struct Mismatch;

impl Error for Mismatch {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl IntoDeserializer<'_, Mismatch> for Json {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Json {
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let Value::Number(number) = self.0 else {
            return Err(Mismatch);
        };
        if let Some(number) = number.as_u64() {
            visitor.visit_u64(number)
        } else if let Some(number) = number.as_i64() {
            visitor.visit_i64(number)
        } else {
            visitor.visit_f64(number.as_f64().ok_or(Mismatch)?)
        }
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            _ => Err(Mismatch),
        }
    }

    fn array<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let Value::Array(items) = self.0 else {
            return Err(Mismatch);
        };
        let mut items = SeqDeserializer::new(items.into_iter().map(Json));
        let value = visitor.visit_seq(&mut items)?;
        items.end()?;
        Ok(value)
    }

    fn object<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let Value::Object(members) = self.0 else {
            return Err(Mismatch);
        };
        let mut members = read_members(members);
        let value = visitor.visit_map(&mut members)?;
        members.end()?;
        Ok(value)
    }
}

fn read_members<'de>(
    members: Map<String, Value>,
) -> MapDeserializer<'de, impl Iterator<Item = (String, Json)>, Mismatch> {
    MapDeserializer::new(members.into_iter().map(|(name, value)| (name, Json(value))))
}

/// Has each type of Rust read from its one type of JSON: the others would bring code for nothing but their refusal.
macro_rules! forward {
    ($json:ident: $($rust:ident)*) => {$(
        fn $rust<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            self.$json(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Json {
    type Error = Mismatch;

    forward!(number: deserialize_u32 deserialize_u64 deserialize_i64 deserialize_f64);
    forward!(text: deserialize_str deserialize_string deserialize_identifier);
    forward!(array: deserialize_seq);
    forward!(object: deserialize_map);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(_) => self.number(visitor),
            Value::String(_) => self.text(visitor),
            Value::Array(_) => self.array(visitor),
            Value::Object(_) => self.object(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.object(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    /// `"name"`, or `{"name": content}`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            Value::Object(member) if member.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(read_members(member)))
            }
            _ => Err(Mismatch),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i128 u8 u16 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
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
    use std::fmt::Debug;

    use serde::de::IgnoredAny;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Object {
        text: String,
        number: Option<i64>,
        #[serde(default)]
        list: Vec<u32>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        None,
        One(String),
        Named { number: f64 },
    }

    /// Looks at the JSON itself first.
    #[derive(Debug, PartialEq)]
    struct Id(String);

    impl<'de> Deserialize<'de> for Id {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match Value::deserialize(deserializer)? {
                Value::String(id) => Ok(Self(id)),
                Value::Number(id) if id.is_u64() => Ok(Self(id.to_string())),
                _ => Err(D::Error::custom("neither text nor a number")),
            }
        }
    }

    fn is_read_as_by_serde_json<T: DeserializeOwned + Debug + PartialEq>(values: &[Value]) {
        let mut good = 0;
        for value in values {
            let expected = serde_json::from_value::<T>(value.clone()).ok();
            good += usize::from(expected.is_some());
            assert_eq!(read::<T>(value.clone()), expected, "{value}");
        }
        assert!((1..=values.len()).contains(&good), "{good} of {}", values.len());
    }

    #[test]
    fn types_are_read_as_by_serde_json() {
        let values = [
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(1.5),
            json!(1e300),
            json!(u32::MAX),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(""),
            json!("none"),
            json!("one"),
            json!("2026-03-01T17:00:00Z"),
            json!("5e2c9d60-6c1f-4f0e-9c7d-0d7c1d3f2a10"),
            json!([]),
            json!([1, 2]),
            json!([1, "2"]),
            json!(["a", 1, [2]]),
            json!(["a", 1, [2], 3]),
            json!({}),
            json!({"text": "a"}),
            json!({"text": "a", "number": 1, "list": [2], "other": {"x": null}}),
            json!({"text": "a", "number": null}),
            json!({"text": "a", "number": "1"}),
            json!({"text": null}),
            json!({"text": "a", "list": null}),
            json!({"none": null}),
            json!({"none": 1}),
            json!({"one": "a"}),
            json!({"one": 1}),
            json!({"one": "a", "none": null}),
            json!({"named": {"number": 1}}),
            json!({"named": {"number": 1.5, "other": 1}}),
            json!({"named": {}}),
            json!({"named": [1]}),
            json!({"named": [1, 2]}),
            json!({"another": 1}),
        ];
        is_read_as_by_serde_json::<bool>(&values);
        is_read_as_by_serde_json::<u16>(&values);
        is_read_as_by_serde_json::<u32>(&values);
        is_read_as_by_serde_json::<u64>(&values);
        is_read_as_by_serde_json::<i64>(&values);
        is_read_as_by_serde_json::<f64>(&values);
        is_read_as_by_serde_json::<String>(&values);
        is_read_as_by_serde_json::<DateTime<Utc>>(&values);
        is_read_as_by_serde_json::<uuid::Uuid>(&values);
        is_read_as_by_serde_json::<Option<IgnoredAny>>(&values);
        is_read_as_by_serde_json::<Id>(&values);
        is_read_as_by_serde_json::<Option<String>>(&values);
        is_read_as_by_serde_json::<()>(&values);
        is_read_as_by_serde_json::<(u8, u8)>(&values);
        is_read_as_by_serde_json::<Vec<Value>>(&values);
        is_read_as_by_serde_json::<Vec<u64>>(&values);
        is_read_as_by_serde_json::<Map<String, Value>>(&values);
        is_read_as_by_serde_json::<Choice>(&values);
        let (arrays, values): (Vec<Value>, Vec<Value>) = values.into_iter().partition(Value::is_array);
        is_read_as_by_serde_json::<Object>(&values);
        assert!(arrays.into_iter().all(|array| read::<Object>(array).is_none()));
        for value in values {
            assert_eq!(read(value.clone()), Some(value));
        }
    }

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
