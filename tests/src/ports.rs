//! Ports for clusters that run side by side, also from different test processes: each takes a slot, an offset that
//! is added to every port, and holds a lock on it for as long as it lives.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;

/// Ports of a cluster with offset 0 that must be free: name servers, their health, relays, four brokers with the port
/// for replicas and health.
#[rustfmt::skip]
const PROBED: &[u16] = &[
    9776, 9777, 9876, 9877, 9910, 9911, 9912, 9913,
    10909, 10911, 10912, 10914, 10929, 10931, 10932, 10934,
    10949, 10951, 10952, 10954, 10969, 10971, 10972, 10974,
];
/// Chosen so that no port of one slot is a port of another.
const STEP: u16 = 150;
const SLOTS: u16 = 100;

/// An offset no other cluster has at the moment.
#[derive(Debug)]
pub struct Slot {
    /// What is added to every port.
    pub offset: u16,
    _lock: File,
}

impl Slot {
    /// Takes a free slot.
    ///
    /// # Panics
    /// When there is none.
    pub fn take() -> Slot {
        let folder = std::env::temp_dir().join("gantry-test-ports");
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
        // Slot 0 is left to whoever runs `make run` meanwhile.
        for slot in 1..=SLOTS {
            let path = folder.join(slot.to_string());
            let Ok(file) = OpenOptions::new().create(true).append(true).open(path) else { continue };
            if file.try_lock().is_ok() && PROBED.iter().all(|port| is_free(port + slot * STEP)) {
                return Slot { offset: slot * STEP, _lock: file };
            }
        }
        panic!("none of {SLOTS} port slots is free");
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slots_never_share_a_port() {
        let (a, b) = (Slot::take(), Slot::take());
        assert_ne!(a.offset, b.offset);
        for step in 1..SLOTS {
            for first in PROBED {
                assert!(!PROBED.contains(&(first + step * STEP)), "{first} + {step} slots");
            }
        }
    }
}
