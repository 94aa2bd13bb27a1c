//! Messages on disk: bytes, offsets, queues. Nothing here knows sockets or what a topic means.
//!
//! - [`disk`]: the only access to files; real, memory (can lose power) and faulty ones
//! - [`log`]: the commit log: `tail` appends, `flush` makes durable, `read` and `cache` give back, `progress` tells
//! - [`index`]: where the messages of a queue or with a key are; derived from the log, one file per sealed segment
//! - [`recover`]: scans what no index covers and cuts the torn tail; [`retention`]: what may go (pure)
//! - [`store`]: all of it together: open, append, read, look up, maintain, close
//! - [`check`], [`dump`]: offline inspection
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

pub mod check;
pub mod config;
pub mod disk;
mod dropped;
pub mod dump;
pub mod index;
mod log;
mod recover;
pub mod retention;
mod scan;
mod seal;
mod segment;
mod space;
pub mod store;
mod threads;

pub use config::StoreConfig;
pub use index::queue::{Entry, Queue};
pub use log::read::ReadError;
pub use log::tail::{AppendError, Batch, Stored};
pub use store::{OpenError, Store};
