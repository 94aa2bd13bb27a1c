//! What is measured: one row per scenario, with the bar that Gantry has to reach beside the mock.

use protocol::header::Serialization;

use crate::load::{Pace, Shape, Writes};
use crate::mock::Ack;
use crate::options::{Name, Options};

/// Queues of the topic that is loaded.
pub const QUEUES: usize = 8;

/// The topic that is loaded: 13 bytes, as the sizes per message assume. Apache's own `BenchmarkTest` is a
/// system topic and has queues of its own.
pub const TOPIC: &str = "GantryBenchT8";

/// One thing to measure.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its short name, as in `b-64`.
    pub id: &'static str,
    /// Sends or pulls.
    pub kind: Kind,
    /// Connections and windows.
    pub shape: Shape,
    /// What is true of a record when its send is answered.
    pub ack: Ack,
    /// Bytes of each body.
    pub body: usize,
    /// How the load writes its headers.
    pub header: Serialization,
    /// What Gantry has to reach; `None` where figures are only reported.
    pub bar: Option<Bar>,
}

/// What the load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends single messages.
    Send,
    /// Pulls messages that were sent before.
    Pull,
}

/// A bar on a ratio of Gantry to mock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// Of the throughput, which must be at least this.
    Throughput(f64),
    /// Of the median latency, which must be at most this.
    Latency(f64),
}

struct Row {
    name: Name,
    id: &'static str,
    kind: Kind,
    connections: usize,
    window: usize,
    ack: Ack,
    bar: Option<Bar>,
}

const fn row(name: Name, id: &'static str, window: usize, bar: Option<Bar>) -> Row {
    let kind = if matches!(name, Name::E) { Kind::Pull } else { Kind::Send };
    let ack = match name {
        Name::C => Ack::Flushed,
        Name::D => Ack::Replicated,
        _ => Ack::Written,
    };
    Row { name, id, kind, connections: 1, window, ack, bar }
}

const ROWS: [Row; 15] = [
    row(Name::A, "a", 1, Some(Bar::Latency(1.3))),
    row(Name::B, "b-64", 64, Some(Bar::Throughput(0.6))),
    row(Name::B, "b-256", 256, None),
    Row { connections: 4, ..row(Name::B, "b-4x64", 64, None) },
    row(Name::C, "c-1", 1, Some(Bar::Latency(1.3))),
    row(Name::C, "c-16", 16, None),
    row(Name::C, "c-64", 64, Some(Bar::Throughput(0.8))),
    row(Name::C, "c-256", 256, None),
    row(Name::C, "c-1024", 1024, None),
    row(Name::D, "d-1", 1, Some(Bar::Latency(1.3))),
    row(Name::D, "d-16", 16, None),
    row(Name::D, "d-64", 64, Some(Bar::Throughput(0.7))),
    row(Name::D, "d-256", 256, None),
    row(Name::E, "e-1", 1, Some(Bar::Throughput(0.6))),
    row(Name::E, "e-4", 4, Some(Bar::Throughput(0.6))),
];

impl Scenario {
    /// Returns the scenarios of the chosen names, with the load that the options ask for. A load that is
    /// not the standard one has no bars.
    pub fn chosen(names: &[Name], options: &Options) -> Vec<Scenario> {
        let writes = if options.per_frame { Writes::PerFrame } else { Writes::Coalesced };
        let scenario = |row: &Row| Scenario {
            id: row.id,
            kind: row.kind,
            shape: Shape { connections: row.connections, window: row.window, writes, pace: Pace::Window },
            ack: row.ack,
            body: options.body as usize,
            header: options.header.into(),
            bar: row.bar.filter(|_| options.has_standard_load()),
        };
        ROWS.iter().filter(|row| names.contains(&row.name)).map(scenario).collect()
    }

    /// Returns the conditions in one line.
    pub fn describe(&self) -> String {
        let what = match self.kind {
            Kind::Send => "send",
            Kind::Pull => "pull 32",
        };
        let (flush, replication) = match self.ack {
            Ack::Written => ("async", "none"),
            Ack::Flushed => ("sync", "none"),
            Ack::Replicated => ("async", "sync"),
        };
        let header = match self.header {
            Serialization::Binary => "binary",
            Serialization::Json => "json",
        };
        let writes = match self.shape.writes {
            Writes::Coalesced => "coalesced",
            Writes::PerFrame => "per-frame",
        };
        format!(
            "{}: {what} body={} inflight={} conns={} flush={flush} repl={replication} header={header} \
             writes={writes}",
            self.id, self.body, self.shape.window, self.shape.connections
        )
    }
}

impl Bar {
    /// Returns the bar in words.
    pub fn describe(self) -> String {
        match self {
            Bar::Throughput(ratio) => format!("bar >= {ratio:.2}"),
            Bar::Latency(ratio) => format!("bar <= {ratio:.2} of the latency"),
        }
    }
}
