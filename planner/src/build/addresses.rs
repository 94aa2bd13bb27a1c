//! Where clients reach a broker, as name servers tell them: found in services, pods and nodes, or made from a pattern.
//!
//! No pod's own address is ever among them: a broker knows that one itself, and it is gone with the pod.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use manifest::cluster::{AddressType, Advertised, Listener, ListenerType};

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

/// Why an address is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Missing {
    /// Its pod runs nowhere yet, or its service is still to be made: it comes by itself.
    NotYet,
    /// Nodes cannot be read.
    Nodes,
    /// A node has no address of this type.
    NodeAddress { node: String, kind: &'static str },
    /// A node has no zone.
    Zone { node: String },
    /// A service has no load balancer yet.
    Balancer { service: String },
    /// What a pattern makes is no port.
    Port(String),
}

/// Stands for the address of the pod that reads it.
pub(crate) const OWN_POD: &str = "{podIP}";

/// Returns what a broker tells name servers for a listener.
pub(crate) fn of_broker(
    desired: &Desired,
    group: u32,
    ordinal: u32,
    listener: &Listener,
) -> Result<Address, Missing> {
    let vars = Vars::of(desired, group, ordinal);
    let service = desired.names.broker_listener(group, ordinal, &listener.name);
    let listen = desired.ports(group).listen;
    let pod = || desired.facts.pods.iter().find(|pod| pod.name == desired.names.broker(group, ordinal));
    let found = match listener.kind {
        ListenerType::PodIP => Ok(Address { host: OWN_POD.to_owned(), port: listen }),
        ListenerType::PodService => {
            let host = cluster_ip(desired, &service).or_else(|| lost_ip(desired, group, ordinal, listener));
            host.map(|host| Address { host, port: listener.port }).ok_or(Missing::NotYet)
        }
        ListenerType::NodePort => node_port(desired, pod(), &service, listener),
        ListenerType::LoadBalancer => {
            balancer_host(desired, &service).map(|host| Address { host, port: listener.port })
        }
        ListenerType::HostNetwork => {
            let host = pod().and_then(|pod| pod.host_ip.clone());
            host.map(|host| Address { host, port: listen }).ok_or(Missing::NotYet)
        }
        // Its pattern is all there is.
        ListenerType::Template => Ok(Address { host: String::new(), port: listener.port }),
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
pub(crate) fn balancer_host(desired: &Desired, service: &str) -> Result<String, Missing> {
    let observed =
        desired.facts.objects.get(&ObjectRef::new(Kind::Service, service)).ok_or(Missing::NotYet)?;
    let first = observed.json.pointer("/status/loadBalancer/ingress/0");
    let host = first.and_then(|first| first.get("ip").or_else(|| first.get("hostname"))?.as_str());
    host.map(str::to_owned).ok_or_else(|| Missing::Balancer { service: service.to_owned() })
}

/// Returns the pod's node and the port that is open there.
pub(crate) fn node_port(
    desired: &Desired,
    pod: Option<&PodFacts>,
    service: &str,
    listener: &Listener,
) -> Result<Address, Missing> {
    let service = desired.facts.objects.get(&ObjectRef::new(Kind::Service, service));
    let port = service.and_then(|service| service.json.pointer("/spec/ports/0/nodePort")?.as_i64());
    let port = port.and_then(|port| i32::try_from(port).ok()).ok_or(Missing::NotYet)?;
    let (name, node) = node_of(desired, pod.ok_or(Missing::NotYet)?)?;
    let (host, kind) = match listener.node_port.address_type {
        AddressType::ExternalIP => (&node.external_ip, "ExternalIP"),
        AddressType::InternalIP => (&node.internal_ip, "InternalIP"),
    };
    let host = host.clone().ok_or_else(|| Missing::NodeAddress { node: name.to_owned(), kind })?;
    Ok(Address { host, port })
}

/// Returns the address that a pattern makes, or the one found where there is none.
fn advertised(
    pattern: Option<&Advertised>,
    found: Result<Address, Missing>,
    usual_port: i32,
    vars: &Vars,
) -> Result<Address, Missing> {
    let Some(pattern) = pattern else { return found };
    let host = match &pattern.host_template {
        Some(template) => fill(template, vars)?,
        None => found.clone()?.host,
    };
    let port = match &pattern.port_template {
        // Numbers of groups grow beyond those that the manifest was checked for, and one address that is none would keep
        // the broker from all of its live settings.
        Some(template) => {
            let text = fill(template, vars)?;
            i32::from(text.parse::<NonZeroU16>().map_err(|_| Missing::Port(text))?.get())
        }
        None => found.map_or(usual_port, |found| found.port),
    };
    Ok(Address { host, port })
}

/// What the words of a pattern stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vars {
    values: Vec<(&'static str, Result<String, Missing>)>,
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
        let node = pod.and_then(|pod| pod.node.clone()).ok_or(Missing::NotYet);
        let zone = pod.ok_or(Missing::NotYet).and_then(|pod| {
            let (name, node) = node_of(desired, pod)?;
            node.zone.clone().ok_or_else(|| Missing::Zone { node: name.to_owned() })
        });
        let values = vec![
            ("{cluster}", Ok(desired.names.cluster.clone())),
            ("{group}", group.map(|group| group.to_string()).ok_or(Missing::NotYet)),
            ("{ordinal}", Ok(ordinal.to_string())),
            ("{pod}", Ok(name)),
            ("{node}", node),
            ("{zone}", zone),
        ];
        Vars { values }
    }
}

/// Fills a pattern in, when all of its words are known.
pub(crate) fn fill(pattern: &str, vars: &Vars) -> Result<String, Missing> {
    let mut text = pattern.to_owned();
    for (word, value) in &vars.values {
        if text.contains(word) {
            text = text.replace(word, value.as_ref().map_err(Clone::clone)?);
        }
    }
    Ok(text)
}

fn node_of<'a>(desired: &'a Desired, pod: &'a PodFacts) -> Result<(&'a str, &'a NodeFacts), Missing> {
    let name = pod.node.as_ref().ok_or(Missing::NotYet)?;
    let node = desired.facts.nodes.known().ok_or(Missing::Nodes)?.get(name).ok_or(Missing::NotYet)?;
    Ok((name, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_so_that_brokers_read_it_and_is_left_out_otherwise() {
        let address = |host: &str, port_template: &str, group: &str| {
            let vars = Vars { values: vec![("{group}", Ok(group.to_owned()))] };
            let pattern = Advertised {
                host_template: Some(host.to_owned()),
                port_template: Some(port_template.to_owned()),
            };
            advertised(Some(&pattern), Err(Missing::NotYet), 1, &vars).map(|address| address.to_string())
        };
        let good = |text: &str| Ok(text.to_owned());
        let no_port = |text: &str| Err(Missing::Port(text.to_owned()));
        assert_eq!(address("10.0.0.1", "4{group}00", "1"), good("10.0.0.1:4100"));
        assert_eq!(address("mq{group}.example.com", "4{group}00", "1"), good("mq1.example.com:4100"));
        assert_eq!(address("fd00::1", "80", "1"), good("[fd00::1]:80"));
        assert_eq!(address("[fd00::1]", "80", "1"), good("[fd00::1]:80"));
        assert_eq!(address("h", "4{group}00", "632"), no_port("463200"));
        assert_eq!(address("h", "{group}", "0"), no_port("0"));
    }
}
