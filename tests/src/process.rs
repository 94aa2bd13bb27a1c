//! Processes as /proc shows them: children, memory, signals. Linux only, like the rings that use it.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// A process by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub u32);

impl Process {
    /// Returns its children that still run, with their command lines.
    pub fn children(self) -> Vec<(Process, String)> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .map(Process)
            .filter(|child| child.parent() == Some(self))
            .map(|child| (child, child.command()))
            .collect()
    }

    /// Returns its resident memory in bytes, 0 when it is gone.
    pub fn resident(self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// Returns its resident memory without the pages of files, its code above all, in bytes.
    pub fn anonymous(self) -> u64 {
        self.status("RssAnon:") * 1024
    }

    /// Returns the most resident memory it ever had, in bytes.
    pub fn peak(self) -> u64 {
        self.status("VmHWM:") * 1024
    }

    /// Returns how many files and sockets it has open.
    pub fn open_files(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).map_or(0, Iterator::count)
    }

    /// Says whether it still runs.
    pub fn runs(self) -> bool {
        matches!(self.stat(), Some((state, _)) if state != "Z")
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.0).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    fn command(self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    }

    fn parent(self) -> Option<Process> {
        self.stat().filter(|(state, _)| state != "Z").map(|(_, parent)| parent)
    }

    /// State and parent, which follow the name in parentheses.
    fn stat(self) -> Option<(String, Process)> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        let mut words = text.rsplit_once(')')?.1.split_whitespace();
        Some((words.next()?.to_string(), Process(words.next()?.parse().ok()?)))
    }

    fn status(self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::until;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn a_child_is_found_killed_and_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process(child.id());
        // A process that has just been made has no command line for a moment.
        until("the child to be among the children", Duration::from_secs(10), || {
            let children = Process(std::process::id()).children();
            children.iter().any(|(p, command)| *p == process && command.contains("sleep")).then_some(())
        });
        assert!(process.runs() && process.resident() > 0 && process.peak() > 0);
        process.signal(Signal::KILL);
        child.wait().unwrap();
        assert!(!process.runs());
    }
}
