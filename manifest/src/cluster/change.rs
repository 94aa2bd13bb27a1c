//! How groups change: what a new one starts with, how one goes, how members restart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Which topics a new group starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TopicInheritance {
    None,
    #[default]
    CopyUnmanaged,
}

/// How groups go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleIn {
    /// `Drain`: a group goes when its consumers have read everything; `Refuse`: none goes; `Force`: one goes at once,
    /// with what was not read. Default: `Drain`. Operator.
    pub policy: ScaleInPolicy,
    /// After how long a drain is reported as blocked, a duration; nothing is removed then. Default: `24h`. Operator.
    #[schemars(schema_with = "schema::duration")]
    pub drain_timeout: String,
    /// How long a drained group stays, a duration: clients look for routes every 30 s. Default: `60s`. Operator.
    #[schemars(schema_with = "schema::duration")]
    pub min_drain_time: String,
    /// What a consumer group that nobody runs does to a drain. Default: `Block`. Operator.
    pub idle_groups: IdleGroups,
    /// After how long `Drop` gives up an idle group, a duration; 0s is never. Default: `0s`. Operator.
    #[schemars(schema_with = "schema::duration")]
    pub ignore_idle_groups_after: String,
    /// Whether what nobody read is sent again to other groups. Default: false. Operator.
    pub migrate_remaining: bool,
}

/// Whether a group waits for its consumers before it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ScaleInPolicy {
    #[default]
    Drain,
    Refuse,
    Force,
}

/// What a consumer group that nobody runs does to a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum IdleGroups {
    #[default]
    Block,
    Drop,
}

/// How members restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Whether a master hands over before it restarts; fixed modes always restart it. Default: `Switchover`. Operator.
    pub primary_update: PrimaryUpdate,
    /// `Supervised`: masters wait for a person. Default: `Automatic`. Operator.
    pub approval: Approval,
    /// How many groups may have a member down for a restart at once, 1 to 8. Default: 1. Operator.
    #[schemars(range(min = 1, max = 8))]
    pub max_groups_in_parallel: i32,
    /// How long to wait between two groups, a duration. Default: `0s`. Operator.
    #[schemars(schema_with = "schema::duration")]
    pub pause_between: String,
    /// `Any`, or the ordinal that should lead: after a rollout the master moves back to it. Default: `Any`. Operator.
    #[schemars(regex(pattern = "^(Any|[0-4])$"), length(max = 3))]
    pub preferred_master: String,
    /// When restarts that are not urgent may happen, at most 8. Default: always. Operator.
    #[schemars(length(max = 8))]
    pub window: Vec<RolloutWindow>,
}

/// A time in which restarts that are not urgent may happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutWindow {
    /// When it begins, in cron's five fields, UTC: `0 3 * * 6`.
    #[schemars(length(min = 9, max = 64))]
    pub schedule: String,
    /// How long it lasts, a duration.
    #[schemars(schema_with = "schema::duration")]
    pub duration: String,
}

/// Whether a master hands over before it restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PrimaryUpdate {
    #[default]
    Switchover,
    Restart,
}

/// Who lets masters restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    #[default]
    Automatic,
    Supervised,
}

impl Default for ScaleIn {
    fn default() -> Self {
        ScaleIn {
            policy: ScaleInPolicy::default(),
            drain_timeout: "24h".to_owned(),
            min_drain_time: "60s".to_owned(),
            idle_groups: IdleGroups::default(),
            ignore_idle_groups_after: "0s".to_owned(),
            migrate_remaining: false,
        }
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Rollout {
            primary_update: PrimaryUpdate::default(),
            approval: Approval::default(),
            max_groups_in_parallel: 1,
            pause_between: "0s".to_owned(),
            preferred_master: "Any".to_owned(),
            window: Vec::new(),
        }
    }
}
