//! A consumer asks at start whether its expression is acceptable (46).

use serde::{Deserialize, Serialize};

use super::heartbeat::SubscriptionData;
use crate::json::JsonBody;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClientConfig {
    pub client_id: String,
    pub group: String,
    pub namespace: Option<String>,
    pub subscription_data: SubscriptionData,
}

impl JsonBody for CheckClientConfig {}
