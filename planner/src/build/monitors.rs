//! What the Prometheus operator reads, where its kinds exist.

use serde_json::{Value, json};

use super::object;
use crate::desired::Desired;
use crate::labels::Part;
use crate::object::{Kind, Object};

pub(super) fn build(desired: &Desired) -> Vec<Object> {
    if !desired.facts.operator.monitoring_kinds {
        return Vec::new();
    }
    let monitoring = &desired.spec().monitoring;
    let mut objects = Vec::new();
    if monitoring.pod_monitor.enabled {
        let body = json!({ "spec": {
            "selector": { "matchLabels": desired.selector(Part::Cluster) },
            "podMetricsEndpoints": [
                { "port": "health", "path": "/metrics", "interval": monitoring.pod_monitor.interval },
            ],
        } });
        objects.push(labelled(desired, Kind::PodMonitor, body, &monitoring.pod_monitor.labels));
    }
    if monitoring.prometheus_rule.enabled {
        let body = json!({ "spec": { "groups": [{ "name": "gantry", "rules": alerts(desired) }] } });
        objects.push(labelled(desired, Kind::PrometheusRule, body, &monitoring.prometheus_rule.labels));
    }
    objects
}

fn labelled(
    desired: &Desired,
    kind: Kind,
    body: Value,
    labels: &std::collections::BTreeMap<String, String>,
) -> Object {
    let mut object = object(desired, Part::Cluster, kind, &desired.names.cluster, body);
    for (key, value) in labels {
        object.json["metadata"]["labels"][key] = json!(value);
    }
    object
}

/// By what Kubernetes itself measures, so that they hold whatever the members' metrics are called.
fn alerts(desired: &Desired) -> Value {
    let (cluster, namespace) = (&desired.names.cluster, &desired.names.namespace);
    let pods = |role: &str| {
        format!(
            "kube_pod_status_ready{{namespace=\"{namespace}\",pod=~\"{cluster}-{role}-.*\",condition=\"true\"}}"
        )
    };
    json!([
        {
            "alert": "GantryMemberNotReady",
            "expr": format!("{} == 0", pods("(broker|namesrv)")),
            "for": "5m",
            "labels": { "severity": "warning" },
            "annotations": { "summary": "{{ $labels.pod }} is not ready; see kubectl gantry explain" },
        },
        {
            "alert": "GantryNoNameServer",
            "expr": format!("sum({}) == 0", pods("namesrv")),
            "for": "1m",
            "labels": { "severity": "critical" },
            "annotations": { "summary": "no name server is ready: clients find no routes" },
        },
    ])
}
