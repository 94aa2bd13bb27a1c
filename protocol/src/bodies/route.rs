//! Where the queues of a topic are and who serves them (105, 217; parts of 106).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::topic_queue_mapping::TopicQueueMappingInfo;
use crate::json::{Dialect, JsonBody, to_vec};

/// The broker id that means "master" to every client.
pub const MASTER_ID: i64 = 0;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRouteData {
    pub broker_datas: Vec<BrokerData>,
    /// Broker address -> filter servers.
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// `brokerName:queueNum;brokerName:queueNum`, for topics with a fixed order.
    pub order_topic_conf: Option<String>,
    pub queue_datas: Vec<QueueData>,
    /// Broker name -> static queues it hosts.
    pub topic_queue_mapping_by_broker: Option<BTreeMap<String, TopicQueueMappingInfo>>,
}

impl JsonBody for TopicRouteData {}

impl TopicRouteData {
    /// Returns the text for clients since 4.9.4 and for those that ask for strict JSON; [`JsonBody::encode`] is the
    /// text for all others.
    #[must_use]
    pub fn encode_standard(&self) -> Vec<u8> {
        to_vec(self, Dialect::Standard)
    }
}

/// The members of one broker group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    /// Broker id -> address; [`MASTER_ID`] is the master.
    pub broker_addrs: BTreeMap<i64, String>,
    pub broker_name: String,
    pub cluster: String,
    /// Whether the lowest id may stand in for a missing master.
    pub enable_acting_master: bool,
    pub zone_name: Option<String>,
}

/// A topic's queues on one broker group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    pub broker_name: String,
    /// Bits of [`super::topic_config::perm`].
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}
