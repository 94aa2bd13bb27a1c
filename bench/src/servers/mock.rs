//! The mock's side: this program's hidden commands.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Directory, Place, Process, Server};
use crate::mock::Ack;

/// Starts the mock, and its replica if that has to have the records as well.
pub fn start(ack: Ack, place: &Place) -> Result<Server> {
    let directory = Directory(place.fresh_directory("mock")?);
    let name = match ack {
        Ack::Written => "written",
        Ack::Flushed => "flushed",
        Ack::Replicated => "replicated",
    };
    let (mock, ports) = start_one(place, &directory, &["mock", "--ack", name])?;
    let mut members = vec![mock];
    if let Some(port) = ports.get(1) {
        let leader = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let (replica, _) = start_one(place, &directory, &["mock-replica", "--leader", &leader])?;
        members.push(replica);
    }
    let port = ports.first().context("the mock does not say its port")?;
    let address = (Ipv4Addr::LOCALHOST, *port).into();
    Ok(Server { address, members, name_server: None, _directory: directory })
}

// Returns the ports it says it listens on, too.
fn start_one(place: &Place, directory: &Directory, arguments: &[&str]) -> Result<(Process, Vec<u16>)> {
    let mut command = Command::new(&place.program);
    command.arg("bench").args(arguments).arg("--data").arg(&directory.0).stdout(Stdio::piped());
    let mut process = place.spawn(command)?;
    let line = process.first_line()?;
    let Some(ports) = line.trim().strip_prefix("ready") else {
        bail!("the {} did not start, it says {line:?}", arguments[0]);
    };
    let ports = ports.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    Ok((process, ports.with_context(|| format!("read the ports of {line:?}"))?))
}
