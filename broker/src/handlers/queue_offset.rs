//! GET_MAX_OFFSET (30), GET_MIN_OFFSET (31), SEARCH_OFFSET_BY_TIMESTAMP (29), GET_EARLIEST_MSG_STORETIME (32).

use std::sync::Arc;

use protocol::requests::{DecodeExt, OffsetReply, QueueBound, SearchOffset, TimestampReply};
use remoting::handler::{Reply, Request};
use store::Queue;

use crate::broker::{Broker, blocking};
use crate::refusal::Refusal;

fn find(broker: &Broker, topic: &str, queue_id: i32) -> Option<Arc<Queue>> {
    broker.store.queue(topic, u32::try_from(queue_id).ok()?)
}

/// Returns the offset the next message of a queue will have.
pub fn max(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = QueueBound::decode(&request.header.ext)?;
    let offset = find(broker, &r.topic, r.queue_id).map_or(0, |q| q.bounds().1) as i64;
    reply.set_ext(OffsetReply { offset });
    Ok(())
}

/// Returns the offset of the first message of a queue.
pub fn min(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = QueueBound::decode(&request.header.ext)?;
    let offset = find(broker, &r.topic, r.queue_id).map_or(0, |q| q.bounds().0) as i64;
    reply.set_ext(OffsetReply { offset });
    Ok(())
}

/// Returns the first offset stored at a time or later; with `UPPER` the last one stored then or earlier.
pub fn search(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = SearchOffset::decode(&request.header.ext)?;
    let upper = r.boundary_type.as_deref().is_some_and(|b| b.eq_ignore_ascii_case("UPPER"));
    let offset = match find(broker, &r.topic, r.queue_id) {
        None => 0,
        Some(queue) => blocking(|| {
            if !upper {
                return broker.store.offset_at_or_after(&queue, r.timestamp);
            }
            let (min, max) = queue.bounds();
            let later = broker.store.offset_at_or_after(&queue, r.timestamp.saturating_add(1))?;
            // As in Java: behind everything it is the end, before everything the beginning.
            Ok(if later == max { max } else { later.saturating_sub(1).max(min) })
        })?,
    };
    reply.set_ext(OffsetReply { offset: offset as i64 });
    Ok(())
}

/// Returns when the first message of a queue was stored.
pub fn earliest(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = QueueBound::decode(&request.header.ext)?;
    let timestamp = find(broker, &r.topic, r.queue_id).map_or(Ok(-1), |q| first_time(broker, &q))?;
    reply.set_ext(TimestampReply { timestamp });
    Ok(())
}

fn first_time(broker: &Broker, queue: &Queue) -> Result<i64, Refusal> {
    let mut first = Vec::with_capacity(1);
    blocking(|| {
        queue.entries(queue.bounds().0, 1, true, &mut first).map_err(Refusal::failed)?;
        first.first().map_or(Ok(-1), |e| Ok(broker.store.store_time(e)?))
    })
}
