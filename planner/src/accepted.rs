//! The last manifest that was accepted, in a ConfigMap beside the cluster's children: while an edit of it cannot be
//! applied, the cluster goes on with this one. It is the operator's: plans know nothing of it.

use crate::facts::ClusterFacts;
use crate::labels::{Part, labels};
use crate::object::{Kind, Object, ObjectRef};
use serde_json::{Value, json};

/// The ConfigMap's only key.
const KEY: &str = "spec.json";

/// Returns which ConfigMap it is.
pub fn reference(cluster: &str) -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, format!("{cluster}-accepted"))
}

/// Returns the ConfigMap as it should be.
pub fn object(cluster: &ClusterFacts, spec: &Value) -> Object {
    let reference = reference(&cluster.name);
    let json = json!({
        "apiVersion": Kind::ConfigMap.api_version(),
        "kind": Kind::ConfigMap.as_str(),
        "metadata": {
            "name": reference.name,
            "namespace": cluster.namespace,
            "labels": labels(&cluster.name, Part::Cluster, spec["version"].as_str().unwrap_or_default()),
            "ownerReferences": [{
                "apiVersion": manifest::API_VERSION,
                "kind": manifest::KIND,
                "name": cluster.name,
                "uid": cluster.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "data": { KEY: spec.to_string() },
    });
    Object { reference, json }
}

/// Returns the manifest in it.
pub fn spec(observed: &Value) -> Option<Value> {
    serde_json::from_str(observed["data"][KEY].as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_kept_as_it_was_accepted() {
        let cluster =
            ClusterFacts { name: "c".to_owned(), namespace: "ns".to_owned(), ..ClusterFacts::default() };
        let given =
            json!({ "version": "0.1.0", "brokers": { "groups": 2, "podTemplate": { "x": [1, null] } } });
        let kept = object(&cluster, &given);
        assert_eq!(spec(&kept.json), Some(given.clone()));
        assert_eq!(spec(&json!({ "data": { KEY: "{" } })), None);
    }
}
