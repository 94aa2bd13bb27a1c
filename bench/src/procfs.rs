//! What a process and this machine have used so far, from procfs.

use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};

/// Clock ticks per second in procfs; the kernel fixed it for user space.
const USER_HZ: f64 = 100.0;

/// Resources a process has used since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time of all its threads, in seconds.
    pub cpu_seconds: f64,
    /// Voluntary and involuntary switches of the threads that live now.
    pub context_switches: u64,
    /// Bytes it caused to be written to a device.
    pub written_bytes: u64,
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            context_switches: self.context_switches.saturating_sub(earlier.context_switches),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

/// Reads what a process has used.
///
/// # Errors
/// The process is gone; whatever was measured is worthless.
pub fn usage(pid: u32) -> Result<Usage> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    let io = read(&format!("/proc/{pid}/io")).unwrap_or_default();
    Ok(Usage {
        cpu_seconds: parse_cpu_seconds(&stat).with_context(|| format!("read /proc/{pid}/stat"))?,
        context_switches: context_switches(pid),
        written_bytes: number_after(&io, "write_bytes:").unwrap_or(0),
    })
}

/// Returns the resident memory of a process in bytes, now and at its peak.
pub fn resident(pid: u32) -> Result<(u64, u64)> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let kib = |key| number_after(&status, key).with_context(|| format!("read {key} of process {pid}"));
    Ok((kib("VmRSS:")? * 1024, kib("VmHWM:")? * 1024))
}

/// Returns the CPU time that the whole machine has used, in seconds, idle time not counted.
pub fn machine_cpu_seconds() -> Result<f64> {
    let stat = read("/proc/stat")?;
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy: u64 =
        ticks.iter().take(8).enumerate().filter(|(i, _)| !matches!(i, 3 | 4)).map(|(_, t)| t).sum();
    Ok(busy as f64 / USER_HZ)
}

/// Returns one line that says what this machine is.
pub fn describe_machine() -> String {
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| number_after(&text, "MemTotal:"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown cpu");
    format!(
        "{} cpu ({}), {} MiB, Linux {}",
        crate::cpu::count(),
        model.trim_start_matches([' ', '\t', ':']),
        memory.unwrap_or(0) / 1024,
        kernel.trim()
    )
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

// Fields 14 and 15 of proc(5); the second field, the command's name, may hold blanks.
fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut times = after_name.split_whitespace().skip(11).map(str::parse::<f64>);
    Some((times.next()?.ok()? + times.next()?.ok()?) / USER_HZ)
}

fn context_switches(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of_task = |path: std::path::PathBuf| {
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let voluntary = number_after(&status, "\nvoluntary_ctxt_switches:").unwrap_or(0);
        voluntary + number_after(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0)
    };
    tasks.flatten().map(|task| of_task(task.path())).sum()
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let rest = &text[text.find(key)? + key.len()..];
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_name_with_blanks() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 99 1 1";
        assert_eq!(parse_cpu_seconds(stat), Some(2.0));
        assert_eq!(parse_cpu_seconds("nonsense"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        let (now, peak) = resident(pid).unwrap();
        assert!(now > 1 << 20 && peak >= now);
        assert!(usage(pid).unwrap().context_switches > 0);
        assert!(machine_cpu_seconds().unwrap() > 0.0);
    }

    #[test]
    fn the_difference_of_two_readings_is_what_happened_between() {
        let earlier = Usage { cpu_seconds: 1.0, context_switches: 5, written_bytes: 100 };
        let later = Usage { cpu_seconds: 1.5, context_switches: 4, written_bytes: 300 };
        let expected = Usage { cpu_seconds: 0.5, context_switches: 0, written_bytes: 200 };
        assert_eq!(later - earlier, expected);
    }
}
