//! What the main container of every role has in common: image, environment, probes, and that it may do nothing.

use manifest::cluster::{PullPolicy, Resources};
use serde_json::{Value, json};

use crate::desired::Desired;

/// What differs between roles.
pub(super) struct Container<'a> {
    /// `broker` or `namesrv`.
    pub(super) component: &'a str,
    /// A full reference instead of prefix and version.
    pub(super) image: Option<&'a str>,
    pub(super) args: Vec<String>,
    /// Name and number.
    pub(super) ports: Vec<(String, i32)>,
    /// Name and folder.
    pub(super) mounts: Vec<(&'a str, &'a str)>,
    pub(super) resources: &'a Resources,
}

pub(super) fn build(desired: &Desired, container: &Container) -> Value {
    let pull_policy = match desired.spec().image.pull_policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    };
    let ports = container.ports.iter();
    let mounts = container.mounts.iter();
    let mut json = json!({
        "name": container.component,
        "image": image(desired, container),
        "imagePullPolicy": pull_policy,
        "args": container.args,
        "env": [
            from_pod("POD_NAME", "metadata.name"),
            from_pod("POD_NAMESPACE", "metadata.namespace"),
            from_pod("POD_UID", "metadata.uid"),
            from_pod("POD_IP", "status.podIP"),
            from_pod("NODE_NAME", "spec.nodeName"),
        ],
        "ports": ports
            .map(|(name, port)| json!({ "name": name, "containerPort": port, "protocol": "TCP" }))
            .collect::<Vec<_>>(),
        "startupProbe": probe("/startupz", 2, 30),
        "livenessProbe": probe("/livez", 10, 3),
        "readinessProbe": probe("/readyz", 2, 2),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": mounts
            .map(|(name, folder)| json!({ "name": name, "mountPath": folder }))
            .collect::<Vec<_>>(),
    });
    let Resources { requests, limits } = container.resources;
    for (name, amounts) in [("requests", requests), ("limits", limits)] {
        if !amounts.is_empty() {
            json["resources"][name] = json!(amounts);
        }
    }
    json
}

fn image(desired: &Desired, container: &Container) -> String {
    if let Some(image) = container.image {
        return image.to_owned();
    }
    let prefix = desired.spec().image.prefix.as_ref().unwrap_or(&desired.facts.operator.image_prefix);
    // A tag has no place for `+build`.
    let tag = desired.effective.version.replace('+', "_");
    format!("{prefix}gantry-{}:{tag}", container.component)
}

fn from_pod(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } } })
}

fn probe(path: &str, period_s: i32, failures: i32) -> Value {
    json!({
        "httpGet": { "path": path, "port": "health", "scheme": "HTTP" },
        "periodSeconds": period_s,
        "timeoutSeconds": 1,
        "failureThreshold": failures,
    })
}
