//! The broker: accepts, stores, delivers.
//!
//! - [`run`]: start to stop; [`config`]: the settings and their manual; [`live`]: those that change while it runs;
//!   [`metrics`]
//! - [`member`]: the broker as its operator sees it, also before there is one; [`live_file`]: live settings from outside,
//!   and what becomes of them; [`live_watch`]: the file; [`status`]: what the broker says about itself
//! - [`session`]: one connection: gathers sends into batches, parks pulls, releases answers whose time has come
//! - [`router`]: the one match from request code to handler; [`refusal`]: what a handler says instead of an answer
//! - [`handlers`]: a file per data request; `handlers/admin`: a file per noun
//! - [`identity`]: whose messages a folder holds
//! - [`topics`], [`groups`], [`offsets`], [`clients`], [`locks`]: the tables; [`persist`]: their files
//! - [`acks`]: what an answer waits for; `progress`: how far that is; [`unanswered`]: those that wait
//! - [`waiting`]: who waits for messages; [`tags`]: filtering; `suggest`: which member a consumer is to ask next;
//!   `redirects`: pulls sent to the master
//! - [`metadata`]: changes of topics, groups and offsets as records of the log, for slaves
//! - [`slave`]: how a slave finds, joins and follows its master; [`joins`]: whom a master lets in
//! - [`membership`]: keeps the name servers informed; [`rates`]: messages per second
//!
//! Handlers speak the wire's words, tables ours, the store bytes.
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

pub mod acks;
pub mod broker;
pub mod clients;
pub mod config;
pub mod groups;
pub mod handlers;
pub mod identity;
mod in_memory;
pub mod joins;
pub mod live;
pub mod live_file;
pub mod live_watch;
pub mod locks;
pub mod member;
pub mod membership;
pub mod metadata;
pub mod metrics;
pub mod offsets;
pub mod persist;
mod progress;
pub mod rates;
mod redirects;
pub mod refusal;
pub mod router;
mod run;
pub mod session;
pub mod slave;
pub mod status;
mod suggest;
pub mod tags;
#[cfg(test)]
mod test_slave;
pub mod topics;
pub mod unanswered;
pub mod waiting;

pub use broker::Broker;
pub use config::Config;
pub use run::{Doors, Listeners, RunError, Sockets, run, run_with_live};
