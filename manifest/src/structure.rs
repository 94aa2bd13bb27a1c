//! The structure of a manifest: unknown, unsupported, missing and mistyped fields, all in one pass.
//!
//! What is refused is also mended (taken out, or filled with a placeholder), so that the rules of
//! `validate.rs` can look at the rest and the user hears of everything at once. A mended document is
//! never used for anything else.

use serde_json::{Map, Value};

use crate::fields::{DOCUMENT, Field, Shape, Status};
use crate::nearest::nearest;
use crate::problem::{Problem, Problems, child};
use crate::units::{DURATION_FORM, QUANTITY_FORM};

/// Finds what is wrong with the document's structure and mends it.
pub(crate) fn check_and_mend(document: &mut Value) -> Problems {
    let mut problems = Problems::default();
    check_value(Shape::Object(DOCUMENT), "", document, &mut problems);
    problems
}

fn check_object(fields: &[Field], path: &str, object: &mut Map<String, Value>, problems: &mut Problems) {
    // As the API server reads it: a field set to null was not given.
    object.retain(|_, value| !value.is_null());
    object.retain(|name, value| {
        let path = child(path, name);
        match fields.iter().find(|field| field.name == name) {
            None => {
                problems.0.push(Problem::with_value(&path, value, unknown_field(fields, name)));
                false
            }
            Some(field) => keep_field(field, &path, value, problems),
        }
    });
    for field in fields {
        if let Status::Required(example) = field.status
            && !object.contains_key(field.name)
        {
            problems
                .0
                .push(Problem::plain(&child(path, field.name), format!("required, for example {example}")));
            object.insert(field.name.to_owned(), placeholder(field.shape));
        }
    }
}

fn keep_field(field: &Field, path: &str, value: &mut Value, problems: &mut Problems) -> bool {
    match field.status {
        Status::Required(_) => {
            check_value(field.shape, path, value, problems);
            true
        }
        Status::Optional => {
            let before = problems.0.len();
            check_value(field.shape, path, value, problems);
            // An object is mended from within; anything else that is wrong falls back to its default.
            problems.0.len() == before || matches!(field.shape, Shape::Object(_) | Shape::TextMap)
        }
        Status::ServerSide => {
            problems.0.push(Problem::with_value(path, value, "filled in by Kubernetes; remove it"));
            false
        }
        Status::Later(why) => {
            refuse_later(field.shape, why, path, value, problems);
            false
        }
    }
}

/// Refuses a known field whose feature does not exist, down to each setting inside it.
fn refuse_later(shape: Shape, why: &str, path: &str, value: &mut Value, problems: &mut Problems) {
    match (shape, value) {
        (Shape::Object(fields), Value::Object(object)) if !object.is_empty() => {
            check_object(fields, path, object, problems);
        }
        (_, value) => {
            problems.0.push(Problem::with_value(path, value, format!("not supported yet: {why}; remove it")));
        }
    }
}

fn check_value(shape: Shape, path: &str, value: &mut Value, problems: &mut Problems) {
    let wrong = match (shape, &mut *value) {
        (Shape::Object(fields), Value::Object(object)) => {
            return check_object(fields, path, object, problems);
        }
        (Shape::TextMap, Value::Object(map)) => return check_text_map(path, map, problems),
        (Shape::Choice(allowed), Value::String(text)) => {
            if allowed.contains(&text.as_str()) {
                return;
            }
            not_a_choice(allowed, text)
        }
        (Shape::Text | Shape::Duration | Shape::Quantity, Value::String(_))
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Unread, _) => return,
        (Shape::Integer, Value::Number(number)) => {
            if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) {
                return;
            }
            "must be an integer of 32 bits".to_owned()
        }
        (shape, value) => wrong_type(shape, value),
    };
    problems.0.push(Problem::with_value(path, value, wrong));
    *value = placeholder(shape);
}

fn check_text_map(path: &str, map: &mut Map<String, Value>, problems: &mut Problems) {
    map.retain(|key, value| {
        let before = problems.0.len();
        check_value(Shape::Text, &child(path, key), value, problems);
        problems.0.len() == before
    });
}

fn unknown_field(fields: &[Field], name: &str) -> String {
    let known =
        fields.iter().filter(|field| !matches!(field.status, Status::ServerSide)).map(|field| field.name);
    let guess = nearest(name, known).map(|guess| format!(", did you mean {guess}?")).unwrap_or_default();
    let allowed: Vec<&str> = fields
        .iter()
        .filter(|field| matches!(field.status, Status::Required(_) | Status::Optional))
        .map(|field| field.name)
        .collect();
    if allowed.is_empty() {
        return format!("unknown field{guess}");
    }
    let separator = if guess.is_empty() { ";" } else { "" };
    format!("unknown field{guess}{separator} allowed are {}", allowed.join(", "))
}

fn not_a_choice(allowed: &[&'static str], text: &str) -> String {
    let guess = nearest(text, allowed.iter().copied()).map(|guess| format!("; did you mean {guess}?"));
    format!("must be one of {}{}", allowed.join(", "), guess.unwrap_or_default())
}

fn wrong_type(shape: Shape, value: &Value) -> String {
    let expected = match shape {
        Shape::Text => "text",
        Shape::Bool => "true or false",
        Shape::Integer => "an integer",
        Shape::Choice(allowed) => return format!("must be one of {}", allowed.join(", ")),
        Shape::Duration => return DURATION_FORM.to_owned(),
        Shape::Quantity => return QUANTITY_FORM.to_owned(),
        Shape::TextMap => "a map of text to text",
        Shape::Object(_) => "a map of fields",
        Shape::Unread => "anything",
    };
    let remedy = match (shape, value) {
        (Shape::Text, Value::Number(_) | Value::Bool(_)) => "; put it in quotes",
        (Shape::Integer, Value::String(text)) if text.parse::<i32>().is_ok() => "; remove the quotes",
        (Shape::Bool, Value::String(text)) if text == "true" || text == "false" => "; remove the quotes",
        _ => "",
    };
    format!("must be {expected}{remedy}")
}

fn placeholder(shape: Shape) -> Value {
    match shape {
        Shape::Text | Shape::Duration | Shape::Quantity | Shape::Unread => Value::from(""),
        Shape::Bool => Value::from(false),
        Shape::Integer => Value::from(0),
        Shape::Choice(allowed) => Value::from(allowed[0]),
        Shape::TextMap => Value::Object(Map::new()),
        // With its own required fields, so that the mended document can be read.
        Shape::Object(fields) => {
            let required = fields.iter().filter(|field| matches!(field.status, Status::Required(_)));
            Value::Object(required.map(|field| (field.name.to_owned(), placeholder(field.shape))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::RocketMQCluster;

    /// The smallest good document, with one more field at a path.
    fn document_with(path: &[&str], value: Value) -> Value {
        let mut document = serde_json::json!({
            "apiVersion": "gantry.rs/v1alpha1", "kind": "RocketMQCluster", "metadata": { "name": "dev" },
            "spec": { "version": "0.1.0", "brokers": { "storage": { "size": "1Gi" } } },
        });
        let mut place = &mut document;
        for name in path {
            let object = place.as_object_mut().unwrap();
            place = object.entry(*name).or_insert_with(|| Value::Object(Map::new()));
        }
        *place = value;
        document
    }

    /// Calls `visit` with the path of every field that holds no other fields.
    fn each_leaf(fields: &'static [Field], path: &[&'static str], visit: &mut impl FnMut(&[&str], &Field)) {
        for field in fields {
            let path = [path, &[field.name]].concat();
            match field.shape {
                Shape::Object(fields) => each_leaf(fields, &path, visit),
                _ => visit(&path, field),
            }
        }
    }

    #[test]
    fn every_field_of_a_feature_to_come_is_refused_by_its_own_path() {
        let mut count = 0;
        each_leaf(DOCUMENT, &[], &mut |path, field| {
            let Status::Later(why) = field.status else { return };
            let problems = check_and_mend(&mut document_with(path, Value::from("x")));
            let expected = format!("{}: \"x\": not supported yet: {why}; remove it", path.join("."));
            assert_eq!(problems.to_string(), expected);
            count += 1;
        });
        assert!(count > 80, "{count}");
    }

    #[test]
    fn the_table_of_fields_and_the_types_know_the_same_fields() {
        let sample = |field: &Field| match field.shape {
            Shape::Bool => Value::from(true),
            Shape::Integer => Value::from(1),
            Shape::Choice(allowed) => Value::from(allowed[allowed.len() - 1]),
            Shape::TextMap => serde_json::json!({ "key": "value" }),
            _ => Value::from("sample"),
        };
        each_leaf(DOCUMENT, &[], &mut |path, field| {
            if !matches!(field.status, Status::Required(_) | Status::Optional) {
                return;
            }
            let mut document = document_with(path, sample(field));
            assert_eq!(check_and_mend(&mut document), Problems::default(), "{path:?}");
            let read: RocketMQCluster = serde_json::from_value(document).unwrap();
            let written = serde_json::to_value(read).unwrap();
            let at_path = path.iter().fold(&written, |value, name| &value[name]);
            assert_eq!(*at_path, sample(field), "{path:?} is lost");
        });
    }

    #[test]
    fn whatever_is_mended_can_be_read() {
        let wrong = [
            Value::from(1.5),
            Value::from("x"),
            Value::from(true),
            serde_json::json!([1]),
            serde_json::json!({}),
        ];
        each_leaf(DOCUMENT, &[], &mut |path, _| {
            // Also everything on the way to the leaf.
            for depth in 1..=path.len() {
                for value in &wrong {
                    let mut document = document_with(&path[..depth], value.clone());
                    check_and_mend(&mut document);
                    serde_json::from_value::<RocketMQCluster>(document).unwrap();
                }
            }
        });
    }
}
