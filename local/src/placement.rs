//! A member on this machine, pure: its folder, its ports and the properties that follow from them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use manifest::cluster::{LogFormat, StorageType};
use manifest::{Effective, Member, Role, members};

use crate::ports::{PortTooLarge, Ports, loopback, ports};

/// A member with its place on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub member: Member,
    pub ports: Ports,
    /// Everything the member writes is below it.
    pub folder: PathBuf,
    /// All settings of its server, ordered by key.
    pub properties: Vec<(String, String)>,
    /// The folder that goes with the member, when its storage does.
    pub ephemeral: Option<PathBuf>,
}

impl Placement {
    /// Returns the file its settings are written to.
    pub fn properties_file(&self) -> PathBuf {
        self.folder.join(format!("{}.properties", self.member.role.as_str()))
    }

    /// Returns the file its log lines are appended to.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }
}

/// Places all members below the data folder, in the order they start.
///
/// # Errors
/// A port past 65535.
pub fn place(effective: &Effective, data: &Path, offset: u16) -> Result<Vec<Placement>, PortTooLarge> {
    let replicas = effective.brokers.replicas_per_group;
    let members = members(effective);
    let all_ports: Vec<Ports> =
        members.iter().map(|member| ports(member, replicas, offset)).collect::<Result<_, _>>()?;
    let name_servers: Vec<String> = members
        .iter()
        .zip(&all_ports)
        .filter(|(member, _)| member.role == Role::NameServer)
        .map(|(_, ports)| loopback(ports.remoting).to_string())
        .collect();
    let masters = members.iter().zip(&all_ports).filter(|(member, _)| member.duty() == "master");
    let masters: BTreeMap<u32, SocketAddr> =
        masters.filter_map(|(member, ports)| Some((member.group, loopback(ports.ha?)))).collect();
    let others = Others { name_servers: name_servers.join(";"), masters };
    let placed = members.into_iter().zip(all_ports);
    Ok(placed.map(|(member, ports)| place_member(effective, member, ports, data, &others)).collect())
}

/// Where a member finds the others.
struct Others {
    /// The name servers, joined by `;`.
    name_servers: String,
    /// Where each group's slaves connect to its master.
    masters: BTreeMap<u32, SocketAddr>,
}

fn place_member(
    effective: &Effective,
    member: Member,
    ports: Ports,
    data: &Path,
    others: &Others,
) -> Placement {
    let folder = data.join(&member.name);
    let mut properties = member.config.clone();
    let mut set = |key: &str, value: String| properties.insert(key.to_owned(), value);
    set("bindAddress", "127.0.0.1".to_owned());
    set("listenPort", ports.remoting.to_string());
    set("healthPort", ports.health.to_string());
    set("logLevel", effective.logging.level.as_str().to_owned());
    let log_format = match effective.logging.format {
        LogFormat::Json => "json",
        LogFormat::Text => "text",
    };
    set("logFormat", log_format.to_owned());
    let mut ephemeral = None;
    match member.role {
        Role::NameServer => {
            set("kvConfigPath", folder.join("kvConfig.json").display().to_string());
        }
        Role::Broker => {
            // Another name than the kept store's: changing the manifest's storage.type deletes nothing.
            let store = match effective.brokers.storage_type {
                StorageType::PersistentVolumeClaim => folder.join("store"),
                StorageType::EmptyDir => ephemeral.insert(folder.join("ephemeral-store")).clone(),
            };
            set("brokerIP1", "127.0.0.1".to_owned());
            if let Some(port) = ports.ha {
                set("haListenPort", port.to_string());
            }
            if let Some(master) = others.masters.get(&member.group).filter(|_| member.is_slave()) {
                set("haMasterAddress", master.to_string());
            }
            set("namesrvAddr", others.name_servers.clone());
            set("storePathRootDir", store.display().to_string());
        }
    }
    Placement { member, ports, folder, properties: properties.into_iter().collect(), ephemeral }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_MASTERS: &str = "
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata: { name: two }
spec:
  version: 0.1.0
  nameServers: { replicas: 2 }
  brokers: { groups: 2, replicasPerGroup: 1, storage: { size: 1Gi } }
";

    fn placed(text: &str) -> Vec<Placement> {
        let effective = manifest::resolve(&manifest::load(text).unwrap());
        place(&effective, Path::new("/data"), 100).unwrap()
    }

    fn text(properties: &[(String, String)]) -> Vec<String> {
        properties.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn a_name_server_knows_its_ports_and_its_file() {
        let placement = &placed(TWO_MASTERS)[1];
        assert_eq!(placement.properties_file(), Path::new("/data/two-namesrv-1/namesrv.properties"));
        assert_eq!(
            text(&placement.properties),
            [
                "bindAddress=127.0.0.1",
                "healthPort=9877",
                "kvConfigPath=/data/two-namesrv-1/kvConfig.json",
                "listenPort=9977",
                "logFormat=json",
                "logLevel=info",
            ]
        );
    }

    #[test]
    fn a_broker_knows_all_name_servers_and_its_own_store() {
        let placement = &placed(TWO_MASTERS)[3];
        assert_eq!(placement.log_file(), Path::new("/data/two-broker-1-0/log"));
        assert_eq!(
            text(&placement.properties),
            [
                "autoCreateSubscriptionGroup=true",
                "autoCreateTopicEnable=false",
                "bindAddress=127.0.0.1",
                "brokerClusterName=two",
                "brokerIP1=127.0.0.1",
                "brokerId=0",
                "brokerName=two-broker-1",
                "brokerRole=ASYNC_MASTER",
                "diskMaxUsedSpaceRatio=75",
                "diskSpaceCleanForciblyRatio=85",
                "diskSpaceWarningLevelRatio=90",
                "fileReservedTime=72",
                "flushDiskType=ASYNC_FLUSH",
                "flushIntervalCommitLog=500",
                "haCatchUpBytesPerSecond=0",
                "haListenPort=11032",
                "haMaxTimeSlaveNotCatchup=15000",
                "healthPort=11034",
                "inSyncReplicas=1",
                "listenPort=11031",
                "logFormat=json",
                "logLevel=info",
                "namesrvAddr=127.0.0.1:9976;127.0.0.1:9977",
                "slaveReadEnable=true",
                "storePathRootDir=/data/two-broker-1-0/store",
            ]
        );
    }

    #[test]
    fn slaves_know_where_the_master_of_their_own_group_sends_its_log_from() {
        let placements = placed(&TWO_MASTERS.replace("replicasPerGroup: 1", "replicasPerGroup: 3"));
        let ha = |placement: &Placement| {
            let value = |key| placement.properties.iter().find(|(name, _)| name == key);
            ["haListenPort", "haMasterAddress"].map(|key| value(key).map(|(_, value)| value.clone()))
        };
        let row = |port: &str, master: Option<&str>| [Some(port.to_owned()), master.map(str::to_owned)];
        assert_eq!(
            placements[2..].iter().map(ha).collect::<Vec<_>>(),
            [
                row("11012", None),
                row("11032", Some("127.0.0.1:11012")),
                row("11052", Some("127.0.0.1:11012")),
                row("11072", None),
                row("11092", Some("127.0.0.1:11072")),
                row("11112", Some("127.0.0.1:11072")),
            ]
        );
    }

    #[test]
    fn a_store_that_goes_with_the_member_never_has_the_name_of_one_that_stays() {
        let placements = placed(&TWO_MASTERS.replace("size: 1Gi", "type: EmptyDir"));
        assert_eq!(
            placements[2].ephemeral.as_deref(),
            Some(Path::new("/data/two-broker-0-0/ephemeral-store"))
        );
        assert_eq!(placed(TWO_MASTERS)[2].ephemeral, None);
    }
}
