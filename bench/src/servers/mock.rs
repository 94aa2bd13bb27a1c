//! The mock's side: this program's hidden command.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow};

use super::{Directory, Place, Server};
use crate::mock::Flush;

/// Starts the mock.
pub fn start(flush: Flush, place: &Place) -> Result<Server> {
    let directory = Directory(place.fresh_directory("mock")?);
    let mut command = Command::new(&place.program);
    let flush = if flush == Flush::Sync { "sync" } else { "async" };
    command.args(["bench", "mock", "--flush", flush, "--data"]).arg(&directory.0).stdout(Stdio::piped());
    let mut process = place.spawn(command)?;
    let line = process.first_line()?;
    let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| anyhow!("the mock did not start, it says {line:?}"))?;
    let address = (Ipv4Addr::LOCALHOST, port).into();
    Ok(Server { address, pid: process.pid(), processes: vec![process], directory })
}
