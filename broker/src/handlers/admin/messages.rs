//! Single messages: QUERY_MESSAGE (12), VIEW_MESSAGE_BY_ID (33).

use protocol::codes::ResponseCode;
use protocol::frame::MAX_FRAME;
use protocol::requests::{DecodeExt, QueryMessage, QueryMessageReply, ViewMessage};
use remoting::handler::{Reply, Request};

use crate::broker::{Broker, blocking};
use crate::refusal::Refusal;

/// Messages one query returns at most, as in Java (`defaultQueryMaxNum`).
const MAX_FOUND: usize = 32;

/// Bytes of records in an answer that still fits a frame.
const MAX_BODY: usize = MAX_FRAME - (64 << 10);

/// Finds messages by key or unique key, newest first.
pub fn by_key(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = QueryMessage::decode(&request.header.ext)?;
    // A unique key names one message, but batches and retries can share it; Java then takes its own maximum.
    let unique = r.unique_key_query.as_deref() == Some("true");
    let max = if unique { MAX_FOUND } else { (r.max_num.max(1) as usize).min(MAX_FOUND) };
    let times = if unique { 0..=i64::MAX } else { r.begin_timestamp..=r.end_timestamp };
    let found = blocking(|| broker.store.find_by_key(&r.topic, &r.key, times, max))?;
    reply.set_ext(QueryMessageReply {
        index_last_update_timestamp: broker.store.last_store_time(),
        index_last_update_phyoffset: broker.store.written() as i64,
    });
    if found.is_empty() {
        return Err(Refusal::new(
            ResponseCode::QUERY_NOT_FOUND,
            "can not find message, maybe time range not correct",
        ));
    }
    for record in found {
        if reply.body.len() + record.len() > MAX_BODY {
            break;
        }
        reply.body.extend_from_slice(&record);
    }
    Ok(())
}

/// Returns the record at a physical offset.
pub fn by_offset(broker: &Broker, request: &Request<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let r = ViewMessage::decode(&request.header.ext)?;
    let missing = || Refusal::failed(format!("can not find message by the offset, {}", r.offset));
    let offset = u64::try_from(r.offset).map_err(|_| missing())?;
    reply.body = blocking(|| broker.store.read_record(offset)).map_err(|_| missing())?;
    Ok(())
}
