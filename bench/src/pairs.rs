//! Pairs of runs, Gantry and mock in turn, so that both see the same machine. Only one server is up at a
//! time, always on the same CPU, with new files.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::load::{self, Goal, Messages, Outcome, Pace, Puller, Sender, Shape, Writes};
use crate::options::{Against, Options};
use crate::procfs::{self, Usage};
use crate::scenarios::{Kind, QUEUES, Scenario, TOPIC};
use crate::servers::{Place, Server, Side};

/// Messages that are sent before a pull scenario: few enough to stay in any cache of recent messages.
const PULLED_MESSAGES: u64 = 48_000;

/// A run during which other processes had more than this share of all CPUs is measured again.
const FOREIGN_CPU_LIMIT: f64 = 0.15;

/// What one run showed.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Whose run.
    pub side: Side,
    /// Messages per second.
    pub per_second: f64,
    /// Median latency.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Longest latency.
    pub max_us: f64,
    /// The server's CPU time per message.
    pub cpu_us: f64,
    /// Its replica's, if it has one.
    pub replica_cpu_us: Option<f64>,
    /// The server's context switches per message.
    pub switches: f64,
    /// The server's resident memory at the end and at its peak.
    pub rss_mib: f64,
    /// See `rss_mib`.
    pub peak_rss_mib: f64,
    /// Bytes the server had written to the disk per message.
    pub disk_bytes: f64,
    /// Requests that were refused.
    pub errors: u64,
    /// The first refusal.
    pub first_error: Option<String>,
    /// Share of all CPUs that went to others than servers and load.
    pub foreign_cpu: f64,
}

/// Two runs next to each other, or one where there is nothing to compare with.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// Gantry's.
    pub gantry: Run,
    /// The mock's.
    pub mock: Option<Run>,
}

impl Pair {
    /// Returns whether others used so much CPU that the pair says little.
    pub fn is_disturbed(&self) -> bool {
        let runs = [Some(&self.gantry), self.mock.as_ref()];
        runs.into_iter().flatten().any(|run| run.foreign_cpu > FOREIGN_CPU_LIMIT)
    }
}

/// Measures a scenario. Disturbed pairs are measured again, at most as many as were asked for; if too few
/// are left undisturbed, they count all the same.
pub fn measure(scenario: &Scenario, place: &Place, options: &Options) -> Result<Vec<Pair>> {
    println!("\n{} broker=cpu{} load=cpu{}", scenario.describe(), place.server_cpu, place.load_cpu);
    let wanted = options.pairs as usize;
    let (mut good, mut disturbed) = (Vec::new(), Vec::new());
    while good.len() < wanted && good.len() + disturbed.len() < 2 * wanted {
        let gantry = run(Side::Gantry, scenario, place, options)?;
        let mock = match options.against {
            Against::Mock => Some(run(Side::Mock, scenario, place, options)?),
            Against::None => None,
        };
        let pair = Pair { gantry, mock };
        if pair.is_disturbed() { disturbed.push(pair) } else { good.push(pair) }
    }
    good.extend(disturbed.into_iter().take(wanted.saturating_sub(good.len())));
    Ok(good)
}

fn run(side: Side, scenario: &Scenario, place: &Place, options: &Options) -> Result<Run> {
    let server = Server::start(side, scenario.ack, place)?;
    let goal = Goal::Time { warm_up: options.warm_up(), measured: options.measured() };
    let pids = server.pids();
    let mut readings = Vec::new();
    let mut read = || {
        readings.push(Reading::take(&pids)?);
        Ok(())
    };
    let outcome = match scenario.kind {
        Kind::Send => {
            let messages = messages(scenario);
            load::run(server.address, scenario.shape, goal, |i| Sender::new(&messages, i), &mut read)?
        }
        Kind::Pull => {
            fill(&server, scenario)?;
            let puller = |_| Puller::new(TOPIC, scenario.header, scenario.shape.window);
            load::run(server.address, scenario.shape, goal, puller, &mut read)?
        }
    };
    let [begin, end] = &readings[..] else { bail!("the load did not say when it began and ended") };
    if outcome.messages == 0 {
        bail!("no message got through, first refusal: {}", outcome.first_error.unwrap_or_default());
    }
    let result = Run::new(side, &outcome, &(end - begin), procfs::resident(pids[0])?);
    server.stop()?;
    Ok(result)
}

fn messages(scenario: &Scenario) -> Messages {
    Messages { topic: TOPIC.to_owned(), queues: QUEUES, body: scenario.body, header: scenario.header }
}

fn fill(server: &Server, scenario: &Scenario) -> Result<()> {
    let messages = messages(scenario);
    let shape = Shape { connections: 1, window: 64, writes: Writes::Coalesced, pace: Pace::Window };
    let goal = Goal::Requests(PULLED_MESSAGES);
    let outcome = load::run(server.address, shape, goal, |i| Sender::new(&messages, i), || Ok(()))?;
    match outcome.first_error {
        None => Ok(()),
        Some(refusal) => bail!("send the messages to be pulled: {refusal}"),
    }
}

/// Everything that is counted up by the system, at one moment.
struct Reading {
    at: Instant,
    members: Vec<Usage>,
    load: Usage,
    machine_cpu_seconds: f64,
}

struct Used {
    elapsed: Duration,
    // The server's, then its replica's.
    members: Vec<Usage>,
    foreign_cpu: f64,
}

impl Reading {
    fn take(members: &[u32]) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            members: members.iter().map(|pid| procfs::usage(*pid)).collect::<Result<_>>()?,
            load: procfs::usage(std::process::id())?,
            machine_cpu_seconds: procfs::machine_cpu_seconds()?,
        })
    }
}

impl std::ops::Sub for &Reading {
    type Output = Used;

    fn sub(self, earlier: &Reading) -> Used {
        let elapsed = self.at - earlier.at;
        let both = self.members.iter().zip(&earlier.members);
        let members: Vec<Usage> = both.map(|(later, earlier)| *later - *earlier).collect();
        let own =
            members.iter().chain([&(self.load - earlier.load)]).map(|usage| usage.cpu_seconds).sum::<f64>();
        let machine = self.machine_cpu_seconds - earlier.machine_cpu_seconds;
        let foreign = (machine - own).max(0.0);
        // The machine's, not this process's: it may be pinned.
        let cpus = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let cpus = cpus.lines().skip(1).filter(|line| line.starts_with("cpu")).count().max(1);
        Used { elapsed, members, foreign_cpu: foreign / elapsed.as_secs_f64() / cpus as f64 }
    }
}

impl Run {
    fn new(side: Side, outcome: &Outcome, used: &Used, (rss, peak): (u64, u64)) -> Self {
        let server = used.members[0];
        let cpu_us = |usage: &Usage| usage.cpu_seconds * 1e6;
        // What the server used also covers the moments between the readings and the load's own clock.
        let messages = outcome.per_second() * used.elapsed.as_secs_f64();
        Self {
            side,
            per_second: outcome.per_second(),
            p50_us: outcome.latency_us(0.5),
            p99_us: outcome.latency_us(0.99),
            p999_us: outcome.latency_us(0.999),
            max_us: outcome.latency_us(1.0),
            cpu_us: cpu_us(&server) / messages,
            replica_cpu_us: used.members.get(1).map(|replica| cpu_us(replica) / messages),
            switches: server.context_switches as f64 / messages,
            rss_mib: rss as f64 / (1 << 20) as f64,
            peak_rss_mib: peak as f64 / (1 << 20) as f64,
            disk_bytes: server.written_bytes as f64 / messages,
            errors: outcome.errors,
            first_error: outcome.first_error.clone(),
            foreign_cpu: used.foreign_cpu,
        }
    }
}
