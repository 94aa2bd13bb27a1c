//! One broker from its start to its stop. The caller brings sockets and the stop signal.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use daemon::health::Health;
use daemon::metrics::Metrics;
use daemon::signals::Shutdown;
use remoting::Stats;
use store::disk::real::RealDisk;
use store::{OpenError, Store};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::broker::Broker;
use crate::config::Config;
use crate::persist::LoadError;
use crate::session::BrokerService;
use crate::{membership, metrics};

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
    /// The threads of the store cannot be started.
    #[error("start the store: {0}")]
    Start(io::Error),
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
    /// For probes and metrics.
    pub http: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the settings name.
    ///
    /// # Errors
    /// [`RunError::Bind`] with address and setting.
    pub async fn bind(config: &Config) -> Result<Self, RunError> {
        let bind = async |port: u16, key| {
            let addr = SocketAddr::new(config.bind_address, port);
            TcpListener::bind(addr).await.map_err(|source| RunError::Bind { addr, key, source })
        };
        let http = match config.health_port {
            0 => None,
            port => Some(bind(port, "healthPort").await?),
        };
        let remoting = bind(config.listen_port, "listenPort").await?;
        Ok(Self { remoting, fast: bind(config.listen_port - 2, "listenPort minus 2").await?, http })
    }
}

/// Runs a broker until `shutdown`: then it refuses sends, lets open answers leave, tells the name servers, and
/// closes its store so that the next start scans nothing.
///
/// # Errors
/// [`RunError`]; nothing runs any more.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), RunError> {
    for unknown in &config.unknown {
        warn!("{unknown}");
    }
    let (health, metrics) = (Health::new(), Metrics::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(health.clone().keep_beating(shutdown.clone()));
    health.set_not_ready("recovering the store");
    if let Some(listener) = listeners.http {
        let (health, metrics) = (health.clone(), metrics.clone());
        tasks.spawn(async move {
            if let Err(e) = daemon::http::serve(listener, health, metrics).await {
                tracing::error!("the http port broke, probes will fail: {e}");
            }
        });
    }
    health.set_started();
    let address = address(&config, &listeners.remoting).await?;
    let store = open(&config)?;
    let broker = Arc::new(Broker::new(config, store.clone(), address, metrics::requests())?);
    restore_topics(&broker);
    let stats = Arc::<Stats>::default();
    metrics::register(&metrics, &broker, &stats);
    store.start().map_err(RunError::Start)?;
    let served = serve(&broker, listeners.remoting, listeners.fast, &stats, &health, &shutdown).await;
    health.set_not_ready("stopping");
    tokio::task::block_in_place(|| {
        if let Err(e) = broker.offsets.persist() {
            warn!("consumer offsets of the last seconds are lost: {e}");
        }
        store.close();
    });
    info!("broker stopped");
    served
}

fn open(config: &Config) -> Result<Arc<Store>, RunError> {
    let begun = Instant::now();
    let fail = |source| RunError::Open { dir: config.store_dir.display().to_string(), source };
    std::fs::create_dir_all(&config.store_dir).map_err(|e| fail(e.into()))?;
    let store =
        tokio::task::block_in_place(|| Store::open(config.store(), Arc::new(RealDisk))).map_err(fail)?;
    info!(took = ?begun.elapsed(), "store is open");
    Ok(store)
}

/// Topics whose messages are in the log and whose configuration is not: power was lost between the two.
fn restore_topics(broker: &Broker) {
    for (topic, last_queue) in broker.store.topics() {
        if broker.topics.get(&topic).is_some() {
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
    remoting: TcpListener,
    fast: TcpListener,
    stats: &Arc<Stats>,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    let service = Arc::new(BrokerService(broker.clone()));
    let limits = broker.config.limits();
    // Connections end a moment after the broker began to refuse, so that open answers leave first.
    let (stop_connections, connections_stop) = watch::channel(false);
    let mut servers = JoinSet::new();
    for listener in [remoting, fast] {
        servers.spawn(remoting::serve(
            listener,
            service.clone(),
            limits.clone(),
            stats.clone(),
            connections_stop.clone(),
        ));
    }
    let (registered, mut is_registered) = watch::channel(broker.config.name_servers.is_empty());
    let mut membership = tokio::spawn(membership::run(broker.clone(), registered, shutdown.clone()));
    let mut chores = JoinSet::new();
    chores.spawn(persist_offsets(broker.clone()));
    chores.spawn(watch_clients(broker.clone()));
    health.set_not_ready("not registered at any name server");
    let mut failed = broker.store.stopped();
    let mut ready = false;
    let outcome = loop {
        tokio::select! {
            () = shutdown.wait() => break Ok(()),
            Ok(why) = failed.wait_for(Option::is_some) => {
                break Err(RunError::Store(why.clone().unwrap_or_default()));
            }
            Ok(_) = is_registered.wait_for(|r| *r), if !ready => {
                ready = true;
                health.set_ready();
                info!(address = %broker.address, name = broker.config.name, "broker ready");
            }
        }
    };
    broker.stop();
    health.set_not_ready("stopping");
    shutdown.trigger();
    // The name servers hear of it first, so that clients find no route to a closed port.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), &mut membership).await;
    stop_connections.send_replace(true);
    while servers.join_next().await.is_some() {}
    outcome
}

async fn persist_offsets(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(broker.config.offset_interval).await;
        let work = broker.clone();
        match tokio::task::spawn_blocking(move || work.offsets.persist()).await {
            Ok(Err(e)) => warn!("consumer offsets not written, trying again: {e}"),
            Ok(Ok(())) => {}
            Err(_) => return,
        }
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

/// The address clients know the broker by: what is set, else the one bound, else the one that reaches the first name
/// server.
async fn address(config: &Config, listener: &TcpListener) -> Result<SocketAddr, RunError> {
    let bound = listener.local_addr().map_err(RunError::Address)?;
    let ip = match config.advertised_ip {
        Some(ip) => ip,
        None if !bound.ip().is_unspecified() => bound.ip(),
        None => reaching(config.name_servers.first()).await.map_err(RunError::Address)?,
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
