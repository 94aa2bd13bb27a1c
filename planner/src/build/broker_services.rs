//! Services of brokers: one for the pods' names, one per pod and listener, one per group for its master.
//!
//! Services of pods publish addresses that are not ready too: which broker gets traffic is the name servers' decision.

use std::collections::BTreeMap;

use manifest::cluster::{Listener, ListenerType, LoadBalancer};
use serde_json::{Value, json};

use super::addresses::{Vars, fill, lost_ip};
use super::service::{cluster_ip, headless, port};
use super::{annotated, object};
use crate::desired::Desired;
use crate::labels::{CLUSTER, POD_NAME, Part};
use crate::names::INTERNAL;
use crate::object::{Kind, Object};
use crate::shape::Shape;

pub(super) fn build(desired: &Desired, shape: &Shape) -> Vec<Object> {
    let mut objects = vec![all(desired)];
    for (group, of_group) in &shape.groups {
        for ordinal in 0..of_group.addressed {
            let listeners = desired.spec().listeners.iter();
            objects.extend(listeners.filter_map(|listener| of_pod(desired, *group, ordinal, listener)));
        }
        if desired.spec().master_service.enabled {
            objects.push(master(desired, *group));
        }
    }
    objects
}

/// For replication. Ports are only informative: a headless service leads to pods themselves.
fn all(desired: &Desired) -> Object {
    let selector = desired.selector(Part::Brokers);
    let ports = desired.ports(0);
    let body =
        headless(&selector, vec![port("ha", ports.ha, ports.ha), port("admin", ports.admin, ports.admin)]);
    object(desired, Part::Brokers, Kind::Service, &desired.names.brokers_headless(), body)
}

fn of_pod(desired: &Desired, group: u32, ordinal: u32, listener: &Listener) -> Option<Object> {
    let listen = desired.ports(group).listen;
    let name = desired.names.broker_listener(group, ordinal, &listener.name);
    let selector = pod_selector(desired, group, ordinal);
    let part = Part::Group(group);
    let body = match listener.kind {
        ListenerType::PodIP | ListenerType::HostNetwork => return None,
        ListenerType::PodService => {
            let mut body = cluster_ip(&selector, both_ports(listener.port, listen), true);
            if let Some(ip) = lost_ip(desired, group, ordinal, listener) {
                body["spec"]["clusterIP"] = json!(ip);
            }
            body
        }
        ListenerType::Template => cluster_ip(&selector, both_ports(listener.port, listen), true),
        ListenerType::NodePort => {
            let own = listener.node_port.base.map(|base| {
                base + 10 * i32::try_from(group).unwrap_or(0) + i32::try_from(ordinal).unwrap_or(0)
            });
            node_port(&selector, port("remoting", listener.port, listen), own)
        }
        ListenerType::LoadBalancer => {
            let vars = Vars::of(desired, group, ordinal);
            let annotations = balancer_annotations(&listener.load_balancer, &vars);
            let body = balancer(&selector, both_ports(listener.port, listen), &listener.load_balancer);
            return Some(annotated(desired, part, Kind::Service, &name, annotations, body));
        }
    };
    Some(object(desired, part, Kind::Service, &name, body))
}

/// Fixed modes: the first member leads, whatever its state.
fn master(desired: &Desired, group: u32) -> Object {
    let Some(internal) = desired.internal() else {
        unreachable!("a validated manifest has a listener named {INTERNAL}")
    };
    let ports = both_ports(internal.port, desired.ports(group).listen);
    let body = cluster_ip(&pod_selector(desired, group, 0), ports, false);
    object(desired, Part::Group(group), Kind::Service, &desired.names.master_service(group), body)
}

fn pod_selector(desired: &Desired, group: u32, ordinal: u32) -> BTreeMap<String, String> {
    BTreeMap::from([
        (CLUSTER.to_owned(), desired.names.cluster.clone()),
        (POD_NAME.to_owned(), desired.names.broker(group, ordinal)),
    ])
}

/// A client that sends by the fast port takes the one two below the port it was told.
fn both_ports(listener: i32, listen: i32) -> Vec<Value> {
    vec![port("remoting", listener, listen), port("fast", listener - 2, listen - 2)]
}

/// Leads from a port of the pod's own node to the pod, and from no other node.
pub(super) fn node_port(selector: &BTreeMap<String, String>, mut port: Value, own: Option<i32>) -> Value {
    if let Some(own) = own {
        port["nodePort"] = json!(own);
    }
    json!({ "spec": {
        "type": "NodePort",
        "selector": selector,
        "ports": [port],
        "externalTrafficPolicy": "Local",
        "publishNotReadyAddresses": true,
    } })
}

pub(super) fn balancer(
    selector: &BTreeMap<String, String>,
    ports: Vec<Value>,
    settings: &LoadBalancer,
) -> Value {
    let mut body = json!({ "spec": {
        "type": "LoadBalancer",
        "selector": selector,
        "ports": ports,
        "publishNotReadyAddresses": true,
    } });
    if let Some(class) = &settings.class {
        body["spec"]["loadBalancerClass"] = json!(class);
    }
    if !settings.source_ranges.is_empty() {
        body["spec"]["loadBalancerSourceRanges"] = json!(settings.source_ranges);
    }
    body
}

/// What cannot be filled in yet, such as the node of a pod that has none, is left out for now.
pub(super) fn balancer_annotations(settings: &LoadBalancer, vars: &Vars) -> Value {
    let filled = settings.annotations.iter().filter_map(|(key, value)| Some((key, fill(value, vars).ok()?)));
    json!(filled.collect::<BTreeMap<_, _>>())
}
