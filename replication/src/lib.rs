//! The log on its way from a master to its slaves: RocketMQ's own stream (P§6.1), so that Java brokers may stand on
//! either side. Nothing here knows requests, topics or how a slave finds its master.
//!
//! - [`leader`]: a master's side: one task per follower, the `replicated` offset, who is in sync
//! - [`follower`]: a slave's side: one connection, appended through [`FollowedLog`]
//! - pure, state and `now` in, decision out: [`wire`] the bytes, [`sync_state`] who is how far behind, [`confirm`] what
//!   enough members have, [`throttle`] and [`rate`] bytes per second, [`join`] whether a slave may follow at all
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

pub mod confirm;
pub mod follower;
pub mod join;
pub mod leader;
pub mod rate;
pub mod sync_state;
pub mod throttle;
pub mod wire;

pub use follower::{
    AppendLogError, FollowError, FollowedLog, FollowerConfig, Following, FollowingState, follow,
};
pub use join::{Join, LeaderLog, OwnLog, decide_join};
pub use leader::{FollowerStatus, Leader, LeaderConfig};
