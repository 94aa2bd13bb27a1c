//! The StatefulSet of the name servers.

use serde_json::{Value, json};

use super::container::{self, Container};
use super::pod::{self, Pod};
use super::{object, static_config};
use crate::desired::{Desired, HEALTH};
use crate::labels::Part;
use crate::object::{Kind, Object};
use crate::shape::Shape;

/// Long enough to leave: there is nothing to keep.
const GRACE_S: u64 = 30;

pub(super) fn build(desired: &Desired, shape: &Shape) -> Object {
    let template = template(desired);
    let headless = desired.names.name_servers_headless();
    let body =
        stateful_set(desired, Part::NameServers, shape.name_servers.replicas, &headless, template, None);
    object(desired, Part::NameServers, Kind::StatefulSet, &desired.names.name_servers(), body)
}

/// Returns what name servers' pods are made of; it depends on the manifest alone.
pub(crate) fn template(desired: &Desired) -> Value {
    let spec = &desired.spec().name_servers;
    let static_config = static_config::name_servers(desired).reference.name;
    let mut ports: Vec<(String, i32)> =
        desired.listeners().map(|(listener, port)| (format!("mq-{}", listener.name), port)).collect();
    ports.push(("health".to_owned(), HEALTH));
    let container = container::build(
        desired,
        &Container {
            component: "namesrv",
            image: desired.spec().image.overrides.namesrv.as_deref(),
            args: vec!["run".to_owned(), "--config=/etc/gantry/static/$(POD_NAME).properties".to_owned()],
            ports,
            mounts: vec![("static", "/etc/gantry/static"), ("data", "/data")],
            resources: &spec.resources,
        },
    );
    pod::build(
        desired,
        Pod {
            part: Part::NameServers,
            container,
            volumes: vec![
                json!({ "name": "static", "configMap": { "name": static_config } }),
                json!({ "name": "data", "emptyDir": {} }),
            ],
            grace_s: GRACE_S,
            host_network: false,
            scheduling: &spec.scheduling,
            template: spec.pod_template.as_ref(),
        },
    )
}

/// Returns a StatefulSet whose pods are replaced only by the planner's word, all started at once.
pub(super) fn stateful_set(
    desired: &Desired,
    part: Part,
    replicas: u32,
    service: &str,
    template: Value,
    claim: Option<Value>,
) -> Value {
    let mut body = json!({ "spec": {
        "replicas": replicas,
        "serviceName": service,
        "selector": { "matchLabels": desired.selector(part) },
        "podManagementPolicy": "Parallel",
        "updateStrategy": { "type": "OnDelete" },
        "revisionHistoryLimit": 3,
        "template": template,
    } });
    if let Some(claim) = claim {
        body["spec"]["persistentVolumeClaimRetentionPolicy"] =
            json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
        body["spec"]["volumeClaimTemplates"] = json!([claim]);
    }
    body
}
