//! The commit log: bytes in the order they were acknowledged in.

pub(crate) mod cache;
pub(crate) mod flush;
pub mod read;
pub mod tail;
