//! JSON as the Java side writes and reads it: fastjson's dialect. Bodies only; command headers are `header.rs`.
//!
//! | File | Holds |
//! |---|---|
//! | `json/read.rs` | lenient text -> `serde_json::Value`, bounded in depth and size |
//! | `json/refs.rs` | expands `{"$ref":"$.a.b"}`, which fastjson writes for an object it meets twice |
//! | `json/loose.rs` | `Value` -> typed body, with fastjson's casts (`"8"` for a number, an ordinal for an enum) |
//! | `json/write.rs` | typed body -> text, in either dialect the wire needs |
//!
//! The dialect differs from JSON in three ways that matter: map keys may be numbers (`{0:"a"}`) or whole objects
//! (`{{"topic":"T"}:{..}}`), repeated objects become references, and a missing field is how null is written.

mod loose;
mod read;
mod refs;
mod write;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use loose::object_keys;
pub use write::Dialect;

/// The deepest nesting of arrays, objects and object keys that is read.
pub const MAX_DEPTH: usize = 64;

/// The most values (scalars, arrays and objects together) that the lenient reader builds from one text. It bounds
/// the memory a small hostile text can claim; the largest honest body (consume statistics of a broker with tens of
/// thousands of queues) stays well below.
pub const MAX_VALUES: usize = 500_000;

/// Why a text is not the body it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not the dialect's grammar.
    #[error("read json at byte {at}: expected {expected}")]
    Syntax {
        /// Offset in the text.
        at: usize,
        /// What the grammar allows there.
        expected: &'static str,
    },
    /// More than [`MAX_DEPTH`] levels.
    #[error("read json at byte {at}: nested deeper than {MAX_DEPTH}")]
    TooDeep {
        /// Offset in the text.
        at: usize,
    },
    /// More than [`MAX_VALUES`] values.
    #[error("read json at byte {at}: more than {MAX_VALUES} values")]
    TooLarge {
        /// Offset in the text.
        at: usize,
    },
    /// Well-formed text whose values do not fit the body's fields.
    #[error("read json: {0}")]
    Shape(String),
}

/// Reads a body: strict JSON at full speed, anything else through the lenient reader.
///
/// # Errors
/// Every [`JsonError`]; the caller answers the request with a refusal, the connection stays usable.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    // A reference is valid JSON, and a body whose fields all have defaults would silently swallow it.
    if !refs::mentions_reference(text)
        && let Ok(body) = serde_json::from_slice(text)
    {
        return Ok(body);
    }
    loose::from_value(&parse(text)?)
}

/// Reads any text of the dialect into a tree. Object keys become their canonical JSON text (compact, names sorted),
/// number keys their digits; references are expanded or, where they lead in circles or nowhere, null.
///
/// # Errors
/// [`JsonError::Syntax`], [`JsonError::TooDeep`] or [`JsonError::TooLarge`].
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let tree = read::read(text)?;
    Ok(if refs::mentions_reference(text) { refs::expand(&tree) } else { tree })
}

/// Writes a body in `dialect`. Fields and map entries without a value are left out, as the Java side does.
///
/// # Panics
/// Only if a `Serialize` implementation reports an error of its own; the derived ones of `bodies` never do.
pub fn to_vec<T: Serialize + ?Sized>(body: &T, dialect: Dialect) -> Vec<u8> {
    write::to_vec(body, dialect).expect("plain data always has a json text")
}

/// A body of a request or response that travels as JSON.
pub trait JsonBody: Serialize + DeserializeOwned {
    /// Returns the text the reference implementation sends in this place.
    fn encode(&self) -> Vec<u8> {
        to_vec(self, Dialect::Java)
    }

    /// Reads what any peer sends in this place.
    ///
    /// # Errors
    /// Every [`JsonError`].
    fn decode(text: &[u8]) -> Result<Self, JsonError> {
        from_slice(text)
    }
}

#[cfg(test)]
mod tests;
