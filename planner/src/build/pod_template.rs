//! A manifest's own part of a pod template, merged last by Kubernetes' rules for lists, and what it may not touch.

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use manifest::cluster::Object as Json;
use serde_json::{Value, json};

use crate::labels::TEMPLATE_HASH;

/// Of the main container.
const OURS_IN_CONTAINER: [&str; 5] = ["args", "command", "livenessProbe", "readinessProbe", "startupProbe"];
const MAIN_CONTAINERS: [&str; 2] = ["broker", "namesrv"];
const VOLUMES: [&str; 4] = ["data", "static", "live", "internal"];
/// Selectors stand on them.
const OUR_LABELS: &str = "gantry.rs/";

/// Returns why a patch cannot be merged: each with its place below `podTemplate` and what to do.
pub(crate) fn problems(patch: &Json) -> Vec<String> {
    let mut problems = Vec::new();
    let patch = Value::Object(patch.clone());
    match serde_json::from_value::<PodTemplateSpec>(patch.clone()) {
        Err(error) => return vec![format!("is not a PodTemplateSpec: {error}")],
        Ok(read) => {
            let known = json!(read);
            if let Some(path) = unknown(&patch, &known, "") {
                problems.push(format!("{path} is not a field of a PodTemplateSpec; remove it"));
            }
        }
    }
    let named = |path: &str| patch.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    for container in named("/spec/containers") {
        let name = container["name"].as_str().unwrap_or_default();
        let ours = OURS_IN_CONTAINER.iter().filter(|field| container.get(field).is_some());
        for field in ours.filter(|_| MAIN_CONTAINERS.contains(&name)) {
            problems.push(format!("spec.containers[{name}].{field} belongs to the operator; remove it"));
        }
    }
    for volume in named("/spec/volumes") {
        let name = volume["name"].as_str().unwrap_or_default();
        if VOLUMES.contains(&name) {
            problems.push(format!("spec.volumes[{name}] belongs to the operator; choose another name"));
        }
    }
    for kind in ["labels", "annotations"] {
        let Some(Value::Object(map)) = patch.pointer(&format!("/metadata/{kind}")) else { continue };
        for key in map.keys().filter(|key| key.starts_with(OUR_LABELS)) {
            problems.push(format!("metadata.{kind}[{key}] belongs to the operator; remove it"));
        }
    }
    problems
}

/// Merges a patch into a template: lists with a key by that key, other lists as a whole.
///
/// # Errors
/// The first of its problems; nothing is merged then.
pub(super) fn merge(template: &Value, patch: &Json) -> Result<Value, String> {
    if let Some(problem) = problems(patch).into_iter().next() {
        return Err(problem);
    }
    let read =
        |value: Value| serde_json::from_value::<PodTemplateSpec>(value).map_err(|error| error.to_string());
    let mut merged = read(template.clone())?;
    merged.merge_from(read(Value::Object(patch.clone()))?);
    let mut json = json!(merged);
    // The types have it; an empty one means nothing.
    if let Some(annotations) = json.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(TEMPLATE_HASH);
    }
    Ok(json)
}

/// Returns the first place that Kubernetes' types do not have.
fn unknown(given: &Value, known: &Value, path: &str) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match known.get(key) {
                Some(known) => unknown(value, known, &path),
                // Types leave out what is empty.
                None if is_empty(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(known)) => {
            let pairs = given.iter().zip(known).enumerate();
            pairs
                .into_iter()
                .find_map(|(place, (given, known))| unknown(given, known, &format!("{path}[{place}]")))
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(value: Value) -> Json {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn lists_are_merged_by_key_and_the_manifest_wins() {
        let template = json!({
            "metadata": { "labels": { "a": "1" } },
            "spec": { "containers": [
                { "name": "broker", "image": "x", "args": ["run"], "env": [{ "name": "A", "value": "1" }] },
            ] },
        });
        let patch = patch(json!({
            "metadata": { "labels": { "team": "mq" } },
            "spec": {
                "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["old"] }],
                "containers": [
                    { "name": "broker", "env": [{ "name": "A", "value": "2" }, { "name": "B", "value": "3" }] },
                    { "name": "side", "image": "y" },
                ],
            },
        }));
        assert_eq!(
            merge(&template, &patch).unwrap(),
            json!({
                "metadata": { "labels": { "a": "1", "team": "mq" } },
                "spec": {
                    "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["old"] }],
                    "containers": [
                        { "name": "broker", "image": "x", "args": ["run"],
                          "env": [{ "name": "A", "value": "2" }, { "name": "B", "value": "3" }] },
                        { "name": "side", "image": "y" },
                    ],
                },
            })
        );
    }

    #[test]
    fn what_the_operator_needs_is_out_of_reach() {
        let cases = [
            (json!({}), ""),
            (json!({ "spec": { "containers": [{ "name": "broker", "resources": {} }] } }), ""),
            (
                json!({ "spec": { "containers": [{ "name": "broker", "args": ["x"] }] } }),
                "spec.containers[broker].args belongs to the operator; remove it",
            ),
            (
                json!({ "spec": { "volumes": [{ "name": "data", "emptyDir": {} }] } }),
                "spec.volumes[data] belongs to the operator; choose another name",
            ),
            (
                json!({ "metadata": { "labels": { "gantry.rs/group": "7" } } }),
                "metadata.labels[gantry.rs/group] belongs to the operator; remove it",
            ),
            (
                json!({ "spec": { "containers": [{ "name": "x", "imagePolicy": "Always" }] } }),
                "spec.containers[0].imagePolicy is not a field of a PodTemplateSpec; remove it",
            ),
            (
                json!({ "spec": { "hostNetwork": "yes" } }),
                "is not a PodTemplateSpec: invalid type: string \"yes\", expected a boolean",
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(problems(&patch(value.clone())).join("; "), expected, "{value}");
        }
    }
}
