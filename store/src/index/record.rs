//! The index entries of a record that is in the log already: found by a scan, or come from a master.

use std::fmt;
use std::sync::Arc;

use protocol::message::{Record, SYS_TRANSACTION};
use protocol::properties;

use super::keys::{self, ActiveKeys, KeyEntry};
use super::queue::{Entry, Queue};
use super::table::{MAX_QUEUES, QueueTable};
use crate::dropped::Dropped;
use crate::segment::Segment;

/// Transaction states of a record (P§4.3).
const PREPARED: i32 = 4;
const ROLLBACK: i32 = 12;

/// What became of a record's index entries.
pub(crate) enum Indexed {
    /// It is in a queue, with this hash of its tags.
    Entry(Arc<Queue>, i64),
    /// It is in no queue, and need not be.
    None,
    /// Its queue has a message at its offset already.
    Repeated(Repeated),
}

/// A record at a queue offset that was there before.
pub(crate) struct Repeated {
    topic: Arc<str>,
    queue: u32,
    queue_offset: u64,
    next: u64,
}

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repeated { topic, queue, queue_offset, next } = self;
        write!(f, "record repeats offset {queue_offset} of {topic}/{queue}, where {next} comes next")
    }
}

/// Builds the index entries of a record, as the append does for a new one.
pub(crate) fn index_record(
    record: &Record<'_>,
    segment: &Segment,
    dropped: &Dropped,
    queues: &QueueTable,
    active: &ActiveKeys,
) -> Indexed {
    let physical = record.physical_offset as u64;
    let transaction = record.sys_flag & SYS_TRANSACTION;
    if dropped.covers(record.topic, physical)
        || !(0..MAX_QUEUES as i32).contains(&record.queue_id)
        || record.queue_offset < 0
        || transaction == ROLLBACK
    {
        return Indexed::None;
    }
    let reserved = properties::reserved(record.properties);
    let mut indexed = Indexed::None;
    // A prepared message is found by its keys, but no consumer may have it yet (P§5.3).
    if transaction != PREPARED {
        let queue = queues.get_or_create(record.topic, record.queue_id as u32);
        let queue_offset = record.queue_offset as u64;
        let next = queue.next();
        if queue_offset < next {
            let topic = queue.topic.clone();
            return Indexed::Repeated(Repeated { topic, queue: queue.id, queue_offset, next });
        }
        let tags_code = properties::tags_code(reserved.tags);
        let entry = Entry { queue_offset, physical, size: record.total_size as u32, tags_code };
        queue.push(segment.base, &entry, record.store_timestamp);
        indexed = Indexed::Entry(queue, tags_code);
    }
    let relative = (physical - segment.base) as u32;
    let hashes = keys::of_record(reserved.uniq_key, reserved.keys).map(|k| keys::hash(record.topic, k));
    active.push_all(hashes.map(|hash| KeyEntry { hash, relative }));
    indexed
}
