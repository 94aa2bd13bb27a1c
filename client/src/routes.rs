//! Where the queues of topics are: asked of the name servers, remembered for half a minute.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::bodies::route::{MASTER_ID, TopicRouteData};
use protocol::bodies::topic_config::perm;
use protocol::codes::ResponseCode;
use tokio::time::Instant;

use crate::error::RequestError;
use crate::{Client, Connections, namesrv};

/// How long a route is used before it is asked for again.
pub const FRESH_FOR: Duration = Duration::from_secs(30);

/// How many routes are remembered; beyond that all are forgotten and asked for again.
pub const MAX_ROUTES: usize = 10_000;

/// A queue and the broker to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedQueue {
    /// Broker group.
    pub broker_name: String,
    /// Address of its master.
    pub addr: String,
    /// Queue.
    pub queue_id: i32,
}

/// Where a topic is written and read; brokers in the order of their names, a group without a master left
/// out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Queues to send to.
    pub write: Vec<RoutedQueue>,
    /// Queues to pull from.
    pub read: Vec<RoutedQueue>,
}

impl Route {
    /// Reads a route as the name server has it.
    pub fn new(data: &TopicRouteData) -> Self {
        let mut route = Route::default();
        let mut brokers: Vec<_> = data.queue_datas.iter().collect();
        brokers.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        for queues in brokers {
            let broker = data.broker_datas.iter().find(|broker| broker.broker_name == queues.broker_name);
            let Some(addr) = broker.and_then(|broker| broker.broker_addrs.get(&MASTER_ID)) else { continue };
            let queue = |queue_id| RoutedQueue {
                broker_name: queues.broker_name.clone(),
                addr: addr.clone(),
                queue_id,
            };
            if perm::is_writeable(queues.perm) {
                route.write.extend((0..queues.write_queue_nums).map(queue));
            }
            if perm::is_readable(queues.perm) {
                route.read.extend((0..queues.read_queue_nums).map(queue));
            }
        }
        route
    }
}

/// Routes of all topics that were asked for; clones share them.
#[derive(Clone)]
pub struct Routes {
    connections: Connections,
    name_servers: Arc<[String]>,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

#[derive(Clone)]
struct Known {
    asked_at: Instant,
    route: Arc<Route>,
}

/// Why a name server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// No name server knows the topic.
    #[error("topic {0} does not exist")]
    NoTopic(String),
    /// No name server answered; the last one's error.
    #[error("no name server answers, the last says: {0}")]
    NoNameServer(#[source] RequestError),
    /// The list of name servers is empty.
    #[error("no name server is given; allowed is host:port, several joined by `;`")]
    NoneGiven,
}

impl Routes {
    /// Creates an empty cache; `name_servers` is `host:port`, several joined by `;`, as clients know it.
    pub fn new(connections: Connections, name_servers: &str) -> Self {
        let addresses = name_servers.split(';').map(str::trim).filter(|addr| !addr.is_empty());
        Self { connections, name_servers: addresses.map(str::to_owned).collect(), known: Arc::default() }
    }

    /// Returns the connections that the routes lead to.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Returns the addresses of the name servers.
    pub fn name_servers(&self) -> &[String] {
        &self.name_servers
    }

    /// Returns a route that is at most [`FRESH_FOR`] old.
    pub async fn get(&self, topic: &str) -> Result<Arc<Route>, RouteError> {
        let known = self.known.lock().get(topic).cloned();
        match known {
            Some(known) if known.asked_at.elapsed() < FRESH_FOR => Ok(known.route),
            _ => self.refresh(topic).await,
        }
    }

    /// Asks for a route, whatever is known, and remembers it.
    pub async fn refresh(&self, topic: &str) -> Result<Arc<Route>, RouteError> {
        let answer = self.ask_first(|client| async move { namesrv::topic_route(&client, topic).await }).await;
        let data = match answer {
            Err(RouteError::NoNameServer(error))
                if error.refusal() == Some(ResponseCode::TOPIC_NOT_EXIST) =>
            {
                self.known.lock().remove(topic);
                return Err(RouteError::NoTopic(topic.to_owned()));
            }
            other => other?,
        };
        let route = Arc::new(Route::new(&data));
        let mut known = self.known.lock();
        if known.len() >= MAX_ROUTES {
            known.clear();
        }
        known.insert(topic.to_owned(), Known { asked_at: Instant::now(), route: route.clone() });
        Ok(route)
    }

    /// Asks one name server after the other until one answers without an error.
    pub async fn ask_first<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, RouteError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let mut last = RouteError::NoneGiven;
        for addr in self.name_servers.iter() {
            let answer = match self.connections.to(addr).await {
                Ok(client) => ask(client).await,
                Err(error) => Err(error.into()),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => last = RouteError::NoNameServer(error),
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::{self, Answer};
    use protocol::bodies::route::{BrokerData, QueueData};
    use protocol::codes::RequestCode;

    fn broker(name: &str, id: i64) -> BrokerData {
        BrokerData {
            broker_addrs: [(id, format!("{name}:10911"))].into(),
            broker_name: name.to_owned(),
            ..BrokerData::default()
        }
    }

    fn queues(name: &str, perm: i32, read: i32, write: i32) -> QueueData {
        QueueData {
            broker_name: name.to_owned(),
            perm,
            read_queue_nums: read,
            write_queue_nums: write,
            topic_sys_flag: 0,
        }
    }

    #[test]
    fn a_route_respects_permissions_and_needs_a_master() {
        let data = TopicRouteData {
            broker_datas: vec![broker("b", 0), broker("a", 0), broker("slaves-only", 1)],
            queue_datas: vec![
                queues("b", perm::READ, 2, 9),
                queues("a", perm::READ | perm::WRITE, 2, 1),
                queues("slaves-only", 6, 4, 4),
                queues("unregistered", 6, 4, 4),
            ],
            ..TopicRouteData::default()
        };
        let route = Route::new(&data);
        let ids = |queues: &[RoutedQueue]| -> Vec<String> {
            queues.iter().map(|q| format!("{}/{} at {}", q.broker_name, q.queue_id, q.addr)).collect()
        };
        assert_eq!(ids(&route.write), ["a/0 at a:10911"]);
        assert_eq!(
            ids(&route.read),
            ["a/0 at a:10911", "a/1 at a:10911", "b/0 at b:10911", "b/1 at b:10911"]
        );
    }

    #[tokio::test]
    async fn the_next_name_server_is_asked_when_one_is_gone() {
        let server = scripted::start(|request| {
            assert_eq!(request.code, RequestCode::GET_ROUTEINFO_BY_TOPIC.0);
            match request.field("topic") {
                Some("T") => Answer::body(scripted::route("a", "a:1", 1)),
                _ => Answer::refuse(ResponseCode::TOPIC_NOT_EXIST, "No topic route info"),
            }
        })
        .await;
        let gone = scripted::closed_port().await;
        let routes = Routes::new(Connections::default(), &format!("{gone}; {server}"));
        let expected = RoutedQueue { broker_name: "a".into(), addr: "a:1".into(), queue_id: 0 };
        assert_eq!(routes.get("T").await.unwrap().write, [expected]);
        let error = routes.get("U").await.unwrap_err();
        assert_eq!(error.to_string(), "topic U does not exist");
        let none = Routes::new(Connections::default(), " ; ");
        assert!(matches!(none.get("T").await, Err(RouteError::NoneGiven)));
    }
}
