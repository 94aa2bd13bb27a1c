//! Calls to our servers: typed requests first, conveniences on top.
//!
//! | Module                    | Holds                                                           |
//! |---------------------------|-----------------------------------------------------------------|
//! | [`namesrv`], [`broker`]   | one function per request we send                                |
//! | [`replica`]               | the requests of a slave to its master                           |
//! | [`survey`]                | looks at a broker as a whole: what it holds and for whom        |
//! | [`connections`]           | one connection per address, made anew when it is lost           |
//! | [`routes`]                | where the queues of a topic are, remembered for half a minute   |
//! | [`producer`], [`consumer`]| small; for the proxy, the benchmark, the command line and tests |
//! | [`admin`]                 | operations on a whole cluster, made of those calls              |
//! | [`admin_status`]          | what a broker says about itself on its admin port, as JSON      |
//! | [`message`]               | messages as an application sees them                            |
//!
//! Nothing here knows how a server works inside, and no server is linked here.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
pub mod admin_status;
pub mod broker;
pub mod connections;
pub mod consumer;
mod error;
pub mod message;
pub mod namesrv;
pub mod producer;
pub mod replica;
pub mod routes;
pub mod survey;

#[cfg(test)]
mod scripted;

pub use connections::Connections;
pub use error::RequestError;
pub use remoting::{CallError, Client, ClientOptions};
