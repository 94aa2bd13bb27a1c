//! Defaults by the schema, as the API server fills them in.

use serde_json::Value;

/// Fills in every default of the schema that is not given.
pub(crate) fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = field.get("default") {
                    object.entry(name.as_str()).or_insert_with(|| default.clone());
                }
                if let Some(value) = object.get_mut(name) {
                    fill(field, value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|entry| fill(&schema["items"], entry)),
        _ => {}
    }
}

/// Returns the value with its defaults filled in.
pub(crate) fn filled(schema: &Value, value: &Value) -> Value {
    let mut value = value.clone();
    fill(schema, &mut value);
    value
}
