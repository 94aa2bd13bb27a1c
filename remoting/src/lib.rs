//! Sockets for the wire: frames in and out over TCP, nothing about what a request means.
//!
//! - [`connection`]: all complete frames of a read, one write for their answers; limits, idle and slow peers
//! - [`server`]: accepting, counting, shutting down; [`Handler`]: servers whose answers are ready at once
//! - [`mailbox`]: what other tasks give a connection to send or to look at again
//! - [`client`]: requests to a server, matched to answers by opaque id
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

pub mod client;
pub mod connection;
pub mod handler;
mod input;
pub mod limits;
pub mod mailbox;
pub mod server;

pub use client::{CallError, Client, ClientOptions, Response};
pub use connection::{Peer, Session};
pub use handler::{Handler, Reply, Request};
pub use limits::{Limits, Stats};
pub use mailbox::Mailbox;
pub use server::{Service, serve};

/// Becomes true when the server is to stop.
pub type Shutdown = tokio::sync::watch::Receiver<bool>;
