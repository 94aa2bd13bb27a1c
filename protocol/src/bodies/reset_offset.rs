//! Offsets moved by an administrator (222 and 220) and those a client reports (221).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::message_queue::MessageQueue;
use crate::json::{JsonBody, object_keys};

/// The answer to 222 and the body of 220.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffset {
    #[serde(deserialize_with = "object_keys")]
    pub offset_table: BTreeMap<MessageQueue, i64>,
}

impl JsonBody for ResetOffset {}
