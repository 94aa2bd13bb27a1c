//! Topics: listed (206, 224, 304, 311-313), registered (217) and deleted (216) by hand.

use protocol::bodies::route::TopicRouteData;
use protocol::bodies::topic_list::TopicList;
use protocol::requests::{ClusterName, DeleteTopicInNamesrv, TopicName};
use tracing::info;

use crate::name_server::NameServer;
use crate::refusal::Refusal;
use crate::routes::UnitTopics;

/// 206: every topic.
///
/// # Errors
/// [`Refusal::Disabled`] by `enableAllTopicList=false`
pub fn all(server: &NameServer) -> Result<TopicList, Refusal> {
    if !server.live().enable_all_topic_list {
        return Err(Refusal::Disabled);
    }
    Ok(server.routes.read().all_topics())
}

/// 224: the topics of a cluster, none if it is unknown.
///
/// # Errors
/// [`Refusal::Disabled`] by `enableTopicList=false`
pub fn of_cluster(server: &NameServer, request: &ClusterName<'_>) -> Result<TopicList, Refusal> {
    listing_allowed(server)?;
    Ok(server.routes.read().topics_of_cluster(&request.cluster))
}

/// 304: the topics named like clusters and brokers.
pub fn system(server: &NameServer, listener: Option<&str>) -> TopicList {
    let routes = server.routes.read();
    listener.map_or_else(|| routes.system_topics(), |listener| routes.system_topics_at(listener))
}

/// 311, 312, 313: the topics of units.
///
/// # Errors
/// [`Refusal::Disabled`] by `enableTopicList=false`
pub fn of_units(server: &NameServer, which: UnitTopics) -> Result<TopicList, Refusal> {
    listing_allowed(server)?;
    Ok(server.routes.read().unit_topics(which))
}

/// 217: puts a topic's queues into the table, if all its brokers are known.
pub fn register(server: &NameServer, request: &TopicName<'_>, route: TopicRouteData) {
    server.routes.write().register_topic(&request.topic, route.queue_datas);
    info!(topic = %request.topic, "topic registered by hand");
}

/// 216: takes a topic out of the table, everywhere or in one cluster. Brokers that still have it bring it back.
pub fn delete(server: &NameServer, request: &DeleteTopicInNamesrv<'_>) {
    let cluster = request.cluster_name.as_deref().filter(|name| !name.is_empty());
    server.routes.write().delete_topic(&request.topic, cluster);
    info!(topic = %request.topic, cluster, "topic deleted");
}

fn listing_allowed(server: &NameServer) -> Result<(), Refusal> {
    if server.live().enable_topic_list { Ok(()) } else { Err(Refusal::Disabled) }
}
