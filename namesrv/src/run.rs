//! One name server from its start to its stop. The caller brings sockets and the stop signal.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use daemon::health::Health;
use daemon::metrics::Metrics;
use daemon::signals::Shutdown;
use remoting::Stats;
use remoting::handler::HandlerService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::Config;
use crate::kv_config::{KvConfig, LoadError};
use crate::name_server::NameServer;
use crate::router::Router;
use crate::{metrics, notify};

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
        Ok(Self { remoting: bind(config.listen_port, "listenPort").await?, http })
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
    let router = Router::new(server.clone(), metrics::register(&metrics, &server, &stats));

    // Dropped, and with it aborted, when this function returns.
    let mut tasks = JoinSet::new();
    tasks.spawn(scan(server, scan_every));
    tasks.spawn(notify::run(changes));
    health.set_started();
    tasks.spawn(health.clone().keep_beating(shutdown.clone()));
    health.set_ready();
    if let Ok(addr) = listeners.remoting.local_addr() {
        info!(%addr, "name server ready");
    }

    let service = Arc::new(HandlerService(Arc::new(router)));
    let remoting = remoting::serve(listeners.remoting, service, limits, stats, shutdown.receiver());
    let http = async {
        match listeners.http {
            Some(listener) => daemon::http::serve(listener, health.clone(), metrics).await,
            None => std::future::pending().await,
        }
    };
    let stopping = async {
        shutdown.wait().await;
        health.set_not_ready("stopping");
        std::future::pending::<()>().await
    };
    tokio::select! {
        () = remoting => {}
        broken = http => return broken.map_err(RunError::Http),
        () = stopping => {}
    }
    info!("name server stopped");
    Ok(())
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
