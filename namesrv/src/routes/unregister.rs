//! What goes when a broker leaves (104), falls silent or loses its connection.

use std::time::Instant;

use protocol::bodies::route::BrokerData;

use super::{BrokerAddress, ConnectionId, MinBrokerIdChange, Routes, Rules};

/// A broker that is gone without having said so.
#[derive(Debug, PartialEq, Eq)]
pub struct Departed {
    /// Where it was.
    pub address: BrokerAddress,
    /// Its connection, to be closed if it is still open.
    pub connection: ConnectionId,
    /// What the members of its groups should hear.
    pub changes: Vec<MinBrokerIdChange>,
}

/// What became of a broker's leaving.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// It is out.
    Gone {
        /// What the others should hear.
        change: Option<MinBrokerIdChange>,
        /// The connection on which the address had been registered before: if it is open still, that is another process.
        earlier: Option<ConnectionId>,
    },
    /// Another connection has registered the address since: whoever leaves was replaced, and nothing has changed.
    Replaced,
}

impl Routes {
    /// Takes a broker out that says on a connection that it leaves. An address outlives a process: where it is that of a
    /// service, one that should be long gone, on a node that was lost say, must not take its successor along.
    pub fn leave(
        &mut self,
        connection: ConnectionId,
        address: &BrokerAddress,
        broker_name: &str,
        rules: &Rules,
    ) -> Left {
        let earlier = self.live.get(address).and_then(|live| live.superseded);
        if earlier == Some(connection) {
            return Left::Replaced;
        }
        Left::Gone { change: self.unregister(address, broker_name, rules), earlier }
    }

    /// Takes a broker out of a group; with the last member go the group and its topics. Returns what the others
    /// should hear.
    pub fn unregister(
        &mut self,
        address: &BrokerAddress,
        broker_name: &str,
        rules: &Rules,
    ) -> Option<MinBrokerIdChange> {
        self.live.remove(address);
        self.filter_servers.remove(address);
        let group = self.brokers.get_mut(broker_name)?;
        let min_before = lowest(group);
        group.broker_addrs.retain(|_, addr| *addr != address.addr);
        if group.broker_addrs.is_empty() {
            self.remove_group(broker_name);
            return None;
        }
        let tell =
            rules.notify_min_broker_id_changed && group.enable_acting_master && lowest(group) != min_before;
        let change = tell.then(|| leaver(group, &address.addr)).flatten();
        self.protect_without_master(broker_name);
        change
    }

    /// Takes out every broker that registered on a connection which is now closed.
    pub fn connection_closed(&mut self, connection: ConnectionId, rules: &Rules) -> Vec<Departed> {
        self.depart(rules, |live| live.connection == connection)
    }

    /// Takes out every broker that has been silent for longer than its timeout.
    pub fn expire(&mut self, rules: &Rules, now: Instant) -> Vec<Departed> {
        self.depart(rules, |live| now.saturating_duration_since(live.last_seen) > live.timeout)
    }

    fn depart(&mut self, rules: &Rules, goes: impl Fn(&super::LiveBroker) -> bool) -> Vec<Departed> {
        let gone = self.live.iter().filter(|(_, live)| goes(live));
        let gone: Vec<_> = gone.map(|(address, live)| (address.clone(), live.connection)).collect();
        let depart = |(address, connection): (BrokerAddress, ConnectionId)| {
            // The address lost its life already if it went with one of its own groups' members; that is fine.
            let mut changes = Vec::new();
            self.live.remove(&address);
            for broker_name in self.groups_of(&address) {
                changes.extend(self.unregister(&address, &broker_name, rules));
            }
            Departed { address, connection, changes }
        };
        gone.into_iter().map(depart).collect()
    }

    /// Normally one group; more only when a broker was renamed without unregistering.
    fn groups_of(&self, address: &BrokerAddress) -> Vec<String> {
        let has_address = |group: &BrokerData| group.broker_addrs.values().any(|addr| *addr == address.addr);
        let groups =
            self.brokers.values().filter(|group| group.cluster == address.cluster && has_address(group));
        groups.map(|group| group.broker_name.clone()).collect()
    }

    fn remove_group(&mut self, broker_name: &str) {
        self.brokers.remove(broker_name);
        self.clusters.retain(|_, names| {
            names.remove(broker_name);
            !names.is_empty()
        });
        self.topics.retain(|_, queues| {
            queues.remove(broker_name);
            !queues.is_empty()
        });
        self.static_queues.retain(|_, queues| {
            queues.remove(broker_name);
            !queues.is_empty()
        });
    }
}

fn lowest(group: &BrokerData) -> Option<i64> {
    group.broker_addrs.keys().next().copied()
}

fn leaver(group: &BrokerData, offline: &str) -> Option<MinBrokerIdChange> {
    let (id, addr) = group.broker_addrs.first_key_value()?;
    Some(MinBrokerIdChange {
        broker_name: group.broker_name.clone(),
        min_broker_id: *id,
        min_broker_addr: addr.clone(),
        offline_broker_addr: Some(offline.to_owned()),
        ha_broker_addr: None,
        notify: group.broker_addrs.values().cloned().collect(),
    })
}
