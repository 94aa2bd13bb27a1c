//! A folder with a manifest, and `gantry up` that runs it.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn gantry() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command.env_remove("NAMESRV_ADDR").stdin(Stdio::null());
    command
}

pub fn manifest(name_servers: u32) -> String {
    format!(
        "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata: {{ name: dev }}\n\
         spec: {{ version: {}, nameServers: {{ replicas: {name_servers} }}, \
         brokers: {{ groups: 0, storage: {{ size: 1Gi }} }} }}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// A folder with a manifest, and ports that nobody uses.
pub struct Place {
    folder: TempDir,
    pub offset: u16,
}

impl Place {
    pub fn new(text: &str) -> Place {
        Place::with_ports_of(&manifest(2), text)
    }

    /// Where the ports of a larger cluster are free too.
    pub fn with_ports_of(larger: &str, text: &str) -> Place {
        let effective = manifest::resolve(&manifest::load(larger).unwrap());
        let place =
            Place { folder: tempfile::tempdir().unwrap(), offset: local::free_offset(&effective).unwrap() };
        place.edit(text);
        place
    }

    /// Writes the manifest as an editor does: another file takes its place.
    pub fn edit(&self, text: &str) {
        let new = self.folder.path().join("cluster.yaml.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", 9876 + self.offset)
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("cluster.yaml")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn command(&self) -> Command {
        let mut command = gantry();
        command.arg("up").arg(self.file()).arg("--data").arg(self.data());
        command.args(["--port-offset", &self.offset.to_string()]);
        command
    }

    pub fn refused(&self) -> (Option<i32>, String) {
        outcome(self.command().output().unwrap())
    }
}

pub fn outcome(output: Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A running `gantry up --output json`; killed when a test fails.
pub struct Up {
    pub process: Child,
    lines: Receiver<String>,
}

impl Up {
    pub fn start(mut command: Command) -> Up {
        let mut process = command.args(["--output", "json"]).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (to, lines) = channel();
        std::thread::spawn(move || output.lines().try_for_each(|line| to.send(line.unwrap())));
        Up { process, lines }
    }

    /// Reads events up to the first of this kind and returns that one.
    pub fn event(&mut self, kind: &str) -> Value {
        self.events_until(kind).pop().unwrap()
    }

    /// Reads events up to the first of this kind and returns all of them.
    pub fn events_until(&mut self, kind: &str) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        while events.last().is_none_or(|event| event["event"] != kind) {
            let Ok(line) = self.lines.recv_timeout(DEADLINE) else {
                panic!("no event {kind}; gantry up ended or said only: {events:#?}");
            };
            events.push(serde_json::from_str(&line).unwrap());
        }
        events
    }

    pub fn pid(&self) -> Pid {
        pid(u64::from(self.process.id()))
    }

    pub fn stop(mut self, signal: Signal) -> (ExitStatus, Vec<Value>) {
        kill_process(self.pid(), signal).unwrap();
        let events = self.lines.iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
        (self.process.wait().unwrap(), events)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn pid(raw: u64) -> Pid {
    Pid::from_raw(i32::try_from(raw).unwrap()).unwrap()
}

pub fn wait_until_gone(pid: Pid) {
    let started = Instant::now();
    while test_kill_process(pid).is_ok() {
        assert!(started.elapsed() < DEADLINE, "process {pid:?} is still there");
        std::thread::yield_now();
    }
}
