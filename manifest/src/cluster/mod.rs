//! The types a `RocketMQCluster` is read into, with the defaults that depend on nothing else. Their comments are
//! the manual and the descriptions in the CRD.
//!
//! Each field says what a change of it does: *live* (running members take it over), *restart* (members restart one
//! by one), *staged* (a longer operation), *fixed* (refused), *operator* (only steers the operator).
//!
//! Reading is only half of it: a value of these types may still break a rule. What runs is [`crate::Validated`],
//! then [`crate::Effective`].
//!
//! | File | Idea |
//! |---|---|
//! | `brokers.rs`, `storage.rs`, `change.rs` | broker groups; where messages are kept; how groups change |
//! | `name_servers.rs`, `controllers.rs`, `proxy.rs` | the other roles |
//! | `listeners.rs`, `security.rs` | addresses; TLS and access |
//! | `kubernetes.rs` | what shapes pods and other objects |
//! | `observe.rs` | logs and metrics |
//! | `status.rs` | what the operator reports |
//! | `schema.rs` | schemas of texts that are amounts, and of embedded Kubernetes objects |

// Printer columns share their types.
#![allow(clippy::duplicated_attributes)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod brokers;
mod change;
mod controllers;
mod kubernetes;
mod listeners;
mod name_servers;
mod observe;
mod proxy;
pub(crate) mod schema;
mod security;
pub mod status;
mod storage;

pub use brokers::{Brokers, FencedMember, Flush, FlushMode, Replication, ReplicationMode};
pub use change::{
    Approval, IdleGroups, PrimaryUpdate, Rollout, RolloutWindow, ScaleIn, ScaleInPolicy, TopicInheritance,
};
pub use controllers::{ControllerLoss, ControllerStorage, Controllers, Failover, UncleanElection};
pub use kubernetes::{
    AntiAffinity, Deletion, DeletionPolicy, Dns, Image, ImageOverrides, Object, PullPolicy, PullSecret,
    Resources, Scheduling, Spread, Toggle, ToggleOff,
};
pub use listeners::{
    AddressType, Advertised, Listener, ListenerTls, ListenerType, LoadBalancer, NodePort, TlsMode,
};
pub use name_servers::NameServers;
pub use observe::{LogFormat, LogLevel, Logging, Monitoring, PodMonitor, PrometheusRule};
pub use proxy::{Autoscaling, Proxy, ProxyService, ServiceType};
pub use security::{
    Acl, AclPolicy, AclVersion, ClientAuth, InternalTls, IssuerRef, IssuerType, SecretRef, Tls, TlsIssuer,
};
pub use status::ClusterStatus;
pub use storage::{AccessMode, CommitLog, LostVolume, Storage, StorageType, WhenScaled};

/// What the cluster should be.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gantry.rs",
    version = "v1alpha1",
    kind = "RocketMQCluster",
    plural = "rocketmqclusters",
    shortname = "rktmq",
    category = "gantry",
    namespaced,
    status = "ClusterStatus",
    annotation("helm.sh/resource-policy", "keep"),
    derive = "PartialEq",
    doc = "A RocketMQ-compatible cluster: name servers, broker groups, and how they keep messages.",
    scale(
        spec_replicas_path = ".spec.brokers.groups",
        status_replicas_path = ".status.brokers.groups",
        label_selector_path = ".status.brokers.selector"
    ),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "STATUS",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "DESIRED", type_ = "integer", json_path = ".spec.brokers.groups"),
    printcolumn(name = "GROUPS", type_ = "integer", json_path = ".status.brokers.groups"),
    printcolumn(name = "WRITABLE", type_ = "integer", json_path = ".status.brokers.writableGroups"),
    printcolumn(name = "MEMBERS", type_ = "integer", json_path = ".status.brokers.members"),
    printcolumn(name = "INSYNC", type_ = "integer", json_path = ".status.brokers.inSyncMembers"),
    printcolumn(name = "VERSION", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "MODE", type_ = "string", json_path = ".spec.brokers.replication.mode", priority = 1),
    printcolumn(name = "LEADER", type_ = "string", json_path = ".status.controllers.leader", priority = 1),
    printcolumn(
        name = "MESSAGE",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// The name RocketMQ clients and tools see, 1 to 64 letters, digits, `_`, `-`, `%` and `|`. Default:
    /// `metadata.name`. Fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub cluster_name: Option<String>,
    /// The version of Gantry that runs, such as `0.1.0`. Restart.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Where images come from.
    #[serde(default)]
    pub image: Image,
    /// The operator writes nothing to the cluster while true; its members go on. A cluster that is deleted goes all the
    /// same. Default: false. Operator.
    #[serde(default)]
    pub paused: bool,
    /// All members stop, their volumes stay. Default: false. Staged.
    #[serde(default)]
    pub stopped: bool,
    /// What becomes of volumes when the cluster is deleted.
    #[serde(default)]
    pub deletion: Deletion,
    /// Label selector of the namespaces whose topics, groups and users may refer to this cluster. Default: none.
    /// Operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub allowed_namespaces: Option<Object>,
    /// The service account of all pods. Default: `metadata.name`. Restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Names within the Kubernetes cluster.
    #[serde(default)]
    pub dns: Dns,
    /// The name servers.
    #[serde(default)]
    pub name_servers: NameServers,
    /// The controllers, which elect masters; only with `brokers.replication.mode: Controller`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controllers: Option<Controllers>,
    /// The broker groups.
    pub brokers: Brokers,
    /// The gRPC proxy.
    #[serde(default)]
    pub proxy: Proxy,
    /// Where clients reach brokers, at most 8, one of them `internal`. Default: one of type `PodService` at 10911.
    /// Restart.
    #[serde(default = "listeners::internal")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<Listener>,
    /// A service per group that follows its master. Live.
    #[serde(default)]
    pub master_service: ToggleOff,
    /// Encryption; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Access control.
    #[serde(default)]
    pub acl: Acl,
    /// Whether network policies are made. Live.
    #[serde(default)]
    pub network_policy: Toggle,
    /// Whether pod disruption budgets are made. Live.
    #[serde(default)]
    pub pod_disruption_budget: Toggle,
    /// What is made for Prometheus and Grafana.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// What the members log.
    #[serde(default)]
    pub logging: Logging,
}
