//! A broker group whose links can be cut: a name server, a master and its slaves, each Gantry's or Apache's, as plain
//! processes. Every slave reaches its master through relays, both for the log and for requests.

use std::time::Duration;

use tempfile::TempDir;

use crate::ports::Slot;
use crate::relay::{Relay, Way};
use crate::replica::{Replica, assert_identical, wait_until_equal};
use crate::server::{Program, Server};
use crate::wait::until;

/// The broker's name, which is the group's.
pub const NAME: &str = "pair";
/// The master registers with this address; relays stand at its ports there. (A Java slave goes where the name server
/// says; one with `haMasterAddress` goes nowhere, because its HA client is not there yet when that is read.)
const RELAYED: &str = "127.0.1.1";
/// How long anything that happens by itself may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Whose program a member runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// This one.
    Gantry,
    /// Apache RocketMQ 5.3.3.
    Java,
}

/// What a test may want different from a Gantry pair that replicates asynchronously.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// Whose master.
    pub master: Maker,
    /// Whose slaves.
    pub slave: Maker,
    /// How many slaves.
    pub slaves: u16,
    /// Sync double write instead of asynchronous replication.
    pub sync: bool,
    /// Settings of master and slaves.
    pub config: &'a [(&'a str, &'a str)],
    /// Further settings of the master.
    pub master_config: &'a [(&'a str, &'a str)],
    /// Further settings of slaves.
    pub slave_config: &'a [(&'a str, &'a str)],
    /// The master's store lies on a disk of its own with this many MiB, in memory.
    pub master_disk: Option<u32>,
    /// The stores of slaves lie on disks of their own with this many MiB, in memory.
    pub slave_disk: Option<u32>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup {
            master: Maker::Gantry,
            slave: Maker::Gantry,
            slaves: 1,
            sync: false,
            config: &[],
            master_config: &[],
            slave_config: &[],
            master_disk: None,
            slave_disk: None,
        }
    }
}

/// A slave with the link over which it gets the log.
#[derive(Debug)]
pub struct Slave {
    /// The broker.
    pub server: Server,
    /// Its link to the master's port for replicas.
    pub link: Relay,
}

/// A running group.
#[derive(Debug)]
pub struct Group {
    /// The slaves; the first has broker id 1.
    pub slaves: Vec<Slave>,
    /// The master.
    pub master: Server,
    /// The links of all slaves, and of whoever asks the name server, to the master's two ports for clients.
    requests: [Relay; 2],
    /// The name server.
    pub names: Server,
    // Removed and given back last.
    _folder: TempDir,
    _slot: Slot,
}

impl Group {
    /// Starts everything and waits until every slave has what the master has.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn start(setup: &Setup<'_>) -> Group {
        let group = Group::without_slaves(setup);
        group.slaves.iter().for_each(|slave| slave.server.start());
        group.slaves.iter().for_each(|slave| slave.server.wait_ready());
        group.wait_until_linked();
        group
    }

    /// Starts name server and master; the slaves are there to be started.
    ///
    /// # Panics
    /// When they do not become ready.
    pub fn without_slaves(setup: &Setup<'_>) -> Group {
        let slot = Slot::take();
        let folder = tempfile::Builder::new().prefix("gantry-test-").tempdir().expect("a temporary folder");
        let ports = |ordinal| [10911, 10914].map(|port| port + 20 * ordinal + slot.offset);
        let names = [9876, 9776].map(|port| port + slot.offset);
        let kv = folder.path().join("names/kvConfig.json").display().to_string();
        let settings = owned(&[
            ("bindAddress", "127.0.0.1"),
            ("listenPort", &names[0].to_string()),
            ("healthPort", &names[1].to_string()),
            ("kvConfigPath", &kv),
            ("logFormat", "json"),
        ]);
        let names = Server::new(folder.path(), "names", Program::NameServer, names, None, &settings);
        let broker = |ordinal: u16, link: Option<&Relay>| {
            let name = format!("{NAME}-{ordinal}");
            let maker = if ordinal == 0 { setup.master } else { setup.slave };
            let store = folder.path().join(&name).join("store").display().to_string();
            let settings = settings_of(setup, maker, ordinal, ports(ordinal), &names.addr(), &store, link);
            let program = if maker == Maker::Java { Program::JavaBroker } else { Program::Broker };
            let small_disk = if ordinal == 0 { setup.master_disk } else { setup.slave_disk };
            Server::new(folder.path(), &name, program, ports(ordinal), small_disk, &settings)
        };
        let master = broker(0, None);
        let [port, _] = ports(0);
        let relay = |listens: String, port: u16| Relay::start(&listens, &format!("127.0.0.1:{port}"));
        // Java sends requests between brokers to the port two below.
        let requests = [port, port - 2].map(|port| relay(format!("{RELAYED}:{port}"), port));
        let slave = |ordinal: u16| {
            // A Java slave asks the name server; a Java master takes that port at every address.
            let listens = match (setup.slave, ordinal) {
                (Maker::Java, 1) if setup.master == Maker::Gantry => format!("{RELAYED}:{}", port + 1),
                _ => format!("127.0.0.1:{}", 9910 + ordinal + slot.offset),
            };
            let link = relay(listens, port + 1);
            Slave { server: broker(ordinal, Some(&link)), link }
        };
        let slaves = (1..=setup.slaves).map(slave).collect();
        names.start_and_wait();
        master.start_and_wait();
        Group { slaves, master, requests, names, _folder: folder, _slot: slot }
    }

    /// Returns the first slave.
    pub fn slave(&self) -> &Server {
        &self.slaves[0].server
    }

    /// Returns the first slave's link to the master's port for replicas.
    pub fn link(&self) -> &Relay {
        &self.slaves[0].link
    }

    /// Waits until every slave gets the log and has all of it.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn wait_until_linked(&self) {
        for slave in &self.slaves {
            let what = format!("{} to be linked to its master", slave.server.name);
            let before = slave.link.forwarded(Way::There);
            // A report after now: the connection is alive.
            until(&what, LIMIT, || (slave.link.forwarded(Way::There) > before).then_some(()));
        }
        wait_until_equal(&self.replicas());
    }

    /// Takes both links of the first slave down: connections are closed and refused.
    pub fn cut(&self) {
        self.link().cut();
        self.requests.iter().for_each(Relay::cut);
    }

    /// Loses everything that goes one way between the first slave and its master; connections stay open.
    pub fn stall(&self, way: Way) {
        self.link().stall(way);
        self.requests.iter().for_each(|relay| relay.stall(way));
    }

    /// Loses everything between the first slave and its master; connections stay open.
    pub fn stall_both(&self) {
        self.link().stall_both();
        self.requests.iter().for_each(Relay::stall_both);
    }

    /// Makes both links good again.
    pub fn heal(&self) {
        self.requests.iter().for_each(Relay::heal);
        self.link().heal();
    }

    /// Returns master and slaves.
    pub fn replicas(&self) -> Vec<Replica> {
        let slaves = self.slaves.iter().map(|slave| &slave.server);
        std::iter::once(&self.master).chain(slaves).map(Server::replica).collect()
    }

    /// Waits until nothing moves, compares the logs of all members byte by byte, and returns the number of bytes
    /// compared.
    ///
    /// # Panics
    /// When they differ.
    pub fn assert_logs_identical(&self) -> u64 {
        assert_identical(&self.replicas())
    }

    /// Returns the warnings and errors of all members but those that contain one of `explained`.
    pub fn complaints(&self, explained: &[&str]) -> Vec<String> {
        let slaves = self.slaves.iter().map(|slave| &slave.server);
        let all = [&self.names, &self.master].into_iter().chain(slaves).flat_map(Server::complaints);
        all.filter(|line| !explained.iter().any(|part| line.contains(part))).collect()
    }
}

fn settings_of(
    setup: &Setup<'_>,
    maker: Maker,
    ordinal: u16,
    [port, health]: [u16; 2],
    names: &str,
    store: &str,
    link: Option<&Relay>,
) -> Vec<(String, String)> {
    let role = match (ordinal, setup.sync) {
        (0, false) => "ASYNC_MASTER",
        (0, true) => "SYNC_MASTER",
        _ => "SLAVE",
    };
    let (port_text, ha_port) = (port.to_string(), (port + 1).to_string());
    let mut settings = owned(&[
        ("brokerClusterName", "Tests"),
        ("brokerName", NAME),
        ("brokerId", &ordinal.to_string()),
        ("brokerRole", role),
        ("namesrvAddr", names),
        ("listenPort", &port_text),
        ("haListenPort", &ha_port),
        ("bindAddress", "127.0.0.1"),
        ("brokerIP1", if ordinal == 0 { RELAYED } else { "127.0.0.1" }),
        ("storePathRootDir", store),
        ("autoCreateTopicEnable", "true"),
        ("autoCreateSubscriptionGroup", "true"),
        ("slaveReadEnable", "true"),
        // Machines that run tests are often fuller than servers should be.
        ("diskMaxUsedSpaceRatio", "95"),
    ]);
    match maker {
        Maker::Gantry => settings.extend(owned(&[
            ("healthPort", &health.to_string()),
            ("logFormat", "json"),
            ("diskSpaceCleanForciblyRatio", "97"),
            ("diskSpaceWarningLevelRatio", "98"),
        ])),
        Maker::Java => settings.extend(owned(&[
            ("brokerIP2", if ordinal == 0 { RELAYED } else { "127.0.0.1" }),
            ("storePathCommitLog", &format!("{store}/commitlog")),
            ("storePathEpochFile", &format!("{store}/epochFileCheckpoint")),
            ("defaultTopicQueueNums", "8"),
            // The test's machine is slow, and this is no test of Java's patience.
            ("waitTimeMillsInSendQueue", "5000"),
            ("warmMapedFileEnable", "false"),
        ])),
    }
    if setup.sync {
        settings.extend(owned(&[("inSyncReplicas", "2")]));
    }
    settings.extend(owned(setup.config));
    if let Some(link) = link {
        if maker == Maker::Gantry {
            settings.extend(owned(&[("haMasterAddress", &link.addr())]));
        }
        settings.extend(owned(setup.slave_config));
    } else {
        settings.extend(owned(setup.master_config));
    }
    settings
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
