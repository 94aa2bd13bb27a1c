//! A slave's life: it finds its master, joins it, follows its log, and takes over its tables, until it is stopped.
//!
//! [`SlaveLink`] is what the rest of the broker knows of it.

pub mod applied;
mod link;
pub mod taken;

use std::sync::Arc;

use daemon::signals::Shutdown;

use crate::broker::Broker;

pub use link::{Addresses, LinkState, SlaveLink};

/// Lives a slave's life until shutdown; the caller runs it where [`Broker::slave`] is there.
pub async fn run(broker: Arc<Broker>, shutdown: Shutdown) {
    let _ = broker;
    shutdown.wait().await;
}
