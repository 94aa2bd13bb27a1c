//! The rules between a change and what was before (`oldSelf` in `rules.rs`), for those who have no API server.

use serde_json::Value;

use crate::crd;
use crate::defaults::filled;
use crate::problem::{Problem, Problems};
use crate::rules::{Transition, rules};
use crate::units::parse_quantity;
use crate::validate::Validated;
use crate::versions::{ALLOWED_JUMPS, can_jump};

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
        for (path, old, new) in pairs(&path, &before, &after) {
            problems.0.extend(check(transition, message, &path, old, new));
        }
    }
    problems.0.extend(version_jump(&before["version"], &after["version"]));
    problems.sorted()
}

/// Returns a field before and after, by its path; below a list `[]`, one for each entry that was there before.
fn pairs<'a>(
    path: &str,
    before: &'a Value,
    after: &'a Value,
) -> Vec<(String, Option<&'a Value>, Option<&'a Value>)> {
    let Some((list, below)) = path.split_once("[]") else {
        return vec![(path.to_owned(), at(before, path), at(after, path))];
    };
    let entries =
        |spec: &'a Value| at(spec, list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (old, new) = (entries(before), entries(after));
    let known = new.iter().enumerate().filter_map(|(index, entry)| {
        let earlier = old.iter().find(|earlier| earlier["name"] == entry["name"])?;
        Some((format!("{list}[{index}]{below}"), at(earlier, below), at(entry, below)))
    });
    known.collect()
}

fn check(
    transition: Transition,
    message: &str,
    path: &str,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Option<Problem> {
    if is_allowed(transition, old, new) {
        return None;
    }
    let was = match old {
        Some(old) => format!("{message}; set it back to {old}"),
        None => format!("{message}; remove it, it was not set"),
    };
    Some(match new {
        Some(new) => Problem::with_value(path, new, was),
        None => Problem::plain(path, was),
    })
}

fn version_jump(before: &Value, after: &Value) -> Option<Problem> {
    let (from, to) = (before.as_str()?, after.as_str()?);
    let text = format!("cannot follow {from}: {ALLOWED_JUMPS}; set it to one that is near");
    (!can_jump(from, to)).then(|| Problem::with_value("spec.version", after, text))
}

fn is_allowed(transition: Transition, old: Option<&Value>, new: Option<&Value>) -> bool {
    match transition {
        Transition::Fixed | Transition::FixedKey => old == new,
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
        let config = |keys: Value| json!({ "brokers": { "config": keys } });
        let balancers = |list: &[(&str, &str)]| {
            let entries = list.iter().map(|(name, class)| {
                json!({ "name": name, "type": "LoadBalancer", "port": 20911, "loadBalancer": { "class": class } })
            });
            json!({ "listeners": entries.collect::<Vec<_>>() })
        };
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
            (json!({ "version": "0.1.0" }), json!({ "version": "0.2.1" }), vec![]),
            (
                json!({ "version": "0.1.0" }),
                json!({ "version": "0.3.0" }),
                vec![
                    "spec.version: \"0.3.0\": cannot follow 0.1.0: one minor version up or down at a time, within one \
                     major version; set it to one that is near",
                ],
            ),
            (
                config(json!({ "mappedFileSizeCommitLog": "1GiB" })),
                config(json!({})),
                vec![
                    "spec.brokers.config.mappedFileSizeCommitLog: cannot change: the files of stored messages have that \
                     size; set it back to \"1GiB\"",
                ],
            ),
            (balancers(&[("a", "x"), ("b", "y")]), balancers(&[("b", "y"), ("c", "z")]), vec![]),
            (
                balancers(&[("a", "x"), ("b", "y")]),
                balancers(&[("b", "z")]),
                vec![
                    "spec.listeners[0].loadBalancer.class: \"z\": cannot change: a load balancer keeps its class; give \
                     the listener another name; set it back to \"y\"",
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
