//! The settings of a broker; their comments are the manual. Names are the reference implementation's where it has one.

mod text;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use daemon::config::{ConfigErrors, Reader, Unit, UnknownKey};
use daemon::logs::{LOG_FORMATS, LogFormat};
use remoting::Limits;
use replication::LeaderConfig;
use store::StoreConfig;

use crate::live::{LiveSettings, is_address};

/// All settings. What `live` holds can be changed while the broker runs (25), the rest needs a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `brokerClusterName`: the cluster. Default `DefaultCluster`.
    pub cluster: String,
    /// `brokerName`: the group of master and slaves. Default: the host's name.
    pub name: String,
    /// `brokerId`: 0 for a master, 1 or more for a slave, unique in its group. Default 0.
    pub id: i64,
    /// `bindAddress`: the address to listen on. Default `0.0.0.0`.
    pub bind_address: IpAddr,
    /// `listenPort`: the port for clients; the fast port is two below it. Default 10911, 1026 to 65535.
    pub listen_port: u16,
    /// `podIP`: the address of the pod that the broker runs in, which clients reach it at unless `brokerIP1` says
    /// otherwise, and which `{podIP}` in a live file stands for. Default: the environment variable `POD_IP`, if there is
    /// one.
    pub pod_ip: Option<IpAddr>,
    /// `registerNameServerPeriod`: ms between two registrations. Default 30000, 10000 to 60000.
    pub register_period: Duration,
    /// `healthPort`: the HTTP port for probes and metrics, 0 for none. Default 0.
    pub health_port: u16,
    /// `adminPort`: the HTTP port for live settings and the broker's own status, 0 for none. Default 0.
    pub admin_port: u16,
    /// `adminTokenFile`: the file of the token that requests on `adminPort` must carry; needed with it. The file may
    /// change while the broker runs.
    pub admin_token_file: Option<PathBuf>,
    /// `storePathRootDir`: the folder of everything. Default `$HOME/store`.
    pub store_dir: PathBuf,
    /// `maxUnflushedBytes`: bytes written and not yet flushed above which a broker that flushes synchronously answers
    /// SYSTEM_BUSY. Default 256MiB, 1MiB to 64GiB.
    pub max_unflushed_bytes: u64,
    /// `maxUnansweredSends`: sends of one connection waiting for their flush or for slaves before it reads no more.
    /// Default 8192, 1 to 1000000.
    pub max_unanswered_sends: usize,
    /// `mappedFileSizeCommitLog`: bytes of a commit-log segment, for segments still to be made. Default 1GiB, 64KiB to
    /// 1GiB; it must hold the largest message.
    pub segment_bytes: u64,
    /// `tailCacheBytes`: bytes of the log's end kept in memory. Default 64MiB, 1MiB to 64GiB.
    pub cache_bytes: u64,
    /// `maxMessageSize`: bytes of a body at most. Default 4MiB, 1KiB to 15MiB: with
    /// its header it must fit a frame.
    pub max_message_size: usize,
    /// `deleteWhen`: hours of the day, UTC, separated by `;`, at which old segments go. Default `04`.
    pub delete_when: Vec<u8>,
    /// `defaultTopicQueueNums`: queues of TBW102, the most an automatically made topic gets. Default 8, 1 to 1024.
    pub default_queues: i32,
    /// `longPollingEnable`: whether a pull that finds nothing may be held. Default true.
    pub long_polling: bool,
    /// `maxTransferCountOnMessageInMemory`: messages per pull at most. Default 32, 1 to 1024.
    pub max_pull_messages: usize,
    /// `maxTransferBytesOnMessageInMemory`: bytes per pull at most, one message apart. Default 256KiB, 4KiB to 16MiB.
    pub max_pull_bytes: usize,
    /// `maxParkedPulls`: pulls held at once; further ones are answered at once. Default 100000, 1 to 10000000.
    pub max_parked_pulls: usize,
    /// `accessMessageInMemoryMaxRatio`: percent of the machine's memory that messages since a consumer's last one may
    /// take before it counts as far behind. A slave takes 10 less, so that nobody is sent to and fro. Default 40, 10 to
    /// 90.
    pub in_memory_ratio: u8,
    /// `flushConsumerOffsetInterval`: ms between two writes of consumer offsets. Default 5000, 100 to 600000.
    pub offset_interval: Duration,
    /// `channelExpiredTimeout`: ms after its last heartbeat when a client counts as gone. Default 120000, 1000 to
    /// 3600000.
    pub client_expiry: Duration,
    /// `regionId`: told to producers. Default `DefaultRegion`.
    pub region: String,
    /// `drainTimeoutMillis`: ms a stopping master waits for connected slaves to get the last of its log. Default 10000,
    /// 0 to 600000.
    pub drain_timeout: Duration,
    /// `writeGraceMillis`: ms for which a running master that loses its write permission still takes messages: routes say
    /// so at once, but clients look for routes every 30 s. Default 30000, 0 to 600000.
    pub write_grace: Duration,
    /// `haListenPort`, `haMasterAddress` and the bounds of the stream between master and slaves.
    pub ha: HaConfig,
    /// What can be changed while the broker runs.
    pub live: LiveSettings,
    /// `maxConnections`, `serverChannelMaxIdleTimeSeconds`, `frameTimeoutMillis`, `writeTimeoutMillis`,
    /// `maxBufferedBytes`, `maxUnansweredBytes`: bounds of connections.
    pub limits: ConnectionLimits,
    /// `logFormat`: `text` or `json`. Default `text`.
    pub log_format: LogFormat,
    /// Settings that were given but do not exist.
    pub unknown: Vec<UnknownKey>,
}

/// The stream between a master and its slaves (P§6.1).
#[derive(Debug, Clone, PartialEq)]
pub struct HaConfig {
    /// `haListenPort`: the port a master listens on for slaves. Default 0: `listenPort` plus 1.
    pub listen_port: u16,
    /// `haMasterAddress`: where a slave finds its master's stream, `host:port`. Default: what the name servers say.
    pub master_address: Option<String>,
    /// `haSendHeartbeatInterval`: ms after which a side that has nothing to say says so. Default 5000, 10 to 600000.
    pub heartbeat: Duration,
    /// `haHousekeepingInterval`: ms after which a silent peer is given up. Default 20000, 20 to 3600000, more than
    /// `haSendHeartbeatInterval`.
    pub housekeeping: Duration,
    /// `haTransferBatchSize`: bytes sent to a slave at once. Default 256KiB, 4KiB to 1MiB.
    pub transfer_bytes: usize,
    /// `maxHaConnections`: slaves connected at once; further ones are turned away. Default 16, 1 to 1024.
    pub max_connections: usize,
    /// `offsetReplicationInterval`: ms after which a master puts changed consumer offsets into its log. Default 1000,
    /// 10 to 600000.
    pub offset_interval: Duration,
}

/// Bounds of connections.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionLimits {
    /// `maxConnections`: connections open at once. Default 20000, 1 to 1000000.
    pub max_connections: usize,
    /// `serverChannelMaxIdleTimeSeconds`: Default 120, 1 to 86400.
    pub idle: Duration,
    /// `frameTimeoutMillis`: a frame that has begun must be complete after so long. Default 60000, 100 to 3600000.
    pub frame: Duration,
    /// `writeTimeoutMillis`: a peer that takes nothing of an answer for so long is closed. Default 60000, 100 to
    /// 3600000.
    pub write: Duration,
    /// `maxBufferedBytes`: bytes of incomplete frames and untaken answers over all connections. Default 256MiB, 16MiB to 1TiB.
    pub buffered: u64,
    /// `maxUnansweredBytes`: bytes of answers of one connection before it reads on. Default 1MiB, 1KiB to 1GiB.
    pub unanswered: u64,
}

impl Config {
    /// Reads the settings; of several with one key the last counts.
    ///
    /// # Errors
    /// Every setting that cannot be used, each with what would be allowed; the process should not start.
    pub fn from_properties(pairs: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let mut read = Reader::new(pairs);
        let hour_ms = 3_600_000;
        let ip = |text: &str| text.parse::<IpAddr>().ok();
        let bind_address = read.parsed("bindAddress", IpAddr::from([0, 0, 0, 0]), "an IP address", ip);
        let hours = |text: &str| {
            text.split(';').map(|h| h.trim().parse().ok().filter(|h| *h < 24)).collect::<Option<Vec<u8>>>()
        };
        let mut config = Self {
            cluster: read.text("brokerClusterName", "DefaultCluster"),
            name: read.optional("brokerName").unwrap_or_else(host_name),
            id: read.number("brokerId", 0, 0..=i64::MAX),
            bind_address,
            listen_port: read.number("listenPort", 10911, 1026..=u16::MAX),
            pod_ip: read.parsed("podIP", None, "an IP address", |text| ip(text).map(Some)),
            register_period: read.duration(
                "registerNameServerPeriod",
                Unit::Milliseconds,
                30_000,
                10_000..=60_000,
            ),
            health_port: read.number("healthPort", 0, 0..=u16::MAX),
            admin_port: read.number("adminPort", 0, 0..=u16::MAX),
            admin_token_file: read.optional("adminTokenFile").map(PathBuf::from),
            store_dir: read.optional("storePathRootDir").map_or_else(default_store_dir, PathBuf::from),
            max_unflushed_bytes: read.bytes("maxUnflushedBytes", 256 << 20, 1 << 20..=64 << 30),
            max_unanswered_sends: read.number("maxUnansweredSends", 8192, 1..=1_000_000),
            segment_bytes: read.bytes("mappedFileSizeCommitLog", 1 << 30, 64 << 10..=1 << 30),
            cache_bytes: read.bytes("tailCacheBytes", 64 << 20, 1 << 20..=64 << 30),
            max_message_size: read.bytes("maxMessageSize", 4 << 20, 1 << 10..=15 << 20) as usize,
            delete_when: read.parsed(
                "deleteWhen",
                vec![4],
                "hours of the day, 00 to 23, separated by ;",
                hours,
            ),
            default_queues: read.number("defaultTopicQueueNums", 8, 1..=1024),
            long_polling: read.boolean("longPollingEnable", true),
            max_pull_messages: read.number("maxTransferCountOnMessageInMemory", 32, 1..=1024),
            max_pull_bytes: read.bytes("maxTransferBytesOnMessageInMemory", 256 << 10, 4 << 10..=16 << 20)
                as usize,
            max_parked_pulls: read.number("maxParkedPulls", 100_000, 1..=10_000_000),
            in_memory_ratio: read.number("accessMessageInMemoryMaxRatio", 40, 10..=90),
            offset_interval: read.duration(
                "flushConsumerOffsetInterval",
                Unit::Milliseconds,
                5_000,
                100..=600_000,
            ),
            client_expiry: read.duration(
                "channelExpiredTimeout",
                Unit::Milliseconds,
                120_000,
                1_000..=hour_ms,
            ),
            region: read.text("regionId", "DefaultRegion"),
            drain_timeout: read.duration("drainTimeoutMillis", Unit::Milliseconds, 10_000, 0..=600_000),
            write_grace: read.duration("writeGraceMillis", Unit::Milliseconds, 30_000, 0..=600_000),
            ha: HaConfig::read(&mut read),
            live: LiveSettings::read(&mut read),
            limits: ConnectionLimits::read(&mut read),
            log_format: read.choice("logFormat", LogFormat::Text, LOG_FORMATS),
            unknown: Vec::new(),
        };
        if config.live.is_slave() && config.id == 0 {
            read.refuse("brokerId", "1 or more with brokerRole=SLAVE; 0 is the master's");
        }
        if !config.live.is_slave() && config.id != 0 {
            read.refuse("brokerId", "0 unless brokerRole=SLAVE");
        }
        if config.ha.listen_port == 0 {
            config.ha.listen_port = config.listen_port.wrapping_add(1);
        }
        if [0, config.listen_port, config.listen_port - 2].contains(&config.ha.listen_port) {
            read.refuse(
                "haListenPort",
                "a port that is neither listenPort nor two below it; its default is listenPort plus 1",
            );
        }
        if config.admin_port > 0 && config.admin_token_file.is_none() {
            read.refuse("adminTokenFile", "the path of a file with a token, with adminPort");
        }
        if config.ha.housekeeping <= config.ha.heartbeat {
            read.refuse("haHousekeepingInterval", "more than haSendHeartbeatInterval");
        }
        if config.max_record_bytes() as u64 + 8 > config.segment_bytes {
            read.refuse("mappedFileSizeCommitLog", "maxMessageSize plus 64 KiB and 8 bytes at least");
        }
        config.unknown = read.finish()?;
        Ok(config)
    }

    /// Returns the bytes a record has at most.
    pub fn max_record_bytes(&self) -> usize {
        self.max_message_size + (64 << 10)
    }

    /// Returns the settings of the store.
    pub fn store(&self) -> StoreConfig {
        StoreConfig {
            segment_bytes: self.segment_bytes,
            max_record_bytes: self.max_record_bytes(),
            cache_bytes: self.cache_bytes as usize,
            flush_interval: self.live.flush_interval,
            retention: self.live.retention(&self.delete_when),
            ..StoreConfig::new(&self.store_dir)
        }
    }

    /// Returns the settings of a master's side of the stream.
    pub fn leader(&self) -> LeaderConfig {
        LeaderConfig {
            max_transfer_bytes: self.ha.transfer_bytes,
            heartbeat: self.ha.heartbeat,
            housekeeping: self.ha.housekeeping,
            max_followers: self.ha.max_connections,
            max_lag: self.live.max_slave_lag,
            required_acks: self.live.required_acks(),
            catch_up_bytes_per_second: self.live.catch_up_bytes_per_second,
        }
    }

    /// Returns the bounds of connections.
    pub fn limits(&self) -> Limits {
        Limits {
            max_connections: self.limits.max_connections,
            idle_timeout: self.limits.idle,
            frame_timeout: self.limits.frame,
            write_timeout: self.limits.write,
            max_buffered_bytes: self.limits.buffered as usize,
            max_unanswered_bytes: self.limits.unanswered as usize,
            ..Limits::default()
        }
    }
}

impl HaConfig {
    fn read(read: &mut Reader<'_>) -> Self {
        let minutes_ms = 600_000;
        let master_address = read.optional("haMasterAddress");
        if master_address.as_deref().is_some_and(|text| !is_address(text)) {
            read.refuse("haMasterAddress", "host:port");
        }
        Self {
            listen_port: read.number("haListenPort", 0, 0..=u16::MAX),
            master_address,
            heartbeat: read.duration("haSendHeartbeatInterval", Unit::Milliseconds, 5_000, 10..=minutes_ms),
            housekeeping: read.duration(
                "haHousekeepingInterval",
                Unit::Milliseconds,
                20_000,
                20..=6 * minutes_ms,
            ),
            transfer_bytes: read.bytes("haTransferBatchSize", 256 << 10, 4 << 10..=1 << 20) as usize,
            max_connections: read.number("maxHaConnections", 16, 1..=1024),
            offset_interval: read.duration(
                "offsetReplicationInterval",
                Unit::Milliseconds,
                1_000,
                10..=minutes_ms,
            ),
        }
    }
}

impl ConnectionLimits {
    fn read(read: &mut Reader<'_>) -> Self {
        let hour_ms = 3_600_000;
        Self {
            max_connections: read.number("maxConnections", 20_000, 1..=1_000_000),
            idle: read.duration("serverChannelMaxIdleTimeSeconds", Unit::Seconds, 120, 1..=86_400),
            frame: read.duration("frameTimeoutMillis", Unit::Milliseconds, 60_000, 100..=hour_ms),
            write: read.duration("writeTimeoutMillis", Unit::Milliseconds, 60_000, 100..=hour_ms),
            buffered: read.bytes("maxBufferedBytes", 256 << 20, 16 << 20..=1 << 40),
            unanswered: read.bytes("maxUnansweredBytes", 1 << 20, 1 << 10..=1 << 30),
        }
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "broker".to_owned(), |n| n.trim().to_owned())
}

fn default_store_dir() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from).join("store")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::from_properties(&text.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>())
    }

    #[test]
    fn every_wrong_setting_is_named_with_what_is_allowed() {
        let text = read(&[
            ("brokerRole", "SLAVE"),
            ("haMasterAddress", "master"),
            ("haListenPort", "10909"),
            ("haSendHeartbeatInterval", "20000"),
            ("registerNameServerPeriod", "80"),
            ("flushDiskType", "SOMETIMES"),
            ("brokerIP1", "localhost"),
            ("deleteWhen", "24"),
            ("mappedFileSizeCommitLog", "1MiB"),
        ])
        .unwrap_err()
        .to_string();
        for part in [
            "brokerId is missing: allowed is 1 or more with brokerRole=SLAVE",
            "haMasterAddress=master: allowed is host:port",
            "haListenPort=10909: allowed is a port that is neither listenPort nor two below it",
            "haHousekeepingInterval is missing: allowed is more than haSendHeartbeatInterval",
            "registerNameServerPeriod",
            "SOMETIMES",
            "localhost",
            "deleteWhen",
            "mappedFileSizeCommitLog",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn only_slaves_have_ids_of_slaves() {
        let slave = read(&[("brokerRole", "SLAVE"), ("brokerId", "2")]).unwrap();
        assert!(slave.live.is_slave());
        for role in ["ASYNC_MASTER", "SYNC_MASTER"] {
            let error = read(&[("brokerRole", role), ("brokerId", "2")]).unwrap_err().to_string();
            assert!(error.contains("brokerId=2: allowed is 0 unless brokerRole=SLAVE"), "{error}");
        }
    }

    #[test]
    fn defaults_are_the_references() {
        let c = read(&[("namesrvAddr", "a:1;b:2")]).unwrap();
        assert_eq!(c.live.name_servers, ["a:1", "b:2"]);
        assert_eq!((c.listen_port, c.default_queues, c.max_message_size), (10911, 8, 4 << 20));
        assert_eq!((c.ha.listen_port, c.live.in_sync_replicas, c.live.slave_read), (10912, 1, false));
        assert_eq!(c.store().retention, store::retention::RetentionPolicy::default());
    }
}
