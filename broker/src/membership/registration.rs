//! What the broker says of itself to name servers (103): where it is, at each listener, and which topics it has.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::register_broker::RegisterBrokerBody;
use protocol::bodies::topic_config::{TopicConfig, TopicConfigSerializeWrapper, perm};
use protocol::listeners::{INTERNAL, ListenerAddresses};
use protocol::requests::{BrokerIdentity, RegisterBroker};

use crate::broker::Broker;
use crate::config::Config;
use crate::handlers::admin::replication::ha_address;

const READ_WRITE: i32 = perm::READ | perm::WRITE;

/// One registration, the same for all name servers.
pub(super) struct Registration {
    /// Where inside clients reach the broker; with the cluster, who it is.
    pub(super) address: String,
    ha_address: String,
    /// Where it is reached by other listeners.
    listeners: Option<String>,
    pub(super) body: RegisterBrokerBody,
}

impl Registration {
    pub(super) fn header<'a>(&'a self, config: &'a Config) -> RegisterBroker<'a> {
        RegisterBroker {
            broker_name: Cow::Borrowed(&config.name),
            broker_addr: Cow::Borrowed(&self.address),
            cluster_name: Cow::Borrowed(&config.cluster),
            ha_server_addr: Cow::Borrowed(&self.ha_address),
            broker_id: config.id,
            heartbeat_timeout_millis: None,
            enable_acting_master: None,
            compressed: false,
            body_crc32: 0,
            zone_name: None,
            listeners: self.listeners.as_deref().map(Cow::Borrowed),
        }
    }
}

/// Returns who the broker is to a name server that was told `address`.
pub(super) fn identity<'a>(config: &'a Config, address: &'a str) -> BrokerIdentity<'a> {
    BrokerIdentity {
        broker_name: Cow::Borrowed(&config.name),
        broker_addr: Cow::Borrowed(address),
        cluster_name: Cow::Borrowed(&config.cluster),
        broker_id: config.id,
    }
}

/// Makes registrations; name servers that are told in the same round share one.
pub(super) struct Registrations {
    pub(super) broker: Arc<Broker>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    round: u64,
    /// Gone when everybody has sent it: topics may be many.
    made: Weak<Registration>,
    /// Whether topics were told with any permission.
    opened: bool,
}

impl Registrations {
    pub(super) fn new(broker: Arc<Broker>) -> Self {
        Self { broker, last: Mutex::default() }
    }

    /// Returns the registration of a round.
    pub(super) fn of(&self, round: u64) -> Arc<Registration> {
        let mut last = self.last.lock();
        if let Some(made) = last.made.upgrade().filter(|_| last.round == round) {
            return made;
        }
        let live = self.broker.live.load();
        last.opened |= live.permission != 0;
        let (address, listeners) = addresses(&live.listeners, &self.broker.address().to_string());
        let topics = decide_topics(self.broker.topics.all(), live.permission, last.opened);
        let made = Arc::new(Registration {
            address,
            ha_address: ha_address(&self.broker).to_string(),
            listeners,
            body: RegisterBrokerBody {
                filter_server_list: Vec::new(),
                topic_config_serialize_wrapper: topics.into(),
            },
        });
        (last.round, last.made) = (round, Arc::downgrade(&made));
        made
    }
}

/// Returns the address to register with, and those of further listeners, if there are any.
fn addresses(listeners: &ListenerAddresses, own: &str) -> (String, Option<String>) {
    let address = listeners.get(INTERNAL).unwrap_or(own).to_owned();
    let further = listeners.clone().without(INTERNAL);
    (address, (!further.is_empty()).then(|| further.to_string()))
}

/// Decides what is said of topics. A broker that may not be written or read says so for each of them, and with another
/// version, for name servers look at nothing else. One that may do neither, and never could, says that it has none.
fn decide_topics(
    (mut topics, version): (BTreeMap<String, TopicConfig>, DataVersion),
    permission: i32,
    opened: bool,
) -> TopicConfigSerializeWrapper {
    if permission & READ_WRITE == READ_WRITE {
        return TopicConfigSerializeWrapper { data_version: version, topic_config_table: topics };
    }
    if opened {
        topics.values_mut().for_each(|topic| topic.perm &= permission);
    } else {
        topics.clear();
    }
    // The counter belongs to the topics, and the state version to the election of masters.
    let timestamp = version.timestamp - i64::from(READ_WRITE - permission);
    TopicConfigSerializeWrapper {
        data_version: DataVersion { timestamp, ..version },
        topic_config_table: topics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(permission: i32, opened: bool) -> (Vec<(String, i32)>, DataVersion) {
        let topic = |name: &str, perm| {
            let config = TopicConfig { topic_name: name.to_owned(), perm, ..TopicConfig::default() };
            (name.to_owned(), config)
        };
        let version = DataVersion { counter: 3, state_version: 2, timestamp: 1_000 };
        let all = BTreeMap::from([topic("inherited", 7), topic("read", 4), topic("write", 2)]);
        let told = decide_topics((all, version), permission, opened);
        let perms = told.topic_config_table.into_iter().map(|(name, topic)| (name, topic.perm));
        (perms.collect(), told.data_version)
    }

    #[test]
    fn topics_are_told_with_the_permission_of_the_broker_and_a_version_of_their_own() {
        let perms =
            |a, b, c| vec![("inherited".to_owned(), a), ("read".to_owned(), b), ("write".to_owned(), c)];
        for (permission, opened, wanted, timestamp) in [
            (6, true, perms(7, 4, 2), 1_000),
            (4, true, perms(4, 4, 0), 998),
            (0, true, perms(0, 0, 0), 994),
            (0, false, vec![], 994),
        ] {
            let version = DataVersion { counter: 3, state_version: 2, timestamp };
            assert_eq!(told(permission, opened), (wanted, version), "{permission}, {opened}");
        }
    }

    #[test]
    fn the_inside_address_is_the_one_to_register_with_and_the_others_are_named() {
        let read = |text: &str| addresses(&ListenerAddresses::parse(text).unwrap(), "10.0.0.1:10911");
        assert_eq!(read(""), ("10.0.0.1:10911".to_owned(), None));
        assert_eq!(read("internal=10.9.9.9:10911"), ("10.9.9.9:10911".to_owned(), None));
        let (inside, outside) = ("10.9.9.9:10911".to_owned(), "mq.example.com:20911".to_owned());
        let both = read("internal=10.9.9.9:10911,external=mq.example.com:20911");
        assert_eq!(both, (inside, Some(format!("external={outside}"))));
    }
}
