//! The keys of `spec.brokers.config` and `spec.nameServers.config`: what each does to a running member,
//! and which are refused because a field, or nobody, sets them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::nearest::nearest;
use crate::problem::{Problem, Problems, Reason, child};
use crate::units::ByteSize;

use KeyClass::{Field, Forbidden, Immutable, Live, Restart, Unsupported};
use ValueForm::{Bytes, Flag, HoursOfDay, Number, Text};

const MOST_ENTRIES: usize = 128;

/// What a key of a `config` map does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyClass {
    /// A running member takes it over.
    Live(ValueForm),
    /// It holds from the member's next start.
    Restart(ValueForm),
    /// It is fixed when the member's storage is created.
    Immutable(ValueForm),
    /// The runner sets it, because it follows from who the member is and where it runs.
    Forbidden,
    /// A field of the manifest sets it.
    Field(&'static str),
    /// RocketMQ knows it; its feature does not exist here yet.
    Unsupported(&'static str),
}

/// What the value of a key looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueForm {
    Flag,
    /// A whole number between the two, both included.
    Number(i64, i64),
    /// An amount of bytes between the two, both included: `65536`, `64KiB`, `1GiB`.
    Bytes(u64, u64),
    Text,
    /// Hours of the day as RocketMQ writes them, such as `04` or `04;16`.
    HoursOfDay,
}

/// A key and its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigKey {
    pub name: &'static str,
    pub class: KeyClass,
}

const fn key(name: &'static str, class: KeyClass) -> ConfigKey {
    ConfigKey { name, class }
}

/// The keys of `spec.nameServers.config`.
pub const NAME_SERVER_KEYS: &[ConfigKey] = &[
    key("bindAddress", Forbidden),
    key("configBlackList", Restart(Text)),
    key("configStorePath", Forbidden),
    key("deleteTopicWithBrokerRegistration", Live(Flag)),
    key("enableAllTopicList", Live(Flag)),
    key("enableTopicList", Live(Flag)),
    key("frameTimeoutMillis", Restart(Number(100, 3_600_000))),
    key("healthPort", Forbidden),
    key("kvConfigPath", Forbidden),
    key("listenPort", Forbidden),
    key("listenerPorts", Forbidden),
    key("logFormat", Field("spec.logging.format")),
    key("logLevel", Field("spec.logging.level")),
    key("maxBufferedBytes", Restart(Bytes(16 << 20, 1 << 40))),
    key("maxConnections", Restart(Number(1, 1_000_000))),
    key("maxUnansweredBytes", Restart(Bytes(1 << 10, 1 << 30))),
    key("needWaitForService", Live(Flag)),
    key("notifyMinBrokerIdChanged", Live(Flag)),
    key("orderMessageEnable", Live(Flag)),
    key("returnOrderTopicConfigToBroker", Live(Flag)),
    key("scanNotActiveBrokerInterval", Restart(Number(10, 3_600_000))),
    key("serverChannelMaxIdleTimeSeconds", Restart(Number(1, 86_400))),
    key("supportActingMaster", Live(Flag)),
    key("waitSecondsForService", Live(Number(0, 3_600))),
    key("warmUpMillis", Field("spec.nameServers.warmUp")),
    key("writeTimeoutMillis", Restart(Number(100, 3_600_000))),
];

/// The keys of `spec.brokers.config`.
pub const BROKER_KEYS: &[ConfigKey] = &[
    key("accessMessageInMemoryMaxRatio", Restart(Number(10, 90))),
    key("adminPort", Forbidden),
    key("adminTokenFile", Forbidden),
    key("allAckInSyncStateSet", Forbidden),
    key("autoCreateSubscriptionGroup", Field("spec.brokers.autoCreateConsumerGroups")),
    key("autoCreateTopicEnable", Field("spec.brokers.autoCreateTopics")),
    key("bindAddress", Forbidden),
    key("brokerClusterName", Forbidden),
    key("brokerIP1", Forbidden),
    key("brokerIP2", Forbidden),
    key("brokerId", Forbidden),
    key("brokerName", Forbidden),
    key("brokerPermission", Forbidden),
    key("brokerRole", Forbidden),
    key("channelExpiredTimeout", Restart(Number(1_000, 3_600_000))),
    key("configRevision", Forbidden),
    key("controllerAddr", Forbidden),
    key("defaultTopicQueueNums", Restart(Number(1, 1_024))),
    key("deleteWhen", Restart(HoursOfDay)),
    key("diskMaxUsedSpaceRatio", Field("spec.brokers.storage.diskFullPercent")),
    key("diskSpaceCleanForciblyRatio", Field("spec.brokers.storage.diskFullPercent")),
    key("diskSpaceWarningLevelRatio", Field("spec.brokers.storage.diskFullPercent")),
    key("drainTimeoutMillis", Restart(Number(0, 600_000))),
    key("enableControllerMode", Forbidden),
    key("enablePropertyFilter", Unsupported("messages are filtered by tag only")),
    key("expectedStoreId", Forbidden),
    key("fileReservedTime", Field("spec.brokers.storage.fileReservedTime")),
    key("flushConsumerOffsetInterval", Restart(Number(100, 600_000))),
    key("flushDiskType", Forbidden),
    key("flushIntervalCommitLog", Field("spec.brokers.flush.interval")),
    key("frameTimeoutMillis", Restart(Number(100, 3_600_000))),
    key("haCatchUpBytesPerSecond", Field("spec.brokers.replication.catchUpBytesPerSecond")),
    key("haHousekeepingInterval", Restart(Number(20, 3_600_000))),
    key("haListenPort", Forbidden),
    key("haMasterAddress", Forbidden),
    key("haMaxTimeSlaveNotCatchup", Field("spec.brokers.replication.maxSlaveLag")),
    key("haSendHeartbeatInterval", Restart(Number(10, 600_000))),
    key("haTransferBatchSize", Restart(Bytes(4 << 10, 1 << 20))),
    key("healthPort", Forbidden),
    key("inSyncReplicas", Forbidden),
    key("listenPort", Forbidden),
    key("listeners", Forbidden),
    key("litePullMessageEnable", Unsupported("lite pull has no switch")),
    key("logFormat", Field("spec.logging.format")),
    key("logLevel", Field("spec.logging.level")),
    key("longPollingEnable", Restart(Flag)),
    key("mappedFileSizeCommitLog", Immutable(Bytes(128 << 10, 1 << 30))),
    key("maxBufferedBytes", Restart(Bytes(16 << 20, 1 << 40))),
    key("maxConnections", Restart(Number(1, 1_000_000))),
    key("maxHaConnections", Restart(Number(1, 1_024))),
    key("maxMessageSize", Restart(Bytes(1 << 10, 15 << 20))),
    key("maxParkedPulls", Restart(Number(1, 10_000_000))),
    key("maxTransferBytesOnMessageInMemory", Restart(Bytes(4 << 10, 16 << 20))),
    key("maxTransferCountOnMessageInMemory", Restart(Number(1, 1_024))),
    key("maxUnansweredBytes", Restart(Bytes(1 << 10, 1 << 30))),
    key("maxUnansweredSends", Restart(Number(1, 1_000_000))),
    key("maxUnflushedBytes", Restart(Bytes(1 << 20, 64 << 30))),
    key("messageDelayLevel", Unsupported("messages are delivered at once")),
    key("minInSyncReplicas", Forbidden),
    key("namesrvAddr", Forbidden),
    key("offsetReplicationInterval", Restart(Number(10, 600_000))),
    key("podIP", Forbidden),
    key("recallMessageEnable", Unsupported("messages are delivered at once")),
    key("regionId", Restart(Text)),
    key("registerNameServerPeriod", Restart(Number(10_000, 60_000))),
    key("serverChannelMaxIdleTimeSeconds", Restart(Number(1, 86_400))),
    key("slaveReadEnable", Field("spec.brokers.slaveRead")),
    key("slaveTimeout", Live(Number(1, 60_000))),
    key("storePathCommitLog", Forbidden),
    key("storePathRootDir", Forbidden),
    key("syncFlushTimeout", Live(Number(1, 60_000))),
    key("tailCacheBytes", Restart(Bytes(1 << 20, 64 << 30))),
    key("timerWheelEnable", Unsupported("messages are delivered at once")),
    key("traceTopicEnable", Unsupported("there is no message trace yet")),
    key("transactionCheckInterval", Unsupported("there are no transactions yet")),
    key("transactionTimeOut", Unsupported("there are no transactions yet")),
    key("writeGraceMillis", Restart(Number(0, 600_000))),
    key("writeTimeoutMillis", Restart(Number(100, 3_600_000))),
];

/// Pairs of keys with their defaults, as brokers have them: the first must be at least the second plus so much, or a
/// broker does not start.
const AT_LEAST: [AtLeast; 2] = [
    AtLeast {
        key: ("mappedFileSizeCommitLog", 1 << 30),
        other: ("maxMessageSize", 4 << 20),
        plus: (64 << 10) + 8,
        why: "and 64KiB and 8 bytes: each message with its properties must fit into a file",
    },
    AtLeast {
        key: ("haHousekeepingInterval", 20_000),
        other: ("haSendHeartbeatInterval", 5_000),
        plus: 1,
        why: "and 1: slaves would be taken for dead between two signs of life",
    },
];

struct AtLeast {
    key: (&'static str, u64),
    other: (&'static str, u64),
    plus: u64,
    why: &'static str,
}

/// Finds the values in the `config` map of brokers that do not go together, each of them good alone.
pub(crate) fn check_together(path: &str, config: &BTreeMap<String, String>) -> Problems {
    let value = |(name, usual): (&str, u64)| config.get(name).map_or(Some(usual), |text| parse_bytes(text));
    let check = |pair: &AtLeast| {
        let (size, other) = value(pair.key).zip(value(pair.other))?;
        let AtLeast { key: (name, _), other: (other_name, usual), plus, why } = *pair;
        if size >= other.saturating_add(plus) {
            return None;
        }
        // The one that is given is blamed.
        let blamed = if config.contains_key(name) { name } else { other_name };
        let was = config.get(other_name).map_or_else(|| format!("{usual} by default"), Clone::clone);
        let text = format!("{name} must be at least {other_name}, which is {was}, {why}");
        Some(Problem::with_value(&child(path, blamed), &Value::from(config.get(blamed)?.as_str()), text))
    };
    Problems(AT_LEAST.iter().filter_map(check).collect())
}

/// Finds what is wrong with a `config` map.
pub(crate) fn check_config(path: &str, config: &BTreeMap<String, String>, keys: &[ConfigKey]) -> Problems {
    let mut problems = Problems::default();
    if config.len() > MOST_ENTRIES {
        let text = format!("has {} entries, at most {MOST_ENTRIES} are allowed", config.len());
        problems.0.push(Problem::plain(path, text));
    }
    for (name, value) in config {
        if let Err((reason, text)) = check_entry(name, value, keys) {
            let problem = Problem::with_value(&child(path, name), &Value::from(value.as_str()), text);
            problems.0.push(problem.because(reason));
        }
    }
    problems
}

fn check_entry(name: &str, value: &str, keys: &[ConfigKey]) -> Result<(), (Reason, String)> {
    let Some(known) = keys.iter().find(|key| key.name == name) else {
        return Err((Reason::UnknownConfigKey, unknown_key(name, keys)));
    };
    let forbidden = |text: String| Err((Reason::ForbiddenConfigKey, text));
    // Another line would be another setting, also one that is forbidden.
    if value.contains(|letter: char| letter.is_control() || letter == '\\') {
        return Err((Reason::InvalidSpec, "must be one line without backslashes".to_owned()));
    }
    match known.class {
        Live(form) | Restart(form) | Immutable(form) => {
            check_form(form, value).map_err(|text| (Reason::InvalidSpec, text))
        }
        Forbidden => forbidden(
            "cannot be set: it follows from who the member is and where it runs; remove it".to_owned(),
        ),
        Field(field) => forbidden(format!("cannot be set here; set {field} instead")),
        Unsupported(why) => forbidden(format!("not supported yet: {why}; remove it")),
    }
}

fn unknown_key(name: &str, keys: &[ConfigKey]) -> String {
    if let Some(guess) = nearest(name, keys.iter().map(|key| key.name)) {
        return format!("unknown key, did you mean {guess}?");
    }
    let usable = |key: &&ConfigKey| matches!(key.class, Live(_) | Restart(_) | Immutable(_));
    let allowed: Vec<&str> = keys.iter().filter(usable).map(|key| key.name).collect();
    format!("unknown key; allowed are {}", allowed.join(", "))
}

fn check_form(form: ValueForm, value: &str) -> Result<(), String> {
    match form {
        Flag if value == "true" || value == "false" => Ok(()),
        Flag => Err("must be \"true\" or \"false\"".to_owned()),
        Number(from, to) if value.parse().is_ok_and(|number: i64| (from..=to).contains(&number)) => Ok(()),
        Number(from, to) => Err(format!("must be a whole number between {from} and {to}")),
        Bytes(from, to) if parse_bytes(value).is_some_and(|bytes| (from..=to).contains(&bytes)) => Ok(()),
        Bytes(from, to) => Err(format!(
            "must be an amount of bytes between {} and {}, written as 1048576, 1024KiB or 1MiB",
            in_words(from),
            in_words(to)
        )),
        Text if !value.is_empty() => Ok(()),
        Text => Err("must not be empty; remove it to get the default".to_owned()),
        HoursOfDay if value.split(';').all(is_hour) => Ok(()),
        HoursOfDay => Err("must be hours of the day from 00 to 23, such as 04 or 04;16".to_owned()),
    }
}

/// As the servers write it: `64KiB`, where a quantity would be `64Ki`.
pub(crate) fn in_words(bytes: u64) -> String {
    let text = ByteSize(bytes).to_string();
    if text.ends_with('i') { text + "B" } else { text }
}

/// As the servers read it: a number of bytes, KiB, MiB or GiB.
fn parse_bytes(text: &str) -> Option<u64> {
    for (suffix, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if let Some(amount) = text.strip_suffix(suffix) {
            return amount.trim().parse::<u64>().ok()?.checked_mul(1 << shift);
        }
    }
    text.parse().ok()
}

fn is_hour(text: &str) -> bool {
    text.len() == 2 && text.parse().is_ok_and(|hour: u8| hour < 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_before_a_member_starts_with_them() {
        let cases = [
            (Flag, "true", Ok(())),
            (Flag, "yes", Err("must be \"true\" or \"false\"")),
            (Number(1, 9), "9", Ok(())),
            (Number(1, 9), "10", Err("must be a whole number between 1 and 9")),
            (Bytes(1 << 10, 1 << 30), "64KiB", Ok(())),
            (Bytes(1 << 10, 1 << 30), "1024", Ok(())),
            (
                Bytes(1 << 10, 1 << 30),
                "2GiB",
                Err("must be an amount of bytes between 1KiB and 1GiB, written as 1048576, 1024KiB or 1MiB"),
            ),
            (Text, "", Err("must not be empty; remove it to get the default")),
            (HoursOfDay, "04;16", Ok(())),
            (HoursOfDay, "4", Err("must be hours of the day from 00 to 23, such as 04 or 04;16")),
        ];
        for (form, value, expected) in cases {
            assert_eq!(check_form(form, value), expected.map_err(str::to_owned), "{form:?} {value}");
        }
    }

    #[test]
    fn no_value_is_a_setting_more() {
        for (name, value) in
            [("regionId", "x\nbrokerId=1"), ("regionId", "x\\"), ("maxMessageSize", "\n4MiB")]
        {
            let config = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let found = check_config("c", &config, BROKER_KEYS).to_string();
            assert!(found.contains(": must be one line without backslashes"), "{value:?}: {found}");
        }
    }

    #[test]
    fn values_that_are_good_alone_may_not_go_together() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[], ""),
            (&[("mappedFileSizeCommitLog", "8MiB")], ""),
            (&[("mappedFileSizeCommitLog", "128KiB"), ("maxMessageSize", "32KiB")], ""),
            (
                &[("mappedFileSizeCommitLog", "4MiB")],
                "c.mappedFileSizeCommitLog: \"4MiB\": mappedFileSizeCommitLog must be at least maxMessageSize, which is \
                 4194304 by default, and 64KiB and 8 bytes: each message with its properties must fit into a file",
            ),
            (
                &[("haSendHeartbeatInterval", "20000")],
                "c.haSendHeartbeatInterval: \"20000\": haHousekeepingInterval must be at least haSendHeartbeatInterval, \
                 which is 20000, and 1: slaves would be taken for dead between two signs of life",
            ),
            (&[("haSendHeartbeatInterval", "19999"), ("mappedFileSizeCommitLog", "no")], ""),
        ];
        for (config, expected) in cases {
            let config =
                config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(check_together("c", &config).to_string(), expected);
        }
    }

    #[test]
    fn each_key_stands_once_and_in_order() {
        for keys in [NAME_SERVER_KEYS, BROKER_KEYS] {
            assert!(keys.windows(2).all(|pair| pair[0].name < pair[1].name));
        }
    }

    #[test]
    fn keys_that_say_who_a_member_is_are_forbidden() {
        let forbidden = "brokerId brokerName brokerClusterName brokerIP1 brokerIP2 brokerRole flushDiskType listenPort \
                         haListenPort storePathRootDir storePathCommitLog namesrvAddr controllerAddr \
                         enableControllerMode inSyncReplicas minInSyncReplicas allAckInSyncStateSet \
                         haMasterAddress";
        for name in forbidden.split_whitespace() {
            let class = BROKER_KEYS.iter().find(|key| key.name == name).map(|key| key.class);
            assert_eq!(class, Some(Forbidden), "{name}");
        }
    }
}
