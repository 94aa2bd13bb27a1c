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
    replicasPerGroup: 3
    groupNameTemplate: \"{cluster}_{group}\"
    slaveRead: false
    replication: { mode: Sync, requiredAcks: 3, maxSlaveLag: 1m, catchUpBytesPerSecond: 50Mi }
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
    assert_eq!(spec.name_servers, NameServers::default());
    assert_eq!(
        spec.logging,
        Logging { level: LogLevel::Info, format: LogFormat::Json, ..Logging::default() }
    );
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
                replicas_per_group: 2,
                slave_read: true,
                replication_mode: ReplicationMode::Async,
                required_acks: 1,
                max_slave_lag: Duration::from_secs(15),
                catch_up_bytes_per_second: None,
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
            logging: Logging { level: LogLevel::Info, format: LogFormat::Json, ..Logging::default() },
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
                replicas_per_group: 3,
                slave_read: false,
                replication_mode: ReplicationMode::Sync,
                required_acks: 3,
                max_slave_lag: Duration::from_secs(60),
                catch_up_bytes_per_second: Some(ByteSize(50 << 20)),
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
            logging: Logging { level: LogLevel::Debug, format: LogFormat::Text, ..Logging::default() },
        }
    );
}

#[test]
fn members_are_name_servers_first_then_brokers_group_by_group() {
    let members = members(&effective(EVERYTHING));
    let identities: Vec<(&str, &str, u32, u32)> = members
        .iter()
        .map(|member| (member.name.as_str(), member.duty(), member.group, member.ordinal))
        .collect();
    assert_eq!(
        identities,
        [
            ("orders-namesrv-0", "name server", 0, 0),
            ("orders-broker-0-0", "master", 0, 0),
            ("orders-broker-0-1", "slave", 0, 1),
            ("orders-broker-0-2", "slave", 0, 2),
            ("orders-broker-1-0", "master", 1, 0),
            ("orders-broker-1-1", "slave", 1, 1),
            ("orders-broker-1-2", "slave", 1, 2),
        ]
    );
    assert_eq!(members[0].config, map(&[]));
    assert_eq!(
        members[4].config,
        map(&[
            ("autoCreateSubscriptionGroup", "false"),
            ("autoCreateTopicEnable", "true"),
            ("brokerClusterName", "DefaultCluster"),
            ("brokerId", "0"),
            ("brokerName", "orders_1"),
            ("brokerRole", "SYNC_MASTER"),
            ("deleteWhen", "04;16"),
            ("diskMaxUsedSpaceRatio", "60"),
            ("diskSpaceCleanForciblyRatio", "70"),
            ("diskSpaceWarningLevelRatio", "75"),
            ("fileReservedTime", "24"),
            ("flushDiskType", "SYNC_FLUSH"),
            ("flushIntervalCommitLog", "1500"),
            ("haCatchUpBytesPerSecond", "52428800"),
            ("haMaxTimeSlaveNotCatchup", "60000"),
            ("inSyncReplicas", "3"),
            ("maxMessageSize", "4096"),
            ("slaveReadEnable", "false"),
        ])
    );
}

#[test]
fn the_first_member_of_a_group_is_its_master_and_all_others_follow_it() {
    let roles = |text: &str| -> Vec<[String; 3]> {
        let brokers = members(&effective(text)).into_iter().filter(|member| member.role == Role::Broker);
        brokers
            .map(|member| ["brokerId", "brokerRole", "inSyncReplicas"].map(|key| member.config[key].clone()))
            .collect()
    };
    let row = |id: &str, role: &str, acks: &str| [id, role, acks].map(str::to_owned);
    let text = SMALLEST.replace("brokers: {", "brokers: { groups: 1, replication: { mode: Sync },");
    assert_eq!(roles(&text), [row("0", "SYNC_MASTER", "2"), row("1", "SLAVE", "2")]);
    let text = SMALLEST.replace("brokers: {", "brokers: { groups: 1,");
    assert_eq!(roles(&text), [row("0", "ASYNC_MASTER", "1"), row("1", "SLAVE", "1")]);
}

#[test]
fn the_ends_of_the_ranges_of_replication_are_allowed() {
    for (replicas, replication) in [
        (1, "mode: Async"),
        (2, "mode: Sync"),
        (2, "mode: Sync, requiredAcks: 2"),
        (5, "mode: Sync, requiredAcks: 5"),
        (5, "mode: Async, maxSlaveLag: 1s"),
        (5, "mode: Async, maxSlaveLag: 1h"),
        (2, "catchUpBytesPerSecond: 64Ki"),
        (2, "catchUpBytesPerSecond: \"65536\""),
        (2, "catchUpBytesPerSecond: 64Gi"),
    ] {
        let fields = format!("brokers: {{ replicasPerGroup: {replicas}, replication: {{ {replication} }},");
        let text = SMALLEST.replace("brokers: {", &fields);
        assert_eq!(load(&text).map(drop), Ok(()), "{replication}");
    }
}

#[test]
fn the_keys_of_replication_that_no_field_sets_are_allowed() {
    let config = "config: { accessMessageInMemoryMaxRatio: \"40\", drainTimeoutMillis: \"0\", \
                  haHousekeepingInterval: \"20000\", haSendHeartbeatInterval: \"5000\", haTransferBatchSize: 256KiB, \
                  maxHaConnections: \"16\", offsetReplicationInterval: \"1000\", slaveTimeout: \"3000\" }";
    let text = SMALLEST.replace("brokers: {", &format!("brokers: {{ {config},"));
    assert_eq!(load(&text).map(drop), Ok(()));
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
    let names = ["flushInterval", "storageSize", "fileReservedTime", "maxSlaveLag", "catchUpBytesPerSecond"];
    assert_eq!(names.map(|name| &brokers[name]), ["1s500ms", "1536Mi", "24h", "1m", "50Mi"]);
}

#[test]
fn what_only_matters_on_kubernetes_is_accepted_and_named() {
    let text = "
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata: { name: orders, namespace: messaging }
spec:
  version: 0.1.0
  paused: true
  image: { prefix: registry.example.com/, pullPolicy: Always }
  deletion: { policy: Delete }
  acl: { enabled: false, version: V2, defaultPolicy: Deny }
  proxy: { enabled: false, replicas: 2 }
  nameServers: { warmUp: 10s, scheduling: { antiAffinity: Required } }
  listeners:
    - { name: internal, type: PodService, port: 10911 }
    - { name: external, type: Template, port: 20911, advertised: { hostTemplate: \"{pod}.example.com\" } }
  brokers:
    storage: { size: 10Gi, storageClassName: fast, accessMode: ReadWriteOnce }
    scaleIn: { policy: Drain, minDrainTime: 2m }
    rollout: { window: [{ schedule: \"0 3 * * 6\", duration: 2h }] }
    resources: { requests: { cpu: 500m } }
    scheduling: { zones: [a, b], zoneSpread: Disabled, tolerations: [{ key: mq, operator: Exists }] }
    podTemplate: { spec: { hostAliases: [] } }
  podDisruptionBudget: { enabled: false }
";
    let validated = load(text).unwrap();
    assert_eq!(
        validated.only_on_kubernetes(),
        [
            "spec.brokers.podTemplate",
            "spec.brokers.resources.requests",
            "spec.brokers.scheduling.tolerations",
            "spec.brokers.scheduling.zoneSpread",
            "spec.brokers.scheduling.zones",
            "spec.brokers.storage.storageClassName",
            "spec.deletion.policy",
            "spec.image.prefix",
            "spec.image.pullPolicy",
            "spec.listeners",
            "spec.nameServers.scheduling.antiAffinity",
            "spec.paused",
            "spec.podDisruptionBudget.enabled",
        ]
    );
    assert_eq!(load(SMALLEST).unwrap().only_on_kubernetes(), [""; 0]);
}

/// What the API server returns is a manifest too: with every default filled in, it asks for nothing more.
#[test]
fn a_manifest_with_every_default_filled_in_means_the_same() {
    for text in [SMALLEST, EVERYTHING] {
        let given: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        let filled = manifest::crd::with_defaults(&given).to_string();
        assert_eq!(effective(&filled), effective(text));
        assert_eq!(load(&filled).unwrap().only_on_kubernetes(), [""; 0]);
    }
}

/// A cluster of the API server carries what only the server writes.
#[test]
fn what_an_api_server_returns_is_read_like_the_file_it_was_made_from() {
    for text in [SMALLEST, EVERYTHING] {
        let given: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        let mut object = manifest::crd::with_defaults(&given);
        for (field, value) in [
            ("uid", "u".into()),
            ("generation", 3.into()),
            ("resourceVersion", "17".into()),
            ("creationTimestamp", "2030-01-01T00:00:00Z".into()),
            ("finalizers", vec!["gantry.rs/cluster"].into()),
            ("managedFields", vec![serde_json::json!({})].into()),
        ] {
            let value: serde_json::Value = value;
            object["metadata"][field] = value;
        }
        object["status"] = serde_json::json!({ "conditions": [] });
        assert_eq!(resolve(&manifest::read(&object).unwrap()), effective(text));
    }
}

#[test]
fn whatever_an_api_server_returns_is_read_or_refused() {
    let values = [
        serde_json::json!(null),
        serde_json::json!(7),
        serde_json::json!([]),
        serde_json::json!({ "metadata": 7, "spec": "x" }),
        serde_json::json!({ "metadata": { "name": "a" }, "spec": { "brokers": [{ "storage": 1 }], "version": [] } }),
    ];
    for value in values {
        assert!(!manifest::read(&value).unwrap_err().0.is_empty(), "{value}");
    }
    let end = serde_json::json!({ "metadata": { "name": "a" }, "spec": { "brokers": 7, "deletion": { "policy": "Delete" } } });
    let validated = manifest::read_for_deletion(&end).unwrap();
    let deletion = &validated.cluster().spec.deletion;
    assert_eq!(deletion.policy, manifest::cluster::DeletionPolicy::Delete);
}

/// `deploy/` is part of the product: each file in it must run.
#[test]
fn the_example_manifests_are_good() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    let expected = [
        ("1m-sync-flush.yaml", 1, FlushMode::Sync),
        ("2m-2s-async.yaml", 4, FlushMode::Async),
        ("2m-2s-sync.yaml", 4, FlushMode::Async),
        ("2m-async-flush.yaml", 2, FlushMode::Async),
        ("2m-sync-flush.yaml", 2, FlushMode::Sync),
        ("listeners.yaml", 4, FlushMode::Async),
        ("production.yaml", 6, FlushMode::Sync),
        ("quickstart.yaml", 1, FlushMode::Async),
    ];
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    found.sort();
    assert_eq!(found, expected.map(|(name, ..)| name));
    for (name, brokers, flush_mode) in expected {
        let effective = effective(&std::fs::read_to_string(format!("{folder}/{name}")).unwrap());
        let found = members(&effective).iter().filter(|member| member.role == Role::Broker).count();
        assert_eq!((found, effective.brokers.flush_mode), (brokers, flush_mode), "{name}");
        assert_eq!(effective.version, env!("CARGO_PKG_VERSION"), "{name}");
    }
}
