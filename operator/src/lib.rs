//! The Kubernetes operator: observes a `RocketMQCluster` and its members, and carries out what `planner` decides. Nothing
//! is decided here but when to look and what is done first.
//!
//! | File | Idea |
//! |---|---|
//! | `reconcile.rs` | one look at one cluster, a straight line: observe, validate, plan, take the steps, report |
//! | `observe.rs` | from caches or from the API server, and from members, to facts |
//! | `decide.rs` | plans with the manifest, or with the last one that could be applied (`planner::accepted`) |
//! | `apply.rs` | carries out one step |
//! | `watch.rs`, `caches.rs` | what is watched, and what is kept of it |
//! | `queue.rs`, `slots.rs`, `memory.rs` | who is looked at next; how many restart at a time; what is remembered of each |
//! | `events.rs`, `metrics.rs` | what people and machines are told |
//! | `leader.rs` | which of several operators acts |
//! | `members` | the crate that asks and tells members |
//! | `api.rs`, `failure.rs` | the API server's client; why something failed |
//! | `settings.rs`, `run.rs` | the flags; how all of it is put together |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
mod apply;
pub mod caches;
mod decide;
mod events;
mod failure;
pub mod leader;
mod memory;
pub mod metrics;
mod observe;
pub mod queue;
mod reconcile;
pub mod run;
pub mod settings;
mod slots;
#[cfg(test)]
mod testing;
mod watch;

pub use members;
