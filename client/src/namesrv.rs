//! Requests to a name server, one function each.

use std::borrow::Cow;
use std::time::Duration;

use protocol::bodies::cluster_info::ClusterInfo;
use protocol::bodies::kv_table::KvTable;
use protocol::bodies::register_broker::{RegisterBrokerBody, body_crc32};
use protocol::bodies::route::TopicRouteData;
use protocol::bodies::topic_list::TopicList;
use protocol::codes::RequestCode;
use protocol::json::JsonBody;
use protocol::requests::{
    BrokerIdentity, DeleteTopicInNamesrv, GetRouteInfo, NoFields, RegisterBroker, RegisterBrokerReply,
};
use remoting::Client;

use crate::error::{Asked, RequestError};

/// How long a name server may take; it answers from memory.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// How long a registration may take, as in Java: it may be large.
pub const REGISTER_TIMEOUT: Duration = Duration::from_secs(24);

/// What a name server tells a broker that registers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registered {
    /// Where the master sends its log from.
    pub ha_server_addr: Option<String>,
    /// Where the master serves clients.
    pub master_addr: Option<String>,
    /// Topics whose queues have a fixed order.
    pub order_topics: KvTable,
}

/// Returns where the queues of a topic are.
///
/// # Errors
/// Refused with `TOPIC_NOT_EXIST` when no broker has announced the topic.
pub async fn topic_route(client: &Client, topic: &str) -> Result<TopicRouteData, RequestError> {
    let header = GetRouteInfo {
        topic: Cow::Borrowed(topic),
        accept_standard_json_only: true,
        zone_mode: None,
        zone_name: None,
    };
    body(client, RequestCode::GET_ROUTEINFO_BY_TOPIC, &header).await
}

/// Announces a broker and its topics; the checksum of the body is filled in here.
///
/// # Errors
/// Any; the broker goes on and registers again later.
pub async fn register_broker(
    client: &Client,
    header: &RegisterBroker<'_>,
    body: &RegisterBrokerBody,
) -> Result<Registered, RequestError> {
    let body = if header.compressed { body.deflate() } else { body.encode() };
    let header = RegisterBroker { body_crc32: body_crc32(&body), ..header.clone() };
    let asked = Asked { client, code: RequestCode::REGISTER_BROKER, timeout: REGISTER_TIMEOUT };
    let response = asked.success(&header, &body).await?;
    let reply = remoting::client::decode_fields(&response, |ext| {
        use protocol::requests::DecodeExt;
        RegisterBrokerReply::decode(ext).map(|reply| Registered {
            ha_server_addr: reply.ha_server_addr.map(Cow::into_owned),
            master_addr: reply.master_addr.map(Cow::into_owned),
            order_topics: KvTable::default(),
        })
    });
    let mut registered = reply.map_err(|error| asked.unreadable(error))?;
    if !response.body.is_empty() {
        registered.order_topics = KvTable::decode(&response.body).map_err(|error| asked.unreadable(error))?;
    }
    Ok(registered)
}

/// Takes a broker out of the routes, before it stops.
pub async fn unregister_broker(client: &Client, broker: &BrokerIdentity<'_>) -> Result<(), RequestError> {
    let asked = Asked { client, code: RequestCode::UNREGISTER_BROKER, timeout: TIMEOUT };
    asked.success(broker, &[]).await.map(drop)
}

/// Returns all brokers by cluster.
pub async fn cluster_info(client: &Client) -> Result<ClusterInfo, RequestError> {
    body(client, RequestCode::GET_BROKER_CLUSTER_INFO, &NoFields).await
}

/// Returns the names of all topics, system topics included.
pub async fn topic_list(client: &Client) -> Result<TopicList, RequestError> {
    body(client, RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &NoFields).await
}

/// Forgets a topic, in one cluster or in all.
pub async fn delete_topic(client: &Client, topic: &str, cluster: Option<&str>) -> Result<(), RequestError> {
    let header =
        DeleteTopicInNamesrv { topic: Cow::Borrowed(topic), cluster_name: cluster.map(Cow::Borrowed) };
    let asked = Asked { client, code: RequestCode::DELETE_TOPIC_IN_NAMESRV, timeout: TIMEOUT };
    asked.success(&header, &[]).await.map(drop)
}

async fn body<T: JsonBody>(
    client: &Client,
    code: RequestCode,
    header: &impl protocol::requests::EncodeExt,
) -> Result<T, RequestError> {
    let asked = Asked { client, code, timeout: TIMEOUT };
    let response = asked.success(header, &[]).await?;
    T::decode(&response.body).map_err(|error| asked.unreadable(error))
}
