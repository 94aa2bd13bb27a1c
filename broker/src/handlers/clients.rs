//! HEART_BEAT (34), UNREGISTER_CLIENT (35), GET_CONSUMER_LIST_BY_GROUP (38), CHECK_CLIENT_CONFIG (46): P§8.3.

use std::time::Instant;

use protocol::bodies::check_client::CheckClientConfig;
use protocol::bodies::consumer_list::ConsumerIdList;
use protocol::bodies::heartbeat::HeartbeatData;
use protocol::codes::ResponseCode;
use protocol::json::JsonBody;
use protocol::requests::{ConsumerGroup, DecodeExt, HeartbeatReply, UnregisterClient};
use remoting::Peer;
use remoting::handler::{Reply, Request};

use crate::broker::Broker;
use crate::handlers::pull_message::check_expression_type;
use crate::refusal::Refusal;
use crate::topics::retry_topic_config;

/// Bytes of a heartbeat: all of it stays in memory as long as the connection.
const MAX_HEARTBEAT: usize = 1 << 20;

/// Registers the sender's groups; makes a consumer group and its retry topic when they are new.
pub fn heartbeat(
    broker: &Broker,
    peer: &Peer,
    request: &Request<'_>,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    if request.body.len() > MAX_HEARTBEAT {
        let remark = format!("heartbeat of {} bytes is more than {MAX_HEARTBEAT}", request.body.len());
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    let data = HeartbeatData::decode(request.body)?;
    for consumer in data.consumer_data_set.iter().filter(|_| !data.without_sub) {
        crate::groups::check_name(&consumer.group_name)
            .map_err(|e| Refusal::new(ResponseCode::INVALID_PARAMETER, e))?;
        let name = &consumer.group_name;
        let Some(group) = broker.group_or_create(name)? else { continue };
        let retry = retry_topic_config(name, group.retry_queue_nums);
        if broker.topics.get(&retry.topic_name).is_none() {
            // A heartbeat goes on without it, on a full disk say; the next one tries again.
            if let Err(refusal) = broker.put_topic_if_absent(retry) {
                tracing::debug!(group = name, "retry topic not made yet: {}", refusal.remark);
            }
        }
    }
    let changed =
        broker.clients.heartbeat(peer, &request.header, &data, |g| broker.notifies(g), Instant::now());
    reply.set_ext(HeartbeatReply { heartbeat_v2: true, sub_change: changed });
    Ok(())
}

/// Lets a client leave its groups.
pub fn unregister(broker: &Broker, peer: &Peer, request: &Request<'_>) -> Result<(), Refusal> {
    let r = UnregisterClient::decode(&request.header.ext)?;
    broker
        .clients
        .unregister(peer, r.producer_group.as_deref(), r.consumer_group.as_deref(), |g| broker.notifies(g));
    Ok(())
}

/// Lists the clients of a consumer group.
pub fn consumer_list(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = ConsumerGroup::decode(&request.header.ext)?;
    let consumer_id_list = broker.clients.consumer_ids(&r.consumer_group);
    if consumer_id_list.is_empty() {
        return Err(Refusal::failed(format!("no consumer for this group, {}", r.consumer_group)));
    }
    reply.body = ConsumerIdList { consumer_id_list }.encode();
    Ok(())
}

/// Says whether the broker can filter as a consumer is about to ask for.
pub fn check_config(request: &Request<'_>) -> Result<(), Refusal> {
    let r = CheckClientConfig::decode(request.body)?;
    check_expression_type(Some(&r.subscription_data.expression_type))
}
