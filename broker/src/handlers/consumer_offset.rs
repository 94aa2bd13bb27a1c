//! QUERY_CONSUMER_OFFSET (14) and UPDATE_CONSUMER_OFFSET (15).

use protocol::codes::ResponseCode;
use protocol::requests::{DecodeExt, OffsetReply, QueryConsumerOffset, UpdateConsumerOffset};
use remoting::handler::{Reply, Request};

use crate::broker::Broker;
use crate::in_memory;
use crate::refusal::Refusal;
use crate::topics::MAX_QUEUES;

/// Returns how far a group has consumed. A group that never did begins at 0 while the queue still begins there and is
/// in memory, whatever it asks for; otherwise the client is told to decide.
pub fn query(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = QueryConsumerOffset::decode(&request.header.ext)?;
    if let Some(offset) = broker.offsets.get(&r.consumer_group, &r.topic, r.queue_id) {
        reply.set_ext(OffsetReply { offset });
        return Ok(());
    }
    if r.set_zero_if_not_found == Some(false) {
        return Err(not_found("Not found, do not set to zero, maybe this group boot first"));
    }
    if begins_in_memory(broker, &r)? {
        reply.set_ext(OffsetReply { offset: 0 });
        return Ok(());
    }
    Err(not_found("Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"))
}

fn not_found(remark: &str) -> Refusal {
    Refusal::new(ResponseCode::QUERY_NOT_FOUND, remark)
}

fn begins_in_memory(broker: &Broker, r: &QueryConsumerOffset<'_>) -> Result<bool, Refusal> {
    let Some(queue) = u32::try_from(r.queue_id).ok().and_then(|id| broker.store.queue(&r.topic, id)) else {
        // Where nothing was ever stored, 0 skips nothing.
        return Ok(broker.topics.get(&r.topic).is_some());
    };
    let (min, max) = queue.bounds();
    if min > 0 || max == 0 {
        return Ok(max == 0);
    }
    let mut first = Vec::with_capacity(1);
    crate::broker::blocking(|| queue.entries(0, 1, true, &mut first)).map_err(Refusal::failed)?;
    let behind = first.first().map_or(0, |e| broker.store.written().saturating_sub(e.physical));
    Ok(behind <= in_memory::bytes(&broker.config))
}

/// Sets how far a group has consumed.
pub fn update(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    let r = UpdateConsumerOffset::decode(&request.header.ext)?;
    // Only groups and topics have offsets, so that nobody can fill the table with names.
    if broker.group_or_create(&r.consumer_group)?.is_none() {
        let remark = format!("Group {} not exist!", r.consumer_group);
        return Err(Refusal::new(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    }
    if broker.topics.get(&r.topic).is_none() {
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, format!("Topic {} not exist!", r.topic)));
    }
    if !(0..MAX_QUEUES).contains(&r.queue_id) || r.commit_offset < 0 {
        let remark = format!("offset {} of queue {} is not possible", r.commit_offset, r.queue_id);
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    broker.commit_offset(&r.consumer_group, &r.topic, r.queue_id, r.commit_offset)?;
    if !request.header.is_oneway() {
        broker.tell_offsets();
    }
    Ok(())
}
