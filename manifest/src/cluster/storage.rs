//! Where messages are kept and for how long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Where messages are kept and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Storage {
    /// Whether messages outlive the member: `PersistentVolumeClaim`: kept until deleted explicitly; `EmptyDir`: gone
    /// when the member is, for tests, needs `flush.mode: Async`. Default: `PersistentVolumeClaim`. Fixed.
    #[serde(rename = "type")]
    pub kind: StorageType,
    /// The size of each member's volume, a quantity; required with a `PersistentVolumeClaim`. Staged, and only grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    pub size: Option<String>,
    /// The storage class of the volumes. Default: the Kubernetes cluster's. Fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// The volume attributes class of the volumes. Live.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub volume_attributes_class_name: Option<String>,
    /// The access mode of the volumes. Default: `ReadWriteOnce`. Fixed.
    pub access_mode: AccessMode,
    /// A second volume for the log itself; adding or removing it later is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_log: Option<CommitLog>,
    /// What becomes of the volumes of members that were scaled in. Default: `Retain`. Operator.
    pub when_scaled: WhenScaled,
    /// What happens when a volume is gone: `Block`: wait for a person; `Replace`: copy from other members. Default:
    /// `Block`. Operator.
    pub on_lost_volume: LostVolume,
    /// How long messages are kept, a duration of whole hours, at least 1h. Default: `72h`. Live.
    #[schemars(schema_with = "schema::duration")]
    pub file_reserved_time: String,
    /// Disk use in percent, 50 to 94, from which old messages go early; 5 higher, writes stop. Default: 85. Live.
    #[schemars(range(min = 50, max = 94))]
    pub disk_full_percent: i32,
}

/// A volume for the log itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitLog {
    /// Its size, a quantity. Staged, and only grows.
    #[schemars(schema_with = "schema::quantity")]
    pub size: String,
    /// Its storage class. Default: the Kubernetes cluster's. Fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// Whether messages outlive the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum StorageType {
    #[default]
    PersistentVolumeClaim,
    EmptyDir,
}

/// Who may mount a volume at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    #[default]
    ReadWriteOnce,
    ReadWriteOncePod,
}

/// What becomes of the volumes of members that were scaled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum WhenScaled {
    #[default]
    Retain,
    Delete,
}

/// What happens when a volume is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum LostVolume {
    #[default]
    Block,
    Replace,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            kind: StorageType::PersistentVolumeClaim,
            size: None,
            storage_class_name: None,
            volume_attributes_class_name: None,
            access_mode: AccessMode::default(),
            commit_log: None,
            when_scaled: WhenScaled::default(),
            on_lost_volume: LostVolume::default(),
            file_reserved_time: "72h".to_owned(),
            disk_full_percent: 85,
        }
    }
}
