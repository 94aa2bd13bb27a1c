//! What a change of a field does to a cluster that runs. The word stands in the field's description, or in that of the
//! object around it, so that the manual, `kubectl explain` and `gantry plan` say the same; a test of the planner checks
//! each against what it really changes.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::config_keys::{BROKER_KEYS, ConfigKey, KeyClass, NAME_SERVER_KEYS};
use crate::crd;

/// What a change of a field does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Running members take it over, or only objects beside them change.
    Live,
    /// Members restart one by one.
    Restart,
    /// A longer operation in steps.
    Staged,
    /// It is refused.
    Fixed,
    /// It only steers the operator.
    Operator,
}

impl Mark {
    pub(crate) const ALL: [Mark; 5] = [Mark::Live, Mark::Restart, Mark::Staged, Mark::Fixed, Mark::Operator];

    /// Returns the word that stands in descriptions; elsewhere it is written small.
    pub fn as_str(self) -> &'static str {
        match self {
            Mark::Live => "Live",
            Mark::Restart => "Restart",
            Mark::Staged => "Staged",
            Mark::Fixed => "Fixed",
            Mark::Operator => "Operator",
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.as_str().to_lowercase())
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A field of the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Such as `spec.listeners[].port`.
    pub path: String,
    pub mark: Mark,
    /// Its part of the definition: description, type, default, bounds.
    pub schema: &'static Value,
}

/// Returns every field that holds no other fields, in the order of their paths.
pub fn fields() -> Vec<Field> {
    let mut fields = Vec::new();
    collect("spec".to_owned(), spec(), None, &mut fields);
    fields
}

/// Returns the mark of a field by its path, such as `spec.brokers.groups`; entries of lists are `[]` or `[name]`, keys of
/// the `config` maps stand behind a dot. `None`: there is no such field, or it only holds others.
pub fn mark_of(path: &str) -> Option<Mark> {
    let mut schema = spec();
    let mut mark = None;
    let mut rest = path.strip_prefix("spec.")?;
    loop {
        let (part, further) = rest.split_once('.').unwrap_or((rest, ""));
        let (name, entry) = part.split_once('[').map_or((part, false), |(name, _)| (name, true));
        schema = schema.get("properties")?.get(name)?;
        mark = said(schema).or(mark);
        // The rest is one key of a map, dots and all.
        if schema.get("additionalProperties").is_some() {
            let map = &path[..path.len() - further.len()];
            return by_key(map.trim_end_matches('.'), further).or(mark);
        }
        if entry {
            schema = schema.get("items")?;
        }
        if further.is_empty() {
            let only_holds = !entry && schema.get("properties").is_some() && said(schema).is_none();
            return if only_holds { None } else { mark };
        }
        rest = further;
    }
}

/// Returns the mark of a key of a `config` map.
fn by_key(map: &str, key: &str) -> Option<Mark> {
    let keys: &[ConfigKey] = match map {
        "spec.brokers.config" => BROKER_KEYS,
        "spec.nameServers.config" => NAME_SERVER_KEYS,
        _ => return None,
    };
    match keys.iter().find(|known| known.name == key)?.class {
        // Name servers read their settings at a start.
        KeyClass::Live(_) if map == "spec.nameServers.config" => Some(Mark::Restart),
        KeyClass::Live(_) => Some(Mark::Live),
        KeyClass::Restart(_) => Some(Mark::Restart),
        KeyClass::Immutable(_) => Some(Mark::Fixed),
        KeyClass::Forbidden | KeyClass::Field(_) | KeyClass::Unsupported(_) => None,
    }
}

fn collect(path: String, schema: &'static Value, mark: Option<Mark>, fields: &mut Vec<Field>) {
    let mark = said(schema).or(mark);
    let entries = schema.get("items").filter(|items| items.get("properties").is_some());
    match (schema.get("properties").and_then(Value::as_object), entries) {
        (Some(properties), _) => {
            for (name, child) in properties {
                collect(format!("{path}.{name}"), child, mark, fields);
            }
        }
        (None, Some(entries)) => collect(format!("{path}[]"), entries, mark, fields),
        // Without a mark it is forgotten; a test says so.
        (None, None) => fields.extend(mark.map(|mark| Field { path, mark, schema })),
    }
}

/// Returns the mark in a description: the word with which its last sentence that has one begins.
fn said(schema: &Value) -> Option<Mark> {
    let sentences = schema.get("description")?.as_str()?.split(". ");
    let begins = |sentence: &str, mark: Mark| {
        let rest = sentence.strip_prefix(mark.as_str());
        rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    sentences.filter_map(|sentence| Mark::ALL.into_iter().find(|mark| begins(sentence, *mark))).last()
}

fn spec() -> &'static Value {
    &crd::schema()["properties"]["spec"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_mark() {
        let mut leaves = Vec::new();
        count(spec(), &mut leaves);
        assert_eq!(fields().len(), leaves.len());
        assert!(leaves.len() > 150);
    }

    fn count<'a>(schema: &'a Value, leaves: &mut Vec<&'a Value>) {
        let entries = schema.get("items").filter(|items| items.get("properties").is_some());
        match schema["properties"].as_object().or(entries.and_then(|items| items["properties"].as_object())) {
            Some(properties) => properties.values().for_each(|child| count(child, leaves)),
            None => leaves.push(schema),
        }
    }

    #[test]
    fn marks_are_found_by_path() {
        let cases = [
            ("spec.brokers.groups", Some(Mark::Staged)),
            ("spec.brokers.replication.mode", Some(Mark::Live)),
            ("spec.brokers.storage.size", Some(Mark::Staged)),
            ("spec.brokers.storage.type", Some(Mark::Fixed)),
            ("spec.brokers.scheduling.antiAffinity", Some(Mark::Restart)),
            ("spec.brokers.resources.requests.cpu", Some(Mark::Restart)),
            ("spec.brokers.config.maxMessageSize", Some(Mark::Restart)),
            ("spec.brokers.config.slaveTimeout", Some(Mark::Live)),
            ("spec.brokers.config.mappedFileSizeCommitLog", Some(Mark::Fixed)),
            ("spec.nameServers.config.orderMessageEnable", Some(Mark::Restart)),
            ("spec.listeners[external].name", Some(Mark::Restart)),
            ("spec.listeners[external].nodePort.base", Some(Mark::Live)),
            ("spec.listeners[]", Some(Mark::Restart)),
            ("spec.paused", Some(Mark::Operator)),
            ("spec.listeners[external].nodePort", None),
            ("spec.brokers", None),
            ("spec.nothing", None),
        ];
        for (path, expected) in cases {
            assert_eq!(mark_of(path), expected, "{path}");
        }
    }
}
