//! Requests to a broker, one function each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::bodies::consumer_list::ConsumerIdList;
use protocol::bodies::ha_runtime_info::HaRuntimeInfo;
use protocol::bodies::heartbeat::HeartbeatData;
use protocol::bodies::kv_table::KvTable;
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::json::JsonBody;
use protocol::requests::{
    ConsumerGroup, CreateTopic, EncodeExt, NoFields, OffsetReply, PullMessage, PullMessageReply,
    QueryConsumerOffset, QueueBound, SearchOffset, SendMessage, SendMessageReply, TopicName,
    UnregisterClient, UpdateConsumerOffset,
};
use remoting::client::decode_fields;
use remoting::{Client, Response};

use crate::error::{Asked, RequestError};

/// How long a broker may take for anything but a send and a pull.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a message that a broker has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As the broker's configuration asks.
    AsAsked,
    /// Stored, but not on the disk in time.
    FlushDiskTimeout,
    /// Stored, but not on the replicas in time.
    FlushReplicaTimeout,
    /// Stored, but there is no replica.
    NoReplica,
}

/// A stored message, or the first of a stored batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Id made of the broker's address and the position; a comma list for a batch.
    pub offset_id: String,
    /// Queue it went to.
    pub queue_id: i32,
    /// Position there.
    pub queue_offset: i64,
    /// How safe it is.
    pub durability: Durability,
}

/// What a pull found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Messages.
    Messages,
    /// The queue has no message at the offset yet.
    NothingNew,
    /// Messages, but the filter matches none; go on behind them.
    NothingMatches,
    /// The queue never had, or no longer has, the offset; go on where the answer says.
    OffsetMoved,
}

/// The answer to a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What it found.
    pub found: Found,
    /// Where to go on.
    pub next_offset: i64,
    /// First offset of the queue.
    pub min_offset: i64,
    /// One past its last.
    pub max_offset: i64,
    /// Whole records, one after the other.
    pub records: Bytes,
}

/// One queue of a topic on a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Its number.
    pub id: i32,
}

/// Sends a message, or a batch if the header says so. Not durable before it returns; when it fails, the
/// message may have been stored all the same.
///
/// # Errors
/// Refused with any code but those of [`Durability`].
pub async fn send(
    client: &Client,
    header: &SendMessage<'_>,
    body: &[u8],
    timeout: Duration,
) -> Result<Sent, RequestError> {
    let code = if header.batch { RequestCode::SEND_BATCH_MESSAGE } else { RequestCode::SEND_MESSAGE_V2 };
    let asked = Asked { client, code, timeout };
    let response = asked.any(header, body).await?;
    let durability = match response.code {
        ResponseCode::SUCCESS => Durability::AsAsked,
        ResponseCode::FLUSH_DISK_TIMEOUT => Durability::FlushDiskTimeout,
        ResponseCode::FLUSH_SLAVE_TIMEOUT => Durability::FlushReplicaTimeout,
        ResponseCode::SLAVE_NOT_AVAILABLE => Durability::NoReplica,
        _ => return Err(asked.refused(response)),
    };
    let sent = decode_fields(&response, |ext| {
        SendMessageReply::read(ext).map(|reply| Sent {
            offset_id: reply.msg_id.into_owned(),
            queue_id: reply.queue_id,
            queue_offset: reply.queue_offset,
            durability,
        })
    });
    sent.map_err(|error| asked.unreadable(error))
}

/// Asks for messages of a queue. With `PULL_SUSPEND` the broker may hold the request for the header's
/// time, so `timeout` has to be longer.
///
/// # Errors
/// Refused with any code but those of [`Found`].
pub async fn pull(
    client: &Client,
    header: &PullMessage<'_>,
    timeout: Duration,
) -> Result<Pulled, RequestError> {
    let asked = Asked { client, code: RequestCode::PULL_MESSAGE, timeout };
    let response = asked.any(header, &[]).await?;
    let found = match response.code {
        ResponseCode::SUCCESS => Found::Messages,
        ResponseCode::PULL_NOT_FOUND => Found::NothingNew,
        ResponseCode::PULL_RETRY_IMMEDIATELY => Found::NothingMatches,
        ResponseCode::PULL_OFFSET_MOVED => Found::OffsetMoved,
        _ => return Err(asked.refused(response)),
    };
    let reply: PullMessageReply = asked.reply(&response)?;
    Ok(Pulled {
        found,
        next_offset: reply.next_begin_offset,
        min_offset: reply.min_offset,
        max_offset: reply.max_offset,
        records: response.body,
    })
}

/// Returns where a group goes on in a queue, or `None` when it never committed there.
pub async fn consumer_offset(
    client: &Client,
    group: &str,
    queue: Queue<'_>,
) -> Result<Option<i64>, RequestError> {
    let header = QueryConsumerOffset {
        consumer_group: Cow::Borrowed(group),
        topic: Cow::Borrowed(queue.topic),
        queue_id: queue.id,
        set_zero_if_not_found: Some(false),
    };
    let asked = Asked { client, code: RequestCode::QUERY_CONSUMER_OFFSET, timeout: TIMEOUT };
    let response = asked.any(&header, &[]).await?;
    match response.code {
        ResponseCode::QUERY_NOT_FOUND => Ok(None),
        ResponseCode::SUCCESS => offset_of(&asked, &response).map(Some),
        _ => Err(asked.refused(response)),
    }
}

/// Says where a group goes on in a queue, and waits until the broker has heard it.
pub async fn commit_offset(
    client: &Client,
    group: &str,
    queue: Queue<'_>,
    offset: i64,
) -> Result<(), RequestError> {
    plain(client, RequestCode::UPDATE_CONSUMER_OFFSET, &commit(group, queue, offset), &[]).await
}

/// The fields of a commit.
pub(crate) fn commit<'a>(group: &'a str, queue: Queue<'a>, offset: i64) -> UpdateConsumerOffset<'a> {
    UpdateConsumerOffset {
        consumer_group: Cow::Borrowed(group),
        topic: Cow::Borrowed(queue.topic),
        queue_id: queue.id,
        commit_offset: offset,
    }
}

/// Returns one past the last offset of a queue.
pub async fn max_offset(client: &Client, queue: Queue<'_>) -> Result<i64, RequestError> {
    offset(client, RequestCode::GET_MAX_OFFSET, &bound(queue)).await
}

/// Returns the first offset that a queue still has.
pub async fn min_offset(client: &Client, queue: Queue<'_>) -> Result<i64, RequestError> {
    offset(client, RequestCode::GET_MIN_OFFSET, &bound(queue)).await
}

/// Returns the first offset that was stored at or after a time, in milliseconds since 1970.
pub async fn search_offset(
    client: &Client,
    queue: Queue<'_>,
    timestamp_ms: i64,
) -> Result<i64, RequestError> {
    let header = SearchOffset {
        topic: Cow::Borrowed(queue.topic),
        queue_id: queue.id,
        timestamp: timestamp_ms,
        boundary_type: None,
    };
    offset(client, RequestCode::SEARCH_OFFSET_BY_TIMESTAMP, &header).await
}

/// Tells a broker who this client is and what it wants; to be repeated every 30 s. Returns the broker's
/// version.
pub async fn heartbeat(client: &Client, data: &HeartbeatData) -> Result<i32, RequestError> {
    let asked = Asked { client, code: RequestCode::HEART_BEAT, timeout: TIMEOUT };
    Ok(asked.success(&protocol::requests::NoFields, &data.encode()).await?.version)
}

/// Takes this client out of its groups, before it stops.
pub async fn unregister_client(client: &Client, header: &UnregisterClient<'_>) -> Result<(), RequestError> {
    plain(client, RequestCode::UNREGISTER_CLIENT, header, &[]).await
}

/// Returns the ids of a group's consumers; none when nobody consumes for it.
pub async fn consumer_ids(client: &Client, group: &str) -> Result<Vec<String>, RequestError> {
    let header = ConsumerGroup { consumer_group: Cow::Borrowed(group) };
    let asked = Asked { client, code: RequestCode::GET_CONSUMER_LIST_BY_GROUP, timeout: TIMEOUT };
    let response = asked.any(&header, &[]).await?;
    match response.code {
        // How a broker says that there is none.
        ResponseCode::SYSTEM_ERROR => Ok(Vec::new()),
        ResponseCode::SUCCESS => {
            let list = ConsumerIdList::decode(&response.body).map_err(|error| asked.unreadable(error))?;
            Ok(list.consumer_id_list)
        }
        _ => Err(asked.refused(response)),
    }
}

/// Creates a topic or changes its settings.
pub async fn create_topic(client: &Client, topic: &TopicConfig) -> Result<(), RequestError> {
    let attributes =
        topic.attributes.iter().map(|(key, value)| format!("+{key}={value}")).collect::<Vec<_>>().join(",");
    let header = CreateTopic {
        topic: Cow::Borrowed(&topic.topic_name),
        default_topic: Some(Cow::Borrowed(protocol::names::AUTO_CREATE_TOPIC)),
        read_queue_nums: topic.read_queue_nums,
        write_queue_nums: topic.write_queue_nums,
        perm: topic.perm,
        topic_filter_type: Some(Cow::Borrowed(topic.topic_filter_type.name())),
        topic_sys_flag: Some(topic.topic_sys_flag),
        order: topic.order,
        attributes: (!attributes.is_empty()).then_some(Cow::Owned(attributes)),
    };
    plain(client, RequestCode::UPDATE_AND_CREATE_TOPIC, &header, &[]).await
}

/// Creates a subscription group or changes its settings.
pub async fn create_group(client: &Client, group: &SubscriptionGroupConfig) -> Result<(), RequestError> {
    plain(client, RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields, &group.encode()).await
}

/// Deletes a topic and its messages.
pub async fn delete_topic(client: &Client, topic: &str) -> Result<(), RequestError> {
    let header = TopicName { topic: Cow::Borrowed(topic) };
    plain(client, RequestCode::DELETE_TOPIC_IN_BROKER, &header, &[]).await
}

/// Returns a topic's settings.
pub async fn topic_config(client: &Client, topic: &str) -> Result<TopicConfig, RequestError> {
    let header = TopicName { topic: Cow::Borrowed(topic) };
    let asked = Asked { client, code: RequestCode::GET_TOPIC_CONFIG, timeout: TIMEOUT };
    let response = asked.success(&header, &[]).await?;
    TopicConfig::decode(&response.body).map_err(|error| asked.unreadable(error))
}

/// Returns a broker's runtime facts by name, the ends of its log among them.
pub async fn runtime_info(client: &Client) -> Result<BTreeMap<String, String>, RequestError> {
    let asked = Asked { client, code: RequestCode::GET_BROKER_RUNTIME_INFO, timeout: TIMEOUT };
    let response = asked.success(&NoFields, &[]).await?;
    Ok(KvTable::decode(&response.body).map_err(|error| asked.unreadable(error))?.table)
}

/// Returns how far a master's followers are, or a slave's own link.
///
/// # Errors
/// Refused by brokers before 5.0, which do not know the request.
pub async fn ha_status(client: &Client) -> Result<HaRuntimeInfo, RequestError> {
    let asked = Asked { client, code: RequestCode::GET_BROKER_HA_STATUS, timeout: TIMEOUT };
    let response = asked.success(&NoFields, &[]).await?;
    HaRuntimeInfo::decode(&response.body).map_err(|error| asked.unreadable(error))
}

fn bound<'a>(queue: Queue<'a>) -> QueueBound<'a> {
    QueueBound { topic: Cow::Borrowed(queue.topic), queue_id: queue.id }
}

async fn plain(
    client: &Client,
    code: RequestCode,
    header: &impl EncodeExt,
    body: &[u8],
) -> Result<(), RequestError> {
    Asked { client, code, timeout: TIMEOUT }.success(header, body).await.map(drop)
}

async fn offset(client: &Client, code: RequestCode, header: &impl EncodeExt) -> Result<i64, RequestError> {
    let asked = Asked { client, code, timeout: TIMEOUT };
    let response = asked.success(header, &[]).await?;
    offset_of(&asked, &response)
}

fn offset_of(asked: &Asked<'_>, response: &Response) -> Result<i64, RequestError> {
    Ok(asked.reply::<OffsetReply>(response)?.offset)
}
