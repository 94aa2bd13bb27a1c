//! One broker from its start to its stop. The caller brings sockets and the stop signal.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use daemon::health::Health;
use daemon::metrics::Metrics;
use daemon::signals::Shutdown;
use protocol::names::METADATA_TOPIC;
use remoting::Stats;
use replication::Leader;
use store::disk::real::RealDisk;
use store::{OpenError, Store};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{error, info, warn};

use crate::broker::Broker;
use crate::config::Config;
use crate::identity::{Identity, IdentityError};
use crate::live_file::Basis;
use crate::live_watch::LiveWatch;
use crate::member::{Lasting, Member};
use crate::persist::LoadError;
use crate::session::BrokerService;
use crate::slave::{self, SlaveLink};
use crate::{membership, metadata, metrics};

/// How often silent clients are looked for (P§8.3) and rates are noted.
const CLIENT_SCAN: std::time::Duration = std::time::Duration::from_secs(10);

/// Why a broker could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port cannot be used.
    #[error("listen on {addr} ({key}): {source}; choose another port or stop what uses it")]
    Bind {
        /// Where.
        addr: SocketAddr,
        /// The setting that says so.
        key: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// No address that clients could use is known.
    #[error("the address of this broker is not known: {0}; set brokerIP1")]
    Address(io::Error),
    /// The store cannot be opened.
    #[error("open the store {dir}: {source}")]
    Open {
        /// The folder.
        dir: String,
        /// Why.
        source: OpenError,
    },
    /// The changes in the log cannot be taken over into the tables.
    #[error("take over the changes of topics, groups and offsets that are in the log: {0}")]
    Recover(io::Error),
    /// The threads of the store cannot be started.
    #[error("start the store: {0}")]
    Start(io::Error),
    /// The folder of the store is not this broker's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A table cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store failed: nobody knows what is on the disk.
    #[error("the store failed: {0}")]
    Store(String),
}

/// The sockets of a broker.
pub struct Listeners {
    /// For clients.
    pub remoting: TcpListener,
    /// For clients that use the port two below.
    pub fast: TcpListener,
    /// For slaves; a slave has none.
    pub ha: Option<TcpListener>,
    /// For probes and metrics.
    pub http: Option<TcpListener>,
    /// For whoever looks after the broker.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the settings name.
    ///
    /// # Errors
    /// [`RunError::Bind`] with address and setting.
    pub async fn bind(config: &Config) -> Result<Self, RunError> {
        let Doors { http, admin } = Doors::bind(config).await?;
        let Sockets { clients: [remoting, fast], slaves: ha } = Sockets::bind(config).await?;
        Ok(Self { remoting, fast, ha, http, admin })
    }
}

/// The sockets that are served from the first moment on, before there is a broker.
pub struct Doors {
    /// For probes and metrics.
    pub http: Option<TcpListener>,
    /// For whoever looks after the broker.
    pub admin: Option<TcpListener>,
}

impl Doors {
    /// Binds what the settings name.
    ///
    /// # Errors
    /// [`RunError::Bind`] with address and setting.
    pub async fn bind(config: &Config) -> Result<Self, RunError> {
        let optional = async |port, key| match port {
            0 => Ok(None),
            port => bind(config, port, key).await.map(Some),
        };
        Ok(Self {
            http: optional(config.health_port, "healthPort").await?,
            admin: optional(config.admin_port, "adminPort").await?,
        })
    }
}

/// The sockets that are served while the broker is up.
pub struct Sockets {
    /// For clients: the port and the one two below.
    pub clients: [TcpListener; 2],
    /// For slaves; a slave has none.
    pub slaves: Option<TcpListener>,
}

impl Sockets {
    /// Binds what the settings name.
    ///
    /// # Errors
    /// [`RunError::Bind`] with address and setting.
    pub async fn bind(config: &Config) -> Result<Self, RunError> {
        let slaves = match config.live.is_slave() {
            true => None,
            false => Some(bind(config, config.ha.listen_port, "haListenPort").await?),
        };
        let remoting = bind(config, config.listen_port, "listenPort").await?;
        let fast = bind(config, config.listen_port - 2, "listenPort minus 2").await?;
        Ok(Self { clients: [remoting, fast], slaves })
    }
}

async fn bind(config: &Config, port: u16, key: &'static str) -> Result<TcpListener, RunError> {
    let addr = SocketAddr::new(config.bind_address, port);
    TcpListener::bind(addr).await.map_err(|source| RunError::Bind { addr, key, source })
}

/// Runs a broker until `shutdown`: then it refuses sends, tells the name servers, lets open answers leave and slaves in
/// sync get the last of the log, and closes its store so that the next start scans nothing.
///
/// # Errors
/// [`RunError`]; nothing runs any more.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), RunError> {
    let basis = Basis { given: config.to_properties(), config: config.clone() };
    let Listeners { remoting, fast, ha, http, admin } = listeners;
    let process = Process::start(basis, Lasting::ForNow, Doors { http, admin }, shutdown);
    let identity = tokio::task::block_in_place(|| Identity::open(&config))?;
    process.member.begin(identity);
    process.run_broker(config, Sockets { clients: [remoting, fast], slaves: ha }).await
}

/// Runs a broker that has its live settings from a file, from the admin port, or from its store, where it keeps those it
/// had last; otherwise as [`run`]. Without any, or with a store that is not the one it must have, it runs and is not
/// ready, and says why; it serves clients from when that is put right, on the sockets that `sockets` makes then.
///
/// # Errors
/// [`RunError`]; nothing runs any more.
pub async fn run_with_live(
    basis: Basis,
    file: PathBuf,
    doors: Doors,
    sockets: impl AsyncFnOnce(&Config) -> Result<Sockets, RunError>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let mut process = Process::start(basis, Lasting::Kept, doors, shutdown.clone());
    let begun = tokio::select! {
        () = shutdown.wait() => return Ok(()),
        begun = process.wait_for_settings(file) => begun?,
    };
    let sockets = sockets(&begun).await?;
    process.run_broker(begun, sockets).await
}

/// What runs from the first moment on.
struct Process {
    member: Arc<Member>,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
    /// Ends with the process.
    tasks: JoinSet<()>,
    beating: AbortHandle,
}

impl Process {
    fn start(basis: Basis, lasting: Lasting, doors: Doors, shutdown: Shutdown) -> Process {
        for unknown in &basis.config.unknown {
            warn!("{unknown}");
        }
        let (health, metrics) = (Health::new(), Metrics::new());
        let token = basis.config.admin_token_file.clone();
        let member = Member::new(basis, lasting, health.clone());
        let mut tasks = JoinSet::new();
        if let Some(listener) = doors.http {
            let (health, metrics) = (health.clone(), metrics.clone());
            tasks.spawn(async move {
                if let Err(e) = daemon::http::serve(listener, health, metrics).await {
                    error!("the http port broke, probes will fail: {e}");
                }
            });
        }
        // Without a token file nobody would be let in.
        if let (Some(listener), Some(token)) = (doors.admin, token) {
            let member = member.clone();
            tasks.spawn(async move {
                if let Err(e) = daemon::admin::serve(listener, token, member).await {
                    error!("the admin port broke, nobody can look after this broker: {e}");
                }
            });
        }
        health.set_started();
        let beating = tasks.spawn(health.clone().keep_beating(shutdown.clone()));
        Process { member, health, metrics, shutdown, tasks, beating }
    }

    /// Returns the settings to begin with, once there are some and the store is the right one.
    async fn wait_for_settings(&mut self, file: PathBuf) -> Result<Config, RunError> {
        tokio::task::block_in_place(|| self.member.take_kept())?;
        let mut watch = LiveWatch::new(file.clone());
        watch.look(&self.member).await;
        self.tasks.spawn(watch.run(self.member.clone()));
        loop {
            if let Some(config) = tokio::task::block_in_place(|| self.member.decide_begin(&file))? {
                return Ok(config);
            }
            self.member.news().await;
        }
    }

    async fn run_broker(mut self, mut config: Config, sockets: Sockets) -> Result<(), RunError> {
        // From here to its end only progress counts.
        self.beating.abort();
        self.health.set_recovering();
        if let Err(e) = daemon::logs::set_level(&config.live.log_level) {
            warn!("the log level stays: {e}");
        }
        let address = address(&config, &sockets.clients[0]).await?;
        if let Some(listener) = &sockets.slaves {
            // What slaves are told is where the socket really is.
            config.ha.listen_port = listener.local_addr().map_err(RunError::Address)?.port();
        }
        let store = open(&config, &self.health)?;
        let broker = Arc::new(Broker::new(config, store.clone(), address, metrics::requests())?);
        tokio::task::block_in_place(|| metadata::apply::recover(&broker)).map_err(RunError::Recover)?;
        if broker.slave.is_none() {
            restore_topics(&broker);
        }
        self.health.set_started();
        self.tasks.spawn(self.health.clone().keep_beating(self.shutdown.clone()));
        let stats = Arc::<Stats>::default();
        metrics::register(&self.metrics, &broker, &stats);
        store.start().map_err(RunError::Start)?;
        tokio::task::block_in_place(|| self.member.serve(&broker));
        let served = serve(&broker, sockets, &stats, &self.health, &self.shutdown).await;
        self.health.set_not_ready("stopping");
        tokio::task::block_in_place(|| {
            if let Err(e) = broker.persist_offsets() {
                warn!("consumer offsets of the last seconds are lost: {e}");
            }
            store.close();
        });
        self.member.stop();
        self.tasks.shutdown().await;
        info!("broker stopped");
        served
    }
}

fn open(config: &Config, health: &Health) -> Result<Arc<Store>, RunError> {
    let begun = Instant::now();
    let fail = |source| RunError::Open { dir: config.store_dir.display().to_string(), source };
    std::fs::create_dir_all(&config.store_dir).map_err(|e| fail(e.into()))?;
    let open = || Store::open_watched(config.store(), Arc::new(RealDisk), &|| health.beat());
    let store = tokio::task::block_in_place(open).map_err(fail)?;
    info!(took = ?begun.elapsed(), "store is open");
    Ok(store)
}

/// Topics whose messages are in the log and whose configuration is not: power was lost between the two.
fn restore_topics(broker: &Broker) {
    for (topic, last_queue) in broker.store.topics() {
        if broker.topics.get(&topic).is_some() || &*topic == METADATA_TOPIC {
            continue;
        }
        let queues = (last_queue as i32 + 1).max(broker.config.default_queues.min(4));
        warn!(topic = &*topic, queues, "topic has messages but no configuration; made anew");
        let config = protocol::bodies::topic_config::TopicConfig {
            topic_name: topic.to_string(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            ..Default::default()
        };
        if let Err(refusal) = broker.put_topic(config) {
            warn!(topic = &*topic, "{}", refusal.remark);
        }
    }
}

async fn serve(
    broker: &Arc<Broker>,
    sockets: Sockets,
    stats: &Arc<Stats>,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    let service = Arc::new(BrokerService(broker.clone()));
    let limits = broker.config.limits();
    // Connections end a moment after the broker began to refuse, so that open answers leave first.
    let (stop_connections, connections_stop) = watch::channel(false);
    let mut servers = JoinSet::new();
    for listener in sockets.clients {
        servers.spawn(remoting::serve(
            listener,
            service.clone(),
            limits.clone(),
            stats.clone(),
            connections_stop.clone(),
        ));
    }
    let (stop_stream, stream_stop) = watch::channel(false);
    let mut stream = JoinSet::new();
    if let (Some(leader), Some(listener)) = (&broker.leader, sockets.slaves) {
        stream.spawn(leader.clone().serve(listener, stream_stop));
    }
    if broker.slave.is_some() {
        stream.spawn(slave::run(broker.clone(), shutdown.clone()));
    }
    let (registered, is_registered) = watch::channel(broker.live.load().name_servers.is_empty());
    let mut membership = tokio::spawn(membership::run(broker.clone(), registered, shutdown.clone()));
    let mut chores = JoinSet::new();
    chores.spawn(persist_offsets(broker.clone()));
    chores.spawn(watch_clients(broker.clone()));
    chores.spawn(tell_offsets(broker.clone()));
    chores.spawn(watch_readiness(broker.clone(), health.clone(), is_registered));
    let mut failed = broker.store.stopped();
    let outcome = tokio::select! {
        () = shutdown.wait() => Ok(()),
        Ok(why) = failed.wait_for(Option::is_some) => Err(RunError::Store(why.clone().unwrap_or_default())),
    };
    broker.stop();
    chores.shutdown().await;
    health.set_not_ready("stopping");
    shutdown.trigger();
    // The name servers hear of it first, so that clients find no route to a closed port.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), &mut membership).await;
    stop_connections.send_replace(true);
    while servers.join_next().await.is_some() {}
    if let (Some(leader), Ok(())) = (&broker.leader, &outcome) {
        broker.tell_offsets();
        drain(leader, broker.config.drain_timeout).await;
    }
    stop_stream.send_replace(true);
    while stream.join_next().await.is_some() {}
    outcome
}

/// Lets slaves that are in sync get the last of the log.
async fn drain(leader: &Leader, timeout: std::time::Duration) {
    if tokio::time::timeout(timeout, leader.drained()).await.is_err() {
        for slave in leader.followers().iter().filter(|f| f.lag_bytes > 0) {
            warn!(slave = %slave.addr, lag_bytes = slave.lag_bytes, "stopped before a slave had the whole log (drainTimeoutMillis)");
        }
    }
}

/// Tells whether the broker is ready: known to a name server and, on a slave, near its master.
async fn watch_readiness(broker: Arc<Broker>, health: Health, mut registered: watch::Receiver<bool>) {
    let mut link = broker.slave.as_ref().map(|slave| slave.changes());
    let mut was = None;
    let mut settings = broker.live.changes();
    loop {
        settings.mark_unchanged();
        let registered_once = *registered.borrow_and_update() || broker.live.load().name_servers.is_empty();
        let is = readiness(registered_once, broker.slave.as_deref());
        if was.as_ref() != Some(&is) {
            match &is {
                Ok(()) => {
                    health.set_ready();
                    info!(address = %broker.address(), name = broker.config.name, "broker ready");
                }
                Err(reason) => {
                    health.set_not_ready(reason);
                    if was == Some(Ok(())) {
                        info!("broker not ready any more: {reason}");
                    }
                }
            }
            was = Some(is);
        }
        tokio::select! {
            Ok(()) = registered.changed() => {}
            Ok(()) = settings.changed() => {}
            () = next_change(link.as_mut()) => {}
        }
    }
}

/// Resolves at the next change of a slave's link; never on a master.
async fn next_change(link: Option<&mut watch::Receiver<slave::LinkState>>) {
    if let Some(link) = link
        && link.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

fn readiness(registered: bool, slave: Option<&SlaveLink>) -> Result<(), String> {
    if !registered {
        return Err("not registered at any name server".to_owned());
    }
    slave.map_or(Ok(()), SlaveLink::readiness)
}

async fn persist_offsets(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(broker.config.offset_interval).await;
        let work = broker.clone();
        match tokio::task::spawn_blocking(move || work.persist_offsets()).await {
            Ok(Err(e)) => warn!("consumer offsets not written, trying again: {e}"),
            Ok(Ok(())) => {}
            Err(_) => return,
        }
    }
}

/// Tells slaves, by way of the log, how far groups have come.
async fn tell_offsets(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(broker.config.ha.offset_interval).await;
        broker.tell_offsets();
    }
}

async fn watch_clients(broker: Arc<Broker>) {
    loop {
        broker.rates.sample(Instant::now());
        tokio::time::sleep(CLIENT_SCAN).await;
        broker.clients.expire(Instant::now(), broker.config.client_expiry, |group| broker.notifies(group));
        broker.locks.expire(Instant::now());
    }
}

/// The address clients know the broker by, unless `brokerIP1` says otherwise: its pod's, else the one bound, else the one
/// that reaches the first name server.
async fn address(config: &Config, listener: &TcpListener) -> Result<SocketAddr, RunError> {
    let bound = listener.local_addr().map_err(RunError::Address)?;
    let ip = match (config.pod_ip, config.live.advertised_ip) {
        (Some(ip), _) => ip,
        (None, _) if !bound.ip().is_unspecified() => bound.ip(),
        (None, Some(ip)) => ip,
        (None, None) => reaching(config.live.name_servers.first()).await.map_err(RunError::Address)?,
    };
    Ok(SocketAddr::new(ip, bound.port()))
}

async fn reaching(name_server: Option<&String>) -> io::Result<IpAddr> {
    let target = name_server.ok_or_else(|| io::Error::other("there is no name server to ask"))?;
    // Connecting a datagram socket sends nothing; it only chooses the way.
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(target.as_str()).await?;
    Ok(socket.local_addr()?.ip())
}
