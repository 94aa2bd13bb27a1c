//! The rules between a change and what was before (`oldSelf` in `rules.rs`), for those who have no API server.

use serde_json::Value;

use crate::crd;
use crate::defaults::filled;
use crate::problem::{Problem, Problems};
use crate::rules::{Transition, rules};
use crate::units::parse_quantity;
use crate::validate::Validated;

/// Checks that a cluster that runs as `before` may become `after`.
///
/// # Errors
/// Every field whose change is refused, with what it was: the user sets it back.
pub fn check_change(before: &Validated, after: &Validated) -> Result<(), Problems> {
    let spec = |validated: &Validated| serde_json::to_value(&validated.cluster().spec).unwrap_or_default();
    let problems = check_specs(&spec(before), &spec(after));
    if problems.0.is_empty() { Ok(()) } else { Err(problems) }
}

fn check_specs(before: &Value, after: &Value) -> Problems {
    let schema = &crd::schema()["properties"]["spec"];
    let (before, after) = (filled(schema, before), filled(schema, after));
    let mut problems = Problems::default();
    for rule in rules() {
        let (path, message) = rule.blames();
        let Some(transition) = rule.transition else { continue };
        let (old, new) = (at(&before, &path), at(&after, &path));
        if is_allowed(transition, old, new) {
            continue;
        }
        let was = match old {
            Some(old) => format!("{message}; set it back to {old}"),
            None => format!("{message}; remove it, it was not set"),
        };
        problems.0.push(match new {
            Some(new) => Problem::with_value(&path, new, was),
            None => Problem::plain(&path, was),
        });
    }
    problems.sorted()
}

fn is_allowed(transition: Transition, old: Option<&Value>, new: Option<&Value>) -> bool {
    match transition {
        Transition::Fixed => old == new,
        Transition::FixedPresence => old.is_some() == new.is_some(),
        Transition::Grows => {
            let amount = |value: Option<&Value>| value.and_then(Value::as_str).and_then(parse_quantity);
            amount(old).zip(amount(new)).is_none_or(|(old, new)| new >= old)
        }
        Transition::Keeps(value) => {
            old.and_then(Value::as_str) != Some(value) || new.and_then(Value::as_str) == Some(value)
        }
    }
}

fn at<'a>(spec: &'a Value, path: &str) -> Option<&'a Value> {
    let found = path.split('.').skip(1).try_fold(spec, |value, name| value.get(name))?;
    (!found.is_null()).then_some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_change_is_named_with_what_it_was() {
        let storage = |fields: Value| json!({ "brokers": { "storage": fields } });
        let mode = |mode: &str| json!({ "brokers": { "replication": { "mode": mode } } });
        let cases = [
            (json!({}), json!({}), vec![]),
            (
                json!({}),
                json!({ "clusterName": "a" }),
                vec![
                    "spec.clusterName: \"a\": cannot change: clients and stored data know the cluster by it; remove it, \
                     it was not set",
                ],
            ),
            (
                json!({ "clusterName": "a" }),
                json!({}),
                vec![
                    "spec.clusterName: cannot change: clients and stored data know the cluster by it; set it back to \
                     \"a\"",
                ],
            ),
            (storage(json!({ "size": "1024Mi" })), storage(json!({ "size": "1Gi" })), vec![]),
            (storage(json!({ "size": "1Gi" })), storage(json!({ "size": "2Gi" })), vec![]),
            (
                storage(json!({ "size": "2Gi" })),
                storage(json!({ "size": "1Gi" })),
                vec![
                    "spec.brokers.storage.size: \"1Gi\": cannot shrink: volumes only grow; set it back to \"2Gi\"",
                ],
            ),
            // A default is as good as what was written.
            (storage(json!({})), storage(json!({ "accessMode": "ReadWriteOnce" })), vec![]),
            (
                storage(json!({})),
                storage(json!({ "accessMode": "ReadWriteOncePod", "storageClassName": "x" })),
                vec![
                    "spec.brokers.storage.accessMode: \"ReadWriteOncePod\": cannot change: volumes keep their access \
                     mode; set it back to \"ReadWriteOnce\"",
                    "spec.brokers.storage.storageClassName: \"x\": cannot change: volumes keep their class; remove it, \
                     it was not set",
                ],
            ),
            (
                storage(json!({ "commitLog": { "size": "2Gi" } })),
                storage(json!({})),
                vec![
                    "spec.brokers.storage.commitLog: cannot be added or removed: messages would stay behind; set it \
                     back to {\"size\":\"2Gi\"}",
                ],
            ),
            (mode("Async"), mode("Controller"), vec![]),
            (
                mode("Controller"),
                mode("Sync"),
                vec![
                    "spec.brokers.replication.mode: \"Sync\": cannot change from Controller to another mode: nothing \
                     would elect masters any more; set it back to \"Controller\"",
                ],
            ),
        ];
        for (before, after, expected) in cases {
            let problems = check_specs(&before, &after);
            let texts: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
            assert_eq!(texts, expected, "{before} -> {after}");
        }
    }
}
