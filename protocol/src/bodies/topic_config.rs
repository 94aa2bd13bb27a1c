//! A topic's configuration on one broker and the tables brokers hand around (21, 351, 17's list form).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::data_version::DataVersion;
use super::topic_queue_mapping::TopicQueueMappingInfo;
use crate::json::JsonBody;

/// Bits of [`TopicConfig::perm`] and of a route's queue data.
pub mod perm {
    pub const INHERIT: i32 = 1;
    pub const WRITE: i32 = 1 << 1;
    pub const READ: i32 = 1 << 2;
    pub const PRIORITY: i32 = 1 << 3;

    /// Whether consumers may read.
    #[must_use]
    pub fn is_readable(perm: i32) -> bool {
        perm & READ != 0
    }

    /// Whether producers may write.
    #[must_use]
    pub fn is_writeable(perm: i32) -> bool {
        perm & WRITE != 0
    }

    /// Whether new topics may be created from this one, as from `TBW102`.
    #[must_use]
    pub fn is_inherited(perm: i32) -> bool {
        perm & INHERIT != 0
    }
}

/// Bits of [`TopicConfig::topic_sys_flag`].
pub mod topic_sys_flag {
    pub const UNIT: i32 = 1;
    pub const UNIT_SUB: i32 = 1 << 1;
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TopicFilterType {
    #[default]
    SingleTag,
    MultiTag,
}

impl TopicFilterType {
    /// The word on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleTag => "SINGLE_TAG",
            Self::MultiTag => "MULTI_TAG",
        }
    }

    /// Reads the word on the wire.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::SingleTag, Self::MultiTag].into_iter().find(|kind| kind.name() == name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// For example `message.type` -> `FIFO`.
    pub attributes: BTreeMap<String, String>,
    pub order: bool,
    /// Bits of [`perm`].
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_filter_type: TopicFilterType,
    pub topic_name: String,
    /// Bits of [`topic_sys_flag`].
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm: perm::READ | perm::WRITE,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

impl JsonBody for TopicConfig {}

/// Every topic of a broker (21).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigSerializeWrapper {
    pub data_version: DataVersion,
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}

impl JsonBody for TopicConfigSerializeWrapper {}

/// Every topic of a broker with the static-topic mappings it hosts (21 and 103 since 5.0).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigAndMappingSerializeWrapper {
    pub data_version: DataVersion,
    pub mapping_data_version: DataVersion,
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Handed on as it came: static topics are not hosted here.
    pub topic_queue_mapping_detail_map: BTreeMap<String, Value>,
    pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingInfo>,
}

impl JsonBody for TopicConfigAndMappingSerializeWrapper {}

impl From<TopicConfigSerializeWrapper> for TopicConfigAndMappingSerializeWrapper {
    fn from(topics: TopicConfigSerializeWrapper) -> Self {
        Self {
            data_version: topics.data_version,
            topic_config_table: topics.topic_config_table,
            ..Self::default()
        }
    }
}

/// Several topics to create at once (18).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateTopicList {
    pub topic_config_list: Vec<TopicConfig>,
}

impl JsonBody for CreateTopicList {}
