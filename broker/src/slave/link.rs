//! What the rest of the broker knows of a slave's link to its master: addresses, whether it is up, whether the slave is
//! level with its master, and what happened so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use replication::{Following, FollowingState};
use tokio::sync::watch;

use super::applied::Applied;
use super::taken::Taken;
use crate::broker::now_ms;

/// The link of a slave to its master, as requests, probes and metrics see it.
pub struct SlaveLink {
    state: watch::Sender<LinkState>,
    following: Arc<Following>,
    /// Offsets that clients committed here, for the master.
    pub taken: Taken,
    /// What was taken over of the master's tables.
    pub applied: Applied,
    counts: Counts,
}

/// How the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// `host:port` of the master for requests, the last one told; kept when nobody names one any more.
    pub master_address: Option<String>,
    /// `host:port` of the master for its log, the last one told.
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
pub(super) struct Counts {
    pub joins: AtomicU64,
    pub refusals: AtomicU64,
    pub start_overs: AtomicU64,
}

impl SlaveLink {
    /// Makes a link that knows no master yet.
    pub fn new(taken: Taken) -> Arc<SlaveLink> {
        let state = LinkState {
            master_address: None,
            master_ha_address: None,
            registered_master: false,
            connected: false,
            not_ready: Some("the master has not been reached yet".to_owned()),
        };
        Arc::new(SlaveLink {
            state: watch::Sender::new(state),
            following: Following::new(),
            taken,
            applied: Applied::default(),
            counts: Counts::default(),
        })
    }

    /// Says whether there is a master to send clients to: its log is being followed, or the last registration named it.
    pub fn master_is_alive(&self) -> bool {
        let state = self.state.borrow();
        state.connected || state.registered_master
    }

    /// Says whether the slave was level with its master at their last contact.
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

    /// Returns how following goes: offsets, bytes, times.
    pub fn following(&self) -> &Arc<Following> {
        &self.following
    }

    /// Returns how often the slave has joined its master.
    pub fn joins(&self) -> u64 {
        self.counts.joins.load(Ordering::Relaxed)
    }

    /// Returns how often the slave could not follow for a reason that a human must remove.
    pub fn refusals(&self) -> u64 {
        self.counts.refusals.load(Ordering::Relaxed)
    }

    /// Returns how often the slave gave up its log and started over.
    pub fn start_overs(&self) -> u64 {
        self.counts.start_overs.load(Ordering::Relaxed)
    }

    /// A name server was registered at, and told of the master or of none.
    pub fn on_registered(&self, master: Option<Addresses>) {
        self.change(|state| {
            state.registered_master = master.is_some();
            if let Some(master) = master {
                master.put(state);
            }
        });
    }

    /// The master itself told where it is (906).
    pub fn on_told(&self, master: Addresses) {
        self.change(|state| master.put(state));
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Changes the state; who watches it hears only of what is different.
    pub(super) fn change(&self, change: impl FnOnce(&mut LinkState)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }
}

/// Returns for how long a slave had not had everything there was, at its last contact with its master; since its start
/// if it never had.
pub fn lag_time(following: &FollowingState, boot_ms: i64) -> Duration {
    match (following.last_contact, following.caught_up_at) {
        (Some(contact), Some(caught_up)) => contact.saturating_duration_since(caught_up),
        _ => Duration::from_millis((now_ms() - boot_ms).max(0) as u64),
    }
}

/// Where a master is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// For requests.
    pub address: String,
    /// For its log, if that was told.
    pub ha_address: Option<String>,
}

impl Addresses {
    fn put(self, state: &mut LinkState) {
        state.master_address = Some(self.address);
        if self.ha_address.is_some() {
            state.master_ha_address = self.ha_address;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Arc<SlaveLink> {
        SlaveLink::new(Taken::load(tempfile::tempdir().unwrap().path()).unwrap())
    }

    #[test]
    fn a_master_that_is_named_no_more_is_remembered_but_counts_as_gone() {
        let link = link();
        assert!(!link.master_is_alive());
        let ha_address = Some("m:2".to_owned());
        link.on_registered(Some(Addresses { address: "m:1".to_owned(), ha_address: ha_address.clone() }));
        assert!(link.master_is_alive());
        let mut changes = link.changes();
        link.on_registered(None);
        assert!(changes.has_changed().unwrap() && !link.master_is_alive());
        let state = changes.borrow_and_update().clone();
        assert_eq!((state.master_address.as_deref(), state.master_ha_address), (Some("m:1"), ha_address));
        link.on_registered(None);
        assert!(!changes.has_changed().unwrap(), "nothing is different");
        link.change(|state| state.connected = true);
        assert!(link.master_is_alive());
    }

    #[test]
    fn a_slave_is_not_ready_before_its_first_contact() {
        let link = link();
        assert_eq!(link.readiness(), Err("the master has not been reached yet".to_owned()));
        link.change(|state| state.not_ready = None);
        assert_eq!(link.readiness(), Ok(()));
    }
}
