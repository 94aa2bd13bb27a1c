//! What the operator counts, under `gantry_operator_`. The process's own metrics are the daemon's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daemon::metrics::Metrics;
use http::Uri;
use manifest::cluster::ClusterStatus;
use parking_lot::Mutex;
use planner::step::Action;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::caches::ClusterKey;

/// Upper bounds in seconds: a look at the caches takes milliseconds, one that waits for members seconds.
const BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// All counters; clones share them.
#[derive(Clone)]
pub struct Counters {
    reconciles: Family<Reconciled, Histogram, fn() -> Histogram>,
    errors: Family<Reason, Counter>,
    steps: Family<Step, Counter>,
    requests: Family<Request, Counter>,
    shown: Arc<Mutex<BTreeMap<ClusterKey, Shown>>>,
}

/// What of a cluster's status is shown as metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shown {
    conditions: Vec<(String, String)>,
    remaining: Vec<(i32, i64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    step: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    kind: String,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            reconciles: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            errors: Family::default(),
            steps: Family::default(),
            requests: Family::default(),
            shown: Arc::default(),
        }
    }
}

impl Counters {
    /// Adds all counters to a registry.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register(
            "gantry_operator_reconcile_seconds",
            "Time of a look at one cluster, from its beginning to its last write.",
            self.reconciles.clone(),
        );
        metrics.register("gantry_operator_reconcile_errors", "Failed looks by reason.", self.errors.clone());
        metrics.register(
            "gantry_operator_planned_steps",
            "Steps that were planned, by kind.",
            self.steps.clone(),
        );
        metrics.register(
            "gantry_operator_api_requests",
            "Requests to the API server; a watch counts when it begins.",
            self.requests.clone(),
        );
        let shown = self.shown.clone();
        let help = "Conditions of clusters by type and status: how many clusters are in it.";
        metrics.gauges("gantry_operator_condition", help, move |emit| {
            let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
            for condition in shown.lock().values().flat_map(|shown| &shown.conditions) {
                *counts.entry(condition.clone()).or_default() += 1;
            }
            for ((kind, status), count) in counts {
                emit(&[("type", &kind), ("status", &status)], f64::from(count));
            }
        });
        let shown = self.shown.clone();
        let help = "Messages that consumers have not read, of groups that drain.";
        metrics.gauges("gantry_operator_drain_remaining_messages", help, move |emit| {
            for (key, shown) in shown.lock().iter() {
                for (group, remaining) in &shown.remaining {
                    let labels = [
                        ("namespace", key.namespace.as_str()),
                        ("cluster", &key.name),
                        ("group", &group.to_string()),
                    ];
                    emit(&labels, *remaining as f64);
                }
            }
        });
    }

    /// Counts one look.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        let labels = Reconciled { kind: manifest::KIND, result };
        self.reconciles.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a failure.
    pub fn failed(&self, reason: &'static str) {
        self.errors.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a step of a plan.
    pub fn planned(&self, action: &Action) {
        self.steps.get_or_create(&Step { step: name(action) }).inc();
    }

    /// Counts a request to the API server.
    pub fn request(&self, method: &str, uri: &Uri) {
        let (verb, kind) = verb_and_kind(method, uri.path(), uri.query().unwrap_or_default());
        self.requests.get_or_create(&Request { verb, kind: kind.to_owned() }).inc();
    }

    /// Shows what was found of a cluster.
    pub fn show(&self, key: &ClusterKey, status: &ClusterStatus) {
        let conditions = status.conditions.iter();
        let groups = status.brokers.group_statuses.iter();
        let shown = Shown {
            conditions: conditions.map(|said| (said.kind.clone(), said.status.clone())).collect(),
            remaining: groups
                .filter_map(|group| Some((group.index, group.drain.as_ref()?.remaining_messages)))
                .collect(),
        };
        let mut all = self.shown.lock();
        if all.get(key) != Some(&shown) {
            all.insert(key.clone(), shown);
        }
    }

    /// A cluster is gone.
    pub fn forget(&self, key: &ClusterKey) {
        self.shown.lock().remove(key);
    }
}

/// Returns a step's name, as metrics and logs have it.
pub fn name(action: &Action) -> &'static str {
    match action {
        Action::AddFinalizer => "AddFinalizer",
        Action::RemoveFinalizer => "RemoveFinalizer",
        Action::RecordStatus(_) => "RecordStatus",
        Action::Create(_) => "Create",
        Action::CreateSecret { .. } => "CreateSecret",
        Action::Apply { .. } => "Apply",
        Action::Delete { .. } => "Delete",
        Action::OrphanStatefulSet { .. } => "OrphanStatefulSet",
        Action::PushConfig { .. } => "PushConfig",
        Action::CopyMetadata { .. } => "CopyMetadata",
        Action::HandOver { .. } => "HandOver",
        Action::Evict { .. } => "Evict",
        Action::DeletePod { .. } => "DeletePod",
        Action::PatchPod { .. } => "PatchPod",
        Action::PatchClaim { .. } => "PatchClaim",
        Action::DeleteClaim { .. } => "DeleteClaim",
    }
}

/// Reads a request's path: `/api/v1/...` or `/apis/GROUP/VERSION/...`, then perhaps `namespaces/NAME`, then
/// `PLURAL[/NAME[/SUBRESOURCE]]`.
fn verb_and_kind<'a>(method: &str, path: &'a str, query: &str) -> (&'static str, &'a str) {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let prefix = if parts.first() == Some(&"api") { 2 } else { 3 };
    parts.drain(..prefix.min(parts.len()));
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    let kind = parts.first().copied().unwrap_or("discovery");
    let verb = match (method, parts.len()) {
        ("GET", _) if query.contains("watch=true") => "watch",
        ("GET", 1) => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        _ => "other",
    };
    (verb, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_verb_and_kind() {
        let cases = [
            ("GET", "/api/v1/pods", "labelSelector=x&limit=100", ("list", "pods")),
            ("GET", "/api/v1/pods", "&watch=true&x=y", ("watch", "pods")),
            ("GET", "/api/v1/namespaces/ns/pods/p", "", ("get", "pods")),
            ("POST", "/api/v1/namespaces/ns/pods/p/eviction", "", ("create", "pods")),
            ("PATCH", "/apis/apps/v1/namespaces/ns/statefulsets/s", "force=true", ("patch", "statefulsets")),
            (
                "PUT",
                "/apis/gantry.rs/v1alpha1/namespaces/n/rocketmqclusters/c/status",
                "",
                ("update", "rocketmqclusters"),
            ),
            ("DELETE", "/apis/apps/v1/namespaces/ns/statefulsets/s", "", ("delete", "statefulsets")),
            ("GET", "/apis/monitoring.coreos.com/v1", "", ("get", "discovery")),
        ];
        for (method, path, query, expected) in cases {
            assert_eq!(verb_and_kind(method, path, query), expected, "{method} {path}");
        }
    }

    #[test]
    fn every_metric_has_the_name_that_the_manual_has() {
        let (metrics, counters) = (Metrics::new(), Counters::default());
        counters.register(&metrics);
        counters.reconciled("ok", Duration::from_millis(3));
        counters.failed("Conflict");
        counters.planned(&Action::AddFinalizer);
        counters.request("GET", &"http://x/api/v1/pods?watch=true".parse().unwrap());
        let status = serde_json::json!({
            "conditions": [{ "type": "Ready", "status": "True", "reason": "r", "message": "", "lastTransitionTime": "" }],
            "brokers": { "groupStatuses": [{ "index": 2, "drain": { "remainingMessages": 7 } }] },
        });
        let key = ClusterKey::new("ns", "c");
        counters.show(&key, &serde_json::from_value(status).unwrap());
        let text = metrics.encode();
        for line in [
            "gantry_operator_reconcile_seconds_count{kind=\"RocketMQCluster\",result=\"ok\"} 1",
            "gantry_operator_reconcile_errors_total{reason=\"Conflict\"} 1",
            "gantry_operator_planned_steps_total{step=\"AddFinalizer\"} 1",
            "gantry_operator_api_requests_total{verb=\"watch\",kind=\"pods\"} 1",
            "gantry_operator_condition{type=\"Ready\",status=\"True\"} 1.0",
            "gantry_operator_drain_remaining_messages{namespace=\"ns\",cluster=\"c\",group=\"2\"} 7.0",
        ] {
            assert!(text.contains(&format!("{line}\n")), "no line {line} in\n{text}");
        }
        counters.forget(&key);
        assert!(!metrics.encode().contains("gantry_operator_condition{"));
    }
}
