//! The manifest's tables of configuration keys and the servers agree: what a manifest may set, the server
//! knows and accepts, and every key of the server is in the table.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use manifest::config_keys::{ConfigKey, KeyClass, NAME_SERVER_KEYS, ValueForm};

/// The smallest and the largest value a key may have.
fn extremes(form: ValueForm) -> Vec<String> {
    match form {
        ValueForm::Flag => vec!["true".to_owned(), "false".to_owned()],
        ValueForm::Number(from, to) => vec![from.to_string(), to.to_string()],
        ValueForm::Bytes(from, to) => vec![from.to_string(), to.to_string()],
        ValueForm::Text => vec!["x".to_owned()],
        ValueForm::HoursOfDay => vec!["00".to_owned(), "04;23".to_owned()],
    }
}

/// Every key a manifest may set, with values at the ends of its range.
fn settings(keys: &[ConfigKey]) -> Vec<(String, String)> {
    let form = |class| match class {
        KeyClass::Live(form) | KeyClass::Restart(form) | KeyClass::Immutable(form) => Some(form),
        KeyClass::Forbidden | KeyClass::Field(_) | KeyClass::Unsupported(_) => None,
    };
    let of_key = |key: &ConfigKey| {
        let values = form(key.class).map(extremes).unwrap_or_default();
        values.into_iter().map(|value| (key.name.to_owned(), value)).collect::<Vec<_>>()
    };
    keys.iter().flat_map(of_key).collect()
}

#[test]
fn the_name_server_accepts_what_a_manifest_may_set() {
    for setting in settings(NAME_SERVER_KEYS) {
        let config = namesrv::Config::from_properties(std::slice::from_ref(&setting)).unwrap();
        assert_eq!(config.unknown, [], "{setting:?}");
    }
}

#[test]
fn every_key_of_the_name_server_is_in_the_manifests_table() {
    let config = namesrv::Config::from_properties(&[]).unwrap();
    let known: BTreeSet<String> = config.to_properties().into_iter().map(|(key, _)| key).collect();
    let table: BTreeSet<String> = NAME_SERVER_KEYS.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(known, table);
}
