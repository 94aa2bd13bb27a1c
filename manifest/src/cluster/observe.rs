//! Logs and metrics.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes::ToggleOff;
use super::schema;

/// What the members log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Logging {
    /// From which severity on a line is written. Default: `info`. Restart of name servers, one by one; brokers take it
    /// over.
    pub level: LogLevel,
    /// How a line looks. Default: `Json`. Restart.
    pub format: LogFormat,
    /// Levels of single parts, by their name. Live.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, String>,
}

/// From which severity on a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum LogFormat {
    #[default]
    Json,
    Text,
}

impl LogLevel {
    /// Returns the level as it is written in a manifest and in a properties file.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// What is made for Prometheus and Grafana.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Monitoring {
    /// A PodMonitor for all members.
    pub pod_monitor: PodMonitor,
    /// Alerts.
    pub prometheus_rule: PrometheusRule,
    /// A dashboard for Grafana, as a ConfigMap with the label `grafana_dashboard`, by which Grafana's sidecar finds it.
    pub dashboards: ToggleOff,
}

/// A PodMonitor for all members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMonitor {
    /// Whether it is made. Default: false. Live.
    pub enabled: bool,
    /// Labels by which a Prometheus finds it. Live.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How often metrics are read, a duration. Default: `30s`. Live.
    #[schemars(schema_with = "schema::duration")]
    pub interval: String,
}

/// Alerts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusRule {
    /// Whether they are made. Default: false. Live.
    pub enabled: bool,
    /// Labels by which a Prometheus finds them. Live.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Default for PodMonitor {
    fn default() -> Self {
        PodMonitor { enabled: false, labels: BTreeMap::new(), interval: "30s".to_owned() }
    }
}
