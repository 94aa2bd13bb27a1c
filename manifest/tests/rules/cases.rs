//! For each rule of the definition a manifest that it accepts and one that it refuses. Nothing here evaluates them: the
//! tests of the definition do, and those on a real API server.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

/// A rule, told by its message, with specs it accepts and refuses; both are put over the smallest good one.
pub struct Case {
    pub message: &'static str,
    pub accepts: Change,
    pub refuses: Change,
}

/// What was before, for rules of changes, and what is.
pub struct Change {
    pub old: Option<Value>,
    pub new: Value,
}

fn case(message: &'static str, accepts: Value, refuses: Value) -> Case {
    Case { message, accepts: Change { old: None, new: accepts }, refuses: Change { old: None, new: refuses } }
}

fn change(message: &'static str, accepts: [Value; 2], refuses: [Value; 2]) -> Case {
    let change = |[old, new]: [Value; 2]| Change { old: Some(old), new };
    Case { message, accepts: change(accepts), refuses: change(refuses) }
}

fn brokers(fields: Value) -> Value {
    json!({ "brokers": fields })
}

fn storage(fields: Value) -> Value {
    brokers(json!({ "storage": fields }))
}

fn replication(fields: Value) -> Value {
    brokers(json!({ "replication": fields }))
}

/// With controllers, and the mode that allows them.
fn controllers(fields: Value) -> Value {
    json!({ "controllers": fields, "brokers": { "replication": { "mode": "Controller" } } })
}

fn listener(name: &str, kind: &str, port: u16) -> Value {
    json!({ "name": name, "type": kind, "port": port })
}

fn balancer(name: &str, class: &str) -> Value {
    let port = if name == "out" { 20911 } else { 21911 };
    merged(listener(name, "LoadBalancer", port), &json!({ "loadBalancer": { "class": class } }))
}

fn listeners(more: &[Value]) -> Value {
    let internal = [listener("internal", "PodService", 10911)];
    json!({ "listeners": internal.iter().chain(more).collect::<Vec<_>>() })
}

/// Returns a case for each rule, and two where a rule refuses for two reasons.
pub fn cases() -> Vec<Case> {
    let cannot_shrink = "cannot shrink: volumes only grow";
    let keep_class = "cannot change: volumes keep their class";
    let zones = "needs zoneSpread Disabled: a group in one zone cannot be spread over zones";
    let zoned = |spread: &str| json!({ "scheduling": { "zones": ["a"], "zoneSpread": spread } });
    let tls = json!({ "tls": { "mode": "Required" } });
    let with_tls = merged(listener("other", "NodePort", 20911), &tls);
    vec![
        change(
            "cannot change: clients and stored data know the cluster by it",
            [json!({ "clusterName": "a" }), json!({ "clusterName": "a" })],
            [json!({}), json!({ "clusterName": "a" })],
        ),
        case(
            "only with brokers.replication.mode Controller; remove it",
            controllers(json!({})),
            json!({ "controllers": {} }),
        ),
        change(
            "cannot change from Controller to another mode: nothing would elect masters any more",
            [json!({}), replication(json!({ "mode": "Controller" }))],
            [replication(json!({ "mode": "Controller" })), json!({})],
        ),
        case(
            "required with acl.enabled: without a super user nobody could administer the cluster",
            json!({ "acl": { "enabled": true, "superUserSecretRef": { "name": "s" } } }),
            json!({ "acl": { "enabled": true } }),
        ),
        case(
            "a listener with tls.mode Permissive or Required needs spec.tls, which says who issues certificates",
            merged(listeners(std::slice::from_ref(&with_tls)), &json!({ "tls": {} })),
            listeners(&[with_tls]),
        ),
        case(
            "one listener must be named internal and have type PodIP, PodService or HostNetwork",
            listeners(&[listener("other", "NodePort", 20911)]),
            json!({ "listeners": [listener("internal", "NodePort", 20911)] }),
        ),
        case(
            "ports of listeners must differ, and not by 2: each listener also opens the port two below its own",
            listeners(&[listener("other", "NodePort", 10916)]),
            listeners(&[listener("other", "NodePort", 10909)]),
        ),
        case(
            "only one listener may have type HostNetwork",
            listeners(&[listener("host", "HostNetwork", 20911)]),
            listeners(&[listener("host", "HostNetwork", 20911), listener("more", "HostNetwork", 21911)]),
        ),
        case(
            "is taken by replication, health or administration; choose another",
            listeners(&[listener("other", "NodePort", 10915)]),
            listeners(&[listener("other", "NodePort", 10914)]),
        ),
        case(
            "a listener of type Template needs advertised.hostTemplate",
            listeners(&[merged(
                listener("other", "Template", 20911),
                &json!({ "advertised": { "hostTemplate": "{pod}.example.com" } }),
            )]),
            listeners(&[merged(listener("other", "Template", 20911), &json!({ "advertised": {} }))]),
        ),
        change(
            "cannot change: a load balancer keeps its class; give the listener another name",
            [listeners(&[balancer("out", "a")]), listeners(&[balancer("out", "a"), balancer("other", "b")])],
            [listeners(&[balancer("out", "a")]), listeners(&[balancer("out", "b")])],
        ),
        case(
            "must be 1, 3 or 5",
            controllers(json!({ "replicas": 5 })),
            controllers(json!({ "replicas": 4 })),
        ),
        change(
            cannot_shrink,
            [controllers(json!({})), controllers(json!({ "storage": { "size": "2048Mi" } }))],
            [controllers(json!({})), controllers(json!({ "storage": { "size": "1Gi" } }))],
        ),
        change(
            keep_class,
            [controllers(json!({})), controllers(json!({}))],
            [controllers(json!({})), controllers(json!({ "storage": { "storageClassName": "fast" } }))],
        ),
        case(
            "must be longer than leaseDuration: two masters could acknowledge",
            controllers(json!({ "failover": { "leaseDuration": "2900ms" } })),
            controllers(json!({ "failover": { "leaseDuration": "3s" } })),
        ),
        case(
            "must be longer than heartbeatInterval: every lease would run out",
            controllers(json!({ "failover": { "heartbeatInterval": "1999ms" } })),
            controllers(json!({ "failover": { "heartbeatInterval": "2s" } })),
        ),
        case(
            "Sync needs a slave that stores messages too: set replicasPerGroup to 2 or more, or the mode to Async",
            replication(json!({ "mode": "Sync" })),
            brokers(json!({ "replicasPerGroup": 1, "replication": { "mode": "Sync" } })),
        ),
        case(
            "only with replication.mode Sync, and at most replicasPerGroup",
            replication(json!({ "mode": "Sync", "requiredAcks": 2 })),
            replication(json!({ "mode": "Sync", "requiredAcks": 3 })),
        ),
        case(
            "only with replication.mode Sync, and at most replicasPerGroup",
            json!({}),
            replication(json!({ "requiredAcks": 2 })),
        ),
        case(
            "only with replication.mode Controller, and at most replicasPerGroup",
            replication(json!({ "mode": "Controller", "minInSyncReplicas": 2 })),
            replication(json!({ "mode": "Controller", "minInSyncReplicas": 3 })),
        ),
        case(
            "only with replication.mode Controller; remove it",
            replication(json!({ "mode": "Controller", "allAckInSyncStateSet": false })),
            replication(json!({ "mode": "Sync", "allAckInSyncStateSet": true })),
        ),
        change(
            "cannot change: clients and stored data know groups by it",
            [json!({}), brokers(json!({ "groupNameTemplate": "{cluster}-broker-{group}" }))],
            [json!({}), brokers(json!({ "groupNameTemplate": "b{group}" }))],
        ),
        case(
            "must contain {group}, so that each group has its own name",
            brokers(json!({ "groupNameTemplate": "b{group}" })),
            brokers(json!({ "groupNameTemplate": "b" })),
        ),
        case(
            "Sync needs storage.type PersistentVolumeClaim: what is lost with the member need not be flushed",
            brokers(json!({ "flush": { "mode": "Async" }, "storage": { "type": "EmptyDir" } })),
            brokers(json!({ "flush": { "mode": "Sync" }, "storage": { "type": "EmptyDir" } })),
        ),
        case(
            "a key that follows from who a member is, or from another field, cannot be set; remove it",
            brokers(json!({ "config": { "slaveTimeout": "3000" } })),
            brokers(json!({ "config": { "slaveTimeout": "3000", "brokerId": "7" } })),
        ),
        change(
            "cannot change: the files of stored messages have that size",
            [json!({}), brokers(json!({ "config": { "slaveTimeout": "3000" } }))],
            [json!({}), brokers(json!({ "config": { "mappedFileSizeCommitLog": "64MiB" } }))],
        ),
        case(
            "required with storage.type PersistentVolumeClaim, for example 10Gi",
            storage(json!({ "type": "EmptyDir", "size": null })),
            storage(json!({ "size": null })),
        ),
        change(
            "cannot change: messages would stay behind",
            [json!({}), json!({})],
            [json!({}), storage(json!({ "type": "EmptyDir" }))],
        ),
        change(
            "cannot change: volumes keep their access mode",
            [json!({}), storage(json!({ "accessMode": "ReadWriteOnce" }))],
            [json!({}), storage(json!({ "accessMode": "ReadWriteOncePod" }))],
        ),
        change(
            keep_class,
            [storage(json!({ "storageClassName": "a" })), storage(json!({ "storageClassName": "a" }))],
            [storage(json!({ "storageClassName": "a" })), storage(json!({ "storageClassName": "b" }))],
        ),
        change(
            "cannot be added or removed: messages would stay behind",
            [
                storage(json!({ "commitLog": { "size": "1Gi" } })),
                storage(json!({ "commitLog": { "size": "2Gi" } })),
            ],
            [json!({}), storage(json!({ "commitLog": { "size": "1Gi" } }))],
        ),
        change(
            cannot_shrink,
            [json!({}), storage(json!({ "size": "10.5Gi" }))],
            [json!({}), storage(json!({ "size": "10G" }))],
        ),
        change(
            cannot_shrink,
            [
                storage(json!({ "commitLog": { "size": "1Gi" } })),
                storage(json!({ "commitLog": { "size": "1Ti" } })),
            ],
            [
                storage(json!({ "commitLog": { "size": "1Gi" } })),
                storage(json!({ "commitLog": { "size": "1Mi" } })),
            ],
        ),
        case(zones, brokers(zoned("Disabled")), brokers(zoned("Required"))),
        case(
            zones,
            json!({ "nameServers": zoned("Disabled") }),
            json!({ "nameServers": zoned("Preferred") }),
        ),
        case(zones, json!({ "proxy": zoned("Disabled") }), json!({ "proxy": zoned("Preferred") })),
        case(zones, controllers(zoned("Disabled")), controllers(zoned("Preferred"))),
    ]
}

/// Puts one object over another, as a merge patch does.
fn merged(mut base: Value, over: &Value) -> Value {
    for (key, value) in over.as_object().unwrap() {
        match value {
            Value::Null => drop(base.as_object_mut().unwrap().remove(key)),
            Value::Object(_) if base[key].is_object() => base[key] = merged(base[key].take(), value),
            _ => base[key] = value.clone(),
        }
    }
    base
}

/// Returns the smallest good cluster with a spec put over its own.
pub fn cluster(name: &str, over: &Value) -> Value {
    let spec = json!({ "version": "0.1.0", "brokers": { "storage": { "size": "10Gi" } } });
    json!({
        "apiVersion": "gantry.rs/v1alpha1", "kind": "RocketMQCluster", "metadata": { "name": name },
        "spec": merged(spec, over),
    })
}
