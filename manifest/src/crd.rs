//! The CustomResourceDefinition: made from the types, brought into the form Kubernetes wants, with the rules added.

use std::sync::LazyLock;

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::cluster::RocketMQCluster;
use crate::defaults::filled;
use crate::parse::to_yaml;
use crate::rules::rules;

/// Where a version's schema stands in a definition.
const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";
/// How many entries a list or map has at most, where its type does not say.
const USUAL_MOST_ENTRIES: i32 = 64;
/// How long a text is at most, where its type does not say.
const USUAL_LONGEST_TEXT: i32 = 1_024;

const HEAD: &str =
    "# Generated from manifest/src/cluster by `make generate`; a test fails when it is stale.\n";

static DEFINITION: LazyLock<Value> = LazyLock::new(|| {
    let mut definition = json!(RocketMQCluster::crd());
    if let Some(schema) = definition.pointer_mut(SCHEMA) {
        tidy(schema);
        // Only what a user writes is completed by the API server.
        if let Some(spec) = schema.pointer_mut("/properties/spec") {
            add_empty_objects(spec);
        }
        strip(schema);
        require_storage(schema);
        rules().iter().for_each(|rule| rule.add_to(schema));
        complete_defaults(schema);
    }
    definition
});

/// Returns the definition of `RocketMQCluster`.
pub fn definition() -> &'static Value {
    &DEFINITION
}

/// Returns the definition as it is committed and applied.
pub fn definition_yaml() -> String {
    format!("{HEAD}{}", to_yaml(definition()))
}

/// Returns a cluster as the API server keeps it: with every default of the schema.
pub fn with_defaults(cluster: &Value) -> Value {
    filled(schema(), cluster)
}

/// Returns the schema of a whole cluster.
pub(crate) fn schema() -> &'static Value {
    DEFINITION.pointer(SCHEMA).unwrap_or(&Value::Null)
}

/// Bounds lists, maps and texts, and takes out what only JSON Schema knows.
fn tidy(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    for unknown in ["title", "$schema"] {
        node.remove(unknown);
    }
    for key in ["minimum", "maximum"] {
        if let Some(whole) = node.get(key).and_then(Value::as_f64).filter(|bound| bound.fract() == 0.0) {
            node.insert(key.to_owned(), json!(whole as i64));
        }
    }
    if let Some(Value::String(text)) = node.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    let kind = node.get("type").and_then(Value::as_str).unwrap_or_default();
    let bound = match kind {
        "array" => Some(("maxItems", USUAL_MOST_ENTRIES)),
        "object" if node.contains_key("additionalProperties") => Some(("maxProperties", USUAL_MOST_ENTRIES)),
        "string" if !node.contains_key("enum") => Some(("maxLength", USUAL_LONGEST_TEXT)),
        _ => None,
    };
    if let Some((key, bound)) = bound {
        node.entry(key).or_insert(bound.into());
    }
    each_child(node, &mut tidy);
}

/// Lets the API server fill in the defaults of objects that were not given, so that rules see them. An object that is
/// optional in the types means something by being there and stays absent.
fn add_empty_objects(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    let given = node.get("properties").is_some() && node.get("nullable") != Some(&Value::Bool(true));
    if node.get("default").is_some_and(Value::is_object) && given {
        node.insert("default".to_owned(), json!({}));
    }
    each_child(node, &mut add_empty_objects);
}

/// Storage has no default that its own rules accept: how much there should be only a user knows.
fn require_storage(schema: &mut Value) {
    let brokers = &mut schema["properties"]["spec"]["properties"]["brokers"];
    brokers["required"] = json!(["storage"]);
    if let Some(storage) = brokers["properties"]["storage"].as_object_mut() {
        storage.remove("default");
    }
}

/// Writes out the defaults of objects that have rules: the API server asks the rules about them as they stand, and
/// not as they are when its own defaults are filled in.
fn complete_defaults(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    each_child(node, &mut complete_defaults);
    if schema.get("x-kubernetes-validations").is_some()
        && let Some(default) = schema.get("default")
    {
        schema["default"] = filled(schema, default);
    }
}

/// Takes out `nullable`: without it the API server reads null as not given, as `gantry up` does.
fn strip(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    node.remove("nullable");
    each_child(node, &mut strip);
}

fn each_child(node: &mut Map<String, Value>, visit: &mut dyn FnMut(&mut Value)) {
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        properties.values_mut().for_each(&mut *visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(key) {
            visit(child);
        }
    }
}
