//! The name server: which brokers live, which topics they hold, where clients find them. Several of them know nothing
//! of each other; brokers register with every one.
//!
//! - [`run`]: start to stop; [`config`]: the settings and their manual; [`metrics`]
//! - [`router`]: the one match from request code to handler; [`refusal`]: the one table of codes and remarks
//! - [`handlers`]: one function per request
//! - [`name_server`]: what handlers share; [`routes`]: the route table, pure; [`kv_config`]: the durable part
//! - [`notify`]: telling brokers of a new lowest id; [`persist`]: replacing a file; [`warm_up`]: when it may be asked
//!
//! Nothing here knows a stored message or asks a broker anything: what brokers say is all there is.
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

pub mod config;
pub mod handlers;
pub mod kv_config;
pub mod metrics;
pub mod name_server;
pub mod notify;
pub mod persist;
pub mod refusal;
pub mod router;
pub mod routes;
mod run;
pub mod warm_up;

pub use config::Config;
pub use run::{Listeners, RunError, run};
