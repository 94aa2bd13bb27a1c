//! What a broker's registration changes (103), and the shorter signs of life (322, 904).

use std::time::{Duration, Instant};

use protocol::bodies::data_version::DataVersion;
use protocol::bodies::route::{BrokerData, MASTER_ID, QueueData};
use protocol::bodies::topic_config::{TopicConfig, TopicConfigAndMappingSerializeWrapper, perm};
use protocol::listeners::ListenerAddresses;

use super::{
    BrokerAddress, ConnectionId, DEFAULT_HEARTBEAT_TIMEOUT, LiveBroker, MinBrokerIdChange, Routes, Rules,
    has_no_master,
};

/// A broker's word about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Where it is.
    pub address: BrokerAddress,
    /// Its group.
    pub broker_name: String,
    /// Its id in the group; 0 is the master.
    pub broker_id: i64,
    /// Where its slaves reach it.
    pub ha_addr: String,
    /// Its zone, if it has one.
    pub zone_name: Option<String>,
    /// How long its silence is tolerated; absent: [`DEFAULT_HEARTBEAT_TIMEOUT`].
    pub heartbeat_timeout: Option<Duration>,
    /// Whether it may stand in for its master; absent in brokers older than that feature.
    pub enable_acting_master: Option<bool>,
    /// The connection whose end is the broker's end.
    pub connection: ConnectionId,
    /// Its topics.
    pub topics: TopicConfigAndMappingSerializeWrapper,
    /// Its filter servers; absent: unchanged.
    pub filter_servers: Option<Vec<String>>,
    /// Where clients that come by further listeners reach it.
    pub listeners: ListenerAddresses,
}

/// What became of a registration that was understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Registered {
    /// It counts.
    Accepted {
        /// Whether the broker was not there before.
        is_new: bool,
        /// For a slave: its master, if that lives.
        master: Option<MasterAddress>,
        /// What the members of the group should hear.
        change: Option<MinBrokerIdChange>,
    },
    /// Its id belongs to a broker of a later epoch: nothing changed but that the sender is no longer known.
    Superseded {
        /// The address that keeps the id.
        by: String,
    },
}

/// Where a slave finds its master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterAddress {
    /// Where clients reach it.
    pub addr: String,
    /// Where slaves reach it.
    pub ha_addr: String,
}

/// Why a registration was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegisterRefusal {
    /// A single topic was sent by a broker that has not registered in full yet.
    #[error("register broker failed")]
    SingleTopicFirst,
}

impl Routes {
    /// Puts a broker and its topics into the table.
    ///
    /// Only the master's topics count, and those of the lowest id of a group whose master is gone; the latter lose
    /// their write bit when that member acts as master. An unchanged data version leaves known topics as they are.
    ///
    /// # Errors
    /// [`RegisterRefusal`]; nothing has changed.
    pub fn register(
        &mut self,
        registration: Registration,
        rules: &Rules,
        now: Instant,
    ) -> Result<Registered, RegisterRefusal> {
        let Registration { address, broker_name, broker_id, .. } = &registration;
        let holder =
            self.brokers.get(broker_name).and_then(|group| group.broker_addrs.get(broker_id)).cloned();
        if let Some(by) = self.later_holder(holder.as_deref(), &registration) {
            self.forget(address, broker_name);
            return Ok(Registered::Superseded { by });
        }
        if holder.is_none() && registration.topics.topic_config_table.len() == 1 {
            return Err(RegisterRefusal::SingleTopicFirst);
        }

        self.clusters.entry(address.cluster.clone()).or_default().insert(broker_name.clone());
        let previous_min = self.join_group(&registration);
        self.take_topics(&registration, holder.is_none(), rules);
        let is_new = self.set_live(&registration, now);

        let group = &self.brokers[broker_name];
        let lower = previous_min.is_some_and(|min| *broker_id < min);
        Ok(Registered::Accepted {
            is_new,
            master: self.master_for(&registration, group),
            change: (lower && rules.notify_min_broker_id_changed).then(|| newcomer(group, &registration)),
        })
    }

    /// Says whether a broker's data version differs from the one it registered with (322).
    #[must_use]
    pub fn is_changed(&self, address: &BrokerAddress, version: &DataVersion) -> bool {
        self.data_version(address) != Some(version)
    }

    /// Returns the data version a broker registered with.
    #[must_use]
    pub fn data_version(&self, address: &BrokerAddress) -> Option<&DataVersion> {
        self.live.get(address).map(|live| &live.data_version)
    }

    /// Notes a sign of life (322, 904); of an unknown broker it means nothing.
    pub fn touch(&mut self, address: &BrokerAddress, now: Instant) {
        if let Some(live) = self.live.get_mut(address) {
            live.last_seen = now;
        }
    }

    /// The other address that has the id, if its broker lives in a later epoch.
    fn later_holder(&self, holder: Option<&str>, registration: &Registration) -> Option<String> {
        let holder = holder.filter(|holder| *holder != registration.address.addr)?;
        let live = self.live.get(&BrokerAddress::new(&registration.address.cluster, holder))?;
        let epoch = registration.topics.data_version.state_version;
        (live.data_version.state_version > epoch).then(|| holder.to_owned())
    }

    fn forget(&mut self, address: &BrokerAddress, broker_name: &str) {
        self.live.remove(address);
        self.filter_servers.remove(address);
        if let Some(group) = self.brokers.get_mut(broker_name) {
            group.broker_addrs.retain(|_, addr| *addr != address.addr);
        }
    }

    /// Puts the broker into its group and returns the lowest id before. An address has one id: a slave that became
    /// master gives its old one up.
    fn join_group(&mut self, registration: &Registration) -> Option<i64> {
        let Registration { address, broker_name, broker_id, .. } = registration;
        let group = self.brokers.entry(broker_name.clone()).or_insert_with(|| BrokerData {
            broker_name: broker_name.clone(),
            cluster: address.cluster.clone(),
            ..BrokerData::default()
        });
        let previous_min = group.broker_addrs.keys().next().copied();
        group.enable_acting_master = registration.enable_acting_master.unwrap_or(false);
        group.zone_name.clone_from(&registration.zone_name);
        group.broker_addrs.retain(|_, addr| *addr != address.addr);
        group.broker_addrs.insert(*broker_id, address.addr.clone());
        previous_min
    }

    fn take_topics(&mut self, registration: &Registration, is_first: bool, rules: &Rules) {
        let Registration { address, broker_name, broker_id, topics, .. } = registration;
        let group = &self.brokers[broker_name];
        let stands_in = registration.enable_acting_master.is_some()
            && *broker_id != MASTER_ID
            && group.broker_addrs.keys().next() == Some(broker_id);
        if *broker_id != MASTER_ID && !stands_in {
            return;
        }
        let write_protected = stands_in && group.enable_acting_master;
        let is_changed = is_first || self.is_changed(address, &topics.data_version);

        if rules.delete_topic_with_broker_registration && topics.topic_queue_mapping_info_map.is_empty() {
            self.topics.retain(|topic, queues| {
                if !topics.topic_config_table.contains_key(topic) {
                    queues.remove(broker_name);
                }
                !queues.is_empty()
            });
        }
        for topic in topics.topic_config_table.values() {
            let queues = self.topics.entry(topic.topic_name.clone()).or_default();
            if is_changed || !queues.contains_key(broker_name) {
                queues.insert(broker_name.clone(), queue_data(broker_name, topic, write_protected));
            }
        }
        if is_changed {
            for (topic, mapping) in &topics.topic_queue_mapping_info_map {
                let by_broker = self.static_queues.entry(topic.clone()).or_default();
                by_broker.insert(mapping.bname.clone(), mapping.clone());
            }
        }
    }

    fn set_live(&mut self, registration: &Registration, now: Instant) -> bool {
        let address = &registration.address;
        match &registration.filter_servers {
            Some(servers) if servers.is_empty() => _ = self.filter_servers.remove(address),
            Some(servers) => _ = self.filter_servers.insert(address.clone(), servers.clone()),
            None => {}
        }
        let before = self.live.get(address);
        let superseded = before.and_then(|live| match live.connection == registration.connection {
            true => live.superseded,
            false => Some(live.connection),
        });
        let live = LiveBroker {
            came: before.map_or(now, |live| live.came),
            superseded,
            last_seen: now,
            timeout: registration.heartbeat_timeout.unwrap_or(DEFAULT_HEARTBEAT_TIMEOUT),
            data_version: registration.topics.data_version,
            connection: registration.connection,
            ha_addr: registration.ha_addr.clone(),
            listeners: registration.listeners.clone(),
        };
        self.live.insert(address.clone(), live).is_none()
    }

    fn master_for(&self, registration: &Registration, group: &BrokerData) -> Option<MasterAddress> {
        if registration.broker_id == MASTER_ID {
            return None;
        }
        let addr = group.broker_addrs.get(&MASTER_ID)?;
        let live = self.live.get(&BrokerAddress::new(&registration.address.cluster, addr))?;
        Some(MasterAddress { addr: addr.clone(), ha_addr: live.ha_addr.clone() })
    }
}

fn queue_data(broker_name: &str, topic: &TopicConfig, write_protected: bool) -> QueueData {
    QueueData {
        broker_name: broker_name.to_owned(),
        perm: if write_protected { topic.perm & !perm::WRITE } else { topic.perm },
        read_queue_nums: topic.read_queue_nums,
        topic_sys_flag: topic.topic_sys_flag,
        write_queue_nums: topic.write_queue_nums,
    }
}

/// The members that were there before hear of the new lowest one; alone, it hears of itself.
fn newcomer(group: &BrokerData, registration: &Registration) -> MinBrokerIdChange {
    let alone = group.broker_addrs.len() == 1;
    let told = group.broker_addrs.iter().filter(|(id, _)| alone || **id != registration.broker_id);
    MinBrokerIdChange {
        broker_name: registration.broker_name.clone(),
        min_broker_id: registration.broker_id,
        min_broker_addr: registration.address.addr.clone(),
        offline_broker_addr: None,
        ha_broker_addr: Some(registration.ha_addr.clone()),
        notify: told.map(|(_, addr)| addr.clone()).collect(),
    }
}

impl Routes {
    /// Takes the write bit from a group's queues when it has lost its master and a slave acts as one.
    pub(super) fn protect_without_master(&mut self, broker_name: &str) {
        let Some(group) = self.brokers.get(broker_name) else { return };
        if !group.enable_acting_master || !has_no_master(group) {
            return;
        }
        for queues in self.topics.values_mut().filter_map(|queues| queues.get_mut(broker_name)) {
            queues.perm &= !perm::WRITE;
        }
    }
}
