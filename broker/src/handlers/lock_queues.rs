//! LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42): P§8.6.

use std::time::Instant;

use protocol::bodies::lock::{LockBatch, LockedQueues};
use protocol::bodies::message_queue::MessageQueue;
use protocol::json::JsonBody;
use remoting::handler::{Reply, Request};

use crate::broker::Broker;
use crate::refusal::Refusal;

/// Locks what is free or held by the caller already.
pub fn lock(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = LockBatch::decode(request.body)?;
    // Only queues of this broker: nobody can fill the table with names.
    let exists = |q: &MessageQueue| {
        broker
            .topics
            .get(&q.topic)
            .is_some_and(|t| (0..t.read_queue_nums.max(t.write_queue_nums)).contains(&q.queue_id))
    };
    let queues = r.mq_set.into_iter().filter(exists);
    let locked = broker.locks.lock(&r.consumer_group, &r.client_id, queues, Instant::now());
    reply.body = LockedQueues { lock_ok_mq_set: locked.into_iter().collect() }.encode();
    Ok(())
}

/// Gives up what the caller holds.
pub fn unlock(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    let r = LockBatch::decode(request.body)?;
    broker.locks.unlock(&r.consumer_group, &r.client_id, r.mq_set.into_iter());
    Ok(())
}
