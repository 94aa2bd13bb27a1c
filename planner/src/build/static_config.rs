//! Settings that hold from a member's start: an immutable ConfigMap with one file per pod, named after its content.
//!
//! It has files for as many pods as there may ever be, so that scaling changes nothing.

use std::collections::BTreeMap;

use manifest::cluster::LogFormat;
use manifest::units::parse_duration;
use serde_json::json;

use super::live_config::is_live;
use super::object;
use crate::desired::{Desired, HEALTH};
use crate::hash::hash8;
use crate::labels::Part;
use crate::names::INTERNAL;
use crate::object::{Kind, Object};

const MOST_MEMBERS: u32 = 5;
const MOST_NAME_SERVERS: u32 = 9;
/// Where the internal secret is mounted.
pub(super) const INTERNAL_FOLDER: &str = "/etc/gantry/internal";

/// Returns the settings of all name servers. They have no live ones: they restart one by one, which nobody notices.
pub(crate) fn name_servers(desired: &Desired) -> Object {
    let others: Vec<String> = desired
        .listeners()
        .filter(|(listener, _)| listener.name != INTERNAL)
        .map(|(listener, port)| format!("{}={port}", listener.name))
        .collect();
    let warm_up = parse_duration(&desired.spec().name_servers.warm_up).unwrap_or_default();
    let files = (0..MOST_NAME_SERVERS).map(|ordinal| {
        let mut settings = manifest::name_server(&desired.effective, ordinal).config;
        settings.extend(logging(desired));
        put(&mut settings, "bindAddress", "0.0.0.0");
        put(&mut settings, "healthPort", HEALTH);
        put(&mut settings, "kvConfigPath", "/data/kvConfig.json");
        put(&mut settings, "listenPort", desired.name_server_port());
        put(&mut settings, "logLevel", desired.spec().logging.level.as_str());
        put(&mut settings, "warmUpMillis", warm_up.as_millis());
        if !others.is_empty() {
            put(&mut settings, "listenerPorts", others.join(","));
        }
        (file_name(&desired.names.name_server(ordinal)), properties(&settings))
    });
    config_map(desired, Part::NameServers, &desired.names.name_servers(), files.collect())
}

/// Returns the settings of a group's brokers that are not live.
pub(crate) fn group(desired: &Desired, group: u32) -> Object {
    let broker_name = manifest::group_name(desired.validated, group);
    let ports = desired.ports(group);
    let names = &desired.names;
    let master = names.pod_host(&names.broker(group, 0), &names.brokers_headless());
    let files = (0..MOST_MEMBERS).map(|ordinal| {
        let mut settings = manifest::broker(&desired.effective, group, &broker_name, ordinal).config;
        settings.retain(|key, _| !is_live(key));
        settings.extend(logging(desired));
        if !settings.contains_key("drainTimeoutMillis") {
            put(&mut settings, "drainTimeoutMillis", usual_drain_ms(desired));
        }
        put(&mut settings, "adminPort", ports.admin);
        put(&mut settings, "adminTokenFile", format!("{INTERNAL_FOLDER}/token"));
        put(&mut settings, "bindAddress", "0.0.0.0");
        put(&mut settings, "haListenPort", ports.ha);
        put(&mut settings, "healthPort", ports.health);
        put(&mut settings, "listenPort", ports.listen);
        if ordinal > 0 {
            put(&mut settings, "haMasterAddress", format!("{master}:{}", ports.ha));
        }
        (file_name(&names.broker(group, ordinal)), properties(&settings))
    });
    config_map(desired, Part::Group(group), &names.group(group), files.collect())
}

/// Returns the name of a pod's file.
pub(crate) fn file_name(pod: &str) -> String {
    format!("{pod}.properties")
}

/// Writes settings as a properties file.
pub(crate) fn properties(settings: &BTreeMap<String, String>) -> String {
    settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

fn config_map(desired: &Desired, part: Part, start: &str, files: BTreeMap<String, String>) -> Object {
    let data = json!(files);
    let name = format!("{start}-{}", hash8(&data));
    object(desired, part, Kind::ConfigMap, &name, json!({ "data": data, "immutable": true }))
}

fn logging(desired: &Desired) -> [(String, String); 1] {
    let format = match desired.spec().logging.format {
        LogFormat::Json => "json",
        LogFormat::Text => "text",
    };
    [("logFormat".to_owned(), format.to_owned())]
}

/// Half of what Kubernetes waits: the other half is for flushing and leaving.
fn usual_drain_ms(desired: &Desired) -> u128 {
    let grace = parse_duration(&desired.spec().brokers.termination_grace_period).unwrap_or_default();
    (grace.as_millis() / 2).min(600_000)
}

fn put(settings: &mut BTreeMap<String, String>, key: &str, value: impl ToString) {
    settings.insert(key.to_owned(), value.to_string());
}
