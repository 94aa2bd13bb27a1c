//! A server's process: it starts, says that it is ready, and ends with whoever started it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a server may take to start; under callgrind it takes long.
pub const START_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to stop, before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at a server that starts or stops.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A child that ends when its standard input does, and is killed when it is dropped.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    health: Option<Health>,
}

/// Where to ask whether it is ready, and what to show if it never is.
struct Health {
    port: u16,
    log: PathBuf,
}

impl Process {
    /// Takes over a child, with its standard input if that is piped.
    pub fn new(mut child: Child) -> Self {
        Self { stdin: child.stdin.take(), child, health: None }
    }

    /// Adds a health port, and the log to show if it never says that the process is ready.
    pub fn with_health(mut self, port: u16, log: PathBuf) -> Self {
        self.health = Some(Health { port, log });
        self
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the first line of its output, which must be piped.
    pub fn first_line(&mut self) -> Result<String> {
        let stdout = self.child.stdout.take().context("read what the server says: not piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line)
    }

    /// Returns its log, if it has one.
    pub fn said(&self) -> String {
        self.health.as_ref().and_then(|health| fs::read_to_string(&health.log).ok()).unwrap_or_default()
    }

    /// Waits until its health port says that it is ready.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let port = self.health.as_ref().context("wait for a server without a health port")?.port;
        let deadline = Instant::now() + START_LIMIT;
        while let Err(reason) = ask_ready(port) {
            if let Some(status) = self.child.try_wait()? {
                bail!("a server ended while it started, {status}:\n{}", self.said());
            }
            if Instant::now() > deadline {
                let limit = START_LIMIT.as_secs();
                bail!("a server was not ready within {limit} s: {reason}\n{}", self.said());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Asks it to end and waits for that.
    pub fn stop(&mut self) -> Result<()> {
        self.stdin.take();
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("process {} did not stop within {} s", self.child.id(), STOP_LIMIT.as_secs())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// What is wrong is said in the answer's last line.
fn ask_ready(health_port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, health_port))?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{}", answer.lines().last().unwrap_or_default());
    Ok(())
}
