//! The custom fields of a header in both encodings, not yet interpreted: visited in one pass, without a map and
//! without looking at what nobody asks for.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use crate::header::HeaderDecodeError;

/// The custom fields of a header, not yet interpreted.
#[derive(Clone, Copy, Default)]
pub enum ExtFields<'a> {
    /// The header has none (`extFields` absent).
    #[default]
    None,
    /// The text of a JSON object, known to be well formed.
    Json(&'a str),
    /// The entries of a binary header; their lengths are known to be right.
    Binary(&'a [u8]),
}

/// The value of a field, as far as it has been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// Text of a JSON header.
    Text(Cow<'a, str>),
    /// Bytes of a binary header, not yet known to be text.
    Bytes(&'a [u8]),
}

impl<'a> FieldValue<'a> {
    /// Returns the text; `None` if it is not UTF-8.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            FieldValue::Text(text) => Some(text),
            FieldValue::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        }
    }

    /// Makes a value of text.
    pub fn of(text: &'a str) -> FieldValue<'a> {
        FieldValue::Text(Cow::Borrowed(text))
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            FieldValue::Text(text) => text.as_bytes(),
            FieldValue::Bytes(bytes) => bytes,
        }
    }

    /// Returns the number it states in decimal digits; `None` if it does not, or if that is too large.
    pub fn int(&self) -> Option<i64> {
        let bytes = self.bytes();
        let (negative, digits) = match bytes {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        // Nineteen digits fit 64 bits without a sign.
        if digits.is_empty() || digits.len() > 19 {
            return None;
        }
        let (mut number, mut wrong) = (0u64, false);
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            wrong |= digit > 9;
            number = number.wrapping_mul(10).wrapping_add(digit as u64);
        }
        if wrong {
            return None;
        }
        if negative { 0i64.checked_sub_unsigned(number) } else { number.try_into().ok() }
    }

    /// Says whether it is `true`, in any case of letters, as in Java.
    pub fn is_true(&self) -> bool {
        self.bytes().eq_ignore_ascii_case(b"true")
    }
}

impl<'a> ExtFields<'a> {
    /// Calls `each` for every field in the order of the wire, names as bytes. Values that JSON writes as numbers or
    /// booleans arrive as their text; nulls are passed over, as Java never writes them.
    pub fn visit_raw(&self, mut each: impl FnMut(&[u8], FieldValue<'a>)) {
        match *self {
            ExtFields::None => {}
            ExtFields::Json(text) => {
                let mut de = serde_json::Deserializer::from_str(text);
                let mut each = |key: &str, value| each(key.as_bytes(), FieldValue::Text(value));
                // Checked when the header was decoded, so it cannot fail here.
                let _ = ExtSeed(&mut each).deserialize(&mut de);
            }
            ExtFields::Binary(mut bytes) => {
                while let Some((key, value, rest)) = binary_entry(bytes) {
                    each(key, FieldValue::Bytes(value));
                    bytes = rest;
                }
            }
        }
    }

    /// Calls `each` for every field that is text.
    pub fn visit(&self, mut each: impl FnMut(&str, Cow<'a, str>)) {
        self.visit_raw(|key, value| {
            if let (Ok(key), Some(value)) = (std::str::from_utf8(key), value.text()) {
                each(key, value);
            }
        });
    }

    /// Returns one field by name. For rare requests; typed headers read all fields in one pass.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut found = None;
        self.visit(|key, value| {
            if key == name {
                found = Some(value);
            }
        });
        found
    }
}

impl fmt::Debug for ExtFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        self.visit(|key, value| {
            map.entry(&key, &value);
        });
        map.finish()
    }
}

/// Splits one entry off a block; `None` at its end, or where a length points outside.
fn binary_entry(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key_len, rest) = bytes.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_at_checked(i16::from_be_bytes(*key_len).try_into().ok()?)?;
    let (value_len, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(i32::from_be_bytes(*value_len).try_into().ok()?)?;
    Some((key, value, rest))
}

/// Checks that all lengths of a block are right. What [`binary_entry`] does, without making the parts.
pub(crate) fn check_binary_entries(bytes: &[u8]) -> Result<(), HeaderDecodeError> {
    let mut at = 0;
    while at < bytes.len() {
        let left = (bytes.len() - at) as i64;
        at = after_entry(bytes, at).ok_or(HeaderDecodeError::Length("ext field", left))?;
    }
    Ok(())
}

fn after_entry(bytes: &[u8], at: usize) -> Option<usize> {
    let key_len = i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
    let at = at + 2 + usize::try_from(key_len).ok()?;
    let value_len = i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
    let at = at + 4 + usize::try_from(value_len).ok()?;
    (at <= bytes.len()).then_some(at)
}

/// A string that borrows from the text unless it holds escapes.
pub(crate) struct CowStr<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for CowStr<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = CowStr<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<CowStr<'de>, E> {
                Ok(CowStr(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<CowStr<'de>, E> {
                Ok(CowStr(Cow::Owned(v.to_owned())))
            }
            fn visit_string<E>(self, v: String) -> Result<CowStr<'de>, E> {
                Ok(CowStr(Cow::Owned(v)))
            }
        }
        d.deserialize_str(V)
    }
}

/// A field's value: text, or a scalar turned into its text, or null.
struct ExtValue<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for ExtValue<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = ExtValue<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, number, boolean or null")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<ExtValue<'de>, E> {
                Ok(ExtValue(Some(Cow::Borrowed(v))))
            }
            fn visit_str<E>(self, v: &str) -> Result<ExtValue<'de>, E> {
                Ok(ExtValue(Some(Cow::Owned(v.to_owned()))))
            }
            fn visit_i64<E>(self, v: i64) -> Result<ExtValue<'de>, E> {
                Ok(ExtValue(Some(Cow::Owned(v.to_string()))))
            }
            fn visit_u64<E>(self, v: u64) -> Result<ExtValue<'de>, E> {
                Ok(ExtValue(Some(Cow::Owned(v.to_string()))))
            }
            fn visit_f64<E>(self, v: f64) -> Result<ExtValue<'de>, E> {
                Ok(ExtValue(Some(Cow::Owned(v.to_string()))))
            }
            fn visit_bool<E>(self, v: bool) -> Result<ExtValue<'de>, E> {
                Ok(ExtValue(Some(Cow::Borrowed(if v { "true" } else { "false" }))))
            }
            fn visit_unit<E>(self) -> Result<ExtValue<'de>, E> {
                Ok(ExtValue(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ExtValue<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(ExtValue(None))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<ExtValue<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(ExtValue(None))
            }
        }
        d.deserialize_any(V)
    }
}

pub(crate) struct ExtSeed<'f, F>(pub &'f mut F);

impl<'de, F: FnMut(&str, Cow<'de, str>)> DeserializeSeed<'de> for ExtSeed<'_, F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        struct V<'f, F>(&'f mut F);
        impl<'de, F: FnMut(&str, Cow<'de, str>)> Visitor<'de> for V<'_, F> {
            type Value = ();
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                while let Some(key) = map.next_key::<CowStr<'de>>()? {
                    if let ExtValue(Some(value)) = map.next_value::<ExtValue<'de>>()? {
                        (self.0)(&key.0, value);
                    }
                }
                Ok(())
            }
        }
        d.deserialize_map(V(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{Serialization, decode};

    #[test]
    fn numbers_are_read_within_their_limits() {
        let int = |text: &str| FieldValue::Bytes(text.as_bytes()).int();
        for n in [0, 7, -1, i64::MAX, i64::MIN] {
            assert_eq!(int(&n.to_string()), Some(n));
        }
        assert_eq!(int("+5"), Some(5));
        for bad in [
            "",
            "-",
            "1a",
            " 1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "1.0",
        ] {
            assert_eq!(int(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_field_that_is_no_text_is_as_good_as_absent() {
        let header: &[u8] =
            &[0, 11, 0, 1, 223, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, b'a', 0, 0, 0, 1, 0xff];
        let h = decode(Serialization::Binary, header).unwrap();
        assert_eq!(h.ext.get("a"), None);
    }
}
