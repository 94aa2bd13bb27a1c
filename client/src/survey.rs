//! Requests that look at a broker as a whole: what it holds and for whom. With those of [`crate::replica`] they tell
//! whether a broker may go. Java brokers answer all of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use protocol::bodies::connection::ConsumerConnection;
use protocol::bodies::offsets::DelayOffsetSerializeWrapper;
use protocol::bodies::stats::{TopicOffset, TopicStatsTable};
use protocol::bodies::topic_list::TopicList;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::json::JsonBody;
use protocol::requests::{ConsumerGroup, EncodeExt, NoFields, TopicName};
use remoting::Client;

use crate::broker::TIMEOUT;
use crate::error::{Asked, RequestError};

/// Returns the topics that are the broker's own (305); its name and its cluster's are among them.
pub async fn system_topics(client: &Client) -> Result<BTreeSet<String>, RequestError> {
    let list: TopicList = body(client, RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER, &NoFields).await?;
    Ok(list.topic_list.into_iter().collect())
}

/// Returns what each queue of a topic holds (202); no queues when the broker does not have the topic.
pub async fn queues(client: &Client, topic: &str) -> Result<BTreeMap<i32, TopicOffset>, RequestError> {
    let header = TopicName { topic: Cow::Borrowed(topic) };
    let asked = body::<TopicStatsTable>(client, RequestCode::GET_TOPIC_STATS_INFO, &header);
    let table = unless(ResponseCode::TOPIC_NOT_EXIST, asked.await)?.unwrap_or_default();
    Ok(table.offset_table.into_iter().map(|(queue, offsets)| (queue.queue_id, offsets)).collect())
}

/// Returns who is connected for a consumer group and what they subscribe to (203); `None` when nobody is.
pub async fn consumers(client: &Client, group: &str) -> Result<Option<ConsumerConnection>, RequestError> {
    let header = ConsumerGroup { consumer_group: Cow::Borrowed(group) };
    let asked = body::<ConsumerConnection>(client, RequestCode::GET_CONSUMER_CONNECTION_LIST, &header);
    let connected = unless(ResponseCode::CONSUMER_NOT_ONLINE, asked.await)?;
    Ok(connected.filter(|connected| !connected.connection_set.is_empty()))
}

/// Returns how far the queues of delayed messages are, by delay level (45); the queue of level 1 is number 0.
pub async fn delay_offsets(client: &Client) -> Result<BTreeMap<i32, i64>, RequestError> {
    let offsets: DelayOffsetSerializeWrapper =
        body(client, RequestCode::GET_ALL_DELAY_OFFSET, &NoFields).await?;
    Ok(offsets.offset_table)
}

async fn body<T: JsonBody>(
    client: &Client,
    code: RequestCode,
    header: &impl EncodeExt,
) -> Result<T, RequestError> {
    let asked = Asked { client, code, timeout: TIMEOUT };
    let response = asked.success(header, &[]).await?;
    T::decode(&response.body).map_err(|error| asked.unreadable(error))
}

/// Takes one refusal for the answer "none".
fn unless<T>(none: ResponseCode, asked: Result<T, RequestError>) -> Result<Option<T>, RequestError> {
    match asked {
        Err(error) if error.refusal() == Some(none) => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Connections;
    use crate::scripted::{self, Answer};

    async fn client(script: impl Fn(&scripted::Asked) -> Answer + Clone + Send + Sync + 'static) -> Client {
        Connections::default().to(&scripted::start(script).await).await.unwrap()
    }

    #[tokio::test]
    async fn a_topic_or_group_that_a_broker_does_not_know_is_none_and_any_other_refusal_is_an_error() {
        let unknown = client(|request| match RequestCode(request.code) {
            RequestCode::GET_CONSUMER_CONNECTION_LIST => {
                Answer::refuse(ResponseCode::CONSUMER_NOT_ONLINE, "off")
            }
            _ => Answer::refuse(ResponseCode::TOPIC_NOT_EXIST, "no"),
        })
        .await;
        assert_eq!(queues(&unknown, "T").await.unwrap(), BTreeMap::new());
        assert_eq!(consumers(&unknown, "g").await.unwrap(), None);
        let busy = client(|_| Answer::refuse(ResponseCode::SYSTEM_BUSY, "later")).await;
        assert_eq!(queues(&busy, "T").await.unwrap_err().refusal(), Some(ResponseCode::SYSTEM_BUSY));
        assert_eq!(consumers(&busy, "g").await.unwrap_err().refusal(), Some(ResponseCode::SYSTEM_BUSY));
    }

    #[tokio::test]
    async fn a_group_without_connections_has_nobody_connected() {
        let empty = client(|_| Answer::body(ConsumerConnection::default().encode())).await;
        assert_eq!(consumers(&empty, "g").await.unwrap(), None);
    }

    #[tokio::test]
    async fn queues_are_told_apart_by_their_numbers() {
        let stats = br#"{"offsetTable":{
            {"brokerName":"b","queueId":0,"topic":"T"}:{"lastUpdateTimestamp":5,"maxOffset":9,"minOffset":2},
            {"brokerName":"b","queueId":3,"topic":"T"}:{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0}}}"#;
        let broker = client(|request| {
            assert_eq!(request.field("topic"), Some("T"));
            Answer::body(stats.to_vec())
        })
        .await;
        let first = TopicOffset { last_update_timestamp: 5, max_offset: 9, min_offset: 2 };
        let expected = BTreeMap::from([(0, first), (3, TopicOffset::default())]);
        assert_eq!(queues(&broker, "T").await.unwrap(), expected);
    }
}
