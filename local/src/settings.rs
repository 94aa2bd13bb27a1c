//! A member's settings on this machine, pure: the files that the planner made, with this machine's addresses and paths
//! in the place of Kubernetes' own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::ports::{Ports, loopback};

/// Settings by key.
pub(crate) type Settings = BTreeMap<String, String>;

/// Where a member and those it talks to are.
pub(crate) struct Whereabouts<'a> {
    pub(crate) ports: Ports,
    /// Of any member, by its name.
    pub(crate) ports_of: &'a dyn Fn(&str) -> Option<Ports>,
    /// Everything the member writes is below it.
    pub(crate) folder: &'a Path,
    /// Holds the word that opens its admin port.
    pub(crate) token_file: &'a Path,
    /// How long it may take to stop.
    pub(crate) stops_within: Duration,
}

/// Returns what a member starts with.
pub(crate) fn static_settings(text: &str, place: &Whereabouts) -> Settings {
    let mut settings = parse(text);
    let mut set = |key: &str, value: String| settings.insert(key.to_owned(), value);
    set("bindAddress", "127.0.0.1".to_owned());
    set("healthPort", place.ports.health.to_string());
    set("listenPort", place.ports.remoting.to_string());
    match place.ports.of_broker {
        None => {
            set("kvConfigPath", place.folder.join("kvConfig.json").display().to_string());
            // Brokers start after the name servers: waiting for them would be for ever.
            settings.remove("warmUpMillis");
        }
        Some(of_broker) => {
            set("adminPort", of_broker.admin.to_string());
            set("adminTokenFile", place.token_file.display().to_string());
            set("haListenPort", of_broker.ha.to_string());
        }
    }
    if let Some(master) = settings.get("haMasterAddress").and_then(|address| ha_of(address, place)) {
        settings.insert("haMasterAddress".to_owned(), master);
    }
    if let Some(drain) = settings.get_mut("drainTimeoutMillis") {
        // What it does not drain by then is killed with it.
        let most = place.stops_within.as_millis() / 2;
        *drain = drain.parse().unwrap_or(most).min(most).to_string();
    }
    settings
}

/// Returns what a broker takes over while it runs.
pub(crate) fn live_settings(text: &str, place: &Whereabouts) -> Settings {
    let mut settings = parse(text);
    let mut set = |key: &str, value: String| settings.insert(key.to_owned(), value);
    set("brokerIP1", "127.0.0.1".to_owned());
    set("listeners", format!("internal={}", loopback(place.ports.remoting)));
    if let Some(list) = settings.get_mut("namesrvAddr") {
        let known = list.split(';').filter_map(|address| (place.ports_of)(member_of(address)));
        *list = known.map(|ports| loopback(ports.remoting).to_string()).collect::<Vec<_>>().join(";");
    }
    settings
}

fn parse(text: &str) -> Settings {
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.lines().filter_map(pair).collect()
}

fn ha_of(address: &str, place: &Whereabouts) -> Option<String> {
    Some(loopback((place.ports_of)(member_of(address))?.of_broker?.ha).to_string())
}

/// An address within Kubernetes begins with the member's name.
fn member_of(address: &str) -> &str {
    address.split('.').next().unwrap_or_default()
}
