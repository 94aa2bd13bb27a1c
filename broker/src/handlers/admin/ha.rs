//! GET_BROKER_HA_STATUS (907): a master's followers, or a slave's own link.

use std::time::Instant;

use protocol::bodies::ha_runtime_info::{HaClientRuntimeInfo, HaConnectionRuntimeInfo, HaRuntimeInfo};
use protocol::json::JsonBody;
use remoting::handler::Reply;
use replication::{FollowerStatus, FollowingState};

use crate::broker::{Broker, now_ms};
use crate::refusal::Refusal;
use crate::slave::LinkState;

/// Returns how far the members of the group are, as this one sees it.
pub fn status(broker: &Broker, reply: &mut Reply) -> Result<(), Refusal> {
    let info = match (&broker.slave, &broker.leader) {
        (Some(link), _) => {
            of_slave(&link.state(), &link.following().state(Instant::now()), broker.store.written())
        }
        (None, Some(leader)) => of_master(&leader.followers(), broker.store.written()),
        (None, None) => HaRuntimeInfo { master: true, ..HaRuntimeInfo::default() },
    };
    reply.body = info.encode();
    Ok(())
}

fn of_master(followers: &[FollowerStatus], written: u64) -> HaRuntimeInfo {
    HaRuntimeInfo {
        ha_client_runtime_info: None,
        ha_connection_info: followers.iter().map(connection).collect(),
        in_sync_slave_nums: followers.iter().filter(|f| f.in_sync).count() as i32,
        master: true,
        master_commit_log_max_offset: written as i64,
    }
}

fn connection(follower: &FollowerStatus) -> HaConnectionRuntimeInfo {
    HaConnectionRuntimeInfo {
        addr: follower.addr.to_string(),
        catching_up: Some(follower.catching_up),
        diff: follower.lag_bytes as i64,
        in_sync: follower.in_sync,
        lag_millis: Some(follower.lag_time.as_millis() as i64),
        slave_ack_offset: follower.acked as i64,
        transfer_from_where: follower.sent as i64,
        transferred_byte_in_second: follower.bytes_per_second as i64,
    }
}

fn of_slave(link: &LinkState, following: &FollowingState, written: u64) -> HaRuntimeInfo {
    let client = HaClientRuntimeInfo {
        activated: following.connected,
        last_read_timestamp: wall_clock(following.last_contact),
        last_write_timestamp: wall_clock(following.last_report),
        local_addr: following.local_addr.map(|addr| addr.to_string()),
        master_addr: link.master_ha_address.clone(),
        master_flush_offset: following.master_end as i64,
        max_offset: written as i64,
        transferred_byte_in_second: following.bytes_per_second as i64,
    };
    HaRuntimeInfo { ha_client_runtime_info: Some(client), ..HaRuntimeInfo::default() }
}

/// A past moment in ms since 1970; 0 for never.
fn wall_clock(at: Option<Instant>) -> i64 {
    at.map_or(0, |at| now_ms() - at.elapsed().as_millis() as i64)
}
