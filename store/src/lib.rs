//! Messages on disk: bytes, offsets, queues. Nothing here knows sockets or what a topic means.
//!
//! - [`disk`]: the only access to files; real, memory (can lose power) and faulty ones
//! - `log`: the commit log: `tail` appends, `follow` appends what a master appended, `roll` goes on in the next
//!   segment, `flush` makes durable; `read`, `find` and `cache` give records back, `range` gives bytes to replicas, and
//!   `whole` finds the records in them
//! - [`index`]: where the messages of a queue or with a key are; derived from the log, one file per sealed segment
//! - `recover`: opens what is there, `scan`s what no index covers, and cuts the `torn` tail; an `item` is what stands
//!   at a position of the log
//! - `deletion`: topics that go, noted in `dropped`; `start_over`: the whole log goes
//! - `seal`: index files of complete segments; `space`: which segments go, decided in [`retention`] (pure)
//! - [`store`]: all of it together: open, bounds, failing, close; `threads` keep it up
//! - [`check`], [`dump`]: offline inspection
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

pub mod check;
pub mod config;
mod deletion;
pub mod disk;
mod dropped;
pub mod dump;
pub mod index;
mod item;
mod log;
mod recover;
pub mod retention;
mod scan;
mod seal;
mod segment;
mod space;
mod start_over;
pub mod store;
mod threads;
mod torn;

pub use config::StoreConfig;
pub use index::queue::{Entry, Queue};
pub use log::follow::AppendLogError;
pub use log::range::LogRead;
pub use log::read::ReadError;
pub use log::tail::{AppendError, Batch, Stored};
pub use log::whole::{NoRecord, Whole, whole_records};
pub use store::{OpenError, Store};
