//! Where pods run: away from each other, in given zones, and as the manifest says.

use manifest::cluster::{Scheduling, Spread};
use serde_json::{Map, Value, json};

use crate::desired::Desired;
use crate::labels::Part;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Adds everything about scheduling to a pod's spec.
pub(super) fn add(desired: &Desired, part: Part, scheduling: &Scheduling, spec: &mut Value) {
    let selector = json!({ "matchLabels": desired.selector(part) });
    let affinity = affinity(desired, part, scheduling, &selector);
    if affinity != json!({}) {
        spec["affinity"] = affinity;
    }
    let mut spread = zone_spread(scheduling.zone_spread, &selector);
    spread.extend(scheduling.topology_spread_constraints.iter().map(|constraint| json!(constraint)));
    if !spread.is_empty() {
        spec["topologySpreadConstraints"] = json!(spread);
    }
    if !scheduling.node_selector.is_empty() {
        spec["nodeSelector"] = json!(scheduling.node_selector);
    }
    if !scheduling.tolerations.is_empty() {
        spec["tolerations"] = json!(scheduling.tolerations);
    }
    for (name, value) in [
        ("priorityClassName", &scheduling.priority_class_name),
        ("schedulerName", &scheduling.scheduler_name),
        ("runtimeClassName", &scheduling.runtime_class_name),
    ] {
        if let Some(value) = value {
            spec[name] = json!(value);
        }
    }
}

fn affinity(desired: &Desired, part: Part, scheduling: &Scheduling, selector: &Value) -> Value {
    let mut affinity = Value::Object(scheduling.affinity.clone().unwrap_or_default());
    let term = json!({ "labelSelector": selector, "topologyKey": HOST });
    // Two members with one node's ports cannot share it.
    let apart = match desired.on_host_network() {
        Some(_) if matches!(part, Part::Group(_)) => Spread::Required,
        _ => scheduling.anti_affinity,
    };
    match apart {
        Spread::Required => {
            push(&mut affinity, "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution", term);
        }
        Spread::Preferred => {
            let term = json!({ "weight": 100, "podAffinityTerm": term });
            push(&mut affinity, "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution", term);
        }
        Spread::Disabled => {}
    }
    let zones = zones(part, &scheduling.zones);
    if !zones.is_empty() {
        require_zones(&mut affinity, &zones);
    }
    affinity
}

/// A group has one of them, other roles all.
fn zones(part: Part, zones: &[String]) -> Vec<String> {
    match part {
        Part::Group(group) if !zones.is_empty() => {
            let place = usize::try_from(group).unwrap_or(0) % zones.len();
            vec![zones[place].clone()]
        }
        _ => zones.to_vec(),
    }
}

fn push(affinity: &mut Value, kind: &str, list: &str, term: Value) {
    let list = &mut affinity[kind][list];
    match list.as_array_mut() {
        Some(terms) => terms.push(term),
        None => *list = json!([term]),
    }
}

/// Terms are alternatives, so each gets the requirement.
fn require_zones(affinity: &mut Value, zones: &[String]) {
    let requirement = json!({ "key": ZONE, "operator": "In", "values": zones });
    let required = &mut affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = &mut required["nodeSelectorTerms"];
    if terms.as_array().is_none_or(Vec::is_empty) {
        *terms = json!([{}]);
    }
    for term in terms.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        let expressions = term.entry("matchExpressions").or_insert_with(|| json!([]));
        if let Some(expressions) = expressions.as_array_mut() {
            expressions.push(requirement.clone());
        }
    }
}

fn zone_spread(spread: Spread, selector: &Value) -> Vec<Value> {
    let unsatisfiable = match spread {
        Spread::Required => "DoNotSchedule",
        Spread::Preferred => "ScheduleAnyway",
        Spread::Disabled => return Vec::new(),
    };
    let constraint: Map<String, Value> = Map::from_iter([
        ("maxSkew".to_owned(), json!(1)),
        ("topologyKey".to_owned(), json!(ZONE)),
        ("whenUnsatisfiable".to_owned(), json!(unsatisfiable)),
        ("labelSelector".to_owned(), selector.clone()),
    ]);
    vec![constraint.into()]
}
