//! Topics by hand: registered (217), deleted (216), write-protected (205, 327) and listed (206, 224, 304, 311-313).

use std::collections::BTreeMap;

use protocol::bodies::route::QueueData;
use protocol::bodies::topic_config::{perm, topic_sys_flag};
use protocol::bodies::topic_list::TopicList;

use super::Routes;

/// Which topics of unit-deployed systems are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitTopics {
    /// Topics of a unit (311).
    Unit,
    /// Topics with subscriptions of a unit (312).
    UnitSubscribed,
    /// Topics with subscriptions of a unit that are none of a unit themselves (313).
    UnitSubscribedOnly,
}

impl Routes {
    /// Puts queues of a topic into the table. Does nothing if any of them names an unknown broker.
    pub fn register_topic(&mut self, topic: &str, queues: Vec<QueueData>) {
        if queues.is_empty() || queues.iter().any(|queue| !self.brokers.contains_key(&queue.broker_name)) {
            return;
        }
        let by_broker = self.topics.entry(topic.to_owned()).or_default();
        by_broker.extend(queues.into_iter().map(|queue| (queue.broker_name.clone(), queue)));
    }

    /// Takes a topic out of the table: everywhere, or in one cluster.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(cluster) = cluster else {
            self.topics.remove(topic);
            return;
        };
        let (Some(names), Some(queues)) = (self.clusters.get(cluster), self.topics.get_mut(topic)) else {
            return;
        };
        queues.retain(|broker_name, _| !names.contains(broker_name));
        if queues.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Takes the write bit from all topics of a group. Returns how many topics it has.
    pub fn wipe_write_perm(&mut self, broker_name: &str) -> usize {
        self.change_perm(broker_name, |perm| perm & !perm::WRITE)
    }

    /// Makes all topics of a group readable and writeable. Returns how many topics it has.
    pub fn add_write_perm(&mut self, broker_name: &str) -> usize {
        // Not just the write bit: the reference implementation drops the inherit bit here, and tools show the result.
        self.change_perm(broker_name, |_| perm::READ | perm::WRITE)
    }

    /// Returns every topic.
    #[must_use]
    pub fn all_topics(&self) -> TopicList {
        list(self.topics.keys())
    }

    /// Returns every topic of a cluster, none if it is unknown.
    #[must_use]
    pub fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let Some(names) = self.clusters.get(cluster) else { return TopicList::default() };
        let here = |queues: &BTreeMap<String, QueueData>| queues.keys().any(|name| names.contains(name));
        list(self.topics.iter().filter(|(_, queues)| here(queues)).map(|(topic, _)| topic))
    }

    /// Returns the topics every cluster has of itself, named like clusters and brokers, and the address of any broker.
    #[must_use]
    pub fn system_topics(&self) -> TopicList {
        let names = self.clusters.keys().chain(self.clusters.values().flatten());
        let any = self.brokers.values().find_map(|group| group.broker_addrs.values().next());
        TopicList { broker_addr: any.cloned(), ..list(names) }
    }

    /// Returns the topics of units.
    #[must_use]
    pub fn unit_topics(&self, which: UnitTopics) -> TopicList {
        let wanted = |flags: i32| {
            let (unit, subscribed) =
                (flags & topic_sys_flag::UNIT != 0, flags & topic_sys_flag::UNIT_SUB != 0);
            match which {
                UnitTopics::Unit => unit,
                UnitTopics::UnitSubscribed => subscribed,
                UnitTopics::UnitSubscribedOnly => subscribed && !unit,
            }
        };
        let first_is_wanted = |queues: &BTreeMap<String, QueueData>| {
            queues.values().next().is_some_and(|queue| wanted(queue.topic_sys_flag))
        };
        list(self.topics.iter().filter(|(_, queues)| first_is_wanted(queues)).map(|(topic, _)| topic))
    }

    fn change_perm(&mut self, broker_name: &str, change: impl Fn(i32) -> i32) -> usize {
        let queues = self.topics.values_mut().filter_map(|queues| queues.get_mut(broker_name));
        queues.map(|queue| queue.perm = change(queue.perm)).count()
    }
}

fn list<'a>(topics: impl Iterator<Item = &'a String>) -> TopicList {
    TopicList { broker_addr: None, topic_list: topics.cloned().collect() }
}
