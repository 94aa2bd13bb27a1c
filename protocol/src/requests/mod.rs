//! The custom fields of each request and answer, one file per noun. A type is declared once, by its fields' names on
//! the wire; reading is one pass over the header without a map, writing leaves nulls out (P§1.8).

use std::borrow::Cow;

use crate::frame::ExtWriter;
use crate::header::{ExtFields, FieldValue};

mod admin;
mod clients;
mod namesrv;
mod offsets;
mod pull_message;
mod replication;
mod send_message;

pub use admin::*;
pub use clients::*;
pub use namesrv::*;
pub use offsets::*;
pub use pull_message::*;
pub use replication::*;
pub use send_message::*;

/// A required field that a request does not carry, or carries unreadably. Servers answer SYSTEM_ERROR with this text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the custom field <{0}> is null")]
pub struct MissingField(pub &'static str);

/// Reads a type from the custom fields of a header.
pub trait DecodeExt<'a>: Sized {
    /// Reads all fields in one pass; unknown and unreadable ones are passed over.
    ///
    /// # Errors
    /// The first required field that is missing.
    fn decode(ext: &ExtFields<'a>) -> Result<Self, MissingField>;
}

/// Writes a type as the custom fields of a header.
pub trait EncodeExt {
    /// Writes every field that is not null.
    fn encode(&self, w: &mut ExtWriter<'_>);

    /// Says whether `extFields` is written even when it is empty.
    fn always_present(&self) -> bool {
        false
    }
}

/// No custom fields.
pub struct NoFields;

impl EncodeExt for NoFields {
    fn encode(&self, _: &mut ExtWriter<'_>) {}
}

/// Fields known only at run time.
pub struct Fields<'a>(pub &'a [(&'a str, &'a str)]);

impl EncodeExt for Fields<'_> {
    fn encode(&self, w: &mut ExtWriter<'_>) {
        for (key, value) in self.0 {
            w.text(key, value);
        }
    }
}

/// A value that a custom field can have.
trait Field<'a>: Sized {
    fn parse(value: FieldValue<'a>) -> Option<Self>;
    fn write(&self, key: &str, w: &mut ExtWriter<'_>);
    /// What an absent field means; `None` if it must be there.
    fn absent() -> Option<Self> {
        None
    }
}

impl<'a> Field<'a> for Cow<'a, str> {
    fn parse(value: FieldValue<'a>) -> Option<Self> {
        value.text()
    }
    fn write(&self, key: &str, w: &mut ExtWriter<'_>) {
        w.text(key, self);
    }
}

impl<'a> Field<'a> for String {
    fn parse(value: FieldValue<'a>) -> Option<Self> {
        value.text().map(Cow::into_owned)
    }
    fn write(&self, key: &str, w: &mut ExtWriter<'_>) {
        w.text(key, self);
    }
}

impl<'a> Field<'a> for i32 {
    fn parse(value: FieldValue<'a>) -> Option<Self> {
        value.int()?.try_into().ok()
    }
    fn write(&self, key: &str, w: &mut ExtWriter<'_>) {
        w.int(key, *self as i64);
    }
}

impl<'a> Field<'a> for i64 {
    fn parse(value: FieldValue<'a>) -> Option<Self> {
        value.int()
    }
    fn write(&self, key: &str, w: &mut ExtWriter<'_>) {
        w.int(key, *self);
    }
}

impl<'a> Field<'a> for bool {
    fn parse(value: FieldValue<'a>) -> Option<Self> {
        Some(value.is_true())
    }
    fn write(&self, key: &str, w: &mut ExtWriter<'_>) {
        w.bool(key, *self);
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn parse(value: FieldValue<'a>) -> Option<Self> {
        Some(T::parse(value))
    }
    fn write(&self, key: &str, w: &mut ExtWriter<'_>) {
        if let Some(value) = self {
            value.write(key, w);
        }
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// Declares header types. `field: Type = "wireName"` must be present unless the type is an `Option`;
/// `field: Type = "wireName" or VALUE` has Java's default.
macro_rules! headers {
    ($($(#[$doc:meta])* $name:ident $(<$lt:lifetime>)? {
        $($(#[$fdoc:meta])* $field:ident : $ty:ty = $key:literal $(or $default:expr)?),* $(,)?
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name $(<$lt>)? { $($(#[$fdoc])* pub $field: $ty,)* }

        impl<'a> $crate::requests::DecodeExt<'a> for $name $(<$lt>)? {
            fn decode(ext: &$crate::header::ExtFields<'a>) -> Result<Self, $crate::requests::MissingField> {
                $(let mut $field: Option<$ty> = None;)*
                ext.visit_raw(|key, value| match key {
                    $(k if k == $key.as_bytes() => $field = <$ty as $crate::requests::Field<'a>>::parse(value),)*
                    _ => { let _ = value; }
                });
                Ok($name { $(
                    $field: match $field $(.or(Some($default)))? {
                        Some(value) => value,
                        None => <$ty as $crate::requests::Field<'a>>::absent()
                            .ok_or($crate::requests::MissingField($key))?,
                    },
                )* })
            }
        }

        impl $(<$lt>)? $crate::requests::EncodeExt for $name $(<$lt>)? {
            fn encode(&self, w: &mut $crate::frame::ExtWriter<'_>) {
                $($crate::requests::Field::write(&self.$field, $key, w);)*
                let _ = w;
            }
        }
    )*};
}
pub(crate) use headers;
