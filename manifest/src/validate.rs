//! Ranges and rules between fields. What passes is the only form that may run.

use std::time::Duration;

use kube::core::ObjectMeta;
use serde_json::Value;

use crate::cluster::{
    Brokers, Flush, FlushMode, Replication, ReplicationMode, RocketMQCluster, Storage, StorageType,
};
use crate::config_keys::{BROKER_KEYS, NAME_SERVER_KEYS, check_config, check_together};
use crate::kubernetes_rules;
use crate::listener_rules;
use crate::problem::{Problem, Problems};
use crate::structure;
use crate::support::{only_on_kubernetes, refuse_later};
use crate::units::{ByteSize, DURATION_FORM, QUANTITY_FORM, parse_duration, parse_quantity};
use crate::versions::is_version;
use crate::without_effect;

const LONGEST_NAME: usize = 36;
const LONGEST_CLUSTER_NAME: usize = 64;
const MOST_MAP_ENTRIES: usize = 64;
const LONGEST_FLUSH_INTERVAL: Duration = Duration::from_secs(60);
const SHORTEST_SLAVE_LAG: Duration = Duration::from_secs(1);
const LONGEST_SLAVE_LAG: Duration = Duration::from_secs(3_600);
/// A quarter of what a master sends at once.
const SLOWEST_CATCH_UP: ByteSize = ByteSize(64 << 10);
const FASTEST_CATCH_UP: ByteSize = ByteSize(64 << 30);

/// A manifest that keeps all rules, together with its texts read as amounts.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    pub(crate) cluster: RocketMQCluster,
    pub(crate) amounts: Amounts,
    ignored_elsewhere: Vec<String>,
}

/// The texts of a manifest that are amounts, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) flush_interval: Duration,
    pub(crate) file_reserved: Duration,
    pub(crate) storage_size: Option<ByteSize>,
    pub(crate) max_slave_lag: Duration,
    pub(crate) catch_up_bytes_per_second: Option<ByteSize>,
}

impl Validated {
    /// Returns the cluster's name in Kubernetes, with which the names of its members begin.
    pub fn name(&self) -> &str {
        // A cluster without one is not valid.
        self.cluster.metadata.name.as_deref().unwrap_or_default()
    }

    /// Returns the paths of the settings that only matter on Kubernetes: a runner of another kind tells its user.
    pub fn only_on_kubernetes(&self) -> &[String] {
        &self.ignored_elsewhere
    }

    /// Returns the settings that do nothing, because another one leaves no use for them.
    pub fn without_effect(&self) -> Vec<Problem> {
        without_effect::check(&self.cluster.spec)
    }

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
    let spec = serde_json::to_value(&cluster.spec).unwrap_or_default();
    let mut found = Found(structure::check_spec(spec.clone()));
    found.0.0.extend(refuse_later(&spec));
    found.0.0.extend(listener_rules::check(&cluster.spec));
    found.0.0.extend(kubernetes_rules::check(&cluster.spec));
    check_metadata(&cluster.metadata, &mut found);
    check_spec(&cluster, &mut found);
    match check_brokers(&cluster, &mut found) {
        Some(amounts) if found.0.0.is_empty() => {
            Ok(Validated { cluster, amounts, ignored_elsewhere: only_on_kubernetes(&spec) })
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

    fn duration(&mut self, path: &str, text: &str) -> Option<Duration> {
        let duration = parse_duration(text);
        if duration.is_none() {
            self.refuse(path, text, DURATION_FORM);
        }
        duration
    }
}

fn check_metadata(metadata: &ObjectMeta, found: &mut Found) {
    let name = metadata.name.as_deref().unwrap_or_default();
    if !is_member_name(name) {
        found.refuse(
            "metadata.name",
            name,
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
        let entries = map.as_ref().map_or(0, |map| map.len());
        if entries > MOST_MAP_ENTRIES {
            let text = format!("has {entries} entries, at most {MOST_MAP_ENTRIES} are allowed");
            found.0.0.push(Problem::plain(path, text));
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
    if !is_version(&spec.version) {
        found.refuse("spec.version", spec.version.as_str(), "must be a semantic version, such as 0.1.0");
    }
    found.0.0.extend(check_config("spec.nameServers.config", &spec.name_servers.config, NAME_SERVER_KEYS).0);
}

/// Returns the amounts, if all of them can be read.
fn check_brokers(cluster: &RocketMQCluster, found: &mut Found) -> Option<Amounts> {
    let brokers = &cluster.spec.brokers;
    check_mode(brokers, found);
    check_required_acks(brokers, found);
    check_group_names(cluster.metadata.name.as_deref().unwrap_or_default(), brokers, found);
    if brokers.storage.kind == StorageType::EmptyDir && brokers.flush.mode == FlushMode::Sync {
        found.refuse(
            "spec.brokers.flush.mode",
            "Sync",
            "needs spec.brokers.storage.type PersistentVolumeClaim, which is EmptyDir: what is lost with the member \
             need not be flushed",
        );
    }
    let mut of_config = check_config("spec.brokers.config", &brokers.config, BROKER_KEYS);
    if of_config.0.is_empty() {
        of_config = check_together("spec.brokers.config", &brokers.config);
    }
    found.0.0.extend(of_config.0);
    let flush_interval = check_flush_interval(&brokers.flush, found);
    let max_slave_lag = check_max_slave_lag(&brokers.replication, found);
    let catch_up_bytes_per_second = check_catch_up(&brokers.replication, found);
    let (file_reserved, storage_size) = check_storage(&brokers.storage, found);
    Some(Amounts {
        flush_interval: flush_interval?,
        file_reserved: file_reserved?,
        storage_size,
        max_slave_lag: max_slave_lag?,
        catch_up_bytes_per_second,
    })
}

fn check_mode(brokers: &Brokers, found: &mut Found) {
    let path = "spec.brokers.replication.mode";
    match brokers.replication.mode {
        ReplicationMode::Async => {}
        ReplicationMode::Sync => {
            let replicas = brokers.replicas_per_group;
            if replicas == 1 {
                let text = "needs a slave that stores messages too, and spec.brokers.replicasPerGroup is 1; set \
                            that to 2 or more, or the mode to Async";
                found.refuse(path, "Sync", text);
            }
        }
        ReplicationMode::Controller => found.refuse(
            path,
            "Controller",
            "not supported yet: there are no controllers yet; set it to Async or Sync",
        ),
    }
}

fn check_required_acks(brokers: &Brokers, found: &mut Found) {
    let path = "spec.brokers.replication.requiredAcks";
    let Some(acks) = brokers.replication.required_acks else { return };
    let (mode, replicas) = (brokers.replication.mode, brokers.replicas_per_group);
    let text = if mode != ReplicationMode::Sync {
        format!(
            "only with spec.brokers.replication.mode Sync, which is {mode:?}; remove it, or set the mode to Sync"
        )
    } else if (2..acks).contains(&replicas) {
        format!(
            "must be at most spec.brokers.replicasPerGroup, which is {replicas}: no message could be acknowledged"
        )
    } else {
        return;
    };
    found.refuse(path, acks, text);
}

fn check_flush_interval(flush: &Flush, found: &mut Found) -> Option<Duration> {
    let path = "spec.brokers.flush.interval";
    let interval = found.duration(path, &flush.interval)?;
    if interval.is_zero() || interval > LONGEST_FLUSH_INTERVAL {
        found.refuse(
            path,
            flush.interval.as_str(),
            "must be between 1ms and 60s; to wait for the disk with every message, set spec.brokers.flush.mode to Sync",
        );
    }
    Some(interval)
}

fn check_max_slave_lag(replication: &Replication, found: &mut Found) -> Option<Duration> {
    let path = "spec.brokers.replication.maxSlaveLag";
    let lag = found.duration(path, &replication.max_slave_lag)?;
    if !(SHORTEST_SLAVE_LAG..=LONGEST_SLAVE_LAG).contains(&lag) {
        found.refuse(path, replication.max_slave_lag.as_str(), "must be between 1s and 1h");
    }
    Some(lag)
}

fn check_catch_up(replication: &Replication, found: &mut Found) -> Option<ByteSize> {
    let path = "spec.brokers.replication.catchUpBytesPerSecond";
    let text = replication.catch_up_bytes_per_second.as_deref()?;
    match parse_quantity(text) {
        None => found.refuse(path, text, QUANTITY_FORM),
        Some(rate) if (SLOWEST_CATCH_UP..=FASTEST_CATCH_UP).contains(&rate) => return Some(rate),
        Some(_) => found.refuse(
            path,
            text,
            format!("must be between {SLOWEST_CATCH_UP} and {FASTEST_CATCH_UP}; remove it for no limit"),
        ),
    }
    None
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
