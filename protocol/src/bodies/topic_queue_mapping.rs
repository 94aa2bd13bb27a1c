//! Which queues of a static topic a broker hosts. The name server passes it on inside routes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::JsonBody;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingInfo {
    /// Name of the hosting broker.
    pub bname: String,
    /// Logical queue id -> queue id on this broker.
    pub curr_id_map: BTreeMap<i32, i32>,
    pub dirty: bool,
    /// Fences mappings of an older generation.
    pub epoch: i64,
    pub scope: String,
    pub topic: String,
    pub total_queues: i32,
}

impl Default for TopicQueueMappingInfo {
    fn default() -> Self {
        Self {
            bname: String::new(),
            curr_id_map: BTreeMap::new(),
            dirty: false,
            epoch: 0,
            scope: "__global__".to_owned(),
            topic: String::new(),
            total_queues: 0,
        }
    }
}

impl JsonBody for TopicQueueMappingInfo {}
