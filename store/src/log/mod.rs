//! The commit log: bytes in the order they were acknowledged in.

pub(crate) mod cache;
pub(crate) mod find;
pub(crate) mod flush;
pub mod follow;
pub mod range;
pub mod read;
pub(crate) mod roll;
pub mod tail;
pub mod whole;
