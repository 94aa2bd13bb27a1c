//! The settings of a name server; their comments are the manual. Names are the reference implementation's where it
//! has one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use daemon::config::{ConfigErrors, Reader, Unit, UnknownKey};
use daemon::logs::{LOG_FORMATS, LogFormat};
use protocol::listeners::{INTERNAL, MAX_LISTENERS, is_listener_name};
use remoting::Limits;

use crate::routes::Rules;

/// All settings. What `live` holds can be changed while the server runs (318), the rest needs a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `bindAddress`: the address to listen on. Default `0.0.0.0`.
    pub bind_address: IpAddr,
    /// `listenPort`: the port for brokers and clients. Default 9876.
    pub listen_port: u16,
    /// `listenerPorts`: further ports, `name=port` separated by `,`: each answers with the addresses that brokers named
    /// for the listener of that name, and leaves out brokers that named none. Default none, 7 at most.
    pub listener_ports: Vec<(String, u16)>,
    /// `healthPort`: the HTTP port for probes and metrics, 0 for none. Default 0.
    pub health_port: u16,
    /// `warmUpMillis`: how long the server waits for brokers at most before it says that it is ready; when brokers have
    /// come and no more do, it says so earlier. It answers all the while. Default 0, 0 to 600000.
    pub warm_up: Duration,
    /// `kvConfigPath`: the file of the KV configuration. Default `$HOME/namesrv/kvConfig.json`.
    pub kv_config_path: PathBuf,
    /// `configStorePath`: the file that live changes are written to, all settings in it. Default: the file the server
    /// was started with; without one, live changes end with the process.
    pub config_store_path: Option<PathBuf>,
    /// `configBlackList`: settings that may not be changed live, separated by `;`. Default
    /// `configBlackList;configStorePath;kvConfigPath`.
    pub config_black_list: String,
    /// `logFormat`: `text` or `json`. Default `text`.
    pub log_format: LogFormat,
    /// `logLevel`: `error`, `warn`, `info`, `debug` or `trace`, also per crate. Default `info`.
    pub log_level: String,
    /// `scanNotActiveBrokerInterval`: milliseconds between two looks for silent brokers. Default 5000, 10 to 3600000.
    pub scan_not_active_broker_interval: Duration,
    /// `serverChannelMaxIdleTimeSeconds`: a connection on which nothing happens for so long is closed. Default 120,
    /// 1 to 86400.
    pub server_channel_max_idle_time: Duration,
    /// `maxConnections`: connections open at once. Default 20000, 1 to 1000000.
    pub max_connections: usize,
    /// `frameTimeoutMillis`: a frame that has begun must be complete after so long. Default 60000, 100 to 3600000.
    pub frame_timeout: Duration,
    /// `writeTimeoutMillis`: a peer that takes nothing of an answer for so long is closed. Default 60000, 100 to
    /// 3600000.
    pub write_timeout: Duration,
    /// `maxBufferedBytes`: bytes of incomplete large frames over all connections. Default 64MiB, 16MiB to 1024GiB.
    pub max_buffered_bytes: u64,
    /// `maxUnansweredBytes`: bytes of answers of one connection before it reads on. Default 1MiB, 1KiB to 1GiB.
    pub max_unanswered_bytes: u64,
    /// What can be changed while the server runs.
    pub live: Live,
    /// Settings that were given but do not exist.
    pub unknown: Vec<UnknownKey>,
}

/// The settings that take effect at once when they are changed (318).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// `supportActingMaster`, `deleteTopicWithBrokerRegistration`, `notifyMinBrokerIdChanged`: each default false.
    pub rules: Rules,
    /// `orderMessageEnable`: put the order configuration of a topic into its route. Default false.
    pub order_message_enable: bool,
    /// `returnOrderTopicConfigToBroker`: answer registrations with all order configurations. Default true.
    pub return_order_topic_config_to_broker: bool,
    /// `enableAllTopicList`: answer 206. Default true.
    pub enable_all_topic_list: bool,
    /// `enableTopicList`: answer 224, 311, 312 and 313. Default true.
    pub enable_topic_list: bool,
    /// `needWaitForService`: refuse routes until brokers have had time to register. Default false.
    pub need_wait_for_service: bool,
    /// `waitSecondsForService`: that time, from the start of the process. Default 45, 0 to 3600.
    pub wait_for_service: Duration,
}

impl Config {
    /// Reads the settings; of several with one key the last counts.
    ///
    /// # Errors
    /// Every setting that cannot be used, each with what would be allowed; the process should not start.
    pub fn from_properties(pairs: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let mut read = Reader::new(pairs);
        let hour_ms = 3_600_000;
        let bind_address = IpAddr::from([0, 0, 0, 0]);
        let mut config = Self {
            bind_address: read.parsed("bindAddress", bind_address, "an IP address", |text| text.parse().ok()),
            listen_port: read.number("listenPort", 9876, 0..=u16::MAX),
            listener_ports: read.parsed("listenerPorts", Vec::new(), LISTENER_PORTS, listener_ports),
            health_port: read.number("healthPort", 0, 0..=u16::MAX),
            warm_up: read.duration("warmUpMillis", Unit::Milliseconds, 0, 0..=600_000),
            kv_config_path: read.optional("kvConfigPath").map_or_else(default_kv_config_path, PathBuf::from),
            config_store_path: read.optional("configStorePath").map(PathBuf::from),
            config_black_list: read.text("configBlackList", "configBlackList;configStorePath;kvConfigPath"),
            log_format: read.choice("logFormat", LogFormat::Text, LOG_FORMATS),
            log_level: read.text("logLevel", "info"),
            scan_not_active_broker_interval: read.duration(
                "scanNotActiveBrokerInterval",
                Unit::Milliseconds,
                5_000,
                10..=hour_ms,
            ),
            server_channel_max_idle_time: read.duration(
                "serverChannelMaxIdleTimeSeconds",
                Unit::Seconds,
                120,
                1..=86_400,
            ),
            max_connections: read.number("maxConnections", 20_000, 1..=1_000_000),
            frame_timeout: read.duration("frameTimeoutMillis", Unit::Milliseconds, 60_000, 100..=hour_ms),
            write_timeout: read.duration("writeTimeoutMillis", Unit::Milliseconds, 60_000, 100..=hour_ms),
            max_buffered_bytes: read.bytes("maxBufferedBytes", 64 << 20, 16 << 20..=1 << 40),
            max_unanswered_bytes: read.bytes("maxUnansweredBytes", 1 << 20, 1 << 10..=1 << 30),
            live: Live::read(&mut read),
            unknown: Vec::new(),
        };
        let taken = [config.listen_port, config.health_port];
        if config.listener_ports.iter().any(|(_, port)| taken.contains(port)) {
            read.refuse("listenerPorts", "ports that are neither listenPort nor healthPort");
        }
        config.unknown = read.finish()?;
        Ok(config)
    }

    /// Returns every setting as [`Config::from_properties`] reads it, the live ones last.
    #[must_use]
    pub fn to_properties(&self) -> Vec<(String, String)> {
        let format = LOG_FORMATS
            .iter()
            .find(|(_, format)| *format == self.log_format)
            .map_or("text", |(word, _)| word);
        let store = self.config_store_path.as_ref().map(|path| path.display().to_string());
        let listener_ports: Vec<_> =
            self.listener_ports.iter().map(|(name, port)| format!("{name}={port}")).collect();
        let mut pairs = vec![
            ("bindAddress", self.bind_address.to_string()),
            ("listenPort", self.listen_port.to_string()),
            ("listenerPorts", listener_ports.join(",")),
            ("healthPort", self.health_port.to_string()),
            ("warmUpMillis", self.warm_up.as_millis().to_string()),
            ("kvConfigPath", self.kv_config_path.display().to_string()),
            ("configStorePath", store.unwrap_or_default()),
            ("configBlackList", self.config_black_list.clone()),
            ("logFormat", format.to_owned()),
            ("logLevel", self.log_level.clone()),
            ("scanNotActiveBrokerInterval", self.scan_not_active_broker_interval.as_millis().to_string()),
            ("serverChannelMaxIdleTimeSeconds", self.server_channel_max_idle_time.as_secs().to_string()),
            ("maxConnections", self.max_connections.to_string()),
            ("frameTimeoutMillis", self.frame_timeout.as_millis().to_string()),
            ("writeTimeoutMillis", self.write_timeout.as_millis().to_string()),
            ("maxBufferedBytes", self.max_buffered_bytes.to_string()),
            ("maxUnansweredBytes", self.max_unanswered_bytes.to_string()),
        ];
        pairs.extend(self.live.to_properties());
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Returns the bounds of the connections. A name server's requests are small and its connections idle, so the read
    /// buffers are smaller than a broker's.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let bytes = |amount: u64| usize::try_from(amount).unwrap_or(usize::MAX);
        Limits {
            max_connections: self.max_connections,
            idle_timeout: self.server_channel_max_idle_time,
            frame_timeout: self.frame_timeout,
            write_timeout: self.write_timeout,
            read_buffer: 16 * 1024,
            max_buffered_bytes: bytes(self.max_buffered_bytes),
            max_unanswered_bytes: bytes(self.max_unanswered_bytes),
        }
    }

    /// Says whether a setting may not be changed live.
    #[must_use]
    pub fn is_black_listed(&self, key: &str) -> bool {
        self.config_black_list.split(';').any(|listed| listed.trim() == key)
    }
}

impl Live {
    /// The keys of the live settings.
    pub const KEYS: [&str; 9] = [
        "supportActingMaster",
        "deleteTopicWithBrokerRegistration",
        "notifyMinBrokerIdChanged",
        "orderMessageEnable",
        "returnOrderTopicConfigToBroker",
        "enableAllTopicList",
        "enableTopicList",
        "needWaitForService",
        "waitSecondsForService",
    ];

    fn read(read: &mut Reader<'_>) -> Self {
        Self {
            rules: Rules {
                support_acting_master: read.boolean("supportActingMaster", false),
                delete_topic_with_broker_registration: read
                    .boolean("deleteTopicWithBrokerRegistration", false),
                notify_min_broker_id_changed: read.boolean("notifyMinBrokerIdChanged", false),
            },
            order_message_enable: read.boolean("orderMessageEnable", false),
            return_order_topic_config_to_broker: read.boolean("returnOrderTopicConfigToBroker", true),
            enable_all_topic_list: read.boolean("enableAllTopicList", true),
            enable_topic_list: read.boolean("enableTopicList", true),
            need_wait_for_service: read.boolean("needWaitForService", false),
            wait_for_service: read.duration("waitSecondsForService", Unit::Seconds, 45, 0..=3_600),
        }
    }

    fn to_properties(self) -> [(&'static str, String); 9] {
        let values = [
            self.rules.support_acting_master.to_string(),
            self.rules.delete_topic_with_broker_registration.to_string(),
            self.rules.notify_min_broker_id_changed.to_string(),
            self.order_message_enable.to_string(),
            self.return_order_topic_config_to_broker.to_string(),
            self.enable_all_topic_list.to_string(),
            self.enable_topic_list.to_string(),
            self.need_wait_for_service.to_string(),
            self.wait_for_service.as_secs().to_string(),
        ];
        let mut keys = Self::KEYS.into_iter();
        values.map(|value| (keys.next().unwrap_or_default(), value))
    }
}

const LISTENER_PORTS: &str = "name=port separated by commas, 7 at most, each name and port once; a name is a small letter, \
     then small letters and digits, 12 at most, and not `internal`, whose port is listenPort";

fn listener_ports(text: &str) -> Option<Vec<(String, u16)>> {
    let one = |entry: &str| {
        let (name, port) = entry.trim().split_once('=')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (is_listener_name(name) && name != INTERNAL).then(|| (name.to_owned(), port))
    };
    let all = text.split(',').map(one).collect::<Option<Vec<_>>>()?;
    let names: BTreeSet<_> = all.iter().map(|(name, _)| name).collect();
    let ports: BTreeSet<_> = all.iter().map(|(_, port)| port).collect();
    // The usual one is one of them.
    (all.len() < MAX_LISTENERS && names.len() == all.len() && ports.len() == all.len()).then_some(all)
}

fn default_kv_config_path() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    home.join("namesrv").join("kvConfig.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        daemon::config::parse(text).unwrap()
    }

    #[test]
    fn without_settings_the_defaults_are_the_reference_implementations() {
        let config = Config::from_properties(&[]).unwrap();
        let numbers = (config.listen_port, config.live.wait_for_service.as_secs(), config.max_connections);
        assert_eq!(numbers, (9876, 45, 20_000));
        assert_eq!(config.scan_not_active_broker_interval, Duration::from_secs(5));
        assert_eq!(config.server_channel_max_idle_time, Duration::from_secs(120));
        assert_eq!(config.live.rules, Rules::default());
        assert!(config.live.return_order_topic_config_to_broker && config.live.enable_all_topic_list);
        assert!(config.kv_config_path.ends_with("namesrv/kvConfig.json"));
        assert!(config.unknown.is_empty());
    }

    #[test]
    fn settings_survive_being_written() {
        let text = "listenPort=1\nbindAddress=::1\nlogFormat=json\nsupportActingMaster=true\nenableTopicList=false\n\
                    waitSecondsForService=7\nkvConfigPath=/x y/kv\nconfigStorePath=/z\nmaxBufferedBytes=32MiB\n\
                    listenerPorts=external=9877,other=9878\nwarmUpMillis=10000\n";
        let config = Config::from_properties(&pairs(text)).unwrap();
        assert_eq!(Config::from_properties(&config.to_properties()), Ok(config.clone()));
        assert_eq!(config.live.wait_for_service, Duration::from_secs(7));
        assert!(config.live.rules.support_acting_master && !config.live.enable_topic_list);
    }

    #[test]
    fn ports_of_listeners_that_cannot_be_used_are_refused_with_what_can() {
        let read = |value: &str| {
            Config::from_properties(&pairs(&format!("listenerPorts={value}\nhealthPort=5557\n")))
        };
        let given = read("external=9877, other=9878").unwrap().listener_ports;
        assert_eq!(given, [("external".to_owned(), 9877), ("other".to_owned(), 9878)]);
        let many: Vec<_> = (0..8).map(|n| format!("l{n}={}", 9900 + n)).collect();
        for bad in [
            "external",
            "external=0",
            "external=65536",
            "Out=9877",
            "internal=9877",
            "a=9877,a=9878",
            "a=9877,b=9877",
            "a=9877,",
            "a=9876",
            "a=5557",
            &many.join(","),
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("listenerPorts={bad}: allowed is ")), "{error}");
        }
    }

    #[test]
    fn mistakes_are_all_named_and_unknown_settings_remembered() {
        let error =
            Config::from_properties(&pairs("listenPort=99999\nenableTopicList=perhaps\n")).unwrap_err();
        let keys: Vec<_> = error.0.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["listenPort", "enableTopicList"]);
        let config = Config::from_properties(&pairs("listenPrt=1\n")).unwrap();
        assert_eq!(config.unknown[0].to_string(), "unknown setting listenPrt, did you mean listenPort?");
    }
}
