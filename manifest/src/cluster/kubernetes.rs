//! What shapes pods and other Kubernetes objects. Runners that have none take no notice of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema;

/// A Kubernetes object that is passed on as it is.
pub type Object = Map<String, Value>;

/// Where images come from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// Put before `gantry-broker`, `gantry-namesrv` and so on. Default: the operator's setting. Restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub prefix: Option<String>,
    /// When images are pulled. Default: `IfNotPresent`. Restart.
    pub pull_policy: PullPolicy,
    /// Secrets for the registry, in the cluster's namespace. Restart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull_secrets: Vec<PullSecret>,
    /// Full references, which may carry a digest, instead of prefix and version. Restart.
    pub overrides: ImageOverrides,
}

/// When images are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

/// A secret for the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Full references of images.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageOverrides {
    /// The broker's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub broker: Option<String>,
    /// The name server's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub namesrv: Option<String>,
    /// The controller's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub controller: Option<String>,
    /// The proxy's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub proxy: Option<String>,
}

/// What becomes of volumes when the cluster is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Deletion {
    /// Whether the brokers' volumes stay. Default: `Retain`. Operator.
    pub policy: DeletionPolicy,
    /// Whether a deletion is refused until this is false; where the policy of the chart `gantry-crds` is missing, it
    /// waits. Default: false. Operator.
    pub protection: bool,
}

/// Whether volumes stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    #[default]
    Retain,
    Delete,
}

/// Names within the Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Dns {
    /// The domain of the Kubernetes cluster. Default: `cluster.local`. Restart.
    #[schemars(length(min = 1, max = 253))]
    pub cluster_domain: String,
}

/// CPU and memory of a member.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// What is set aside for it: amounts by resource, such as `cpu: 500m`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, String>,
    /// What it may use at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
}

/// Where members run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scheduling {
    /// Whether members of one group, or of the role, run on different nodes. Default: `Preferred`.
    pub anti_affinity: AntiAffinity,
    /// Whether they run in different zones. Default: `Preferred`.
    pub zone_spread: Spread,
    /// Zones: group g runs wholly in the one numbered g modulo their count. Needs `zoneSpread: Disabled`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1, max = 63)))]
    pub zones: Vec<String>,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations of the pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::objects")]
    pub tolerations: Vec<Object>,
    /// Affinity of the pods, beside the above.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub affinity: Option<Object>,
    /// Priority class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Topology spread constraints of the pods, beside the above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::objects")]
    pub topology_spread_constraints: Vec<Object>,
    /// Scheduler of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub scheduler_name: Option<String>,
    /// Runtime class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
}

/// Whether members run apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Spread {
    Required,
    #[default]
    Preferred,
    Disabled,
}

/// Whether members run on different nodes.
pub type AntiAffinity = Spread;

/// Something that is on unless turned off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Toggle {
    /// Whether it is there. Default: true. Live.
    pub enabled: bool,
}

/// Something that is off unless turned on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ToggleOff {
    /// Whether it is there. Default: false. Live.
    pub enabled: bool,
}

impl Default for Dns {
    fn default() -> Self {
        Dns { cluster_domain: "cluster.local".to_owned() }
    }
}

impl Default for Toggle {
    fn default() -> Self {
        Toggle { enabled: true }
    }
}
