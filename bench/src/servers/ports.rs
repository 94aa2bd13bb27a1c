//! Ports for the servers of one run.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, anyhow};

/// Ports of a name server and of a broker, which also listens two below and three above.
pub struct FreePorts {
    pub name_server: u16,
    pub broker: u16,
}

impl FreePorts {
    /// Finds ports below those the system gives away by itself, so that they are still free when used.
    pub fn find() -> Result<Self> {
        let first = 20_000 + (std::process::id() % 500) as u16 * 20;
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (first..first + 2_000)
            .step_by(20)
            .find(|base| (*base..base + 12).all(is_free))
            .map(|base| Self { name_server: base, broker: base + 5 })
            .ok_or_else(|| anyhow!("find free ports: all of {first} to {} are in use", first + 2_000))
    }
}
