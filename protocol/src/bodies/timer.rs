//! What slaves ask of a master's timer: how many messages wait (61, JSON) and how far it has come (60, P§5.8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::data_version::DataVersion;
use crate::json::JsonBody;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimerMetrics {
    pub data_version: DataVersion,
    /// Topic -> how many of its messages wait.
    pub timing_count: BTreeMap<String, Value>,
}

impl JsonBody for TimerMetrics {}

/// Bytes of a timer checkpoint: seven big-endian i64.
pub const CHECKPOINT_LEN: usize = 56;

/// How far a timer has come. Its body is not JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimerCheckpoint {
    pub last_read_time_ms: i64,
    pub last_timer_log_flush_pos: i64,
    pub last_timer_queue_offset: i64,
    pub master_timer_queue_offset: i64,
    pub data_version: DataVersion,
}

impl TimerCheckpoint {
    /// Returns the body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = &self.data_version;
        [
            self.last_read_time_ms,
            self.last_timer_log_flush_pos,
            self.last_timer_queue_offset,
            self.master_timer_queue_offset,
            version.state_version,
            version.timestamp,
            version.counter,
        ]
        .iter()
        .flat_map(|field| field.to_be_bytes())
        .collect()
    }

    /// Reads a body; `None` when it is shorter than a checkpoint.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let field = |n: usize| Some(i64::from_be_bytes(body.get(8 * n..8 * n + 8)?.try_into().ok()?));
        Some(Self {
            last_read_time_ms: field(0)?,
            last_timer_log_flush_pos: field(1)?,
            last_timer_queue_offset: field(2)?,
            master_timer_queue_offset: field(3)?,
            data_version: DataVersion { state_version: field(4)?, timestamp: field(5)?, counter: field(6)? },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_a_broker_without_a_timer_have_a_version_all_the_same() {
        let text = r#"{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":0},"timingCount":{}}"#;
        assert_eq!(String::from_utf8(TimerMetrics::default().encode()).unwrap(), text);
        assert_eq!(TimerMetrics::decode(text.as_bytes()), Ok(TimerMetrics::default()));
    }

    #[test]
    fn a_checkpoint_is_seven_numbers_in_the_order_of_the_table() {
        let checkpoint = TimerCheckpoint {
            last_read_time_ms: 1,
            last_timer_log_flush_pos: 2,
            last_timer_queue_offset: 3,
            master_timer_queue_offset: 4,
            data_version: DataVersion { state_version: 5, timestamp: 6, counter: 7 },
        };
        let body = checkpoint.encode();
        let want: Vec<u8> = (1..=7u8).flat_map(|n| [0, 0, 0, 0, 0, 0, 0, n]).collect();
        assert_eq!((body.len(), &body), (CHECKPOINT_LEN, &want));
        assert_eq!(TimerCheckpoint::decode(&body), Some(checkpoint));
        assert_eq!(TimerCheckpoint::decode(&body[..CHECKPOINT_LEN - 1]), None);
    }
}
