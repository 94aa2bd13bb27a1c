//! What a cluster is: the `RocketMQCluster` manifest (`gantry.rs/v1alpha1`), pure.
//!
//! Nothing here opens a file, reads a clock or knows that processes, pods or sockets exist; the same
//! code answers `gantry up`, `gantry plan` and the operator.
//!
//! | File | Idea |
//! |---|---|
//! | `cluster/` | the types a manifest is read into, with the static defaults; their comments are the manual |
//! | `crd.rs`, `rules.rs` | the definition for Kubernetes, made from the types; the rules it evaluates |
//! | `structure.rs` | unknown, missing and mistyped fields and values out of range, by that schema, all of them |
//! | `defaults.rs` | defaults by that schema, as the API server fills them in |
//! | `support.rs` | features still to come; fields that only matter on Kubernetes |
//! | `parse.rs` | YAML text to one cluster; [`load`] is the front door |
//! | `validate.rs` | ranges and rules between fields; returns [`Validated`], the only usable form |
//! | `listener_rules.rs` | rules between fields that only Kubernetes has |
//! | `kubernetes_rules.rs`, `embedded.rs`, `pod_template.rs` | what Kubernetes would refuse in what is made from a manifest |
//! | `without_effect.rs` | settings that do nothing |
//! | `transition.rs` | what a change may not do to a cluster that runs |
//! | `marks.rs`, `changes.rs` | what a change of each field does; what differs between two manifests |
//! | `reference.rs` | every field as a page of the manual |
//! | `resolve.rs` | defaults that depend on other fields: the [`Effective`] manifest |
//! | `members.rs` | who runs: name, role and static properties of each member |
//! | `config_keys.rs` | the keys of the `config` maps: live, restart, immutable, refused |
//! | `versions.rs`, `schedule.rs` | versions and their jumps; cron's five fields |
//! | `units.rs` | durations (`72h`) and quantities (`10Gi`) |
//! | `problem.rs` | what is wrong with a manifest, in the user's words |
//! | `nearest.rs` | "did you mean" |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod changes;
pub mod cluster;
pub mod config_keys;
pub mod crd;
mod defaults;
mod embedded;
mod kubernetes_rules;
mod listener_rules;
pub mod marks;
mod members;
mod nearest;
mod parse;
mod pod_template;
mod problem;
pub mod reference;
mod resolve;
mod rules;
pub mod schedule;
mod structure;
mod support;
mod transition;
pub mod units;
mod validate;
pub mod versions;
mod without_effect;

pub use changes::{FieldChange, changes};
pub use cluster::RocketMQCluster;
pub use members::{Member, REFUSING_AFTER_FORCED, Role, broker, members, name_server};
pub use parse::{API_VERSION, KIND, load, read, read_for_deletion, to_yaml};
pub use problem::{Problem, Problems, Reason};
pub use resolve::{Effective, EffectiveBrokers, EffectiveNameServers, group_name, resolve};
pub use transition::check_change;
pub use validate::{Validated, validate};
