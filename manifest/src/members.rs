//! Who runs: each member with everything of its settings that follows from the manifest. Addresses, ports and paths are
//! added by those who know them.

use std::collections::BTreeMap;

use crate::cluster::{FlushMode, ReplicationMode};
use crate::resolve::Effective;

/// Segments past their time go at once from this many percent below forced cleaning on.
const CLEANING_BEFORE_FORCED: u32 = 10;
/// Writes are refused this many percent above forced cleaning.
pub const REFUSING_AFTER_FORCED: u32 = 5;

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    NameServer,
    Broker,
}

impl Role {
    /// Returns the role as it stands in names of files and commands: `namesrv`, `broker`.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::NameServer => "namesrv",
            Role::Broker => "broker",
        }
    }

    /// Returns what the member in this place is, for people: `name server`, `master`, `slave`. All slaves of a group follow
    /// its first member.
    pub fn duty(self, ordinal: u32) -> &'static str {
        match self {
            Role::NameServer => "name server",
            Role::Broker if ordinal > 0 => "slave",
            Role::Broker => "master",
        }
    }
}

/// One process or pod of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `<cluster>-namesrv-<ordinal>` or `<cluster>-broker-<group>-<ordinal>`; unique in the cluster.
    pub name: String,
    pub role: Role,
    /// The broker group, from 0; 0 for a name server.
    pub group: u32,
    /// The place in the group, or among the name servers, from 0.
    pub ordinal: u32,
    /// The static properties of the server's configuration file.
    pub config: BTreeMap<String, String>,
}

impl Member {
    /// Returns what the member is in its cluster, for people.
    pub fn duty(&self) -> &'static str {
        self.role.duty(self.ordinal)
    }
}

/// Returns all members in the order they start: name servers, then brokers group by group.
pub fn members(effective: &Effective) -> Vec<Member> {
    let name_servers = (0..effective.name_servers.replicas).map(|ordinal| name_server(effective, ordinal));
    let groups = (0..).zip(&effective.brokers.group_names);
    let brokers = groups.flat_map(|(group, broker_name)| {
        (0..effective.brokers.replicas_per_group)
            .map(move |ordinal| broker(effective, group, broker_name, ordinal))
    });
    name_servers.chain(brokers).collect()
}

/// Returns one name server, whether or not there are so many.
pub fn name_server(effective: &Effective, ordinal: u32) -> Member {
    Member {
        name: format!("{}-namesrv-{ordinal}", effective.name),
        role: Role::NameServer,
        group: 0,
        ordinal,
        config: effective.name_servers.config.clone(),
    }
}

/// Returns one broker, whether or not the manifest has it now: numbers of groups need not be dense.
pub fn broker(effective: &Effective, group: u32, broker_name: &str, ordinal: u32) -> Member {
    let brokers = &effective.brokers;
    let flush_mode = match brokers.flush_mode {
        FlushMode::Async => "ASYNC_FLUSH",
        FlushMode::Sync => "SYNC_FLUSH",
    };
    let role = match brokers.replication_mode {
        _ if ordinal > 0 => "SLAVE",
        ReplicationMode::Sync => "SYNC_MASTER",
        ReplicationMode::Async | ReplicationMode::Controller => "ASYNC_MASTER",
    };
    // 0 is no limit.
    let catch_up = brokers.catch_up_bytes_per_second.map_or(0, |rate| rate.0);
    let hours = brokers.file_reserved_time.as_secs() / 3_600;
    let from_fields = [
        ("autoCreateSubscriptionGroup", brokers.auto_create_consumer_groups.to_string()),
        ("autoCreateTopicEnable", brokers.auto_create_topics.to_string()),
        ("brokerClusterName", effective.cluster_name.clone()),
        ("brokerId", ordinal.to_string()),
        ("brokerName", broker_name.to_owned()),
        ("brokerRole", role.to_owned()),
        (
            "diskMaxUsedSpaceRatio",
            brokers.disk_full_percent.saturating_sub(CLEANING_BEFORE_FORCED).to_string(),
        ),
        ("diskSpaceCleanForciblyRatio", brokers.disk_full_percent.to_string()),
        ("diskSpaceWarningLevelRatio", (brokers.disk_full_percent + REFUSING_AFTER_FORCED).to_string()),
        ("fileReservedTime", hours.to_string()),
        ("flushDiskType", flush_mode.to_owned()),
        ("flushIntervalCommitLog", brokers.flush_interval.as_millis().to_string()),
        ("haCatchUpBytesPerSecond", catch_up.to_string()),
        ("haMaxTimeSlaveNotCatchup", brokers.max_slave_lag.as_millis().to_string()),
        ("inSyncReplicas", brokers.required_acks.to_string()),
        ("slaveReadEnable", brokers.slave_read.to_string()),
    ];
    let mut config = brokers.config.clone();
    config.extend(from_fields.map(|(key, value)| (key.to_owned(), value)));
    Member {
        name: format!("{}-broker-{group}-{ordinal}", effective.name),
        role: Role::Broker,
        group,
        ordinal,
        config,
    }
}
