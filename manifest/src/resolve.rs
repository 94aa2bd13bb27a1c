//! Defaults that depend on other fields: the effective manifest, with every value decided.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::cluster::{FlushMode, Logging, Replication, ReplicationMode, StorageType};
use crate::units::{ByteSize, format_duration};
use crate::validate::Validated;

/// A cluster with nothing left to decide: what members are made from, and what `plan` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// `metadata.name`: every member's name starts with it.
    pub name: String,
    pub namespace: Option<String>,
    /// The name clients and tools see.
    pub cluster_name: String,
    pub version: String,
    pub name_servers: EffectiveNameServers,
    pub brokers: EffectiveBrokers,
    pub logging: Logging,
}

/// The name servers of an effective manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveNameServers {
    pub replicas: u32,
    pub config: BTreeMap<String, String>,
}

/// The broker groups of an effective manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveBrokers {
    /// The broker name of each group, in order.
    pub group_names: Vec<String>,
    pub replicas_per_group: u32,
    pub slave_read: bool,
    pub replication_mode: ReplicationMode,
    /// How many members, the master included, store a message before it is acknowledged; 1 with mode
    /// `Async`.
    pub required_acks: u32,
    #[serde(serialize_with = "duration_text")]
    pub max_slave_lag: Duration,
    /// `None`: unlimited.
    pub catch_up_bytes_per_second: Option<ByteSize>,
    pub flush_mode: FlushMode,
    #[serde(serialize_with = "duration_text")]
    pub flush_interval: Duration,
    pub storage_type: StorageType,
    pub storage_size: Option<ByteSize>,
    #[serde(serialize_with = "duration_text")]
    pub file_reserved_time: Duration,
    pub disk_full_percent: u32,
    pub auto_create_topics: bool,
    pub auto_create_consumer_groups: bool,
    pub config: BTreeMap<String, String>,
}

/// Decides every value the manifest left open.
pub fn resolve(validated: &Validated) -> Effective {
    let cluster = &validated.cluster;
    let spec = &cluster.spec;
    let name = validated.name();
    Effective {
        name: name.to_owned(),
        namespace: cluster.metadata.namespace.clone(),
        cluster_name: spec.cluster_name.clone().unwrap_or_else(|| name.to_owned()),
        version: spec.version.clone(),
        name_servers: EffectiveNameServers {
            replicas: spec.name_servers.replicas.unsigned_abs(),
            config: spec.name_servers.config.clone(),
        },
        brokers: resolve_brokers(validated),
        logging: spec.logging.clone(),
    }
}

/// Returns the broker name of the group of that number.
pub fn group_name(validated: &Validated, group: u32) -> String {
    let template = &validated.cluster.spec.brokers.group_name_template;
    template.replace("{cluster}", validated.name()).replace("{group}", &group.to_string())
}

fn resolve_brokers(validated: &Validated) -> EffectiveBrokers {
    let brokers = &validated.cluster.spec.brokers;
    let amounts = &validated.amounts;
    EffectiveBrokers {
        group_names: (0..brokers.groups.unsigned_abs()).map(|group| group_name(validated, group)).collect(),
        replicas_per_group: brokers.replicas_per_group.unsigned_abs(),
        slave_read: brokers.slave_read,
        replication_mode: brokers.replication.mode,
        required_acks: required_acks(&brokers.replication),
        max_slave_lag: amounts.max_slave_lag,
        catch_up_bytes_per_second: amounts.catch_up_bytes_per_second,
        flush_mode: brokers.flush.mode,
        flush_interval: amounts.flush_interval,
        storage_type: brokers.storage.kind,
        storage_size: amounts.storage_size,
        file_reserved_time: amounts.file_reserved,
        disk_full_percent: brokers.storage.disk_full_percent.unsigned_abs(),
        auto_create_topics: brokers.auto_create_topics,
        auto_create_consumer_groups: brokers.auto_create_consumer_groups,
        config: brokers.config.clone(),
    }
}

/// The members that a `Sync` group waits for by default: the master and one slave.
const USUAL_ACKS: u32 = 2;

fn required_acks(replication: &Replication) -> u32 {
    match replication.mode {
        ReplicationMode::Sync => replication.required_acks.map_or(USUAL_ACKS, i32::unsigned_abs),
        ReplicationMode::Async | ReplicationMode::Controller => 1,
    }
}

fn duration_text<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}
