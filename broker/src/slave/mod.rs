//! A slave's life: it finds its master, joins it, follows its log, and takes over its tables, until it is stopped.
//!
//! - [`link`]: what the rest of the broker knows of it
//! - `address`: where the master is; `join`: whether it may be followed; `followed_log`: the log as the stream fills it
//! - `keep_up`: what is asked of a master while it is followed; `sync_tables`, `push_offsets`, [`taken`], [`applied`]:
//!   its tables
//! - `voice`: what people are told of all that

mod address;
pub mod applied;
mod followed_log;
mod join;
mod keep_up;
pub mod link;
mod push_offsets;
mod sync_tables;
pub mod taken;
mod voice;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use client::Connections;
use daemon::signals::Shutdown;
use replication::{FollowError, FollowerConfig, follow};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

pub use link::{Addresses, LinkState, SlaveLink, lag_time};

use crate::broker::Broker;
use address::{Target, decide_target};
use followed_log::SlaveLog;
use join::{JoinError, Joined, join};
use keep_up::keep_up;
use voice::Voice;

/// How long connecting to a master's log may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A master that went away is tried again after this, and after twice as long each time,
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// but no more seldom than this.
const LAST_RETRY: Duration = Duration::from_secs(1);
/// What a human must put right is tried again after this.
const TROUBLE_RETRY: Duration = Duration::from_secs(5);
/// One in so many attempts in vain asks the name servers again, because the master may be elsewhere now.
const ASK_EVERY: u32 = 5;

/// Why the slave does not follow, or no longer.
enum Ended {
    /// Nobody has told where the master is.
    Nowhere,
    /// It is not there.
    Away(String),
    /// It was followed, and went away.
    Lost(String),
    /// A human must do something; `kind` stays the same as long as the reason does.
    Trouble { kind: &'static str, why: String },
    /// It is elsewhere now.
    Moved,
}

impl From<JoinError> for Ended {
    fn from(e: JoinError) -> Ended {
        match e {
            JoinError::Away(e) => Ended::Away(e.to_string()),
            JoinError::Refused { kind, why } => Ended::Trouble { kind, why },
            JoinError::Disk { .. } => Ended::Trouble { kind: "disk", why: e.to_string() },
        }
    }
}

/// Lives a slave's life until shutdown; the caller runs it where [`Broker::slave`] is there.
pub async fn run(broker: Arc<Broker>, shutdown: Shutdown) {
    let Some(link) = broker.slave.clone() else { return };
    let mut life = Life {
        broker: &broker,
        link: &link,
        connections: Connections::default(),
        voice: Voice::default(),
        in_vain: 0,
        closed_at_once: 0,
    };
    tokio::select! {
        () = shutdown.wait() => {}
        () = life.go_on() => {}
    }
    link.change(|state| state.connected = false);
}

/// Returns where the master is, as far as is known now.
fn target_of(broker: &Broker, link: &SlaveLink) -> Option<Target> {
    let configured = broker.config.ha.master_address.as_deref();
    decide_target(configured, &link.state(), &broker.address().to_string())
}

/// Resolves when the master is elsewhere.
async fn moved(
    broker: &Broker,
    link: &SlaveLink,
    changes: &mut watch::Receiver<LinkState>,
    target: Option<&Target>,
) {
    loop {
        match (target_of(broker, link), target) {
            (Some(now), Some(before)) if now.is_at(before) => {}
            (None, None) => {}
            _ => return,
        }
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Life<'a> {
    broker: &'a Broker,
    link: &'a SlaveLink,
    connections: Connections,
    voice: Voice,
    /// Attempts since the master was followed.
    in_vain: u32,
    /// Times in a row that a master took the connection and sent nothing.
    closed_at_once: u32,
}

impl Life<'_> {
    async fn go_on(&mut self) {
        loop {
            let mut changes = self.link.changes();
            let target = target_of(self.broker, self.link);
            let ended = match &target {
                None => Ended::Nowhere,
                Some(target) => self.follow_once(target).await,
            };
            self.link.change(|state| state.connected = false);
            let wait = self.on_ended(&ended, target.as_ref());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // What this attempt changed itself is passed over.
                () = moved(self.broker, self.link, &mut changes, target.as_ref()) => {}
            }
        }
    }

    async fn follow_once(&mut self, target: &Target) -> Ended {
        let joined = match join(self.broker, self.link, &self.connections, target).await {
            Ok(joined) => joined,
            Err(e) => return e.into(),
        };
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(&joined.ha_address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Ended::Away(format!("connect to {}: {e}", joined.ha_address)),
            Err(_) => return Ended::Away(format!("connect to {}: no answer", joined.ha_address)),
        };
        self.on_joined(target, &joined);
        let received = self.received();
        let log = SlaveLog { broker: self.broker, link: self.link, master: joined.kind };
        let config = FollowerConfig {
            heartbeat: self.broker.config.ha.heartbeat,
            housekeeping: self.broker.config.ha.housekeeping,
            ..FollowerConfig::default()
        };
        // Stopping drops the future instead.
        let (_keep, stop) = watch::channel(false);
        let mut changes = self.link.changes();
        tokio::select! {
            followed = follow(stream, &log, &config, self.link.following(), stop) => {
                let Err(e) = followed;
                self.on_follow_error(e, received)
            }
            ended = keep_up(self.broker, self.link, &self.connections, target, &joined, &mut self.voice) => {
                ended.into()
            }
            () = moved(self.broker, self.link, &mut changes, Some(target)) => Ended::Moved,
        }
    }

    fn on_joined(&mut self, target: &Target, joined: &Joined) {
        self.in_vain = 0;
        self.link.counts().joins.fetch_add(1, Relaxed);
        self.link.following().on_master_end(joined.end);
        self.link.change(|state| state.connected = true);
        self.voice.on_joined(target, joined, self.broker.store.written());
    }

    fn received(&self) -> u64 {
        self.link.following().state(std::time::Instant::now()).received_bytes
    }

    fn on_follow_error(&mut self, e: FollowError, received_before: u64) -> Ended {
        // A master that closes without reading what it was sent resets the connection.
        let closed = matches!(e, FollowError::Closed { .. } | FollowError::Io { .. });
        let at_once = closed && self.received() == received_before;
        self.closed_at_once = if at_once { self.closed_at_once + 1 } else { 0 };
        match e {
            FollowError::Closed { .. } | FollowError::Io { .. } if self.closed_at_once > 1 => {
                Ended::Trouble { kind: voice::CLOSED, why: e.to_string() }
            }
            FollowError::Io { .. }
            | FollowError::Closed { .. }
            | FollowError::Silent(_)
            | FollowError::Stopped => Ended::Lost(e.to_string()),
            FollowError::Misplaced { .. } => Ended::Trouble { kind: "misplaced", why: e.to_string() },
            FollowError::Malformed(_) => Ended::Trouble { kind: "malformed", why: e.to_string() },
            FollowError::Append(_) => Ended::Trouble { kind: "append", why: e.to_string() },
        }
    }

    /// Tells people and probes; returns how long to wait before the next attempt.
    fn on_ended(&mut self, ended: &Ended, target: Option<&Target>) -> Duration {
        self.voice.on_ended(ended, target);
        match ended {
            Ended::Trouble { why, .. } => {
                self.link.counts().refusals.fetch_add(1, Relaxed);
                self.link.change(|state| state.not_ready = Some(why.clone()));
                TROUBLE_RETRY
            }
            Ended::Moved => Duration::ZERO,
            Ended::Nowhere => {
                self.ask_name_servers();
                TROUBLE_RETRY
            }
            Ended::Lost(_) => {
                self.ask_name_servers();
                FIRST_RETRY
            }
            Ended::Away(why) => {
                self.in_vain = self.in_vain.saturating_add(1);
                if self.link.joins() == 0 {
                    let reason = format!("the master has not been reached yet: {why}");
                    self.link.change(|state| state.not_ready = Some(reason));
                }
                if self.in_vain.is_multiple_of(ASK_EVERY) {
                    self.ask_name_servers();
                }
                LAST_RETRY.min(FIRST_RETRY.saturating_mul(1 << self.in_vain.min(10)))
            }
        }
    }

    /// A registration tells who is the master, if anybody is.
    fn ask_name_servers(&self) {
        self.broker.changed.notify_one();
    }
}
