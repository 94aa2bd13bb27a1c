//! The types a `RocketMQCluster` manifest is read into, with the defaults that depend on nothing else.
//!
//! Reading is only half of it: a value of these types may still break a rule. What runs is
//! [`crate::Validated`], then [`crate::Effective`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A cluster: its name in Kubernetes and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RocketMQCluster {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    pub spec: ClusterSpec,
}

/// The part of Kubernetes' object metadata that a user writes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Lower-case letters, digits and dashes, at most 36: every member's name starts with it.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What the cluster should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// The name RocketMQ clients and tools see, 1 to 64 characters of letters, digits, `_`, `-`, `%`
    /// and `|`. Default: `metadata.name`. Cannot change later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// The version of Gantry that runs, such as `0.1.0`.
    pub version: String,
    #[serde(default)]
    pub name_servers: NameServers,
    pub brokers: Brokers,
    #[serde(default)]
    pub logging: Logging,
}

/// The name servers: equal, independent, each with all routes in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NameServers {
    /// How many, 1 to 9. Default: 3.
    pub replicas: i32,
    /// More settings of the name server by key, see [`crate::config_keys`].
    pub config: BTreeMap<String, String>,
}

/// The broker groups; each holds its own share of every topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Brokers {
    /// How many groups, 0 to 64. Default: 2.
    pub groups: i32,
    /// Members per group, 1 to 5: one master, the rest slaves. Default: 2.
    pub replicas_per_group: i32,
    /// The broker name of a group, with `{cluster}` (`metadata.name`) and `{group}` (its number).
    /// Default: `{cluster}-broker-{group}`. Cannot change later.
    pub group_name_template: String,
    /// Whether consumers read from a slave while the master is down or too far ahead of them. Default: true.
    pub slave_read: bool,
    pub replication: Replication,
    pub flush: Flush,
    pub storage: Storage,
    /// Whether a send to an unknown topic creates it. Default: false.
    pub auto_create_topics: bool,
    /// Whether a consumer of an unknown group creates it. Default: true.
    pub auto_create_consumer_groups: bool,
    /// More settings of the broker by key, at most 128, see [`crate::config_keys`].
    pub config: BTreeMap<String, String>,
}

/// How a group's members keep the same messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Replication {
    /// Default: `Async`. `Controller` is not supported yet.
    pub mode: ReplicationMode,
    /// How many members, the master included, store a message before it is acknowledged: 2 to 5, at most
    /// `replicasPerGroup`; only with mode `Sync`. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_acks: Option<i32>,
    /// How long ago a slave may last have had all of the master's log to count as in sync, a duration
    /// between 1s and 1h. Default: `15s`.
    pub max_slave_lag: String,
    /// How fast a master reads old messages from its disk for slaves that are behind, in bytes per second
    /// and in all, a quantity between 64Ki and 64Gi. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up_bytes_per_second: Option<String>,
}

/// Who leads a group and what an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ReplicationMode {
    /// The first member leads; an acknowledged message is stored by it.
    #[default]
    Async,
    /// The first member leads; an acknowledged message is stored by `requiredAcks` members.
    Sync,
    /// Controllers elect the leader; an acknowledged message is stored by everyone in sync.
    Controller,
}

/// When a message counts as on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Flush {
    /// Default: `Async`.
    pub mode: FlushMode,
    /// How often an `Async` broker flushes, a duration between 1ms and 60s. Default: `500ms`.
    pub interval: String,
}

/// Whether an acknowledgement waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FlushMode {
    /// No: acknowledged messages survive the process but the last ones may not survive the host.
    #[default]
    Async,
    /// Yes: acknowledged messages survive a power loss.
    Sync,
}

/// Where messages are kept and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Storage {
    /// Default: `PersistentVolumeClaim`. Cannot change later.
    #[serde(rename = "type")]
    pub kind: StorageType,
    /// The size of each broker's volume, a quantity; required with a `PersistentVolumeClaim`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// How long messages are kept, a duration of whole hours, at least 1h. Default: `72h`.
    pub file_reserved_time: String,
    /// Disk use in percent, 50 to 94, from which old messages go early; 5 higher, writes stop.
    /// Default: 85.
    pub disk_full_percent: i32,
}

/// Whether messages outlive the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StorageType {
    /// Kept until deleted explicitly.
    #[default]
    PersistentVolumeClaim,
    /// Gone when the member is: for tests. Needs `flush.mode: Async`.
    EmptyDir,
}

/// What the members log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Logging {
    /// Default: `info`.
    pub level: LogLevel,
    /// Default: `Json`.
    pub format: LogFormat,
}

/// From which severity on a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LogFormat {
    #[default]
    Json,
    Text,
}

impl LogLevel {
    /// Returns the level as it is written in a manifest and in a properties file.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl Default for NameServers {
    fn default() -> Self {
        NameServers { replicas: 3, config: BTreeMap::new() }
    }
}

impl Default for Brokers {
    fn default() -> Self {
        Brokers {
            groups: 2,
            replicas_per_group: 2,
            group_name_template: "{cluster}-broker-{group}".to_owned(),
            slave_read: true,
            replication: Replication::default(),
            flush: Flush::default(),
            storage: Storage::default(),
            auto_create_topics: false,
            auto_create_consumer_groups: true,
            config: BTreeMap::new(),
        }
    }
}

impl Default for Replication {
    fn default() -> Self {
        Replication {
            mode: ReplicationMode::Async,
            required_acks: None,
            max_slave_lag: "15s".to_owned(),
            catch_up_bytes_per_second: None,
        }
    }
}

impl Default for Flush {
    fn default() -> Self {
        Flush { mode: FlushMode::Async, interval: "500ms".to_owned() }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            kind: StorageType::PersistentVolumeClaim,
            size: None,
            file_reserved_time: "72h".to_owned(),
            disk_full_percent: 85,
        }
    }
}
