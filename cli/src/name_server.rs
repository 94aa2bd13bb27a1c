//! How a command reaches a cluster: the name server's address, given or RocketMQ's usual one.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use client::routes::Routes;
use client::{ClientOptions, Connections};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

/// How long a new topic may take to become known to the name servers.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// Where the cluster is.
#[derive(Args)]
pub struct NameServer {
    /// The name server, host:port; several joined by ;
    #[arg(short = 'n', long = "name-server", value_name = "HOST:PORT", env = "NAMESRV_ADDR")]
    #[arg(default_value = USUAL, global = true, value_parser = addresses)]
    address: String,
}

/// Here `-n` is no namespace, as it is with commands about Kubernetes.
fn addresses(text: &str) -> Result<String, String> {
    match text.split(';').map(str::trim).find(|one| !one.is_empty() && !one.contains(':')) {
        Some(one) => Err(format!("no port in {one}; -n is the name server, HOST:PORT")),
        None => Ok(text.to_owned()),
    }
}

/// RocketMQ's usual address.
pub const USUAL: &str = "127.0.0.1:9876";

impl NameServer {
    /// Names one.
    pub fn at(address: &str) -> NameServer {
        NameServer { address: address.to_owned() }
    }

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

/// Waits until a name server knows a topic: a broker that has just made one announces it a moment later,
/// and whoever makes a topic uses it next.
pub async fn wait_until_known(routes: &Routes, topic: &str) -> anyhow::Result<()> {
    let known = timeout(KNOWN_WITHIN, async {
        while routes.refresh(topic).await.is_err() {
            sleep(ASK_AGAIN).await;
        }
    });
    known.await.map_err(|_| anyhow::anyhow!("no name server knows topic {topic} after {KNOWN_WITHIN:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_has_a_port_and_what_has_none_is_no_namespace() {
        for good in ["", "a:1", "a:1;b:2", "a:1; b:2;", "[::1]:9876"] {
            assert_eq!(addresses(good).as_deref(), Ok(good));
        }
        let refused = addresses("a:1;messaging").unwrap_err();
        assert_eq!(refused, "no port in messaging; -n is the name server, HOST:PORT");
    }
}
