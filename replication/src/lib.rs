//! The log on its way from a master to its slaves: RocketMQ's own stream (P§6.1), so that Java brokers may stand on
//! either side. Nothing here knows requests, topics or how a slave finds its master.
//!
//! - [`leader`]: a master's side: accepts followers, the `replicated` offset, who is in sync; `sending` is one of them
//! - [`follower`]: a slave's side: one connection, appended through [`FollowedLog`]; `following` tells how it goes
//! - pure, state and `now` in, decision out: [`wire`] the bytes, `outgoing` and `reports` those on their way, `assembly`
//!   frames to records, [`sync_state`] who is how far behind, `members` all of them, `confirm` what enough of them have,
//!   `throttle` and `rate` bytes per second, [`join`] whether a slave may follow at all
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

#[cfg(test)]
extern crate self as replication;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

mod assembly;
mod clock;
mod confirm;
pub mod follower;
mod following;
pub mod join;
pub mod leader;
mod members;
mod outgoing;
mod rate;
mod reports;
mod sending;
pub mod sync_state;
mod throttle;
pub mod wire;

pub use follower::{FollowError, FollowedLog, FollowerConfig, follow};
pub use following::{Following, FollowingState};
pub use join::{Join, LeaderLog, OwnLog, decide_join};
pub use leader::{FollowerStatus, Leader, LeaderConfig};
