//! JSON, read in two steps: text into a [`Value`], and that into a type. Types read from text would each bring a parser
//! of their own into the wasm.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{
    de::{
        value::{MapDeserializer, SeqDeserializer},
        DeserializeOwned, DeserializeSeed, EnumAccess, Error, IntoDeserializer, VariantAccess, Visitor,
    },
    forward_to_deserialize_any, Deserialize, Deserializer,
};
use serde_json::{Map, Value};

use crate::time;

/// Reads a value from JSON text; `None` if the text is not JSON, or JSON of another form.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    read(serde_json::from_slice(text).ok()?)
}

/// Reads a value from JSON; `None` if it has another form.
pub fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    T::deserialize(Json(value)).ok()
}

/// Reads the types of this project from JSON as `serde_json` does, with three differences. A list of an object's values
/// is not that object. An enum is tagged by its serde name: `#[serde(rename = "outcome")]` reads
/// `{"outcome": "gone", …}`, and holds nothing back until the tag is found. An error does not say what is wrong, since
/// nobody would read what takes kilobytes to write.
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
        let mut members = MapDeserializer::new(members.into_iter().map(|(name, value)| (name, Json(value))));
        let value = visitor.visit_map(&mut members)?;
        members.end()?;
        Ok(value)
    }
}

struct Variant {
    name: String,
    members: Map<String, Value>,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(mut self, seed: V) -> Result<(V::Value, Self), Mismatch> {
        let name = std::mem::take(&mut self.name);
        Ok((seed.deserialize(Json(Value::String(name)))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        seed.deserialize(Json(Value::Object(self.members)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Mismatch> {
        Err(Mismatch)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Mismatch> {
        Json(Value::Object(self.members)).object(visitor)
    }
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

    /// `"variant"`, or `{"<tag>": "variant", …}` with what is the variant's beside the tag. The tag is the enum's serde
    /// name. A variant that has nothing may have anything beside it.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        tag: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Object(mut members) => match members.remove(tag) {
                Some(Value::String(name)) => visitor.visit_enum(Variant { name, members }),
                _ => Err(Mismatch),
            },
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
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
/// Those of the deserializer, and for text that is not an instant.
pub fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    time::parse(&text).ok_or_else(|| D::Error::custom("not an instant"))
}

/// The same for a field that may be null or absent; that needs `#[serde(default)]` besides.
///
/// # Errors
/// As [`instant`].
pub fn optional_instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| time::parse(&text).ok_or_else(|| D::Error::custom("not an instant")))
        .transpose()
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
    enum Word {
        None,
        ManyWords,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename = "outcome", rename_all = "snake_case")]
    enum Outcome {
        Gone,
        Found(Object),
        InASecond { seconds: u64 },
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
            json!("many_words"),
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
        is_read_as_by_serde_json::<Word>(&values);
        let (arrays, values): (Vec<Value>, Vec<Value>) = values.into_iter().partition(Value::is_array);
        is_read_as_by_serde_json::<Object>(&values);
        assert!(arrays.into_iter().all(|array| read::<Object>(array).is_none()));
        for value in values {
            assert_eq!(read(value.clone()), Some(value));
        }
    }

    #[test]
    fn an_enum_is_read_by_its_tag_wherever_that_stands() {
        let object = Object {
            text: "a".to_owned(),
            number: Some(1),
            list: Vec::new(),
        };
        for (value, expected) in [
            (json!({"outcome": "gone"}), Some(Outcome::Gone)),
            // A later release of the database may add a field anywhere.
            (json!({"another": {"x": 1}, "outcome": "gone"}), Some(Outcome::Gone)),
            (
                json!({"number": 1, "outcome": "found", "text": "a"}),
                Some(Outcome::Found(object)),
            ),
            (
                json!({"outcome": "in_a_second", "seconds": 1, "x": []}),
                Some(Outcome::InASecond { seconds: 1 }),
            ),
            (json!({"outcome": "in_a_second"}), None),
            (json!({"outcome": "found", "text": 1}), None),
            (json!({"outcome": "another"}), None),
            (json!({"outcome": 1}), None),
            (json!({"Gone": null}), None),
            (json!({}), None),
            (json!([1]), None),
            (json!(null), None),
        ] {
            assert_eq!(read::<Outcome>(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn text_that_is_no_json_is_not_read() {
        assert_eq!(parse::<Vec<u8>>(b"[1, 2]"), Some(vec![1, 2]));
        for wrong in ["[1, 2", "{}", "", "[1] 2"] {
            assert_eq!(parse::<Vec<u8>>(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Times {
        #[serde(deserialize_with = "instant")]
        at: DateTime<Utc>,
        #[serde(default, deserialize_with = "optional_instant")]
        until: Option<DateTime<Utc>>,
    }

    #[test]
    fn instants_are_rfc_3339() {
        let at = "2026-03-01T17:00:00+01:00";
        let read = |until: Value| read::<Times>(json!({"at": at, "until": until}));
        let expected = |until: Option<&str>| {
            Some(Times {
                at: "2026-03-01T16:00:00Z".parse().unwrap(),
                until: until.map(|until| until.parse().unwrap()),
            })
        };
        assert_eq!(read(json!(null)), expected(None));
        assert_eq!(super::read(json!({"at": at})), expected(None));
        assert_eq!(
            read(json!("2026-03-01T17:00:00.5Z")),
            expected(Some("2026-03-01T17:00:00.5Z"))
        );
        for wrong in [json!("2026-03-01"), json!("tomorrow"), json!(7)] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }
}
