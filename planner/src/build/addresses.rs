//! Where clients reach a broker, as name servers tell them: found in services, pods and nodes, or made from a pattern.
//!
//! No pod's own address is ever among them: a broker knows that one itself, and it is gone with the pod.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use manifest::cluster::{AddressType, Advertised, Listener, ListenerType};
use serde_json::Value;

use super::live_config;
use crate::desired::Desired;
use crate::facts::{NodeFacts, PodFacts};
use crate::object::{Kind, ObjectRef};

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: i32,
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => write!(out, "[{ip}]:{}", self.port),
            Err(_) => write!(out, "{}:{}", self.host, self.port),
        }
    }
}

/// Stands for the address of the pod that reads it.
pub(crate) const OWN_POD: &str = "{podIP}";

/// Returns what a broker tells name servers for a listener; `None` while it is not known.
pub(crate) fn of_broker(desired: &Desired, group: u32, ordinal: u32, listener: &Listener) -> Option<Address> {
    let vars = Vars::of(desired, group, ordinal);
    let service = desired.names.broker_listener(group, ordinal, &listener.name);
    let listen = desired.ports(group).listen;
    let pod = || desired.facts.pods.iter().find(|pod| pod.name == desired.names.broker(group, ordinal));
    let found = match listener.kind {
        ListenerType::PodIP => Some(Address { host: OWN_POD.to_owned(), port: listen }),
        ListenerType::PodService => {
            let host = cluster_ip(desired, &service).or_else(|| lost_ip(desired, group, ordinal, listener));
            Some(Address { host: host?, port: listener.port })
        }
        ListenerType::NodePort => node_port(desired, pod(), &service, listener),
        ListenerType::LoadBalancer => {
            Some(Address { host: balancer_host(desired, &service)?, port: listener.port })
        }
        ListenerType::HostNetwork => {
            pod().and_then(|pod| pod.host_ip.clone()).map(|host| Address { host, port: listen })
        }
        // Its pattern is all there is.
        ListenerType::Template => Some(Address { host: String::new(), port: listener.port }),
    };
    advertised(listener.advertised.as_ref(), found, listener.port, &vars)
}

/// Returns the address of a service inside the Kubernetes cluster.
pub(crate) fn cluster_ip(desired: &Desired, service: &str) -> Option<String> {
    let service = desired.facts.objects.get(&ObjectRef::new(Kind::Service, service))?;
    let address = service.json.pointer("/spec/clusterIP")?.as_str()?;
    (!service.foreign && !address.is_empty() && address != "None").then(|| address.to_owned())
}

/// Returns the address that a pod's service had before it was deleted, as brokers still tell it: clients know it, so it
/// is asked for again.
pub(crate) fn lost_ip(desired: &Desired, group: u32, ordinal: u32, listener: &Listener) -> Option<String> {
    let service = desired.names.broker_listener(group, ordinal, &listener.name);
    let is_there = desired.facts.objects.contains_key(&ObjectRef::new(Kind::Service, service));
    if is_there || listener.advertised.is_some() {
        return None;
    }
    let live = live_config::observed(desired, group)?;
    let settings = live_config::read(&live.json, &desired.names.broker(group, ordinal))?;
    let mut told = settings.get("listeners")?.split(',').filter_map(|pair| pair.split_once('='));
    let (_, address) = told.find(|(name, _)| *name == listener.name)?;
    let ip = address.parse::<SocketAddr>().ok()?.ip();
    Some(ip.to_string())
}

/// Returns the host that a load balancer was given.
pub(crate) fn balancer_host(desired: &Desired, service: &str) -> Option<String> {
    let service = desired.facts.objects.get(&ObjectRef::new(Kind::Service, service))?;
    let first = service.json.pointer("/status/loadBalancer/ingress/0")?;
    let host = first.get("ip").or_else(|| first.get("hostname"))?;
    host.as_str().map(str::to_owned)
}

/// Returns the pod's node and the port that is open there.
pub(crate) fn node_port(
    desired: &Desired,
    pod: Option<&PodFacts>,
    service: &str,
    listener: &Listener,
) -> Option<Address> {
    let service = desired.facts.objects.get(&ObjectRef::new(Kind::Service, service))?;
    let port = service.json.pointer("/spec/ports/0/nodePort").and_then(Value::as_i64)?;
    let node = node_of(desired, pod?)?;
    let host = match listener.node_port.address_type {
        AddressType::ExternalIP => node.external_ip.clone(),
        AddressType::InternalIP => node.internal_ip.clone(),
    };
    Some(Address { host: host?, port: i32::try_from(port).ok()? })
}

/// Returns the address that a pattern makes, or the one found where there is none.
fn advertised(
    pattern: Option<&Advertised>,
    found: Option<Address>,
    usual_port: i32,
    vars: &Vars,
) -> Option<Address> {
    let Some(pattern) = pattern else { return found };
    let host = match &pattern.host_template {
        Some(template) => fill(template, vars)?,
        None => found.as_ref()?.host.clone(),
    };
    let port = match &pattern.port_template {
        // Numbers of groups grow beyond those that the manifest was checked for, and one address that is none would keep
        // the broker from all of its live settings.
        Some(template) => i32::from(fill(template, vars)?.parse::<NonZeroU16>().ok()?.get()),
        None => found.map_or(usual_port, |found| found.port),
    };
    Some(Address { host, port })
}

/// What the words of a pattern stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vars {
    values: Vec<(&'static str, Option<String>)>,
}

impl Vars {
    pub(crate) fn of(desired: &Desired, group: u32, ordinal: u32) -> Vars {
        let name = desired.names.broker(group, ordinal);
        let pod = desired.facts.pods.iter().find(|pod| pod.name == name);
        Vars::new(desired, Some(group), ordinal, name, pod)
    }

    /// A name server belongs to no group.
    pub(crate) fn of_name_server(desired: &Desired, ordinal: u32) -> Vars {
        let name = desired.names.name_server(ordinal);
        let pod = desired.facts.pods.iter().find(|pod| pod.name == name);
        Vars::new(desired, None, ordinal, name, pod)
    }

    fn new(
        desired: &Desired,
        group: Option<u32>,
        ordinal: u32,
        name: String,
        pod: Option<&PodFacts>,
    ) -> Vars {
        let node = pod.and_then(|pod| pod.node.clone());
        let zone = pod.and_then(|pod| node_of(desired, pod)).and_then(|node| node.zone.clone());
        let values = vec![
            ("{cluster}", Some(desired.names.cluster.clone())),
            ("{group}", group.map(|group| group.to_string())),
            ("{ordinal}", Some(ordinal.to_string())),
            ("{pod}", Some(name)),
            ("{node}", node),
            ("{zone}", zone),
        ];
        Vars { values }
    }
}

/// Fills a pattern in; `None` while one of its words is not known.
pub(crate) fn fill(pattern: &str, vars: &Vars) -> Option<String> {
    let mut text = pattern.to_owned();
    for (word, value) in &vars.values {
        if text.contains(word) {
            text = text.replace(word, value.as_deref()?);
        }
    }
    Some(text)
}

fn node_of<'a>(desired: &'a Desired, pod: &PodFacts) -> Option<&'a NodeFacts> {
    desired.facts.nodes.known()?.get(pod.node.as_ref()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_so_that_brokers_read_it_and_is_left_out_otherwise() {
        let address = |host: &str, port_template: &str, group: &str| {
            let vars = Vars { values: vec![("{group}", Some(group.to_owned()))] };
            let pattern = Advertised {
                host_template: Some(host.to_owned()),
                port_template: Some(port_template.to_owned()),
            };
            advertised(Some(&pattern), None, 1, &vars).map(|address| address.to_string())
        };
        let good = |text: &str| Some(text.to_owned());
        assert_eq!(address("10.0.0.1", "4{group}00", "1"), good("10.0.0.1:4100"));
        assert_eq!(address("mq{group}.example.com", "4{group}00", "1"), good("mq1.example.com:4100"));
        assert_eq!(address("fd00::1", "80", "1"), good("[fd00::1]:80"));
        assert_eq!(address("[fd00::1]", "80", "1"), good("[fd00::1]:80"));
        assert_eq!(address("h", "4{group}00", "632"), None, "there is no port 463200");
        assert_eq!(address("h", "{group}", "0"), None);
    }
}
