//! Queues an orderly consumer wants for itself, and those it got (41, 42).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::message_queue::MessageQueue;
use crate::json::JsonBody;

/// The body of both 41 (lock) and 42 (unlock).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatch {
    pub client_id: String,
    pub consumer_group: String,
    pub mq_set: BTreeSet<MessageQueue>,
    /// Do not ask the other members of the broker group.
    pub only_this_broker: bool,
}

impl JsonBody for LockBatch {}

/// The answer to 41.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockedQueues {
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: BTreeSet<MessageQueue>,
}

impl JsonBody for LockedQueues {}
