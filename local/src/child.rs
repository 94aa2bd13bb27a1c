//! One process of a member: spawn it, ask it to end, end it; its last words.
//!
//! A child holds the reading end of a pipe as its standard input. When this process ends, however it
//! does, the pipe closes and the child stops by itself (see `member.rs`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{ChildStdin, Command};

use crate::placement::Placement;

/// From this size on, a log is put aside as `log.1` before the next start.
const LARGEST_LOG: u64 = 64 << 20;
/// How much of a log's end is read to find its last line.
const LAST_WORDS: u64 = 4_096;

/// A running process of a member.
pub(crate) struct Child {
    process: tokio::process::Child,
    pid: u32,
    _stdin: Option<ChildStdin>,
}

impl Child {
    /// Starts a member's process, its output appended to its log.
    pub(crate) fn spawn(gantry_bin: &Path, placement: &Placement) -> io::Result<Child> {
        let log = open_log(&placement.log_file())?;
        let mut command = Command::new(gantry_bin);
        command.arg("member").arg(placement.role.as_str()).arg("--config").arg(placement.properties_file());
        if let Some(store) = &placement.store {
            command.arg("--live").arg(placement.live_file()).arg("--store").arg(store);
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Its own group: Ctrl-C reaches only us, and members stop in our order.
            .process_group(0)
            .spawn()?;
        let pid = process.id().ok_or_else(|| io::Error::other("the process has no id"))?;
        Ok(Child { _stdin: process.stdin.take(), process, pid })
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the end of the process. Safe to cancel.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        // Tokio's own wait would close the pipe first; ours is held apart from it.
        self.process.wait().await
    }

    /// Asks the process to end cleanly.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the process at once.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // Only while it is not waited for: until then the id is ours and nobody else's.
        if let Some(pid) = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // The only failure left is that it has just ended, which is what was wanted.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Returns the last line of a log that is not empty.
pub(crate) fn last_words(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS))).ok()?;
    let mut end = Vec::new();
    file.take(LAST_WORDS).read_to_end(&mut end).ok()?;
    let end = String::from_utf8_lossy(&end);
    end.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

fn open_log(path: &Path) -> io::Result<File> {
    if path.metadata().is_ok_and(|file| file.len() >= LARGEST_LOG) {
        std::fs::rename(path, path.with_extension("1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}
