//! Load: what Gantry's broker does per second and what that costs, beside a mock that does only the
//! unavoidable, on the same machine in the same run.
//!
//! | Module           | Holds                                                                      |
//! |------------------|----------------------------------------------------------------------------|
//! | [`options`]      | the command line of `gantry bench`                                         |
//! | [`scenarios`]    | what is measured: the table of scenarios and their bars                    |
//! | [`pairs`]        | how: Gantry, mock, Gantry, mock ..., one server up at a time               |
//! | [`load`]         | the generator: closed loop, windows, coalesced writes                      |
//! | [`mock`]         | the mock broker                                                            |
//! | [`servers`]      | servers as processes: pinned, ready, stopped, their files removed          |
//! | [`catchup`]      | what sends notice while a slave catches up; only reported                  |
//! | [`instructions`] | user instructions per send, by callgrind: the only figure that gates       |
//! | [`limits`]       | what this machine can do at most                                           |
//! | [`report`]       | tables for people, JSON for scripts, the check against stored bars         |
//! | [`cpu`], [`procfs`] | pinning; what a process has used                                        |
//!
//! Nothing here is linked into a server, and no server is linked here: both sides run as processes.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catchup;
pub mod cpu;
pub mod instructions;
pub mod limits;
pub mod load;
pub mod mock;
pub mod options;
pub mod pairs;
pub mod procfs;
pub mod report;
pub mod scenarios;
pub mod servers;

use anyhow::{Context, Result};

use options::{Hidden, Name, Options};
use report::Report;
use scenarios::Scenario;
use servers::Place;

/// Runs `gantry bench`.
///
/// # Errors
/// A server that could not be started or measured, or a missed bar with `--check`.
pub fn run(options: &Options) -> Result<()> {
    match &options.hidden {
        Some(Hidden::Mock { data, ack }) => return mock::run(data, *ack),
        Some(Hidden::MockReplica { data, leader }) => return mock::run_replica(data, *leader),
        None => {}
    }
    let place = Place::new(&options.data)?;
    let names = options.names();
    let mut report = Report::new(options);
    println!("{}", report.headline());
    // The load, and everything that this process does, stays off the servers' CPU.
    cpu::pin(place.load_cpu)?;
    if names.contains(&Name::Limits) {
        let cpus = limits::Cpus { server: place.server_cpu, load: place.load_cpu };
        let directory = place.fresh_directory("limits")?;
        report.add_limits(limits::measure(cpus, &directory)?);
        std::fs::remove_dir(&directory).context("remove the folder of the limits")?;
    }
    for scenario in Scenario::chosen(&names, options) {
        let pairs = pairs::measure(&scenario, &place, options)
            .with_context(|| format!("measure scenario {}", scenario.id))?;
        report.add_pairs(&scenario, pairs);
    }
    if names.contains(&Name::Catchup) {
        report.add_catch_ups(catchup::measure(&place, options).context("measure catching up")?);
    }
    if names.contains(&Name::Instructions) {
        report.add_instructions(instructions::measure(&place)?);
    }
    report.finish(options)
}
