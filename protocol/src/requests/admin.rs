//! Administration of a broker: topics, subscription groups, single records (P§2.4).

use std::borrow::Cow;

use super::headers;

headers! {
    /// UPDATE_AND_CREATE_TOPIC (17).
    CreateTopic<'a> {
        /// Topic.
        topic: Cow<'a, str> = "topic",
        /// Topic the settings come from; unused by brokers.
        default_topic: Option<Cow<'a, str>> = "defaultTopic",
        /// Queues consumers see.
        read_queue_nums: i32 = "readQueueNums",
        /// Queues producers see.
        write_queue_nums: i32 = "writeQueueNums",
        /// Bits of P§8.1.
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: Option<Cow<'a, str>> = "topicFilterType",
        /// Unit bits.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Whether the topic is for ordered messages.
        order: bool = "order" or false,
        /// `+key=value,-key`.
        attributes: Option<Cow<'a, str>> = "attributes",
    }

    /// DELETE_TOPIC_IN_BROKER (215), GET_TOPIC_CONFIG (351), GET_TOPIC_STATS_INFO (202), QUERY_TOPIC_CONSUME_BY_WHO (300).
    TopicName<'a> {
        /// Topic.
        topic: Cow<'a, str> = "topic",
    }

    /// DELETE_SUBSCRIPTIONGROUP (207).
    DeleteSubscriptionGroup<'a> {
        /// Consumer group.
        group_name: Cow<'a, str> = "groupName",
        /// Whether its offsets go too.
        clean_offset: bool = "cleanOffset" or false,
    }

    /// GET_SUBSCRIPTIONGROUP_CONFIG (352).
    GroupName<'a> {
        /// Consumer group.
        group: Cow<'a, str> = "group",
    }

    /// GET_CONSUME_STATS (208).
    GetConsumeStats<'a> {
        /// Consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// Only this topic.
        topic: Option<Cow<'a, str>> = "topic",
    }

    /// QUERY_MESSAGE (12).
    QueryMessage<'a> {
        /// Topic.
        topic: Cow<'a, str> = "topic",
        /// Key or unique key.
        key: Cow<'a, str> = "key",
        /// Most records wanted.
        max_num: i32 = "maxNum",
        /// Earliest store time, ms since 1970.
        begin_timestamp: i64 = "beginTimestamp",
        /// Latest store time, ms since 1970.
        end_timestamp: i64 = "endTimestamp",
        /// `true` when the key is a unique key.
        unique_key_query: Option<Cow<'a, str>> = "_UNIQUE_KEY_QUERY",
    }

    /// The answer to QUERY_MESSAGE.
    QueryMessageReply {
        /// Store time of the newest indexed record.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// Physical offset of the newest indexed record.
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    }

    /// The answer to GET_BROKER_CONFIG (26).
    BrokerConfigReply<'a> {
        /// JSON of the settings' `DataVersion`.
        version: Cow<'a, str> = "version",
    }

    /// VIEW_MESSAGE_BY_ID (33).
    ViewMessage<'a> {
        /// Topic, sent by newer clients.
        topic: Option<Cow<'a, str>> = "topic",
        /// Physical offset.
        offset: i64 = "offset",
    }
}
