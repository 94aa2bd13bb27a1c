//! What a slave asks of its master while it follows: where its log ends, so that the slave knows how far it is behind;
//! its tables, once a minute as Java's slaves do; and whether it takes offsets that clients committed here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::replica::{self, LogBounds};
use client::{Client, Connections, RequestError};
use replication::sync_state::SyncState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::SlaveLink;
use super::address::Target;
use super::join::{JoinError, Joined, introduce};
use super::sync_tables::{SyncError, sync_all, sync_offsets};
use super::voice::Voice;
use crate::broker::Broker;

/// How often a master is asked where its log ends.
const PROBE: Duration = Duration::from_secs(2);
/// How often a master is asked for its tables.
const TABLES: Duration = Duration::from_secs(60);
/// How often offsets that clients committed here are handed to the master, if there are any.
const PUSH: Duration = Duration::from_secs(5);

/// Keeps a slave's tables and its readiness up, beside the stream. Ends only when the master turns out to be another.
pub(super) async fn keep_up(
    broker: &Broker,
    link: &SlaveLink,
    connections: &Connections,
    target: &Target,
    joined: &Joined,
    voice: &mut Voice,
) -> JoinError {
    let mut lag = Lag::new(broker, link, joined);
    let mut level = lag.tell();
    let every = |period| {
        let mut ticks = interval(period);
        ticks.reset();
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut probes, mut tables, mut pushes) = (every(PROBE), every(TABLES), every(PUSH));
    let mut refused = None;
    loop {
        if level == InSync::Yes {
            voice.on_level();
        }
        let asked = tokio::select! {
            () = lag.level() => {
                level = lag.on_level();
                match level {
                    InSync::Yes => Ok(()),
                    // It took long; the master's log has grown since.
                    InSync::No => lag.probe(connections, target).await.map(|now| level = now),
                }
            }
            _ = probes.tick() => lag.probe(connections, target).await.map(|now| level = now),
            _ = tables.tick() => ask_tables(broker, link, connections, target).await,
            _ = pushes.tick(), if !link.taken.is_empty() => {
                ask_offsets(broker, link, connections, target).await
            }
        };
        match asked {
            Ok(()) => refused = None,
            Err(Asking::Away(e)) => debug!("the master was asked in vain: {e}"),
            Err(Asking::Odd(why)) => {
                if refused.as_ref() != Some(&why) {
                    warn!(master = target.address, "tables not taken over, trying on: {why}");
                }
                refused = Some(why);
            }
            Err(Asking::Another(e)) => return e,
        }
    }
}

/// Why asking did not help.
enum Asking {
    /// No answer; the stream ends too if this lasts.
    Away(RequestError),
    /// The answer or the own disk is at fault; it is tried again.
    Odd(String),
    /// Another broker answers than the one that is followed.
    Another(JoinError),
}

impl From<RequestError> for Asking {
    fn from(e: RequestError) -> Asking {
        match e {
            RequestError::Call(_) => Asking::Away(e),
            e => Asking::Odd(e.to_string()),
        }
    }
}

impl From<SyncError> for Asking {
    fn from(e: SyncError) -> Asking {
        match e {
            SyncError::Request(e) => e.into(),
            SyncError::Disk(_) => Asking::Odd(e.to_string()),
        }
    }
}

async fn ask_tables(
    broker: &Broker,
    link: &SlaveLink,
    connections: &Connections,
    target: &Target,
) -> Result<(), Asking> {
    let client = connections.to(&target.address).await.map_err(RequestError::from)?;
    let bounds = followed_log(broker, &client).await?;
    let master = introduce(broker, link, &client).await.map_err(|e| match e {
        JoinError::Away(e) => Asking::Away(e),
        e => Asking::Another(e),
    })?;
    let dropped = master.gantry.map_or_else(BTreeMap::new, |gantry| gantry.dropped);
    Ok(sync_all(broker, link, &client, &dropped, bounds.end).await?)
}

async fn ask_offsets(
    broker: &Broker,
    link: &SlaveLink,
    connections: &Connections,
    target: &Target,
) -> Result<(), Asking> {
    let client = connections.to(&target.address).await.map_err(RequestError::from)?;
    followed_log(broker, &client).await?;
    sync_offsets(broker, link, &client).await?;
    Ok(())
}

/// Asks what the master's log holds. One that holds less than came from there is another log: its master has lost its
/// disk and was started anew, before the stream from it has been missed. Its tables are not to be taken over either.
async fn followed_log(broker: &Broker, client: &Client) -> Result<LogBounds, Asking> {
    let own = broker.store.written();
    let bounds = replica::log_bounds(client).await?;
    if bounds.end < own {
        let (addr, end) = (client.addr(), bounds.end);
        let why = format!("the log of the master at {addr} ends at {end}, and {own} bytes of it are here");
        return Err(Asking::Another(JoinError::Refused { kind: "shorter log", why }));
    }
    Ok(bounds)
}

/// How far a slave is behind its master, as of the last time the master said where its log ends.
struct Lag<'a> {
    broker: &'a Broker,
    link: &'a SlaveLink,
    sync: SyncState,
    since: Instant,
    /// An end of the master's log that is not reached yet.
    mark: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InSync {
    Yes,
    No,
}

impl<'a> Lag<'a> {
    fn new(broker: &'a Broker, link: &'a SlaveLink, joined: &Joined) -> Lag<'a> {
        let (own, now) = (broker.store.written(), Instant::now());
        Lag {
            broker,
            link,
            sync: SyncState::on_connect(own, joined.end, now),
            since: now,
            mark: (own < joined.end).then_some(joined.end),
        }
    }

    /// Resolves when the own log reaches the mark; never without one.
    async fn level(&self) {
        let Some(mark) = self.mark else { return std::future::pending().await };
        loop {
            let appended = self.broker.store.appended().notified();
            if self.broker.store.written() >= mark {
                return;
            }
            appended.await;
        }
    }

    fn on_level(&mut self) -> InSync {
        self.mark = None;
        self.sync.on_report(self.broker.store.written());
        self.tell()
    }

    async fn probe(&mut self, connections: &Connections, target: &Target) -> Result<InSync, Asking> {
        let client = connections.to(&target.address).await.map_err(RequestError::from)?;
        // The answer tells of a moment after this one.
        let now = Instant::now();
        let master = followed_log(self.broker, &client).await?;
        self.sync.on_report(self.broker.store.written());
        self.sync.on_written(master.end, now);
        self.link.following().on_master_end(master.end);
        if self.broker.store.written() < master.end {
            self.mark.get_or_insert(master.end);
        }
        Ok(self.tell())
    }

    /// Tells probes whether the slave is level enough.
    fn tell(&self) -> InSync {
        let max_lag = self.broker.live.load().max_slave_lag;
        let behind = self.sync.caught_up_at().unwrap_or(self.since).elapsed();
        let in_sync = self.sync.caught_up_at().is_some() && behind < max_lag;
        let not_ready = (!in_sync).then(|| {
            format!(
                "not level with the master for {} s, allowed is {} s (haMaxTimeSlaveNotCatchup)",
                behind.as_secs(),
                max_lag.as_secs_f64()
            )
        });
        self.link.change(|state| state.not_ready = not_ready);
        if in_sync { InSync::Yes } else { InSync::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use protocol::bodies::kv_table::KvTable;
    use protocol::json::JsonBody;
    use remoting::Peer;
    use remoting::handler::{Handler, Reply, Request};
    use store::disk::memory::MemoryDisk;

    use crate::test_slave;

    /// A master that was started anew with an empty disk.
    struct Empty;

    impl Handler for Empty {
        fn handle(&self, _: &Peer, _: &Request<'_>, reply: &mut Reply) {
            let table =
                ["commitLogMinOffset", "commitLogMaxOffset"].map(|key| (key.to_owned(), "0".to_owned()));
            reply.body = KvTable { table: table.into_iter().collect() }.encode();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_taken_over_of_a_master_that_has_lost_what_came_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let slave = test_slave::open(dir.path(), &MemoryDisk::new(1 << 30));
        let (client, _stop) = test_slave::connect_to(Empty).await;
        assert!(followed_log(&slave, &client).await.is_ok(), "nothing came from it yet");
        slave.store.start_over(70).unwrap();
        let Err(Asking::Another(JoinError::Refused { why, .. })) = followed_log(&slave, &client).await else {
            panic!("it counts as the master that is followed")
        };
        assert!(why.contains("ends at 0, and 70 bytes"), "{why}");
    }
}
