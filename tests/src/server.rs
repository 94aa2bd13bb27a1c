//! One server as a process of its own, with settings that the test writes. It is started, suspended, killed and
//! stopped when the test says so; nobody else starts it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::Process;
use crate::replica::{Replica, bounds};
use crate::talk::Talk;
use crate::wait::until;
use crate::{command, http, java};

/// How long a start may take; a debug build on a busy machine is slow, a broken one does not get better.
const START: Duration = Duration::from_secs(60);
/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(40);

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Our name server.
    NameServer,
    /// Our broker.
    Broker,
    /// Apache's broker.
    JavaBroker,
}

/// A server that may run. It ends with the value.
#[derive(Debug)]
pub struct Server {
    /// Its name, also that of its folder.
    pub name: String,
    program: Program,
    folder: PathBuf,
    port: u16,
    health: u16,
    /// MiB of the disk its store lies on; the disk is empty again at every start.
    small_disk: Option<u32>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    child: Option<Child>,
    starts: usize,
}

impl Server {
    /// Prepares a server in a folder of its own below `parent`; it does not run yet.
    pub fn new(
        parent: &Path,
        name: &str,
        program: Program,
        [port, health]: [u16; 2],
        small_disk: Option<u32>,
        settings: &[(String, String)],
    ) -> Server {
        let folder = parent.join(name);
        fs::create_dir_all(folder.join("store")).expect("a folder in our own folder");
        let lines: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(folder.join("settings.properties"), lines.concat()).expect("a file in our own folder");
        let running = Mutex::default();
        Server { name: name.to_owned(), program, folder, port, health, small_disk, running }
    }

    /// Starts it without waiting for anything.
    ///
    /// # Panics
    /// When it runs already.
    pub fn start(&self) {
        let (config, log) = (self.folder.join("settings.properties"), self.folder.join("log"));
        let store = self.folder.join("store");
        let small_disk = self.small_disk.map(|size| (store.as_path(), size));
        let mut running = self.lock();
        assert!(running.child.is_none(), "{} runs already", self.name);
        running.starts += 1;
        running.child = Some(match self.program {
            Program::NameServer => command::member("namesrv", &config, small_disk, &log),
            Program::Broker => command::member("broker", &config, small_disk, &log),
            Program::JavaBroker => java::broker(&self.folder, &config, &log),
        });
    }

    /// Starts it and waits until it is ready.
    pub fn start_and_wait(&self) {
        self.start();
        self.wait_ready();
    }

    /// Waits until it says it is ready and takes connections.
    ///
    /// # Panics
    /// When it ends, or takes too long.
    pub fn wait_ready(&self) {
        until(&format!("{} to be ready", self.name), START, || {
            assert!(self.process().is_some_and(Process::runs), "{} ended:\n{}", self.name, self.last_words());
            let ready = match self.program {
                Program::JavaBroker => self.log().matches(java::SERVES).count() == self.lock().starts,
                Program::NameServer | Program::Broker => http::is_ready(self.health),
            };
            (ready && Talk::connect(&self.addr()).is_ok()).then_some(())
        });
    }

    /// Says whether it is ready now.
    pub fn is_ready(&self) -> bool {
        http::is_ready(self.health)
    }

    /// Kills it as a crash would.
    pub fn kill(&self) {
        let child = self.lock().child.take();
        if let Some(mut child) = child {
            // It may be gone already, which is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it as an operator does and returns whether it ended by itself with success.
    pub fn stop(&self) -> bool {
        let Some(mut child) = self.lock().child.take() else { return false };
        Process(child.id()).signal(Signal::TERM);
        until(&format!("{} to stop", self.name), STOP, || child.try_wait().ok().flatten()).success()
    }

    /// Stops its time, as a machine that hangs would.
    pub fn suspend(&self) {
        self.process().into_iter().for_each(|process| process.signal(Signal::STOP));
    }

    /// Lets its time go on.
    pub fn resume(&self) {
        self.process().into_iter().for_each(|process| process.signal(Signal::CONT));
    }

    /// Returns its process, if it was started and neither killed nor stopped.
    pub fn process(&self) -> Option<Process> {
        self.lock().child.as_ref().map(|child| Process(child.id()))
    }

    /// Returns its address on loopback, `ip:port`.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the port that tells its health and its metrics.
    pub fn health(&self) -> u16 {
        self.health
    }

    /// Returns the folder of its store. A disk of its own is seen through its owner's eyes.
    pub fn store(&self) -> PathBuf {
        let store = self.folder.join("store");
        match (self.small_disk, self.process()) {
            (Some(_), Some(Process(id))) => {
                let root = PathBuf::from(format!("/proc/{id}/root"));
                root.join(store.strip_prefix("/").unwrap_or(&store))
            }
            _ => store,
        }
    }

    /// Returns it as a member of a group.
    pub fn replica(&self) -> Replica {
        Replica { name: self.name.clone(), addr: self.addr(), folder: self.store().join("commitlog") }
    }

    /// Returns where its log ends, as it says itself.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn end(&self) -> u64 {
        bounds(&self.addr()).unwrap_or_else(|e| panic!("{} does not serve: {e}", self.name)).1
    }

    /// Returns the sum of a metric over all labels that contain `labels`; `None` when it does not serve or has none.
    pub fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        http::metric(self.health, name, labels)
    }

    /// Returns what it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Returns its warnings and errors; only ours are asked for what they complain about.
    pub fn complaints(&self) -> Vec<String> {
        if self.program == Program::JavaBroker {
            return Vec::new();
        }
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
        lines.map(|line| format!("{}: {line}", self.name)).collect()
    }

    fn last_words(&self) -> String {
        let java =
            ["broker.log", "store.log", "storeerror.log"].map(|name| format!("logs/rocketmqlogs/{name}"));
        let texts = std::iter::once("log".to_owned()).chain(java).filter_map(|name| {
            let text = fs::read_to_string(self.folder.join(&name)).ok()?;
            let lines: Vec<&str> = text.lines().collect();
            Some(format!(
                "--- {}/{name}\n{}\n",
                self.name,
                lines[lines.len().saturating_sub(30)..].join("\n")
            ))
        });
        texts.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        } else if let (Some(process), false) = (self.process(), self.program == Program::JavaBroker) {
            self.resume();
            process.signal(Signal::TERM);
            let end = Instant::now() + STOP;
            while process.runs() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.kill();
    }
}
