//! YAML text to one cluster, read as kubectl reads it: into JSON's data model, strictly.

use serde_json::{Map, Value, json};

use crate::cluster::RocketMQCluster;
use crate::problem::{Problem, Problems};
use crate::structure;
use crate::validate::{Validated, validate};

/// The API version of the manifests understood here.
pub const API_VERSION: &str = "gantry.rs/v1alpha1";

/// The kind of the manifests understood here.
pub const KIND: &str = "RocketMQCluster";

/// Reads a manifest file: YAML (or JSON) with exactly one `RocketMQCluster`, and checks everything that
/// can be checked without looking at a running system.
///
/// # Errors
/// All problems of the manifest, ordered by field; the user has to mend them.
pub fn load(text: &str) -> Result<Validated, Problems> {
    let document = only_document(text)?;
    check_kind(&document)?;
    validate_document(document)
}

/// Reads a cluster as an API server returns it, and checks the same. What only the server writes is left aside.
///
/// # Errors
/// All problems of the manifest, ordered by field. It is never more than refused, whatever it holds.
pub fn read(object: &Value) -> Result<Validated, Problems> {
    let metadata =
        ["name", "namespace", "labels", "annotations"].map(|field| (field, &object["metadata"][field]));
    validate_document(json!({
        "apiVersion": API_VERSION, "kind": KIND, "metadata": Map::from_iter(
            metadata.into_iter().map(|(field, value)| (field.to_owned(), value.clone())),
        ),
        "spec": object["spec"],
    }))
}

/// Reads of a cluster that is being deleted only what its end needs, so that no mistake in the rest keeps it.
///
/// # Errors
/// Its name or `spec.deletion` cannot be read; a person has to mend them.
pub fn read_for_deletion(object: &Value) -> Result<Validated, Problems> {
    let storage = json!({ "storage": { "type": "EmptyDir" } });
    read(&json!({
        "metadata": object["metadata"],
        "spec": { "version": "0.0.0", "brokers": storage, "deletion": object["spec"]["deletion"] },
    }))
}

fn validate_document(mut document: Value) -> Result<Validated, Problems> {
    let mut problems = structure::check_and_mend(&mut document);
    let cluster: RocketMQCluster = match serde_json::from_value(document) {
        Ok(cluster) => cluster,
        Err(error) => {
            problems.0.push(Problem::plain("", format!("read the manifest: {error}")));
            return Err(problems.sorted());
        }
    };
    match validate(cluster) {
        Ok(validated) if problems.0.is_empty() => Ok(validated),
        Ok(_) => Err(problems.sorted()),
        Err(more) => {
            problems.add_unrelated(more);
            Err(problems.sorted())
        }
    }
}

/// Writes plain data as YAML.
pub fn to_yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("plain data always has a YAML text")
}

fn only_document(text: &str) -> Result<Value, Problems> {
    let options = serde_saphyr::options! {
        // YAML 1.1, as kubectl: 0777 is octal, yes and on are booleans, a key given twice is an error.
        legacy_octal_numbers: true,
        strict_booleans: false,
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| whole(format!("read YAML: {}", one_line(&error))))?;
    let mut documents: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
    match documents.len() {
        0 => Err(whole(format!("the file holds no manifest; expected one {KIND} of {API_VERSION}"))),
        1 => Ok(documents.remove(0)),
        _ => {
            let kinds: Vec<String> = documents.iter().map(kind_of).collect();
            Err(whole(format!(
                "the file holds {} documents ({}); expected exactly one {KIND} of {API_VERSION}",
                kinds.len(),
                kinds.join(", ")
            )))
        }
    }
}

fn check_kind(document: &Value) -> Result<(), Problems> {
    let Some(object) = document.as_object() else {
        return Err(whole(format!("the file holds no map of fields; expected one {KIND} of {API_VERSION}")));
    };
    // Of another kind nothing else could be said; when both are missing, the structure says so.
    let mut problems = Problems::default();
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        if let Some(value) = object.get(field).filter(|value| !value.is_null() && *value != expected) {
            problems.0.push(Problem::with_value(field, value, format!("must be {expected}")));
        }
    }
    if problems.0.is_empty() { Ok(()) } else { Err(problems) }
}

fn kind_of(document: &Value) -> String {
    document.get("kind").and_then(Value::as_str).unwrap_or("no kind").to_owned()
}

fn one_line(error: &serde_saphyr::Error) -> String {
    error.render_with_options(serde_saphyr::render_options! {
        formatter: &serde_saphyr::UserMessageFormatter,
        snippets: serde_saphyr::SnippetMode::Off,
    })
}

fn whole(text: String) -> Problems {
    Problems(vec![Problem::plain("", text)])
}
