//! What a broker answers to `GET /admin/v1/status` on its admin port: the one place where its JSON is described.
//!
//! Times are milliseconds since 1970, sizes are bytes, offsets are those of the log. A field that is not known is
//! absent, never 0.

use serde::{Deserialize, Serialize};

/// The state of a broker, as it sees itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdminStatus {
    pub version: String,
    pub role: Role,
    pub broker_name: String,
    /// 0 is the master.
    pub broker_id: i64,
    /// Absent as long as the store has none.
    pub store_id: Option<String>,
    pub state: StoreState,
    /// What `/readyz` says.
    pub ready: bool,
    /// Why it is not ready, and why the last live settings it was given do not hold; empty when all is well.
    pub reason: String,
    /// First and last offset of the log; absent while the store is not open.
    pub log_begin: Option<u64>,
    pub log_end: Option<u64>,
    /// For a slave: the end of its master's log at their last contact.
    pub master_end: Option<u64>,
    /// For a slave: what it lacks, and for how long it has; both 0 when it has everything.
    pub lag_bytes: Option<u64>,
    pub lag_millis: Option<u64>,
    /// A master is in sync with itself; a slave by `haMaxTimeSlaveNotCatchup`.
    pub in_sync: bool,
    /// For a master: who follows.
    #[serde(default)]
    pub followers: Vec<Follower>,
    /// The name servers that have taken its registration, `host:port`.
    #[serde(default)]
    pub registered_at: Vec<String>,
    /// Of the live settings it runs with; 0 without any.
    pub config_revision: u64,
    /// A digest of all settings that hold, live and static.
    pub config_hash: String,
    /// What holds of its `brokerPermission`: 6 to write and read, 4 to read, 0 in no route. 6 for as long as a master that
    /// lost it still takes messages (`writeGraceMillis`).
    pub permission: u8,
    pub disk_used_percent: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Master,
    Slave,
}

/// Whether the store is the one that this member should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreState {
    Ok,
    /// It reads its log after a start.
    Recovering,
    /// The store is another member's; it is not opened and nothing is served.
    StoreIdentityMismatch,
    /// The store is empty where `expectedStoreId` names one; nothing is written to it and nothing is served.
    VolumeLost,
}

/// One connection of a slave to its master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Follower {
    /// From where it is connected.
    pub address: String,
    pub lag_bytes: u64,
    pub in_sync: bool,
}
