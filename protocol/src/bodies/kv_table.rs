//! Text by name: a namespace of the name server's configuration (219, 103's answer), a broker's runtime facts (28).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::JsonBody;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KvTable {
    pub table: BTreeMap<String, String>,
}

impl JsonBody for KvTable {}
