//! The controllers, which elect masters.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes::{Object, Resources, Scheduling};
use super::schema;

/// The controllers: a Raft group that elects the masters of all broker groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Controllers {
    /// How many: 1, 3 or 5. Default: 3. Staged.
    #[schemars(range(min = 1, max = 5))]
    pub replicas: i32,
    /// Their volumes.
    pub storage: ControllerStorage,
    /// How fast a dead master is replaced.
    pub failover: Failover,
    /// More settings of the controller by key, at most 128. Live or restart, by key.
    #[schemars(extend("maxProperties" = 128))]
    pub config: BTreeMap<String, String>,
    /// CPU and memory of each controller. Restart.
    pub resources: Resources,
    /// Where controllers run. Restart.
    pub scheduling: Scheduling,
    /// A partial PodTemplateSpec, merged last. Restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub pod_template: Option<Object>,
}

/// The volumes of controllers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllerStorage {
    /// The size of each, a quantity. Default: `2Gi`. Staged, and only grows.
    #[schemars(schema_with = "schema::quantity")]
    pub size: String,
    /// Their storage class. Default: the Kubernetes cluster's. Fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// How fast a dead master is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// How often a broker is heard of, a duration. Default: `500ms`. Live.
    #[schemars(schema_with = "schema::duration")]
    pub heartbeat_interval: String,
    /// How long a master may acknowledge without having been heard of, a duration. Default: `2s`. Live.
    #[schemars(schema_with = "schema::duration")]
    pub lease_duration: String,
    /// After how long a silent master is replaced, a duration: the lease and a margin for clocks. Default: `3s`. Live.
    #[schemars(schema_with = "schema::duration")]
    pub election_timeout: String,
    /// Whether a person may make a member master that may miss messages. Default: `Never`. Live.
    pub unclean: UncleanElection,
    /// What masters do while no controller answers. Default: `KeepServing`. Live.
    pub on_controller_loss: ControllerLoss,
}

/// Whether a member that may miss messages may become master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum UncleanElection {
    #[default]
    Never,
    Manual,
}

/// What masters do while no controller answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ControllerLoss {
    #[default]
    KeepServing,
    StopWrites,
}

impl Default for Controllers {
    fn default() -> Self {
        Controllers {
            replicas: 3,
            storage: ControllerStorage::default(),
            failover: Failover::default(),
            config: BTreeMap::new(),
            resources: Resources::default(),
            scheduling: Scheduling::default(),
            pod_template: None,
        }
    }
}

impl Default for ControllerStorage {
    fn default() -> Self {
        ControllerStorage { size: "2Gi".to_owned(), storage_class_name: None }
    }
}

impl Default for Failover {
    fn default() -> Self {
        Failover {
            heartbeat_interval: "500ms".to_owned(),
            lease_duration: "2s".to_owned(),
            election_timeout: "3s".to_owned(),
            unclean: UncleanElection::default(),
            on_controller_loss: ControllerLoss::default(),
        }
    }
}
