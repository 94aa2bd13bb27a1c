//! What was observed, and only that: the cluster's own object, its children, its pods and volumes, and what its members
//! say. The operator fills it in; nothing here knows how.
//!
//! An answer that did not come is [`Answer::Unknown`] and never a zero, an empty list or the answer of before.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use manifest::cluster::ClusterStatus;
use serde_json::Value;

use crate::object::ObjectRef;

/// Something asked of someone who may not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer<T> {
    #[default]
    Unknown,
    Known(T),
}

impl<T> Answer<T> {
    /// Returns what is known, if it is.
    pub fn known(&self) -> Option<&T> {
        match self {
            Answer::Known(value) => Some(value),
            Answer::Unknown => None,
        }
    }
}

/// Everything a plan is made from, together with the manifest and the time.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub operator: OperatorSettings,
    pub cluster: ClusterFacts,
    /// Children by kind and name: all that carry the cluster's label, and all that have a name of ours (see
    /// [`Observed::foreign`]). Pods and volume claims are not among them.
    pub objects: BTreeMap<ObjectRef, Observed>,
    /// Pods with the cluster's label.
    pub pods: Vec<PodFacts>,
    /// Volume claims with the cluster's label.
    pub claims: Vec<ClaimFacts>,
    /// What each broker answered to `GET /admin/v1/status`, by pod.
    pub members: BTreeMap<String, Answer<MemberFacts>>,
    /// Unknown also when the operator may not read storage classes.
    pub storage_classes: Answer<BTreeMap<String, StorageClassFacts>>,
    /// Nodes by name; unknown also when the operator may not read nodes.
    pub nodes: Answer<BTreeMap<String, NodeFacts>>,
    /// For each group whose state is `Draining`: what consumers have not read.
    pub drains: BTreeMap<u32, Answer<DrainFacts>>,
    /// For each group whose state is `Joining`: how many topics and subscription groups it lacks that it has to start
    /// with, found by reading both lists again.
    pub copies: BTreeMap<u32, Answer<u32>>,
}

/// What the operator was started with and found out about its Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSettings {
    /// Its version.
    pub version: String,
    /// Put before `gantry-broker` and so on where a manifest does not say.
    pub image_prefix: String,
    /// Secrets for the registry where a manifest names none; they must exist in the cluster's namespace.
    pub pull_secrets: Vec<String>,
    /// Its namespace, and the labels of its pods there: who may connect to the admin port.
    pub namespace: String,
    pub pod_labels: BTreeMap<String, String>,
    /// Whether the kinds of the Prometheus operator exist here.
    pub monitoring_kinds: bool,
    /// Whether this cluster may begin to restart pods now; false while too many others do. What has begun goes on.
    pub may_roll: bool,
}

impl Default for OperatorSettings {
    fn default() -> Self {
        OperatorSettings {
            version: String::new(),
            image_prefix: String::new(),
            pull_secrets: Vec::new(),
            namespace: "gantry-system".to_owned(),
            pod_labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), "gantry-operator".to_owned())]),
            monitoring_kinds: false,
            may_roll: true,
        }
    }
}

/// The `RocketMQCluster` itself, beside its spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterFacts {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    pub annotations: BTreeMap<String, String>,
    pub finalizers: BTreeSet<String>,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// As it was last read; empty for a new cluster.
    pub status: ClusterStatus,
}

/// A child as the API server has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    pub json: Value,
    pub uid: String,
    pub resource_version: String,
    pub created: Option<Timestamp>,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// Whether it has a name of ours, but the cluster is not its controller: never written, never deleted.
    pub foreign: bool,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodFacts {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub created: Option<Timestamp>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// The main container's image.
    pub image: String,
    /// Names of the ConfigMaps it mounts.
    pub config_maps: BTreeSet<String>,
    pub node: Option<String>,
    pub host_ip: Option<String>,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Since when it is what `ready` says.
    pub ready_since: Option<Timestamp>,
    pub terminating: bool,
    /// Why it does not run, such as `CrashLoopBackOff`, `ImagePullBackOff` or `Unschedulable`.
    pub trouble: Option<String>,
}

/// A volume claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimFacts {
    pub name: String,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// `spec.resources.requests.storage`.
    pub requested: String,
    /// `status.capacity.storage`.
    pub capacity: Option<String>,
    pub storage_class: Option<String>,
    pub attributes_class: Option<String>,
    /// Whether its phase is `Lost`: its volume is gone.
    pub lost: bool,
    /// Since when it has the condition `FileSystemResizePending`: its file system grows while it is mounted or when its pod
    /// starts again, by its driver. 1970 when the condition does not say.
    pub file_system_resize_pending: Option<Timestamp>,
    pub deleting: bool,
}

/// What a broker says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberFacts {
    pub version: String,
    pub broker_id: i64,
    pub master: bool,
    pub store_id: Option<String>,
    pub store: StoreState,
    pub ready: bool,
    /// Why it is not ready.
    pub reason: String,
    /// Bytes of the master's log that it does not have; 0 for a master.
    pub lag_bytes: Option<u64>,
    pub in_sync: bool,
    /// The revision of the live settings it runs with.
    pub config_revision: u64,
    pub config_hash: String,
    /// Its `brokerPermission`.
    pub permission: u8,
    pub disk_used_percent: Option<u32>,
}

/// Whether a broker's store is the one it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreState {
    #[default]
    Ok,
    /// It reads its log after a start.
    Recovering,
    /// It has the store of another member.
    StoreIdentityMismatch,
    /// It has an empty store where there should be one.
    VolumeLost,
}

/// A storage class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageClassFacts {
    pub can_expand: bool,
    /// Whether it is used where none is named.
    pub is_default: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFacts {
    pub external_ip: Option<String>,
    pub internal_ip: Option<String>,
    pub zone: Option<String>,
}

/// What keeps a group from going.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrainFacts {
    /// Whether every name server answered and none of their routes leads producers to the group.
    pub routes_are_read_only: bool,
    /// Messages that consumer groups with members have not read, retried and delayed messages among them.
    pub remaining: u64,
    /// Consumer groups that have not read everything and have no members, and for how long nobody has seen one.
    pub idle: Vec<IdleGroup>,
    /// Ordered topics of which members have messages to read: part of `remaining`.
    pub unread_ordered: Vec<String>,
    /// Topics with an order configuration (`ORDER_TOPIC_CONFIG` of a name server) that names the group: their producers
    /// send to it whatever its routes say.
    pub order_configured: Vec<String>,
    /// What only this group has of all that are to stay.
    pub only_here: OnlyHere,
    /// The consumer groups that are furthest behind, at most 10, as they stand in the status.
    pub top_lags: Vec<String>,
}

/// Topics and subscription groups by name that no group has which takes messages: with this one they would be gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnlyHere {
    pub topics: Vec<String>,
    pub groups: Vec<String>,
}

/// A consumer group that has messages to read and nobody who reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleGroup {
    pub name: String,
    pub remaining: u64,
    /// How long it has been idle, as far as known.
    pub idle_for: Answer<std::time::Duration>,
}
