//! Where and how a cluster runs on this machine, with every bound by name.

use std::path::PathBuf;
use std::time::Duration;

use crate::restart::RestartPolicy;

/// Where and how a cluster runs on this machine.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Where data and logs are kept, also for the next run; created when missing. `None` is a folder in
    /// the system's temporary folder that goes when the cluster stops cleanly.
    pub data: Option<PathBuf>,
    /// Added to every port, 0 to 48000: several clusters, or something else on RocketMQ's ports.
    pub port_offset: u16,
    /// The command each member runs as: `<gantry_bin> member <role> ...`.
    pub gantry_bin: PathBuf,
    pub restart: RestartPolicy,
    /// How long a member may take from start to ready; recovery of a large store takes seconds. A slave that
    /// still catches up after that is left alone, and the cluster counts as ready without it.
    pub ready_within: Duration,
    /// When the user hears why a member is not ready yet.
    pub told_after: Duration,
    /// How long a broker may take to stop before it is killed.
    pub broker_stops_within: Duration,
    /// How long a name server may take to stop before it is killed.
    pub name_server_stops_within: Duration,
}

impl LocalOptions {
    /// Returns the usual options for members that run as `gantry_bin`.
    pub fn new(gantry_bin: PathBuf) -> Self {
        LocalOptions {
            data: None,
            port_offset: 0,
            gantry_bin,
            restart: RestartPolicy::default(),
            ready_within: Duration::from_secs(120),
            told_after: Duration::from_secs(10),
            broker_stops_within: Duration::from_secs(30),
            name_server_stops_within: Duration::from_secs(10),
        }
    }
}
