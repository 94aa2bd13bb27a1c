//! The load generator: one thread per connection, a window of unanswered requests each, as fast as the
//! answers come or at a fixed rate.
//! Knows frames; not which server answers, nor how it was started.

mod connection;
mod pace;
mod pull;
mod send;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

pub use connection::{Call, Connection};
pub use pace::Pace;
pub use pull::Puller;
pub use send::{Messages, Sender};

/// How the frames of a load reach the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// All frames that may go now in one write: a pipelining client.
    Coalesced,
    /// One write per frame, as Java's client does.
    PerFrame,
}

/// What the connections of one load do, apart from what they ask.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Number of connections.
    pub connections: usize,
    /// Unanswered requests on each.
    pub window: usize,
    /// How frames are written.
    pub writes: Writes,
    /// How fast each connection asks.
    pub pace: Pace,
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// After a warm-up that is not counted and a time that is.
    Time {
        /// Not counted.
        warm_up: Duration,
        /// Counted.
        measured: Duration,
    },
    /// After so many requests on every connection.
    Requests(u64),
}

/// What a load asks and how it reads the answers; one per connection.
pub trait Workload: Send {
    /// Appends the next request. Its opaque id must be `call`'s.
    fn request(&mut self, call: Call, out: &mut Vec<u8>);

    /// Takes the answer to a request and returns how many messages it stands for.
    ///
    /// # Errors
    /// The answer is a refusal or does not make sense; it counts as an error, and the load goes on.
    fn answer(&mut self, call: Call, answer: &protocol::frame::FrameView<'_>) -> Result<u64, String>;
}

/// What came out of a load.
pub struct Outcome {
    /// Messages sent or received in the measured time.
    pub messages: u64,
    /// The measured time.
    pub elapsed: Duration,
    /// Time from request to answer in nanoseconds.
    pub latency: Histogram<u64>,
    /// Requests that were refused, at any time.
    pub errors: u64,
    /// The first refusal in words.
    pub first_error: Option<String>,
}

impl Outcome {
    /// Returns the throughput.
    pub fn per_second(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns a quantile of the latency in microseconds.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

/// Which part of a load all its threads are in.
pub(crate) struct Phase(AtomicU8);

impl Phase {
    fn is_measured(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MEASURE
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STOP
    }
}

/// Runs one load: `workload(i)` is what connection `i` does. `at_edge` is called when the measured time
/// begins and when it ends, to read what the server used.
///
/// # Errors
/// A connection failed; servers must serve a load to its end.
pub fn run<W: Workload>(
    address: SocketAddr,
    shape: Shape,
    goal: Goal,
    workload: impl Fn(usize) -> W,
    mut at_edge: impl FnMut() -> Result<()>,
) -> Result<Outcome> {
    let (first_phase, limit) = match goal {
        Goal::Time { .. } => (WARM_UP, u64::MAX),
        Goal::Requests(count) => (MEASURE, count),
    };
    let phase = Phase(AtomicU8::new(first_phase));
    let connections = (0..shape.connections)
        .map(|i| Connection::open(address, shape, limit, workload(i)))
        .collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let phase = &phase;
        let threads: Vec<_> =
            connections.into_iter().map(|connection| scope.spawn(move || connection.run(phase))).collect();
        let elapsed = pass_phases(phase, goal, &mut at_edge);
        if elapsed.is_err() {
            phase.0.store(STOP, Ordering::Relaxed);
        }
        let started = Instant::now();
        let mut total = Outcome::empty();
        for thread in threads {
            match thread.join() {
                Ok(outcome) => total.add(outcome?),
                Err(_) => bail!("a load thread panicked"),
            }
        }
        total.elapsed = match elapsed? {
            Some(elapsed) => elapsed,
            None => {
                at_edge()?;
                started.elapsed()
            }
        };
        Ok(total)
    })
}

// Returns the measured time, or `None` when the requests are counted instead.
fn pass_phases(
    phase: &Phase,
    goal: Goal,
    at_edge: &mut impl FnMut() -> Result<()>,
) -> Result<Option<Duration>> {
    let Goal::Time { warm_up, measured } = goal else {
        at_edge()?;
        return Ok(None);
    };
    std::thread::sleep(warm_up);
    at_edge()?;
    let begin = Instant::now();
    phase.0.store(MEASURE, Ordering::Relaxed);
    std::thread::sleep(measured);
    phase.0.store(STOP, Ordering::Relaxed);
    let elapsed = begin.elapsed();
    at_edge()?;
    Ok(Some(elapsed))
}

impl Outcome {
    /// Returns the outcome of no load at all.
    pub fn empty() -> Self {
        Self { messages: 0, elapsed: Duration::ZERO, latency: new_histogram(), errors: 0, first_error: None }
    }

    /// Adds what another load counted. The time stays: whether both ran at once the caller knows.
    pub fn add(&mut self, other: Outcome) {
        self.messages += other.messages;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        // Both have the same bounds, so every value fits.
        let _ = self.latency.add(&other.latency);
    }
}

pub(crate) fn new_histogram() -> Histogram<u64> {
    // 1 µs to 100 s with two digits: fits into the CPU's cache.
    Histogram::new_with_bounds(1_000, 100_000_000_000, 2).expect("the bounds are constants that fit")
}
