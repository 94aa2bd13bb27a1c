//! All messages a topic holds at one moment, over all its queues, in the order in which they were stored.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::admin::{Admin, QueueBounds};
use client::broker::{self, Found};
use client::message::{Received, read_records};
use client::routes::Routes;
use protocol::message::{self, Decoded};
use protocol::requests::{PULL_SUBSCRIPTION, PullMessage};

use crate::consume::GROUP;

const BATCH: i32 = 32;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A reading of a topic from its first message to the last one it had when the reading began.
pub struct Scan {
    routes: Routes,
    topic: String,
    tags: String,
    queues: Vec<Queue>,
}

struct Queue {
    place: QueueBounds,
    next_offset: i64,
    read: VecDeque<Stored>,
}

/// A message with its place in the broker's log, which orders what was stored in one millisecond.
struct Stored {
    message: Received,
    physical_offset: i64,
}

impl Scan {
    /// Asks where the topic begins and ends.
    pub async fn start(routes: Routes, topic: &str, tags: &str) -> anyhow::Result<Scan> {
        let bounds = Admin::new(routes.clone()).queue_bounds(topic).await?;
        let queue =
            |place: QueueBounds| Queue { next_offset: place.min_offset, place, read: VecDeque::new() };
        Ok(Scan {
            routes,
            topic: topic.to_owned(),
            tags: tags.to_owned(),
            queues: bounds.into_iter().map(queue).collect(),
        })
    }

    /// Returns the message that was stored first of those not returned yet; `None` at the end.
    pub async fn next(&mut self) -> anyhow::Result<Option<Received>> {
        for index in 0..self.queues.len() {
            self.fill(index).await?;
        }
        let order = |queue: &Queue| {
            queue.read.front().map(|first| (first.message.store_timestamp, first.physical_offset))
        };
        let waiting = self.queues.iter_mut().filter(|queue| !queue.read.is_empty());
        let first = waiting.min_by_key(|queue| order(queue)).and_then(|queue| queue.read.pop_front());
        Ok(first.map(|stored| stored.message))
    }

    /// Reads on in a queue until it has a message to offer or is at its end.
    async fn fill(&mut self, index: usize) -> anyhow::Result<()> {
        let queue = &mut self.queues[index];
        while queue.read.is_empty() && queue.next_offset < queue.place.max_offset {
            let client = self.routes.connections().to(&queue.place.queue.addr).await?;
            let request = request(&self.topic, &self.tags, queue);
            let pulled = broker::pull(&client, &request, ANSWER_WITHIN).await?;
            match pulled.found {
                Found::Messages => {
                    let messages = read_records(&pulled.records, &queue.place.queue.broker_name)?;
                    let stored = messages.into_iter().zip(physical_offsets(&pulled.records));
                    let end = queue.place.max_offset;
                    queue.read.extend(
                        stored
                            .map(|(message, physical_offset)| Stored { message, physical_offset })
                            .filter(|stored| stored.message.queue_offset < end),
                    );
                }
                // Nothing of ours up to where the answer says; a queue that does not move on has ended.
                Found::NothingMatches | Found::OffsetMoved if pulled.next_offset > queue.next_offset => {}
                Found::NothingMatches | Found::OffsetMoved | Found::NothingNew => {
                    queue.next_offset = queue.place.max_offset;
                    continue;
                }
            }
            queue.next_offset = pulled.next_offset;
        }
        Ok(())
    }
}

/// Reads where each of the records lies in its broker's log.
fn physical_offsets(records: &[u8]) -> Vec<i64> {
    let mut offsets = Vec::new();
    let mut rest = records;
    while let Decoded::Record(record) = message::decode(rest, records.len()) {
        offsets.push(record.physical_offset);
        rest = &rest[record.total_size..];
    }
    offsets
}

fn request<'a>(topic: &'a str, tags: &'a str, queue: &Queue) -> PullMessage<'a> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    PullMessage {
        consumer_group: Cow::Borrowed(GROUP),
        topic: Cow::Borrowed(topic),
        queue_id: queue.place.queue.queue_id,
        queue_offset: queue.next_offset,
        max_msg_nums: BATCH,
        sys_flag: PULL_SUBSCRIPTION,
        commit_offset: 0,
        suspend_timeout_millis: 0,
        subscription: Some(Cow::Borrowed(tags)),
        sub_version: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        expression_type: None,
        max_msg_bytes: None,
    }
}
