//! Operations on a whole cluster: made of requests to every broker that matters and to every name server.

use protocol::bodies::cluster_info::ClusterInfo;
use protocol::bodies::route::MASTER_ID;
use protocol::bodies::topic_config::TopicConfig;

use crate::broker::{self, Queue};
use crate::error::RequestError;
use crate::namesrv;
use crate::routes::{RouteError, RoutedQueue, Routes};

/// Why an operation was not carried out everywhere.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The name servers do not answer, or do not know the topic.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The cluster does not exist or has no master.
    #[error("no master of cluster {cluster} is registered; registered clusters: {known}")]
    NoCluster {
        /// What was asked for.
        cluster: String,
        /// What there is.
        known: String,
    },
    /// One server failed; servers asked before it have carried it out, those after it were not asked.
    #[error("{doing}: {source}")]
    Server {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: RequestError,
    },
}

/// Which masters an operation is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those of all clusters that the name servers know.
    #[default]
    Everywhere,
    /// Those of one cluster.
    Cluster(String),
}

/// What a queue holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// The queue.
    pub queue: RoutedQueue,
    /// Its first offset.
    pub min_offset: i64,
    /// One past its last.
    pub max_offset: i64,
}

/// Carries out operations; cheap to clone.
#[derive(Clone)]
pub struct Admin {
    routes: Routes,
}

impl Admin {
    /// Creates an admin of the cluster that these routes lead to.
    pub fn new(routes: Routes) -> Self {
        Self { routes }
    }

    /// Returns all brokers by cluster.
    pub async fn cluster_info(&self) -> Result<ClusterInfo, AdminError> {
        Ok(self.routes.ask_first(|client| async move { namesrv::cluster_info(&client).await }).await?)
    }

    /// Returns the names of all topics, system topics included.
    pub async fn topics(&self) -> Result<Vec<String>, AdminError> {
        let list = self.routes.ask_first(|client| async move { namesrv::topic_list(&client).await }).await?;
        Ok(list.topic_list.into_iter().collect())
    }

    /// Creates a topic, or changes its settings, on every master.
    pub async fn create_topic(&self, topic: &TopicConfig, scope: &Scope) -> Result<(), AdminError> {
        for (name, addr) in masters(&self.cluster_info().await?, scope)? {
            let doing = || format!("create topic {} on {name}", topic.topic_name);
            let created = async {
                let client = self.routes.connections().to(&addr).await?;
                broker::create_topic(&client, topic).await
            };
            created.await.map_err(|source| AdminError::Server { doing: doing(), source })?;
        }
        Ok(())
    }

    /// Deletes a topic and its messages from every broker, then from every name server.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), AdminError> {
        let info = self.cluster_info().await?;
        for broker in info.broker_addr_table.values() {
            for addr in broker.broker_addrs.values() {
                let deleted = async {
                    let client = self.routes.connections().to(addr).await?;
                    broker::delete_topic(&client, topic).await
                };
                deleted.await.map_err(|source| AdminError::Server {
                    doing: format!("delete topic {topic} on {}", broker.broker_name),
                    source,
                })?;
            }
        }
        for addr in self.routes.name_servers() {
            let deleted = async {
                let client = self.routes.connections().to(addr).await?;
                namesrv::delete_topic(&client, topic, None).await
            };
            deleted.await.map_err(|source| AdminError::Server {
                doing: format!("delete topic {topic} on name server {addr}"),
                source,
            })?;
        }
        Ok(())
    }

    /// Returns what each queue of a topic holds.
    pub async fn queue_bounds(&self, topic: &str) -> Result<Vec<QueueBounds>, AdminError> {
        let mut bounds = Vec::new();
        for queue in &self.routes.refresh(topic).await?.read {
            let of_queue = async {
                let client = self.routes.connections().to(&queue.addr).await?;
                let place = Queue { topic, id: queue.queue_id };
                let min_offset = broker::min_offset(&client, place).await?;
                let max_offset = broker::max_offset(&client, place).await?;
                Ok(QueueBounds { queue: queue.clone(), min_offset, max_offset })
            };
            bounds.push(of_queue.await.map_err(|source| AdminError::Server {
                doing: format!("read the offsets of topic {topic}"),
                source,
            })?);
        }
        Ok(bounds)
    }
}

// Name and address of each master in scope, in the order of the names.
fn masters(info: &ClusterInfo, scope: &Scope) -> Result<Vec<(String, String)>, AdminError> {
    let in_scope = |cluster: &String| match scope {
        Scope::Everywhere => true,
        Scope::Cluster(wanted) => wanted == cluster,
    };
    let masters: Vec<(String, String)> = info
        .broker_addr_table
        .values()
        .filter(|broker| in_scope(&broker.cluster))
        .filter_map(|broker| Some((broker.broker_name.clone(), broker.broker_addrs.get(&MASTER_ID)?.clone())))
        .collect();
    if !masters.is_empty() {
        return Ok(masters);
    }
    let known: Vec<&str> = info.cluster_addr_table.keys().map(String::as_str).collect();
    Err(AdminError::NoCluster {
        cluster: match scope {
            Scope::Everywhere => "any name".to_owned(),
            Scope::Cluster(wanted) => wanted.clone(),
        },
        known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Connections;
    use crate::scripted::{self, Answer};
    use parking_lot::Mutex;
    use protocol::bodies::route::BrokerData;
    use protocol::codes::RequestCode;
    use protocol::json::JsonBody;
    use std::sync::Arc;

    type Group<'a> = (&'a str, &'a str, &'a [(i64, &'a str)]);

    fn info(groups: &[Group<'_>]) -> ClusterInfo {
        let mut info = ClusterInfo::default();
        for (cluster, name, addrs) in groups {
            let data = BrokerData {
                broker_addrs: addrs.iter().map(|(id, addr)| (*id, (*addr).to_owned())).collect(),
                broker_name: (*name).to_owned(),
                cluster: (*cluster).to_owned(),
                ..BrokerData::default()
            };
            info.broker_addr_table.insert((*name).to_owned(), data);
            info.cluster_addr_table.entry((*cluster).to_owned()).or_default().insert((*name).to_owned());
        }
        info
    }

    #[test]
    fn only_masters_in_scope_are_asked_and_a_wrong_cluster_is_answered_with_those_that_exist() {
        let info = info(&[
            ("C1", "a", &[(0, "a:1"), (1, "a:2")]),
            ("C1", "b", &[(1, "b:2")]),
            ("C2", "c", &[(0, "c:1")]),
        ]);
        let pair = |name: &str, addr: &str| (name.to_owned(), addr.to_owned());
        assert_eq!(masters(&info, &Scope::Everywhere).unwrap(), [pair("a", "a:1"), pair("c", "c:1")]);
        assert_eq!(masters(&info, &Scope::Cluster("C1".into())).unwrap(), [pair("a", "a:1")]);
        let error = masters(&info, &Scope::Cluster("C3".into())).unwrap_err().to_string();
        assert_eq!(error, "no master of cluster C3 is registered; registered clusters: C1, C2");
    }

    #[tokio::test]
    async fn deleting_a_topic_reaches_brokers_first_and_name_servers_last() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let (at_broker, at_name_server) = (order.clone(), order.clone());
        let broker = scripted::start(move |request| {
            at_broker.lock().push((request.code, request.field("topic").unwrap_or_default().to_owned()));
            Answer::fields(&[])
        })
        .await;
        let name_server = scripted::start(move |request| match RequestCode(request.code) {
            RequestCode::GET_BROKER_CLUSTER_INFO => {
                Answer::body(info(&[("C", "a", &[(0, broker.as_str())])]).encode())
            }
            code => {
                at_name_server.lock().push((code.0, request.field("topic").unwrap_or_default().to_owned()));
                Answer::fields(&[])
            }
        })
        .await;
        let admin = Admin::new(Routes::new(Connections::default(), &name_server));
        admin.delete_topic("T").await.unwrap();
        let expected = [RequestCode::DELETE_TOPIC_IN_BROKER, RequestCode::DELETE_TOPIC_IN_NAMESRV];
        assert_eq!(*order.lock(), expected.map(|code| (code.0, "T".to_owned())));
    }
}
