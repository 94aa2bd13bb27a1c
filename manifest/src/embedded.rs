//! Kubernetes objects inside a manifest, such as tolerations: read as Kubernetes' own types, so that what it would drop
//! or refuse later is refused here, with its place.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::problem::{Problem, child};

/// Lists that may be absent where only a part of an object is given.
const PARTS: [&str; 1] = ["containers"];

/// What texts may be, by the end of their place, list entries aside.
const CHOICES: &[(&str, &[&str])] = &[
    ("tolerations.operator", &["Exists", "Equal"]),
    ("tolerations.effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ("whenUnsatisfiable", &["DoNotSchedule", "ScheduleAnyway"]),
    ("nodeSelectorTerms.matchExpressions.operator", &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
    ("preference.matchExpressions.operator", &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
    ("labelSelector.matchExpressions.operator", &["In", "NotIn", "Exists", "DoesNotExist"]),
    ("podSelector.matchExpressions.operator", &["In", "NotIn", "Exists", "DoesNotExist"]),
    ("namespaceSelector.matchExpressions.operator", &["In", "NotIn", "Exists", "DoesNotExist"]),
    ("imagePullPolicy", &["Always", "IfNotPresent", "Never"]),
];

/// Finds what is wrong with an object of the type `T`.
pub(crate) fn check<T: Serialize + DeserializeOwned>(path: &str, given: &Map<String, Value>) -> Vec<Problem> {
    let given = Value::Object(given.clone());
    let known = match serde_json::from_value::<T>(given.clone()) {
        Ok(read) => json!(read),
        Err(_) => return vec![mistyped::<T>(path, &given)],
    };
    let mut problems = Vec::new();
    compare(path, &given, &known, &mut problems);
    choices(path, &given, &mut problems);
    problems
}

/// Finds the innermost place that cannot be read: of what holds it, all else is taken away, level by level.
fn mistyped<T: DeserializeOwned>(path: &str, given: &Value) -> Problem {
    let error =
        |value: &Value| serde_json::from_value::<T>(value.clone()).err().map(|error| error.to_string());
    let (mut path, mut pointer, mut kept) = (path.to_owned(), String::new(), given.clone());
    let mut words = error(&kept).unwrap_or_default();
    'deeper: loop {
        let here = kept.pointer(&pointer).cloned().unwrap_or_default();
        for (name, step, alone) in each_alone(&here) {
            let mut candidate = kept.clone();
            if let Some(place) = candidate.pointer_mut(&pointer) {
                *place = alone;
            }
            if let Some(found) = error(&candidate) {
                path = if here.is_array() { format!("{path}[{name}]") } else { child(&path, &name) };
                pointer = format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"));
                (kept, words) = (candidate, found);
                continue 'deeper;
            }
        }
        break;
    }
    let value = kept.pointer(&pointer).cloned().unwrap_or_default();
    Problem::with_value(&path, &value, expected(&words))
}

/// Every entry with its name, its place among what is left, and the object or list that holds it alone.
fn each_alone(holder: &Value) -> Vec<(String, String, Value)> {
    match holder {
        Value::Object(map) => {
            map.iter().map(|(name, value)| (name.clone(), name.clone(), json!({ name: value }))).collect()
        }
        Value::Array(list) => {
            let entries = list.iter().enumerate();
            entries.map(|(place, value)| (place.to_string(), "0".to_owned(), json!([value]))).collect()
        }
        _ => Vec::new(),
    }
}

/// serde's words in ours.
fn expected(words: &str) -> String {
    match words.split_once("expected ").map(|(_, expected)| expected) {
        Some("a boolean") => "must be true or false".to_owned(),
        Some("a string") => "must be text; put it in quotes".to_owned(),
        Some("a sequence") => "must be a list".to_owned(),
        Some(number) if ["i32", "i64"].contains(&number) => "must be an integer".to_owned(),
        Some(kind) if kind.starts_with("struct ") || kind.chars().all(char::is_alphanumeric) => {
            format!("must be a map of fields: {}", kind.trim_start_matches("struct "))
        }
        _ => words.to_owned(),
    }
}

/// What was read and written again lacks what the type does not know, and has what it requires.
fn compare(path: &str, given: &Value, known: &Value, problems: &mut Vec<Problem>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, value) in given {
                let path = child(path, name);
                match known.get(name) {
                    Some(known) => compare(&path, value, known, problems),
                    None if value.is_null() => {}
                    None => {
                        let text = "is not a field that Kubernetes knows here; remove it";
                        problems.push(Problem::with_value(&path, value, text));
                    }
                }
            }
            let missing = known.keys().filter(|name| !given.contains_key(*name));
            for name in missing.filter(|name| !PARTS.contains(&name.as_str())) {
                problems.push(Problem::plain(&child(path, name), "required"));
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (place, (given, known)) in given.iter().zip(known).enumerate() {
                compare(&format!("{path}[{place}]"), given, known, problems);
            }
        }
        _ => {}
    }
}

fn choices(path: &str, given: &Value, problems: &mut Vec<Problem>) {
    match given {
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| choices(&child(path, name), value, problems))
        }
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                choices(&format!("{path}[{place}]"), value, problems);
            }
        }
        Value::String(text) => {
            let place: String =
                path.split('[').map(|part| part.split_once(']').map_or(part, |part| part.1)).collect();
            let found = CHOICES.iter().find(|(end, _)| place.ends_with(end));
            if let Some((_, allowed)) = found.filter(|(_, allowed)| !allowed.contains(&text.as_str())) {
                let text = format!("must be one of {}", allowed.join(", "));
                problems.push(Problem::with_value(path, given, text));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Affinity, PodTemplateSpec, Toleration, TopologySpreadConstraint};

    use super::*;

    fn texts<T: Serialize + DeserializeOwned>(value: Value) -> Vec<String> {
        let problems = check::<T>("spec.x", value.as_object().unwrap());
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_kubernetes_would_drop_or_refuse_is_named_with_its_place() {
        let term = |operator: &str| {
            json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "a", "operator": operator }] },
            ] } } })
        };
        assert_eq!(texts::<Affinity>(term("Exists")), [""; 0]);
        assert_eq!(
            texts::<Affinity>(term("exists")),
            [concat!(
                "spec.x.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]",
                ".matchExpressions[0].operator: \"exists\": must be one of In, NotIn, Exists, DoesNotExist, Gt, Lt"
            )]
        );
        assert_eq!(
            texts::<Affinity>(json!({ "podAntiAffinity": { "requiredDuringScheduling": [] } })),
            [
                "spec.x.podAntiAffinity.requiredDuringScheduling: []: is not a field that Kubernetes knows here; remove it"
            ]
        );
        assert_eq!(
            texts::<Toleration>(json!({ "key": "a", "tolerationSeconds": "10" })),
            ["spec.x.tolerationSeconds: \"10\": must be an integer"]
        );
        assert_eq!(
            texts::<TopologySpreadConstraint>(json!({ "maxSkew": 1, "whenUnsatisfiable": "Never" })),
            [
                "spec.x.topologyKey: required",
                "spec.x.whenUnsatisfiable: \"Never\": must be one of DoNotSchedule, ScheduleAnyway"
            ]
        );
    }

    #[test]
    fn of_two_mistyped_places_the_first_is_named_and_not_what_holds_both() {
        let value = json!({ "spec": {
            "hostNetwork": "yes",
            "containers": [{ "name": "a" }, { "name": "b", "env": [{ "name": "A", "value": 1 }] }],
        } });
        assert_eq!(
            texts::<PodTemplateSpec>(value),
            ["spec.x.spec.containers[1].env[0].value: 1: must be text; put it in quotes"]
        );
    }
}
