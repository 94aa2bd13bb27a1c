//! What the operator was started with, as far as it shows in what it has made: whoever plans for it needs no right to look
//! at the operator itself. Pure.

use std::collections::BTreeMap;

use manifest::cluster::ClusterStatus;
use planner::facts::{Observed, OperatorSettings};
use planner::object::{Kind, ObjectRef};
use serde_json::Value;

/// Returns the settings; what does not show is the default.
pub fn operator_settings(
    objects: &BTreeMap<ObjectRef, Observed>,
    status: &ClusterStatus,
) -> OperatorSettings {
    let usual = OperatorSettings::default();
    let of_kind = |kind: Kind| {
        let objects =
            objects.iter().filter(move |(reference, observed)| reference.kind == kind && !observed.foreign);
        objects.map(|(_, observed)| &observed.json)
    };
    let peer = of_kind(Kind::NetworkPolicy).find_map(operator_peer);
    let (namespace, pod_labels) = peer.unwrap_or((usual.namespace, usual.pod_labels));
    OperatorSettings {
        version: status.operator.version.clone(),
        image_prefix: of_kind(Kind::StatefulSet).find_map(image_prefix).unwrap_or_default(),
        pull_secrets: of_kind(Kind::StatefulSet).next().map(pull_secrets).unwrap_or_default(),
        namespace,
        pod_labels,
        monitoring_kinds: false,
        may_roll: true,
    }
}

/// Only an image that is not given in full has the prefix.
fn image_prefix(set: &Value) -> Option<String> {
    let image = set.pointer("/spec/template/spec/containers/0/image")?.as_str()?;
    let component = set.pointer("/spec/template/spec/containers/0/name")?.as_str()?;
    let (prefix, _) = image.split_once(&format!("gantry-{component}:"))?;
    Some(prefix.to_owned())
}

fn pull_secrets(set: &Value) -> Vec<String> {
    let secrets = set.pointer("/spec/template/spec/imagePullSecrets").and_then(Value::as_array);
    let names = secrets.into_iter().flatten().filter_map(|secret| secret["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Finds the one who may ask from another namespace for the admin port.
fn operator_peer(policy: &Value) -> Option<(String, BTreeMap<String, String>)> {
    const NAMESPACE: &str = "kubernetes.io/metadata.name";
    let rules = policy.pointer("/spec/ingress")?.as_array()?;
    rules.iter().flat_map(|rule| rule["from"].as_array()).flatten().find_map(|peer| {
        let namespace = peer["namespaceSelector"]["matchLabels"][NAMESPACE].as_str()?;
        let labels = serde_json::from_value(peer["podSelector"]["matchLabels"].clone()).ok()?;
        Some((namespace.to_owned(), labels))
    })
}

#[cfg(test)]
mod tests {
    use planner::rehearse::settled;

    use super::*;

    #[test]
    fn what_the_operator_was_started_with_shows_in_its_objects() {
        let manifest = "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: { name: mq }\n\
                        spec: { version: 0.1.0, brokers: { groups: 1, storage: { size: 1Gi } } }\n";
        let manifest = manifest::load(manifest).unwrap();
        let given = OperatorSettings {
            version: "0.1.0".to_owned(),
            image_prefix: "registry.example.com/mq/".to_owned(),
            pull_secrets: vec!["pull".to_owned()],
            namespace: "operators".to_owned(),
            pod_labels: BTreeMap::from([("app".to_owned(), "gantry".to_owned())]),
            ..OperatorSettings::default()
        };
        let facts = settled(&manifest, &given, "2030-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(operator_settings(&facts.objects, &facts.cluster.status), given);
    }
}
