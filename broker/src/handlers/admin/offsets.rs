//! How far groups are: 43, 208, 300.

use protocol::bodies::group_list::GroupList;
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::offsets::ConsumerOffsetSerializeWrapper;
use protocol::bodies::stats::{ConsumeStats, OffsetWrapper};
use protocol::codes::ResponseCode;
use protocol::json::JsonBody;
use protocol::requests::{DecodeExt, GetConsumeStats, TopicName};
use remoting::handler::{Reply, Request};

use crate::broker::{Broker, blocking};
use crate::refusal::Refusal;

/// Returns all consumer offsets.
pub fn all(broker: &Broker, reply: &mut Reply) -> Result<(), Refusal> {
    let (offset_table, data_version) = broker.offsets.all();
    // Java's slaves need the version.
    reply.body = ConsumerOffsetSerializeWrapper { data_version: Some(data_version), offset_table }.encode();
    Ok(())
}

/// Returns offsets and backlog of a group, queue by queue.
pub fn consume_stats(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = GetConsumeStats::decode(&request.header.ext)?;
    let topics = match r.topic.as_deref() {
        Some(topic) if !topic.is_empty() => vec![topic.to_owned()],
        _ => broker.offsets.topics_of(&r.consumer_group),
    };
    let mut stats = ConsumeStats::default();
    for topic in topics {
        let Some(config) = broker.topics.get(&topic) else { continue };
        let committed = broker.offsets.of(&r.consumer_group, &topic);
        for id in 0..config.read_queue_nums {
            let offset = queue_stats(broker, &topic, id, committed.get(&id).copied())?;
            let queue =
                MessageQueue { broker_name: broker.config.name.clone(), queue_id: id, topic: topic.clone() };
            stats.offset_table.insert(queue, offset);
        }
    }
    reply.body = stats.encode();
    Ok(())
}

fn queue_stats(
    broker: &Broker,
    topic: &str,
    id: i32,
    committed: Option<i64>,
) -> Result<OffsetWrapper, Refusal> {
    let mut offset = OffsetWrapper::default();
    offset.consumer_offset = committed.unwrap_or(0).max(0);
    offset.pull_offset = offset.consumer_offset;
    if let Some(queue) = broker.store.queue(topic, id as u32) {
        offset.broker_offset = queue.bounds().1 as i64;
        // When the last consumed message was stored.
        if offset.consumer_offset > 0 {
            let mut one = Vec::with_capacity(1);
            let read = blocking(|| queue.entries(offset.consumer_offset as u64 - 1, 1, true, &mut one));
            read.map_err(Refusal::failed)?;
            offset.last_timestamp = one.first().map_or(Ok(0), |e| blocking(|| broker.store.store_time(e)))?;
        }
    }
    Ok(offset)
}

/// Returns the groups that consume a topic: those connected and those with offsets on it.
pub fn groups_of_topic(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = TopicName::decode(&request.header.ext)?;
    if broker.topics.get(&r.topic).is_none() {
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, format!("topic[{}] not exist", r.topic)));
    }
    let connected = broker.clients.groups_subscribing(&r.topic);
    reply.body =
        GroupList { group_list: connected.into_iter().chain(broker.offsets.groups_of(&r.topic)).collect() }
            .encode();
    Ok(())
}
