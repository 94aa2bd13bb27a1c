//! The route table, pure: which brokers live, which topics they hold, where clients find them. Time is an argument;
//! nothing here knows sockets, JSON or requests. Everything is soft: brokers fill an empty table within 30 seconds.
//!
//! | File | Decides |
//! |---|---|
//! | `routes/register.rs` | what a broker's registration changes |
//! | `routes/unregister.rs` | what goes when a broker leaves, falls silent or loses its connection |
//! | `routes/lookup.rs` | the route of a topic, and who stands in for a missing master |
//! | `routes/topics.rs` | topics by hand: registered, deleted, write-protected, listed |
//! | `routes/zone.rs` | which part of a route a client in one zone sees |
//! | `routes/listener.rs` | what a client that came by a further listener sees |

mod listener;
mod lookup;
mod register;
#[cfg(test)]
mod tests;
mod topics;
mod unregister;
pub mod zone;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use protocol::bodies::broker_member_group::BrokerMemberGroup;
use protocol::bodies::cluster_info::ClusterInfo;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::route::{BrokerData, QueueData};
use protocol::bodies::topic_queue_mapping::TopicQueueMappingInfo;
use protocol::listeners::ListenerAddresses;

pub use register::{MasterAddress, RegisterRefusal, Registered, Registration};
pub use topics::UnitTopics;
pub use unregister::Departed;
pub use unregister::Left;

/// How long a broker may be silent when its registration does not say.
pub const DEFAULT_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(120);

/// The number of the connection on which a broker registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A broker process: an address is only unique within its cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerAddress {
    /// Cluster.
    pub cluster: String,
    /// `host:port` that clients use.
    pub addr: String,
}

/// The settings that change what the table does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Present the lowest id of a group without a master as its master.
    pub support_acting_master: bool,
    /// A registration is the whole truth: topics it does not name are taken from the broker.
    pub delete_topic_with_broker_registration: bool,
    /// Tell the members of a group when its lowest id changes.
    pub notify_min_broker_id_changed: bool,
}

/// The lowest id of a group changed and its members want to know (905).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinBrokerIdChange {
    /// The group.
    pub broker_name: String,
    /// Its lowest id now.
    pub min_broker_id: i64,
    /// The address of that member.
    pub min_broker_addr: String,
    /// The address of the member that left, if one did.
    pub offline_broker_addr: Option<String>,
    /// The HA address of the member that came, if one did.
    pub ha_broker_addr: Option<String>,
    /// Whom to tell.
    pub notify: Vec<String>,
}

/// The tables of one name server.
#[derive(Debug, Default)]
pub struct Routes {
    /// Topic -> broker name -> queues.
    topics: BTreeMap<String, BTreeMap<String, QueueData>>,
    /// Broker name -> members. Never empty of members.
    brokers: BTreeMap<String, BrokerData>,
    /// Cluster -> broker names.
    clusters: BTreeMap<String, BTreeSet<String>>,
    live: BTreeMap<BrokerAddress, LiveBroker>,
    filter_servers: BTreeMap<BrokerAddress, Vec<String>>,
    /// Topic -> broker name -> static queues.
    static_queues: BTreeMap<String, BTreeMap<String, TopicQueueMappingInfo>>,
}

/// What is remembered of a broker process besides its place in its group.
#[derive(Debug)]
struct LiveBroker {
    came: Instant,
    last_seen: Instant,
    timeout: Duration,
    data_version: DataVersion,
    connection: ConnectionId,
    /// The one before, if it registered anew on another.
    superseded: Option<ConnectionId>,
    ha_addr: String,
    /// Where clients that came by further listeners reach it.
    listeners: ListenerAddresses,
}

impl Routes {
    /// Returns every broker by name and by cluster.
    #[must_use]
    pub fn cluster_info(&self) -> ClusterInfo {
        ClusterInfo { broker_addr_table: self.brokers.clone(), cluster_addr_table: self.clusters.clone() }
    }

    /// Returns the members of a group, none if it is unknown.
    #[must_use]
    pub fn member_group(&self, cluster: &str, broker_name: &str) -> BrokerMemberGroup {
        BrokerMemberGroup {
            broker_addrs: self
                .brokers
                .get(broker_name)
                .map(|group| group.broker_addrs.clone())
                .unwrap_or_default(),
            broker_name: broker_name.to_owned(),
            cluster: cluster.to_owned(),
        }
    }

    /// Returns how many broker processes live.
    #[must_use]
    pub fn live_brokers(&self) -> usize {
        self.live.len()
    }

    /// Returns when the last broker came, of those that live.
    #[must_use]
    pub fn last_came(&self) -> Option<Instant> {
        self.live.values().map(|live| live.came).max()
    }

    /// Returns how many topics have a route.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }
}

impl BrokerAddress {
    /// Names the broker at `addr` in `cluster`.
    #[must_use]
    pub fn new(cluster: &str, addr: &str) -> Self {
        Self { cluster: cluster.to_owned(), addr: addr.to_owned() }
    }
}

/// Says whether nobody in the group is its master.
fn has_no_master(group: &BrokerData) -> bool {
    group.broker_addrs.keys().next().is_none_or(|min| *min > protocol::bodies::route::MASTER_ID)
}
