//! Masters and slaves, from outside: whatever is killed, suspended, cut off or full, slaves have what was acknowledged
//! as it was promised, catch up by themselves, and end with the same bytes as their master; also when one side is
//! Apache's.
//!
//! How often and how much: `REPLICATION_KILLS`, `SLAVE_FAULTS`, `MESSAGES`, `CUTS`, `CATCH_UP_MIB`, `REPLICATION_SEED`;
//! see `docs/chaos.md`.

mod catch_up;
mod examples;
mod faults;
mod identity;
mod java;
mod kills;
mod modes;
mod reads;
mod retention;

use std::sync::Arc;
use std::time::Duration;

use tests::group::Group;
use tests::ledger::Ledger;
use tests::load::Plan;
use tests::sizes::Sizes;

const TOPIC: &str = "Ledger";
const QUEUES: u32 = 4;
/// How long anything that happens by itself may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Small segments, so that faults also meet the change from one to the next; timeouts short enough to wait for.
const CONFIG: &[(&str, &str)] = &[
    ("mappedFileSizeCommitLog", "4194304"),
    ("maxMessageSize", "1048576"),
    ("tailCacheBytes", "4194304"),
    ("slaveTimeout", "1000"),
    ("haSendHeartbeatInterval", "200"),
    ("haHousekeepingInterval", "2000"),
];
/// `slaveTimeout` above.
const SLAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// What an answer may take beyond what it has to wait for, on a busy machine without optimisation.
const SLOWNESS: Duration = Duration::from_secs(2);

/// What a master says of a slave that hangs or is no longer heard.
const SLAVE_IS_SILENT: &[&str] = &["follower closed: it reported nothing for 2s (haHousekeepingInterval)"];

/// Eight senders of messages of 1,000 bytes to a group's master, without rest and end.
fn plan(group: &Group) -> Plan {
    Plan {
        addr: group.master.addr(),
        topic: TOPIC,
        queues: QUEUES,
        senders: 8,
        sizes: Sizes::Each(1_000),
        pause: Duration::ZERO,
        count: None,
    }
}

/// Judges a member that has everything, also what was answered late.
fn assert_has_everything(ledger: &Arc<Ledger>, addr: &str) {
    let report = ledger.judge(addr, TOPIC, QUEUES as i32);
    assert!(report.broken.is_empty(), "{addr}: {report:#?}");
    assert!(report.stored >= report.acknowledged + report.late, "{addr} has fewer: {report:#?}");
}
