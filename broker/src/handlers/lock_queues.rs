//! LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42): P§8.6.

use std::time::Instant;

use protocol::bodies::lock::{LockBatch, LockedQueues};
use protocol::json::JsonBody;
use remoting::handler::{Reply, Request};

use crate::broker::Broker;
use crate::refusal::Refusal;

/// Locks what is free or held by the caller already.
pub fn lock(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = LockBatch::decode(request.body)?;
    let locked = broker.locks.lock(&r.consumer_group, &r.client_id, r.mq_set.into_iter(), Instant::now());
    reply.body = LockedQueues { lock_ok_mq_set: locked.into_iter().collect() }.encode();
    Ok(())
}

/// Gives up what the caller holds.
pub fn unlock(broker: &Broker, request: &Request<'_>) -> Result<(), Refusal> {
    let r = LockBatch::decode(request.body)?;
    broker.locks.unlock(&r.consumer_group, &r.client_id, r.mq_set.into_iter());
    Ok(())
}
