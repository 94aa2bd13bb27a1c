//! Who is connected: producers and consumers by group, from their heartbeats (P§8.3). A closed connection takes its
//! clients with it at once, silence does after a while; every change of a consumer group is told to its members.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::bodies::connection::{Connection, ConsumerConnection, ProducerConnection};
use protocol::bodies::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use protocol::codes::RequestCode;
use protocol::frame::{self, CommandHead};
use protocol::header::{Header, Serialization, language_name};
use protocol::requests::ConsumerGroup as ConsumerGroupHeader;
use remoting::{Mailbox, Peer};

/// All clients.
#[derive(Default)]
pub struct Clients {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    consumers: HashMap<String, Consumers>,
    producers: HashMap<String, HashMap<u64, Member>>,
    /// Consumer and producer groups of each connection.
    of_connection: HashMap<u64, (HashSet<String>, HashSet<String>)>,
}

/// A consumer group as its members described it last.
struct Consumers {
    consume_type: ConsumeType,
    message_model: MessageModel,
    from_where: ConsumeFromWhere,
    subscriptions: BTreeMap<String, SubscriptionData>,
    members: HashMap<u64, Member>,
}

struct Member {
    client_id: String,
    addr: String,
    language: &'static str,
    version: i32,
    mailbox: Arc<Mailbox>,
    seen: Instant,
}

impl Member {
    fn connection(&self) -> Connection {
        Connection {
            client_addr: self.addr.clone(),
            client_id: self.client_id.clone(),
            language: self.language.to_owned(),
            version: self.version,
        }
    }
}

impl Clients {
    /// Takes over a heartbeat. `notify` says which consumer groups tell their members of changes. Returns whether a
    /// subscription changed, or is not known and must be sent in full.
    pub fn heartbeat(
        &self,
        peer: &Peer,
        header: &Header<'_>,
        data: &HeartbeatData,
        notify: impl Fn(&str) -> bool,
        now: Instant,
    ) -> bool {
        let member = || Member {
            client_id: data.client_id.clone(),
            addr: peer.addr.to_string(),
            language: language_name(header.language),
            version: header.version,
            mailbox: peer.mailbox.clone(),
            seen: now,
        };
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let mut changed = false;
        for consumer in &data.consumer_data_set {
            let (group_changed, unknown) = inner.consumer(peer.id, consumer, data.without_sub, member());
            changed |= group_changed || unknown;
            if group_changed
                && consumer.message_model == MessageModel::Clustering
                && notify(&consumer.group_name)
            {
                inner.tell_members(&consumer.group_name);
            }
        }
        for producer in &data.producer_data_set {
            inner.producers.entry(producer.group_name.clone()).or_default().insert(peer.id, member());
            inner.of_connection.entry(peer.id).or_default().1.insert(producer.group_name.clone());
        }
        changed
    }

    /// A client leaves a group of its own accord.
    pub fn unregister(
        &self,
        peer: &Peer,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
        notify: impl Fn(&str) -> bool,
    ) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let Some((consumers, producers)) = inner.of_connection.get_mut(&peer.id) else { return };
        if let Some(group) = producer_group {
            producers.remove(group);
        }
        if let Some(group) = consumer_group {
            consumers.remove(group);
        }
        if consumers.is_empty() && producers.is_empty() {
            inner.of_connection.remove(&peer.id);
        }
        if let Some(group) = producer_group {
            inner.remove_producer(group, peer.id);
        }
        if let Some(group) = consumer_group {
            inner.remove_consumer(group, peer.id, &notify);
        }
    }

    /// A connection is gone.
    pub fn closed(&self, connection: u64, notify: impl Fn(&str) -> bool) {
        let mut inner = self.inner.lock();
        let Some((consumers, producers)) = inner.of_connection.remove(&connection) else { return };
        producers.iter().for_each(|g| inner.remove_producer(g, connection));
        consumers.iter().for_each(|g| inner.remove_consumer(g, connection, &notify));
    }

    /// Lets go of clients that have been silent for too long, and asks their connections to close.
    pub fn expire(&self, now: Instant, after: Duration, notify: impl Fn(&str) -> bool) {
        let inner = self.inner.lock();
        let silent = |m: &Member| now.duration_since(m.seen) > after;
        let mut gone: Vec<(u64, Arc<Mailbox>)> = Vec::new();
        let consumers = inner.consumers.values().flat_map(|c| &c.members);
        let producers = inner.producers.values().flatten();
        for (id, m) in consumers.chain(producers).filter(|(_, m)| silent(m)) {
            gone.push((*id, m.mailbox.clone()));
        }
        drop(inner);
        for (id, mailbox) in gone {
            self.closed(id, &notify);
            mailbox.close();
        }
    }

    /// Returns the client ids of a consumer group.
    pub fn consumer_ids(&self, group: &str) -> Vec<String> {
        let inner = self.inner.lock();
        let mut ids: Vec<_> = inner
            .consumers
            .get(group)
            .map_or_else(Vec::new, |c| c.members.values().map(|m| m.client_id.clone()).collect());
        ids.sort();
        ids.dedup();
        ids
    }

    /// Returns a group's subscription to a topic; `None` when nobody of the group is connected, `Some(None)` when
    /// the group does not subscribe to the topic.
    pub fn subscription(&self, group: &str, topic: &str) -> Option<Option<SubscriptionData>> {
        self.inner.lock().consumers.get(group).map(|c| c.subscriptions.get(topic).cloned())
    }

    /// Returns the model of a connected group.
    pub fn message_model(&self, group: &str) -> Option<MessageModel> {
        self.inner.lock().consumers.get(group).map(|c| c.message_model)
    }

    /// Returns everything about a consumer group; `None` when nobody of it is connected.
    pub fn consumer_connection(&self, group: &str) -> Option<ConsumerConnection> {
        let inner = self.inner.lock();
        let c = inner.consumers.get(group)?;
        Some(ConsumerConnection {
            connection_set: c.members.values().map(Member::connection).collect(),
            consume_from_where: c.from_where,
            consume_type: c.consume_type,
            message_model: c.message_model,
            subscription_table: c.subscriptions.clone(),
        })
    }

    /// Returns the connections of a producer group; `None` when there are none.
    pub fn producer_connection(&self, group: &str) -> Option<ProducerConnection> {
        let inner = self.inner.lock();
        let members = inner.producers.get(group)?;
        Some(ProducerConnection { connection_set: members.values().map(Member::connection).collect() })
    }

    /// Returns the connected groups that subscribe to a topic.
    pub fn groups_subscribing(&self, topic: &str) -> Vec<String> {
        let inner = self.inner.lock();
        let mut groups: Vec<_> = inner
            .consumers
            .iter()
            .filter(|(_, c)| c.subscriptions.contains_key(topic))
            .map(|(g, _)| g.clone())
            .collect();
        groups.sort();
        groups
    }

    /// Returns how many (producers, consumers) are connected.
    pub fn count(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (
            inner.producers.values().map(HashMap::len).sum(),
            inner.consumers.values().map(|c| c.members.len()).sum(),
        )
    }
}

impl Inner {
    /// Returns (group changed, subscription not known).
    fn consumer(
        &mut self,
        connection: u64,
        data: &ConsumerData,
        without_sub: bool,
        member: Member,
    ) -> (bool, bool) {
        if without_sub {
            let known = self.consumers.get_mut(&data.group_name).and_then(|c| c.members.get_mut(&connection));
            return match known {
                Some(m) => {
                    m.seen = member.seen;
                    (false, false)
                }
                None => (false, true),
            };
        }
        self.of_connection.entry(connection).or_default().0.insert(data.group_name.clone());
        let group = self.consumers.entry(data.group_name.clone()).or_insert_with(|| Consumers {
            consume_type: data.consume_type,
            message_model: data.message_model,
            from_where: data.consume_from_where,
            subscriptions: BTreeMap::new(),
            members: HashMap::new(),
        });
        group.consume_type = data.consume_type;
        group.message_model = data.message_model;
        group.from_where = data.consume_from_where;
        let joined = group.members.insert(connection, member).is_none();
        (joined | group.update(&data.subscription_data_set), false)
    }

    fn remove_producer(&mut self, group: &str, connection: u64) {
        if let Some(members) = self.producers.get_mut(group) {
            members.remove(&connection);
            if members.is_empty() {
                self.producers.remove(group);
            }
        }
    }

    fn remove_consumer(&mut self, group: &str, connection: u64, notify: &impl Fn(&str) -> bool) {
        let Some(c) = self.consumers.get_mut(group) else { return };
        if c.members.remove(&connection).is_none() {
            return;
        }
        let tell = c.message_model == MessageModel::Clustering && notify(group);
        if c.members.is_empty() {
            self.consumers.remove(group);
        } else if tell {
            self.tell_members(group);
        }
    }

    /// NOTIFY_CONSUMER_IDS_CHANGED to every member, so that they rebalance at once.
    fn tell_members(&self, group: &str) {
        let Some(c) = self.consumers.get(group) else { return };
        let header = ConsumerGroupHeader { consumer_group: group.into() };
        for member in c.members.values() {
            member.mailbox.send(|out| {
                let head =
                    CommandHead::request(Serialization::Json, RequestCode::NOTIFY_CONSUMER_IDS_CHANGED.0, 0)
                        .oneway();
                frame::encode(out, &head, &header, b"");
            });
        }
    }
}

impl Consumers {
    /// Takes over the subscriptions a member sent. Returns whether anything changed.
    fn update(&mut self, sent: &[SubscriptionData]) -> bool {
        let mut changed = false;
        for new in sent {
            match self.subscriptions.get(&new.topic) {
                Some(old) if old.sub_version >= new.sub_version => {}
                Some(old) => {
                    changed |= old.sub_string != new.sub_string || old.expression_type != new.expression_type;
                    self.subscriptions.insert(new.topic.clone(), new.clone());
                }
                None => {
                    changed = true;
                    self.subscriptions.insert(new.topic.clone(), new.clone());
                }
            }
        }
        let before = self.subscriptions.len();
        let wanted: HashSet<&str> = sent.iter().map(|s| s.topic.as_str()).collect();
        self.subscriptions.retain(|topic, _| wanted.contains(topic.as_str()));
        changed || self.subscriptions.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::bodies::heartbeat::ProducerData;
    use protocol::header;

    fn peer(id: u64) -> Peer {
        let addr = "127.0.0.1:1".parse().unwrap();
        Peer { id, addr, local: addr, mailbox: Arc::default() }
    }

    fn beat(clients: &Clients, peer: &Peer, id: &str, topics: &[(&str, &str)], now: Instant) -> bool {
        let sub = |t: &(&str, &str)| SubscriptionData {
            topic: t.0.into(),
            sub_string: t.1.into(),
            sub_version: t.1.len() as i64,
            ..Default::default()
        };
        let data = HeartbeatData {
            client_id: id.into(),
            consumer_data_set: vec![ConsumerData {
                group_name: "G".into(),
                message_model: MessageModel::Clustering,
                subscription_data_set: topics.iter().map(sub).collect(),
                ..Default::default()
            }],
            producer_data_set: vec![ProducerData { group_name: "P".into() }],
            ..Default::default()
        };
        let header = header::decode(Serialization::Json, br#"{"code":34,"version":479}"#).unwrap();
        clients.heartbeat(peer, &header, &data, |_| true, now)
    }

    #[test]
    fn joining_changing_and_leaving_are_noticed_and_repeating_is_not() {
        let (clients, now) = (Clients::default(), Instant::now());
        let (a, b) = (peer(1), peer(2));
        assert!(beat(&clients, &a, "a", &[("T", "*")], now));
        assert!(!beat(&clients, &a, "a", &[("T", "*")], now));
        assert!(beat(&clients, &b, "b", &[("T", "*")], now));
        assert_eq!(clients.consumer_ids("G"), ["a", "b"]);
        assert!(beat(&clients, &b, "b", &[("T", "A || B")], now));
        assert_eq!(clients.subscription("G", "T").unwrap().unwrap().sub_string, "A || B");
        assert_eq!(clients.subscription("G", "U"), Some(None));
        assert_eq!(clients.subscription("H", "U"), None);
        clients.closed(1, |_| true);
        assert_eq!(clients.consumer_ids("G"), ["b"]);
        clients.unregister(&b, Some("P"), Some("G"), |_| true);
        assert!(clients.inner.lock().of_connection.is_empty(), "who left every group is not remembered");
        assert!(clients.consumer_connection("G").is_none() && clients.producer_connection("P").is_none());
        assert_eq!(clients.count(), (0, 0));
    }

    #[test]
    fn silent_clients_expire() {
        let (clients, now) = (Clients::default(), Instant::now());
        beat(&clients, &peer(1), "a", &[("T", "*")], now);
        beat(&clients, &peer(2), "b", &[("T", "*")], now + Duration::from_secs(60));
        clients.expire(now + Duration::from_secs(121), Duration::from_secs(120), |_| true);
        assert_eq!(clients.consumer_ids("G"), ["b"]);
    }
}
