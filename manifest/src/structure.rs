//! The structure of a manifest by the schema of its types: unknown, missing and mistyped fields, values out of range,
//! all in one pass.
//!
//! What is refused is also mended (taken out, or filled with a placeholder), so that the rules of `validate.rs` can
//! look at the rest and the user hears of everything at once. A mended document is never used for anything else.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::cluster::schema::{DURATION_PATTERN, QUANTITY_PATTERN};
use crate::crd;
use crate::nearest::nearest;
use crate::problem::{Problem, Problems, child};
use crate::support::{self, RESERVED};
use crate::units::{DURATION_FORM, QUANTITY_FORM, parse_duration, parse_quantity};

/// Fields that Kubernetes fills in.
const SERVER_SIDE: &[&str] = &[
    "metadata.creationTimestamp",
    "metadata.deletionGracePeriodSeconds",
    "metadata.deletionTimestamp",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.selfLink",
    "metadata.uid",
    "status",
];

/// What required fields look like.
const EXAMPLES: &[(&str, &str)] = &[
    ("apiVersion", "gantry.rs/v1alpha1"),
    ("kind", "RocketMQCluster"),
    ("metadata", "{ name: dev }"),
    ("metadata.name", "dev"),
    ("spec", "{ version: \"0.1.0\", brokers: { storage: { size: 10Gi } } }"),
    ("spec.brokers", "{ groups: 1, storage: { size: 10Gi } }"),
    ("spec.brokers.storage", "{ size: 10Gi }"),
    ("spec.version", "\"0.1.0\""),
];

/// What texts of a form look like, by the pattern in the schema.
const FORMS: &[(&str, &str)] = &[
    ("^(Any|[0-4])$", "must be Any, or the ordinal of a member from 0 to 4 in quotes"),
    ("^[a-z][a-z0-9]{0,11}$", "must be a lower-case letter and up to 11 lower-case letters and digits"),
];

/// The document: the spec of the definition, and around it what kubectl takes.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = json!({ "type": "string" });
    let texts = json!({ "type": "object", "additionalProperties": text, "maxProperties": 64 });
    let metadata = json!({
        "type": "object", "required": ["name"],
        "properties": { "name": text, "namespace": text, "labels": texts, "annotations": texts },
    });
    json!({
        "type": "object", "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": { "apiVersion": text, "kind": text, "metadata": metadata, "spec": spec_schema() },
    })
});

/// Finds what is wrong with a document and mends it.
pub(crate) fn check_and_mend(document: &mut Value) -> Problems {
    let mut problems = Problems::default();
    check_value(&DOCUMENT, "", document, &mut problems);
    problems
}

/// Finds what is wrong with a spec alone.
pub(crate) fn check_spec(mut spec: Value) -> Problems {
    let mut problems = Problems::default();
    check_value(spec_schema(), "spec", &mut spec, &mut problems);
    problems
}

fn spec_schema() -> &'static Value {
    &crd::schema()["properties"]["spec"]
}

/// Checks a value; what is wrong with itself makes it a placeholder, what is wrong inside is mended inside.
fn check_value(schema: &Value, path: &str, value: &mut Value, problems: &mut Problems) {
    let wrong = match (kind(schema), &mut *value) {
        ("object", Value::Object(object)) => return check_object(schema, path, object, problems),
        ("array", Value::Array(list)) => return check_list(schema, path, list, problems),
        ("string", Value::String(text)) => check_text(schema, text),
        ("integer", Value::Number(_)) => check_integer(schema, value),
        ("boolean", Value::Bool(_)) => None,
        _ => Some(wrong_type(schema, value)),
    };
    if let Some(wrong) = wrong {
        problems.0.push(Problem::with_value(path, value, wrong));
        *value = placeholder(schema);
    }
}

fn check_object(schema: &Value, path: &str, object: &mut Map<String, Value>, problems: &mut Problems) {
    // As the API server reads it: a field set to null was not given.
    object.retain(|_, value| !value.is_null());
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    if let Some(entries) = schema.get("additionalProperties") {
        return check_map(schema, entries, path, object, problems);
    }
    let fields = &schema["properties"];
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    object.retain(|name, value| {
        let path = child(path, name);
        let Some(field) = fields.get(name) else {
            problems.0.push(Problem::with_value(&path, value, unknown_field(fields, &path, name)));
            return false;
        };
        let before = problems.0.len();
        check_value(field, &path, value, problems);
        // What is wrong itself falls back to its default; an object is mended from within.
        problems.0.len() == before
            || required.contains(&name.as_str())
            || value.is_object()
            || value.is_array()
    });
    for name in required {
        if !object.contains_key(name) {
            let path = child(path, name);
            let text = match (EXAMPLES.iter().find(|(known, _)| *known == path), choices(&fields[name])) {
                (Some((_, example)), _) => format!("required, for example {example}"),
                (None, Some(choices)) => format!("required, one of {}", choices.join(", ")),
                (None, None) => "required".to_owned(),
            };
            problems.0.push(Problem::plain(&path, text));
            object.insert(name.to_owned(), placeholder(&fields[name]));
        }
    }
}

fn check_map(
    schema: &Value,
    entries: &Value,
    path: &str,
    map: &mut Map<String, Value>,
    problems: &mut Problems,
) {
    check_count(&schema["maxProperties"], path, map.len(), problems);
    map.retain(|key, value| {
        let before = problems.0.len();
        check_value(entries, &child(path, key), value, problems);
        problems.0.len() == before
    });
}

fn check_list(schema: &Value, path: &str, list: &mut [Value], problems: &mut Problems) {
    check_count(&schema["maxItems"], path, list.len(), problems);
    for (index, value) in list.iter_mut().enumerate() {
        check_value(&schema["items"], &format!("{path}[{index}]"), value, problems);
    }
    let keys = &schema["x-kubernetes-list-map-keys"];
    let identity = |value: &Value| match keys.as_array() {
        Some(keys) => {
            json!(keys.iter().map(|key| &value[key.as_str().unwrap_or_default()]).collect::<Vec<_>>())
        }
        None => value.clone(),
    };
    if schema.get("x-kubernetes-list-type").is_some() {
        for (index, value) in list.iter().enumerate() {
            if list[..index].iter().any(|earlier| identity(earlier) == identity(value)) {
                let what = keys.as_array().map_or("value".to_owned(), |keys| words(keys));
                let text = format!("stands twice in the list; its {what} must be unique");
                problems.0.push(Problem::with_value(&format!("{path}[{index}]"), value, text));
            }
        }
    }
}

fn check_count(most: &Value, path: &str, count: usize, problems: &mut Problems) {
    if let Some(most) = most.as_u64().filter(|most| count as u64 > *most) {
        problems.0.push(Problem::plain(path, format!("has {count} entries, at most {most} are allowed")));
    }
}

fn check_text(schema: &Value, text: &str) -> Option<String> {
    if let Some(allowed) = choices(schema) {
        return (!allowed.contains(&text)).then(|| not_a_choice(&allowed, text));
    }
    match schema["pattern"].as_str() {
        Some(DURATION_PATTERN) => return parse_duration(text).is_none().then(|| DURATION_FORM.to_owned()),
        Some(QUANTITY_PATTERN) => return parse_quantity(text).is_none().then(|| QUANTITY_FORM.to_owned()),
        _ => {}
    }
    let length = text.chars().count() as u64;
    let (least, most) = (schema["minLength"].as_u64().unwrap_or(0), schema["maxLength"].as_u64());
    if let Some(most) = most
        && !(least..=most).contains(&length)
    {
        return Some(if least > 0 {
            format!("must have {least} to {most} characters")
        } else {
            format!("must have at most {most} characters")
        });
    }
    let (_, form) = FORMS.iter().find(|(pattern, _)| schema["pattern"] == *pattern)?;
    (!is_of_form(schema["pattern"].as_str()?, text)).then(|| (*form).to_owned())
}

/// The few patterns of [`FORMS`], without an engine for all.
fn is_of_form(pattern: &str, text: &str) -> bool {
    match pattern {
        "^(Any|[0-4])$" => ["Any", "0", "1", "2", "3", "4"].contains(&text),
        "^[a-z][a-z0-9]{0,11}$" => {
            text.starts_with(|first: char| first.is_ascii_lowercase())
                && text.len() <= 12
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        }
        _ => true,
    }
}

fn check_integer(schema: &Value, value: &Value) -> Option<String> {
    let Some(number) = value.as_i64().and_then(|number| i32::try_from(number).ok()) else {
        return Some("must be an integer of 32 bits".to_owned());
    };
    let bound = |key: &str| schema[key].as_i64();
    let (least, most) = (bound("minimum")?, bound("maximum")?);
    (!(least..=most).contains(&i64::from(number))).then(|| format!("must be between {least} and {most}"))
}

fn unknown_field(fields: &Value, path: &str, name: &str) -> String {
    if SERVER_SIDE.contains(&path) {
        return "filled in by Kubernetes; remove it".to_owned();
    }
    if let Some((_, why)) = RESERVED.iter().find(|(known, _)| *known == path) {
        return format!("not supported yet: {why}; remove it");
    }
    let known = fields.as_object().map(Map::keys).into_iter().flatten().map(String::as_str);
    if let Some(guess) = nearest(name, known.clone()) {
        return format!("unknown field, did you mean {guess}?");
    }
    let parent = path.strip_suffix(name).unwrap_or(path);
    let allowed: Vec<&str> = known.filter(|name| !support::is_later(&format!("{parent}{name}"))).collect();
    format!("unknown field; allowed are {}", allowed.join(", "))
}

fn not_a_choice(allowed: &[&str], text: &str) -> String {
    let guess = nearest(text, allowed.iter().copied()).map(|guess| format!("; did you mean {guess}?"));
    format!("must be one of {}{}", allowed.join(", "), guess.unwrap_or_default())
}

fn wrong_type(schema: &Value, value: &Value) -> String {
    let kind = kind(schema);
    if let Some(allowed) = choices(schema) {
        return format!("must be one of {}", allowed.join(", "));
    }
    let expected = match (kind, schema["pattern"].as_str()) {
        (_, Some(DURATION_PATTERN)) => return DURATION_FORM.to_owned(),
        (_, Some(QUANTITY_PATTERN)) => return QUANTITY_FORM.to_owned(),
        ("string", _) => "text",
        ("boolean", _) => "true or false",
        ("integer", _) => "an integer",
        ("array", _) => "a list",
        _ if schema.get("additionalProperties").is_some() => "a map of text to text",
        _ => "a map of fields",
    };
    let remedy = match (kind, value) {
        ("string", Value::Number(_) | Value::Bool(_)) => "; put it in quotes",
        ("integer", Value::String(text)) if text.parse::<i32>().is_ok() => "; remove the quotes",
        ("boolean", Value::String(text)) if text == "true" || text == "false" => "; remove the quotes",
        _ => "",
    };
    format!("must be {expected}{remedy}")
}

/// A value that can be read, for a field that is required or stands in a list.
fn placeholder(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    match kind(schema) {
        "string" => schema["enum"].get(0).cloned().unwrap_or_else(|| Value::from("")),
        "integer" => json!(schema["minimum"].as_i64().unwrap_or(0)),
        "boolean" => json!(false),
        "array" => json!([]),
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let fields = required.map(|name| (name.to_owned(), placeholder(&schema["properties"][name])));
            Value::Object(fields.collect())
        }
    }
}

fn kind(schema: &Value) -> &str {
    schema["type"].as_str().unwrap_or_default()
}

fn choices(schema: &Value) -> Option<Vec<&str>> {
    Some(schema.get("enum")?.as_array()?.iter().filter_map(Value::as_str).collect())
}

fn words(texts: &[Value]) -> String {
    texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::RocketMQCluster;

    /// The smallest good document, with one more field at a path.
    fn document_with(path: &[&str], value: Value) -> Value {
        let mut document = json!({
            "apiVersion": "gantry.rs/v1alpha1", "kind": "RocketMQCluster", "metadata": { "name": "dev" },
            "spec": { "version": "0.1.0", "brokers": { "storage": { "size": "1Gi" } } },
        });
        let mut place = &mut document;
        for name in path {
            let object = place.as_object_mut().unwrap();
            place = object.entry(*name).or_insert_with(|| placeholder(&json!({ "type": "object" })));
        }
        *place = value;
        document
    }

    /// Calls `visit` with the path of every field outside lists that holds no other fields.
    fn each_leaf<'a>(schema: &'a Value, path: &[&'a str], visit: &mut impl FnMut(&[&str], &Value)) {
        let Some(fields) = schema["properties"].as_object() else { return visit(path, schema) };
        for (name, field) in fields {
            each_leaf(field, &[path, &[name.as_str()]].concat(), visit);
        }
    }

    #[test]
    fn every_field_says_what_it_is_and_what_a_change_of_it_does() {
        let marks = ["Live", "Restart", "Staged", "Fixed", "Operator"];
        let mut count = 0;
        each_leaf(spec_schema(), &["spec"], &mut |path, schema| {
            let text = schema["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{path:?} has no description");
            // Of these the object as a whole says it.
            let wholes = [
                "autoscaling",
                "commitLog",
                "issuer",
                "overrides",
                "resources",
                "scheduling",
                "superUserSecretRef",
            ];
            let by_whole = wholes.iter().any(|whole| path.contains(whole));
            assert!(
                by_whole || marks.iter().any(|mark| text.contains(mark)),
                "{path:?} does not say what a change does: {text}"
            );
            count += 1;
        });
        assert!(count > 150, "{count}");
    }

    #[test]
    fn whatever_is_mended_can_be_read() {
        let wrong = [json!(1.5), json!("x"), json!(true), json!([1]), json!([{}]), json!({}), json!(-7)];
        each_leaf(&DOCUMENT, &[], &mut |path, _| {
            // Also everything on the way to the leaf.
            for depth in 1..=path.len() {
                for value in &wrong {
                    let mut document = document_with(&path[..depth], value.clone());
                    check_and_mend(&mut document);
                    if let Err(error) = serde_json::from_value::<RocketMQCluster>(document) {
                        panic!("{path:?} {value}: {error}");
                    }
                }
            }
        });
    }

    #[test]
    fn every_default_is_a_good_value_and_the_one_the_types_have() {
        let spec = json!({ "version": "0.1.0", "brokers": { "storage": { "size": "1Gi" } } });
        let mut filled = spec.clone();
        crate::defaults::fill(spec_schema(), &mut filled);
        assert_eq!(check_spec(filled.clone()), Problems::default());
        let from_types: crate::cluster::ClusterSpec = serde_json::from_value(spec).unwrap();
        let from_schema: crate::cluster::ClusterSpec = serde_json::from_value(filled).unwrap();
        assert_eq!(from_types, from_schema);
    }
}
