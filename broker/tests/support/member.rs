//! A member of a group made of its parts, so that a test can look inside: a master that serves slaves, or a slave that
//! follows. It has no name server; the test tells the slave where its master is.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::identity::Identity;
use broker::metadata::apply;
use broker::session::BrokerService;
use broker::slave::{self, Addresses, SlaveLink};
use broker::{Broker, Config};
use daemon::signals::Shutdown;
use protocol::header::Serialization;
use protocol::names::{METADATA_GROUP, METADATA_TOPIC};
use remoting::Limits;
use store::Store;
use store::disk::real::RealDisk;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::support::{DEADLINE, Wire, soon, until};

/// A member that runs.
pub struct Member {
    pub broker: Arc<Broker>,
    pub addr: SocketAddr,
    /// Where slaves connect; nobody listens there on a slave.
    pub ha: SocketAddr,
    pub dir: PathBuf,
    shutdown: Shutdown,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

pub const SLAVE: [(&str, &str); 3] =
    [("brokerRole", "SLAVE"), ("brokerId", "1"), ("slaveReadEnable", "true")];

fn config(dir: &Path, settings: &[(&str, &str)]) -> Config {
    let mut all = vec![
        ("storePathRootDir".to_owned(), dir.display().to_string()),
        ("brokerClusterName".to_owned(), "C".to_owned()),
        ("brokerName".to_owned(), "b".to_owned()),
        ("mappedFileSizeCommitLog".to_owned(), "16MiB".to_owned()),
        // Disks of test machines are often nearly full.
        ("diskMaxUsedSpaceRatio".to_owned(), "99".to_owned()),
        ("diskSpaceCleanForciblyRatio".to_owned(), "99".to_owned()),
        ("diskSpaceWarningLevelRatio".to_owned(), "100".to_owned()),
    ];
    all.extend(settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    Config::from_properties(&all).unwrap()
}

impl Member {
    pub async fn start(dir: &Path, settings: &[(&str, &str)]) -> Member {
        let mut config = config(dir, settings);
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (clients, slaves) = (bind().await.unwrap(), bind().await.unwrap());
        let (addr, ha) = (clients.local_addr().unwrap(), slaves.local_addr().unwrap());
        config.ha.listen_port = ha.port();
        Identity::open(&config).unwrap();
        let store = Store::open(config.store(), Arc::new(RealDisk)).unwrap();
        let broker = Arc::new(Broker::new(config, store.clone(), addr, broker::metrics::requests()).unwrap());
        apply::recover(&broker).unwrap();
        store.start().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (shutdown, mut tasks) = (Shutdown::new(), JoinSet::new());
        let service = Arc::new(BrokerService(broker.clone()));
        tasks.spawn(remoting::serve(clients, service, Limits::default(), Arc::default(), stopped.clone()));
        if let Some(leader) = &broker.leader {
            tasks.spawn(leader.clone().serve(slaves, stopped));
        }
        if broker.slave.is_some() {
            tasks.spawn(slave::run(broker.clone(), shutdown.clone()));
        }
        Member { broker, addr, ha, dir: dir.to_owned(), shutdown, stop, tasks }
    }

    /// Starts a slave and tells it where its master is.
    pub async fn follow(dir: &Path, settings: &[(&str, &str)], master: &Member) -> Member {
        let slave = Member::start(dir, &[&SLAVE, settings].concat()).await;
        slave.told(master.addr, master.ha);
        slave
    }

    /// The slave hears where its master is.
    pub fn told(&self, addr: SocketAddr, ha: SocketAddr) {
        let ha_address = Some(ha.to_string());
        self.link().on_told(Addresses { address: addr.to_string(), ha_address });
    }

    pub fn link(&self) -> &SlaveLink {
        self.broker.slave.as_ref().unwrap()
    }

    pub async fn connect(&self) -> Wire {
        Wire::connect(self.addr, Serialization::Json).await
    }

    /// Waits until something about the slave's link holds.
    pub async fn link_until(&self, what: &str, holds: impl Fn(&Member) -> bool) {
        let mut changes = self.link().changes();
        soon(what, async {
            while !holds(self) {
                changes.changed().await.unwrap();
            }
        })
        .await
    }

    /// Waits until the slave has all that its master has, and has told so.
    pub async fn level_with(&self, master: &Member) {
        self.has_log_up_to(master.broker.store.written()).await;
        self.link_until("the slave is ready", |m| m.link().readiness().is_ok()).await;
        // The last record may be a change: it is in the log before it is taken over.
        let changes = self.broker.store.queue(METADATA_TOPIC, 0).map_or(0, |q| q.bounds().1 as i64);
        let taken_over = || self.broker.offsets.get(METADATA_GROUP, METADATA_TOPIC, 0);
        until("the changes are taken over", || taken_over() >= Some(changes)).await;
    }

    /// Waits until the log reaches an offset.
    pub async fn has_log_up_to(&self, end: u64) {
        let reaches = async {
            loop {
                let appended = self.broker.store.appended().notified();
                if self.broker.store.written() >= end {
                    return;
                }
                appended.await;
            }
        };
        let written = || self.broker.store.written();
        tokio::time::timeout(DEADLINE, reaches).await.unwrap_or_else(|_| {
            panic!("the log ends at {}, not at {end}: {:?}", written(), self.link().state())
        })
    }

    /// Stops it as its program does.
    pub async fn stop(self) {
        self.broker.persist_offsets().unwrap();
        self.end(|broker| broker.store.close()).await;
    }

    /// Ends it with nothing put in order.
    pub async fn kill(self) {
        self.end(|_| {}).await;
    }

    async fn end(mut self, last: impl FnOnce(&Broker)) {
        self.shutdown.trigger();
        self.stop.send_replace(true);
        soon("the member stops", async { while self.tasks.join_next().await.is_some() {} }).await;
        last(&self.broker);
        drop(self.tasks);
        let store = Arc::downgrade(&self.broker.store);
        drop(self.broker);
        until("nobody uses the store", || store.strong_count() == 0).await;
    }
}
