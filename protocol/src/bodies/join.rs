//! What a Gantry master tells a Gantry slave that joins, beside the fields of its answer (906).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::JsonBody;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JoinReply {
    /// Deleted topics, and the physical offset below which messages of that name belong to nobody.
    pub dropped: BTreeMap<String, u64>,
}

impl JsonBody for JoinReply {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_are_a_plain_table_and_java_masters_send_none() {
        let body = JoinReply { dropped: BTreeMap::from([("T1".to_owned(), 120)]) };
        assert_eq!(String::from_utf8(body.encode()).unwrap(), r#"{"dropped":{"T1":120}}"#);
        assert_eq!(JoinReply::decode(&body.encode()), Ok(body));
        assert_eq!(JoinReply::decode(b"{}"), Ok(JoinReply::default()));
    }
}
