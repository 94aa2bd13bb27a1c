//! The route of a topic (105).

use std::collections::BTreeMap;

use protocol::bodies::route::{BrokerData, MASTER_ID, QueueData, TopicRouteData};
use protocol::bodies::topic_config::perm;

use super::{BrokerAddress, Routes, Rules, has_no_master};

/// Topics by which the members of a group watch each other: they must see who really is there.
const MEMBER_SYNC_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

impl Routes {
    /// Returns where a topic's queues are, or `None` if no broker that is there now has it.
    #[must_use]
    pub fn route(&self, topic: &str, rules: &Rules) -> Option<TopicRouteData> {
        let queues = self.topics.get(topic)?;
        let groups = queues.keys().filter_map(|broker_name| self.brokers.get(broker_name));
        let mut broker_datas: Vec<BrokerData> = groups.cloned().collect();
        if broker_datas.is_empty() {
            return None;
        }
        let filter_server_table = self.filter_servers_of(&broker_datas);
        if rules.support_acting_master && !topic.starts_with(MEMBER_SYNC_PREFIX) {
            broker_datas.iter_mut().for_each(|group| present_acting_master(group, queues));
        }
        Some(TopicRouteData {
            broker_datas,
            filter_server_table,
            order_topic_conf: None,
            queue_datas: queues.values().cloned().collect(),
            topic_queue_mapping_by_broker: self.static_queues.get(topic).cloned(),
        })
    }

    fn filter_servers_of(&self, groups: &[BrokerData]) -> BTreeMap<String, Vec<String>> {
        let addresses = groups.iter().flat_map(|group| {
            group.broker_addrs.values().map(|addr| BrokerAddress::new(&group.cluster, addr))
        });
        let with_servers = addresses.filter_map(|address| {
            let servers = self.filter_servers.get(&address)?;
            Some((address.addr, servers.clone()))
        });
        with_servers.collect()
    }
}

/// Clients read from whatever has id 0. Where the master is gone, the lowest id gets it, as long as nobody can write:
/// a topic that is still writeable would be written to a slave.
fn present_acting_master(group: &mut BrokerData, queues: &BTreeMap<String, QueueData>) {
    if !group.enable_acting_master || !has_no_master(group) {
        return;
    }
    if queues.get(&group.broker_name).is_none_or(|queues| perm::is_writeable(queues.perm)) {
        return;
    }
    if let Some((_, acting)) = group.broker_addrs.pop_first() {
        group.broker_addrs.insert(MASTER_ID, acting);
    }
}
