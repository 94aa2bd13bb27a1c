//! Which objects a plan makes, changes and removes, and what changes in them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use planner::facts::Observed;
use planner::labels::{INTENT_HASH, NAME_SERVERS_SINCE, PERMISSION_SINCE, TEMPLATE_HASH};
use planner::object::ObjectRef;
use planner::same_amount;
use serde::Serialize;
use serde_json::Value;

type Objects = BTreeMap<ObjectRef, Observed>;

/// What becomes of an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectChange {
    pub kind: &'static str,
    pub name: String,
    pub change: Change,
    /// Of one that changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Created,
    Changed,
    Removed,
}

/// A place in an object that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PathChange {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Annotations that follow from the rest of their object, or from the time.
const BOOKKEEPING: [&str; 4] = [INTENT_HASH, TEMPLATE_HASH, PERMISSION_SINCE, NAME_SERVERS_SINCE];
/// Settings likewise.
const REVISION: &str = "configRevision";

/// Returns what differs. What is gone from an object counts where we had put it there: `owned` says what that was, as
/// Kubernetes adds much of its own.
pub fn changes(before: &Objects, after: &Objects, owned: &BTreeMap<ObjectRef, Value>) -> Vec<ObjectChange> {
    let all: BTreeSet<&ObjectRef> = before.keys().chain(after.keys()).collect();
    let change = |reference: &ObjectRef| {
        let (change, paths) = match (before.get(reference), after.get(reference)) {
            (None, _) => (Change::Created, Vec::new()),
            (_, None) => (Change::Removed, Vec::new()),
            (Some(before), Some(after)) => {
                let mut paths = Vec::new();
                let owned = owned.get(reference).unwrap_or(&Value::Null);
                of_object(&before.json, &after.json, owned, &mut paths);
                (Change::Changed, paths)
            }
        };
        let nothing = change == Change::Changed && paths.is_empty();
        (!nothing).then(|| ObjectChange {
            kind: reference.kind.as_str(),
            name: reference.name.clone(),
            change,
            paths,
        })
    };
    all.into_iter().filter_map(change).collect()
}

/// Of metadata only what is ours to say.
fn of_object(before: &Value, after: &Value, owned: &Value, paths: &mut Vec<PathChange>) {
    for part in ["labels", "annotations"] {
        let of = |json: &Value| json["metadata"][part].clone();
        differ(&format!("metadata.{part}"), &of(before), &of(after), &of(owned), paths);
    }
    let fields: BTreeSet<&String> =
        [before, after].into_iter().filter_map(Value::as_object).flat_map(|object| object.keys()).collect();
    let others = ["apiVersion", "kind", "metadata", "status"];
    for field in fields.into_iter().filter(|field| !others.contains(&field.as_str())) {
        let of = |json: &Value| json.get(field).cloned().unwrap_or_default();
        differ(field, &of(before), &of(after), &of(owned), paths);
    }
}

fn differ(path: &str, before: &Value, after: &Value, owned: &Value, paths: &mut Vec<PathChange>) {
    // Kubernetes leaves out what is empty, and writes amounts its own way.
    if before == after || (is_empty(before) && is_empty(after)) {
        return;
    }
    match (before, after) {
        (Value::String(before), Value::String(after)) if same_amount(before, after) => {}
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names.into_iter().filter(|name| !BOOKKEEPING.contains(&name.as_str())) {
                let of = |json: &Value| json.get(name).cloned().unwrap_or_default();
                differ(&child(path, name), &of(before), &of(after), &of(owned), paths);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (place, (old, new)) in old.iter().zip(new).enumerate() {
                let owned = owned.get(place).cloned().unwrap_or_default();
                differ(&format!("{path}[{place}]"), old, new, &owned, paths);
            }
        }
        // Kubernetes' own.
        (_, Value::Null) if owned.is_null() => {}
        (Value::String(old), Value::String(new)) if path.ends_with(".properties\"]") => {
            of_settings(path, old, new, paths);
        }
        _ => paths.push(PathChange {
            path: path.to_owned(),
            before: Some(before.clone()).filter(|value| !value.is_null()),
            after: Some(after.clone()).filter(|value| !value.is_null()),
        }),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// A file of settings, key by key.
fn of_settings(path: &str, before: &str, after: &str, paths: &mut Vec<PathChange>) {
    let read = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let (before, after) = (read(before), read(after));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys.into_iter().filter(|key| *key != REVISION && before.get(*key) != after.get(*key)) {
        let value =
            |settings: &BTreeMap<String, String>| settings.get(key).map(|text| Value::from(text.as_str()));
        paths.push(PathChange {
            path: format!("{path}.{key}"),
            before: value(&before),
            after: value(&after),
        });
    }
}

fn child(path: &str, name: &str) -> String {
    match name.contains(['.', '/']) {
        true => format!("{path}[\"{name}\"]"),
        false => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use planner::object::Kind;
    use serde_json::json;

    use super::*;

    fn one(json: Value) -> Objects {
        let observed = Observed { json, ..Observed::default() };
        BTreeMap::from([(ObjectRef::new(Kind::ConfigMap, "x"), observed)])
    }

    /// What changes, without its place in JSON's structs.
    fn paths(before: Value, after: Value, owned: Value) -> Vec<String> {
        let owned = BTreeMap::from([(ObjectRef::new(Kind::ConfigMap, "x"), owned)]);
        let changes = changes(&one(before), &one(after), &owned);
        let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
        let paths = changes.iter().flat_map(|change| &change.paths);
        paths.map(|path| format!("{} {} {}", path.path, text(&path.before), text(&path.after))).collect()
    }

    #[test]
    fn an_object_is_made_changed_or_removed() {
        let object = one(json!({ "spec": 1 }));
        let nothing = Objects::new();
        let kinds = |before: &Objects, after: &Objects| -> Vec<Change> {
            changes(before, after, &BTreeMap::new()).iter().map(|change| change.change).collect()
        };
        assert_eq!(kinds(&nothing, &object), [Change::Created]);
        assert_eq!(kinds(&object, &nothing), [Change::Removed]);
        assert_eq!(kinds(&object, &one(json!({ "spec": 2 }))), [Change::Changed]);
        assert_eq!(kinds(&object, &object), []);
    }

    #[test]
    fn what_kubernetes_or_bookkeeping_adds_is_no_change() {
        let before = json!({
            "metadata": { "uid": "u", "annotations": { INTENT_HASH: "a" }, "labels": { "a": "1", "b": "2" } },
            "spec": {
                "replicas": 1, "revisionHistoryLimit": 10, "list": [1, 2], "nodeSelector": { "x": "y" }, "cpu": "500m",
            },
            "status": { "replicas": 1 },
        });
        let after = json!({
            "metadata": { "annotations": { INTENT_HASH: "b" }, "labels": { "a": "1" } },
            "spec": { "replicas": 2, "list": [1, 3], "cpu": "0.5", "publishNotReadyAddresses": false },
        });
        let owned =
            json!({ "metadata": { "labels": { "b": "2" } }, "spec": { "nodeSelector": { "x": "y" } } });
        assert_eq!(
            paths(before, after, owned),
            [
                "metadata.labels.b \"2\" -",
                "spec.list[1] 2 3",
                "spec.nodeSelector {\"x\":\"y\"} -",
                "spec.replicas 1 2",
            ]
        );
    }

    #[test]
    fn settings_are_compared_key_by_key() {
        let file = |text: &str| json!({ "data": { "x-0.properties": text } });
        let before = file("configRevision=1\nflushDiskType=ASYNC_FLUSH\nlogLevel=info\n");
        let after = file("configRevision=2\nflushDiskType=SYNC_FLUSH\n");
        assert_eq!(
            paths(before.clone(), after, before.clone()),
            [
                "data[\"x-0.properties\"].flushDiskType \"ASYNC_FLUSH\" \"SYNC_FLUSH\"",
                "data[\"x-0.properties\"].logLevel \"info\" -",
            ]
        );
        let only_revision = file("configRevision=2\nflushDiskType=ASYNC_FLUSH\nlogLevel=info\n");
        assert_eq!(paths(before.clone(), only_revision, before), [""; 0]);
    }
}
