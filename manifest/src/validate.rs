//! Ranges and rules between fields. What passes is the only form that may run.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Brokers, FlushMode, Metadata, ReplicationMode, RocketMQCluster, Storage, StorageType};
use crate::config_keys::{BROKER_KEYS, NAME_SERVER_KEYS, check_config};
use crate::problem::{Problem, Problems};
use crate::units::{ByteSize, DURATION_FORM, QUANTITY_FORM, parse_duration, parse_quantity};

const LONGEST_NAME: usize = 36;
const LONGEST_CLUSTER_NAME: usize = 64;
const MOST_MAP_ENTRIES: usize = 64;
const LONGEST_FLUSH_INTERVAL: Duration = Duration::from_secs(60);

/// A manifest that keeps all rules, together with its texts read as amounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    pub(crate) cluster: RocketMQCluster,
    pub(crate) flush_interval: Duration,
    pub(crate) file_reserved: Duration,
    pub(crate) storage_size: Option<ByteSize>,
}

impl Validated {
    /// Returns the manifest as it was read.
    pub fn cluster(&self) -> &RocketMQCluster {
        &self.cluster
    }
}

/// Checks every rule that needs no look at a running system.
///
/// # Errors
/// All problems, ordered by field.
pub fn validate(cluster: RocketMQCluster) -> Result<Validated, Problems> {
    let mut found = Found::default();
    check_metadata(&cluster.metadata, &mut found);
    check_spec(&cluster, &mut found);
    let (flush_interval, file_reserved, storage_size) = check_brokers(&cluster, &mut found);
    match (flush_interval, file_reserved) {
        (Some(flush_interval), Some(file_reserved)) if found.0.0.is_empty() => {
            Ok(Validated { cluster, flush_interval, file_reserved, storage_size })
        }
        _ => Err(found.0.sorted()),
    }
}

/// The problems found so far, with short ways to add one.
#[derive(Default)]
struct Found(Problems);

impl Found {
    fn refuse(&mut self, path: &str, value: impl Into<Value>, text: impl Into<String>) {
        self.0.0.push(Problem::with_value(path, &value.into(), text));
    }

    fn range(&mut self, path: &str, value: i32, from: i32, to: i32) {
        if !(from..=to).contains(&value) {
            self.refuse(path, value, format!("must be between {from} and {to}"));
        }
    }

    fn duration(&mut self, path: &str, text: &str) -> Option<Duration> {
        let duration = parse_duration(text);
        if duration.is_none() {
            self.refuse(path, text, DURATION_FORM);
        }
        duration
    }
}

fn check_metadata(metadata: &Metadata, found: &mut Found) {
    if !is_member_name(&metadata.name) {
        found.refuse(
            "metadata.name",
            metadata.name.as_str(),
            format!(
                "must start with a lower-case letter, go on with lower-case letters, digits and dashes, not end \
                 with a dash, and have at most {LONGEST_NAME} characters"
            ),
        );
    }
    if let Some(namespace) = &metadata.namespace
        && !is_label(namespace)
    {
        found.refuse(
            "metadata.namespace",
            namespace.as_str(),
            "must be lower-case letters, digits and dashes, at most 63, with no dash at either end",
        );
    }
    for (path, map) in
        [("metadata.labels", &metadata.labels), ("metadata.annotations", &metadata.annotations)]
    {
        if map.len() > MOST_MAP_ENTRIES {
            found.0.0.push(Problem::plain(
                path,
                format!("has {} entries, at most {MOST_MAP_ENTRIES} are allowed", map.len()),
            ));
        }
    }
}

fn check_spec(cluster: &RocketMQCluster, found: &mut Found) {
    let spec = &cluster.spec;
    if let Some(name) = &spec.cluster_name
        && !is_rocketmq_name(name, LONGEST_CLUSTER_NAME)
    {
        found.refuse(
            "spec.clusterName",
            name.as_str(),
            format!("must be 1 to {LONGEST_CLUSTER_NAME} letters, digits, _, -, % and |"),
        );
    }
    if !is_semantic_version(&spec.version) {
        found.refuse("spec.version", spec.version.as_str(), "must be a semantic version, such as 0.1.0");
    }
    found.range("spec.nameServers.replicas", spec.name_servers.replicas, 1, 9);
    found.0.0.extend(check_config("spec.nameServers.config", &spec.name_servers.config, NAME_SERVER_KEYS).0);
}

fn check_brokers(
    cluster: &RocketMQCluster,
    found: &mut Found,
) -> (Option<Duration>, Option<Duration>, Option<ByteSize>) {
    let brokers = &cluster.spec.brokers;
    found.range("spec.brokers.groups", brokers.groups, 0, 64);
    check_replication(brokers, found);
    check_group_names(&cluster.metadata.name, brokers, found);
    let flush_interval = found.duration("spec.brokers.flush.interval", &brokers.flush.interval);
    if flush_interval.is_some_and(|interval| interval.is_zero() || interval > LONGEST_FLUSH_INTERVAL) {
        found.refuse(
            "spec.brokers.flush.interval",
            brokers.flush.interval.as_str(),
            "must be between 1ms and 60s; to wait for the disk with every message, set spec.brokers.flush.mode to Sync",
        );
    }
    if brokers.storage.kind == StorageType::EmptyDir && brokers.flush.mode == FlushMode::Sync {
        found.refuse(
            "spec.brokers.flush.mode",
            "Sync",
            "needs spec.brokers.storage.type PersistentVolumeClaim, which is EmptyDir: what is lost with the member \
             need not be flushed",
        );
    }
    found.0.0.extend(check_config("spec.brokers.config", &brokers.config, BROKER_KEYS).0);
    let (file_reserved, size) = check_storage(&brokers.storage, found);
    (flush_interval, file_reserved, size)
}

fn check_replication(brokers: &Brokers, found: &mut Found) {
    found.range("spec.brokers.replicasPerGroup", brokers.replicas_per_group, 1, 5);
    if (2..=5).contains(&brokers.replicas_per_group) {
        found.refuse(
            "spec.brokers.replicasPerGroup",
            brokers.replicas_per_group,
            "not supported yet: brokers cannot have slaves yet; set it to 1",
        );
    }
    let mode = brokers.replication.mode;
    let why = match mode {
        ReplicationMode::Async => return,
        ReplicationMode::Sync => "brokers cannot have slaves yet",
        ReplicationMode::Controller => "there are no controllers yet",
    };
    found.refuse(
        "spec.brokers.replication.mode",
        format!("{mode:?}"),
        format!("not supported yet: {why}; set it to Async"),
    );
}

fn check_group_names(cluster: &str, brokers: &Brokers, found: &mut Found) {
    let path = "spec.brokers.groupNameTemplate";
    let template = brokers.group_name_template.as_str();
    if !template.contains("{group}") {
        found.refuse(path, template, "must contain {group}, so that each group has its own name");
        return;
    }
    // The longest name a group of this template can get.
    let name = template.replace("{cluster}", cluster).replace("{group}", "63");
    if !is_rocketmq_name(&name, 127) {
        found.refuse(
            path,
            template,
            "must be letters, digits, _, -, % and | with {cluster} and {group}, at most 127 characters when filled in",
        );
    }
}

fn check_storage(storage: &Storage, found: &mut Found) -> (Option<Duration>, Option<ByteSize>) {
    found.range("spec.brokers.storage.diskFullPercent", storage.disk_full_percent, 50, 94);
    let path = "spec.brokers.storage.size";
    let size = storage.size.as_deref().and_then(parse_quantity);
    match (&storage.size, size) {
        (None, _) if storage.kind == StorageType::PersistentVolumeClaim => {
            found.0.0.push(Problem::plain(
                path,
                "required with storage.type PersistentVolumeClaim, for example 10Gi",
            ));
        }
        (Some(text), None) => found.refuse(path, text.as_str(), QUANTITY_FORM),
        (Some(text), Some(ByteSize(0))) => found.refuse(path, text.as_str(), "must be more than 0"),
        _ => {}
    }
    let path = "spec.brokers.storage.fileReservedTime";
    let reserved = found.duration(path, &storage.file_reserved_time);
    if let Some(reserved) = reserved {
        let hours = reserved.as_millis() / 3_600_000;
        if reserved.as_millis() % 3_600_000 != 0 || !(1..=87_600).contains(&hours) {
            found.refuse(
                path,
                storage.file_reserved_time.as_str(),
                "must be whole hours between 1h and 87600h",
            );
        }
    }
    (reserved, size)
}

/// `^[a-z]([-a-z0-9]{0,34}[a-z0-9])?$`
fn is_member_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.starts_with(|first: char| first.is_ascii_lowercase()) && is_label(name)
}

/// A DNS label, the form of Kubernetes' names of namespaces.
fn is_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// What RocketMQ allows in the names of topics, and so of clusters and brokers, which are topics too.
fn is_rocketmq_name(name: &str, longest: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-%|".contains(&byte);
    (1..=longest).contains(&name.len()) && name.bytes().all(allowed)
}

/// `major.minor.patch` without leading zeros, then perhaps `-pre.release` and `+build`.
fn is_semantic_version(version: &str) -> bool {
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!numeric(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}
