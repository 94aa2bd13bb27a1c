//! Which part of a route a client in one zone sees.

use std::collections::BTreeSet;

use protocol::bodies::route::{BrokerData, MASTER_ID, TopicRouteData};

/// Keeps the groups of `zone`, and those without a master: their slaves serve everybody until it is back.
pub fn keep_zone(route: &mut TopicRouteData, zone: &str) {
    let is_here = |group: &BrokerData| {
        let same_zone = group.zone_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(zone));
        same_zone || !group.broker_addrs.contains_key(&MASTER_ID)
    };
    let (kept, removed): (Vec<_>, Vec<_>) = route.broker_datas.drain(..).partition(is_here);
    route.broker_datas = kept;
    let removed_names: BTreeSet<_> = removed.iter().map(|group| &group.broker_name).collect();
    route.queue_datas.retain(|queue| !removed_names.contains(&queue.broker_name));
    for addr in removed.iter().flat_map(|group| group.broker_addrs.values()) {
        route.filter_server_table.remove(addr);
    }
}
