//! A master's side of the stream: one task per follower sends it what the log has behind its report, and takes its
//! reports meanwhile. A follower that does not read holds up nobody but itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;

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
    replicated: watch::Sender<u64>,
}

impl Leader {
    /// Makes a leader; it listens from [`Leader::serve`] on.
    pub fn new(store: Arc<Store>, config: LeaderConfig) -> Arc<Leader> {
        Arc::new(Leader { store, config, replicated: watch::Sender::new(0) })
    }

    /// Serves followers until `stop` becomes true; they are disconnected then.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let _ = (listener, &self.store, &self.config);
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Returns the offset up to which as many members as required have the log, to be watched. It moves with the
    /// followers' reports and only up, except when another number of members is required from then on. Where one
    /// member is enough it need not move.
    pub fn replicated(&self) -> watch::Receiver<u64> {
        self.replicated.subscribe()
    }

    /// Changes how many members, the leader among them, must have what is confirmed.
    pub fn set_required_acks(&self, _members: usize) {}

    /// Changes the bytes per second read from the disk for all followers together; `None` is as fast as it goes.
    pub fn set_catch_up_bytes_per_second(&self, _rate: Option<u64>) {}

    /// Changes how long ago a follower may have had everything to count as in sync.
    pub fn set_max_lag(&self, _max_lag: Duration) {}

    /// Returns the connected followers that have reported, in the order they came.
    pub fn followers(&self) -> Vec<FollowerStatus> {
        Vec::new()
    }

    /// Returns since when fewer followers are connected than confirming takes; `None` when there are enough.
    pub fn missing_since(&self) -> Option<Instant> {
        None
    }
}
