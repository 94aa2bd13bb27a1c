//! Facts as they stand in Kubernetes' own objects. Fetching those is the operator's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::facts::{ClaimFacts, ClusterFacts, NodeFacts, Observed, PodFacts, StorageClassFacts};
use crate::names::DATA;

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const ZONE: &str = "topology.kubernetes.io/zone";
/// What containers wait for in the usual course of a start.
const USUAL_WAITS: [&str; 2] = ["ContainerCreating", "PodInitializing"];

impl ClusterFacts {
    /// Reads the cluster's own object.
    ///
    /// # Errors
    /// Its status is not what this version knows: a newer operator wrote it, or somebody by hand.
    pub fn read(json: &Value) -> Result<ClusterFacts, serde_json::Error> {
        let text = |path: &str| json.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let status = json.get("status").filter(|status| !status.is_null());
        let list = json.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
        let annotations =
            json.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten();
        Ok(ClusterFacts {
            name: text("/metadata/name"),
            namespace: text("/metadata/namespace"),
            uid: text("/metadata/uid"),
            resource_version: text("/metadata/resourceVersion"),
            generation: json.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
            annotations: annotations
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            finalizers: list.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            deleting: json.pointer("/metadata/deletionTimestamp").is_some(),
            status: status
                .map(|status| serde_json::from_value(status.clone()))
                .transpose()?
                .unwrap_or_default(),
        })
    }
}

impl Observed {
    /// Reads a child; one whose controller is not the cluster of that uid is foreign.
    pub fn read(json: Value, cluster_uid: &str) -> Observed {
        let text = |path: &str| json.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let owners = json.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let ours = |owner: &Value| owner["controller"] == true && owner["uid"] == cluster_uid;
        Observed {
            uid: text("/metadata/uid").unwrap_or_default(),
            resource_version: text("/metadata/resourceVersion").unwrap_or_default(),
            created: text("/metadata/creationTimestamp").and_then(|time| time.parse().ok()),
            deleting: text("/metadata/deletionTimestamp").is_some(),
            foreign: !owners.into_iter().flatten().any(ours),
            json,
        }
    }
}

impl PodFacts {
    /// Reads a pod.
    pub fn read(pod: &Pod) -> PodFacts {
        let metadata = &pod.metadata;
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let conditions = || status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let ready = conditions().find(|condition| condition.type_ == "Ready");
        let volumes = spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
        let containers = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
        let scheduled = conditions().find(|condition| condition.type_ == "PodScheduled");
        let unschedulable = scheduled.filter(|condition| condition.status == "False");
        PodFacts {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            labels: metadata.labels.clone().unwrap_or_default().into_iter().collect(),
            annotations: metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
            image: spec.and_then(|spec| spec.containers.first()?.image.clone()).unwrap_or_default(),
            config_maps: volumes
                .filter_map(|volume| volume.config_map.as_ref().map(|config| config.name.clone()))
                .collect(),
            node: spec.and_then(|spec| spec.node_name.clone()),
            host_ip: status.and_then(|status| status.host_ip.clone()),
            ready: ready.is_some_and(|condition| condition.status == "True"),
            ready_since: ready.and_then(|condition| Some(condition.last_transition_time.as_ref()?.0)),
            terminating: metadata.deletion_timestamp.is_some(),
            trouble: containers
                .filter_map(waits_for)
                .next()
                .or_else(|| unschedulable.and_then(|condition| condition.reason.clone())),
        }
    }

    /// Returns the pod of this name that a StatefulSet makes, as far as its template says: without ids, a node or a state.
    pub fn of_template(set: &Value, name: &str) -> PodFacts {
        let template = &set["spec"]["template"];
        let volumes = template["spec"]["volumes"].as_array().into_iter().flatten();
        PodFacts {
            name: name.to_owned(),
            labels: texts(&template["metadata"]["labels"]),
            annotations: texts(&template["metadata"]["annotations"]),
            image: template["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned(),
            config_maps: volumes
                .filter_map(|volume| volume["configMap"]["name"].as_str().map(str::to_owned))
                .collect(),
            ..PodFacts::default()
        }
    }
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(map.clone()).unwrap_or_default()
}

/// Returns why a container does not run, unless it is about to.
fn waits_for(container: &ContainerStatus) -> Option<String> {
    let reason = container.state.as_ref()?.waiting.as_ref()?.reason.clone()?;
    (!USUAL_WAITS.contains(&reason.as_str())).then_some(reason)
}

impl ClaimFacts {
    /// Reads a volume claim.
    pub fn read(claim: &PersistentVolumeClaim) -> ClaimFacts {
        let metadata = &claim.metadata;
        let spec = claim.spec.as_ref();
        let status = claim.status.as_ref();
        let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
        let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        ClaimFacts {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default().into_iter().collect(),
            annotations: metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
            requested: requests.and_then(|all| Some(all.get("storage")?.0.clone())).unwrap_or_default(),
            capacity: status.and_then(|status| Some(status.capacity.as_ref()?.get("storage")?.0.clone())),
            storage_class: spec.and_then(|spec| spec.storage_class_name.clone()),
            attributes_class: spec.and_then(|spec| spec.volume_attributes_class_name.clone()),
            lost: status.and_then(|status| status.phase.as_deref()) == Some("Lost"),
            file_system_resize_pending: conditions
                .into_iter()
                .find(|condition| condition.type_ == "FileSystemResizePending" && condition.status == "True")
                .map(|condition| {
                    condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
                }),
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }

    /// Returns the claim that a StatefulSet makes for a pod, with a volume as large as asked for, without an id; `None` when
    /// it makes none.
    pub fn of_template(set: &Value, pod: &str) -> Option<ClaimFacts> {
        let template = set.pointer("/spec/volumeClaimTemplates/0")?;
        let text = |path: &str| template.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let size = text("/spec/resources/requests/storage").unwrap_or_default();
        Some(ClaimFacts {
            name: format!("{DATA}-{pod}"),
            labels: texts(&template["metadata"]["labels"]),
            annotations: texts(&template["metadata"]["annotations"]),
            capacity: Some(size.clone()),
            requested: size,
            storage_class: text("/spec/storageClassName"),
            attributes_class: text("/spec/volumeAttributesClassName"),
            ..ClaimFacts::default()
        })
    }
}

impl StorageClassFacts {
    /// Reads a storage class.
    pub fn read(class: &StorageClass) -> StorageClassFacts {
        let annotations = class.metadata.annotations.as_ref();
        StorageClassFacts {
            can_expand: class.allow_volume_expansion.unwrap_or(false),
            is_default: annotations.and_then(|all| all.get(DEFAULT_CLASS)).is_some_and(|text| text == "true"),
        }
    }
}

impl NodeFacts {
    /// Reads a node.
    pub fn read(node: &Node) -> NodeFacts {
        let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
        let address = |kind: &str| {
            let found = addresses.into_iter().flatten().find(|address| address.type_ == kind)?;
            Some(found.address.clone())
        };
        NodeFacts {
            external_ip: address("ExternalIP"),
            internal_ip: address("InternalIP"),
            zone: node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE).cloned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_child_of_another_cluster_is_foreign() {
        let child = |controller: bool| {
            json!({ "metadata": {
                "uid": "u", "resourceVersion": "7", "creationTimestamp": "2030-01-01T00:00:00Z",
                "ownerReferences": [{ "uid": "mine", "controller": controller }],
            } })
        };
        let read = Observed::read(child(true), "mine");
        assert_eq!((read.uid.as_str(), read.resource_version.as_str(), read.foreign), ("u", "7", false));
        assert!(read.created.is_some() && !read.deleting);
        assert!(Observed::read(child(true), "other").foreign);
        assert!(Observed::read(child(false), "mine").foreign);
    }

    #[test]
    fn a_pod_says_why_it_does_not_run() {
        let pod = |status: Value| -> PodFacts {
            let pod = json!({
                "metadata": { "name": "p", "uid": "u", "resourceVersion": "1" },
                "spec": {
                    "containers": [{ "name": "broker", "image": "x:1" }],
                    "volumes": [{ "name": "static", "configMap": { "name": "c" } }],
                    "nodeName": "n",
                },
                "status": status,
            });
            PodFacts::read(&serde_json::from_value(pod).unwrap())
        };
        let waiting = |reason: &str| {
            json!({ "containerStatuses": [{
                "name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": reason } },
            }] })
        };
        let unschedulable = json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] });
        let cases = [
            (waiting("ContainerCreating"), None),
            (waiting("CrashLoopBackOff"), Some("CrashLoopBackOff")),
            (unschedulable, Some("Unschedulable")),
        ];
        for (status, trouble) in cases {
            assert_eq!(pod(status).trouble.as_deref(), trouble);
        }
        let ready = pod(json!({ "conditions": [
            { "type": "Ready", "status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z" },
        ] }));
        assert!(ready.ready && ready.ready_since.is_some());
        assert_eq!((ready.image.as_str(), ready.config_maps.contains("c")), ("x:1", true));
    }
}
