//! What a server counts about its requests: how many by result, bytes in and out, how long. Cheap enough
//! for every request of a busy broker: a handful of relaxed additions, no lock and no map for a success.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// Upper bounds of the latency buckets in seconds; above the last comes one without bound.
const BOUNDS: [f64; 15] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 30.0];

/// Codes below this one find their slot without a search.
const DIRECT: usize = 1024;

/// Counters of a server by request code and result code; clones share them. Requests without a name
/// share one slot, so nobody can make the server count more by sending odd codes.
#[derive(Clone)]
pub struct RequestMetrics {
    table: Arc<Table>,
}

/// One answered request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The request's code.
    pub request: i32,
    /// The answer's code; 0 is success.
    pub result: i32,
    /// Size of the request's frame.
    pub bytes_in: usize,
    /// Size of the answer's frame.
    pub bytes_out: usize,
    /// From the frame being complete to the answer being ready.
    pub latency: Duration,
}

struct Table {
    prefix: &'static str,
    result_name: fn(i32) -> &'static str,
    slots: Vec<Slot>,
    direct: Box<[u16; DIRECT]>,
    large: BTreeMap<i32, u16>,
}

struct Slot {
    name: &'static str,
    successes: AtomicU64,
    refusals: Mutex<BTreeMap<i32, u64>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    nanos: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

impl RequestMetrics {
    /// Creates counters named `<prefix>_requests_total`, `_request_bytes_total`, `_response_bytes_total`
    /// and `_request_duration_seconds` for the named request codes; add them to a registry with
    /// [`super::Metrics::collector`].
    pub fn new(
        prefix: &'static str,
        requests: impl IntoIterator<Item = (i32, &'static str)>,
        result_name: fn(i32) -> &'static str,
    ) -> Self {
        let mut table = Table {
            prefix,
            result_name,
            slots: vec![Slot::new("UNKNOWN")],
            direct: Box::new([0; DIRECT]),
            large: BTreeMap::new(),
        };
        for (code, name) in requests {
            let slot = table.slots.len() as u16;
            table.slots.push(Slot::new(name));
            match usize::try_from(code).ok().and_then(|code| table.direct.get_mut(code)) {
                Some(entry) => *entry = slot,
                None => {
                    table.large.insert(code, slot);
                }
            }
        }
        Self { table: Arc::new(table) }
    }

    /// Counts one answered request.
    pub fn record(&self, sample: Sample) {
        self.table.slot(sample.request).record(&sample);
    }
}

impl Table {
    fn slot(&self, code: i32) -> &Slot {
        let direct = usize::try_from(code).ok().and_then(|code| self.direct.get(code));
        let slot = match direct {
            Some(slot) => *slot,
            None => self.large.get(&code).copied().unwrap_or(0),
        };
        &self.slots[usize::from(slot)]
    }

    fn used(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.count() > 0)
    }
}

impl Slot {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            successes: AtomicU64::new(0),
            refusals: Mutex::new(BTreeMap::new()),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            buckets: Default::default(),
        }
    }

    fn record(&self, sample: &Sample) {
        match sample.result {
            0 => {
                self.successes.fetch_add(1, Ordering::Relaxed);
            }
            code => *self.refusals.lock().entry(code).or_default() += 1,
        }
        self.bytes_in.fetch_add(sample.bytes_in as u64, Ordering::Relaxed);
        self.bytes_out.fetch_add(sample.bytes_out as u64, Ordering::Relaxed);
        self.nanos.fetch_add(sample.latency.as_nanos() as u64, Ordering::Relaxed);
        let seconds = sample.latency.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for RequestMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestMetrics").field(&self.table.prefix).finish()
    }
}

impl Collector for RequestMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let table = &*self.table;
        let mut family =
            |name: &str, help: &str, metric_type, write: &dyn Fn(MetricEncoder<'_>) -> fmt::Result| {
                let name = format!("{}_{name}", table.prefix);
                write(encoder.encode_descriptor(&name, help, None, metric_type)?)
            };
        family("requests", "Answered requests.", MetricType::Counter, &|to| table.encode_counts(to))?;
        family("request_bytes", "Bytes of requests.", MetricType::Counter, &|to| {
            table.encode_sums(to, |slot| &slot.bytes_in)
        })?;
        family("response_bytes", "Bytes of answers.", MetricType::Counter, &|to| {
            table.encode_sums(to, |slot| &slot.bytes_out)
        })?;
        family("request_duration_seconds", "Time to an answer.", MetricType::Histogram, &|to| {
            table.encode_latencies(to)
        })
    }
}

impl Table {
    fn encode_counts(&self, mut to: MetricEncoder<'_>) -> fmt::Result {
        for slot in self.used() {
            let successes = [(0, slot.successes.load(Ordering::Relaxed))];
            let refusals = slot.refusals.lock().clone();
            for (code, count) in successes.into_iter().chain(refusals).filter(|(_, count)| *count > 0) {
                let labels = [("request", slot.name), ("result", (self.result_name)(code))];
                ConstCounter::new(count).encode(to.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_sums(&self, mut to: MetricEncoder<'_>, sum: impl Fn(&Slot) -> &AtomicU64) -> fmt::Result {
        for slot in self.used() {
            let value = sum(slot).load(Ordering::Relaxed);
            ConstCounter::new(value).encode(to.encode_family(&[("request", slot.name)])?)?;
        }
        Ok(())
    }

    fn encode_latencies(&self, mut to: MetricEncoder<'_>) -> fmt::Result {
        for slot in self.used() {
            let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
            let counts = slot.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
            let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = slot.nanos.load(Ordering::Relaxed) as f64 / 1e9;
            to.encode_family(&[("request", slot.name)])?
                .encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn result_name(code: i32) -> &'static str {
        match code {
            0 => "SUCCESS",
            17 => "TOPIC_NOT_EXIST",
            _ => "OTHER",
        }
    }

    #[test]
    fn requests_are_counted_by_name_and_result_with_bytes_and_latency() {
        let requests = RequestMetrics::new("gantry_broker", [(310, "SEND"), (200_050, "POP")], result_name);
        let metrics = Metrics::new();
        metrics.collector(requests.clone());
        let send = Sample { request: 310, bytes_in: 100, bytes_out: 20, ..Sample::default() };
        requests.record(Sample { latency: Duration::from_micros(75), ..send });
        requests.record(Sample { latency: Duration::from_secs(60), ..send });
        requests.record(Sample { result: 17, ..send });
        requests.record(Sample { request: 200_050, ..Sample::default() });
        requests.record(Sample { request: -5, ..Sample::default() });
        requests.record(Sample { request: 4711, ..Sample::default() });
        let text = metrics.encode();
        for line in [
            "gantry_broker_requests_total{request=\"SEND\",result=\"SUCCESS\"} 2",
            "gantry_broker_requests_total{request=\"SEND\",result=\"TOPIC_NOT_EXIST\"} 1",
            "gantry_broker_requests_total{request=\"POP\",result=\"SUCCESS\"} 1",
            "gantry_broker_requests_total{request=\"UNKNOWN\",result=\"SUCCESS\"} 2",
            "gantry_broker_request_bytes_total{request=\"SEND\"} 300",
            "gantry_broker_response_bytes_total{request=\"SEND\"} 60",
            "gantry_broker_request_duration_seconds_sum{request=\"SEND\"} 60.000075",
            "gantry_broker_request_duration_seconds_count{request=\"SEND\"} 3",
            "gantry_broker_request_duration_seconds_bucket{le=\"0.0001\",request=\"SEND\"} 2",
            "gantry_broker_request_duration_seconds_bucket{le=\"+Inf\",request=\"SEND\"} 3",
        ] {
            assert!(text.contains(&format!("{line}\n")), "no line {line} in\n{text}");
        }
    }

    #[test]
    fn requests_that_never_came_are_not_shown() {
        let requests = RequestMetrics::new("gantry_broker", [(310, "SEND")], result_name);
        let metrics = Metrics::new();
        metrics.collector(requests);
        assert!(!metrics.encode().contains("SEND"));
    }
}
