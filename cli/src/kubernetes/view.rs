//! Everything that the API server says of one cluster, read once, and the facts in it. Only read; of secrets only that
//! they are there.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use planner::accepted;
use planner::facts::{
    Answer, ClaimFacts, ClusterFacts, Facts, NodeFacts, Observed, PodFacts, StorageClassFacts,
};
use planner::object::{Kind, ObjectRef};
use serde_json::Value;

use super::operator_settings::operator_settings;
use super::{Kubernetes, of_cluster};

/// A cluster as it is seen from outside: its members are not asked.
pub struct View {
    pub cluster: ClusterFacts,
    pub objects: BTreeMap<ObjectRef, Observed>,
    pub pods: Vec<Pod>,
    pub claims: Vec<PersistentVolumeClaim>,
    /// The last manifest that the operator accepted.
    pub accepted: Option<Value>,
    monitoring_kinds: bool,
    nodes: Answer<BTreeMap<String, NodeFacts>>,
    storage_classes: Answer<BTreeMap<String, StorageClassFacts>>,
}

impl View {
    /// Reads what belongs to a cluster.
    pub async fn read(kubernetes: &Kubernetes, json: &Value) -> anyhow::Result<View> {
        let cluster = ClusterFacts::read(json).context(
            "read the cluster's status: another version of the operator wrote it, or somebody by hand",
        )?;
        let name = cluster.name.clone();
        let mut objects = BTreeMap::new();
        let mut monitoring_kinds = false;
        for kind in Kind::ALL {
            let Some(children) = kubernetes.children(kind, &name).await? else { continue };
            monitoring_kinds |= kind == Kind::PodMonitor;
            for child in children {
                let child_name = child.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                let reference = ObjectRef::new(kind, child_name);
                objects.insert(reference, Observed::read(child, &cluster.uid));
            }
        }
        // It is among the children and none of them.
        let accepted =
            objects.remove(&accepted::reference(&name)).and_then(|kept| accepted::spec(&kept.json));
        let nodes: Option<Vec<Node>> = kubernetes.list_everywhere("nodes", &ListParams::default()).await?;
        let classes: Option<Vec<StorageClass>> =
            kubernetes.list_everywhere("storage classes", &ListParams::default()).await?;
        Ok(View {
            cluster,
            objects,
            pods: kubernetes.list("pods", &of_cluster(&name)).await?,
            claims: kubernetes.list("volume claims", &of_cluster(&name)).await?,
            accepted,
            monitoring_kinds,
            nodes: known(nodes, |node| node.metadata.name.clone(), NodeFacts::read),
            storage_classes: known(classes, |class| class.metadata.name.clone(), StorageClassFacts::read),
        })
    }

    /// Returns the facts; members' answers are not among them.
    pub fn facts(&self) -> Facts {
        let mut operator = operator_settings(&self.objects, &self.cluster.status);
        operator.monitoring_kinds = self.monitoring_kinds;
        Facts {
            operator,
            cluster: self.cluster.clone(),
            objects: self.objects.clone(),
            pods: self.pods.iter().map(PodFacts::read).collect(),
            claims: self.claims.iter().map(ClaimFacts::read).collect(),
            nodes: self.nodes.clone(),
            storage_classes: self.storage_classes.clone(),
            ..Facts::default()
        }
    }
}

fn known<K, F>(
    listed: Option<Vec<K>>,
    name: impl Fn(&K) -> Option<String>,
    read: impl Fn(&K) -> F,
) -> Answer<BTreeMap<String, F>> {
    match listed {
        Some(listed) => {
            Answer::Known(listed.iter().filter_map(|object| Some((name(object)?, read(object)))).collect())
        }
        None => Answer::Unknown,
    }
}
