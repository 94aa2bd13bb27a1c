//! The process's own metrics, under the names that dashboards know, from procfs; and its build.

use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::build;

/// Clock ticks per second in procfs. The kernel fixed this for user space whatever its own timer does.
const USER_HZ: f64 = 100.0;

#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    // What procfs does not tell is left out; a scrape never fails because of it.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory.", resident_bytes()),
            ("process_open_fds", "Open file descriptors.", open_files()),
            ("process_start_time_seconds", "Start of the process since the epoch.", start_time()),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
            }
        }
        if let Some(seconds) = cpu_seconds() {
            let help = "CPU time of the process, user and system.";
            let to = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(to)?;
        }
        let labels = [("version", build::VERSION), ("commit", build::COMMIT)];
        encoder.encode_descriptor("gantry_build", "The build.", None, MetricType::Info)?.encode_info(&labels)
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

fn open_files() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

fn cpu_seconds() -> Option<f64> {
    Some((stat_field(14)? + stat_field(15)?) / USER_HZ)
}

fn start_time() -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let age = Duration::try_from_secs_f64(uptime - stat_field(22)? / USER_HZ).ok()?;
    let started = SystemTime::now().checked_sub(age)?;
    Some(started.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

// Fields are counted from 1, as in proc(5). The second, the command's name, may hold blanks.
fn stat_field(number: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat[stat.rfind(')')? + 1..].split_whitespace().nth(number - 3)?.parse().ok()
}
