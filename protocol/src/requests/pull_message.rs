//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): P§2.2, P§8.4.

use std::borrow::Cow;

use super::headers;

/// Bit of `sys_flag`: `commit_offset` is to be stored.
pub const PULL_COMMIT_OFFSET: i32 = 1;
/// Bit of `sys_flag`: the broker may hold the request until a message comes.
pub const PULL_SUSPEND: i32 = 2;
/// Bit of `sys_flag`: the header carries the subscription.
pub const PULL_SUBSCRIPTION: i32 = 4;
/// Bit of `sys_flag`: class filter, long removed.
pub const PULL_CLASS_FILTER: i32 = 8;
/// Bit of `sys_flag`: a lite pull consumer asks.
pub const PULL_LITE: i32 = 16;

headers! {
    /// A pull from one queue.
    PullMessage<'a> {
        /// Consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// Topic.
        topic: Cow<'a, str> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// First queue offset wanted.
        queue_offset: i64 = "queueOffset",
        /// Most messages wanted.
        max_msg_nums: i32 = "maxMsgNums",
        /// Bits `PULL_*`.
        sys_flag: i32 = "sysFlag",
        /// Offset to store for the group, with [`PULL_COMMIT_OFFSET`].
        commit_offset: i64 = "commitOffset",
        /// How long the broker may hold the request, ms.
        suspend_timeout_millis: i64 = "suspendTimeoutMillis",
        /// Filter expression, with [`PULL_SUBSCRIPTION`].
        subscription: Option<Cow<'a, str>> = "subscription",
        /// Version of the subscription the client holds.
        sub_version: i64 = "subVersion",
        /// `TAG` or `SQL92`; absent means `TAG`.
        expression_type: Option<Cow<'a, str>> = "expressionType",
        /// Most bytes wanted.
        max_msg_bytes: Option<i32> = "maxMsgBytes",
    }

    /// The answer to a pull; all four are needed by every client whatever the code is.
    PullMessageReply {
        /// Broker id the next pull should go to.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// Where to go on.
        next_begin_offset: i64 = "nextBeginOffset",
        /// First offset of the queue.
        min_offset: i64 = "minOffset",
        /// One past the last offset of the queue.
        max_offset: i64 = "maxOffset",
    }
}
