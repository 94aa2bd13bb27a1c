//! Rules of listeners and zones, which only Kubernetes has: the same as in `rules.rs`, with the values in the words.

use std::collections::BTreeSet;

use crate::cluster::{ClusterSpec, Listener, ListenerType, Scheduling, Spread};
use crate::problem::Problem;

/// Taken by replication, health and administration.
const TAKEN_PORTS: [i32; 6] = [5557, 5558, 5559, 5560, 10912, 10914];
/// Two above those that nobody but root may open.
const LOWEST_PORT: i32 = 1026;
/// Of the name servers' pods.
const HEALTH_PORT: i32 = 5557;
/// On the network of the node, the group of number g has its ports so much higher than the first: for clients and
/// replication, for health and administration. Numbers of groups go up to 999.
const CLIENT_STEP: i32 = 4;
const HEALTH_STEP: i32 = 2;
const HIGHEST_GROUP: i32 = 999;
const REPLICATION_PORT: i32 = 10912;
const HIGHEST_PORT: i32 = 65_535;
/// The name server's first port; each listener has the one after that of the listener before.
const NAME_SERVER_PORT: i32 = 9876;

/// Finds what is wrong with listeners and zones.
pub(crate) fn check(spec: &ClusterSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let internal = |listener: &&Listener| {
        let kinds = [ListenerType::PodIP, ListenerType::PodService, ListenerType::HostNetwork];
        listener.name == "internal" && kinds.contains(&listener.kind)
    };
    if spec.listeners.iter().filter(internal).count() != 1 {
        let text = "one listener must be named internal and have type PodIP, PodService or HostNetwork";
        problems.push(Problem::plain("spec.listeners", text));
    }
    for (index, listener) in spec.listeners.iter().enumerate() {
        check_listener(index, listener, &spec.listeners[..index], &mut problems);
    }
    let mut schedulings =
        vec![("nameServers", &spec.name_servers.scheduling), ("brokers", &spec.brokers.scheduling)];
    schedulings.push(("proxy", &spec.proxy.scheduling));
    schedulings.extend(spec.controllers.iter().map(|controllers| ("controllers", &controllers.scheduling)));
    problems.extend(schedulings.into_iter().filter_map(|(role, scheduling)| check_zones(role, scheduling)));
    problems
}

fn check_listener(index: usize, listener: &Listener, earlier: &[Listener], problems: &mut Vec<Problem>) {
    let path = |field: &str| format!("spec.listeners[{index}].{field}");
    let port = listener.port;
    let mut refuse = |field: &str, value: serde_json::Value, text: String| {
        problems.push(Problem::with_value(&path(field), &value, text));
    };
    if TAKEN_PORTS.contains(&port) {
        refuse(
            "port",
            port.into(),
            "is taken by replication, health or administration; choose another".to_owned(),
        );
    }
    if port < LOWEST_PORT {
        let text =
            format!("must be {LOWEST_PORT} or more: each listener also opens the port two below its own");
        refuse("port", port.into(), text);
    }
    if let Some(other) = earlier.iter().find(|other| [0, 2].contains(&(other.port - port).abs())) {
        let text = format!(
            "is too near to port {} of listener {}: each listener also opens the port two below its own; choose \
             another",
            other.port, other.name
        );
        refuse("port", port.into(), text);
    }
    let asked = name_server_port(index, listener);
    let same = earlier.iter().enumerate().find(|(index, other)| name_server_port(*index, other) == asked);
    if let Some((_, other)) = same {
        let text = format!("is the name servers' port of listener {} already; choose another", other.name);
        refuse("nameServerPort", asked.into(), text);
    }
    if asked == HEALTH_PORT {
        refuse(
            "nameServerPort",
            asked.into(),
            "is taken by the name servers' health; choose another".to_owned(),
        );
    }
    let hosts = |listener: &Listener| listener.kind == ListenerType::HostNetwork;
    if hosts(listener) && meets_another_group(port) {
        let text = "would meet a port of another group on one node, or go beyond 65535: group g has its ports 4*g higher; \
                    choose an odd one between 14911 and 61539, such as 20911";
        refuse("port", port.into(), text.to_owned());
    }
    if hosts(listener) && earlier.iter().any(hosts) {
        refuse("type", "HostNetwork".into(), "only one listener may have this type".to_owned());
    }
    let host = listener.advertised.as_ref().and_then(|advertised| advertised.host_template.as_ref());
    if listener.kind == ListenerType::Template && host.is_none() {
        let text = "needs advertised.hostTemplate, for example \"{pod}.mq.example.com\"";
        refuse("type", "Template".into(), text.to_owned());
    }
}

/// Whether two groups on one node could want the same port, or one a port that does not exist.
fn meets_another_group(port: i32) -> bool {
    let groups = || 0..=HIGHEST_GROUP;
    let others = groups().flat_map(|group| {
        let health = HEALTH_PORT + HEALTH_STEP * group;
        [REPLICATION_PORT + CLIENT_STEP * group, health, health + 1]
    });
    let others: BTreeSet<i32> = others.collect();
    let own = groups().flat_map(|group| [port + CLIENT_STEP * group, port - 2 + CLIENT_STEP * group]);
    own.into_iter().any(|own| others.contains(&own) || own > HIGHEST_PORT)
}

fn name_server_port(index: usize, listener: &Listener) -> i32 {
    let place = i32::try_from(index).unwrap_or(i32::MAX);
    listener.name_server_port.unwrap_or(NAME_SERVER_PORT.saturating_add(place))
}

fn check_zones(role: &str, scheduling: &Scheduling) -> Option<Problem> {
    if scheduling.zones.is_empty() || scheduling.zone_spread == Spread::Disabled {
        return None;
    }
    let text = format!(
        "needs spec.{role}.scheduling.zoneSpread Disabled, which is {:?}: a group in one zone cannot be spread over \
         zones",
        scheduling.zone_spread
    );
    let zones = scheduling.zones.clone().into();
    Some(Problem::with_value(&format!("spec.{role}.scheduling.zones"), &zones, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_on_one_node_keep_out_of_each_others_way() {
        for (port, meets) in [
            (10911, false),
            (20911, false),
            (20912, false),
            (10916, true),
            (6001, true),
            (61539, false),
            (61540, true),
        ] {
            assert_eq!(meets_another_group(port), meets, "{port}");
        }
    }
}
