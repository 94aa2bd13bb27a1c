//! The settings that take effect while the broker runs: their manual, how they are read and how they are written.

use std::net::IpAddr;
use std::time::Duration;

use daemon::config::{Reader, Unit};
use daemon::logs;
use protocol::listeners::ListenerAddresses;
use store::retention::RetentionPolicy;

/// Copies of a message at most that an acknowledgement may wait for, the master's among them.
pub const MAX_IN_SYNC_REPLICAS: usize = 5;

/// What a broker is within its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerRole {
    /// Acknowledges what it has stored itself.
    AsyncMaster,
    /// Acknowledges what `inSyncReplicas` members have stored, itself among them.
    SyncMaster,
    /// Follows the master and takes no messages.
    Slave,
}

/// When a message counts as stored by this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// When it is written: it survives the death of the process, not of the machine.
    Async,
    /// When it is on the disk.
    Sync,
}

const ROLES: [(&str, BrokerRole); 3] = [
    ("ASYNC_MASTER", BrokerRole::AsyncMaster),
    ("SYNC_MASTER", BrokerRole::SyncMaster),
    ("SLAVE", BrokerRole::Slave),
];
const FLUSH_MODES: [(&str, FlushMode); 2] =
    [("ASYNC_FLUSH", FlushMode::Async), ("SYNC_FLUSH", FlushMode::Sync)];
/// Each with what it allows, as the permissions of topics have it.
const PERMISSIONS: [(&str, i32); 3] = [("6", 6), ("4", 4), ("0", 0)];

/// The settings that take effect at once when they are changed: by request (25), by the live file, or by the admin port.
/// Messages stored before keep what they were promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSettings {
    /// `brokerRole`: `ASYNC_MASTER`, `SYNC_MASTER` or `SLAVE`. Default `ASYNC_MASTER`. Between the two kinds of master
    /// it is live; to `SLAVE` or from it, it needs a restart.
    pub role: BrokerRole,
    /// `inSyncReplicas`: members that have stored a message before it is acknowledged, the master among them. Only a
    /// `SYNC_MASTER` looks at it. Default 1, 1 to 5.
    pub in_sync_replicas: usize,
    /// `flushDiskType`: `ASYNC_FLUSH` or `SYNC_FLUSH`. Default `ASYNC_FLUSH`.
    pub flush: FlushMode,
    /// `syncFlushTimeout`: ms after which a send that waits for its flush is answered FLUSH_DISK_TIMEOUT. Default
    /// 5000, 1 to 60000.
    pub sync_flush_timeout: Duration,
    /// `slaveTimeout`: ms after which a send that waits for slaves is answered FLUSH_SLAVE_TIMEOUT; when too few slaves
    /// have been connected for that long already, it is answered so at once. Default 2000, 1 to 60000; not the 3000 of
    /// Java, at which clients give up by default.
    pub slave_timeout: Duration,
    /// `slaveReadEnable`: on a slave, whether it serves pulls; on a master, whether it sends consumers that are far
    /// behind to a slave. Default false.
    pub slave_read: bool,
    /// `haCatchUpBytesPerSecond`: bytes per second at most that a master reads from its disk for slaves that are behind,
    /// all together; 0 for no limit. Default 0, 64KiB to 64GiB otherwise.
    pub catch_up_bytes_per_second: Option<u64>,
    /// `haMaxTimeSlaveNotCatchup`: ms a slave may be behind and count as in sync; a slave that is further behind is not
    /// ready. Default 15000, 100 to 3600000.
    pub max_slave_lag: Duration,
    /// `flushIntervalCommitLog`: ms between two flushes when nobody waits for one. Default 500, 1 to 60000.
    pub flush_interval: Duration,
    /// `fileReservedTime`: hours a segment is kept after its last message. Default 72, 1 to 87600.
    pub file_reserved_hours: u32,
    /// `diskMaxUsedSpaceRatio`: percent of the disk from which old segments go at once. Default 75, 10 to 99.
    pub disk_max_used: u8,
    /// `diskSpaceCleanForciblyRatio`: percent from which any segment but the last goes. Default 85, 10 to 99.
    pub disk_force: u8,
    /// `diskSpaceWarningLevelRatio`: percent from which writes are refused. Default 90, 10 to 100, not less than
    /// `diskSpaceCleanForciblyRatio`.
    pub disk_refuse: u8,
    /// `autoCreateTopicEnable`: whether a send to an unknown topic makes it. Default true.
    pub auto_create_topics: bool,
    /// `autoCreateSubscriptionGroup`: whether a group is made by its first consumer. Default true.
    pub auto_create_groups: bool,
    /// `logLevel`: `error`, `warn`, `info`, `debug` or `trace`, also per crate. Default `info`.
    pub log_level: String,
    /// `brokerPermission`: 6 to take and give messages, 4 to give only, 0 to do neither and be in no route. Default 6.
    pub permission: i32,
    /// `namesrvAddr`: name servers, `host:port` separated by `;`. Default none.
    pub name_servers: Vec<String>,
    /// `brokerIP1`: the address clients reach the broker at. Default: `podIP`; without that the one it listens on, or
    /// the one that reaches the first name server.
    pub advertised_ip: Option<IpAddr>,
    /// `listeners`: where clients reach the broker by each listener, `internal=10.0.0.1:10911,external=mq:20911`; told to
    /// name servers. Default none: only the broker's own address.
    pub listeners: ListenerAddresses,
    /// `expectedStoreId`: the id of the store that this member must have, as in its `store.json`. A member with another
    /// store, or an empty one, is held: it runs and serves nothing. Default: any store of this member, or none.
    pub expected_store_id: Option<String>,
}

impl LiveSettings {
    /// The keys of the live settings.
    pub const KEYS: [&str; 21] = [
        "brokerRole",
        "inSyncReplicas",
        "flushDiskType",
        "syncFlushTimeout",
        "slaveTimeout",
        "slaveReadEnable",
        "haCatchUpBytesPerSecond",
        "haMaxTimeSlaveNotCatchup",
        "flushIntervalCommitLog",
        "fileReservedTime",
        "diskMaxUsedSpaceRatio",
        "diskSpaceCleanForciblyRatio",
        "diskSpaceWarningLevelRatio",
        "autoCreateTopicEnable",
        "autoCreateSubscriptionGroup",
        "logLevel",
        "brokerPermission",
        "namesrvAddr",
        "brokerIP1",
        "listeners",
        "expectedStoreId",
    ];

    pub(crate) fn read(read: &mut Reader<'_>) -> Self {
        let catch_up = read.bytes("haCatchUpBytesPerSecond", 0, 0..=64 << 30);
        if (1..64 << 10).contains(&catch_up) {
            read.refuse("haCatchUpBytesPerSecond", "0 for no limit, or 64KiB to 64GiB bytes");
        }
        let settings = Self {
            role: read.choice("brokerRole", BrokerRole::AsyncMaster, &ROLES),
            in_sync_replicas: read.number("inSyncReplicas", 1, 1..=MAX_IN_SYNC_REPLICAS),
            flush: read.choice("flushDiskType", FlushMode::Async, &FLUSH_MODES),
            sync_flush_timeout: read.duration("syncFlushTimeout", Unit::Milliseconds, 5_000, 1..=60_000),
            slave_timeout: read.duration("slaveTimeout", Unit::Milliseconds, 2_000, 1..=60_000),
            slave_read: read.boolean("slaveReadEnable", false),
            catch_up_bytes_per_second: (catch_up > 0).then_some(catch_up),
            max_slave_lag: read.duration(
                "haMaxTimeSlaveNotCatchup",
                Unit::Milliseconds,
                15_000,
                100..=3_600_000,
            ),
            flush_interval: read.duration("flushIntervalCommitLog", Unit::Milliseconds, 500, 1..=60_000),
            file_reserved_hours: read.number("fileReservedTime", 72, 1..=87_600),
            disk_max_used: read.number("diskMaxUsedSpaceRatio", 75, 10..=99),
            disk_force: read.number("diskSpaceCleanForciblyRatio", 85, 10..=99),
            disk_refuse: read.number("diskSpaceWarningLevelRatio", 90, 10..=100),
            auto_create_topics: read.boolean("autoCreateTopicEnable", true),
            auto_create_groups: read.boolean("autoCreateSubscriptionGroup", true),
            log_level: read.parsed("logLevel", "info".to_owned(), logs::LEVELS, |text| {
                logs::is_level(text).then(|| text.to_owned())
            }),
            permission: read.choice("brokerPermission", 6, &PERMISSIONS),
            name_servers: read.parsed(
                "namesrvAddr",
                Vec::new(),
                "host:port, several separated by ;",
                read_addresses,
            ),
            advertised_ip: read.parsed("brokerIP1", None, "an IP address", |text| text.parse().ok().map(Some)),
            listeners: read.parsed(
                "listeners",
                ListenerAddresses::default(),
                "name=host:port, at most 8 of them separated by commas, each name a small letter and at most 11 more \
                 small letters and digits",
                |text| ListenerAddresses::parse(text).ok(),
            ),
            expected_store_id: read.optional("expectedStoreId"),
        };
        if settings.disk_refuse < settings.disk_force {
            read.refuse("diskSpaceWarningLevelRatio", "diskSpaceCleanForciblyRatio or more");
        }
        settings
    }

    /// Returns the settings as [`crate::Config::from_properties`] reads them.
    pub fn to_properties(&self) -> [(&'static str, String); Self::KEYS.len()] {
        let ms = |duration: Duration| duration.as_millis().to_string();
        let values = [
            word(&ROLES, self.role),
            self.in_sync_replicas.to_string(),
            word(&FLUSH_MODES, self.flush),
            ms(self.sync_flush_timeout),
            ms(self.slave_timeout),
            self.slave_read.to_string(),
            self.catch_up_bytes_per_second.unwrap_or(0).to_string(),
            ms(self.max_slave_lag),
            ms(self.flush_interval),
            self.file_reserved_hours.to_string(),
            self.disk_max_used.to_string(),
            self.disk_force.to_string(),
            self.disk_refuse.to_string(),
            self.auto_create_topics.to_string(),
            self.auto_create_groups.to_string(),
            self.log_level.clone(),
            self.permission.to_string(),
            self.name_servers.join(";"),
            self.advertised_ip.map_or_else(String::new, |ip| ip.to_string()),
            self.listeners.to_string(),
            self.expected_store_id.clone().unwrap_or_default(),
        ];
        let mut keys = Self::KEYS.into_iter();
        values.map(|value| (keys.next().unwrap_or_default(), value))
    }

    /// Returns how many members must have stored a message before it is acknowledged, this one among them.
    pub fn required_acks(&self) -> usize {
        match self.role {
            BrokerRole::SyncMaster => self.in_sync_replicas,
            BrokerRole::AsyncMaster | BrokerRole::Slave => 1,
        }
    }

    /// Says whether the broker follows a master.
    pub fn is_slave(&self) -> bool {
        self.role == BrokerRole::Slave
    }

    /// Returns when segments may go; `delete_hours` is `deleteWhen`.
    pub fn retention(&self, delete_hours: &[u8]) -> RetentionPolicy {
        RetentionPolicy {
            reserved_ms: i64::from(self.file_reserved_hours) * 3_600_000,
            delete_hours: delete_hours.to_vec(),
            max_used_percent: self.disk_max_used,
            force_percent: self.disk_force,
            refuse_percent: self.disk_refuse,
        }
    }
}

fn word<T: PartialEq>(words: &[(&str, T)], value: T) -> String {
    words.iter().find(|(_, v)| *v == value).map_or_else(String::new, |(word, _)| (*word).to_owned())
}

fn read_addresses(text: &str) -> Option<Vec<String>> {
    let addresses = text.split([';', ',']).map(str::trim).filter(|address| !address.is_empty());
    addresses.map(|address| is_address(address).then(|| address.to_owned())).collect()
}

/// Says whether a text is `host:port`.
pub(crate) fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}
