//! What users get wrong, and the exact words they read: YAML in, all problems out.
#![allow(clippy::unwrap_used)]

use manifest::load;

fn problems(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

fn with(metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: {{ {metadata} }}\nspec: {{ {spec} }}\n"
    )
}

fn raw(text: &str) -> String {
    text.to_owned()
}

fn named(metadata: &str) -> String {
    with(metadata, "version: 0.1.0, brokers: { storage: { size: 10Gi } }")
}

fn spec(fields: &str) -> String {
    with("name: dev", &format!("version: 0.1.0, brokers: {{ storage: {{ size: 10Gi }} }}, {fields}"))
}

fn brokers(fields: &str) -> String {
    with("name: dev", &format!("version: 0.1.0, brokers: {{ storage: {{ size: 10Gi }}, {fields} }}"))
}

fn storage(fields: &str) -> String {
    with("name: dev", &format!("version: 0.1.0, brokers: {{ storage: {{ {fields} }} }}"))
}

fn outside(host: &str) -> String {
    let listeners = [
        "{ name: internal, type: PodIP, port: 10911 }".to_owned(),
        format!("{{ name: out, type: Template, port: 20911, advertised: {{ hostTemplate: \"{host}\" }} }}"),
    ];
    spec(&format!("listeners: [{}]", listeners.join(", ")))
}

fn check(cases: &[(String, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(problems(text), *expected, "\n{text}");
    }
}

#[test]
fn the_manifests_the_cases_start_from_are_good() {
    for text in [named("name: dev"), spec(""), brokers(""), storage("size: 10Gi")] {
        assert_eq!(problems(&text), [""; 0], "\n{text}");
    }
}

#[test]
fn a_file_without_one_cluster_is_refused() {
    check(&[
        (raw(""), &["the file holds no manifest; expected one RocketMQCluster of gantry.rs/v1alpha1"]),
        (
            raw("# nothing\n---\n"),
            &["the file holds no manifest; expected one RocketMQCluster of gantry.rs/v1alpha1"],
        ),
        (
            raw("- a\n- b\n"),
            &["the file holds no map of fields; expected one RocketMQCluster of gantry.rs/v1alpha1"],
        ),
        (
            raw("just text"),
            &["the file holds no map of fields; expected one RocketMQCluster of gantry.rs/v1alpha1"],
        ),
        (
            raw("apiVersion: v1\nkind: ConfigMap\n"),
            &[
                r#"apiVersion: "v1": must be gantry.rs/v1alpha1"#,
                r#"kind: "ConfigMap": must be RocketMQCluster"#,
            ],
        ),
        (
            raw("apiVersion: gantry.rs/v1alpha1\nkind: RocketMQTopic\n"),
            &[r#"kind: "RocketMQTopic": must be RocketMQCluster"#],
        ),
        (
            raw("apiVersion: gantry.rs/v1\nkind: RocketMQCluster\n"),
            &[r#"apiVersion: "gantry.rs/v1": must be gantry.rs/v1alpha1"#],
        ),
        (
            raw("kind: A\n---\nkind: B\n---\nx: 1\n"),
            &[
                "the file holds 3 documents (A, B, no kind); expected exactly one RocketMQCluster of gantry.rs/v1alpha1",
            ],
        ),
        (
            raw("a: 1\na: 2\n"),
            &["read YAML: duplicate mapping key `a` is not allowed here at line 2, column 1"],
        ),
        (raw("a: [1\n"), &["read YAML: unclosed bracket '[' at line 1, column 4"]),
        (
            raw("a: b: c\n"),
            &["read YAML: mapping values are not allowed in this context at line 1, column 5"],
        ),
        (raw("a: *nowhere\n"), &["read YAML: reference to unknown value at line 1, column 4"]),
        (
            raw("{}"),
            &[
                "apiVersion: required, for example gantry.rs/v1alpha1",
                "kind: required, for example RocketMQCluster",
                "metadata: required, for example { name: dev }",
                r#"spec: required, for example { version: "0.1.0", brokers: { storage: { size: 10Gi } } }"#,
            ],
        ),
        (
            raw("apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: {name: dev}\n"),
            &[r#"spec: required, for example { version: "0.1.0", brokers: { storage: { size: 10Gi } } }"#],
        ),
        (
            raw("apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: {name: dev}\nspec:\n"),
            &[r#"spec: required, for example { version: "0.1.0", brokers: { storage: { size: 10Gi } } }"#],
        ),
    ]);
}

#[test]
fn bad_metadata_is_refused() {
    check(&[
        (named(""), &["metadata.name: required, for example dev"]),
        (
            named("name: Dev"),
            &[
                r#"metadata.name: "Dev": must start with a lower-case letter, go on with lower-case letters, digits and dashes, not end with a dash, and have at most 36 characters"#,
            ],
        ),
        (
            named("name: 1dev"),
            &[
                r#"metadata.name: "1dev": must start with a lower-case letter, go on with lower-case letters, digits and dashes, not end with a dash, and have at most 36 characters"#,
            ],
        ),
        (
            named("name: dev-"),
            &[
                r#"metadata.name: "dev-": must start with a lower-case letter, go on with lower-case letters, digits and dashes, not end with a dash, and have at most 36 characters"#,
            ],
        ),
        (
            named("name: a123456789012345678901234567890123456"),
            &[
                r#"metadata.name: "a123456789012345678901234567890123456": must start with a lower-case letter, go on with lower-case letters, digits and dashes, not end with a dash, and have at most 36 characters"#,
            ],
        ),
        (
            named("name: dev, namespace: Prod"),
            &[
                r#"metadata.namespace: "Prod": must be lower-case letters, digits and dashes, at most 63, with no dash at either end"#,
            ],
        ),
        (named("name: dev, uid: abc"), &[r#"metadata.uid: "abc": filled in by Kubernetes; remove it"#]),
        (
            named("name: dev, generateName: x-"),
            &[
                r#"metadata.generateName: "x-": not supported yet: members are named after metadata.name; remove it"#,
            ],
        ),
        (
            named("name: dev, labels: { a/b: 1 }"),
            &[r#"metadata.labels["a/b"]: 1: must be text; put it in quotes"#],
        ),
        (named("name: dev, labels: [a]"), &[r#"metadata.labels: ["a"]: must be a map of text to text"#]),
        (named("name: yes"), &["metadata.name: true: must be text; put it in quotes"]),
        (
            named("nmae: dev"),
            &[
                "metadata.name: required, for example dev",
                r#"metadata.nmae: "dev": unknown field, did you mean name?"#,
            ],
        ),
    ]);
}

#[test]
fn bad_cluster_settings_are_refused() {
    check(&[
        (spec(r#"clusterName: """#), &[r#"spec.clusterName: "": must have 1 to 64 characters"#]),
        (
            spec("clusterName: a b"),
            &[r#"spec.clusterName: "a b": must be 1 to 64 letters, digits, _, -, % and |"#],
        ),
        (spec("clusterNam: a"), &[r#"spec.clusterNam: "a": unknown field, did you mean clusterName?"#]),
        (spec("nameServers: { replicas: 0 }"), &["spec.nameServers.replicas: 0: must be between 1 and 9"]),
        (spec("nameServers: { replicas: 10 }"), &["spec.nameServers.replicas: 10: must be between 1 and 9"]),
        (
            spec(r#"nameServers: { replicas: "3" }"#),
            &[r#"spec.nameServers.replicas: "3": must be an integer; remove the quotes"#],
        ),
        (
            spec("nameServers: { replicas: 1.5 }"),
            &["spec.nameServers.replicas: 1.5: must be an integer of 32 bits"],
        ),
        (
            spec("nameServers: { replicas: 99999999999 }"),
            &["spec.nameServers.replicas: 99999999999: must be an integer of 32 bits"],
        ),
        (spec("nameServers: 3"), &["spec.nameServers: 3: must be a map of fields"]),
        (
            spec(r#"nameServers: { config: { listenPort: "1" } }"#),
            &[
                r#"spec.nameServers.config.listenPort: "1": cannot be set: it follows from who the member is and where it runs; remove it"#,
            ],
        ),
        (
            spec(r#"nameServers: { config: { nothing: "1" } }"#),
            &[
                r#"spec.nameServers.config.nothing: "1": unknown key; allowed are configBlackList, deleteTopicWithBrokerRegistration, enableAllTopicList, enableTopicList, frameTimeoutMillis, maxBufferedBytes, maxConnections, maxUnansweredBytes, needWaitForService, notifyMinBrokerIdChanged, orderMessageEnable, returnOrderTopicConfigToBroker, scanNotActiveBrokerInterval, serverChannelMaxIdleTimeSeconds, supportActingMaster, waitSecondsForService, writeTimeoutMillis"#,
            ],
        ),
        (
            spec("nameServers: { warmUp: 1h }"),
            &[r#"spec.nameServers.warmUp: "1h": must be between 0s and 10m"#],
        ),
        (
            spec(r#"nameServers: { external: ["a:1"] }"#),
            &[
                r#"spec.nameServers.external: ["a:1"]: not supported yet: brokers register only at the cluster's own name servers; remove it"#,
            ],
        ),
        (
            spec("controllers: {}"),
            &["spec.controllers: {}: not supported yet: there are no controllers yet; remove it"],
        ),
        (
            spec("controllers: { replicas: 5, storage: { size: 4Gi } }"),
            &[
                "spec.controllers.replicas: 5: not supported yet: there are no controllers yet; remove it",
                r#"spec.controllers.storage.size: "4Gi": not supported yet: there are no controllers yet; remove it"#,
            ],
        ),
        (
            spec("controllers: { replica: 3 }"),
            &["spec.controllers.replica: 3: unknown field, did you mean replicas?"],
        ),
        (
            spec("proxy: { enabled: true }"),
            &["spec.proxy.enabled: true: not supported yet: there is no gRPC proxy yet; remove it"],
        ),
        (
            spec("tls: { internal: Required }"),
            &[
                r#"spec.tls.internal: "Required": not supported yet: connections are not encrypted yet; remove it"#,
            ],
        ),
        (
            spec("acl: { enabled: true }"),
            &["spec.acl.enabled: true: not supported yet: there is no access control yet; remove it"],
        ),
        (
            spec("listeners: [{ name: internal, port: 10911 }]"),
            &[
                "spec.listeners[0].type: required, one of PodIP, PodService, NodePort, LoadBalancer, HostNetwork, Template",
            ],
        ),
        (
            spec("listeners: [{ name: internal, type: PodIP, port: 10911, tls: { mode: Required } }]"),
            &[
                r#"spec.listeners[0].tls.mode: "Required": not supported yet: connections are not encrypted yet; remove it"#,
            ],
        ),
        (
            spec("listeners: [{ name: In, type: Podip, port: 80, prot: 1 }]"),
            &[
                r#"spec.listeners[0].name: "In": must be a lower-case letter and up to 11 lower-case letters and digits"#,
                "spec.listeners[0].port: 80: must be between 1024 and 65535",
                "spec.listeners[0].prot: 1: unknown field, did you mean port?",
                r#"spec.listeners[0].type: "Podip": must be one of PodIP, PodService, NodePort, LoadBalancer, HostNetwork, Template; did you mean PodIP?"#,
            ],
        ),
        (
            spec("listeners: [{ name: internal, type: PodIP, port: 1025 }]"),
            &[
                "spec.listeners[0].port: 1025: must be 1026 or more: each listener also opens the port two below its own",
            ],
        ),
        (
            outside("mq.example.com,other=h"),
            &[
                r#"spec.listeners[1].advertised.hostTemplate: "mq.example.com,other=h": must make a host name, an IPv4 address or an IPv6 address in brackets, of letters, digits, dashes, dots and {cluster}, {group}, {ordinal}, {pod}, {node}, {zone}"#,
            ],
        ),
        (outside("{pod}.{zone}.example.com"), &[]),
        (outside("[fd00::1{group}]"), &[]),
        (
            spec("logging: { level: loud }"),
            &[r#"spec.logging.level: "loud": must be one of error, warn, info, debug, trace"#],
        ),
        (
            spec("logging: { level: INFO }"),
            &[
                r#"spec.logging.level: "INFO": must be one of error, warn, info, debug, trace; did you mean info?"#,
            ],
        ),
        (
            spec("logging: { format: json }"),
            &[r#"spec.logging.format: "json": must be one of Json, Text; did you mean Json?"#],
        ),
        (
            spec("logging: { targets: { a: b } }"),
            &[
                r#"spec.logging.targets: {"a":"b"}: not supported yet: one level holds for the whole member; remove it"#,
            ],
        ),
        (
            spec("logging: { level: 1 }"),
            &["spec.logging.level: 1: must be one of error, warn, info, debug, trace"],
        ),
        (spec("backup: {}"), &["spec.backup: {}: not supported yet: there is no backup yet; remove it"]),
        (
            spec("replicas: 3"),
            &[
                "spec.replicas: 3: unknown field; allowed are brokers, clusterName, deletion, dns, image, listeners, logging, masterService, monitoring, nameServers, networkPolicy, paused, podDisruptionBudget, serviceAccountName, stopped, version",
            ],
        ),
    ]);
}

#[test]
fn bad_broker_settings_are_refused() {
    check(&[
        (brokers("groups: -1"), &["spec.brokers.groups: -1: must be between 0 and 64"]),
        (brokers("groups: 65"), &["spec.brokers.groups: 65: must be between 0 and 64"]),
        (brokers("group: 2"), &["spec.brokers.group: 2: unknown field, did you mean groups?"]),
        (brokers("replicasPerGroup: 0"), &["spec.brokers.replicasPerGroup: 0: must be between 1 and 5"]),
        (brokers("replicasPerGroup: 6"), &["spec.brokers.replicasPerGroup: 6: must be between 1 and 5"]),
        (
            brokers("groupNameTemplate: broker"),
            &[
                r#"spec.brokers.groupNameTemplate: "broker": must contain {group}, so that each group has its own name"#,
            ],
        ),
        (
            brokers(r#"groupNameTemplate: "a b {group}""#),
            &[
                r#"spec.brokers.groupNameTemplate: "a b {group}": must be letters, digits, _, -, % and | with {cluster} and {group}, at most 127 characters when filled in"#,
            ],
        ),
        (
            brokers(r#"groupNameTemplate: "{name}-{group}""#),
            &[
                r#"spec.brokers.groupNameTemplate: "{name}-{group}": must be letters, digits, _, -, % and | with {cluster} and {group}, at most 127 characters when filled in"#,
            ],
        ),
        (
            brokers("replication: { mode: async }"),
            &[
                r#"spec.brokers.replication.mode: "async": must be one of Async, Sync, Controller; did you mean Async?"#,
            ],
        ),
        (
            brokers("replication: { mode: Raft }"),
            &[r#"spec.brokers.replication.mode: "Raft": must be one of Async, Sync, Controller"#],
        ),
        (
            brokers("flush: { mode: Never }"),
            &[r#"spec.brokers.flush.mode: "Never": must be one of Async, Sync"#],
        ),
        (
            brokers("flush: { interval: 0s }"),
            &[
                r#"spec.brokers.flush.interval: "0s": must be between 1ms and 60s; to wait for the disk with every message, set spec.brokers.flush.mode to Sync"#,
            ],
        ),
        (
            brokers("flush: { interval: 500 }"),
            &[
                "spec.brokers.flush.interval: 500: must be a duration of whole numbers with ms, s, m or h, such as 500ms, 90s or 1h30m",
            ],
        ),
        (
            brokers("flush: { interval: soon }"),
            &[
                r#"spec.brokers.flush.interval: "soon": must be a duration of whole numbers with ms, s, m or h, such as 500ms, 90s or 1h30m"#,
            ],
        ),
        (brokers("flush: Sync"), &[r#"spec.brokers.flush: "Sync": must be a map of fields"#]),
        (
            brokers(r#"autoCreateTopics: "true""#),
            &[r#"spec.brokers.autoCreateTopics: "true": must be true or false; remove the quotes"#],
        ),
        (brokers("autoCreateTopics: 1"), &["spec.brokers.autoCreateTopics: 1: must be true or false"]),
        (
            brokers("autoCreateConsumerGroups: maybe"),
            &[r#"spec.brokers.autoCreateConsumerGroups: "maybe": must be true or false"#],
        ),
        (
            brokers(r#"config: { brokerId: "1" }"#),
            &[
                r#"spec.brokers.config.brokerId: "1": cannot be set: it follows from who the member is and where it runs; remove it"#,
            ],
        ),
        (
            brokers(r#"config: { fileReservedTime: "48" }"#),
            &[
                r#"spec.brokers.config.fileReservedTime: "48": cannot be set here; set spec.brokers.storage.fileReservedTime instead"#,
            ],
        ),
        (
            brokers("config: { maxMessageSize: 1024 }"),
            &["spec.brokers.config.maxMessageSize: 1024: must be text; put it in quotes"],
        ),
        (
            brokers("config: { maxMessageSize: big }"),
            &[
                r#"spec.brokers.config.maxMessageSize: "big": must be an amount of bytes between 1KiB and 15MiB, written as 1048576, 1024KiB or 1MiB"#,
            ],
        ),
        (
            brokers(r#"config: { maxMesageSize: "4096" }"#),
            &[r#"spec.brokers.config.maxMesageSize: "4096": unknown key, did you mean maxMessageSize?"#],
        ),
        (
            brokers(r#"config: { nothing: "4096" }"#),
            &[
                r#"spec.brokers.config.nothing: "4096": unknown key; allowed are accessMessageInMemoryMaxRatio, channelExpiredTimeout, defaultTopicQueueNums, deleteWhen, drainTimeoutMillis, flushConsumerOffsetInterval, frameTimeoutMillis, haHousekeepingInterval, haSendHeartbeatInterval, haTransferBatchSize, longPollingEnable, mappedFileSizeCommitLog, maxBufferedBytes, maxConnections, maxHaConnections, maxMessageSize, maxParkedPulls, maxTransferBytesOnMessageInMemory, maxTransferCountOnMessageInMemory, maxUnansweredBytes, maxUnansweredSends, maxUnflushedBytes, offsetReplicationInterval, regionId, registerNameServerPeriod, serverChannelMaxIdleTimeSeconds, slaveTimeout, syncFlushTimeout, tailCacheBytes, writeGraceMillis, writeTimeoutMillis"#,
            ],
        ),
        (
            brokers(r#"config: { deleteWhen: "24" }"#),
            &[
                r#"spec.brokers.config.deleteWhen: "24": must be hours of the day from 00 to 23, such as 04 or 04;16"#,
            ],
        ),
        (
            brokers(r#"config: { traceTopicEnable: "true" }"#),
            &[
                r#"spec.brokers.config.traceTopicEnable: "true": not supported yet: there is no message trace yet; remove it"#,
            ],
        ),
        (
            brokers(r#"config: { mappedFileSizeCommitLog: "1" }"#),
            &[
                r#"spec.brokers.config.mappedFileSizeCommitLog: "1": must be an amount of bytes between 128KiB and 1GiB, written as 1048576, 1024KiB or 1MiB"#,
            ],
        ),
        (brokers("config: []"), &["spec.brokers.config: []: must be a map of text to text"]),
        (
            brokers("pools: []"),
            &["spec.brokers.pools: []: not supported yet: all broker groups are alike; remove it"],
        ),
    ]);
}

#[test]
fn bad_replication_settings_are_refused() {
    check(&[
        (
            brokers("replicasPerGroup: 1, replication: { mode: Sync }"),
            &[
                r#"spec.brokers.replication.mode: "Sync": needs a slave that stores messages too, and spec.brokers.replicasPerGroup is 1; set that to 2 or more, or the mode to Async"#,
            ],
        ),
        (
            brokers("replication: { mode: Controller }"),
            &[
                r#"spec.brokers.replication.mode: "Controller": not supported yet: there are no controllers yet; set it to Async or Sync"#,
            ],
        ),
        (
            brokers("replication: { mode: async }"),
            &[
                r#"spec.brokers.replication.mode: "async": must be one of Async, Sync, Controller; did you mean Async?"#,
            ],
        ),
        (
            brokers("replication: { mode: Raft }"),
            &[r#"spec.brokers.replication.mode: "Raft": must be one of Async, Sync, Controller"#],
        ),
        (
            brokers("replication: { requiredAcks: 2 }"),
            &[
                "spec.brokers.replication.requiredAcks: 2: only with spec.brokers.replication.mode Sync, which is Async; remove it, or set the mode to Sync",
            ],
        ),
        (
            brokers("replicasPerGroup: 2, replication: { mode: Sync, requiredAcks: 3 }"),
            &[
                "spec.brokers.replication.requiredAcks: 3: must be at most spec.brokers.replicasPerGroup, which is 2: no message could be acknowledged",
            ],
        ),
        (
            brokers("replication: { mode: Sync, requiredAcks: 1 }"),
            &["spec.brokers.replication.requiredAcks: 1: must be between 2 and 5"],
        ),
        (
            brokers("replicasPerGroup: 5, replication: { mode: Sync, requiredAcks: 6 }"),
            &["spec.brokers.replication.requiredAcks: 6: must be between 2 and 5"],
        ),
        (
            brokers(r#"replication: { mode: Sync, requiredAcks: "2" }"#),
            &[r#"spec.brokers.replication.requiredAcks: "2": must be an integer; remove the quotes"#],
        ),
        (
            brokers("replication: { maxSlaveLag: 999ms }"),
            &[r#"spec.brokers.replication.maxSlaveLag: "999ms": must be between 1s and 1h"#],
        ),
        (
            brokers("replication: { maxSlaveLag: 1h1ms }"),
            &[r#"spec.brokers.replication.maxSlaveLag: "1h1ms": must be between 1s and 1h"#],
        ),
        (
            brokers("replication: { maxSlaveLag: 15 }"),
            &[
                "spec.brokers.replication.maxSlaveLag: 15: must be a duration of whole numbers with ms, s, m or h, such as 500ms, 90s or 1h30m",
            ],
        ),
        (
            brokers("replication: { catchUpBytesPerSecond: 0Mi }"),
            &[
                r#"spec.brokers.replication.catchUpBytesPerSecond: "0Mi": must be between 64Ki and 64Gi; remove it for no limit"#,
            ],
        ),
        (
            brokers("replication: { catchUpBytesPerSecond: 1Ti }"),
            &[
                r#"spec.brokers.replication.catchUpBytesPerSecond: "1Ti": must be between 64Ki and 64Gi; remove it for no limit"#,
            ],
        ),
        (
            brokers("replication: { catchUpBytesPerSecond: 50MB }"),
            &[
                r#"spec.brokers.replication.catchUpBytesPerSecond: "50MB": must be a quantity: a number of bytes with Ki, Mi, Gi, Ti, Pi, Ei, k, M, G, T, P or E, such as 10Gi"#,
            ],
        ),
        (
            brokers("replication: { minInSyncReplicas: 2 }"),
            &[
                "spec.brokers.replication.minInSyncReplicas: 2: not supported yet: there are no controllers yet; remove it",
            ],
        ),
        (
            brokers("replication: { allAckInSyncStateSet: false }"),
            &[
                "spec.brokers.replication.allAckInSyncStateSet: false: not supported yet: there are no controllers yet; remove it",
            ],
        ),
        (
            brokers("replication: { requiredAck: 2 }"),
            &["spec.brokers.replication.requiredAck: 2: unknown field, did you mean requiredAcks?"],
        ),
        (brokers("slaveRead: sometimes"), &[r#"spec.brokers.slaveRead: "sometimes": must be true or false"#]),
    ]);
}

#[test]
fn replication_keys_that_a_field_or_nobody_sets_are_refused() {
    check(&[
        (
            brokers(r#"config: { haMaxTimeSlaveNotCatchup: "15000" }"#),
            &[
                r#"spec.brokers.config.haMaxTimeSlaveNotCatchup: "15000": cannot be set here; set spec.brokers.replication.maxSlaveLag instead"#,
            ],
        ),
        (
            brokers(r#"config: { haCatchUpBytesPerSecond: "1" }"#),
            &[
                r#"spec.brokers.config.haCatchUpBytesPerSecond: "1": cannot be set here; set spec.brokers.replication.catchUpBytesPerSecond instead"#,
            ],
        ),
        (
            brokers(r#"config: { slaveReadEnable: "false" }"#),
            &[
                r#"spec.brokers.config.slaveReadEnable: "false": cannot be set here; set spec.brokers.slaveRead instead"#,
            ],
        ),
        (
            brokers(r#"config: { haMasterAddress: "10.0.0.1:10912" }"#),
            &[
                r#"spec.brokers.config.haMasterAddress: "10.0.0.1:10912": cannot be set: it follows from who the member is and where it runs; remove it"#,
            ],
        ),
        (
            brokers(r#"config: { slaveTimeout: "0" }"#),
            &[r#"spec.brokers.config.slaveTimeout: "0": must be a whole number between 1 and 60000"#],
        ),
        (
            brokers(r#"config: { haTransferBatchSize: 1KiB }"#),
            &[
                r#"spec.brokers.config.haTransferBatchSize: "1KiB": must be an amount of bytes between 4KiB and 1MiB, written as 1048576, 1024KiB or 1MiB"#,
            ],
        ),
    ]);
}

#[test]
fn bad_storage_settings_are_refused() {
    check(&[
        (
            with("name: dev", "version: 0.1.0, brokers: {}"),
            &["spec.brokers.storage: required, for example { size: 10Gi }"],
        ),
        (
            storage(""),
            &[
                "spec.brokers.storage.size: required with storage.type PersistentVolumeClaim, for example 10Gi",
            ],
        ),
        (
            storage("size: 10GB"),
            &[
                r#"spec.brokers.storage.size: "10GB": must be a quantity: a number of bytes with Ki, Mi, Gi, Ti, Pi, Ei, k, M, G, T, P or E, such as 10Gi"#,
            ],
        ),
        (
            storage("size: 10"),
            &[
                "spec.brokers.storage.size: 10: must be a quantity: a number of bytes with Ki, Mi, Gi, Ti, Pi, Ei, k, M, G, T, P or E, such as 10Gi",
            ],
        ),
        (
            storage("size: 0"),
            &[
                "spec.brokers.storage.size: 0: must be a quantity: a number of bytes with Ki, Mi, Gi, Ti, Pi, Ei, k, M, G, T, P or E, such as 10Gi",
            ],
        ),
        (storage(r#"size: "0""#), &[r#"spec.brokers.storage.size: "0": must be more than 0"#]),
        (
            storage("size: 1Gi, type: HostPath"),
            &[r#"spec.brokers.storage.type: "HostPath": must be one of PersistentVolumeClaim, EmptyDir"#],
        ),
        (
            storage("type: EmptyDir, size: x"),
            &[
                r#"spec.brokers.storage.size: "x": must be a quantity: a number of bytes with Ki, Mi, Gi, Ti, Pi, Ei, k, M, G, T, P or E, such as 10Gi"#,
            ],
        ),
        (
            storage("size: 1Gi, fileReservedTime: 90m"),
            &[r#"spec.brokers.storage.fileReservedTime: "90m": must be whole hours between 1h and 87600h"#],
        ),
        (
            storage("size: 1Gi, fileReservedTime: 0h"),
            &[r#"spec.brokers.storage.fileReservedTime: "0h": must be whole hours between 1h and 87600h"#],
        ),
        (
            storage("size: 1Gi, fileReservedTime: 3d"),
            &[
                r#"spec.brokers.storage.fileReservedTime: "3d": must be a duration of whole numbers with ms, s, m or h, such as 500ms, 90s or 1h30m"#,
            ],
        ),
        (
            storage("size: 1Gi, diskFullPercent: 95"),
            &["spec.brokers.storage.diskFullPercent: 95: must be between 50 and 94"],
        ),
        (
            storage("size: 1Gi, diskFullPercent: 85%"),
            &[r#"spec.brokers.storage.diskFullPercent: "85%": must be an integer"#],
        ),
        (
            storage("size: 1Gi, commitLog: { size: 1Gi }"),
            &[
                r#"spec.brokers.storage.commitLog.size: "1Gi": not supported yet: a broker keeps everything in one directory; remove it"#,
            ],
        ),
        (
            storage("size: 1Gi, sise: 2Gi"),
            &[r#"spec.brokers.storage.sise: "2Gi": unknown field, did you mean size?"#],
        ),
        (
            storage("sise: 2Gi"),
            &[
                r#"spec.brokers.storage.sise: "2Gi": unknown field, did you mean size?"#,
                "spec.brokers.storage.size: required with storage.type PersistentVolumeClaim, for example 10Gi",
            ],
        ),
    ]);
}

#[test]
fn all_problems_are_listed_at_once_and_in_the_order_of_the_fields() {
    let text = "
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata: { name: Dev, label: {} }
spec:
  version: v1
  nameServers: { replicas: 0, warmUp: 1h }
  brokers:
    groups: many
    flush: { mode: sync, interval: 1 }
    storage: { siz: 10Gi, diskFullPercent: 10 }
    config: { brokerId: 7, wrong: \"1\" }
  proxy: { enabled: true }
";
    let paths: Vec<String> = load(text).unwrap_err().0.into_iter().map(|problem| problem.path).collect();
    let expected = [
        "metadata.label",
        "metadata.name",
        "spec.brokers.config.brokerId",
        "spec.brokers.config.wrong",
        "spec.brokers.flush.interval",
        "spec.brokers.flush.mode",
        "spec.brokers.groups",
        "spec.brokers.storage.diskFullPercent",
        "spec.brokers.storage.siz",
        "spec.brokers.storage.size",
        "spec.nameServers.replicas",
        "spec.nameServers.warmUp",
        "spec.proxy.enabled",
        "spec.version",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn what_is_lost_with_the_member_need_not_be_flushed() {
    check(&[(
        with("name: dev", "version: 0.1.0, brokers: { storage: { type: EmptyDir }, flush: { mode: Sync } }"),
        &[
            r#"spec.brokers.flush.mode: "Sync": needs spec.brokers.storage.type PersistentVolumeClaim, which is EmptyDir: what is lost with the member need not be flushed"#,
        ],
    )]);
}

#[test]
fn a_version_is_three_numbers_and_perhaps_more() {
    for version in ["0.1.0", "1.2.3-rc.1", "1.2.3+build.5", "1.0.0-0.a-b"] {
        let text = with("name: dev", &format!("version: {version}, brokers: {{ storage: {{ size: 1Gi }} }}"));
        assert_eq!(problems(&text), [""; 0], "{version}");
    }
    for version in ["v1.0.0", "1.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "latest", "1.0.0.0"] {
        let text =
            with("name: dev", &format!("version: '{version}', brokers: {{ storage: {{ size: 1Gi }} }}"));
        let expected = format!("spec.version: \"{version}\": must be a semantic version, such as 0.1.0");
        assert_eq!(problems(&text), [expected], "{version}");
    }
}

#[test]
fn a_config_map_is_bounded() {
    let entries: Vec<String> = (0..129).map(|entry| format!("k{entry}: \"\"")).collect();
    let found = problems(&brokers(&format!("config: {{ {} }}", entries.join(", "))));
    assert_eq!(found[0], "spec.brokers.config: has 129 entries, at most 128 are allowed");
}

#[test]
fn an_alias_bomb_is_refused_instead_of_eating_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let found = problems(&text);
    assert!(found[0].starts_with("read YAML: "), "{found:?}");
}

#[test]
fn no_text_however_broken_is_more_than_refused() {
    let good = include_str!("../../deploy/2m-sync-flush.yaml");
    // A generator of our own: the same texts every time.
    let mut state: u64 = 1;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let pieces =
        ["", "{", "}", "[", ":", " ", "\n", "\"", "0", "-", "&a", "*a", "~", "\u{fffd}", "---\n", "!!x "];
    for _ in 0..3_000 {
        let mut letters: Vec<char> = good.chars().collect();
        for _ in 0..=random(4) {
            let at = random(letters.len());
            let end = (at + random(12)).min(letters.len());
            letters.splice(at..end, pieces[random(pieces.len())].chars());
        }
        let text: String = letters.into_iter().collect();
        if let Err(problems) = load(&text) {
            assert!(!problems.0.is_empty(), "{text}");
        }
    }
}

#[test]
fn what_kubernetes_would_refuse_later_is_refused_now() {
    let listeners = |more: &str| {
        spec(&format!("listeners: [{{ name: internal, type: PodService, port: 10911 }}, {more}]"))
    };
    let nodes = |bases: [&str; 2]| {
        let [one, other] = bases.map(|base| format!("nodePort: {{ base: {base} }}"));
        listeners(&format!(
            "{{ name: a, type: NodePort, port: 20911, {one} }}, {{ name: b, type: NodePort, port: 21911, {other} }}"
        ))
    };
    check(&[
        (
            brokers("storage: { size: 1Gi, storageClassName: Fast_SSD }")
                .replace("storage: { size: 10Gi }, ", ""),
            &[
                r#"spec.brokers.storage.storageClassName: "Fast_SSD": must be lower-case letters, digits, dashes and dots, with a letter or digit at both ends"#,
            ],
        ),
        (
            spec("image: { pullSecrets: [{ name: my secret }], overrides: { broker: \"a b\" } }"),
            &[
                r#"spec.image.overrides.broker: "a b": must be an image's reference, such as registry.example.com/mq/gantry-broker:0.1.0"#,
                r#"spec.image.pullSecrets[0].name: "my secret": must be lower-case letters, digits, dashes and dots, with a letter or digit at both ends"#,
            ],
        ),
        (
            brokers("scheduling: { nodeSelector: { disk: \"fast!\" }, priorityClassName: High }"),
            &[
                r#"spec.brokers.scheduling.nodeSelector.disk: "fast!": must be at most 63 letters, digits, -, _ and ., with a letter or digit at both ends"#,
                r#"spec.brokers.scheduling.priorityClassName: "High": must be lower-case letters, digits, dashes and dots, with a letter or digit at both ends"#,
            ],
        ),
        (
            brokers("resources: { limits: { \"a/b/c\": \"1\" } }"),
            &[r#"spec.brokers.resources.limits["a/b/c"]: "1": is of no resource; cpu and memory are"#],
        ),
        (
            listeners(
                "{ name: out, type: LoadBalancer, port: 20911, loadBalancer: { sourceRanges: [10.0.0.0] } }",
            ),
            &[
                r#"spec.listeners[1].loadBalancer.sourceRanges[0]: "10.0.0.0": must be a range of addresses, such as 203.0.113.0/24"#,
            ],
        ),
        (
            listeners("{ name: out, type: NodePort, port: 20911, networkPolicyPeers: [{ ipBlok: {} }] }"),
            &[
                r#"spec.listeners[1].networkPolicyPeers[0].ipBlok: {}: is not a field that Kubernetes knows here; remove it"#,
            ],
        ),
        (nodes(["30100", "30200"]), &[]),
        (
            nodes(["30100", "30110"]),
            &[
                "spec.listeners[2].nodePort.base: 30110: is too near to that of listener a: both would have port 30110; a broker has the base plus 10 times its group plus its ordinal",
            ],
        ),
        (
            nodes(["30100", "65530"]),
            &[
                "spec.listeners[2].nodePort.base: 65530: must be smaller: a broker would have port 65540, and 65535 is the highest",
            ],
        ),
        (
            listeners("{ name: out, type: NodePort, port: 20911, nameServerPort: 5557 }"),
            &["spec.listeners[1].nameServerPort: 5557: is taken by the name servers' health; choose another"],
        ),
        (
            listeners("{ name: host, type: HostNetwork, port: 10916 }"),
            &[
                "spec.listeners[1].port: 10916: would meet a port of another group on one node, or go beyond 65535: group g has its ports 4*g higher; choose an odd one between 14911 and 61539, such as 20911",
            ],
        ),
        (
            brokers("rollout: { window: [{ schedule: \"0 2 * * 6\", duration: 30s }] }"),
            &[r#"spec.brokers.rollout.window[0].duration: "30s": must be between 1m and 168h"#],
        ),
    ]);
}
