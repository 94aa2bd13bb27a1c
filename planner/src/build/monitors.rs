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

/// For how long a slave may not have all of its master's messages: a new one copies them, one that restarts catches up.
const OUT_OF_SYNC: &str = "15m";
/// How far behind a slave is out of sync.
const LAG_SECONDS: u32 = 60;

/// By what kube-state-metrics says of pods, and by what brokers say of themselves.
fn alerts(desired: &Desired) -> Value {
    let (cluster, namespace) = (&desired.names.cluster, &desired.names.namespace);
    let (name_servers, brokers) =
        (format!("{cluster}-namesrv-[0-9]+"), format!("{cluster}-broker-[0-9]+-[0-9]+"));
    let ready = |pods: &str| {
        format!("kube_pod_status_ready{{namespace=\"{namespace}\",pod=~\"{pods}\",condition=\"true\"}}")
    };
    let of_brokers =
        |metric: &str| format!("gantry_broker_{metric}{{namespace=\"{namespace}\",pod=~\"{brokers}\"}}");
    let full = desired.spec().brokers.storage.disk_full_percent;
    let mut alerts = vec![
        Alert {
            name: "GantryMemberNotReady",
            severity: "warning",
            after: "5m",
            expression: format!("{} == 0", ready(&format!("{name_servers}|{brokers}"))),
            summary: "{{ $labels.pod }} is not ready; see kubectl gantry explain",
        },
        Alert {
            name: "GantryMessagesRefused",
            severity: "critical",
            after: "1m",
            expression: format!("{} == 1", of_brokers("writes_refused")),
            summary: "the disk of {{ $labels.pod }} is so full that it refuses messages",
        },
        Alert {
            name: "GantryDiskNearlyFull",
            severity: "warning",
            after: "0s",
            // At this limit each look of the broker makes a little room: it goes up and down.
            expression: format!("max_over_time({}[15m]) >= {full}", of_brokers("disk_used_percent")),
            summary: "the disk of {{ $labels.pod }} is {{ $value }} percent full: its oldest messages go before their time",
        },
        Alert {
            name: "GantrySlaveOutOfSync",
            severity: "warning",
            after: OUT_OF_SYNC,
            expression: format!(
                "{} == 0 or {} > {LAG_SECONDS}",
                of_brokers("slave_connected"),
                of_brokers("slave_lag_seconds")
            ),
            summary: "{{ $labels.pod }} does not have all of its master's messages; see kubectl gantry status",
        },
    ];
    // A sum of no pods is nothing and would be no alert.
    let summary = format!("no name server of {namespace}/{cluster} is ready: clients find no routes");
    if !desired.spec().stopped {
        alerts.push(Alert {
            name: "GantryNoNameServer",
            severity: "critical",
            after: "1m",
            expression: format!("(sum({}) or vector(0)) == 0", ready(&name_servers)),
            summary: &summary,
        });
    }
    alerts.into_iter().map(Alert::json).collect()
}

struct Alert<'a> {
    name: &'a str,
    severity: &'a str,
    /// For how long the expression must hold.
    after: &'a str,
    expression: String,
    summary: &'a str,
}

impl Alert<'_> {
    fn json(self) -> Value {
        json!({
            "alert": self.name,
            "expr": self.expression,
            "for": self.after,
            "labels": { "severity": self.severity },
            "annotations": { "summary": self.summary },
        })
    }
}
