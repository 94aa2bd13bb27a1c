//! A manifest's own part of a pod: a partial PodTemplateSpec, which may not touch what the operator needs.

use std::path::Path;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

use crate::cluster::Object;
use crate::embedded;
use crate::problem::{Problem, child};

/// Of the main container, each with what to do instead. Nobody knows here which variables `envFrom` brings.
const OURS_IN_CONTAINER: [(&str, &str); 8] = [
    ("args", "remove it"),
    ("command", "remove it"),
    ("envFrom", "name each variable in env"),
    ("image", "set spec.image.overrides instead"),
    ("livenessProbe", "remove it"),
    ("ports", "remove it"),
    ("readinessProbe", "remove it"),
    ("startupProbe", "remove it"),
];
const OUR_ENVIRONMENT: [&str; 5] = ["NODE_NAME", "POD_IP", "POD_NAME", "POD_NAMESPACE", "POD_UID"];
/// Such variables are settings, and stronger than the file: two members of a group could become masters.
const SETTINGS: &str = "GANTRY_";
const OUR_VOLUMES: [&str; 4] = ["data", "static", "live", "internal"];
const OUR_FOLDERS: [&str; 2] = ["/data", "/etc/gantry"];
/// Selectors stand on them.
const OUR_LABELS: &str = "gantry.rs/";
/// Fields of a pod that the manifest has as its own.
const FIELDS: [(&str, &str); 2] = [
    ("serviceAccountName", "spec.serviceAccountName"),
    ("terminationGracePeriodSeconds", "terminationGracePeriod"),
];

/// Finds what is wrong with the template of a role whose main container has that name.
pub(crate) fn check(path: &str, main: &str, template: &Object) -> Vec<Problem> {
    let mut problems = embedded::check::<PodTemplateSpec>(path, template);
    if !problems.is_empty() {
        return problems;
    }
    let mut refuse = |place: String, value: &Value, remedy: &str| {
        let text = format!("belongs to the operator; {remedy}");
        problems.push(Problem::with_value(&format!("{path}.{place}"), value, text));
    };
    let template = Value::Object(template.clone());
    let named = |holder: &Value, list: &str| holder[list].as_array().cloned().unwrap_or_default();
    for (place, container) in named(&template["spec"], "containers").iter().enumerate() {
        if container["name"] != main {
            continue;
        }
        let place = format!("spec.containers[{place}]");
        for (field, remedy) in OURS_IN_CONTAINER.iter().filter(|(field, _)| container.get(field).is_some()) {
            refuse(format!("{place}.{field}"), &container[field], remedy);
        }
        for (index, variable) in named(container, "env").iter().enumerate() {
            let name = variable["name"].as_str().unwrap_or_default();
            if OUR_ENVIRONMENT.contains(&name) || name.starts_with(SETTINGS) {
                refuse(format!("{place}.env[{index}].name"), &variable["name"], "choose another name");
            }
        }
        for (index, mount) in named(container, "volumeMounts").iter().enumerate() {
            let folder = Path::new(mount["mountPath"].as_str().unwrap_or_default());
            if OUR_FOLDERS.iter().any(|ours| folder.starts_with(ours)) {
                refuse(
                    format!("{place}.volumeMounts[{index}].mountPath"),
                    &mount["mountPath"],
                    "choose another",
                );
            }
        }
    }
    for (place, volume) in named(&template["spec"], "volumes").iter().enumerate() {
        if OUR_VOLUMES.iter().any(|ours| volume["name"] == *ours) {
            refuse(format!("spec.volumes[{place}].name"), &volume["name"], "choose another name");
        }
    }
    for kind in ["labels", "annotations"] {
        let Some(map) = template["metadata"][kind].as_object() else { continue };
        for (key, value) in map.iter().filter(|(key, _)| key.starts_with(OUR_LABELS)) {
            refuse(child(&format!("metadata.{kind}"), key), value, "remove it");
        }
    }
    for (field, instead) in FIELDS.iter().filter(|(field, _)| template["spec"].get(field).is_some()) {
        refuse(
            format!("spec.{field}"),
            &template["spec"][field],
            &format!("set {instead} of the manifest instead"),
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(template: Value) -> String {
        let problems = check("t", "broker", template.as_object().unwrap());
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    fn container(fields: Value) -> Value {
        let mut container = fields;
        container["name"] = json!("broker");
        json!({ "spec": { "containers": [{ "name": "side" }, container] } })
    }

    #[test]
    fn what_the_operator_needs_is_out_of_reach() {
        let cases = [
            (json!({}), ""),
            (container(json!({ "resources": {}, "env": [{ "name": "TZ", "value": "UTC" }] })), ""),
            (container(json!({ "volumeMounts": [{ "name": "x", "mountPath": "/database" }] })), ""),
            (json!({ "spec": { "containers": [{ "name": "namesrv", "args": ["x"] }] } }), ""),
            (
                container(json!({ "args": ["x"] })),
                "t.spec.containers[1].args: [\"x\"]: belongs to the operator; remove it",
            ),
            (
                container(json!({ "livenessProbe": { "periodSeconds": 1 } })),
                "t.spec.containers[1].livenessProbe: {\"periodSeconds\":1}: belongs to the operator; remove it",
            ),
            (
                container(json!({ "env": [{ "name": "POD_IP", "value": "1.2.3.4" }] })),
                "t.spec.containers[1].env[0].name: \"POD_IP\": belongs to the operator; choose another name",
            ),
            (
                container(json!({ "env": [{ "name": "GANTRY_BROKER_ID", "value": "0" }] })),
                "t.spec.containers[1].env[0].name: \"GANTRY_BROKER_ID\": belongs to the operator; choose another name",
            ),
            (
                container(json!({ "envFrom": [{ "configMapRef": { "name": "x" } }] })),
                "t.spec.containers[1].envFrom: [{\"configMapRef\":{\"name\":\"x\"}}]: belongs to the operator; name each \
                 variable in env",
            ),
            (
                container(json!({ "image": "x" })),
                "t.spec.containers[1].image: \"x\": belongs to the operator; set spec.image.overrides instead",
            ),
            (
                container(json!({ "ports": [{ "containerPort": 10911, "name": "x" }] })),
                "t.spec.containers[1].ports: [{\"containerPort\":10911,\"name\":\"x\"}]: belongs to the operator; remove it",
            ),
            (
                container(json!({ "volumeMounts": [{ "name": "x", "mountPath": "//data" }] })),
                "t.spec.containers[1].volumeMounts[0].mountPath: \"//data\": belongs to the operator; choose another",
            ),
            (
                container(json!({ "volumeMounts": [{ "name": "x", "mountPath": "/data/" }] })),
                "t.spec.containers[1].volumeMounts[0].mountPath: \"/data/\": belongs to the operator; choose another",
            ),
            (
                json!({ "spec": { "volumes": [{ "name": "data", "emptyDir": {} }] } }),
                "t.spec.volumes[0].name: \"data\": belongs to the operator; choose another name",
            ),
            (
                json!({ "metadata": { "labels": { "gantry.rs/group": "7" } } }),
                "t.metadata.labels[\"gantry.rs/group\"]: \"7\": belongs to the operator; remove it",
            ),
            (
                json!({ "spec": { "terminationGracePeriodSeconds": 5 } }),
                "t.spec.terminationGracePeriodSeconds: 5: belongs to the operator; set terminationGracePeriod of the \
                 manifest instead",
            ),
            (
                json!({ "spec": { "containers": [{ "name": "x", "imagePolicy": "Always" }] } }),
                "t.spec.containers[0].imagePolicy: \"Always\": is not a field that Kubernetes knows here; remove it",
            ),
            (
                json!({ "spec": { "hostNetwork": "yes" } }),
                "t.spec.hostNetwork: \"yes\": must be true or false",
            ),
        ];
        for (template, expected) in cases {
            assert_eq!(found(template.clone()), expected, "{template}");
        }
    }
}
