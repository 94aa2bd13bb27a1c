//! Servers as processes on one CPU: Gantry's broker with a name server, or the mock. Each starts with
//! new files, and stopping it removes them.

mod ask;
mod gantry;
mod mock;
mod ports;
mod process;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::cpu;
use crate::mock::Ack;
pub use ask::{create_topic, log_end};
pub use gantry::Group;
pub use process::Process;

/// Where servers run and what starts them.
#[derive(Clone, Debug)]
pub struct Place {
    /// The program `gantry`.
    pub program: PathBuf,
    /// Folder below which every server gets its own.
    pub data: PathBuf,
    /// The servers' CPU.
    pub server_cpu: usize,
    /// The load's CPU, the same one if there is no other.
    pub load_cpu: usize,
}

impl Place {
    /// Creates the folder `data`; servers will be started from this very program.
    pub fn new(data: &Path) -> Result<Self> {
        fs::create_dir_all(data).with_context(|| format!("create the folder {}", data.display()))?;
        Ok(Self {
            program: std::env::current_exe().context("find this program")?,
            data: data.canonicalize().with_context(|| format!("find the folder {}", data.display()))?,
            server_cpu: 0,
            load_cpu: cpu::count() - 1,
        })
    }

    /// Creates an empty folder, removing what is left of an earlier run.
    pub fn fresh_directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.data.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    fn spawn(&self, mut command: Command) -> Result<Process> {
        command.stdin(Stdio::piped());
        let child = cpu::pinned_to(self.server_cpu, || {
            command.spawn().with_context(|| format!("start {}", command.get_program().display()))
        })?;
        Ok(Process::new(child))
    }
}

/// One side of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Gantry's broker.
    Gantry,
    /// The mock broker.
    Mock,
}

/// A running server, with a replica if that is asked for, and an empty topic.
pub struct Server {
    /// Where it serves clients.
    pub address: SocketAddr,
    // The one that serves clients first; stopped in this order.
    members: Vec<Process>,
    name_server: Option<Process>,
    _directory: Directory,
}

impl Server {
    /// Starts one side and creates the topic.
    pub fn start(side: Side, ack: Ack, place: &Place) -> Result<Self> {
        match side {
            Side::Gantry => Self::start_gantry(ack, place, Command::new(&place.program)),
            Side::Mock => mock::start(ack, place),
        }
    }

    /// Starts Gantry's broker, its command line behind what `command` holds already.
    pub fn start_gantry(ack: Ack, place: &Place, command: Command) -> Result<Self> {
        gantry::start(ack, place, command)
    }

    /// Returns the processes that are measured: the one that serves clients, then its replica if it has one.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(Process::pid).collect()
    }

    /// Stops it cleanly and removes its files; returns what the broker's log says.
    pub fn stop(mut self) -> Result<String> {
        for process in self.members.iter_mut().chain(&mut self.name_server) {
            process.stop()?;
        }
        Ok(self.members[0].said())
    }
}

/// The folder of a server's files, removed when it is dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // The next server of this side removes what cannot be removed now, or says why it cannot.
        let _ = fs::remove_dir_all(&self.0);
    }
}
