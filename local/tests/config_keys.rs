//! The manifest's tables of configuration keys and the servers agree: what a manifest may set, the server
//! knows and accepts, and every key of the server is in the table.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use local::placement::{Placement, of_new_cluster};
use manifest::Role;
use manifest::config_keys::{BROKER_KEYS, ConfigKey, KeyClass, NAME_SERVER_KEYS, ValueForm};

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

#[test]
fn the_broker_accepts_what_a_manifest_may_set() {
    for setting in settings(BROKER_KEYS) {
        let mut settings = vec![setting];
        // The rules between two keys: a segment holds the largest message, and silence lasts longer than a
        // heartbeat takes.
        let partner = match settings[0].0.as_str() {
            "mappedFileSizeCommitLog" => Some(("maxMessageSize", "1KiB")),
            "haSendHeartbeatInterval" => Some(("haHousekeepingInterval", "3600000")),
            "haHousekeepingInterval" => Some(("haSendHeartbeatInterval", "10")),
            _ => None,
        };
        settings.extend(partner.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let config = broker::Config::from_properties(&settings).unwrap();
        assert_eq!(config.unknown, [], "{settings:?}");
    }
}

/// Every member's own properties are settings that its server knows.
#[test]
fn the_servers_know_every_setting_of_their_members() {
    let manifest = manifest::load(include_str!("../../deploy/2m-2s-sync.yaml")).unwrap();
    for placement in of_new_cluster(&manifest, Path::new("/data"), 0).unwrap() {
        let settings = all_settings(&placement);
        let unknown = match placement.role {
            Role::NameServer => namesrv::Config::from_properties(&settings).unwrap().unknown,
            Role::Broker => broker::Config::from_properties(&settings).unwrap().unknown,
        };
        assert_eq!(unknown, [], "{}", placement.name);
    }
}

fn all_settings(placement: &Placement) -> Vec<(String, String)> {
    let mut live = placement.live.clone().unwrap_or_default();
    // It numbers the settings and is none.
    assert_eq!(live.remove("configRevision").is_some(), placement.role == Role::Broker);
    placement.properties.clone().into_iter().chain(live).collect()
}

/// The ends of every range of the manifest are settings the broker accepts.
#[test]
fn the_broker_accepts_the_extremes_of_the_manifest() {
    let text = include_str!("../../deploy/2m-2s-sync.yaml");
    for (storage, flush, replicas, replication) in [
        (
            "diskFullPercent: 50, fileReservedTime: 1h",
            "interval: 1ms",
            2,
            "requiredAcks: 2, maxSlaveLag: 1s, catchUpBytesPerSecond: 64Ki",
        ),
        (
            "diskFullPercent: 94, fileReservedTime: 87600h",
            "interval: 60s",
            5,
            "requiredAcks: 5, maxSlaveLag: 1h, catchUpBytesPerSecond: 64Gi",
        ),
    ] {
        let text = text
            .replace("size: 100Gi", &format!("size: 100Gi, {storage}"))
            .replace("flush: { mode: Async", &format!("flush: {{ mode: Async, {flush}"))
            .replace("replicasPerGroup: 2", &format!("replicasPerGroup: {replicas}"))
            .replace("requiredAcks: 2", replication);
        let manifest = manifest::load(&text).unwrap();
        for placement in of_new_cluster(&manifest, Path::new("/data"), 0).unwrap() {
            if placement.role == Role::Broker {
                broker::Config::from_properties(&all_settings(&placement)).unwrap();
            }
        }
    }
}
