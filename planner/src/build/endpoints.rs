//! Where clients connect: the name servers, by name, by address, and by listener.

use std::collections::BTreeMap;

use manifest::cluster::status::Endpoints;
use manifest::cluster::{Listener, ListenerType};

use super::addresses::{Address, Missing, Vars, balancer_host, cluster_ip, fill, node_port};
use crate::desired::Desired;
use crate::names::INTERNAL;

/// Returns the addresses of the name servers that clients are told of.
pub(crate) fn endpoints(desired: &Desired, listed: u32) -> Endpoints {
    let port = desired.name_server_port();
    let names = &desired.names;
    let short = |ordinal| format!("{}.{}.svc:{port}", names.name_server(ordinal), names.namespace);
    let ips: Vec<String> = (0..listed)
        .filter_map(|ordinal| Some(format!("{}:{port}", cluster_ip(desired, &names.name_server(ordinal))?)))
        .collect();
    Endpoints {
        name_servers: Some((0..listed).map(short).collect::<Vec<_>>().join(";")),
        name_server_ips: (!ips.is_empty()).then(|| ips.join(";")),
        proxy: None,
        by_listener: by_listener(desired, listed),
    }
}

/// Returns, as brokers are told it, where name servers are: at the pods' own names, ready or not.
pub(crate) fn for_brokers(desired: &Desired, listed: u32) -> String {
    let port = desired.name_server_port();
    let headless = desired.names.name_servers_headless();
    let one = |ordinal| {
        let host = desired.names.pod_host(&desired.names.name_server(ordinal), &headless);
        format!("{host}:{port}")
    };
    (0..listed).map(one).collect::<Vec<_>>().join(";")
}

fn by_listener(desired: &Desired, listed: u32) -> BTreeMap<String, Vec<String>> {
    let others = desired.listeners().filter(|(listener, _)| listener.name != INTERNAL);
    let addresses = |listener, port| {
        let known = (0..listed).filter_map(|ordinal| of_name_server(desired, ordinal, listener, port).ok());
        known.map(|address| address.to_string()).collect()
    };
    others.map(|(listener, port)| (listener.name.clone(), addresses(listener, port))).collect()
}

/// Returns where clients of a listener find a name server, which has this port for them.
pub(crate) fn of_name_server(
    desired: &Desired,
    ordinal: u32,
    listener: &Listener,
    port: i32,
) -> Result<Address, Missing> {
    let names = &desired.names;
    let service = names.name_server_listener(ordinal, &listener.name);
    let pod = desired.facts.pods.iter().find(|pod| pod.name == names.name_server(ordinal));
    let found = match listener.kind {
        ListenerType::NodePort => node_port(desired, pod, &service, listener)?,
        ListenerType::LoadBalancer => Address { host: balancer_host(desired, &service)?, port },
        _ => {
            let host = cluster_ip(desired, &names.name_server(ordinal)).ok_or(Missing::NotYet)?;
            Address { host, port }
        }
    };
    // A pattern that names a group is one for brokers only, and so is its port.
    let pattern = listener.advertised.as_ref().and_then(|pattern| pattern.host_template.as_ref());
    let host = pattern.and_then(|host| fill(host, &Vars::of_name_server(desired, ordinal)).ok());
    Ok(Address { host: host.unwrap_or(found.host), port: found.port })
}
