//! What a good manifest becomes: defaults, the effective form, and the members that run.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use manifest::cluster::{
    Brokers, FlushMode, LogFormat, LogLevel, Logging, NameServers, ReplicationMode, StorageType,
};
use manifest::units::ByteSize;
use manifest::{Effective, EffectiveBrokers, EffectiveNameServers, Role, load, members, resolve};

const SMALLEST: &str = "
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata: { name: dev }
spec: { version: 0.1.0, brokers: { storage: { size: 10Gi } } }
";

const EVERYTHING: &str = "
# A comment, and a document marker as kubectl accepts it.
---
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata:
  name: orders
  namespace: messaging
  labels: { app.kubernetes.io/part-of: shop }
  annotations: { owner: \"team a\" }
spec:
  clusterName: DefaultCluster
  version: 0.1.0
  nameServers: { replicas: 1 }
  brokers:
    groups: 2
    replicasPerGroup: 1
    groupNameTemplate: \"{cluster}_{group}\"
    replication: { mode: Async }
    flush: { mode: Sync, interval: 1s500ms }
    storage: { type: PersistentVolumeClaim, size: 1.5Gi, fileReservedTime: 24h, diskFullPercent: 70 }
    autoCreateTopics: on
    autoCreateConsumerGroups: false
    config: { maxMessageSize: \"4096\", deleteWhen: \"04;16\" }
  logging: { level: debug, format: Text }
";

fn effective(text: &str) -> Effective {
    resolve(&load(text).unwrap())
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_smallest_manifest_gets_the_documented_defaults() {
    let validated = load(SMALLEST).unwrap();
    let spec = &validated.cluster().spec;
    assert_eq!(spec.name_servers, NameServers { replicas: 3, config: BTreeMap::new() });
    assert_eq!(spec.logging, Logging { level: LogLevel::Info, format: LogFormat::Json });
    let mut expected = Brokers::default();
    expected.storage.size = Some("10Gi".to_owned());
    assert_eq!(spec.brokers, expected);
    assert_eq!(
        effective(SMALLEST),
        Effective {
            name: "dev".to_owned(),
            namespace: None,
            cluster_name: "dev".to_owned(),
            version: "0.1.0".to_owned(),
            name_servers: EffectiveNameServers { replicas: 3, config: BTreeMap::new() },
            brokers: EffectiveBrokers {
                group_names: vec!["dev-broker-0".to_owned(), "dev-broker-1".to_owned()],
                replicas_per_group: 1,
                replication_mode: ReplicationMode::Async,
                flush_mode: FlushMode::Async,
                flush_interval: Duration::from_millis(500),
                storage_type: StorageType::PersistentVolumeClaim,
                storage_size: Some(ByteSize(10 << 30)),
                file_reserved_time: Duration::from_secs(72 * 3_600),
                disk_full_percent: 85,
                auto_create_topics: false,
                auto_create_consumer_groups: true,
                config: BTreeMap::new(),
            },
            logging: Logging { level: LogLevel::Info, format: LogFormat::Json },
        }
    );
}

#[test]
fn every_field_that_works_reaches_the_effective_manifest() {
    assert_eq!(
        effective(EVERYTHING),
        Effective {
            name: "orders".to_owned(),
            namespace: Some("messaging".to_owned()),
            cluster_name: "DefaultCluster".to_owned(),
            version: "0.1.0".to_owned(),
            name_servers: EffectiveNameServers { replicas: 1, config: BTreeMap::new() },
            brokers: EffectiveBrokers {
                group_names: vec!["orders_0".to_owned(), "orders_1".to_owned()],
                replicas_per_group: 1,
                replication_mode: ReplicationMode::Async,
                flush_mode: FlushMode::Sync,
                flush_interval: Duration::from_millis(1_500),
                storage_type: StorageType::PersistentVolumeClaim,
                storage_size: Some(ByteSize(1536 << 20)),
                file_reserved_time: Duration::from_secs(24 * 3_600),
                disk_full_percent: 70,
                auto_create_topics: true,
                auto_create_consumer_groups: false,
                config: map(&[("deleteWhen", "04;16"), ("maxMessageSize", "4096")]),
            },
            logging: Logging { level: LogLevel::Debug, format: LogFormat::Text },
        }
    );
}

#[test]
fn members_are_name_servers_first_then_brokers_group_by_group() {
    let members = members(&effective(EVERYTHING));
    let identities: Vec<(&str, Role, u32, u32)> = members
        .iter()
        .map(|member| (member.name.as_str(), member.role, member.group, member.ordinal))
        .collect();
    assert_eq!(
        identities,
        [
            ("orders-namesrv-0", Role::NameServer, 0, 0),
            ("orders-broker-0-0", Role::Broker, 0, 0),
            ("orders-broker-1-0", Role::Broker, 1, 0),
        ]
    );
    assert_eq!(members[0].config, map(&[]));
    assert_eq!(
        members[2].config,
        map(&[
            ("autoCreateSubscriptionGroup", "false"),
            ("autoCreateTopicEnable", "true"),
            ("brokerClusterName", "DefaultCluster"),
            ("brokerId", "0"),
            ("brokerName", "orders_1"),
            ("brokerRole", "ASYNC_MASTER"),
            ("deleteWhen", "04;16"),
            ("diskMaxUsedSpaceRatio", "60"),
            ("diskSpaceCleanForciblyRatio", "70"),
            ("diskSpaceWarningLevelRatio", "75"),
            ("fileReservedTime", "24"),
            ("flushDiskType", "SYNC_FLUSH"),
            ("flushIntervalCommitLog", "1500"),
            ("maxMessageSize", "4096"),
        ])
    );
}

#[test]
fn a_cluster_of_name_servers_alone_has_no_brokers() {
    let text = SMALLEST.replace("brokers: {", "brokers: { groups: 0,");
    let roles: Vec<Role> = members(&effective(&text)).iter().map(|member| member.role).collect();
    assert_eq!(roles, [Role::NameServer; 3]);
}

#[test]
fn a_volume_that_goes_with_the_member_needs_no_size() {
    let text = SMALLEST.replace("size: 10Gi", "type: EmptyDir");
    let brokers = effective(&text).brokers;
    assert_eq!((brokers.storage_type, brokers.storage_size), (StorageType::EmptyDir, None));
}

#[test]
fn a_field_set_to_null_was_not_given() {
    let text = SMALLEST.replace("version:", "clusterName: null, proxy: ~, version:");
    assert_eq!(effective(&text), effective(SMALLEST));
}

#[test]
fn json_is_read_like_yaml() {
    let text = r#"{"apiVersion":"gantry.rs/v1alpha1","kind":"RocketMQCluster","metadata":{"name":"dev"},
        "spec":{"version":"0.1.0","brokers":{"storage":{"size":"10Gi"}}}}"#;
    assert_eq!(effective(text), effective(SMALLEST));
}

#[test]
fn the_defaults_written_out_mean_the_same() {
    let validated = load(SMALLEST).unwrap();
    let text = serde_json::to_string(validated.cluster()).unwrap();
    assert_eq!(load(&text).unwrap(), validated);
}

#[test]
fn the_effective_manifest_shows_amounts_as_a_manifest_would() {
    let shown = serde_json::to_value(effective(EVERYTHING)).unwrap();
    let brokers = &shown["brokers"];
    let amounts = [&brokers["flushInterval"], &brokers["storageSize"], &brokers["fileReservedTime"]];
    assert_eq!(amounts, ["1s500ms", "1536Mi", "24h"]);
}

/// `deploy/` is part of the product: each file in it must run.
#[test]
fn the_example_manifests_are_good() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    let expected = [
        ("1m-sync-flush.yaml", 1, FlushMode::Sync),
        ("2m-async-flush.yaml", 2, FlushMode::Async),
        ("2m-sync-flush.yaml", 2, FlushMode::Sync),
        ("quickstart.yaml", 1, FlushMode::Async),
    ];
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    found.sort();
    assert_eq!(found, expected.map(|(name, ..)| name));
    for (name, masters, flush_mode) in expected {
        let effective = effective(&std::fs::read_to_string(format!("{folder}/{name}")).unwrap());
        let brokers = members(&effective).iter().filter(|member| member.role == Role::Broker).count();
        assert_eq!((brokers, effective.brokers.flush_mode), (masters, flush_mode), "{name}");
        assert_eq!(effective.version, env!("CARGO_PKG_VERSION"), "{name}");
    }
}
