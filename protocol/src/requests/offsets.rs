//! Queue offsets and consumer offsets: codes 14, 15, 29-32 (P§2.2).

use std::borrow::Cow;

use super::headers;

headers! {
    /// QUERY_CONSUMER_OFFSET (14).
    QueryConsumerOffset<'a> {
        /// Consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// Topic.
        topic: Cow<'a, str> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Whether 0 may stand for a missing offset while the queue still begins in memory; absent means yes.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }

    /// UPDATE_CONSUMER_OFFSET (15).
    UpdateConsumerOffset<'a> {
        /// Consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// Topic.
        topic: Cow<'a, str> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Next offset the group will consume.
        commit_offset: i64 = "commitOffset",
    }

    /// GET_MAX_OFFSET (30), GET_MIN_OFFSET (31), GET_EARLIEST_MSG_STORETIME (32).
    QueueBound<'a> {
        /// Topic.
        topic: Cow<'a, str> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP (29).
    SearchOffset<'a> {
        /// Topic.
        topic: Cow<'a, str> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Store time looked for, ms since 1970.
        timestamp: i64 = "timestamp",
        /// `LOWER` (also when absent) or `UPPER`.
        boundary_type: Option<Cow<'a, str>> = "boundaryType",
    }

    /// An answer that is one offset.
    OffsetReply {
        /// The offset.
        offset: i64 = "offset",
    }

    /// The answer to GET_EARLIEST_MSG_STORETIME.
    TimestampReply {
        /// Store time, ms since 1970; -1 if the queue is empty.
        timestamp: i64 = "timestamp",
    }
}
