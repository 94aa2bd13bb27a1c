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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::ports::{Seat, ports};

    fn ports_of(member: &str) -> Option<Ports> {
        let seats = [
            ("dev-namesrv-0", Seat::NameServer(0)),
            ("dev-namesrv-1", Seat::NameServer(1)),
            ("dev-broker-0-0", Seat::Broker(0)),
            ("dev-broker-0-1", Seat::Broker(1)),
        ];
        let (_, seat) = seats.into_iter().find(|(name, _)| *name == member)?;
        ports(seat, 100).ok()
    }

    fn whole(member: &str, settings: fn(&str, &Whereabouts) -> Settings, text: &str) -> Vec<String> {
        let folder = PathBuf::from("/data").join(member);
        let place = Whereabouts {
            ports: ports_of(member).unwrap(),
            ports_of: &ports_of,
            folder: &folder,
            token_file: Path::new("/data/dev-token"),
            stops_within: Duration::from_secs(30),
        };
        settings(text, &place).iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn a_name_server_listens_on_loopback_and_waits_for_nobody() {
        let text = "bindAddress=0.0.0.0\nhealthPort=5557\nkvConfigPath=/data/kvConfig.json\nlistenPort=9876\n\
                    logLevel=info\nwarmUpMillis=10000\n";
        let expected = [
            "bindAddress=127.0.0.1",
            "healthPort=9877",
            "kvConfigPath=/data/dev-namesrv-1/kvConfig.json",
            "listenPort=9977",
            "logLevel=info",
        ];
        assert_eq!(whole("dev-namesrv-1", static_settings, text), expected);
    }

    #[test]
    fn a_slave_finds_its_master_and_drains_no_longer_than_it_may_take() {
        let text = "adminPort=5558\nadminTokenFile=/etc/gantry/internal/token\nbindAddress=0.0.0.0\nbrokerId=1\n\
                    drainTimeoutMillis=60000\nhaListenPort=10912\n\
                    haMasterAddress=dev-broker-0-0.dev-broker-hl.default.svc.cluster.local:10912\nhealthPort=5557\n\
                    listenPort=10911\n";
        let expected = [
            "adminPort=11035",
            "adminTokenFile=/data/dev-token",
            "bindAddress=127.0.0.1",
            "brokerId=1",
            "drainTimeoutMillis=15000",
            "haListenPort=11032",
            "haMasterAddress=127.0.0.1:11012",
            "healthPort=11034",
            "listenPort=11031",
        ];
        assert_eq!(whole("dev-broker-0-1", static_settings, text), expected);
    }

    #[test]
    fn a_broker_is_told_of_the_same_name_servers_at_their_places_here() {
        let text = "brokerIP1=127.0.0.1\nbrokerPermission=6\nlisteners=internal=127.0.0.1:10911\n\
                    namesrvAddr=dev-namesrv-0.dev-namesrv-hl.default.svc.cluster.local:9876;\
                    dev-namesrv-1.dev-namesrv-hl.default.svc.cluster.local:9876\n";
        let expected = [
            "brokerIP1=127.0.0.1",
            "brokerPermission=6",
            "listeners=internal=127.0.0.1:11011",
            "namesrvAddr=127.0.0.1:9976;127.0.0.1:9977",
        ];
        assert_eq!(whole("dev-broker-0-0", live_settings, text), expected);
    }
}
