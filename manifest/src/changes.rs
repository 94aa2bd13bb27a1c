//! What differs between two manifests, field by field, and what each change does.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::crd;
use crate::defaults::filled;
use crate::marks::{Mark, mark_of};
use crate::problem::child;
use crate::validate::Validated;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Such as `spec.brokers.groups`; entries of lists with names as `spec.listeners[external].port`.
    pub path: String,
    /// Absent where it was not set and has no default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    pub mark: Mark,
}

/// Returns every field that differs, defaults filled in, ordered by path.
pub fn changes(before: &Validated, after: &Validated) -> Vec<FieldChange> {
    let schema = &crd::schema()["properties"]["spec"];
    let spec = |validated: &Validated| {
        filled(schema, &serde_json::to_value(&validated.cluster().spec).unwrap_or_default())
    };
    let mut changes = Vec::new();
    differ(schema, "spec", Some(&spec(before)), Some(&spec(after)), &mut changes);
    changes
}

fn differ(
    schema: &Value,
    path: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &mut Vec<FieldChange>,
) {
    let before = before.filter(|value| !value.is_null());
    let after = after.filter(|value| !value.is_null());
    if before == after {
        return;
    }
    let holds_fields = schema.get("properties").is_some() || schema.get("additionalProperties").is_some();
    if holds_fields && before.or(after).is_some_and(Value::is_object) {
        for name in names(before).union(&names(after)) {
            let of = |value: Option<&'_ Value>| value.and_then(|value| value.get(name.as_str())).cloned();
            let field = schema["properties"].get(name.as_str()).unwrap_or(&schema["additionalProperties"]);
            differ(field, &child(path, name), of(before).as_ref(), of(after).as_ref(), changes);
        }
        return;
    }
    let key = schema["x-kubernetes-list-map-keys"][0].as_str();
    if let (Some(key), Some(Value::Array(before)), Some(Value::Array(after))) = (key, before, after) {
        let entries = |list: &[Value]| -> Map<String, Value> {
            list.iter()
                .map(|entry| (entry[key].as_str().unwrap_or_default().to_owned(), entry.clone()))
                .collect()
        };
        let (before, after) = (entries(before), entries(after));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let path = format!("{path}[{name}]");
            match (before.get(name), after.get(name)) {
                (Some(before), Some(after)) => {
                    let first = changes.len();
                    differ(&schema["items"], &path, Some(before), Some(after), changes);
                    if name != "internal" && !on_host(before) && !on_host(after) {
                        of_a_service(&mut changes[first..]);
                    }
                }
                (before, after) => changes.push(change(path, before, after)),
            }
        }
        return;
    }
    changes.push(change(path.to_owned(), before, after));
}

fn names(value: Option<&Value>) -> BTreeSet<String> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned().collect()
}

/// Brokers listen once: the port of a further listener is its service's, unless it is the node's.
fn of_a_service(changes: &mut [FieldChange]) {
    for change in changes.iter_mut().filter(|change| change.path.ends_with("].port")) {
        change.mark = Mark::Live;
    }
}

fn on_host(listener: &Value) -> bool {
    listener["type"] == "HostNetwork"
}

fn change(path: String, before: Option<&Value>, after: Option<&Value>) -> FieldChange {
    let is_host = |value: Option<&Value>| value.is_some_and(|value| value == "HostNetwork");
    let mark = match mark_of(&path) {
        _ if path.ends_with("].type") && (is_host(before) || is_host(after)) => Mark::Restart,
        mark => mark.unwrap_or(Mark::Restart),
    };
    FieldChange { path, before: before.cloned(), after: after.cloned(), mark }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(more: Value) -> Validated {
        let mut document = json!({
            "apiVersion": "gantry.rs/v1alpha1", "kind": "RocketMQCluster", "metadata": { "name": "dev" },
            "spec": { "version": "0.1.0", "brokers": { "storage": { "size": "1Gi" } } },
        });
        merge(&mut document["spec"], more);
        crate::load(&document.to_string()).unwrap()
    }

    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                from.into_iter()
                    .for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
            }
            (into, from) => *into = from,
        }
    }

    #[test]
    fn changes_are_named_by_field_with_what_they_do() {
        let internal = json!({ "name": "internal", "type": "PodService", "port": 10911 });
        let outside = |kind: &str, port: u16| json!({ "name": "outside", "type": kind, "port": port });
        let cases = [
            (json!({}), json!({}), vec![]),
            // The same in other words: the default.
            (json!({}), json!({ "brokers": { "groups": 2, "flush": { "mode": "Async" } } }), vec![]),
            (
                json!({}),
                json!({ "brokers": { "groups": 3, "flush": { "mode": "Sync" }, "config": { "maxMessageSize": "8MiB" } } }),
                vec![
                    "spec.brokers.config.maxMessageSize - \"8MiB\" restart",
                    "spec.brokers.flush.mode \"Async\" \"Sync\" live",
                    "spec.brokers.groups 2 3 staged",
                ],
            ),
            (
                json!({ "listeners": [internal, outside("NodePort", 20911)] }),
                json!({ "listeners": [outside("HostNetwork", 21911), internal] }),
                vec![
                    "spec.listeners[outside].port 20911 21911 restart",
                    "spec.listeners[outside].type \"NodePort\" \"HostNetwork\" restart",
                ],
            ),
            (
                json!({ "listeners": [internal, outside("NodePort", 20911)] }),
                json!({ "listeners": [internal, outside("NodePort", 21911)] }),
                vec!["spec.listeners[outside].port 20911 21911 live"],
            ),
            (
                json!({ "listeners": [internal] }),
                json!({ "listeners": [internal, outside("NodePort", 20911)] }),
                vec!["spec.listeners[outside] - + restart"],
            ),
            (
                json!({}),
                json!({ "brokers": { "scheduling": { "nodeSelector": { "a.b/c": "d" } } } }),
                vec!["spec.brokers.scheduling.nodeSelector[\"a.b/c\"] - \"d\" restart"],
            ),
        ];
        for (before, after, expected) in cases {
            let found = changes(&manifest(before), &manifest(after));
            let text = |value: &Option<Value>| match value {
                None => "-".to_owned(),
                Some(Value::Object(_)) => "+".to_owned(),
                Some(value) => value.to_string(),
            };
            let lines: Vec<String> = found
                .iter()
                .map(|change| {
                    format!(
                        "{} {} {} {}",
                        change.path,
                        text(&change.before),
                        text(&change.after),
                        change.mark
                    )
                })
                .collect();
            assert_eq!(lines, expected);
        }
    }
}
