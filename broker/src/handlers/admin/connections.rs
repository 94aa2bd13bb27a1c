//! Who is connected: 203, 204.

use protocol::codes::ResponseCode;
use protocol::json::JsonBody;
use protocol::requests::{ConsumerGroup, DecodeExt, ProducerGroup};
use remoting::handler::{Reply, Request};

use crate::broker::Broker;
use crate::refusal::Refusal;

/// Returns the connections and subscriptions of a consumer group.
pub fn consumers(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = ConsumerGroup::decode(&request.header.ext)?;
    let offline = || {
        Refusal::new(
            ResponseCode::CONSUMER_NOT_ONLINE,
            format!("the consumer group[{}] not online", r.consumer_group),
        )
    };
    reply.body = broker.clients.consumer_connection(&r.consumer_group).ok_or_else(offline)?.encode();
    Ok(())
}

/// Returns the connections of a producer group.
pub fn producers(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = ProducerGroup::decode(&request.header.ext)?;
    let missing = || Refusal::failed(format!("the producer group[{}] not exist", r.producer_group));
    reply.body = broker.clients.producer_connection(&r.producer_group).ok_or_else(missing)?.encode();
    Ok(())
}
