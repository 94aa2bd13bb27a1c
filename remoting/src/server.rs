//! Accepting connections, up to a limit, until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::Shutdown;
use crate::connection::{self, Peer, Session};
use crate::input::BufferPool;
use crate::limits::{Limits, Stats};
use crate::mailbox::Mailbox;

/// A server: makes a session for every connection.
pub trait Service: Send + Sync + 'static {
    /// What handles one connection.
    type Session: Session + 'static;

    /// A connection was accepted.
    fn accept(&self, peer: &Peer) -> Self::Session;
}

/// What all connections of a server share.
pub(crate) struct Shared {
    pub limits: Limits,
    pub stats: Arc<Stats>,
    pub pool: BufferPool,
}

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

/// Serves connections of a listener until `shutdown` becomes true, then waits for open answers.
pub async fn serve(
    listener: TcpListener,
    service: Arc<impl Service>,
    limits: Limits,
    stats: Arc<Stats>,
    mut shutdown: Shutdown,
) {
    let shared = Arc::new(Shared { limits, stats, pool: BufferPool::default() });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            // A panic of a handler ended one connection; it was reported by the panic hook.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => start(stream, &service, &shared, &mut connections, &shutdown),
            Err(e) => {
                // Out of descriptors, mostly: go on when some are free again.
                warn!("accept: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn start(
    stream: TcpStream,
    service: &Arc<impl Service>,
    shared: &Arc<Shared>,
    connections: &mut JoinSet<()>,
    shutdown: &Shutdown,
) {
    if shared.stats.connections.load(Ordering::Relaxed) >= shared.limits.max_connections {
        shared.stats.refused.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let (addr, local) = match (stream.peer_addr(), stream.local_addr()) {
        (Ok(addr), Ok(local)) => (addr, local),
        _ => return,
    };
    if let Err(e) = stream.set_nodelay(true) {
        debug!(%addr, "set TCP_NODELAY: {e}");
    }
    let id = NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed);
    let peer =
        Peer { id, addr: canonical(addr), local: canonical(local), mailbox: Arc::new(Mailbox::default()) };
    let session = service.accept(&peer);
    shared.stats.connections.fetch_add(1, Ordering::Relaxed);
    shared.stats.accepted.fetch_add(1, Ordering::Relaxed);
    let (shared, shutdown) = (shared.clone(), shutdown.clone());
    connections.spawn(async move {
        let _open = Open(shared.stats.clone());
        connection::run(stream, peer, session, shared, shutdown).await;
    });
}

/// An IPv4 peer of a dual-stack listener, as IPv4.
fn canonical(addr: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

struct Open(Arc<Stats>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
