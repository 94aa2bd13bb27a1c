//! What the senders of a batch are promised, and how far the log has come since: where [`crate::acks`] meets the live
//! settings and the leader.

use std::time::Instant;

use tokio::sync::watch;

use crate::acks::{Promise, Reached, StoredBatch};
use crate::broker::Broker;

/// Returns what the senders of a batch that was just stored are promised; `None` when it is kept already.
pub fn promise(broker: &Broker, end: u64, begun: Instant) -> Option<Promise> {
    let settings = broker.live.load();
    let leader = broker.leader.as_ref().filter(|_| settings.required_acks() > 1);
    let slaves_missing_since = leader.and_then(|leader| leader.missing_since());
    Promise::new(&settings, StoredBatch { end, begun, slaves_missing_since })
}

/// Returns how far the log has come, as each promise counts it.
pub fn reached<'a>(
    broker: &'a Broker,
    flushed: &mut watch::Receiver<u64>,
    replicated: Option<&mut watch::Receiver<u64>>,
) -> impl Fn(&Promise) -> Reached + 'a {
    let flushed = *flushed.borrow_and_update();
    let members = || broker.live.load().required_acks();
    let before = members();
    let replicated = replicated.map_or(0, |watched| *watched.borrow_and_update());
    // While the settings say so many, before and after, the offset read in between was of so many members at least.
    let of = [before, members()];
    move |promise| {
        let replicated = match (promise.copies, &broker.leader) {
            // Promised under other settings: the members are counted again.
            (Some(copies), Some(leader)) if of != [copies.members; 2] => leader.confirmed_by(copies.members),
            _ => replicated,
        };
        Reached { flushed, replicated }
    }
}
