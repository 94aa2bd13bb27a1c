//! The header of a frame in both encodings (P§1.2, P§1.3): decoding without building a map. Knows bytes, not what
//! a code's fields mean (`requests/`) and not how frames are cut (`frame.rs`).

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use crate::codes::RequestCode;
use crate::ext_fields::{CowStr, ExtSeed, check_binary_entries};
pub use crate::ext_fields::{ExtFields, FieldValue};

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
