//! How consumers of a topic ask for messages, pull or pop (402).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::JsonBody;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageRequestModes {
    /// Topic -> group -> mode; what is not in it pulls.
    pub message_request_mode_map: BTreeMap<String, BTreeMap<String, Value>>,
}

impl JsonBody for MessageRequestModes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_without_modes_says_so_with_an_empty_map() {
        let text = r#"{"messageRequestModeMap":{}}"#;
        assert_eq!(String::from_utf8(MessageRequestModes::default().encode()).unwrap(), text);
        let java = r#"{"messageRequestModeMap":{"T1":{"G1":{"consumerGroup":"G1","mode":"POP","popShareQueueNum":-1,"topic":"T1"}}}}"#;
        let modes = MessageRequestModes::decode(java.as_bytes()).unwrap();
        assert_eq!(modes.message_request_mode_map["T1"]["G1"]["mode"], "POP");
        assert_eq!(String::from_utf8(modes.encode()).unwrap(), java);
    }
}
