//! How a command reaches a cluster: the name server's address, given or RocketMQ's usual one.

use anyhow::Context;
use clap::Args;
use client::routes::Routes;
use client::{ClientOptions, Connections};
use tokio::runtime::Runtime;

/// Where the cluster is.
#[derive(Args)]
pub struct NameServer {
    /// The name server, host:port; several joined by ;
    #[arg(short = 'n', long = "name-server", value_name = "HOST:PORT", env = "NAMESRV_ADDR")]
    #[arg(default_value = "127.0.0.1:9876", global = true)]
    address: String,
}

impl NameServer {
    /// Returns the routes of the cluster; nothing is asked yet.
    pub fn routes(&self) -> Routes {
        Routes::new(Connections::new(ClientOptions::default()), &self.address)
    }
}

/// Starts the runtime of a command. One thread: a command waits more than it
/// works.
pub fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")
}
