//! Where the messages of a queue, or with a key, are. Derived from the log: built in the append, sealed with its
//! segment into one file for all queues, rebuilt by a scan where that file is missing.
//!
//! | kind | file | layout |
//! |---|---|---|
//! | sealed index | `index/<base>.idx` | [`sealed`] |
//! | dropped topics | `dropped.json` | `dropped.rs` |

pub mod keys;
pub mod queue;
pub(crate) mod record;
pub mod sealed;
pub mod table;
