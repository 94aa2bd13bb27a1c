//! Names of topics (206, 224, 300, 304, 305, 311-313).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::json::JsonBody;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// Any broker's address; only 304 fills it.
    pub broker_addr: Option<String>,
    pub topic_list: BTreeSet<String>,
}

impl JsonBody for TopicList {}
