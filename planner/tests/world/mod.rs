//! Facts for tests: a cluster that is new, and one whose services have addresses.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use manifest::Validated;
use planner::facts::{Answer, ClusterFacts, Facts, NodeFacts, Observed, PodFacts};
use planner::object::{Kind, Object, ObjectRef};
use serde_json::json;

pub fn now() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

/// Nothing is there but the cluster's own object.
pub fn new_cluster(validated: &Validated) -> Facts {
    let metadata = &validated.cluster().metadata;
    Facts {
        cluster: ClusterFacts {
            name: validated.name().to_owned(),
            namespace: metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            uid: "11111111-2222-3333-4444-555555555555".to_owned(),
            generation: 1,
            ..ClusterFacts::default()
        },
        ..Facts::default()
    }
}

/// Every service gets an address of its own, every pod of a StatefulSet a node.
pub fn known_addresses(facts: &mut Facts, objects: &[Object]) {
    let services = objects.iter().filter(|object| object.reference.kind == Kind::Service);
    for object in services {
        // Of the name, so that another service changes nothing.
        let next =
            object.reference.name.bytes().fold(7_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 60_000);
        let mut json = object.json.clone();
        if json["spec"]["clusterIP"].is_null() {
            json["spec"]["clusterIP"] = json!(format!("10.96.{}.{}", next / 250, 1 + next % 250));
        }
        if json["spec"]["type"] == "NodePort" && json["spec"]["ports"][0]["nodePort"].is_null() {
            json["spec"]["ports"][0]["nodePort"] = json!(30_000 + next % 2_000);
        }
        if json["spec"]["type"] == "LoadBalancer" {
            json["status"]["loadBalancer"]["ingress"] =
                json!([{ "ip": format!("203.0.113.{}", 1 + next % 250) }]);
        }
        facts.objects.insert(object.reference.clone(), Observed { json, ..Observed::default() });
    }
    let node = NodeFacts {
        external_ip: Some("198.51.100.7".to_owned()),
        internal_ip: Some("192.168.0.7".to_owned()),
        zone: Some("a".to_owned()),
    };
    facts.nodes = Answer::Known(BTreeMap::from([("node-1".to_owned(), node)]));
    for object in objects.iter().filter(|object| object.reference.kind == Kind::StatefulSet) {
        for ordinal in 0..object.json["spec"]["replicas"].as_u64().unwrap() {
            facts.pods.push(PodFacts {
                name: format!("{}-{ordinal}", object.reference.name),
                node: Some("node-1".to_owned()),
                host_ip: Some("192.168.0.7".to_owned()),
                ..PodFacts::default()
            });
        }
    }
}

/// Returns one object.
pub fn find<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Object {
    let wanted = ObjectRef::new(kind, name);
    objects.iter().find(|object| object.reference == wanted).unwrap_or_else(|| panic!("no {wanted}"))
}
