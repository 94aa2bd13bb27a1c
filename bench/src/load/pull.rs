//! The pulling load: each place of the window reads one queue from its first to its last message, over
//! and over.

use std::borrow::Cow;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, CommandHead, FrameView};
use protocol::header::Serialization;
use protocol::requests::{DecodeExt, PULL_SUBSCRIPTION, PullMessage, PullMessageReply};

use super::{Call, Workload};

/// Messages asked for at a time, as much as a Java broker gives.
pub const BATCH: i32 = 32;

/// Pulls batches of messages.
pub struct Puller {
    topic: String,
    header: Serialization,
    next_offsets: Vec<i64>,
}

impl Puller {
    /// Creates the load of one connection with `window` requests in flight, one per queue.
    pub fn new(topic: &str, header: Serialization, window: usize) -> Self {
        Self { topic: topic.to_owned(), header, next_offsets: vec![0; window] }
    }
}

impl Workload for Puller {
    fn request(&mut self, call: Call, out: &mut Vec<u8>) {
        let head = CommandHead::request(self.header, RequestCode::PULL_MESSAGE.0, call.opaque());
        frame::encode(out, &head, &request(&self.topic, call.place(), self.next_offsets[call.place()]), &[]);
    }

    fn answer(&mut self, call: Call, answer: &FrameView<'_>) -> Result<u64, String> {
        let next = &mut self.next_offsets[call.place()];
        match ResponseCode(answer.header.code) {
            ResponseCode::SUCCESS => {}
            // The end of the queue, or one that retention has cut: start over.
            ResponseCode::PULL_NOT_FOUND | ResponseCode::PULL_OFFSET_MOVED if *next > 0 => {
                *next = 0;
                return Ok(0);
            }
            code => return Err(format!("{code}: {}", answer.header.remark.as_deref().unwrap_or_default())),
        }
        let reply = PullMessageReply::decode(&answer.header.ext).map_err(|error| error.to_string())?;
        let count = count_records(answer.body).ok_or("the body does not end with a record")?;
        *next = if reply.next_begin_offset >= reply.max_offset { 0 } else { reply.next_begin_offset };
        Ok(count)
    }
}

fn request(topic: &str, queue: usize, offset: i64) -> PullMessage<'_> {
    PullMessage {
        consumer_group: Cow::Borrowed("BenchmarkConsumer"),
        topic: Cow::Borrowed(topic),
        queue_id: queue as i32,
        queue_offset: offset,
        max_msg_nums: BATCH,
        // Only the subscription is valid: no commit, no waiting.
        sys_flag: PULL_SUBSCRIPTION,
        commit_offset: 0,
        suspend_timeout_millis: 0,
        subscription: Some(Cow::Borrowed("*")),
        sub_version: 0,
        expression_type: None,
        max_msg_bytes: None,
    }
}

fn count_records(mut body: &[u8]) -> Option<u64> {
    let mut count = 0;
    while let Some((size, _)) = body.split_first_chunk::<4>() {
        let size = usize::try_from(u32::from_be_bytes(*size)).ok().filter(|size| *size >= 4)?;
        body = body.get(size..)?;
        count += 1;
    }
    body.is_empty().then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_by_their_sizes() {
        let mut body = vec![0, 0, 0, 6, 1, 1, 0, 0, 0, 4];
        assert_eq!(count_records(&body), Some(2));
        assert_eq!(count_records(&[]), Some(0));
        body.push(9);
        assert_eq!(count_records(&body), None);
        assert_eq!(count_records(&[0, 0, 0, 0]), None);
    }
}
