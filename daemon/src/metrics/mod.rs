//! Metrics of a process for Prometheus: a registry, gauges by callback, counters per request. Which
//! metrics a server has is said in its own `metrics.rs`.

mod callbacks;
mod process;
mod requests;

use std::sync::Arc;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::registry::{Metric, Registry};

pub use callbacks::Emit;
pub use requests::{RequestMetrics, Sample};

/// All metrics of a process; clones share them. Names are given in full, but without the `_total` that
/// the format appends to counters. Registering one name twice is a mistake that shows in the output.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<RwLock<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Creates a registry that already has the process's own metrics: memory, CPU, files, build.
    pub fn new() -> Self {
        let metrics = Self { registry: Arc::new(RwLock::new(Registry::default())) };
        metrics.collector(process::ProcessCollector);
        metrics
    }

    /// Adds a metric of the prometheus crate; keep a clone of it to change it.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        // The crate ends every help text with a full stop of its own.
        self.registry.write().register(name, help.trim_end_matches('.'), metric);
    }

    /// Adds a gauge whose value is asked for at each scrape. The callback must be quick and must not wait.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.gauges(name, help, move |emit| emit(&[], value()));
    }

    /// Adds a family of gauges: at each scrape the callback emits any number of labelled values. Bound the
    /// number of label values; every one costs the scraper memory.
    pub fn gauges(
        &self,
        name: &'static str,
        help: &'static str,
        values: impl Fn(Emit<'_>) + Send + Sync + 'static,
    ) {
        self.collector(callbacks::Callback::gauge(name, help, values));
    }

    /// Adds a counter that is counted elsewhere and asked for at each scrape; it must never fall.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.counters(name, help, move |emit| emit(&[], value()));
    }

    /// Adds a family of counters that are counted elsewhere.
    pub fn counters(
        &self,
        name: &'static str,
        help: &'static str,
        values: impl Fn(Emit<'_>) + Send + Sync + 'static,
    ) {
        self.collector(callbacks::Callback::counter(name, help, values));
    }

    /// Adds anything that writes its own metrics.
    pub fn collector(&self, collector: impl Collector) {
        self.registry.write().register_collector(Box::new(collector));
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail, and a collector that fails costs only the rest of the page.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry.read());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_are_asked_at_each_scrape() {
        let metrics = Metrics::new();
        metrics.gauges("gantry_queue_depth", "Depth of a queue.", |emit| {
            emit(&[("topic", "a"), ("queue", "0")], 3.0);
            emit(&[("topic", "b"), ("queue", "1")], 5.0);
        });
        metrics.counter("gantry_scrapes", "Scrapes.", || 7.0);
        let text = metrics.encode();
        let expected = "# HELP gantry_queue_depth Depth of a queue.\n# TYPE gantry_queue_depth gauge\n\
                        gantry_queue_depth{topic=\"a\",queue=\"0\"} 3.0\n\
                        gantry_queue_depth{topic=\"b\",queue=\"1\"} 5.0\n\
                        # HELP gantry_scrapes Scrapes.\n# TYPE gantry_scrapes counter\ngantry_scrapes_total 7.0\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_process_reports_its_own_memory_time_files_and_build() {
        let text = Metrics::new().encode();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            line.split_once(' ').unwrap().1.parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") > 2.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(text.contains(&format!("gantry_build_info{{version=\"{}\",commit=", crate::build::VERSION)));
    }
}
