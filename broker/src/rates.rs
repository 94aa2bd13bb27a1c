//! How many messages come and go: totals since the start, and rates over the last 10 s, minute and ten minutes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Seconds the rates are told over, as in Java.
const SPANS: [u64; 3] = [10, 60, 600];

/// Counts of messages.
#[derive(Default)]
pub struct Rates {
    /// Messages stored.
    pub put: AtomicU64,
    /// Messages given to consumers.
    pub got: AtomicU64,
    /// Pulls that found something.
    pub found: AtomicU64,
    /// Pulls that found nothing.
    pub missed: AtomicU64,
    samples: Mutex<VecDeque<Sample>>,
}

/// Totals at one time.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    at: Instant,
    totals: [u64; 4],
}

impl Rates {
    /// Notes the totals; to be called every 10 s.
    pub fn sample(&self, now: Instant) {
        let mut samples = self.samples.lock();
        samples.push_back(Sample { at: now, totals: self.totals() });
        let oldest = Duration::from_secs(SPANS[2] + SPANS[0]);
        while samples.front().is_some_and(|s| now.duration_since(s.at) > oldest) {
            samples.pop_front();
        }
    }

    fn totals(&self) -> [u64; 4] {
        [&self.put, &self.got, &self.found, &self.missed].map(|n| n.load(Ordering::Relaxed))
    }

    /// Returns the rates of put, got, found and missed, each over the three spans, per second.
    pub fn per_second(&self, now: Instant) -> [[f64; 3]; 4] {
        let samples = self.samples.lock();
        let totals = self.totals();
        let mut rates = [[0.0; 3]; 4];
        for (s, span) in SPANS.into_iter().enumerate() {
            let since = now.checked_sub(Duration::from_secs(span));
            let Some(from) =
                samples.iter().rev().find(|x| since.is_some_and(|t| x.at <= t)).or(samples.front())
            else {
                continue;
            };
            let seconds = now.duration_since(from.at).as_secs_f64();
            for (k, rate) in rates.iter_mut().enumerate().filter(|_| seconds > 0.0) {
                rate[s] = (totals[k] - from.totals[k]) as f64 / seconds;
            }
        }
        rates
    }

    /// Returns the rate of all pulls over the three spans.
    pub fn pulls_per_second(&self, now: Instant) -> [f64; 3] {
        let [_, _, found, missed] = self.per_second(now);
        std::array::from_fn(|i| found[i] + missed[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_taken_over_their_span() {
        let (rates, start) = (Rates::default(), Instant::now());
        assert_eq!(rates.per_second(start), [[0.0; 3]; 4]);
        for i in 0..=6 {
            rates.sample(start + Duration::from_secs(10 * i));
            rates.put.fetch_add(if i < 5 { 100 } else { 700 }, Ordering::Relaxed);
        }
        let now = start + Duration::from_secs(70);
        let [put, got, ..] = rates.per_second(now);
        assert_eq!(put, [70.0, (400.0 + 1400.0) / 60.0, 1900.0 / 70.0]);
        assert_eq!(got, [0.0; 3]);
    }
}
