//! Gantry's side: a name server, a master and where asked for a slave, with the settings that are
//! measured.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::ask::create_topic;
use super::ports::{BrokerPorts, FreePorts};
use super::{Directory, Place, Process, Server};
use crate::mock::Ack;

/// Starts the servers, the master's command line behind what `command` holds already.
pub fn start(ack: Ack, place: &Place, command: Command) -> Result<Server> {
    let group = Group::start(place)?;
    let mut members = vec![group.start_master(ack, command)?];
    if ack == Ack::Replicated {
        let mut slave = group.start_slave()?;
        slave.wait_until_ready()?;
        members.push(slave);
    }
    let address = group.master_address();
    create_topic(address)?;
    Ok(Server { address, members, name_server: Some(group.name_server), _directory: group.directory })
}

/// A name server, and the files and ports of a broker group whose members start when they are asked to.
pub struct Group<'a> {
    place: &'a Place,
    ports: FreePorts,
    name_server: Process,
    directory: Directory,
    /// What the master allows a slave that is behind; `None` is all that there is.
    pub catch_up_bytes_per_second: Option<u64>,
}

type Settings = Vec<(&'static str, String)>;

impl<'a> Group<'a> {
    /// Starts the name server.
    pub fn start(place: &'a Place) -> Result<Self> {
        let directory = Directory(place.fresh_directory("gantry")?);
        let ports = FreePorts::find()?;
        let settings = vec![
            ("listenPort", ports.name_server.to_string()),
            ("healthPort", (ports.name_server + 1).to_string()),
            ("kvConfigPath", directory.0.join("kvConfig.json").display().to_string()),
        ];
        let name_server = Member { name: "namesrv", role: "namesrv", health_port: ports.name_server + 1 };
        let mut name_server = name_server.start(place, &directory, settings, Command::new(&place.program))?;
        name_server.wait_until_ready()?;
        Ok(Self { place, ports, name_server, directory, catch_up_bytes_per_second: None })
    }

    /// Starts the master and waits until it is ready.
    pub fn start_master(&self, ack: Ack, command: Command) -> Result<Process> {
        let mut settings = self.broker("store", self.ports.master);
        let flush = if ack == Ack::Flushed { "SYNC_FLUSH" } else { "ASYNC_FLUSH" };
        settings.push(("flushDiskType", flush.to_owned()));
        if ack == Ack::Replicated {
            settings.push(("brokerRole", "SYNC_MASTER".to_owned()));
            settings.push(("inSyncReplicas", "2".to_owned()));
        }
        if let Some(limit) = self.catch_up_bytes_per_second {
            settings.push(("haCatchUpBytesPerSecond", limit.to_string()));
        }
        let mut master = self.start_broker("broker", self.ports.master, settings, command)?;
        master.wait_until_ready()?;
        Ok(master)
    }

    /// Starts the slave. It is ready once it has nearly all that the master has.
    pub fn start_slave(&self) -> Result<Process> {
        let mut settings = self.broker("slave-store", self.ports.slave);
        let master = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.master.replicas()));
        settings.push(("flushDiskType", "ASYNC_FLUSH".to_owned()));
        settings.push(("brokerRole", "SLAVE".to_owned()));
        settings.push(("brokerId", "1".to_owned()));
        settings.push(("haMasterAddress", master.to_string()));
        self.start_broker("slave", self.ports.slave, settings, Command::new(&self.place.program))
    }

    /// Returns where the master serves clients.
    pub fn master_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.master.clients()).into()
    }

    /// Returns where the slave serves clients.
    pub fn slave_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.slave.clients()).into()
    }

    fn broker(&self, store: &str, ports: BrokerPorts) -> Settings {
        vec![
            ("brokerClusterName", "bench".to_owned()),
            ("brokerName", "bench".to_owned()),
            ("brokerIP1", "127.0.0.1".to_owned()),
            ("listenPort", ports.clients().to_string()),
            ("healthPort", ports.health().to_string()),
            ("namesrvAddr", format!("127.0.0.1:{}", self.ports.name_server)),
            ("storePathRootDir", self.directory.0.join(store).display().to_string()),
            ("autoCreateSubscriptionGroup", "true".to_owned()),
            ("diskMaxUsedSpaceRatio", "95".to_owned()),
        ]
    }

    fn start_broker(
        &self,
        name: &'static str,
        ports: BrokerPorts,
        settings: Settings,
        command: Command,
    ) -> Result<Process> {
        let member = Member { name, role: "broker", health_port: ports.health() };
        member.start(self.place, &self.directory, settings, command)
    }
}

struct Member {
    name: &'static str,
    role: &'static str,
    health_port: u16,
}

impl Member {
    fn start(
        self,
        place: &Place,
        directory: &Directory,
        mut settings: Settings,
        mut command: Command,
    ) -> Result<Process> {
        let file = |ending: &str| -> PathBuf { directory.0.join(format!("{}.{ending}", self.name)) };
        settings.push(("bindAddress", "127.0.0.1".to_owned()));
        settings.push(("logLevel", "warn".to_owned()));
        let text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let config = file("properties");
        fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let log = File::create(file("log"))?;
        command.args(["member", self.role, "--config"]).arg(&config).stdout(log.try_clone()?).stderr(log);
        Ok(place.spawn(command)?.with_health(self.health_port, file("log")))
    }
}
