//! Services of name servers: one per pod, whose name and address last as long as the cluster, one over all of them, one
//! for the pods' names, and what listeners outside need.
//!
//! But for the pods' names they publish only pods that are ready: a name server with an empty table is never asked.

use std::collections::BTreeMap;

use manifest::cluster::{Listener, ListenerType};
use serde_json::Value;

use super::addresses::Vars;
use super::broker_services::{balancer, balancer_annotations, node_port};
use super::service::{cluster_ip, headless, port};
use super::{annotated, object};
use crate::desired::Desired;
use crate::labels::{CLUSTER, POD_NAME, Part};
use crate::object::{Kind, Object};
use crate::shape::Shape;

pub(super) fn build(desired: &Desired, shape: &Shape) -> Vec<Object> {
    let all = desired.selector(Part::NameServers);
    let names = &desired.names;
    let make = |name: &str, body| object(desired, Part::NameServers, Kind::Service, name, body);
    let mut objects = vec![
        make(&names.name_servers_headless(), headless(&all, ports(desired))),
        make(&names.name_servers(), cluster_ip(&all, ports(desired), false)),
    ];
    for ordinal in 0..shape.name_servers.addressed {
        let selector = pod_selector(desired, ordinal);
        objects.push(make(&names.name_server(ordinal), cluster_ip(&selector, ports(desired), false)));
        let outside =
            desired.listeners().filter_map(|(listener, port)| outside(desired, ordinal, listener, port));
        objects.extend(outside);
    }
    objects
}

fn outside(desired: &Desired, ordinal: u32, listener: &Listener, own_port: i32) -> Option<Object> {
    let name = desired.names.name_server_listener(ordinal, &listener.name);
    let selector = pod_selector(desired, ordinal);
    let port = port("remoting", own_port, own_port);
    let (part, kind) = (Part::NameServers, Kind::Service);
    match listener.kind {
        ListenerType::NodePort => {
            let mut body = node_port(&selector, port, None);
            body["spec"]["publishNotReadyAddresses"] = false.into();
            Some(object(desired, part, kind, &name, body))
        }
        ListenerType::LoadBalancer => {
            let vars = Vars::of_name_server(desired, ordinal);
            let annotations = balancer_annotations(&listener.load_balancer, &vars);
            let mut body = balancer(&selector, vec![port], &listener.load_balancer);
            body["spec"]["publishNotReadyAddresses"] = false.into();
            Some(annotated(desired, part, kind, &name, annotations, body))
        }
        // As for brokers: what is outside leads there.
        ListenerType::Template => {
            Some(object(desired, part, kind, &name, cluster_ip(&selector, vec![port], false)))
        }
        ListenerType::PodIP | ListenerType::PodService | ListenerType::HostNetwork => None,
    }
}

/// Named after listeners, whose names are unique.
fn ports(desired: &Desired) -> Vec<Value> {
    desired.listeners().map(|(listener, number)| port(&listener.name, number, number)).collect()
}

fn pod_selector(desired: &Desired, ordinal: u32) -> BTreeMap<String, String> {
    BTreeMap::from([
        (CLUSTER.to_owned(), desired.names.cluster.clone()),
        (POD_NAME.to_owned(), desired.names.name_server(ordinal)),
    ])
}
