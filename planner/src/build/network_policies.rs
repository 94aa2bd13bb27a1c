//! Who may connect: clients by the listeners' peers, brokers to their own group, the operator, and everyone to health.

use serde_json::{Value, json};

use super::object;
use crate::desired::{Desired, HEALTH, Ports};
use crate::labels::Part;
use crate::object::{Kind, Object};
use crate::shape::Shape;

pub(super) fn build(desired: &Desired, shape: &Shape) -> Vec<Object> {
    if !desired.spec().network_policy.enabled {
        return Vec::new();
    }
    let mut objects = vec![name_servers(desired)];
    objects.extend(shape.groups.keys().map(|group| brokers(desired, *group)));
    objects
}

/// Brokers and the operator ask the port of the listener `internal`.
fn name_servers(desired: &Desired) -> Object {
    let ours =
        [json!({ "podSelector": { "matchLabels": desired.selector(Part::Brokers) } }), operator(desired)];
    let mut rules: Vec<Value> = Vec::new();
    for (listener, port) in desired.listeners() {
        let peers = peers(&listener.network_policy_peers, &ours);
        rules.push(rule(&[port], peers));
    }
    rules.push(rule(&[HEALTH], Vec::new()));
    policy(desired, Part::NameServers, &desired.names.name_servers(), rules)
}

/// All listeners lead to one port of the pod, which is open for the peers of any of them.
fn brokers(desired: &Desired, group: u32) -> Object {
    let Ports { listen, ha, health, admin } = desired.ports(group);
    let part = Part::Group(group);
    let own_group = json!({ "podSelector": { "matchLabels": desired.selector(part) } });
    let listeners = &desired.spec().listeners;
    let anyone = listeners.iter().any(|listener| listener.network_policy_peers.is_empty());
    let given: Vec<_> = listeners.iter().flat_map(|listener| listener.network_policy_peers.clone()).collect();
    let clients = match anyone {
        true => Vec::new(),
        false => peers(&given, &[own_group.clone(), operator(desired)]),
    };
    let rules = vec![
        rule(&[listen, listen - 2], clients),
        rule(&[ha], vec![own_group]),
        rule(&[admin], vec![operator(desired)]),
        rule(&[health], Vec::new()),
    ];
    policy(desired, part, &desired.names.group(group), rules)
}

fn peers(given: &[manifest::cluster::Object], ours: &[Value]) -> Vec<Value> {
    match given.is_empty() {
        true => Vec::new(),
        false => given.iter().map(|peer| json!(peer)).chain(ours.iter().cloned()).collect(),
    }
}

fn operator(desired: &Desired) -> Value {
    let operator = &desired.facts.operator;
    json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": operator.namespace } },
        "podSelector": { "matchLabels": operator.pod_labels },
    })
}

/// Without peers it is for everyone.
fn rule(ports: &[i32], peers: Vec<Value>) -> Value {
    let ports: Vec<Value> = ports.iter().map(|port| json!({ "port": port, "protocol": "TCP" })).collect();
    match peers.is_empty() {
        true => json!({ "ports": ports }),
        false => json!({ "ports": ports, "from": peers }),
    }
}

fn policy(desired: &Desired, part: Part, name: &str, rules: Vec<Value>) -> Object {
    let body = json!({ "spec": {
        "podSelector": { "matchLabels": desired.selector(part) },
        "policyTypes": ["Ingress"],
        "ingress": rules,
    } });
    object(desired, part, Kind::NetworkPolicy, name, body)
}
