//! The version of a broker's tables: which of two copies is newer.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::json::JsonBody;

/// Compared by `state_version`, then `counter`, then `timestamp`. Peers before 5.0 omit `state_version`: 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Changes of the table since its creation.
    pub counter: i64,
    /// Grows when another master takes over; 0 without a controller.
    pub state_version: i64,
    /// Milliseconds since 1970 of the last change.
    pub timestamp: i64,
}

impl JsonBody for DataVersion {}

impl DataVersion {
    /// Returns the version after one more change at `now_ms` under `state_version`.
    #[must_use]
    pub fn next(self, state_version: i64, now_ms: i64) -> Self {
        Self { counter: self.counter.wrapping_add(1), state_version, timestamp: now_ms }
    }
}

impl Ord for DataVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |version: &Self| (version.state_version, version.counter, version.timestamp);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for DataVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
