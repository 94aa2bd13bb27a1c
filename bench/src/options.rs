//! The command line of `gantry bench`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use protocol::header::Serialization;

use crate::catchup::CatchUpOptions;
use crate::mock::Ack;

/// Measure a broker beside a mock that does only the unavoidable.
///
/// Servers run on CPU 0, the load on the last CPU. Every scenario is measured in pairs, Gantry and mock
/// in turn, each with new files. What counts are the ratios: absolute figures do not transfer between
/// machines.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to measure; everything if nothing is named
    #[arg(value_enum)]
    pub names: Vec<Name>,
    /// What to measure beside Gantry
    #[arg(long, value_enum, default_value_t = Against::Mock)]
    pub against: Against,
    /// How many pairs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub pairs: u32,
    /// Measured seconds of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub secs: u64,
    /// Seconds of each run before those
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warm_up: u64,
    /// Bytes of each message's body
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(0..=4_194_304))]
    pub body: u32,
    /// How the load writes its headers
    #[arg(long, value_enum, default_value_t = HeaderEncoding::Binary)]
    pub header: HeaderEncoding,
    /// Let the load write every frame on its own, as Java's client does
    #[arg(long)]
    pub per_frame: bool,
    /// Folder for the servers' files, on the disk to be measured; emptied after each run
    #[arg(long, value_name = "DIR", default_value = "target/bench-data")]
    pub data: PathBuf,
    /// Also write the report, with every single pair, to a file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Exit with 1 when instructions per send exceed the bar stored in a file
    #[arg(long, value_name = "FILE")]
    pub check: Option<PathBuf>,
    #[command(flatten)]
    pub catch_up: CatchUpOptions,
    #[command(subcommand)]
    pub hidden: Option<Hidden>,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Everything
    All,
    /// One synchronous producer
    A,
    /// Sends, async flush: 64 and 256 in flight, and 4 connections with 64 each
    B,
    /// Sends, sync flush: 1 to 1024 in flight
    C,
    /// Sends, async flush, one sync replica: 1 to 256 in flight
    D,
    /// Pulls of 32 messages: 1 and 4 in flight
    E,
    /// What sends notice while a slave catches up, and how fast it does
    Catchup,
    /// User instructions per send, counted by callgrind
    Instructions,
    /// What this machine can do at most
    Limits,
}

/// The other half of each pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// The mock broker
    Mock,
    /// Nothing: only Gantry runs
    None,
}

/// How headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HeaderEncoding {
    /// Packed fields
    Binary,
    /// JSON, the Java clients' default
    Json,
}

/// Commands that `gantry bench` gives itself.
#[derive(Clone, Debug, Subcommand)]
pub enum Hidden {
    /// Runs the mock broker until standard input ends.
    #[command(hide = true)]
    Mock {
        #[arg(long)]
        data: PathBuf,
        #[arg(long, value_enum)]
        ack: Ack,
    },
    /// Runs the mock's replica until standard input ends.
    #[command(hide = true)]
    MockReplica {
        #[arg(long)]
        data: PathBuf,
        #[arg(long)]
        leader: SocketAddr,
    },
}

impl Options {
    /// Returns what to measure.
    pub fn names(&self) -> Vec<Name> {
        if self.names.is_empty() || self.names.contains(&Name::All) {
            Name::value_variants().to_vec()
        } else {
            self.names.clone()
        }
    }

    /// Returns the load's time before it is counted.
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up)
    }

    /// Returns the load's time that is counted.
    pub fn measured(&self) -> Duration {
        Duration::from_secs(self.secs)
    }

    /// Returns whether the load is the one that bars are set for.
    pub fn has_standard_load(&self) -> bool {
        self.body == 1024 && self.header == HeaderEncoding::Binary && !self.per_frame
    }
}

impl From<HeaderEncoding> for Serialization {
    fn from(encoding: HeaderEncoding) -> Self {
        match encoding {
            HeaderEncoding::Binary => Serialization::Binary,
            HeaderEncoding::Json => Serialization::Json,
        }
    }
}
