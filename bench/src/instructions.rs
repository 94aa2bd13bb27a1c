//! User instructions per send, counted by callgrind: repeatable within a percent on a busy machine, so
//! this is the figure that a change is judged by. Two loads of different length are counted, and their
//! difference is free of start and stop.

use std::process::Command;

use anyhow::{Context, Result, bail};
use protocol::header::Serialization;
use serde::Serialize;

use crate::load::{self, Goal, Messages, Pace, Sender, Shape, Writes};
use crate::mock::Ack;
use crate::scenarios::{QUEUES, TOPIC};
use crate::servers::{Place, Server};

/// Sends of the shorter load; the longer one has twice as many.
const SENDS: u64 = 20_000;
const WINDOW: usize = 64;

/// Where the profile of the longer load is left, in the folder of the servers' files.
pub const PROFILE: &str = "callgrind.out";

/// What was counted, for 1 KiB sends with 64 in flight, binary headers, async flush.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Instructions {
    /// User instructions of the broker for one more send.
    pub per_send: f64,
    /// Those of start and stop.
    pub fixed: f64,
}

/// Counts with a real broker process.
///
/// # Errors
/// valgrind is missing, or the broker did not get through the load.
pub fn measure(place: &Place) -> Result<Instructions> {
    println!("\ninstructions: send body=1024 inflight={WINDOW} conns=1 flush=async header=binary, callgrind");
    let short = count(place, SENDS)?;
    let long = count(place, 2 * SENDS)?;
    println!("where they go: callgrind_annotate {}", place.data.join(PROFILE).display());
    let per_send = (long as f64 - short as f64) / SENDS as f64;
    Ok(Instructions { per_send, fixed: short as f64 - per_send * SENDS as f64 })
}

fn count(place: &Place, sends: u64) -> Result<u64> {
    let mut command = Command::new("valgrind");
    if command.arg("--version").output().is_err() {
        bail!("valgrind is not installed: apt-get install valgrind");
    }
    let mut command = Command::new("valgrind");
    let profile = format!("--callgrind-out-file={}", place.data.join(PROFILE).display());
    command.args(["--tool=callgrind", &profile]).arg(&place.program);
    let server = Server::start_gantry(Ack::Written, place, command)?;
    let messages =
        Messages { topic: TOPIC.to_owned(), queues: QUEUES, body: 1024, header: Serialization::Binary };
    let shape = Shape { connections: 1, window: WINDOW, writes: Writes::Coalesced, pace: Pace::Window };
    let sender = |i| Sender::new(&messages, i);
    let outcome = load::run(server.address, shape, Goal::Requests(sends), sender, || Ok(()))?;
    if let Some(refusal) = outcome.first_error {
        bail!("{} of {sends} sends were refused, the first with {refusal}", outcome.errors);
    }
    let log = server.stop()?;
    collected(&log).with_context(|| format!("read what callgrind counted from\n{log}"))
}

// callgrind ends with a line `==123== Collected : 4711`.
fn collected(log: &str) -> Option<u64> {
    let line = log.lines().rev().find(|line| line.starts_with("==") && line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_other_lines() {
        let log = "WARN Collected : 1\n==7== Events    : Ir\n==7== Collected : 4711\n==7== \n==7== I   refs: 4,711\n";
        assert_eq!(collected(log), Some(4711));
        assert_eq!(collected("killed"), None);
    }
}
