//! What the operator reports. Found anew by observation, but for `nextGroupIndex` and `drain.startedAt`, which are
//! written before they are used.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator found and does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// The generation of the spec that all else here is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds; the message of each names the next action.
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// The version that all members run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version that members are being brought to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_version: Option<String>,
    /// Where clients connect.
    pub endpoints: Endpoints,
    /// The name servers.
    pub name_servers: NameServersStatus,
    /// The controllers, in mode `Controller`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controllers: Option<ControllersStatus>,
    /// The broker groups.
    pub brokers: BrokersStatus,
    /// The restart in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Volumes that change or are gone.
    pub storage: StorageStatus,
    /// Certificates and when they end.
    pub certificates: Vec<Certificate>,
    /// The last change of a master, in mode `Controller`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failover: Option<LastFailover>,
    /// The operator that wrote this.
    pub operator: OperatorStatus,
}

/// Something that holds or does not, as Kubernetes has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(regex(pattern = "^(True|False|Unknown)$"), length(max = 7))]
    pub status: String,
    /// Why, in one word.
    #[schemars(length(min = 1, max = 63))]
    pub reason: String,
    /// Why, in words, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when, RFC 3339.
    #[schemars(length(max = 64))]
    pub last_transition_time: String,
    /// The generation of the spec it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoints {
    /// Name servers by name, joined by `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_servers: Option<String>,
    /// Name servers by address, joined by `;`.
    #[serde(skip_serializing_if = "Option::is_none", rename = "nameServerIPs")]
    pub name_server_ips: Option<String>,
    /// The proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Name servers by listener.
    pub by_listener: BTreeMap<String, Vec<String>>,
}

/// The name servers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NameServersStatus {
    /// How many there are.
    pub replicas: i32,
    /// How many of them are ready.
    pub ready: i32,
}

/// The controllers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllersStatus {
    /// How many there are.
    pub replicas: i32,
    /// How many of them are ready.
    pub ready: i32,
    /// The pod that leads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Its term.
    pub term: i64,
    /// Each of them.
    #[schemars(length(max = 5))]
    pub members: Vec<ControllerMember>,
}

/// A controller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllerMember {
    /// Its pod.
    pub pod: String,
    /// Its identity in the Raft group.
    pub node_id: String,
    /// Whether it leads, follows or learns.
    pub role: String,
    /// When it was last heard of, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_contact: Option<String>,
}

/// The broker groups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokersStatus {
    /// How many groups there are.
    pub groups: i32,
    /// The label selector of their pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Groups whose members are all ready.
    pub ready_groups: i32,
    /// Groups that take messages.
    pub writable_groups: i32,
    /// How many members all groups have.
    pub members: i32,
    /// How many of them are known to be in sync, masters included: one that does not answer is not.
    pub in_sync_members: i32,
    /// The number of the next group; none is used twice.
    pub next_group_index: i32,
    /// What an acknowledged message survives: `Strict`, `Standard` or `Fast`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<String>,
    /// Each group.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["index"]))]
    pub group_statuses: Vec<GroupStatus>,
}

/// A broker group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// Its number.
    pub index: i32,
    /// Its broker name.
    #[serde(default)]
    pub name: String,
    /// The pod of its master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// The master's epoch, in mode `Controller`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Ordinals of the members that are known to be in sync.
    #[serde(default)]
    #[schemars(length(max = 5))]
    pub in_sync: Vec<i32>,
    /// `Joining`, `Active`, `Draining`, `Removing` or `Fenced`.
    #[serde(default)]
    pub state: String,
    /// How far its drain is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// Each member.
    #[serde(default)]
    #[schemars(
        length(max = 5),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["ordinal"])
    )]
    pub members: Vec<MemberStatus>,
}

/// How far a drain is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DrainStatus {
    /// `Requested`, `WriteDisabled`, `Draining`, `Removing` or `Done`.
    pub phase: String,
    /// Since when, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Messages that consumers have not read.
    pub remaining_messages: i64,
    /// The consumer groups that are furthest behind, at most 10.
    #[schemars(length(max = 10))]
    pub top_lags: Vec<String>,
}

/// A member of a broker group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its place in the group.
    pub ordinal: i32,
    /// Its pod.
    #[serde(default)]
    pub pod: String,
    /// Its broker id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_id: Option<i64>,
    /// The identity of the store it must have; its own as long as none is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// `master` or `slave`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Where clients reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Bytes of the master's log that it does not have; only the magnitude.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<i64>,
    /// Use of its disk in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_used_percent: Option<i32>,
    /// The settings it runs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Whether it is ready.
    #[serde(default)]
    pub ready: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A restart in progress.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// Which.
    pub id: String,
    /// Why.
    pub reason: String,
    /// Members that are done.
    pub done: i32,
    /// Members in all.
    pub total: i32,
    /// The member at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}

/// Volumes that change or are gone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageStatus {
    /// Volumes that grow.
    pub resizing: Vec<String>,
    /// Volumes that are gone.
    pub lost: Vec<String>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Certificate {
    /// Its secret.
    pub name: String,
    /// When it ends, RFC 3339.
    pub not_after: String,
}

/// A change of a master.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LastFailover {
    /// The group's number.
    pub group: i32,
    /// The pod that led.
    pub from: String,
    /// The pod that leads.
    pub to: String,
    /// When, RFC 3339.
    pub at: String,
    /// How long until it was noticed, a duration.
    pub detected: String,
    /// How long until another was elected, a duration.
    pub elected: String,
    /// How long until the group took messages again, a duration.
    pub writable: String,
}

/// The operator that wrote a status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OperatorStatus {
    /// Its version.
    pub version: String,
}
