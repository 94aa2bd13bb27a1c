//! The settings that change while the broker runs: which they are, what holds now, and how a change is checked. Who sent
//! the change (a request today, a file tomorrow) is not known here. Changes end with the process: the lasting place of
//! a setting is the configuration file, or the manifest that it is made from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use daemon::config::{ConfigErrors, Reader, Unit};
use parking_lot::Mutex;
use protocol::bodies::data_version::DataVersion;
use tokio::sync::watch;

use crate::config::Config;

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

/// The settings that take effect at once when they are changed (25). Messages stored before keep what they were
/// promised.
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
}

impl LiveSettings {
    /// The keys of the live settings.
    pub const KEYS: [&str; 8] = [
        "brokerRole",
        "inSyncReplicas",
        "flushDiskType",
        "syncFlushTimeout",
        "slaveTimeout",
        "slaveReadEnable",
        "haCatchUpBytesPerSecond",
        "haMaxTimeSlaveNotCatchup",
    ];

    pub(crate) fn read(read: &mut Reader<'_>) -> Self {
        let catch_up = read.bytes("haCatchUpBytesPerSecond", 0, 0..=64 << 30);
        if (1..64 << 10).contains(&catch_up) {
            read.refuse("haCatchUpBytesPerSecond", "0 for no limit, or 64KiB to 64GiB bytes");
        }
        Self {
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
        }
    }

    /// Returns the settings as [`Config::from_properties`] reads them.
    pub fn to_properties(&self) -> [(&'static str, String); 8] {
        let values = [
            word(&ROLES, self.role),
            self.in_sync_replicas.to_string(),
            word(&FLUSH_MODES, self.flush),
            self.sync_flush_timeout.as_millis().to_string(),
            self.slave_timeout.as_millis().to_string(),
            self.slave_read.to_string(),
            self.catch_up_bytes_per_second.unwrap_or(0).to_string(),
            self.max_slave_lag.as_millis().to_string(),
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
}

fn word<T: PartialEq>(words: &[(&str, T)], value: T) -> String {
    words.iter().find(|(_, v)| *v == value).map_or_else(String::new, |(word, _)| (*word).to_owned())
}

/// Why a change was refused; nothing has changed then.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The setting exists, but holds from the next start.
    #[error("{key}={value}: needs a restart; while the broker runs these can be changed: {}", live_keys())]
    NeedsRestart {
        /// Its key.
        key: String,
        /// What was wanted.
        value: String,
    },
    /// There is no such setting.
    #[error("{what}; while the broker runs these can be changed: {}", live_keys())]
    Unknown {
        /// Its key, with one that was perhaps meant.
        what: String,
    },
    /// A value cannot be used.
    #[error(transparent)]
    Value(#[from] ConfigErrors),
}

fn live_keys() -> String {
    LiveSettings::KEYS.join(", ")
}

/// One setting that was changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Its key.
    pub key: &'static str,
    /// What held before.
    pub before: String,
    /// What holds now.
    pub now: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}, was {}", self.key, self.now, self.before)
    }
}

/// The live settings as they are now.
pub struct Live {
    now: ArcSwap<LiveSettings>,
    /// Held while a change is made: one after the other.
    version: Mutex<DataVersion>,
    /// Told of every change when it holds everywhere.
    changed: watch::Sender<()>,
}

impl Live {
    /// Begins with the settings of the start.
    pub fn new(settings: LiveSettings, now_ms: i64) -> Live {
        let version = DataVersion { counter: 0, state_version: 0, timestamp: now_ms };
        Live {
            now: ArcSwap::from_pointee(settings),
            version: Mutex::new(version),
            changed: watch::Sender::new(()),
        }
    }

    /// Notifies of every change, once it holds for everybody.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns what holds now. Cheap, but not free: once per batch, not per message.
    pub fn load(&self) -> Guard<Arc<LiveSettings>> {
        self.now.load()
    }

    /// Returns the version of the settings: it grows with every change.
    pub fn version(&self) -> DataVersion {
        *self.version.lock()
    }

    /// Changes settings, all that are wanted or none; `config` are those of the start. `apply` tells whoever keeps a copy of its
    /// own. Returns what is different now.
    ///
    /// # Errors
    /// [`ChangeError`] for the first setting that cannot be changed or used.
    pub fn change(
        &self,
        config: &Config,
        wanted: &[(String, String)],
        now_ms: i64,
        apply: impl FnOnce(&LiveSettings),
    ) -> Result<Vec<Change>, ChangeError> {
        let mut version = self.version.lock();
        let before = self.now.load_full();
        check_keys(config, &before, wanted)?;
        let mut pairs = config.to_properties();
        pairs.extend(before.to_properties().map(|(key, value)| (key.to_owned(), value)));
        pairs.extend(wanted.iter().cloned());
        let after = Config::from_properties(&pairs)?.live;
        let changes: Vec<Change> = std::iter::zip(before.to_properties(), after.to_properties())
            .filter(|((_, before), (_, now))| before != now)
            .map(|((key, before), (_, now))| Change { key, before, now })
            .collect();
        if !changes.is_empty() {
            *version = version.next(0, now_ms);
            // Whoever counts the copies of messages asks for more of them before anybody is promised more, and for
            // fewer only after that: at no time does an answer leave with fewer than were promised.
            let after = Arc::new(after);
            if after.required_acks() > before.required_acks() {
                apply(&after);
                self.now.store(after);
            } else {
                self.now.store(after.clone());
                apply(&after);
            }
            self.changed.send_replace(());
        }
        Ok(changes)
    }
}

fn check_keys(config: &Config, now: &LiveSettings, wanted: &[(String, String)]) -> Result<(), ChangeError> {
    for (key, value) in wanted {
        let needs_restart = || ChangeError::NeedsRestart { key: key.clone(), value: value.clone() };
        if key == "brokerRole" && value.eq_ignore_ascii_case("SLAVE") != now.is_slave() {
            return Err(needs_restart());
        }
        if LiveSettings::KEYS.contains(&key.as_str()) {
            continue;
        }
        if config.to_properties().iter().any(|(known, _)| known == key) {
            return Err(needs_restart());
        }
        // Reading it with the others finds the key that was meant.
        let alone = Config::from_properties(&[(key.clone(), value.clone())])?;
        let what = alone.unknown.first().map_or_else(|| format!("unknown setting {key}"), |u| u.to_string());
        return Err(ChangeError::Unknown { what });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_properties(&daemon::config::parse(text).unwrap()).unwrap()
    }

    fn change(live: &Live, config: &Config, text: &str) -> Result<String, String> {
        let wanted = daemon::config::parse(text).unwrap();
        let mut applied = false;
        let changes = live.change(config, &wanted, 9, |_| applied = true).map_err(|e| e.to_string())?;
        assert_eq!(applied, !changes.is_empty());
        Ok(changes.iter().map(Change::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn live_settings_change_together_and_the_version_grows() {
        let config = config("flushDiskType=SYNC_FLUSH");
        let live = Live::new(config.live.clone(), 1);
        let done =
            change(&live, &config, "brokerRole=SYNC_MASTER\ninSyncReplicas=2\nslaveTimeout=20").unwrap();
        assert_eq!(
            done,
            "brokerRole=SYNC_MASTER, was ASYNC_MASTER; inSyncReplicas=2, was 1; slaveTimeout=20, was 2000"
        );
        assert_eq!(live.load().required_acks(), 2);
        assert_eq!(live.load().flush, FlushMode::Sync, "what was not named stays");
        assert_eq!(change(&live, &config, "slaveTimeout=20").unwrap(), "", "nothing is different");
        change(&live, &config, "brokerRole=async_master").unwrap();
        assert_eq!((live.load().required_acks(), live.load().in_sync_replicas), (1, 2));
        assert_eq!(live.version(), DataVersion { counter: 2, state_version: 0, timestamp: 9 });
    }

    #[test]
    fn nothing_of_a_refused_change_holds() {
        let master = config("");
        let slave = config("brokerRole=SLAVE\nbrokerId=1");
        for (config, text, reason) in [
            (&master, "slaveTimeout=20\nlistenPort=12000", "listenPort=12000: needs a restart; while"),
            (&master, "slaveTimeout=20\nbrokerRole=SLAVE", "brokerRole=SLAVE: needs a restart"),
            (&slave, "slaveTimeout=20\nbrokerRole=SYNC_MASTER", "brokerRole=SYNC_MASTER: needs a restart"),
            (
                &master,
                "slaveTimeout=20\nslaveTimeou=30",
                "unknown setting slaveTimeou, did you mean slaveTimeout?",
            ),
            (&master, "slaveTimeout=20\nGANTRY_SLAVE_TIMEOUT=30", "unknown setting GANTRY_SLAVE_TIMEOUT"),
            (&master, "slaveTimeout=20\ninSyncReplicas=6", "inSyncReplicas=6: allowed is 1 to 5"),
            (&master, "slaveTimeout=20\nflushDiskType=OFTEN", "ASYNC_FLUSH or SYNC_FLUSH"),
            (&master, "slaveTimeout=20\nhaCatchUpBytesPerSecond=7", "0 for no limit, or 64KiB"),
        ] {
            let live = Live::new(config.live.clone(), 1);
            let error = change(&live, config, text).unwrap_err();
            assert!(error.contains(reason), "{error} has {reason}");
            assert_eq!((&**live.load(), live.version().counter), (&config.live, 0), "{text}");
        }
    }
}
