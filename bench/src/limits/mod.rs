//! What this machine can do at most, measured by the bare operations a broker is made of. Every report
//! carries its own ceiling, because absolute numbers do not transfer between machines. Takes under a
//! minute.

mod disk;
mod network;
mod threads;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::new_histogram;

/// How long one operation is repeated.
const EACH: Duration = Duration::from_millis(1500);

/// Where the two ends of an exchange run.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    /// The end that answers.
    pub server: usize,
    /// The end that asks.
    pub load: usize,
}

/// The cost of one operation.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// The operation in words.
    pub operation: &'static str,
    /// Median cost in microseconds, or the mean where single costs cannot be told apart.
    pub us: f64,
    /// 99th percentile in microseconds, where there is one.
    pub p99_us: Option<f64>,
    /// How many of what that makes in a second.
    pub per_second: f64,
}

/// Measures everything, files under `directory`.
pub fn measure(cpus: Cpus, directory: &Path) -> Result<Vec<Limit>> {
    let mut limits = vec![threads::wake(cpus)?];
    limits.extend(network::measure(cpus)?);
    limits.extend(disk::measure(directory)?);
    Ok(limits)
}

impl Limit {
    fn of_median(operation: &'static str, nanos: &Histogram<u64>) -> Self {
        let us = |quantile| nanos.value_at_quantile(quantile) as f64 / 1000.0;
        Self { operation, us: us(0.5), p99_us: Some(us(0.99)), per_second: 1e6 / us(0.5) }
    }

    fn of_mean(operation: &'static str, count: u64, elapsed: Duration) -> Self {
        let us = elapsed.as_secs_f64() * 1e6 / count as f64;
        Self { operation, us, p99_us: None, per_second: 1e6 / us }
    }
}

// Repeats an operation for its time and takes the time of each.
fn time_each(mut operation: impl FnMut() -> Result<()>) -> Result<Histogram<u64>> {
    let mut nanos = new_histogram();
    let begin = Instant::now();
    while begin.elapsed() < EACH {
        let start = Instant::now();
        operation()?;
        nanos.saturating_record(start.elapsed().as_nanos() as u64);
    }
    Ok(nanos)
}
