//! How a slave joins a master before it follows: who is it, do the logs fit, what are its tables. The stream itself
//! checks nothing of that. What the answers mean is decided in [`replication::join`].

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use client::replica::{self, LogBounds, Master, Member};
use client::{CallError, Client, Connections, RequestError};
use protocol::codes::ResponseCode;
use replication::{Join, LeaderLog, OwnLog, decide_join};
use store::AppendLogError;
use tracing::warn;

use super::SlaveLink;
use super::address::Target;
use super::followed_log::{Kind, give_up_log};
use super::sync_tables::{SyncError, sync_all};
use crate::broker::{Broker, blocking};
use crate::identity::member;
use crate::metadata::apply;

/// A master that was joined.
pub(super) struct Joined {
    /// What it is made of.
    pub kind: Kind,
    /// Where its log is followed from.
    pub ha_address: String,
    /// Where its log ended.
    pub end: u64,
}

/// Why a slave did not join.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    /// The master is not there, or goes away; it will be back.
    #[error(transparent)]
    Away(RequestError),
    /// It does not want this slave, or the slave does not want it; a human must do something.
    #[error("{why}")]
    Refused {
        /// The kind of reason: while it stays the same, people are told once.
        kind: &'static str,
        /// The reason, with both sides' identities or numbers, and the remedy.
        why: String,
    },
    /// The slave's own disk failed.
    #[error("{doing}: {source}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl From<RequestError> for JoinError {
    fn from(e: RequestError) -> JoinError {
        match e {
            RequestError::Refused { .. } | RequestError::Unreadable { .. } => {
                JoinError::Refused { kind: "answer", why: e.to_string() }
            }
            RequestError::Call(_) => JoinError::Away(e),
        }
    }
}

impl From<CallError> for JoinError {
    fn from(e: CallError) -> JoinError {
        JoinError::Away(e.into())
    }
}

impl From<SyncError> for JoinError {
    fn from(e: SyncError) -> JoinError {
        match e {
            SyncError::Request(e) => e.into(),
            SyncError::Disk(source) => JoinError::Disk { doing: "write the master's tables", source },
        }
    }
}

/// Joins a master. Afterwards the slave's log is the beginning of the master's, and its tables are the master's.
pub(super) async fn join(
    broker: &Broker,
    link: &SlaveLink,
    connections: &Connections,
    target: &Target,
) -> Result<Joined, JoinError> {
    let client = connections.to(&target.address).await?;
    // Before the tables: what the log tells up to here is in them.
    let bounds = replica::log_bounds(&client).await?;
    let master = introduce(broker, link, &client).await?;
    let kind = if master.gantry.is_some() { Kind::Gantry } else { Kind::Java };
    let disk = |doing| move |source| JoinError::Disk { doing, source };
    blocking(|| apply::take_over_rest(broker, link)).map_err(disk("take over the log's changes"))?;
    match decide_join(own_log(broker, &client, bounds).await?, leader_log(bounds)) {
        Join::Continue => {}
        Join::StartOver { why } => {
            warn!(master = target.address, "this slave starts over with its master's log: {why}");
            link.counts().start_overs.fetch_add(1, Relaxed);
            give_up_log(broker, link, bounds.begin).map_err(disk("start over"))?;
        }
        Join::Refuse { why } => return Err(JoinError::Refused { kind: "logs", why }),
    }
    if kind == Kind::Java && broker.store.is_empty_log() {
        begin_like_java(broker, link, &client, bounds).await?;
    }
    let dropped = master.gantry.map(|gantry| gantry.dropped).unwrap_or_default();
    sync_all(broker, link, &client, &dropped, bounds.end).await?;
    let ha_address = target.ha_address.clone().or(master.ha_address).ok_or_else(no_master(&client))?;
    Ok(Joined { kind, ha_address, end: bounds.end })
}

fn leader_log(bounds: LogBounds) -> LeaderLog {
    LeaderLog { begin: bounds.begin, end: bounds.end }
}

fn no_master(client: &Client) -> impl FnOnce() -> JoinError {
    let addr = client.addr().to_owned();
    move || JoinError::Refused {
        kind: "no master",
        why: format!(
            "the broker at {addr} is no master; set haMasterAddress, or let the group's master register at the name servers"
        ),
    }
}

/// Tells a master who this slave is, and checks who the master is.
pub(super) async fn introduce(
    broker: &Broker,
    link: &SlaveLink,
    client: &Client,
) -> Result<Master, JoinError> {
    let own = &broker.identity;
    let introduced = Member {
        cluster: &own.cluster,
        broker_name: &own.broker_name,
        broker_id: own.broker_id,
        store_id: &own.store_id,
    };
    let master = match replica::introduce(client, introduced).await {
        // Java before 5.0: where its log is, the name servers say.
        Err(RequestError::Refused { code: ResponseCode::REQUEST_CODE_NOT_SUPPORTED, .. }) => {
            Master { ha_address: link.state().master_ha_address, ..Master::default() }
        }
        Err(RequestError::Refused { addr, remark, .. }) => {
            return Err(JoinError::Refused {
                kind: "identity",
                why: format!("the master at {addr} refuses this slave: {remark}"),
            });
        }
        other => other?,
    };
    if master.ha_address.is_none() {
        return Err(no_master(client)());
    }
    // A Java master does not say who it is: there the group's name at the name server is all there is.
    if let Some(gantry) = &master.gantry
        && (gantry.cluster != own.cluster || gantry.broker_name != own.broker_name)
    {
        let why = format!(
            "this slave is {}, the master at {} {}; set brokerClusterName and brokerName of the slave to its master's, or haMasterAddress and namesrvAddr to its own master's",
            member(&own.cluster, &own.broker_name, own.broker_id),
            client.addr(),
            member(&gantry.cluster, &gantry.broker_name, 0),
        );
        return Err(JoinError::Refused { kind: "identity", why });
    }
    Ok(master)
}

async fn own_log(broker: &Broker, client: &Client, master: LogBounds) -> Result<OwnLog, JoinError> {
    let store = &broker.store;
    let mut own = OwnLog {
        begin: store.begin(),
        end: store.written(),
        empty: store.is_empty_log(),
        tail_matches: None,
    };
    let disk = |e| JoinError::Disk { doing: "read the last record", source: io::Error::other(e) };
    let Some((at, record)) = blocking(|| store.last_record()).map_err(disk)? else { return Ok(own) };
    if at < master.begin || own.end > master.end {
        return Ok(own);
    }
    let theirs = replica::record_at(client, at).await?;
    own.tail_matches = match theirs {
        Some(theirs) => Some(theirs == record),
        // Retention may have been faster.
        None => (replica::log_bounds(client).await?.begin <= at).then_some(false),
    };
    Ok(own)
}

/// Gives an empty log the beginning of a Java master's, so that the first report is not 0: to that a Java master sends
/// its last file only.
async fn begin_like_java(
    broker: &Broker,
    link: &SlaveLink,
    client: &Client,
    master: LogBounds,
) -> Result<(), JoinError> {
    if broker.store.written() != master.begin {
        let disk = |source| JoinError::Disk { doing: "begin where the master's log begins", source };
        give_up_log(broker, link, master.begin).map_err(disk)?;
    }
    if master.begin > 0 || master.end == 0 {
        return Ok(());
    }
    let first = replica::record_at(client, 0).await?.ok_or_else(|| JoinError::Refused {
        kind: "first record",
        why: format!("the master at {} does not give the first record of its log", client.addr()),
    })?;
    let waiting = &broker.waiting;
    let appended = blocking(|| broker.store.append_log(0, &first, &mut |q, tags| waiting.wake(q, tags)));
    match appended {
        Ok(_) => Ok(()),
        Err(AppendLogError::Append(e)) => {
            Err(JoinError::Disk { doing: "append the first record", source: io::Error::other(e) })
        }
        Err(e) => Err(JoinError::Refused { kind: "first record", why: e.to_string() }),
    }
}
