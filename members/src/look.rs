//! Asks brokers and name servers what a draining group still holds; what that means is decided in `held.rs`.

use std::collections::BTreeSet;

use client::{CallError, Client, Connections, RequestError, namesrv, replica, survey};
use futures::future::{BoxFuture, FutureExt, TryFutureExt};
use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::bodies::connection::ConsumerConnection;
use protocol::bodies::heartbeat::MessageModel;
use protocol::bodies::route::{QueueData, TopicRouteData};
use protocol::bodies::topic_config::{TopicConfig, perm};
use protocol::codes::ResponseCode;

use crate::held::{Bounds, Connected, Found, Kind, Topic, kind};
use crate::{Draining, Master};

/// How many requests one look has under way.
pub(crate) const REQUESTS_AT_ONCE: usize = 16;
const MESSAGE_TYPE: &str = "message.type";
const ORDERED: &str = "FIFO";

/// Why something was not found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("{address} is not broker {name}")]
    Another { name: String, address: String },
    #[error("messages moved on it during each of {looks} looks")]
    Restless { looks: usize },
}

/// What a look found.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) found: Found,
    /// Whether messages came into the broker's log meanwhile. One that was moved, to be read later or again, may have
    /// been missed where it was and where it went.
    pub(crate) moved: bool,
}

/// Connects to a master and checks that it is the one.
pub(crate) async fn open(connections: &Connections, master: &Master) -> Result<Client, LookError> {
    let client = connections.to(&master.address).await?;
    if survey::system_topics(&client).await?.contains(&master.name) {
        return Ok(client);
    }
    Err(LookError::Another { name: master.name.clone(), address: master.address.clone() })
}

/// Finds out what the group's master holds and for whom.
pub(crate) async fn look(connections: &Connections, draining: &Draining) -> Result<Seen, LookError> {
    let master = open(connections, &draining.master).await?;
    let others = each(draining.other_masters.iter().map(|other| open(connections, other))).await?;
    let all: Vec<Client> = std::iter::once(master.clone()).chain(others).collect();

    let begin = replica::log_bounds(&master).await?.end;
    let mut found = Found { delay_offsets: survey::delay_offsets(&master).await?, ..Found::default() };
    for answer in each(all.iter().map(replica::groups)).await? {
        found.groups.extend(answer.subscription_group_table.into_keys());
    }
    let mut offsets = each(all.iter().map(replica::offsets)).await?;
    for (topic, group) in offsets.iter().flatten().filter_map(|(key, _)| key.split_once('@')) {
        found.note_reader(topic, group);
    }
    found.offsets = offsets.swap_remove(0);
    let groups = found.groups.clone();
    let pairs = groups.iter().flat_map(|group| all.iter().map(move |client| (group, client)));
    let connected = each(
        pairs.map(|(group, client)| survey::consumers(client, group).map_ok(move |there| (group, there))),
    );
    for (group, there) in connected.await? {
        let Some(there) = there.map(of_connection) else { continue };
        there.topics.iter().for_each(|topic| found.note_reader(topic, group));
        found.connected.entry(group.clone()).or_default().push(there);
    }
    let configs = replica::topics(&master).await?.topic_config_table.into_values();
    let counted = configs.filter(|config| kind(&config.topic_name) != Kind::Notes);
    found.topics = each(counted.map(|config| topic(&master, config))).await?.into_iter().collect();
    let moved = replica::log_bounds(&master).await?.end != begin;
    Ok(Seen { found, moved })
}

/// How producers are led to a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Led {
    /// Whether a route does, or there is nobody to ask.
    pub(crate) by_routes: bool,
    /// Topics with an order configuration that names the group: their producers send to all groups that it names,
    /// whatever the routes say.
    pub(crate) by_order: BTreeSet<String>,
}

/// Asks each name server how it leads producers to the group. All of the broker's topics are asked for: a name server
/// may have taken only an older registration.
pub(crate) async fn led(connections: &Connections, draining: &Draining) -> Result<Led, LookError> {
    let master = open(connections, &draining.master).await?;
    let topics: Vec<String> = replica::topics(&master).await?.topic_config_table.into_keys().collect();
    let name_servers = each(draining.name_servers.iter().map(|address| connections.to(address))).await?;
    let pairs = topics.iter().flat_map(|topic| name_servers.iter().map(move |client| (topic, client)));
    let routes =
        each(pairs.map(|(topic, client)| route(client, topic).map_ok(move |at| (topic, at)))).await?;
    // Nobody to ask is no answer.
    let mut led = Led { by_routes: routes.is_empty(), ..Led::default() };
    for (topic, route) in &routes {
        let Some(route) = route else { continue };
        led.note(topic, route, &draining.master.name);
    }
    Ok(led)
}

impl Led {
    fn note(&mut self, topic: &str, route: &TopicRouteData, group: &str) {
        let writes = |at: &QueueData| at.broker_name == group && perm::is_writeable(at.perm);
        self.by_routes |= route.queue_datas.iter().any(writes);
        let mut named = route.order_topic_conf.iter().flat_map(|conf| conf.split(';'));
        if named.any(|entry| entry.split(':').next() == Some(group)) {
            self.by_order.insert(topic.to_owned());
        }
    }
}

async fn route(client: &Client, topic: &str) -> Result<Option<TopicRouteData>, RequestError> {
    match namesrv::topic_route(client, topic).await {
        Ok(route) => Ok(Some(route)),
        Err(error) if error.refusal() == Some(ResponseCode::TOPIC_NOT_EXIST) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn topic(master: &Client, config: TopicConfig) -> Result<(String, Topic), RequestError> {
    let queues = survey::queues(master, &config.topic_name).await?;
    let bounds = |(id, at): (i32, protocol::bodies::stats::TopicOffset)| {
        (id, Bounds { min: at.min_offset, max: at.max_offset })
    };
    let ordered =
        config.order || config.attributes.get(MESSAGE_TYPE).is_some_and(|kind| kind.as_str() == ORDERED);
    Ok((config.topic_name, Topic { ordered, queues: queues.into_iter().map(bounds).collect() }))
}

fn of_connection(connection: ConsumerConnection) -> Connected {
    Connected {
        broadcasts: connection.message_model == MessageModel::Broadcasting,
        topics: connection.subscription_table.into_keys().collect(),
    }
}

/// Waits for some requests, [`REQUESTS_AT_ONCE`] at a time; one that fails ends it.
pub(crate) fn each<'a, F, R, E>(requests: impl Iterator<Item = F>) -> BoxFuture<'a, Result<Vec<R>, LookError>>
where
    F: Future<Output = Result<R, E>> + Send + 'a,
    R: Send + 'a,
    E: Send + 'a,
    LookError: From<E>,
{
    let requests: Vec<F> = requests.collect();
    stream::iter(requests).buffered(REQUESTS_AT_ONCE).map_err(LookError::from).try_collect().boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_an_order_configuration_names_gets_messages_whatever_its_queues_permit() {
        let queues =
            |perm: i32| vec![QueueData { broker_name: "g-1".to_owned(), perm, ..QueueData::default() }];
        let cases = [
            ("a route", queues(perm::READ | perm::WRITE), None, true, false),
            ("a route to another group", queues(perm::READ), None, false, false),
            ("an order", queues(perm::READ), Some("g-0:4;g-1:4"), false, true),
            ("an order of one group, without queues", vec![], Some("g-1:4"), false, true),
            ("an order of others", queues(perm::READ), Some("g-0:4;g-10:4"), false, false),
            ("no order", queues(perm::READ), Some(""), false, false),
        ];
        for (name, queue_datas, order, by_routes, by_order) in cases {
            let order_topic_conf = order.map(str::to_owned);
            let route = TopicRouteData { queue_datas, order_topic_conf, ..TopicRouteData::default() };
            let mut led = Led::default();
            led.note("T", &route, "g-1");
            let by_order = by_order.then(|| "T".to_owned()).into_iter().collect();
            assert_eq!(led, Led { by_routes, by_order }, "{name}");
        }
    }
}
