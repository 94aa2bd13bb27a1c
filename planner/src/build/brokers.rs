//! The StatefulSet of a broker group.

use manifest::cluster::{AccessMode, StorageType};
use manifest::units::parse_duration;
use serde_json::{Value, json};

use super::container::{self, Container};
use super::name_servers::stateful_set;
use super::pod::{self, Pod};
use super::static_config::{self, INTERNAL_FOLDER};
use super::{SECRET_KEYS, object};
use crate::desired::Desired;
use crate::labels::{CLUSTER_UID, Part};
use crate::names::DATA;
use crate::object::{Kind, Object};
use crate::shape::{GroupShape, VolumeShape};

/// Below the volume's root, which a file system may have things of its own in.
const STORE: &str = "/data/store";

pub(super) fn build(desired: &Desired, group: u32, shape: &GroupShape) -> Object {
    let spec = &desired.spec().brokers;
    let part = Part::Group(group);
    let template = template(desired, group);
    let claim = (spec.storage.kind == StorageType::PersistentVolumeClaim)
        .then(|| claim_template(desired, part, &shape.volume));
    let headless = desired.names.brokers_headless();
    let body = stateful_set(desired, part, shape.replicas, &headless, template, claim);
    object(desired, part, Kind::StatefulSet, &desired.names.group(group), body)
}

/// Returns what a group's pods are made of; it depends on the manifest alone.
pub(crate) fn template(desired: &Desired, group: u32) -> Value {
    let spec = &desired.spec().brokers;
    pod::build(
        desired,
        Pod {
            part: Part::Group(group),
            container: broker_container(desired, group),
            volumes: volumes(desired, group),
            grace_s: parse_duration(&spec.termination_grace_period).unwrap_or_default().as_secs(),
            host_network: desired.on_host_network().is_some(),
            scheduling: &spec.scheduling,
            template: spec.pod_template.as_ref(),
        },
    )
}

fn broker_container(desired: &Desired, group: u32) -> Value {
    let ports = desired.ports(group);
    let file = |folder: &str| format!("/etc/gantry/{folder}/$(POD_NAME).properties");
    container::build(
        desired,
        &Container {
            component: "broker",
            image: desired.spec().image.overrides.broker.as_deref(),
            args: vec![
                "run".to_owned(),
                format!("--config={}", file("static")),
                format!("--live={}", file("live")),
                format!("--store={STORE}"),
            ],
            ports: [
                ("remoting", ports.listen),
                ("fast", ports.listen - 2),
                ("ha", ports.ha),
                ("health", ports.health),
                ("admin", ports.admin),
            ]
            .map(|(name, port)| (name.to_owned(), port))
            .to_vec(),
            mounts: vec![
                (DATA, "/data"),
                ("static", "/etc/gantry/static"),
                ("live", "/etc/gantry/live"),
                ("internal", INTERNAL_FOLDER),
            ],
            resources: &desired.spec().brokers.resources,
        },
    )
}

/// Never by `subPath`: such mounts do not see changes.
fn volumes(desired: &Desired, group: u32) -> Vec<Value> {
    let static_config = static_config::group(desired, group).reference.name;
    let keys: Vec<Value> = SECRET_KEYS.iter().map(|key| json!({ "key": key, "path": key })).collect();
    let mut volumes = vec![
        json!({ "name": "static", "configMap": { "name": static_config } }),
        json!({ "name": "live", "configMap": { "name": desired.names.live_config(group) } }),
        json!({ "name": "internal", "secret": { "secretName": desired.names.internal_secret(), "items": keys } }),
    ];
    let storage = &desired.spec().brokers.storage;
    if storage.kind == StorageType::EmptyDir {
        let mut folder = json!({});
        if let Some(size) = &storage.size {
            folder["sizeLimit"] = json!(size);
        }
        volumes.push(json!({ "name": DATA, "emptyDir": folder }));
    }
    volumes
}

/// Only the size and the attributes may ever change, and only by making the StatefulSet again.
fn claim_template(desired: &Desired, part: Part, volume: &VolumeShape) -> Value {
    let storage = &desired.spec().brokers.storage;
    let access_mode = match storage.access_mode {
        AccessMode::ReadWriteOnce => "ReadWriteOnce",
        AccessMode::ReadWriteOncePod => "ReadWriteOncePod",
    };
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": DATA,
            "labels": desired.selector(part),
            "annotations": { CLUSTER_UID: desired.facts.cluster.uid },
        },
        "spec": {
            "accessModes": [access_mode],
            "resources": { "requests": { "storage": volume.size } },
        },
    });
    if let Some(class) = &storage.storage_class_name {
        claim["spec"]["storageClassName"] = json!(class);
    }
    if let Some(class) = &volume.attributes_class {
        claim["spec"]["volumeAttributesClassName"] = json!(class);
    }
    claim
}
