//! The broker groups: how many, how they keep the same messages, when a message counts as on disk.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::{Rollout, ScaleIn, TopicInheritance};
use super::kubernetes::{Object, Resources, Scheduling};
use super::schema;
use super::storage::Storage;

/// The broker groups; each holds its own share of every topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Brokers {
    /// How many groups, 0 to 64. Default: 2. Staged.
    #[schemars(range(min = 0, max = 64))]
    pub groups: i32,
    /// Members per group, 1 to 5: one master, the rest slaves. Default: 2. Staged.
    #[schemars(range(min = 1, max = 5))]
    pub replicas_per_group: i32,
    /// Numbers of the groups that go first when `groups` becomes smaller. Default: the highest. Operator.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(range(min = 0, max = 999)), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<i32>,
    /// The broker name of a group, with `{cluster}` (`metadata.name`) and `{group}` (its number). Default:
    /// `{cluster}-broker-{group}`. Fixed.
    #[schemars(length(max = 127))]
    pub group_name_template: String,
    /// Whether consumers read from a slave while the master is down or too far ahead of them. Default: true. Live.
    pub slave_read: bool,
    /// How a group's members keep the same messages.
    pub replication: Replication,
    /// When a message counts as on disk.
    pub flush: Flush,
    /// Where messages are kept and for how long; required.
    pub storage: Storage,
    /// Which topics a new group starts with. Default: `CopyUnmanaged`. Operator.
    pub topic_inheritance: TopicInheritance,
    /// Whether a send to an unknown topic creates it. Default: false. Live.
    pub auto_create_topics: bool,
    /// Whether a consumer of an unknown group creates it. Default: true. Live.
    pub auto_create_consumer_groups: bool,
    /// More settings of the broker by key, at most 128. Live or restart, by key.
    #[schemars(extend("maxProperties" = 128))]
    pub config: BTreeMap<String, String>,
    /// How groups go.
    pub scale_in: ScaleIn,
    /// How members restart.
    pub rollout: Rollout,
    /// Members that run without traffic. Live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fenced: Vec<FencedMember>,
    /// How long a member may take to stop, a duration. Default: `120s`. Restart.
    #[schemars(schema_with = "schema::duration")]
    pub termination_grace_period: String,
    /// CPU and memory of each member. Restart.
    pub resources: Resources,
    /// Where members run. Restart.
    pub scheduling: Scheduling,
    /// A partial PodTemplateSpec, merged last. Restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub pod_template: Option<Object>,
}

/// How a group's members keep the same messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Replication {
    /// Who leads a group and what an acknowledgement means: `Async`: the first member leads, an acknowledged message
    /// is stored by it; `Sync`: the first member leads, an acknowledged message is stored by `requiredAcks` members;
    /// `Controller`: not supported yet. Default: `Async`. Live between `Async` and `Sync`.
    pub mode: ReplicationMode,
    /// How many members, the master included, store a message before it is acknowledged: 2 to 5, at most
    /// `replicasPerGroup`; only with mode `Sync`. Default: 2. Live.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 5))]
    pub required_acks: Option<i32>,
    /// How many members must be in sync for a message to be taken, 1 to 5; only with mode `Controller`. Default: 1
    /// with up to 2 members per group, else 2. Live.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub min_in_sync_replicas: Option<i32>,
    /// Whether all members in sync store a message before it is acknowledged; only with mode `Controller`. Default:
    /// true. Live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_ack_in_sync_state_set: Option<bool>,
    /// How long ago a slave may last have had all of the master's log to count as in sync, a duration between 1s and
    /// 1h. Default: `15s`. Live.
    #[schemars(schema_with = "schema::duration")]
    pub max_slave_lag: String,
    /// How fast a master reads old messages from its disk for slaves that are behind, in bytes per second and in all,
    /// a quantity between 64Ki and 64Gi. Default: unlimited. Live.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    pub catch_up_bytes_per_second: Option<String>,
}

/// Who leads a group and what an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ReplicationMode {
    // Plain comments: a variant with a description would become a schema of its own.
    // The first member leads; an acknowledged message is stored by it.
    #[default]
    Async,
    // The first member leads; an acknowledged message is stored by `requiredAcks` members.
    Sync,
    // Controllers elect the leader; an acknowledged message is stored by everyone in sync.
    Controller,
}

/// When a message counts as on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Flush {
    /// Whether an acknowledgement waits for the disk: `Async`: no, acknowledged messages survive the process but the
    /// last ones may not survive the host; `Sync`: yes, they survive a power loss. Default: `Async`. Live.
    pub mode: FlushMode,
    /// How often an `Async` broker flushes, a duration between 1ms and 60s. Default: `500ms`. Live.
    #[schemars(schema_with = "schema::duration")]
    pub interval: String,
}

/// Whether an acknowledgement waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum FlushMode {
    #[default]
    Async,
    Sync,
}

/// A member that runs without traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FencedMember {
    /// The number of its group, 0 to 999.
    #[schemars(range(min = 0, max = 999))]
    pub group: i32,
    /// Its place in the group, 0 to 4.
    #[schemars(range(min = 0, max = 4))]
    pub ordinal: i32,
}

const USUAL_GRACE: &str = "120s";

impl Default for Brokers {
    fn default() -> Self {
        Brokers {
            groups: 2,
            replicas_per_group: 2,
            remove: Vec::new(),
            group_name_template: "{cluster}-broker-{group}".to_owned(),
            slave_read: true,
            replication: Replication::default(),
            flush: Flush::default(),
            storage: Storage::default(),
            topic_inheritance: TopicInheritance::default(),
            auto_create_topics: false,
            auto_create_consumer_groups: true,
            config: BTreeMap::new(),
            scale_in: ScaleIn::default(),
            rollout: Rollout::default(),
            fenced: Vec::new(),
            termination_grace_period: USUAL_GRACE.to_owned(),
            resources: Resources::default(),
            scheduling: Scheduling::default(),
            pod_template: None,
        }
    }
}

impl Default for Replication {
    fn default() -> Self {
        Replication {
            mode: ReplicationMode::Async,
            required_acks: None,
            min_in_sync_replicas: None,
            all_ack_in_sync_state_set: None,
            max_slave_lag: "15s".to_owned(),
            catch_up_bytes_per_second: None,
        }
    }
}

impl Default for Flush {
    fn default() -> Self {
        Flush { mode: FlushMode::Async, interval: "500ms".to_owned() }
    }
}
