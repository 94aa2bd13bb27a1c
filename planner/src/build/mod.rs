//! Every object of a cluster, one file per object.
//!
//! Objects are written as the JSON that is applied: a test reads each into Kubernetes' own types and back, which finds
//! misspelt fields and wrong types.

use k8s_openapi::jiff::Timestamp;
use manifest::Validated;
use serde_json::{Value, json};

use crate::desired::Desired;
use crate::facts::Facts;
use crate::hash::hash;
use crate::labels::{INTENT_HASH, Part};
use crate::object::{Kind, Object, ObjectRef};
use crate::shape::Shape;

pub(crate) mod addresses;
mod broker_services;
pub(crate) mod brokers;
mod client_config;
mod container;
mod dashboards;
mod disruption_budgets;
pub(crate) mod endpoints;
pub(crate) mod live_config;
mod monitors;
mod name_server_services;
pub(crate) mod name_servers;
mod network_policies;
pub(crate) mod pod;
pub(crate) mod pod_template;
mod scheduling;
mod service;
mod service_account;
pub(crate) mod static_config;

/// Returns the objects that a new cluster of this manifest ends up with, as far as addresses are known. For people: what
/// is applied, and when, is the plan's.
pub fn objects(validated: &Validated, facts: &Facts, now: Timestamp) -> Vec<Object> {
    let desired = Desired::new(validated, facts, now);
    build(&desired, &Shape::fresh(&desired))
}

/// Returns all objects in the order in which they are made: what others need comes first.
pub(crate) fn build(desired: &Desired, shape: &Shape) -> Vec<Object> {
    let mut objects = vec![service_account::build(desired), internal_secret(desired)];
    objects.extend(name_server_services::build(desired, shape));
    objects.extend(broker_services::build(desired, shape));
    objects.push(static_config::name_servers(desired));
    objects.push(client_config::build(desired, shape));
    objects.extend(network_policies::build(desired, shape));
    objects.extend(disruption_budgets::build(desired, shape));
    objects.push(name_servers::build(desired, shape));
    for (index, group) in &shape.groups {
        objects.push(static_config::group(desired, *index));
        objects.push(live_config::build(desired, shape, *index, group));
        objects.push(brokers::build(desired, *index, group));
    }
    objects.extend(monitors::build(desired));
    objects.extend(dashboards::build(desired));
    objects
}

/// Returns what the internal secret is, but for its content: that is drawn once, by the step that makes it.
fn internal_secret(desired: &Desired) -> Object {
    object(
        desired,
        Part::Cluster,
        Kind::Secret,
        &desired.names.internal_secret(),
        json!({ "type": "Opaque" }),
    )
}

/// The keys of the internal secret.
pub(crate) const SECRET_KEYS: [&str; 1] = ["token"];

/// Returns a child of the cluster: the body, with everything that all children have.
fn object(desired: &Desired, part: Part, kind: Kind, name: &str, body: Value) -> Object {
    annotated(desired, part, kind, name, json!({}), body)
}

fn annotated(
    desired: &Desired,
    part: Part,
    kind: Kind,
    name: &str,
    annotations: Value,
    mut body: Value,
) -> Object {
    body["apiVersion"] = json!(kind.api_version());
    body["kind"] = json!(kind.as_str());
    body["metadata"] = json!({
        "name": name,
        "namespace": desired.names.namespace,
        "labels": desired.labels(part),
        "annotations": annotations,
        "ownerReferences": [{
            "apiVersion": manifest::API_VERSION,
            "kind": manifest::KIND,
            "name": desired.names.cluster,
            "uid": desired.facts.cluster.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    });
    body["metadata"]["annotations"][INTENT_HASH] = json!(hash(&body));
    Object { reference: ObjectRef::new(kind, name), json: body }
}
