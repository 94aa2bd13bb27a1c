//! The header of a frame in both encodings (P§1.2, P§1.3): decoding without building a map. Knows bytes, not what
//! a code's fields mean (`requests/`) and not how frames are cut (`frame.rs`).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::codes::RequestCode;

/// Bit 0 of `flag`: the frame answers a request.
pub const FLAG_RESPONSE: i32 = 1;
/// Bit 1 of `flag`: nobody waits for an answer, so none may be sent.
pub const FLAG_ONEWAY: i32 = 2;
/// The version our servers report: V5_3_3, odd for a release (P§1.6).
pub const VERSION: i32 = 479;
/// The language every server answers with: a name that all clients know (P§1.5).
pub const LANGUAGE_JAVA: u8 = 0;

/// How a header is written; the top byte of a frame's second word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Serialization {
    /// JSON text as fastjson writes it, type 0.
    #[default]
    Json,
    /// Packed fields, type 1, `ROCKETMQ` on the wire.
    Binary,
}

/// A decoded header; it borrows from the read buffer.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// Request code, or response code when the response bit is set.
    pub code: i32,
    /// Language byte of P§1.5.
    pub language: u8,
    /// Version ordinal of the sender.
    pub version: i32,
    /// Correlation id, unique per connection and direction.
    pub opaque: i32,
    /// Bits [`FLAG_RESPONSE`] and [`FLAG_ONEWAY`].
    pub flag: i32,
    /// Text for people.
    pub remark: Option<Cow<'a, str>>,
    /// The request's own fields.
    pub ext: ExtFields<'a>,
    /// The encoding this header came in, and its answer should go out in.
    pub serialization: Serialization,
}

impl Header<'_> {
    /// Says whether this frame answers a request.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// Says whether the sender wants no answer.
    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }
}

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

/// Why a header cannot be read. The frame is malformed and its connection ends.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeaderDecodeError {
    /// The JSON text is not an object with the protocol's types.
    #[error("JSON header: {0}")]
    Json(String),
    /// A length points outside of the header, or bytes are missing.
    #[error("binary header: {0} of {1} bytes exceeds the header")]
    Length(&'static str, i64),
    /// Text is not UTF-8.
    #[error("binary header: {0} is not UTF-8")]
    Text(&'static str),
}

/// Decodes a header of the given encoding.
pub fn decode(serialization: Serialization, bytes: &[u8]) -> Result<Header<'_>, HeaderDecodeError> {
    match serialization {
        Serialization::Json => decode_json(bytes),
        Serialization::Binary => decode_binary(bytes),
    }
}

#[derive(Deserialize)]
struct JsonHeader<'a> {
    #[serde(default)]
    code: i32,
    #[serde(default, borrow)]
    language: Option<CowStr<'a>>,
    #[serde(default)]
    version: i32,
    #[serde(default)]
    opaque: i32,
    #[serde(default)]
    flag: i32,
    #[serde(default, borrow)]
    remark: Option<CowStr<'a>>,
    #[serde(default, borrow, rename = "extFields")]
    ext: Option<&'a RawValue>,
}

fn decode_json(bytes: &[u8]) -> Result<Header<'_>, HeaderDecodeError> {
    let fail = |e: serde_json::Error| HeaderDecodeError::Json(e.to_string());
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(HeaderDecodeError::Json("not an object".to_owned()));
    }
    let h: JsonHeader<'_> = serde_json::from_slice(bytes).map_err(fail)?;
    let ext = match h.ext.map(RawValue::get) {
        None | Some("null") => ExtFields::None,
        Some(text) => {
            let mut de = serde_json::Deserializer::from_str(text);
            ExtSeed(&mut |_: &str, _: Cow<'_, str>| {}).deserialize(&mut de).map_err(fail)?;
            ExtFields::Json(text)
        }
    };
    Ok(Header {
        code: h.code,
        language: h.language.map_or(LANGUAGE_JAVA, |l| language_byte(&l.0)),
        version: h.version,
        opaque: h.opaque,
        flag: h.flag,
        remark: h.remark.map(|r| r.0),
        ext,
        serialization: Serialization::Json,
    })
}

fn decode_binary(bytes: &[u8]) -> Result<Header<'_>, HeaderDecodeError> {
    let mut r = Reader(bytes);
    let word = r.i16("code")?;
    let language = r.take("language", 1)?[0];
    let version = r.i16("version")? as i32;
    let opaque = r.i32("opaque")?;
    let flag = r.i32("flag")?;
    let remark = r.block("remark")?;
    let ext = r.block("extFields")?;
    let remark = match remark {
        [] => None,
        text => {
            Some(Cow::Borrowed(std::str::from_utf8(text).map_err(|_| HeaderDecodeError::Text("remark"))?))
        }
    };
    check_binary_entries(ext)?;
    // A response code always fits 16 bits; only requests need mapping back.
    let code = if flag & FLAG_RESPONSE != 0 { word as i32 } else { RequestCode::from_binary(word).0 };
    Ok(Header {
        code,
        language,
        version,
        opaque,
        flag,
        remark,
        ext: if ext.is_empty() { ExtFields::None } else { ExtFields::Binary(ext) },
        serialization: Serialization::Binary,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, what: &'static str, n: usize) -> Result<&'a [u8], HeaderDecodeError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(HeaderDecodeError::Length(what, n as i64))?;
        self.0 = tail;
        Ok(head)
    }

    fn i16(&mut self, what: &'static str) -> Result<i16, HeaderDecodeError> {
        let b = self.take(what, 2)?;
        Ok(i16::from_be_bytes([b[0], b[1]]))
    }

    fn i32(&mut self, what: &'static str) -> Result<i32, HeaderDecodeError> {
        let b = self.take(what, 4)?;
        Ok(i32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn block(&mut self, what: &'static str) -> Result<&'a [u8], HeaderDecodeError> {
        let n = self.i32(what)?;
        let len = usize::try_from(n).map_err(|_| HeaderDecodeError::Length(what, n as i64))?;
        self.take(what, len)
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
fn check_binary_entries(bytes: &[u8]) -> Result<(), HeaderDecodeError> {
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
struct CowStr<'a>(Cow<'a, str>);

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

struct ExtSeed<'f, F>(&'f mut F);

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

const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS",
    "RUST", "NODE_JS",
];

/// Returns the name of a language byte, `OTHER` for an unknown one.
pub fn language_name(byte: u8) -> &'static str {
    LANGUAGES.get(byte as usize).copied().unwrap_or("OTHER")
}

/// Returns the byte of a language name, that of `OTHER` for an unknown one.
pub fn language_byte(name: &str) -> u8 {
    LANGUAGES.iter().position(|l| *l == name).unwrap_or(7) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(h: &Header<'_>) -> Vec<(String, String)> {
        let mut all = Vec::new();
        h.ext.visit(|k, v| all.push((k.to_owned(), v.into_owned())));
        all
    }

    #[test]
    fn a_json_header_of_java_is_read() {
        let text = br#"{"code":105,"extFields":{"topic":"T1","n":3,"b":true,"z":null},"flag":0,"language":"JAVA","opaque":7,"serializeTypeCurrentRPC":"JSON","version":409}"#;
        let h = decode(Serialization::Json, text).unwrap();
        assert_eq!((h.code, h.version, h.opaque, h.flag, h.language), (105, 409, 7, 0, 0));
        assert_eq!(
            fields(&h),
            [("topic", "T1"), ("n", "3"), ("b", "true")].map(|(a, b)| (a.into(), b.into()))
        );
    }

    #[test]
    fn json_escapes_in_a_field_are_resolved() {
        let text = "{\"code\":1,\"extFields\":{\"i\":\"KEYS\\u0001k\\u0002\"}}";
        let h = decode(Serialization::Json, text.as_bytes()).unwrap();
        assert_eq!(h.ext.get("i").unwrap(), "KEYS\u{1}k\u{2}");
    }

    #[test]
    fn missing_ext_fields_and_unknown_keys_are_tolerated() {
        let h =
            decode(Serialization::Json, br#"{"opaque":-1,"code":34,"later":[1,{"x":2}],"extFields":null}"#)
                .unwrap();
        assert_eq!((h.code, h.opaque), (34, -1));
        assert!(h.ext.get("x").is_none());
    }

    #[test]
    fn a_json_header_with_wrong_types_is_refused() {
        for text in [
            &b"[]"[..],
            b"{\"code\":\"x\"}",
            b"{\"extFields\":[1]}",
            b"{\"code\":1",
            b"",
            b"{\"opaque\":1e99}",
        ] {
            assert!(decode(Serialization::Json, text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

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

    #[test]
    fn a_binary_header_with_bad_lengths_is_refused() {
        let good: &[u8] =
            &[0, 11, 0, 1, 223, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, b'a', 0, 0, 0, 1, b'b'];
        let h = decode(Serialization::Binary, good).unwrap();
        assert_eq!((h.code, h.version, h.opaque), (11, 479, 7));
        assert_eq!(h.ext.get("a").unwrap(), "b");
        for cut in 0..good.len() {
            assert!(decode(Serialization::Binary, &good[..cut]).is_err(), "cut at {cut}");
        }
        for at in [13, 17, 21, 24] {
            let mut bad = good.to_vec();
            bad[at] = 0xff;
            assert!(decode(Serialization::Binary, &bad).is_err(), "byte {at}");
        }
    }
}
