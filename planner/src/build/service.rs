//! What services have in common.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Returns a port of a service; numbers in names keep them unique.
pub(super) fn port(name: &str, port: i32, target: i32) -> Value {
    json!({ "name": name, "port": port, "targetPort": target, "protocol": "TCP" })
}

/// Returns a service with an address inside the Kubernetes cluster.
pub(super) fn cluster_ip(
    selector: &BTreeMap<String, String>,
    ports: Vec<Value>,
    not_ready_too: bool,
) -> Value {
    json!({ "spec": {
        "type": "ClusterIP",
        "selector": selector,
        "ports": ports,
        "publishNotReadyAddresses": not_ready_too,
    } })
}

/// Returns a service that gives each pod a name, ready or not.
pub(super) fn headless(selector: &BTreeMap<String, String>, ports: Vec<Value>) -> Value {
    json!({ "spec": {
        "type": "ClusterIP",
        "clusterIP": "None",
        "selector": selector,
        "ports": ports,
        "publishNotReadyAddresses": true,
    } })
}
