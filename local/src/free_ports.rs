//! Whether ports are free right now. The answer may be old when it is used: a member that then cannot
//! listen says so itself.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use manifest::Effective;

use crate::placement::Placement;
use crate::port_holder::port_holder;
use crate::ports::{Seat, loopback, ports};
use crate::start_error::PortInUse;

/// From one tried offset to the next: of two clusters that far apart no ports meet.
const OFFSET_STEP: u16 = 400;
/// How many offsets are tried; all their ports are below those the system gives to outgoing connections.
const OFFSETS: u16 = 50;

/// How many offsets this process was given.
static GIVEN: AtomicU16 = AtomicU16::new(0);

/// Returns the ports of the placements that somebody else listens on.
pub(crate) fn ports_in_use(placements: &[Placement]) -> Vec<PortInUse> {
    let mut in_use = Vec::new();
    for placement in placements {
        for (what, port) in placement.ports.listened().filter(|(_, port)| !is_free(*port)) {
            let member = placement.name.clone();
            in_use.push(PortInUse { member, what, port, holder: port_holder(port) });
        }
    }
    in_use
}

/// Returns a port offset at which every port of this cluster is free, for tests that run beside each
/// other: each call in a process gives another one, and the search starts at a place that depends on the
/// process. `None` when there is none.
pub fn free_offset(effective: &Effective) -> Option<u16> {
    let groups = u32::try_from(effective.brokers.group_names.len()).unwrap_or(u32::MAX);
    let brokers = groups.saturating_mul(effective.brokers.replicas_per_group);
    let name_servers = (0..effective.name_servers.replicas).map(Seat::NameServer);
    let seats: Vec<Seat> = name_servers.chain((0..brokers).map(Seat::Broker)).collect();
    let is_free_for =
        |seat, offset| ports(seat, offset).is_ok_and(|ports| ports.listened().all(|(_, port)| is_free(port)));
    (0..OFFSETS).map(|_| next_offset()).find(|offset| seats.iter().all(|seat| is_free_for(*seat, *offset)))
}

fn next_offset() -> u16 {
    let first = std::process::id() % u32::from(OFFSETS);
    let turn = (first + u32::from(GIVEN.fetch_add(1, Ordering::Relaxed))) % u32::from(OFFSETS);
    u16::try_from(turn).unwrap_or(0) * OFFSET_STEP
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(loopback(port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_until_somebody_listens() {
        let taken = TcpListener::bind(loopback(0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(!is_free(port));
        drop(taken);
        assert!(is_free(port));
    }
}
