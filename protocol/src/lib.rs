//! The wire, pure: bytes to meaning and back. No sockets, no clock, no async here, and nothing that knows a server.
//!
//! - [`frame`]: cutting and writing frames; [`header`]: both header encodings, their custom fields in `ext_fields.rs`;
//!   [`codes`]: their numbers by name
//! - [`requests`]: the custom fields of each request and answer; [`bodies`]: their bodies; [`json`]: fastjson's dialect
//! - [`message`]: a stored message, byte for byte; [`properties`]: its properties
//! - [`names`]: reserved topics and groups; [`listeners`]: the addresses of one broker
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

pub mod bodies;
pub mod codes;
mod ext_fields;
pub mod frame;
pub mod header;
pub mod json;
pub mod listeners;
pub mod message;
pub mod names;
pub mod properties;
pub mod requests;
