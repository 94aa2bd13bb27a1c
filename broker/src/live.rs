//! The settings that change while the broker runs: what holds now, and how a change is checked. Who sent the change, a
//! request (25), the live file or the admin port, is not known here. Changes end with the process: the lasting place of
//! a setting is the configuration or the live file, or the manifest that they are made from.

mod settings;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use daemon::config::ConfigErrors;
use parking_lot::Mutex;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::topic_config::perm;
use tokio::sync::watch;

pub(crate) use settings::is_address;
pub use settings::{BrokerRole, FlushMode, LiveSettings, MAX_IN_SYNC_REPLICAS};

use crate::config::Config;

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
    /// That of `now`, for whoever looks at it with every message.
    permission: AtomicI32,
    /// Until when messages are taken though `permission` says no, ms since 1970.
    grace_until: AtomicI64,
    write_grace: Duration,
    /// Held while a change is made: one after the other.
    version: Mutex<DataVersion>,
    /// Told of every change when it holds everywhere.
    changed: watch::Sender<()>,
}

impl Live {
    /// Begins with the settings of the start; `write_grace` is `writeGraceMillis`.
    pub fn new(settings: LiveSettings, write_grace: Duration, now_ms: i64) -> Live {
        let version = DataVersion { counter: 0, state_version: 0, timestamp: now_ms };
        Live {
            permission: AtomicI32::new(settings.permission),
            grace_until: AtomicI64::new(0),
            write_grace,
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

    /// Says whether the broker takes messages. Free while it has the permission; the clock is asked only without.
    ///
    /// One that is to be read only takes them for `writeGraceMillis` more: producers that still have a route to it need
    /// not fail.
    pub fn may_write(&self, now_ms: impl FnOnce() -> i64) -> bool {
        perm::is_writeable(self.permission.load(Ordering::Relaxed))
            || now_ms() < self.grace_until.load(Ordering::Relaxed)
    }

    /// Returns the permission as it is in effect: a master that still takes messages has that of writing.
    pub fn permission_in_effect(&self, now_ms: i64) -> i32 {
        let told = self.permission.load(Ordering::Relaxed);
        if self.may_write(|| now_ms) { told | perm::WRITE } else { told }
    }

    /// Says whether the broker gives messages. Free.
    pub fn may_read(&self) -> bool {
        perm::is_readable(self.permission.load(Ordering::Relaxed))
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
        Ok(self.swap(&mut version, &before, after, now_ms, apply))
    }

    /// Takes over settings as a whole; see [`Live::change`].
    ///
    /// # Errors
    /// [`ChangeError::NeedsRestart`] when they make a slave of a master, or the other way round.
    pub fn replace(
        &self,
        after: LiveSettings,
        now_ms: i64,
        apply: impl FnOnce(&LiveSettings),
    ) -> Result<Vec<Change>, ChangeError> {
        let mut version = self.version.lock();
        let before = self.now.load_full();
        if after.is_slave() != before.is_slave() {
            let role = after.to_properties().into_iter().find(|(key, _)| *key == "brokerRole");
            let (key, value) = role.unwrap_or_default();
            return Err(ChangeError::NeedsRestart { key: key.to_owned(), value });
        }
        Ok(self.swap(&mut version, &before, after, now_ms, apply))
    }

    fn swap(
        &self,
        version: &mut DataVersion,
        before: &LiveSettings,
        after: LiveSettings,
        now_ms: i64,
        apply: impl FnOnce(&LiveSettings),
    ) -> Vec<Change> {
        let changes: Vec<Change> = std::iter::zip(before.to_properties(), after.to_properties())
            .filter(|((_, before), (_, now))| before != now)
            .map(|((key, before), (_, now))| Change { key, before, now })
            .collect();
        if changes.is_empty() {
            return changes;
        }
        *version = version.next(0, now_ms);
        // Whoever counts the copies of messages asks for more of them before anybody is promised more, and for fewer
        // only after that: at no time does an answer leave with fewer than were promised.
        let after = Arc::new(after);
        if after.required_acks() > before.required_acks() {
            apply(&after);
            self.hold(before, after, now_ms);
        } else {
            self.hold(before, after.clone(), now_ms);
            apply(&after);
        }
        self.changed.send_replace(());
        changes
    }

    fn hold(&self, before: &LiveSettings, after: Arc<LiveSettings>, now_ms: i64) {
        if perm::is_writeable(before.permission) {
            let reads_on = perm::is_readable(after.permission) && !after.is_slave();
            let grace = if reads_on { self.write_grace } else { Duration::ZERO };
            let until = now_ms.saturating_add(i64::try_from(grace.as_millis()).unwrap_or(i64::MAX));
            self.grace_until.store(until, Ordering::Relaxed);
        } else if !perm::is_readable(after.permission) {
            self.grace_until.store(0, Ordering::Relaxed);
        }
        self.permission.store(after.permission, Ordering::Relaxed);
        self.now.store(after);
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
        let live = Live::new(config.live.clone(), config.write_grace, 1);
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
            (&master, "slaveTimeout=20\nbrokerPermission=2", "brokerPermission=2: allowed is 6 or 4 or 0"),
            (&master, "slaveTimeout=20\nlogLevel=loud", "logLevel=loud: allowed is error, warn"),
            (&master, "slaveTimeout=20\nnamesrvAddr=a:1;b", "namesrvAddr=a:1;b: allowed is host:port"),
            (&master, "slaveTimeout=20\nbrokerIP1=mq", "brokerIP1=mq: allowed is an IP address"),
            (&master, "slaveTimeout=20\nlisteners=internal", "listeners=internal: allowed is name=host:port"),
            (&master, "diskSpaceWarningLevelRatio=80", "allowed is diskSpaceCleanForciblyRatio or more"),
            (&master, "slaveTimeout=20\nflushDiskType=OFTEN", "ASYNC_FLUSH or SYNC_FLUSH"),
            (&master, "slaveTimeout=20\nhaCatchUpBytesPerSecond=7", "0 for no limit, or 64KiB"),
        ] {
            let live = Live::new(config.live.clone(), config.write_grace, 1);
            let error = change(&live, config, text).unwrap_err();
            assert!(error.contains(reason), "{error} has {reason}");
            assert_eq!((&**live.load(), live.version().counter), (&config.live, 0), "{text}");
        }
    }

    #[test]
    fn senders_with_an_old_route_have_their_time_and_no_more() {
        let config = config("writeGraceMillis=10");
        let live = Live::new(config.live.clone(), config.write_grace, 0);
        let tell = |permission: &str, now| {
            let wanted = daemon::config::parse(&format!("brokerPermission={permission}")).unwrap();
            live.change(&config, &wanted, now, |_| {}).unwrap();
        };
        let in_effect = |now| live.permission_in_effect(now);
        tell("4", 100);
        assert_eq!((in_effect(109), in_effect(110)), (6, 4));
        tell("6", 120);
        assert_eq!(in_effect(1_000), 6);
        tell("4", 1_000);
        tell("0", 1_001);
        assert_eq!(in_effect(1_002), 0, "one that is in no route takes nothing");
        tell("4", 1_003);
        assert_eq!(in_effect(1_004), 4, "it had nothing to lose");
        let restarted = Live::new(live.load().as_ref().clone(), config.write_grace, 1_005);
        assert_eq!(restarted.permission_in_effect(1_005), 4, "a restart is no change");
    }
}
