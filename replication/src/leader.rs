//! A master's side of the stream: one task per follower sends it what the log has behind its report, and takes its
//! reports meanwhile. A follower that does not read holds up nobody but itself.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use store::Store;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use crate::clock::now;
use crate::members::{Members, Sent};
use crate::sending::{Ended, Sending};
use crate::throttle::Throttle;

/// Settings of a leader. Names in brackets are the broker's configuration keys.
#[derive(Debug, Clone)]
pub struct LeaderConfig {
    /// Bytes of the log in one frame at most (`haTransferBatchSize`).
    pub max_transfer_bytes: usize,
    /// A follower hears something at least this often (`haSendHeartbeatInterval`).
    pub heartbeat: Duration,
    /// A follower that reports nothing for this long is closed (`haHousekeepingInterval`).
    pub housekeeping: Duration,
    /// Followers connected at once (`maxHaConnections`).
    pub max_followers: usize,
    /// A follower that had everything this long ago is in sync (`haMaxTimeSlaveNotCatchup`). Live.
    pub max_lag: Duration,
    /// Members, the leader among them, that must have what is confirmed (`inSyncReplicas`). Live.
    pub required_acks: usize,
    /// Bytes per second read from the disk for all followers together (`haCatchUpBytesPerSecond`). Live.
    pub catch_up_bytes_per_second: Option<u64>,
}

impl Default for LeaderConfig {
    fn default() -> LeaderConfig {
        LeaderConfig {
            max_transfer_bytes: 256 * 1024,
            heartbeat: Duration::from_secs(5),
            housekeeping: Duration::from_secs(20),
            max_followers: 16,
            max_lag: Duration::from_secs(15),
            required_acks: 1,
            catch_up_bytes_per_second: None,
        }
    }
}

/// A connected follower, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerStatus {
    /// Its address.
    pub addr: SocketAddr,
    /// It has the log up to here.
    pub acked: u64,
    /// It was sent the log up to here.
    pub sent: u64,
    /// Bytes of the log that it does not have.
    pub lag_bytes: u64,
    /// For how long it has not had everything there was; for one that never had since it connected, since then.
    pub lag_time: Duration,
    /// Whether it had everything within [`LeaderConfig::max_lag`].
    pub in_sync: bool,
    /// Whether what it was sent last had to be read from the disk.
    pub catching_up: bool,
    /// Bytes of the log sent to it per second, lately.
    pub bytes_per_second: u64,
}

/// A master's side.
pub struct Leader {
    store: Arc<Store>,
    config: LeaderConfig,
    members: Mutex<Members>,
    /// Written under the lock of `members`, so that it does not go back.
    replicated: watch::Sender<u64>,
    max_lag: Mutex<Duration>,
    throttle: Mutex<Throttle>,
    catch_up: watch::Sender<Option<u64>>,
    /// Notified of every report and of every follower that goes.
    moved: Notify,
    next_id: AtomicU64,
}

impl Leader {
    /// Makes a leader; it listens from [`Leader::serve`] on.
    pub fn new(store: Arc<Store>, config: LeaderConfig) -> Arc<Leader> {
        Arc::new(Leader {
            store,
            members: Mutex::new(Members::new(config.required_acks, now())),
            replicated: watch::Sender::new(0),
            max_lag: Mutex::new(config.max_lag),
            throttle: Mutex::new(Throttle::new(config.catch_up_bytes_per_second)),
            catch_up: watch::Sender::new(config.catch_up_bytes_per_second),
            moved: Notify::new(),
            next_id: AtomicU64::new(0),
            config,
        })
    }

    /// Serves followers until `stop` becomes true; they are disconnected then. Needs a runtime of several threads, because
    /// what is not in memory is waited for on the spot.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                // A panic ended one connection; it was reported by the panic hook.
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, addr)) if connections.len() < self.config.max_followers => {
                    let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
                    connections.spawn(self.clone().send_to(stream, addr, stop.clone()));
                }
                Ok((_, addr)) => warn!(
                    follower = %addr,
                    "follower refused: maxHaConnections={} are connected; raise it, or find out who else connects here",
                    self.config.max_followers
                ),
                Err(e) => {
                    // Out of descriptors, mostly: go on when some are free again.
                    warn!("accept a follower: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn send_to(self: Arc<Self>, stream: TcpStream, addr: SocketAddr, stop: watch::Receiver<bool>) {
        if let Err(e) = stream.set_nodelay(true) {
            debug!(follower = %addr, "set TCP_NODELAY: {e}");
        }
        let (reader, writer) = stream.into_split();
        self.send(reader, writer, addr, stop).await;
    }

    async fn send(
        &self,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        addr: SocketAddr,
        stop: watch::Receiver<bool>,
    ) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let _closing = Closing { leader: self, id };
        let mut sending = Sending::new(self, id, addr, reader, writer);
        let Err(ended) = sending.drive(stop).await;
        match ended {
            Ended::Unreadable(_) => error!(follower = %addr, "follower closed: {ended}"),
            Ended::Ahead { .. } | Ended::NotSent { .. } | Ended::Removed { .. } | Ended::Outrun(_) => {
                warn!(follower = %addr, "follower closed: {ended}");
            }
            // Whoever looks whether the port is open is no follower.
            Ended::Closed | Ended::Io(_) | Ended::Silent(_) if !sending.is_follower() => {
                debug!(peer = %addr, "connection ended: {ended}");
            }
            Ended::Malformed(_) | Ended::Silent(_) => warn!(follower = %addr, "follower closed: {ended}"),
            Ended::Closed | Ended::Io(_) | Ended::Stopping => {
                info!(follower = %addr, "follower gone: {ended}")
            }
        }
    }

    /// Returns the offset up to which as many members as required have the log, to be watched. It moves with the
    /// followers' reports and only up, except when more members are required from then on. Where one member is enough
    /// it need not move. Nothing on the wire names a follower: where more than one follower is required, of two
    /// connections from one host the older one counts again when it has acknowledged what was sent to it since, because
    /// the other may be the same follower, come again.
    pub fn replicated(&self) -> watch::Receiver<u64> {
        self.replicated.subscribe()
    }

    /// Changes how many members, the leader among them, must have what is confirmed.
    pub fn set_required_acks(&self, members: usize) {
        self.change_members(|all, written| all.set_required(members, written, now()));
    }

    /// Changes the bytes per second read from the disk for all followers together; `None` is as fast as it goes.
    pub fn set_catch_up_bytes_per_second(&self, rate: Option<u64>) {
        self.throttle.lock().set(rate);
        self.catch_up.send_replace(rate);
    }

    /// Changes how long ago a follower may have had everything to count as in sync.
    pub fn set_max_lag(&self, max_lag: Duration) {
        *self.max_lag.lock() = max_lag;
    }

    /// Returns the connected followers that have reported, in the order they came.
    pub fn followers(&self) -> Vec<FollowerStatus> {
        let max_lag = *self.max_lag.lock();
        self.members.lock().statuses(self.store.written(), max_lag, now())
    }

    /// Returns the offset up to which so many members, the leader among them, have the log now; for whoever asked for
    /// another number than [`Leader::replicated`] is about.
    pub fn confirmed_by(&self, members: usize) -> u64 {
        self.members.lock().confirmed_by(members, self.store.written())
    }

    /// Returns since when fewer followers are connected than confirming takes; `None` when there are enough.
    pub fn missing_since(&self) -> Option<Instant> {
        self.members.lock().missing_since()
    }

    /// Resolves at the next report of a follower, also one that moves [`Leader::replicated`] nowhere, and when a follower
    /// goes. To be enabled before looking at [`Leader::confirmed_by`] or [`Leader::followers`], or what happens in between
    /// is missed.
    pub fn moved(&self) -> Notified<'_> {
        self.moved.notified()
    }

    /// Resolves when every connected follower that is in sync has the whole log; at once when there is none. For a
    /// leader that stops, when nothing is appended any more.
    pub async fn drained(&self) {
        loop {
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            let written = self.store.written();
            if self.followers().iter().all(|follower| !follower.in_sync || follower.acked >= written) {
                return;
            }
            moved.await;
        }
    }

    // ---- for the connections ----

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn config(&self) -> &LeaderConfig {
        &self.config
    }

    pub(crate) fn catch_up_changes(&self) -> watch::Receiver<Option<u64>> {
        self.catch_up.subscribe()
    }

    /// Books bytes that were read from the disk; see [`Throttle::book`].
    pub(crate) fn book(&self, bytes: usize) -> Option<Instant> {
        self.throttle.lock().book(bytes, now())
    }

    pub(crate) fn on_connect(&self, id: u64, addr: SocketAddr, start: u64) {
        self.change_members(|all, written| all.on_connect(id, addr, start, written, now()));
    }

    pub(crate) fn on_report(&self, id: u64, acked: u64) {
        self.change_members(|all, written| all.on_report(id, acked, written));
    }

    pub(crate) fn on_sent(&self, id: u64, sent: Sent, written: u64) {
        self.members.lock().on_sent(id, sent, written, now());
    }

    fn change_members(&self, change: impl FnOnce(&mut Members, u64)) {
        let mut members = self.members.lock();
        change(&mut members, self.store.written());
        let confirmed = members.confirmed();
        self.replicated.send_if_modified(|replicated| std::mem::replace(replicated, confirmed) != confirmed);
        drop(members);
        self.moved.notify_waiters();
    }
}

/// Forgets a follower, even when its task is dropped.
struct Closing<'a> {
    leader: &'a Leader,
    id: u64,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.leader.members.lock().on_close(self.id, now());
        self.leader.moved.notify_waiters();
    }
}
