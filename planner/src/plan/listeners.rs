//! Listeners whose clients cannot be led to a member although it is ready: its address is not known. Brokers leave it out of
//! what they register, so nothing fails and nobody would notice but those who get no route.

use std::collections::BTreeSet;
use std::time::Duration;

use manifest::cluster::Listener;

use super::scale_in::elapsed;
use super::{Outcome, groups_that_run};
use crate::build::addresses::{Missing, of_broker};
use crate::build::endpoints::of_name_server;
use crate::desired::Desired;
use crate::names::INTERNAL;
use crate::object::{Kind, ObjectRef};
use crate::seen::Seen;
use crate::step::Waiting;

/// A load balancer that is not there after so long does not come by itself.
const SLOWEST_BALANCER: Duration = Duration::from_secs(300);
/// How many nodes or services are named.
const NAMED: usize = 3;

/// Reports what members lack an address for, one report for each listener and cause.
pub(super) fn report_unreachable(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
    for (listener, port) in desired.listeners() {
        let missing = missing(desired, seen, outcome, listener, port);
        let mut told = BTreeSet::new();
        for cause in &missing {
            let Some((message, blocked)) = in_words(desired, listener, cause, &missing) else { continue };
            if told.insert(message.clone()) {
                let message = format!("listener {}: {message}", listener.name);
                outcome.waiting.push(Waiting { reason: "ListenerWithoutAddress", message, blocked });
            }
        }
    }
}

/// Returns why addresses of members are not known that are ready.
fn missing(
    desired: &Desired,
    seen: &Seen,
    outcome: &Outcome,
    listener: &Listener,
    port: i32,
) -> BTreeSet<Missing> {
    let ready = groups_that_run(&outcome.records).flat_map(|index| {
        let group = seen.groups.get(&index).into_iter();
        group.flat_map(move |group| {
            let ordinals = group.role.pods.keys().filter(|ordinal| group.role.is_ready(**ordinal));
            ordinals.map(move |ordinal| (index, *ordinal))
        })
    });
    let brokers = ready.filter_map(|(group, ordinal)| of_broker(desired, group, ordinal, listener).err());
    let listed = (0..outcome.listed)
        .filter(|ordinal| listener.name != INTERNAL && seen.name_servers.is_ready(*ordinal));
    let name_servers = listed.filter_map(|ordinal| of_name_server(desired, ordinal, listener, port).err());
    brokers.chain(name_servers).collect()
}

/// Says what is missing, with everything of its kind, and whether a person has to do something.
fn in_words(
    desired: &Desired,
    listener: &Listener,
    cause: &Missing,
    all: &BTreeSet<Missing>,
) -> Option<(String, bool)> {
    let name = &listener.name;
    let field = format!("spec.listeners[{name}]");
    match cause {
        Missing::NotYet => None,
        Missing::Nodes => {
            let text = "nodes cannot be read, so nobody knows their addresses; set rbac.nodes=true in the chart of the operator";
            Some((text.to_owned(), true))
        }
        Missing::NodeAddress { kind, .. } => {
            let nodes = all.iter().filter_map(|missing| match missing {
                Missing::NodeAddress { node, .. } => Some(node.as_str()),
                _ => None,
            });
            let other = if *kind == "ExternalIP" { "InternalIP" } else { "ExternalIP" };
            let text = format!(
                "{} no {kind}; set its nodePort.addressType: {other}, or give nodes such an address",
                have("node", nodes)
            );
            Some((text, true))
        }
        Missing::Zone { .. } => {
            let nodes = all.iter().filter_map(|missing| match missing {
                Missing::Zone { node } => Some(node.as_str()),
                _ => None,
            });
            let text = format!(
                "{} no zone; label nodes with topology.kubernetes.io/zone, or take {{zone}} out of {field}.advertised",
                have("node", nodes)
            );
            Some((text, true))
        }
        Missing::Balancer { .. } => {
            let services = all.iter().filter_map(|missing| match missing {
                Missing::Balancer { service } => Some(service.as_str()),
                _ => None,
            });
            let late = services.clone().any(|service| {
                let observed = desired.facts.objects.get(&ObjectRef::new(Kind::Service, service));
                let created = observed.and_then(|observed| observed.created);
                created.is_none_or(|created| elapsed(created, desired.now) >= SLOWEST_BALANCER)
            });
            let text = format!(
                "{} no load balancer address yet; does this Kubernetes have a load balancer controller?",
                have("service", services)
            );
            Some((text, late))
        }
        Missing::Port(port) => {
            Some((format!("{port} is no port; change {field}.advertised.portTemplate"), true))
        }
    }
}

/// Returns some of the names, and the verb for them.
fn have<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        1 => format!("{what} {shown} has"),
        count if count > NAMED => format!("{what}s {shown} and {} more have", count - NAMED),
        _ => format!("{what}s {shown} have"),
    }
}
