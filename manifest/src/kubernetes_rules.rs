//! What Kubernetes would refuse when objects are made from a manifest: names, labels, amounts, addresses and embedded
//! objects. Said here, a mistake is told with its field before anything is made.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use serde_json::Value;

use crate::cluster::{Brokers, ClusterSpec, Listener, ListenerType, Resources, Scheduling};
use crate::embedded;
use crate::pod_template;
use crate::problem::{Problem, child};
use crate::schedule::{SCHEDULE_FORM, Schedule};
use crate::units::{DURATION_FORM, format_duration, parse_amount, parse_duration};

/// The words of address patterns.
const WORDS: [&str; 6] = ["{cluster}", "{group}", "{ordinal}", "{pod}", "{node}", "{zone}"];
const HIGHEST_PORT: i32 = 65_535;
const LONGEST_WINDOW: &str = "168h";

const NAME_FORM: &str =
    "must be lower-case letters, digits, dashes and dots, with a letter or digit at both ends";

/// Finds everything of the kind.
pub(crate) fn check(spec: &ClusterSpec) -> Vec<Problem> {
    let mut found = Found::default();
    found.names(spec);
    found.images(spec);
    for (role, resources, scheduling) in [
        ("nameServers", &spec.name_servers.resources, &spec.name_servers.scheduling),
        ("brokers", &spec.brokers.resources, &spec.brokers.scheduling),
    ] {
        found.resources(&format!("spec.{role}.resources"), resources);
        found.scheduling(&format!("spec.{role}.scheduling"), scheduling);
    }
    for (role, main, template) in [
        ("nameServers", "namesrv", &spec.name_servers.pod_template),
        ("brokers", "broker", &spec.brokers.pod_template),
    ] {
        if let Some(template) = template {
            found.0.extend(pod_template::check(&format!("spec.{role}.podTemplate"), main, template));
        }
    }
    found.node_ports(spec);
    for (index, listener) in spec.listeners.iter().enumerate() {
        found.listener(&format!("spec.listeners[{index}]"), listener, &spec.brokers);
    }
    found.labels("spec.monitoring.podMonitor.labels", &spec.monitoring.pod_monitor.labels);
    found.labels("spec.monitoring.prometheusRule.labels", &spec.monitoring.prometheus_rule.labels);
    found.amounts_of_time(spec);
    found.0
}

#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn refuse(&mut self, path: &str, value: impl Into<Value>, text: impl Into<String>) {
        self.0.push(Problem::with_value(path, &value.into(), text));
    }

    fn names(&mut self, spec: &ClusterSpec) {
        let storage = &spec.brokers.storage;
        let names = [
            ("spec.serviceAccountName", &spec.service_account_name),
            ("spec.brokers.storage.storageClassName", &storage.storage_class_name),
            ("spec.brokers.storage.volumeAttributesClassName", &storage.volume_attributes_class_name),
        ];
        for (path, name) in names {
            self.name(path, name.as_deref());
        }
        self.name("spec.dns.clusterDomain", Some(&spec.dns.cluster_domain));
        for (index, secret) in spec.image.pull_secrets.iter().enumerate() {
            self.name(&format!("spec.image.pullSecrets[{index}].name"), Some(&secret.name));
        }
    }

    fn name(&mut self, path: &str, name: Option<&str>) {
        if let Some(name) = name.filter(|name| !is_name(name)) {
            self.refuse(path, name, NAME_FORM);
        }
    }

    fn images(&mut self, spec: &ClusterSpec) {
        let image = &spec.image;
        if let Some(prefix) = &image.prefix
            && !prefix.is_empty()
            && !(prefix.ends_with('/') && is_image(prefix.trim_end_matches('/')))
        {
            let text =
                "must be a registry and a path with a slash at the end, such as registry.example.com/mq/";
            self.refuse("spec.image.prefix", prefix.as_str(), text);
        }
        let overrides = [("broker", &image.overrides.broker), ("namesrv", &image.overrides.namesrv)];
        for (role, reference) in overrides {
            if let Some(reference) = reference.as_deref().filter(|reference| !is_image(reference)) {
                let text =
                    "must be an image's reference, such as registry.example.com/mq/gantry-broker:0.1.0";
                self.refuse(&format!("spec.image.overrides.{role}"), reference, text);
            }
        }
    }

    fn resources(&mut self, path: &str, resources: &Resources) {
        for (kind, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
            let path = format!("{path}.{kind}");
            for (name, amount) in amounts {
                let path = child(&path, name);
                if !is_label_key(name) {
                    self.refuse(&path, amount.as_str(), "is of no resource; cpu and memory are");
                } else if parse_amount(amount).is_none() {
                    let text = "must be an amount, such as 500m or 2 of cpu, 512Mi or 4Gi of memory";
                    self.refuse(&path, amount.as_str(), text);
                }
            }
        }
        for (name, request) in &resources.requests {
            let Some(limit) = resources.limits.get(name) else { continue };
            if parse_amount(request).zip(parse_amount(limit)).is_some_and(|(request, limit)| request > limit)
            {
                let text = format!("must be at most the limit, which is {limit}");
                self.refuse(&child(&format!("{path}.requests"), name), request.as_str(), text);
            }
        }
    }

    fn scheduling(&mut self, path: &str, scheduling: &Scheduling) {
        let names = [
            ("priorityClassName", &scheduling.priority_class_name),
            ("schedulerName", &scheduling.scheduler_name),
            ("runtimeClassName", &scheduling.runtime_class_name),
        ];
        for (field, name) in names {
            self.name(&format!("{path}.{field}"), name.as_deref());
        }
        self.labels(&format!("{path}.nodeSelector"), &scheduling.node_selector);
        for (index, zone) in scheduling.zones.iter().enumerate().filter(|(_, zone)| !is_label_value(zone)) {
            self.refuse(
                &format!("{path}.zones[{index}]"),
                zone.as_str(),
                "must be the value of a node's zone label",
            );
        }
        for (index, toleration) in scheduling.tolerations.iter().enumerate() {
            self.0.extend(embedded::check::<Toleration>(&format!("{path}.tolerations[{index}]"), toleration));
        }
        if let Some(affinity) = &scheduling.affinity {
            self.0.extend(embedded::check::<Affinity>(&format!("{path}.affinity"), affinity));
        }
        for (index, constraint) in scheduling.topology_spread_constraints.iter().enumerate() {
            let path = format!("{path}.topologySpreadConstraints[{index}]");
            self.0.extend(embedded::check::<TopologySpreadConstraint>(&path, constraint));
        }
    }

    fn listener(&mut self, path: &str, listener: &Listener, brokers: &Brokers) {
        let host = listener.advertised.as_ref().and_then(|advertised| advertised.host_template.as_deref());
        let port = listener.advertised.as_ref().and_then(|advertised| advertised.port_template.as_deref());
        if let Some(template) = host {
            self.host_template(&format!("{path}.advertised.hostTemplate"), template);
        }
        if let Some(template) = port {
            self.port_template(&format!("{path}.advertised.portTemplate"), template, brokers);
        }
        for (key, value) in &listener.load_balancer.annotations {
            let path = child(&format!("{path}.loadBalancer.annotations"), key);
            if !is_label_key(key) {
                self.refuse(&path, value.as_str(), "is no name of an annotation");
            }
            self.words(&path, value);
        }
        for (index, range) in listener.load_balancer.source_ranges.iter().enumerate() {
            if !is_range(range) {
                let text = "must be a range of addresses, such as 203.0.113.0/24";
                self.refuse(&format!("{path}.loadBalancer.sourceRanges[{index}]"), range.as_str(), text);
            }
        }
        for (index, peer) in listener.network_policy_peers.iter().enumerate() {
            let path = format!("{path}.networkPolicyPeers[{index}]");
            self.0.extend(embedded::check::<NetworkPolicyPeer>(&path, peer));
        }
    }

    /// Each broker has a port of its own on all nodes.
    fn node_ports(&mut self, spec: &ClusterSpec) {
        let mut taken = BTreeMap::new();
        for (index, listener) in spec.listeners.iter().enumerate() {
            let Some(base) = listener.node_port.base.filter(|_| listener.kind == ListenerType::NodePort)
            else {
                continue;
            };
            let path = format!("spec.listeners[{index}].nodePort.base");
            let ports = (0..spec.brokers.groups).flat_map(|group| {
                (0..spec.brokers.replicas_per_group).map(move |ordinal| base + 10 * group + ordinal)
            });
            for port in ports {
                let text = match taken.insert(port, &listener.name) {
                    _ if port > HIGHEST_PORT => {
                        format!(
                            "must be smaller: a broker would have port {port}, and {HIGHEST_PORT} is the highest"
                        )
                    }
                    Some(other) if *other != listener.name => format!(
                        "is too near to that of listener {other}: both would have port {port}; a broker has the base plus \
                         10 times its group plus its ordinal"
                    ),
                    _ => continue,
                };
                self.refuse(&path, base, text);
                break;
            }
        }
    }

    /// Brokers take over all of their live settings or none, and they refuse an address that is none.
    fn host_template(&mut self, path: &str, template: &str) {
        let before = self.0.len();
        self.words(path, template);
        let filled = WORDS.iter().fold(template.to_owned(), |text, word| text.replace(word, "1"));
        if self.0.len() == before && !is_host(&filled) {
            let text = format!(
                "must make a host name, an IPv4 address or an IPv6 address in brackets, of letters, digits, dashes, dots \
                 and {}",
                WORDS.join(", ")
            );
            self.refuse(path, template, text);
        }
    }

    /// Words in braces must be known.
    fn words(&mut self, path: &str, template: &str) {
        let rest = WORDS.iter().fold(template.to_owned(), |rest, word| rest.replace(word, ""));
        if rest.contains(['{', '}']) {
            self.refuse(path, template, format!("may hold {}, and no other braces", WORDS.join(", ")));
        }
    }

    fn port_template(&mut self, path: &str, template: &str, brokers: &Brokers) {
        for group in 0..brokers.groups.max(1) {
            for ordinal in 0..brokers.replicas_per_group {
                let text = template
                    .replace("{group}", &group.to_string())
                    .replace("{ordinal}", &ordinal.to_string());
                if text.parse::<u16>().is_ok_and(|port| port > 0) {
                    continue;
                }
                let text = format!(
                    "must make a port from 1 to 65535 of digits, {{group}} and {{ordinal}}; member {ordinal} of group \
                     {group} would get {text}"
                );
                return self.refuse(path, template, text);
            }
        }
    }

    fn labels(&mut self, path: &str, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            let path = child(path, key);
            if !is_label_key(key) {
                self.refuse(&path, value.as_str(), "has a name that no label can have");
            } else if !value.is_empty() && !is_label_value(value) {
                let text =
                    "must be at most 63 letters, digits, -, _ and ., with a letter or digit at both ends";
                self.refuse(&path, value.as_str(), text);
            }
        }
    }

    fn amounts_of_time(&mut self, spec: &ClusterSpec) {
        let (brokers, scale_in) = (&spec.brokers, &spec.brokers.scale_in);
        let year = "8760h";
        let rows = [
            ("spec.nameServers.warmUp", &spec.name_servers.warm_up, "0s", "10m"),
            ("spec.brokers.scaleIn.drainTimeout", &scale_in.drain_timeout, "1s", year),
            ("spec.brokers.scaleIn.minDrainTime", &scale_in.min_drain_time, "0s", "24h"),
            ("spec.brokers.scaleIn.ignoreIdleGroupsAfter", &scale_in.ignore_idle_groups_after, "0s", year),
            ("spec.brokers.rollout.pauseBetween", &brokers.rollout.pause_between, "0s", "24h"),
            ("spec.brokers.terminationGracePeriod", &brokers.termination_grace_period, "2s", "1h"),
            ("spec.monitoring.podMonitor.interval", &spec.monitoring.pod_monitor.interval, "1s", "1h"),
        ];
        for (path, text, least, most) in rows {
            self.time(path, text, least, most);
        }
        for (index, window) in brokers.rollout.window.iter().enumerate() {
            let path = format!("spec.brokers.rollout.window[{index}]");
            if Schedule::read(&window.schedule).is_none() {
                self.refuse(&format!("{path}.schedule"), window.schedule.as_str(), SCHEDULE_FORM);
            }
            self.time(&format!("{path}.duration"), &window.duration, "1m", LONGEST_WINDOW);
        }
    }

    fn time(&mut self, path: &str, text: &str, least: &str, most: &str) {
        let amounts = [least, most].map(|bound| parse_duration(bound).unwrap_or_default());
        match parse_duration(text) {
            None => self.refuse(path, text, DURATION_FORM),
            Some(time) if (amounts[0]..=amounts[1]).contains(&time) => {}
            Some(_) => {
                let [least, most] = amounts.map(format_duration);
                self.refuse(path, text, format!("must be between {least} and {most}"));
            }
        }
    }
}

/// A DNS subdomain, the form of most names in Kubernetes.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('-') && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

fn is_label_value(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    (1..=63).contains(&value.len())
        && value.bytes().all(allowed)
        && end(value.bytes().next())
        && end(value.bytes().last())
}

/// `name` or `domain/name`.
fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => is_name(domain) && is_label_value(name),
        None => is_label_value(key),
    }
}

/// Something that can be an image's reference, or the front of one.
fn is_image(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+".contains(&byte);
    !text.is_empty()
        && text.bytes().all(allowed)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

fn is_host(text: &str) -> bool {
    let part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !part.is_empty() && part.bytes().all(allowed)
    };
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => text.split('.').all(part),
    }
}

fn is_range(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        _ => false,
    }
}
