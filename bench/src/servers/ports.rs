//! Ports for the servers of one run.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, anyhow};

/// Ports of a name server, which takes the next one as well, and of two brokers.
pub struct FreePorts {
    pub name_server: u16,
    pub master: BrokerPorts,
    pub slave: BrokerPorts,
}

/// The ports of a broker, relative to its lowest one.
#[derive(Clone, Copy)]
pub struct BrokerPorts(u16);

impl FreePorts {
    /// Finds ports below those the system gives away by itself, so that they are still free when used.
    pub fn find() -> Result<Self> {
        let first = 20_000 + (std::process::id() % 500) as u16 * 20;
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (first..first + 2_000)
            .step_by(20)
            .find(|base| (*base..base + 14).all(is_free))
            .map(|base| Self {
                name_server: base,
                master: BrokerPorts(base + 2),
                slave: BrokerPorts(base + 8),
            })
            .ok_or_else(|| anyhow!("find free ports: all of {first} to {} are in use", first + 2_000))
    }
}

impl BrokerPorts {
    /// Returns where clients connect; the second port for clients is two below.
    pub fn clients(self) -> u16 {
        self.0 + 2
    }

    /// Returns where slaves connect.
    pub fn replicas(self) -> u16 {
        self.0 + 3
    }

    /// Returns where probes connect.
    pub fn health(self) -> u16 {
        self.0 + 5
    }
}
