//! Rules of listeners and zones, which only Kubernetes has: the same as in `rules.rs`, with the values in the words.

use crate::cluster::{ClusterSpec, Listener, ListenerType, Scheduling, Spread};
use crate::problem::Problem;

/// Taken by replication, health and administration.
const TAKEN_PORTS: [i32; 6] = [5557, 5558, 5559, 5560, 10912, 10914];
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
    let hosts = |listener: &Listener| listener.kind == ListenerType::HostNetwork;
    if hosts(listener) && earlier.iter().any(hosts) {
        refuse("type", "HostNetwork".into(), "only one listener may have this type".to_owned());
    }
    let host = listener.advertised.as_ref().and_then(|advertised| advertised.host_template.as_ref());
    if listener.kind == ListenerType::Template && host.is_none() {
        let text = "needs advertised.hostTemplate, for example \"{pod}.mq.example.com\"";
        refuse("type", "Template".into(), text.to_owned());
    }
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
