//! One name server from its start to its stop. The caller brings sockets and the stop signal.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use daemon::health::Health;
use daemon::metrics::Metrics;
use daemon::signals::Shutdown;
use protocol::listeners::INTERNAL;
use remoting::Stats;
use remoting::handler::HandlerService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::Config;
use crate::kv_config::{KvConfig, LoadError};
use crate::name_server::NameServer;
use crate::router::Router;
use crate::warm_up::WarmUp;
use crate::{metrics, notify, warm_up};

/// How often a server that warms up looks whether brokers have come.
const WARM_UP_LOOK: Duration = Duration::from_millis(200);

/// Why a name server could not start or go on.
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
    /// The KV configuration cannot be read.
    #[error(transparent)]
    KvConfig(#[from] LoadError),
    /// The HTTP port broke.
    #[error("serve the http port: {0}")]
    Http(io::Error),
}

/// The sockets of a name server.
pub struct Listeners {
    /// For brokers and clients.
    pub remoting: TcpListener,
    /// For clients that see brokers at the addresses of a further listener, by its name.
    pub further: Vec<(String, TcpListener)>,
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
        let mut further = Vec::new();
        for (listener, port) in &config.listener_ports {
            further.push((listener.clone(), bind(*port, "listenerPorts").await?));
        }
        Ok(Self { remoting, further, http })
    }
}

/// Runs a name server until `shutdown`, then lets open requests finish.
///
/// # Errors
/// [`RunError`]; nothing runs any more.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<(), RunError> {
    for unknown in &config.unknown {
        warn!("{unknown}");
    }
    let (limits, scan_every) = (config.limits(), config.scan_not_active_broker_interval);
    let kv = KvConfig::load(config.kv_config_path.clone())?;
    let (server, changes) = NameServer::new(config, kv, tokio::time::Instant::now().into_std());
    let (server, stats) = (Arc::new(server), Arc::<Stats>::default());
    let (health, metrics) = (Health::new(), Metrics::new());
    let requests = metrics::register(&metrics, &server, &stats);

    // Dropped, and with it aborted, when this function returns.
    let mut tasks = JoinSet::new();
    tasks.spawn(scan(server.clone(), scan_every));
    tasks.spawn(notify::run(changes));
    health.set_started();
    tasks.spawn(health.clone().keep_beating(shutdown.clone()));

    let mut servers = JoinSet::new();
    let mut serve = |listener: Option<String>, socket: TcpListener| {
        if let Ok(addr) = socket.local_addr() {
            info!(%addr, listener = listener.as_deref().unwrap_or(INTERNAL), "name server listens");
        }
        let router = Router::new(server.clone(), requests.clone(), listener);
        let service = Arc::new(HandlerService(Arc::new(router)));
        // The bounds hold for all ports together.
        servers.spawn(remoting::serve(socket, service, limits.clone(), stats.clone(), shutdown.receiver()));
    };
    serve(None, listeners.remoting);
    for (listener, socket) in listeners.further {
        serve(Some(listener), socket);
    }

    let http = async {
        match listeners.http {
            Some(listener) => daemon::http::serve(listener, health.clone(), metrics).await,
            None => std::future::pending().await,
        }
    };
    let readiness = async {
        tokio::select! {
            () = warm_up(&server, &health) => shutdown.wait().await,
            () = shutdown.wait() => {}
        }
        health.set_not_ready("stopping");
        std::future::pending::<()>().await
    };
    tokio::select! {
        () = async { while servers.join_next().await.is_some() {} } => {}
        broken = http => return broken.map_err(RunError::Http),
        () = readiness => {}
    }
    info!("name server stopped");
    Ok(())
}

/// Waits for brokers, then says that the server is ready; it stays so until it stops.
async fn warm_up(server: &NameServer, health: &Health) {
    loop {
        let now = tokio::time::Instant::now().into_std();
        let (seen, longest) = (server.seen(), server.settings().warm_up);
        match warm_up::decide(server.started, longest, &seen, now) {
            WarmUp::Over => {
                health.set_ready();
                info!(brokers = seen.brokers, "name server ready");
                return;
            }
            WarmUp::Waiting { wait, reason } => {
                health.set_not_ready(reason);
                tokio::time::sleep(wait.min(WARM_UP_LOOK)).await;
            }
        }
    }
}

/// Looks for silent brokers, first after one interval.
async fn scan(server: Arc<NameServer>, every: Duration) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let now = ticks.tick().await;
        server.scan(now.into_std());
    }
}
