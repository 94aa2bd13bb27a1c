//! What works yet, and where: fields whose feature does not exist are refused, fields that only matter on Kubernetes
//! are named to those who run a cluster elsewhere.
//!
//! Only what differs from its default counts: what the API server filled in asks for nothing. Building a feature
//! means taking its line out of [`LATER`].

use serde_json::{Map, Value};

use crate::crd;
use crate::defaults::filled;
use crate::problem::{Problem, Problems, child};
use crate::validate::{Validated, validate};

const CONTROLLERS: &str = "there are no controllers yet";

/// Fields whose feature does not exist, and why. `[]` is every entry of a list.
const LATER: &[(&str, &str)] = &[
    ("spec.acl", "there is no access control yet"),
    (
        "spec.allowedNamespaces",
        "there are no kinds yet for topics, groups and users that could refer to a cluster",
    ),
    ("spec.brokers.fenced", "members cannot be fenced yet"),
    ("spec.brokers.replication.allAckInSyncStateSet", CONTROLLERS),
    ("spec.brokers.replication.minInSyncReplicas", CONTROLLERS),
    ("spec.brokers.rollout.preferredMaster", "the first member of a group is its master; none moves"),
    ("spec.brokers.scaleIn.migrateRemaining", "a group goes only when its consumers have read everything"),
    ("spec.brokers.storage.commitLog", "a broker keeps everything in one directory"),
    ("spec.controllers", CONTROLLERS),
    ("spec.image.overrides.controller", CONTROLLERS),
    ("spec.image.overrides.proxy", "there is no gRPC proxy yet"),
    ("spec.listeners[].tls", "connections are not encrypted yet"),
    ("spec.logging.targets", "one level holds for the whole member"),
    ("spec.nameServers.external", "brokers register only at the cluster's own name servers"),
    ("spec.proxy", "there is no gRPC proxy yet"),
    ("spec.tls", "connections are not encrypted yet"),
];

/// Names that are kept for features to come, and why they cannot be given.
pub(crate) const RESERVED: &[(&str, &str)] = &[
    ("metadata.finalizers", "members run without an operator that would honour it"),
    ("metadata.generateName", "members are named after metadata.name"),
    ("metadata.ownerReferences", "members run without an operator that would honour it"),
    ("spec.backup", "there is no backup yet"),
    ("spec.brokers.pools", "all broker groups are alike"),
    ("spec.brokers.storage.tiered", "messages are kept on local disks only"),
];

/// Fields that only matter on Kubernetes. `paused` and `stopped` are among them: a cluster on one machine is stopped by
/// stopping its runner.
const KUBERNETES: &[&str] = &[
    "spec.brokers.podTemplate",
    "spec.brokers.resources",
    "spec.brokers.scheduling",
    "spec.brokers.storage.accessMode",
    "spec.brokers.storage.storageClassName",
    "spec.brokers.storage.volumeAttributesClassName",
    "spec.brokers.terminationGracePeriod",
    "spec.deletion",
    "spec.dns",
    "spec.image",
    "spec.listeners",
    "spec.masterService",
    "spec.monitoring",
    "spec.nameServers.podTemplate",
    "spec.nameServers.resources",
    "spec.nameServers.scheduling",
    "spec.nameServers.warmUp",
    "spec.networkPolicy",
    "spec.paused",
    "spec.podDisruptionBudget",
    "spec.serviceAccountName",
    "spec.stopped",
];

/// Whether a field as a whole belongs to a feature that does not exist.
pub(crate) fn is_later(path: &str) -> bool {
    LATER.iter().any(|(later, _)| *later == path)
}

/// Returns why a field, or what holds it, cannot be set yet.
pub(crate) fn why_later(path: &str) -> Option<&'static str> {
    let within = |place: &str| {
        path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    LATER.iter().find(|(place, _)| within(place)).map(|(_, why)| *why)
}

/// Returns a problem for each setting of a feature that does not exist.
pub(crate) fn refuse_later(spec: &Value) -> Vec<Problem> {
    let refused = LATER.iter().flat_map(|(place, why)| {
        let text = format!("not supported yet: {why}; remove it");
        differences(place, spec)
            .into_iter()
            .map(move |(path, value)| Problem::with_value(&path, &value, text.clone()))
    });
    refused.collect()
}

/// Returns the paths of the settings that only matter on Kubernetes.
pub(crate) fn only_on_kubernetes(spec: &Value) -> Vec<String> {
    KUBERNETES.iter().flat_map(|place| differences(place, spec)).map(|(path, _)| path).collect()
}

impl Validated {
    /// Returns the manifest as a runner of another kind takes it: what only matters on Kubernetes has its default.
    ///
    /// # Errors
    /// None that a valid manifest leads to; a defect of ours is told as a problem.
    pub fn elsewhere(&self) -> Result<Validated, Problems> {
        let mut cluster = self.cluster().clone();
        let spec = without_kubernetes(serde_json::to_value(&cluster.spec).unwrap_or_default());
        cluster.spec = serde_json::from_value(spec)
            .map_err(|error| Problems(vec![Problem::plain("spec", format!("read it again: {error}"))]))?;
        validate(cluster)
    }
}

fn without_kubernetes(mut spec: Value) -> Value {
    for place in KUBERNETES {
        let mut names: Vec<&str> = place.split('.').skip(1).collect();
        let Some(last) = names.pop() else { continue };
        let parent = names.into_iter().try_fold(&mut spec, |value, name| value.get_mut(name));
        if let Some(Value::Object(parent)) = parent {
            parent.remove(last);
        }
    }
    spec
}

/// Finds every setting at or below a place that is not the default.
fn differences(place: &str, spec: &Value) -> Vec<(String, Value)> {
    let mut places = vec![(&crd::schema()["properties"]["spec"], "spec".to_owned(), spec)];
    for name in place.split('.').skip(1) {
        let (name, each) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
        let mut next = Vec::new();
        for (schema, path, value) in places {
            let (schema, path) = (&schema["properties"][name], child(&path, name));
            match value.get(name) {
                Some(Value::Array(list)) if each => {
                    let entries = list.iter().enumerate();
                    next.extend(
                        entries.map(|(index, entry)| (&schema["items"], format!("{path}[{index}]"), entry)),
                    );
                }
                Some(value) => next.push((schema, path, value)),
                None => {}
            }
        }
        places = next;
    }
    let mut found = Vec::new();
    for (schema, path, value) in places {
        differ(schema, &path, value, &mut found);
    }
    found
}

fn differ(schema: &Value, path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    let default = schema.get("default");
    if default.is_some_and(|default| filled(schema, default) == filled(schema, value)) {
        return;
    }
    let before = found.len();
    if let (Some(fields), Some(object)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, value) in object {
            differ(fields.get(name).unwrap_or(&Value::Null), &child(path, name), value, found);
        }
    }
    let empty = match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    // An object of known fields without a default means something by being there; nothing else does when empty.
    let means_itself = default.is_none() && schema.get("properties").is_some();
    if found.len() == before && means_itself {
        found.push((path.to_owned(), Value::Object(Map::new())));
    } else if found.len() == before && !empty {
        found.push((path.to_owned(), value.clone()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(found: Vec<(String, Value)>) -> Vec<String> {
        found.into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn every_place_of_the_tables_is_a_field() {
        for place in LATER.iter().map(|(place, _)| *place).chain(KUBERNETES.iter().copied()) {
            let pointer = place.replace("[]", ".items").replace("spec.", "").replace('.', "/properties/");
            let pointer =
                format!("/properties/spec/properties/{}", pointer.replace("properties/items", "items"));
            assert!(crd::schema().pointer(&pointer).is_some(), "{place}");
        }
        for (place, _) in RESERVED.iter().filter(|(place, _)| place.starts_with("spec.")) {
            let pointer = format!("/properties/{}", place.replace('.', "/properties/"));
            assert!(crd::schema().pointer(&pointer).is_none(), "{place} is a field by now");
        }
    }

    #[test]
    fn what_only_matters_on_kubernetes_is_the_default_elsewhere() {
        let text = "
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata: { name: dev, annotations: { a: b } }
spec:
  version: 0.1.0
  stopped: true
  listeners: [{ name: internal, type: PodIP, port: 20911 }]
  brokers: { groups: 3, storage: { size: 1Gi, storageClassName: fast }, scaleIn: { minDrainTime: 1s } }
";
        let kept = text
            .replace("  stopped: true\n", "")
            .replace("  listeners: [{ name: internal, type: PodIP, port: 20911 }]\n", "")
            .replace(", storageClassName: fast", "");
        let load = |text: &str| crate::load(text).unwrap();
        assert_eq!(load(text).elsewhere().unwrap(), load(&kept));
    }

    #[test]
    fn only_what_differs_from_its_default_is_found_and_by_its_own_path() {
        let cases: &[(&str, Value, &[&str])] = &[
            ("spec.proxy", json!({ "proxy": { "enabled": false, "replicas": 2, "service": {} } }), &[]),
            (
                "spec.proxy",
                json!({ "proxy": { "enabled": true, "config": { "a": "b" } } }),
                &["spec.proxy.config", "spec.proxy.enabled"],
            ),
            ("spec.controllers", json!({ "controllers": {} }), &["spec.controllers"]),
            ("spec.controllers", json!({ "controllers": { "replicas": 5 } }), &["spec.controllers.replicas"]),
            ("spec.paused", json!({ "paused": false }), &[]),
            ("spec.paused", json!({ "paused": true }), &["spec.paused"]),
            (
                "spec.listeners",
                json!({ "listeners": [
                { "name": "internal", "type": "PodService", "port": 10911, "tls": { "mode": "Disabled" } },
            ] }),
                &[],
            ),
            (
                "spec.listeners",
                json!({ "listeners": [{ "name": "internal", "type": "PodIP", "port": 10911 }] }),
                &["spec.listeners"],
            ),
            (
                "spec.listeners[].tls",
                json!({ "listeners": [
                { "name": "internal", "type": "PodService", "port": 10911 },
                { "name": "other", "type": "NodePort", "port": 20911, "tls": { "mode": "Required" } },
            ] }),
                &["spec.listeners[1].tls.mode"],
            ),
            ("spec.brokers.podTemplate", json!({ "brokers": { "podTemplate": {} } }), &[]),
            (
                "spec.brokers.resources",
                json!({ "brokers": { "resources": { "limits": { "cpu": "1" } } } }),
                &["spec.brokers.resources.limits"],
            ),
        ];
        for (place, spec, expected) in cases {
            assert_eq!(paths(differences(place, spec)), *expected, "{place} {spec}");
        }
    }
}
