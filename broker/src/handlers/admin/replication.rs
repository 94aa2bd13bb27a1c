//! Between the brokers of a group: EXCHANGE_BROKER_HA_INFO (906), RESET_MASTER_FLUSH_OFFSET (908), and what Java's slaves
//! ask of every master besides topics, groups and offsets: 45, 60, 61, 402. There are no delayed messages and no pop
//! here, so the answers to those are empty.

use std::net::SocketAddr;

use protocol::bodies::data_version::DataVersion;
use protocol::bodies::join::JoinReply;
use protocol::bodies::message_request_mode::MessageRequestModes;
use protocol::bodies::offsets::DelayOffsetSerializeWrapper;
use protocol::bodies::timer::{TimerCheckpoint, TimerMetrics};
use protocol::codes::ResponseCode;
use protocol::json::JsonBody;
use protocol::requests::{DecodeExt, ExchangeHaInfo, ExchangeHaInfoReply, ResetMasterFlushOffset};
use remoting::Peer;
use remoting::handler::{Reply, Request};
use tracing::info;

use crate::broker::{Broker, blocking};
use crate::refusal::Refusal;
use crate::slave::Addresses;

/// Tells a slave of the master, or hears from a master where it is. A Gantry slave has to belong to the group; from its
/// first coming on changes of the tables go into the log.
pub fn exchange_ha_info(
    broker: &Broker,
    peer: &Peer,
    request: &Request<'_>,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let r = ExchangeHaInfo::decode(&request.header.ext)?;
    if let (Some(ha_address), Some(address)) = (&r.master_ha_address, &r.master_address) {
        if let Some(link) = &broker.slave {
            let ha_address = Some(ha_address.to_string());
            link.on_told(Addresses { address: address.to_string(), ha_address });
        }
        return Ok(());
    }
    if broker.slave.is_some() {
        // No fields: who asks sees that this is no master.
        return Ok(());
    }
    let mut answer = ExchangeHaInfoReply {
        master_ha_address: Some(ha_address(broker).to_string().into()),
        // As Java's: where the log ended when the broker started.
        master_flush_offset: Some(broker.store.opened().end as i64),
        master_address: Some(broker.address().to_string().into()),
        cluster_name: None,
        broker_name: None,
    };
    if r.broker_name.is_some() {
        let refuse = |why| Refusal::new(ResponseCode::NO_PERMISSION, why);
        broker.joins.check(&broker.identity, &r, peer.addr).map_err(refuse)?;
        // A change may be under way, and waits for the disk.
        if blocking(|| broker.metadata.switch_on(&broker.offsets)) {
            info!("a slave has come: changes of topics, groups and offsets go into the log from now on");
        }
        answer.cluster_name = Some(broker.config.cluster.clone().into());
        answer.broker_name = Some(broker.config.name.clone().into());
        reply.body = JoinReply { dropped: broker.store.dropped() }.encode();
    }
    reply.set_ext(answer);
    Ok(())
}

/// Returns where slaves find the log of this broker, or would if it were a master.
pub fn ha_address(broker: &Broker) -> SocketAddr {
    SocketAddr::new(broker.address().ip(), broker.config.ha.listen_port)
}

/// Accepts what slaves are to take for the master's flushed offset; slaves here compare the logs themselves.
pub fn reset_master_flush_offset(request: &Request<'_>) -> Result<(), Refusal> {
    ResetMasterFlushOffset::decode(&request.header.ext)?;
    Ok(())
}

/// Returns how far the queues of delayed messages are.
pub fn delay_offsets(reply: &mut Reply) -> Result<(), Refusal> {
    let data_version = Some(DataVersion::default());
    reply.body = DelayOffsetSerializeWrapper { data_version, ..Default::default() }.encode();
    Ok(())
}

/// Returns which consumers pop.
pub fn message_request_modes(reply: &mut Reply) -> Result<(), Refusal> {
    reply.body = MessageRequestModes::default().encode();
    Ok(())
}

/// Returns how far the timer is.
pub fn timer_checkpoint(reply: &mut Reply) -> Result<(), Refusal> {
    reply.body = TimerCheckpoint::default().encode();
    Ok(())
}

/// Returns how many messages wait in the timer.
pub fn timer_metrics(reply: &mut Reply) -> Result<(), Refusal> {
    reply.body = TimerMetrics::default().encode();
    Ok(())
}
