//! The commit log: bytes in the order they were acknowledged in.

pub(crate) mod cache;
pub(crate) mod find;
pub(crate) mod flush;
pub mod read;
pub(crate) mod roll;
pub mod tail;
