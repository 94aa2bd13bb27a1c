//! A cluster as a user has it: `gantry up` with its members as processes, on ports and in a folder of its own. Its
//! members can be watched and killed; everything ends with the value.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::command;
use crate::http;
use crate::options::Options;
use crate::ports::Slot;
use crate::process::Process;
use crate::replica::{Replica, assert_identical};
use crate::talk::Talk;
use crate::wait::until;

/// How long a start may take; a debug build on a busy machine is slow, a broken one does not get better.
const START: Duration = Duration::from_secs(60);
/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(40);

/// A running `gantry up`.
pub struct Cluster {
    /// Name in the manifest; members are `<name>-namesrv-<n>` and `<name>-broker-<group>-<n>`.
    name: String,
    gantry: Child,
    folder: TempDir,
    slot: Slot,
    small_disk: bool,
    /// Members of each broker group.
    replicas: u32,
    members: Vec<String>,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    /// Starts a cluster and waits until every member serves.
    ///
    /// # Panics
    /// When it does not; with what it printed.
    pub fn start(name: &str, options: &Options<'_>) -> Cluster {
        Cluster::launch(&options.manifest(name), options.small_disk)
    }

    /// Starts the cluster of a manifest and waits until every member serves.
    ///
    /// # Panics
    /// When it does not; with what it printed.
    pub fn of(manifest: &str) -> Cluster {
        Cluster::launch(manifest, None)
    }

    fn launch(text: &str, small_disk: Option<u32>) -> Cluster {
        let effective = manifest::resolve(&manifest::load(text).expect("a valid manifest"));
        let members = manifest::members(&effective).into_iter().map(|member| member.name).collect();
        let folder = tempfile::Builder::new().prefix("gantry-test-").tempdir().expect("a temporary folder");
        let manifest = folder.path().join("cluster.yaml");
        fs::write(&manifest, text).expect("a file in our own folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder in our own folder");
        let slot = Slot::take();
        let gantry = command::up(&manifest, &data, slot.offset, small_disk);
        let (small_disk, replicas) = (small_disk.is_some(), effective.brokers.replicas_per_group);
        let (name, printed) = (effective.name, Arc::default());
        let mut cluster = Cluster { name, gantry, folder, slot, small_disk, replicas, members, printed };
        cluster.listen();
        cluster.wait_all_ready();
        cluster
    }

    /// Starts a stopped cluster again on its data.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_again(&mut self) {
        let (manifest, data) = (self.folder.path().join("cluster.yaml"), self.folder.path().join("data"));
        self.gantry = command::up(&manifest, &data, self.slot.offset, None);
        self.listen();
        self.wait_all_ready();
    }

    fn wait_all_ready(&self) {
        self.members.iter().for_each(|member| self.wait_ready(member));
    }

    /// Returns the address of a name server.
    pub fn name_server(&self, index: u32) -> String {
        format!("127.0.0.1:{}", 9876 + index as u16 + self.slot.offset)
    }

    /// Returns the address of a group's master.
    pub fn broker(&self, group: u32) -> String {
        self.member_addr(group, 0)
    }

    /// Returns the address of a member of a group; the master is 0.
    pub fn member_addr(&self, group: u32, ordinal: u32) -> String {
        format!("127.0.0.1:{}", self.ports(&self.member(group, ordinal)).0)
    }

    /// Returns how many broker groups there are, and how many members each has.
    pub fn shape(&self) -> (u32, u32) {
        let brokers = self.members.iter().filter(|member| member.contains("-broker-")).count() as u32;
        (brokers / self.replicas, self.replicas)
    }

    /// Returns what is added to every port.
    pub fn port_offset(&self) -> u16 {
        self.slot.offset
    }

    /// Returns the name of a name server's process.
    pub fn name_server_member(&self, index: u32) -> String {
        format!("{}-namesrv-{index}", self.name)
    }

    /// Returns the name of a master's process.
    pub fn broker_member(&self, group: u32) -> String {
        self.member(group, 0)
    }

    /// Returns the name of the process of a member of a group; the master is 0.
    pub fn member(&self, group: u32, ordinal: u32) -> String {
        format!("{}-broker-{group}-{ordinal}", self.name)
    }

    /// Returns the folder that holds the members' folders. A disk of its own is seen through its owner's eyes.
    pub fn data(&self) -> PathBuf {
        let inside = self.folder.path().join("data");
        if !self.small_disk {
            return inside;
        }
        let root = PathBuf::from(format!("/proc/{}/root", self.gantry.id()));
        root.join(inside.strip_prefix("/").unwrap_or(&inside))
    }

    /// Returns the `gantry up` process itself.
    pub fn gantry(&self) -> Process {
        Process(self.gantry.id())
    }

    /// Returns a member's process, if it runs.
    pub fn process(&self, member: &str) -> Option<Process> {
        let folder = format!("/{member}/");
        let children = self.gantry().children();
        children.into_iter().find(|(_, command)| command.contains(&folder)).map(|(process, _)| process)
    }

    /// Kills a member as a crash would; `gantry up` starts it again by itself.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self, member: &str) {
        let process = self.process(member).unwrap_or_else(|| panic!("{member} does not run"));
        process.signal(Signal::KILL);
        until("a killed process to end", START, || (!process.runs()).then_some(()));
    }

    /// Returns the members of a group.
    pub fn replicas(&self, group: u32) -> Vec<Replica> {
        let replica = |ordinal| {
            let (name, addr) = (self.member(group, ordinal), self.member_addr(group, ordinal));
            Replica { folder: self.data().join(&name).join("store/commitlog"), name, addr }
        };
        (0..self.replicas).map(replica).collect()
    }

    /// Waits until nothing moves, compares the logs of the members of each group byte by byte, and returns the number
    /// of bytes compared.
    ///
    /// # Panics
    /// When they differ.
    pub fn assert_logs_identical(&self) -> u64 {
        (0..self.shape().0).map(|group| assert_identical(&self.replicas(group))).sum()
    }

    /// Waits until a member's health port says ready and its port takes connections.
    pub fn wait_ready(&self, member: &str) {
        let (remoting, health) = self.ports(member);
        until(&format!("{member} to be ready"), START, || {
            assert!(self.gantry().runs(), "gantry up ended:\n{}", self.printed().join("\n"));
            (http::is_ready(health) && Talk::connect(&format!("127.0.0.1:{remoting}")).is_ok()).then_some(())
        });
    }

    /// Returns the value of a metric of a member: the sum over all labels that contain `labels`.
    pub fn metric(&self, member: &str, name: &str, labels: &str) -> f64 {
        http::metric(self.ports(member).1, name, labels).unwrap_or(0.0)
    }

    /// Returns what `gantry up` printed so far.
    pub fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Returns a member's log.
    pub fn log(&self, member: &str) -> String {
        fs::read_to_string(self.data().join(member).join("log")).unwrap_or_default()
    }

    /// Returns every warning and error in the logs of all members; a healthy cluster has none.
    pub fn complaints(&self) -> Vec<String> {
        let members = fs::read_dir(self.data()).into_iter().flatten().flatten();
        let names = members.filter_map(|entry| entry.file_name().into_string().ok());
        let lines = names.flat_map(|name| {
            let log = self.log(&name);
            log.lines().map(|line| format!("{name}: {line}")).collect::<Vec<_>>()
        });
        lines.filter(|line| line.contains("WARN") || line.contains("ERROR")).collect()
    }

    /// Stops the cluster as a user does, and returns whether it ended by itself with success.
    pub fn stop(&mut self) -> bool {
        self.gantry().signal(Signal::TERM);
        until("gantry up to stop", STOP, || self.gantry.try_wait().ok().flatten()).success()
    }

    fn ports(&self, member: &str) -> (u16, u16) {
        let mut numbers = member[self.name.len()..].split('-').filter_map(|part| part.parse::<u16>().ok());
        let first = numbers.next().unwrap_or(0);
        if member.contains("-namesrv-") {
            return (9876 + first + self.slot.offset, 9776 + first + self.slot.offset);
        }
        let place = 20 * (first * self.replicas as u16 + numbers.next().unwrap_or(0));
        (10911 + place + self.slot.offset, 10914 + place + self.slot.offset)
    }

    fn listen(&mut self) {
        let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            self.gantry.stdout.take().map(|p| Box::new(p) as _),
            self.gantry.stderr.take().map(|p| Box::new(p) as _),
        ];
        for pipe in pipes.into_iter().flatten() {
            let printed = self.printed.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    printed.lock().unwrap_or_else(|e| e.into_inner()).push(line);
                }
            });
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let members = self.gantry().children();
        self.gantry().signal(if std::thread::panicking() { Signal::KILL } else { Signal::TERM });
        let end = std::time::Instant::now() + STOP;
        while matches!(self.gantry.try_wait(), Ok(None)) && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.gantry().signal(Signal::KILL);
        let _ = self.gantry.wait();
        members
            .iter()
            .filter(|(process, _)| process.runs())
            .for_each(|(process, _)| process.signal(Signal::KILL));
        if std::thread::panicking() {
            self.print_last_words();
        }
    }
}

impl Cluster {
    fn print_last_words(&self) {
        eprintln!("--- gantry up printed:\n{}", self.printed().join("\n"));
        for entry in fs::read_dir(self.data()).into_iter().flatten().flatten() {
            let Ok(member) = entry.file_name().into_string() else { continue };
            let log = self.log(&member);
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- end of the log of {member}:\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
    }
}
