//! Metrics whose values are asked for at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// Takes one value with its labels.
pub type Emit<'a> = &'a mut dyn FnMut(&[(&str, &str)], f64);

type NoLabels = [(&'static str, &'static str); 0];

pub(super) struct Callback<F> {
    name: &'static str,
    help: &'static str,
    metric_type: MetricType,
    values: F,
}

impl<F: Fn(Emit<'_>)> Callback<F> {
    pub(super) fn gauge(name: &'static str, help: &'static str, values: F) -> Self {
        Self { name, help, metric_type: MetricType::Gauge, values }
    }

    pub(super) fn counter(name: &'static str, help: &'static str, values: F) -> Self {
        Self { name, help, metric_type: MetricType::Counter, values }
    }

    fn encode_value(&self, to: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
        match self.metric_type {
            MetricType::Counter => to.encode_counter::<NoLabels, f64, f64>(&value, None),
            _ => to.encode_gauge(&value),
        }
    }
}

impl<F> fmt::Debug for Callback<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<F: Fn(Emit<'_>) + Send + Sync + 'static> Collector for Callback<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, self.metric_type)?;
        let mut result = Ok(());
        (self.values)(&mut |labels, value| {
            let one = match labels {
                [] => self.encode_value(&mut family, value),
                labels => family.encode_family(&labels).and_then(|mut to| self.encode_value(&mut to, value)),
            };
            result = result.and(one);
        });
        result
    }
}
