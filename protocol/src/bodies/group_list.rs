//! Names of consumer groups (300).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::json::JsonBody;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupList {
    pub group_list: BTreeSet<String>,
}

impl JsonBody for GroupList {}
