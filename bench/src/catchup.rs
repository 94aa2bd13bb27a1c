//! What the sends of a master notice while a slave that has nothing catches up, and how fast it does:
//! without a throttle and with one. Only reported: what is right depends on the disk.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use protocol::header::Serialization;
use serde::Serialize;

use crate::load::{self, Goal, Messages, Outcome, Pace, Sender, Shape, Writes};
use crate::mock::Ack;
use crate::options::Options;
use crate::scenarios::{QUEUES, TOPIC};
use crate::servers::{Group, Place, create_topic, log_end};

/// What `catchup` asks for.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Options of catchup")]
pub struct CatchUpOptions {
    /// MiB of log that the slave lacks
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub backlog: u64,
    /// Messages sent per second meanwhile
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// MiB per second to which the second run throttles the slave
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub throttle: u64,
}

/// One slave's way from nothing to everything.
#[derive(Clone, Debug, Serialize)]
pub struct CatchUp {
    /// What the master was set to, in MiB per second; `None` is no throttle.
    pub throttle_mib: Option<u64>,
    /// What the slave lacked.
    pub backlog_mib: f64,
    /// From its first bytes until it had them all.
    pub seconds: f64,
    /// How fast it got them.
    pub mib_per_second: f64,
    /// Sends while there was no slave.
    pub before: Sends,
    /// Sends while it caught up.
    pub during: Sends,
}

/// What the senders saw.
#[derive(Clone, Debug, Serialize)]
pub struct Sends {
    /// Answers per second; fewer than asked for is a master that falls behind.
    pub per_second: f64,
    /// Median time from when a message was due to its answer.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Longest time.
    pub max_us: f64,
}

const MIB: u64 = 1 << 20;
/// Bytes of a record that are not its body: the fixed fields, the topic and the properties.
const BESIDE_THE_BODY: u64 = 91 + 13 + 52;
/// Messages in flight while the backlog is written, and the most that may be late while the rate is kept.
const WINDOW: usize = 1024;
/// How long the load runs between two looks at whether the slave has caught up.
const LAP: Duration = Duration::from_millis(500);
/// Between two looks at how far the slave is.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A slave that gets nothing for so long has failed.
const STANDSTILL_LIMIT: Duration = Duration::from_secs(30);

/// Measures without a throttle, then with one, each with new files.
pub fn measure(place: &Place, options: &Options) -> Result<Vec<CatchUp>> {
    let CatchUpOptions { backlog, rate, throttle } = options.catch_up;
    println!(
        "\ncatchup: a slave {backlog} MiB behind, send body={} rate={rate} conns=1 flush=async repl=async \
         broker=cpu{} load=cpu{}",
        options.body, place.server_cpu, place.load_cpu
    );
    [None, Some(throttle)].into_iter().map(|throttle| measure_one(place, options, throttle)).collect()
}

fn measure_one(place: &Place, options: &Options, throttle_mib: Option<u64>) -> Result<CatchUp> {
    let mut group = Group::start(place)?;
    group.catch_up_bytes_per_second = throttle_mib.map(|mib| mib * MIB);
    let mut master = group.start_master(Ack::Written, Command::new(&place.program))?;
    let address = group.master_address();
    create_topic(address)?;
    let producer = Producer { options, address };
    producer.write_backlog()?;
    let before = producer.send_steadily(options.warm_up(), options.measured())?;
    let backlog = log_end(address)?;
    let mut slave = group.start_slave()?;
    let (progress, during) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(group.slave_address(), backlog));
        let mut during = Outcome::empty();
        while !watch.is_finished() {
            let lap = producer.send_steadily(Duration::ZERO, LAP)?;
            during.elapsed += lap.elapsed;
            during.add(lap);
        }
        let progress = watch.join().unwrap_or_else(|_| bail!("the thread that watches the slave panicked"));
        Ok::<_, anyhow::Error>((progress.with_context(|| slave.said())?, during))
    })?;
    slave.stop()?;
    master.stop()?;
    Ok(CatchUp {
        throttle_mib,
        backlog_mib: backlog as f64 / MIB as f64,
        seconds: progress.elapsed.as_secs_f64(),
        mib_per_second: progress.bytes as f64 / MIB as f64 / progress.elapsed.as_secs_f64(),
        before: Sends::of(&before),
        during: Sends::of(&during),
    })
}

struct Producer<'a> {
    options: &'a Options,
    address: SocketAddr,
}

impl Producer<'_> {
    fn write_backlog(&self) -> Result<()> {
        let record = u64::from(self.options.body) + BESIDE_THE_BODY;
        let records = (self.options.catch_up.backlog * MIB).div_ceil(record);
        self.send(Pace::Window, Goal::Requests(records)).map(drop)
    }

    fn send_steadily(&self, warm_up: Duration, measured: Duration) -> Result<Outcome> {
        self.send(Pace::PerSecond(self.options.catch_up.rate), Goal::Time { warm_up, measured })
    }

    fn send(&self, pace: Pace, goal: Goal) -> Result<Outcome> {
        let header: Serialization = self.options.header.into();
        let body = self.options.body as usize;
        let messages = Messages { topic: TOPIC.to_owned(), queues: QUEUES, body, header };
        let shape = Shape { connections: 1, window: WINDOW, writes: Writes::Coalesced, pace };
        let outcome = load::run(self.address, shape, goal, |i| Sender::new(&messages, i), || Ok(()))?;
        match &outcome.first_error {
            Some(refusal) => bail!("{} sends were refused, the first with {refusal}", outcome.errors),
            None => Ok(outcome),
        }
    }
}

struct Progress {
    bytes: u64,
    elapsed: Duration,
}

/// Waits until the slave's log reaches `goal`; the time begins with the first bytes that it has.
fn watch(slave: SocketAddr, goal: u64) -> Result<Progress> {
    let mut first: Option<(u64, Instant)> = None;
    let (mut end, mut moved) = (0, Instant::now());
    loop {
        // It does not listen at once.
        let now_at = log_end(slave).unwrap_or(end);
        if now_at > end {
            (end, moved) = (now_at, Instant::now());
        }
        if end > 0 {
            let (begin, since) = *first.get_or_insert((end, moved));
            if end >= goal {
                // One look sees all of a small backlog.
                let bytes = if begin == end { end } else { end - begin };
                return Ok(Progress { bytes, elapsed: (moved - since).max(LOOK_EVERY) });
            }
        }
        ensure!(
            moved.elapsed() < STANDSTILL_LIMIT,
            "the slave stands at {end} of {goal} bytes for {} s",
            STANDSTILL_LIMIT.as_secs()
        );
        std::thread::sleep(LOOK_EVERY);
    }
}

impl Sends {
    fn of(outcome: &Outcome) -> Self {
        Self {
            per_second: outcome.per_second(),
            p50_us: outcome.latency_us(0.5),
            p99_us: outcome.latency_us(0.99),
            p999_us: outcome.latency_us(0.999),
            max_us: outcome.latency_us(1.0),
        }
    }
}
