//! What a client that came by a further listener sees: the same brokers, at that listener's addresses.
//!
//! A broker that named no address for the listener is left out, and with a group's last member its queues: an address
//! that cannot be reached from there costs a client seconds at every try, one that is not there costs it nothing. What
//! only brokers ask for, such as a master's address in the answer to a registration, stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use protocol::bodies::broker_member_group::BrokerMemberGroup;
use protocol::bodies::cluster_info::ClusterInfo;
use protocol::bodies::route::{BrokerData, TopicRouteData};
use protocol::bodies::topic_list::TopicList;

use super::{BrokerAddress, Routes};

impl Routes {
    /// Returns a route as it looks from a listener, or `None` if none of its brokers is there.
    #[must_use]
    pub fn route_at(&self, listener: &str, mut route: TopicRouteData) -> Option<TopicRouteData> {
        let before = route.broker_datas.len();
        route.broker_datas =
            route.broker_datas.into_iter().filter_map(|group| self.group_at(listener, group)).collect();
        if route.broker_datas.is_empty() && before > 0 {
            return None;
        }
        let names: BTreeSet<_> = route.broker_datas.iter().map(|group| &group.broker_name).collect();
        route.queue_datas.retain(|queues| names.contains(&queues.broker_name));
        // Filter servers have inside addresses only.
        route.filter_server_table.clear();
        Some(route)
    }

    /// Returns every broker that is at a listener, by name and by cluster.
    #[must_use]
    pub fn cluster_info_at(&self, listener: &str) -> ClusterInfo {
        let groups = self.brokers.values().filter_map(|group| self.group_at(listener, group.clone()));
        let broker_addr_table: BTreeMap<_, _> =
            groups.map(|group| (group.broker_name.clone(), group)).collect();
        let mut cluster_addr_table = self.clusters.clone();
        // A tool looks up each name it finds here.
        cluster_addr_table.retain(|_, names| {
            names.retain(|name| broker_addr_table.contains_key(name));
            !names.is_empty()
        });
        ClusterInfo { broker_addr_table, cluster_addr_table }
    }

    /// Returns the members of a group that are at a listener.
    #[must_use]
    pub fn member_group_at(&self, listener: &str, cluster: &str, broker_name: &str) -> BrokerMemberGroup {
        let group = self.brokers.get(broker_name).and_then(|group| self.group_at(listener, group.clone()));
        BrokerMemberGroup {
            broker_addrs: group.map(|group| group.broker_addrs).unwrap_or_default(),
            broker_name: broker_name.to_owned(),
            cluster: cluster.to_owned(),
        }
    }

    /// Returns the topics every cluster has of itself, with the address of any broker that is at a listener.
    #[must_use]
    pub fn system_topics_at(&self, listener: &str) -> TopicList {
        let any = self.live.values().find_map(|live| live.listeners.get(listener));
        TopicList { broker_addr: any.map(str::to_owned), ..self.system_topics() }
    }

    /// Returns how many brokers named an address for a listener.
    #[must_use]
    pub fn brokers_at(&self, listener: &str) -> usize {
        self.live.values().filter(|live| live.listeners.get(listener).is_some()).count()
    }

    fn group_at(&self, listener: &str, mut group: BrokerData) -> Option<BrokerData> {
        let cluster = group.cluster;
        let there = group.broker_addrs.into_iter().filter_map(|(id, addr)| {
            let live = self.live.get(&BrokerAddress { cluster: cluster.clone(), addr })?;
            Some((id, live.listeners.get(listener)?.to_owned()))
        });
        group.broker_addrs = there.collect();
        group.cluster = cluster;
        (!group.broker_addrs.is_empty()).then_some(group)
    }
}
