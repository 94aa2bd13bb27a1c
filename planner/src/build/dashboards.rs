//! The dashboard for Grafana, whose sidecar loads it from a ConfigMap with the label that it looks for. It is the
//! project's one dashboard; only what tells it from that of another cluster is set here.

use serde_json::{Value, json};

use super::object;
use crate::desired::Desired;
use crate::hash::hash8;
use crate::labels::Part;
use crate::object::{Kind, Object};

const DASHBOARD: &str = include_str!("../../../deploy/dashboards/gantry.json");
/// What Grafana's sidecar looks for, if nobody told it otherwise.
const LABEL: &str = "grafana_dashboard";

pub(super) fn build(desired: &Desired) -> Option<Object> {
    if !desired.spec().monitoring.dashboards.enabled {
        return None;
    }
    let (cluster, namespace) = (&desired.names.cluster, &desired.names.namespace);
    // The sidecar of a whole Kubernetes puts the files of all namespaces into one folder.
    let file = format!("gantry-{namespace}-{cluster}.json");
    let body = json!({ "data": { file: dashboard(cluster, namespace) } });
    let mut object = object(desired, Part::Cluster, Kind::ConfigMap, &desired.names.dashboards(), body);
    object.json["metadata"]["labels"][LABEL] = json!("1");
    Some(object)
}

/// Returns the dashboard as one of this cluster: Grafana takes none of two with one uid, and shows what is chosen first.
fn dashboard(cluster: &str, namespace: &str) -> String {
    let mut dashboard: Value = serde_json::from_str(DASHBOARD).expect("a test reads the file");
    dashboard["uid"] = json!(format!("gantry-{}", hash8(&json!([namespace, cluster]))));
    dashboard["title"] = json!(format!("Gantry cluster {namespace}/{cluster}"));
    for variable in dashboard["templating"]["list"].as_array_mut().into_iter().flatten() {
        let chosen = match variable["name"].as_str() {
            Some("namespace") => namespace,
            Some("cluster") => cluster,
            _ => continue,
        };
        variable["current"] = json!({ "text": chosen, "value": chosen });
    }
    dashboard.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_of_a_cluster_is_the_projects_with_its_own_name_and_choice() {
        let made = dashboard("mq", "ns");
        let mut made: Value = serde_json::from_str(&made).unwrap();
        let variables = made["templating"]["list"].as_array_mut().unwrap();
        let chosen: Vec<Value> = variables
            .iter_mut()
            .map(|variable| variable.as_object_mut().unwrap().remove("current").into())
            .collect();
        assert_eq!(
            chosen,
            [json!(null), json!({ "text": "ns", "value": "ns" }), json!({ "text": "mq", "value": "mq" })]
        );
        let uid = made["uid"].take();
        assert!(uid.as_str().unwrap().len() <= 40 && made["title"] == "Gantry cluster ns/mq");
        let mut project: Value = serde_json::from_str(DASHBOARD).unwrap();
        project["uid"].take();
        project["title"] = made["title"].clone();
        assert_eq!(made, project);
        assert!(!dashboard("mq", "other").contains(uid.as_str().unwrap()));
    }
}
