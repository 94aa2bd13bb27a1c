//! A manifest's own part of a pod template, merged last by Kubernetes' rules for lists. What it may not touch is the
//! manifest's to say.

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use manifest::cluster::Object as Json;
use serde_json::{Value, json};

use crate::labels::TEMPLATE_HASH;

/// Merges a patch into a template: lists with a key by that key, other lists as a whole.
///
/// # Errors
/// It is not one that `manifest` would let pass; nothing is merged then.
pub(super) fn merge(template: &Value, patch: &Json) -> Result<Value, String> {
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
}
