//! Bad input through real servers: it ends its own connection and nothing else. A healthy client is served all the
//! time, and memory stays inside its budget.
//!
//! `WIRE_FRAMES` (default 10,000) is the number of broken frames per server, `WIRE_SEED` starts another series.

mod broken_frames;
mod budget;
mod half_frames;

use std::time::Duration;

use tests::cluster::Cluster;
use tests::options::Options;
use tests::process::Process;

/// A round of the healthy client may take this long while others misbehave, on a busy machine without optimisation.
const SERVED_WITHIN: Duration = Duration::from_secs(3);

/// The settings that bound memory, small, so that a test can go over each of them.
const BOUNDS: [(&str, &str); 3] =
    [("maxBufferedBytes", "33554432"), ("maxConnections", "2000"), ("frameTimeoutMillis", "3000")];

fn cluster(name: &str) -> Cluster {
    let config = [&BOUNDS[..], &[("mappedFileSizeCommitLog", "67108864")]].concat();
    Cluster::start(name, &Options { config: &config, name_server_config: &BOUNDS, ..Options::default() })
}

/// Watches the resident memory of a member.
struct Memory {
    process: Process,
    start: u64,
}

impl Memory {
    fn of(cluster: &Cluster, member: &str) -> Memory {
        let process = cluster.process(member).expect("the member runs");
        Memory { process, start: process.resident() }
    }

    /// Checks that the process is still the same one and never grew by more than `bytes`.
    fn assert_grew_less_than(&self, bytes: u64) {
        assert!(self.process.runs(), "the server did not survive");
        let grown = self.process.peak().saturating_sub(self.start);
        assert!(grown < bytes, "memory grew by {} MiB, allowed are {}", grown >> 20, bytes >> 20);
    }
}
