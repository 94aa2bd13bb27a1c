//! The pod template of every role: account, security, scheduling, then the manifest's own template, then its hash.

use manifest::cluster::{Object as Json, Scheduling};
use serde_json::{Value, json};

use super::{pod_template, scheduling, service_account};
use crate::desired::Desired;
use crate::facts::PodFacts;
use crate::hash::hash;
use crate::labels::{self, Part, RESTART, TEMPLATE_HASH};
use crate::object::Kind;
use crate::seen::child;

/// The user and group that everything runs as.
const NOBODY: i64 = 65_532;

/// What differs between roles.
pub(super) struct Pod<'a> {
    pub(super) part: Part,
    pub(super) container: Value,
    pub(super) volumes: Vec<Value>,
    pub(super) grace_s: u64,
    pub(super) host_network: bool,
    pub(super) scheduling: &'a Scheduling,
    pub(super) template: Option<&'a Json>,
}

pub(super) fn build(desired: &Desired, pod: Pod) -> Value {
    let mut spec = json!({
        "serviceAccountName": service_account::name(desired),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": pod.grace_s,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [pod.container],
        "volumes": pod.volumes,
    });
    let secrets = pull_secrets(desired);
    if !secrets.is_empty() {
        spec["imagePullSecrets"] = json!(secrets);
    }
    if pod.host_network {
        spec["hostNetwork"] = json!(true);
        spec["dnsPolicy"] = json!("ClusterFirstWithHostNet");
    }
    scheduling::add(desired, pod.part, pod.scheduling, &mut spec);
    let mut template = json!({ "metadata": { "labels": desired.labels(pod.part) }, "spec": spec });
    if let Some(request) = request_to_restart(desired, pod.part) {
        template["metadata"]["annotations"][RESTART] = json!(request);
    }
    if let Some(patch) = pod.template {
        // One that cannot be merged was refused before.
        template = pod_template::merge(&template, patch).unwrap_or(template);
    }
    let hash = hash(&template);
    template["metadata"]["annotations"][TEMPLATE_HASH] = json!(hash);
    template
}

/// A request is done when pods have it, and taking it away asks for nothing: they keep what they were made with. A
/// StatefulSet that is made anew, for larger volumes, has it from the pod that was made last.
fn request_to_restart<'a>(desired: &Desired<'a>, part: Part) -> Option<&'a str> {
    let facts = desired.facts;
    if let Some(asked) = facts.cluster.annotations.get(RESTART) {
        return Some(asked);
    }
    let set = match part {
        Part::Group(group) => desired.names.group(group),
        _ => desired.names.name_servers(),
    };
    if let Some(set) = child(desired, Kind::StatefulSet, &set) {
        return set.json.pointer("/spec/template/metadata/annotations")?.get(RESTART)?.as_str();
    }
    let selector = desired.selector(part);
    let of_part = |pod: &&PodFacts| selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value));
    let last = facts.pods.iter().filter(of_part).max_by_key(|pod| pod.created)?;
    last.annotations.get(RESTART).map(String::as_str)
}

/// Returns the hash of a StatefulSet's template, which its pods carry too.
pub(crate) fn template_hash(set: &Value) -> Option<&str> {
    set.pointer("/spec/template/metadata/annotations")?.get(labels::TEMPLATE_HASH)?.as_str()
}

fn pull_secrets(desired: &Desired) -> Vec<Value> {
    let named = &desired.spec().image.pull_secrets;
    match named.is_empty() {
        false => named.iter().map(|secret| json!({ "name": secret.name })).collect(),
        true => desired.facts.operator.pull_secrets.iter().map(|name| json!({ "name": name })).collect(),
    }
}
