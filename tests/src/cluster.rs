//! A cluster as a user has it: `gantry up` with its members as processes, on ports and in a folder of its own. Its
//! members can be watched and killed; everything ends with the value.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use daemon::config::env_name;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::ports::Slot;
use crate::process::Process;
use crate::talk::Talk;
use crate::wait::until;

/// How long a start may take; a debug build on a busy machine is slow, a broken one does not get better.
const START: Duration = Duration::from_secs(60);
/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(40);

/// A running `gantry up`.
pub struct Cluster {
    /// Name of the manifest; members are `<name>-namesrv-<n>` and `<name>-broker-<group>-<n>`.
    pub name: String,
    gantry: Child,
    folder: TempDir,
    slot: Slot,
    small_disk: bool,
    printed: Arc<Mutex<Vec<String>>>,
}

/// What a test may want different from a name server and a broker with automatic topics.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Name servers.
    pub name_servers: u32,
    /// Broker groups, one master each.
    pub groups: u32,
    /// `Async` or `Sync`.
    pub flush: &'a str,
    /// Entries of `brokers.config`.
    pub config: &'a [(&'a str, &'a str)],
    /// Settings of every member that no manifest carries, by their keys.
    pub settings: &'a [(&'a str, &'a str)],
    /// The data lies on a disk of its own with this many MiB, in memory.
    pub small_disk: Option<u32>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { name_servers: 1, groups: 1, flush: "Async", config: &[], settings: &[], small_disk: None }
    }
}

impl Options<'_> {
    fn manifest(&self, name: &str) -> String {
        let Options { name_servers, groups, flush, config, .. } = self;
        let config: String =
            config.iter().map(|(key, value)| format!("      {key}: \"{value}\"\n")).collect();
        let config = if config.is_empty() { config } else { format!("    config:\n{config}") };
        format!(
            "apiVersion: gantry.rs/v1alpha1\nkind: RocketMQCluster\nmetadata:\n  name: {name}\nspec:\n  \
             version: \"{}\"\n  nameServers:\n    replicas: {name_servers}\n  brokers:\n    groups: {groups}\n    \
             replicasPerGroup: 1\n    autoCreateTopics: true\n    replication: {{ mode: Async }}\n    \
             flush: {{ mode: {flush} }}\n    storage: {{ size: 10Gi }}\n{config}",
            env!("CARGO_PKG_VERSION")
        )
    }
}

impl Cluster {
    /// Starts a cluster and waits until every member serves.
    ///
    /// # Panics
    /// When it does not; with what it printed.
    pub fn start(name: &str, options: &Options<'_>) -> Cluster {
        let folder = tempfile::Builder::new().prefix("gantry-test-").tempdir().expect("a temporary folder");
        let manifest = folder.path().join("cluster.yaml");
        fs::write(&manifest, options.manifest(name)).expect("a file in our own folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder in our own folder");
        let (slot, small_disk) = (Slot::take(), options.small_disk.is_some());
        let gantry = spawn(&manifest, &data, slot.offset, options);
        let mut cluster =
            Cluster { name: name.into(), gantry, folder, slot, small_disk, printed: Arc::default() };
        cluster.listen();
        for index in 0..options.name_servers {
            cluster.wait_ready(&cluster.name_server_member(index));
        }
        for group in 0..options.groups {
            cluster.wait_ready(&cluster.broker_member(group));
        }
        cluster
    }

    /// Returns the address of a name server.
    pub fn name_server(&self, index: u32) -> String {
        format!("127.0.0.1:{}", 9876 + index as u16 + self.slot.offset)
    }

    /// Returns the address of a group's master.
    pub fn broker(&self, group: u32) -> String {
        format!("127.0.0.1:{}", 10911 + 20 * group as u16 + self.slot.offset)
    }

    /// Returns the name of a name server's process.
    pub fn name_server_member(&self, index: u32) -> String {
        format!("{}-namesrv-{index}", self.name)
    }

    /// Returns the name of a master's process.
    pub fn broker_member(&self, group: u32) -> String {
        format!("{}-broker-{group}-0", self.name)
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

    /// Waits until a member's health port says ready and its port takes connections.
    pub fn wait_ready(&self, member: &str) {
        let (remoting, health) = self.ports(member);
        until(&format!("{member} to be ready"), START, || {
            assert!(self.gantry().runs(), "gantry up ended:\n{}", self.printed().join("\n"));
            let ready = http_get(health, "/readyz").is_some_and(|answer| answer.contains(" 200 "));
            (ready && Talk::connect(&format!("127.0.0.1:{remoting}")).is_ok()).then_some(())
        });
    }

    /// Returns the value of a metric of a member: the sum over all labels that contain `labels`.
    pub fn metric(&self, member: &str, name: &str, labels: &str) -> f64 {
        let text = http_get(self.ports(member).1, "/metrics").unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
        let ours = lines.filter(|line| matches!(line.as_bytes().get(name.len()), Some(b'{' | b' ')));
        ours.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
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
        match member.contains("-namesrv-") {
            true => (9876 + first + self.slot.offset, 9776 + first + self.slot.offset),
            false => (10911 + 20 * first + self.slot.offset, 10914 + 20 * first + self.slot.offset),
        }
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

/// Builds the command `gantry` in the profile of this test, once, and returns its path. `GANTRY_BIN` names another.
pub fn gantry() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(path) = std::env::var_os("GANTRY_BIN") {
            return path.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--workspace", "--bin", "gantry"]).current_dir(root);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "gantry does not build");
        let test = std::env::current_exe().expect("this test has a path");
        test.ancestors().nth(2).expect("tests lie in <profile>/deps").join("gantry")
    })
}

fn spawn(manifest: &Path, data: &Path, offset: u16, options: &Options<'_>) -> Child {
    let mut command = match options.small_disk {
        None => Command::new(gantry()),
        Some(size) => on_a_small_disk(data, size),
    };
    command
        .args(["up".as_ref(), manifest.as_os_str(), "--data".as_ref(), data.as_os_str()])
        .args(["--port-offset", &offset.to_string()])
        .envs(options.settings.iter().map(|(key, value)| (env_name(key), value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gantry starts")
}

/// Runs gantry where `data` is a disk in memory. The disk is its own, and goes with it.
fn on_a_small_disk(data: &Path, size: u32) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = format!("mount -t tmpfs -o size={size}m tmpfs '{}' && exec \"$@\"", data.display());
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(gantry());
    command
}

/// Asks an HTTP port of a member; status line, headers and body as they come, `None` when nobody answers.
fn http_get(port: u16, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
