//! The local runner: any manifest as a cluster of processes on this machine's loopback.
//!
//! A member is a process, a volume is a folder, a Service is a loopback port. Nothing here prints or
//! reads a terminal: the caller hears [`Event`]s, and decides when to stop.
//!
//! What runs is decided by the planner, as on Kubernetes: a small world stands in for the API server, and a machine makes
//! processes of its pods.
//!
//! | File | Idea |
//! |---|---|
//! | `cluster.rs` | a running cluster: launch, ready, edit, failed, stop |
//! | `world/` | pure: what an API server would hold; carries out the planner's steps |
//! | `machine.rs` | makes processes, folders and files of the world, and owns them |
//! | `questions.rs` | where members are reached, so that they can be asked |
//! | `told.rs` | pure: what the user hears of plans, once |
//! | `settings.rs`, `placement.rs` | pure: a member's settings, folder and ports on this machine |
//! | `ports.rs` | pure: who listens where |
//! | `board.rs` | where each member stands, for everyone who waits for it |
//! | `event.rs` | what happens, as the caller hears it |
//! | `options.rs` | where and how, with every bound |
//! | `start_error.rs` | why a cluster did not start, with the remedy |
//! | `free_ports.rs`, `port_holder.rs` | is a port free, and if not, who has it |
//! | `files.rs`, `kept_file.rs` | the data folder: lock, members' folders and settings; what outlives the runner |
//! | `child.rs` | one process: spawn, ask to end, end; its last words |
//! | `health.rs` | asks a member's health port whether it is ready |
//! | `restart.rs` | pure: how long to wait before a restart, and when to give up |
//! | `supervisor.rs` | one process of a member: start, wait for ready, restart, stop |
//! | `member.rs` | the other side: what the process of a member does |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod board;
mod child;
mod cluster;
mod event;
mod files;
mod free_ports;
mod health;
mod kept_file;
mod machine;
pub mod member;
mod options;
pub mod placement;
mod port_holder;
pub mod ports;
mod questions;
pub mod restart;
mod settings;
mod start_error;
mod supervisor;
mod told;
mod world;

pub use board::MemberFailed;
pub use cluster::Cluster;
pub use event::{Event, Ready};
pub use free_ports::free_offset;
pub use options::LocalOptions;
pub use port_holder::PortHolder;
pub use start_error::{PortInUse, StartError};
