//! A tree read as a typed body, with the casts fastjson performs: text for a number or a flag, a number for text, an
//! ordinal for an enum. Entries that are null count as missing, so a body's defaults apply to them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::{Number, Value};

use super::JsonError;

/// Reads `tree` as a `T`. The depth of the tree is the reader's business and already bounded.
pub(super) fn from_value<T: DeserializeOwned>(tree: &Value) -> Result<T, JsonError> {
    T::deserialize(Loose(tree))
}

/// Deserialises a map whose keys are objects, for `#[serde(deserialize_with = "object_keys")]`: the reader has turned
/// each key into JSON text, which is read back here.
///
/// # Errors
/// The deserialiser's own, when a key is no `K` or an entry no `V`.
pub fn object_keys<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: DeserializeOwned + Ord,
    V: Deserialize<'de>,
{
    struct Entries<K, V>(std::marker::PhantomData<(K, V)>);

    impl<'de, K: DeserializeOwned + Ord, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a map with objects as keys")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                let key = super::from_slice(key.as_bytes()).map_err(de::Error::custom)?;
                entries.insert(key, map.next_value()?);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Entries(std::marker::PhantomData))
}

impl de::Error for JsonError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Shape(message.to_string())
    }
}

#[derive(Clone, Copy)]
struct Loose<'a>(&'a Value);

impl Loose<'_> {
    /// The value as a number of type `N`: a number, or text that spells one.
    fn number<N: FromStr>(self) -> Result<N, JsonError> {
        let digits = match self.0 {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            other => return Err(mismatch("a number", other)),
        };
        let whole = digits.strip_suffix(".0").unwrap_or(&digits);
        whole.parse().map_err(|_| mismatch("a number in range", self.0))
    }

    fn flag(self) -> Result<bool, JsonError> {
        match self.0 {
            Value::Bool(flag) => Ok(*flag),
            Value::Number(number) => Ok(*number != Number::from(0)),
            Value::String(text) if text.eq_ignore_ascii_case("true") || text == "1" => Ok(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") || text == "0" || text.is_empty() => {
                Ok(false)
            }
            other => Err(mismatch("true or false", other)),
        }
    }
}

fn mismatch(expected: &str, found: &Value) -> JsonError {
    let kind = match found {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("text of {} bytes", text.len()),
        scalar => scalar.to_string(),
    };
    JsonError::Shape(format!("expected {expected}, found {kind}"))
}

macro_rules! cast_number {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            visitor.$visit(self.number()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Loose<'_> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => number
                .deserialize_any(visitor)
                .map_err(|error: serde_json::Error| JsonError::Shape(error.to_string())),
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Loose))),
            Value::Object(entries) => {
                let present = entries.iter().filter(|(_, entry)| !entry.is_null());
                visitor
                    .visit_map(MapDeserializer::new(present.map(|(name, entry)| (Key(name), Loose(entry)))))
            }
        }
    }

    cast_number! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
        deserialize_f32 visit_f32 deserialize_f64 visit_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_bool(self.flag()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Number(number) => visitor.visit_string(number.to_string()),
            Value::Bool(flag) => visitor.visit_str(if *flag { "true" } else { "false" }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let name = match self.0 {
            Value::String(name) => name.as_str(),
            Value::Number(ordinal) => ordinal
                .as_u64()
                .and_then(|ordinal| variants.get(usize::try_from(ordinal).ok()?))
                .ok_or_else(|| mismatch("an enum's ordinal", self.0))?,
            other => return Err(mismatch("an enum's name", other)),
        };
        visitor.visit_enum(name.into_deserializer())
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, JsonError> for Loose<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A name in an object; asked for a number, it is parsed as one (`{"0":..}`, `{0:..}`).
#[derive(Clone, Copy)]
struct Key<'a>(&'a str);

macro_rules! parse_key {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            let number = self.0.parse().map_err(|_| JsonError::Shape("expected a number as key".to_owned()))?;
            visitor.$visit(number)
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_str(self.0)
    }

    parse_key! {
        deserialize_i32 visit_i32 deserialize_i64 visit_i64 deserialize_u32 visit_u32 deserialize_u64 visit_u64
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, JsonError> for Key<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
