//! The writer: serde values to text. Unlike serde_json it writes any value as a map key and leaves nulls out.

use std::fmt::Display;

use serde::ser::{self, Serialize};

use super::JsonError;

/// Which of the two texts of the reference implementation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// What fastjson writes by default: number keys bare (`{0:"a"}`), UTF-8 as it is. Not always JSON.
    Java,
    /// Strict JSON: every plain key quoted, everything beyond ASCII as `\uXXXX`. Routes for clients since 4.9.4.
    /// Object keys stay objects, because no reader of such a body accepts anything else.
    Standard,
}

pub(super) fn to_vec<T: Serialize + ?Sized>(value: &T, dialect: Dialect) -> Result<Vec<u8>, JsonError> {
    let mut writer = Writer { out: Vec::with_capacity(256), dialect };
    value.serialize(&mut writer)?;
    Ok(writer.out)
}

impl ser::Error for JsonError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Shape(message.to_string())
    }
}

struct Writer {
    out: Vec<u8>,
    dialect: Dialect,
}

impl Writer {
    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let mut plain_from = 0;
        for (at, character) in text.char_indices() {
            if !self.must_escape(character) {
                continue;
            }
            self.out.extend_from_slice(&text.as_bytes()[plain_from..at]);
            plain_from = at + character.len_utf8();
            self.escape(character);
        }
        self.out.extend_from_slice(&text.as_bytes()[plain_from..]);
        self.out.push(b'"');
    }

    fn must_escape(&self, character: char) -> bool {
        // The line separators are legal JSON but not legal JavaScript; fastjson escapes them always.
        let separator = matches!(character, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
        let beyond_ascii = self.dialect == Dialect::Standard && !character.is_ascii();
        character < ' ' || character == '"' || character == '\\' || separator || beyond_ascii
    }

    fn escape(&mut self, character: char) {
        let short = match character {
            '"' => b'"',
            '\\' => b'\\',
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            '\u{8}' => b'b',
            '\u{c}' => b'f',
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    self.out.extend_from_slice(format!("\\u{unit:04X}").as_bytes());
                }
                return;
            }
        };
        self.out.extend_from_slice(&[b'\\', short]);
    }

    fn display(&mut self, value: impl Display) {
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    /// Writes `"name":value`, or nothing when the value turns out to be null.
    fn field<T: Serialize + ?Sized>(
        &mut self,
        first: &mut bool,
        name: &str,
        value: &T,
    ) -> Result<(), JsonError> {
        let before = self.out.len();
        self.comma(*first);
        self.string(name);
        self.entry(first, before, value)
    }

    fn comma(&mut self, first: bool) {
        if !first {
            self.out.push(b',');
        }
    }

    fn entry<T: Serialize + ?Sized>(
        &mut self,
        first: &mut bool,
        before: usize,
        value: &T,
    ) -> Result<(), JsonError> {
        self.out.push(b':');
        let value_from = self.out.len();
        value.serialize(&mut *self)?;
        if &self.out[value_from..] == b"null" {
            self.out.truncate(before);
        } else {
            *first = false;
        }
        Ok(())
    }

    fn open(&mut self, opening: u8, closing: &'static [u8]) -> Container<'_> {
        self.out.push(opening);
        Container { writer: self, first: true, closing, entry_from: 0 }
    }

    /// Opens `{"Variant":` for an enum variant that carries data; the caller's container closes both.
    fn variant(&mut self, name: &str) {
        self.out.push(b'{');
        self.string(name);
        self.out.push(b':');
    }
}

macro_rules! write_integer {
    ($($method:ident $type:ty)*) => {$(
        fn $method(self, value: $type) -> Result<(), JsonError> {
            self.display(value);
            Ok(())
        }
    )*};
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = JsonError;
    type SerializeSeq = Container<'a>;
    type SerializeTuple = Container<'a>;
    type SerializeTupleStruct = Container<'a>;
    type SerializeTupleVariant = Container<'a>;
    type SerializeMap = Container<'a>;
    type SerializeStruct = Container<'a>;
    type SerializeStructVariant = Container<'a>;

    write_integer! {
        serialize_bool bool serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64
        serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64
    }

    fn serialize_f32(self, value: f32) -> Result<(), JsonError> {
        self.serialize_f64(f64::from(value))
    }

    /// Digits in full, never an exponent: not every reader on the other side knows exponents.
    fn serialize_f64(self, value: f64) -> Result<(), JsonError> {
        if !value.is_finite() {
            return self.serialize_unit();
        }
        let whole = value.fract() == 0.0;
        self.display(value);
        if whole {
            self.out.extend_from_slice(b".0");
        }
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), JsonError> {
        self.string(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), JsonError> {
        self.string(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<(), JsonError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), JsonError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), JsonError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), JsonError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), JsonError> {
        self.variant(variant);
        value.serialize(&mut *self)?;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Container<'a>, JsonError> {
        Ok(self.open(b'[', b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Container<'a>, JsonError> {
        Ok(self.open(b'[', b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Container<'a>, JsonError> {
        Ok(self.open(b'[', b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Container<'a>, JsonError> {
        self.variant(variant);
        Ok(self.open(b'[', b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Container<'a>, JsonError> {
        Ok(self.open(b'{', b"}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Container<'a>, JsonError> {
        Ok(self.open(b'{', b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Container<'a>, JsonError> {
        self.variant(variant);
        Ok(self.open(b'{', b"}}"))
    }
}

/// An array or object whose closing bracket is still to come.
struct Container<'a> {
    writer: &'a mut Writer,
    first: bool,
    closing: &'static [u8],
    /// Where the map entry whose key was just written began, so that a null value can take it back.
    entry_from: usize,
}

impl Container<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.writer.comma(self.first);
        self.first = false;
        value.serialize(&mut *self.writer)
    }

    fn close(self) -> Result<(), JsonError> {
        self.writer.out.extend_from_slice(self.closing);
        Ok(())
    }
}

macro_rules! write_items {
    ($($kind:ident $method:ident)*) => {$(
        impl ser::$kind for Container<'_> {
            type Ok = ();
            type Error = JsonError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
                self.item(value)
            }

            fn end(self) -> Result<(), JsonError> {
                self.close()
            }
        }
    )*};
}

write_items! {
    SerializeSeq serialize_element SerializeTuple serialize_element
    SerializeTupleStruct serialize_field SerializeTupleVariant serialize_field
}

macro_rules! write_fields {
    ($($kind:ident)*) => {$(
        impl ser::$kind for Container<'_> {
            type Ok = ();
            type Error = JsonError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), JsonError> {
                self.writer.field(&mut self.first, name, value)
            }

            fn end(self) -> Result<(), JsonError> {
                self.close()
            }
        }
    )*};
}

write_fields! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for Container<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), JsonError> {
        self.entry_from = self.writer.out.len();
        self.writer.comma(self.first);
        let key_from = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        let bare = !matches!(self.writer.out.get(key_from), Some(b'"' | b'{' | b'['));
        if bare && self.writer.dialect == Dialect::Standard {
            self.writer.out.insert(key_from, b'"');
            self.writer.out.push(b'"');
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.writer.entry(&mut self.first, self.entry_from, value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.close()
    }
}
