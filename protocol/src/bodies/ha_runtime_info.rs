//! How far a group's members are: the master's view of its followers, or a slave's of its own link (907).
//!
//! Fields marked "ours" do not exist in the reference implementation; it neither sends nor misses them.

use serde::{Deserialize, Serialize};

use crate::json::JsonBody;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaRuntimeInfo {
    /// A slave's own link; a Java master sends one that says nothing.
    pub ha_client_runtime_info: Option<HaClientRuntimeInfo>,
    /// A master's followers.
    pub ha_connection_info: Vec<HaConnectionRuntimeInfo>,
    /// How many of them are in sync; the master is not counted.
    pub in_sync_slave_nums: i32,
    pub master: bool,
    pub master_commit_log_max_offset: i64,
}

impl JsonBody for HaRuntimeInfo {}

/// A follower as its master sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaConnectionRuntimeInfo {
    /// The follower's end of the connection.
    pub addr: String,
    /// Whether what it was sent last had to be read from the disk. Ours.
    pub catching_up: Option<bool>,
    /// Bytes of the log that it has not acknowledged.
    pub diff: i64,
    pub in_sync: bool,
    /// For how long it has not had everything there was. Ours.
    pub lag_millis: Option<i64>,
    pub slave_ack_offset: i64,
    pub transfer_from_where: i64,
    pub transferred_byte_in_second: i64,
}

/// A slave's link to its master.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaClientRuntimeInfo {
    pub activated: bool,
    /// When it last heard of its master, in ms since 1970.
    pub last_read_timestamp: i64,
    /// When it last reported, in ms since 1970.
    pub last_write_timestamp: i64,
    /// Its own end of the connection: the address the master knows it by. Ours.
    pub local_addr: Option<String>,
    pub master_addr: Option<String>,
    /// The end of the master's flushed log as the slave knows it.
    pub master_flush_offset: i64,
    /// The end of its own log.
    pub max_offset: i64,
    pub transferred_byte_in_second: i64,
}
