//! What was last seen of everything that is watched, as small as planning allows. Nothing here knows where it comes
//! from.
//!
//! Objects are kept as the text of their JSON without managed fields: reading it again costs less than keeping it as a
//! tree. Pods, volume claims, nodes and storage classes are kept as facts.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::DynamicObject;
use parking_lot::{Mutex, RwLock};
use planner::facts::{ClaimFacts, NodeFacts, PodFacts, StorageClassFacts};
use planner::object::Kind;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Kubernetes' own note of what `kubectl apply` sent: as large as the object, of no use here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How many objects that were deleted are remembered of each kind: an answer to a write may come later than the news
/// that the object is gone.
const REMEMBERED_GONE: usize = 512;

/// Names a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClusterKey {
    pub namespace: String,
    pub name: String,
}

impl ClusterKey {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> ClusterKey {
        ClusterKey { namespace: namespace.into(), name: name.into() }
    }

    /// Returns the key of what belongs to no cluster.
    pub fn nobody() -> ClusterKey {
        ClusterKey::default()
    }
}

impl std::fmt::Display for ClusterKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// What is kept of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<F> {
    pub uid: String,
    pub resource_version: String,
    pub facts: F,
}

/// What planning needs of a kind of object.
pub trait Facts: Send + Sync + Sized + 'static {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be read.
    fn read(object: DynamicObject) -> Result<Self, String>;

    /// Whether planning could come to something else.
    fn differs(&self, other: &Self) -> bool;

    /// Whether it asks for something else: whoever writes its status does not.
    fn asks_otherwise(&self, other: &Self) -> bool {
        self.differs(other)
    }
}

impl<F: Facts> Entry<F> {
    /// Reads an object.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(object: DynamicObject) -> Result<Entry<F>, String> {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let resource_version = object.metadata.resource_version.clone().unwrap_or_default();
        Ok(Entry { uid, resource_version, facts: F::read(object)? })
    }
}

/// Objects by name.
type Named<F> = BTreeMap<String, Arc<Entry<F>>>;

/// All objects of one kind, by cluster and name.
#[derive(Debug)]
pub struct Shelf<F> {
    entries: RwLock<HashMap<ClusterKey, Named<F>>>,
    /// Uids of objects that went, and the version at which they did. One that was deleted never comes again; one that only
    /// lost its label has a later version when it gets it back.
    gone: Mutex<VecDeque<(String, String)>>,
}

impl<F> Default for Shelf<F> {
    fn default() -> Self {
        Shelf { entries: RwLock::default(), gone: Mutex::default() }
    }
}

impl<F: Facts> Shelf<F> {
    /// Keeps what was seen, unless something newer is there or it is gone by now, and returns whether planning could come
    /// to something else.
    pub fn put(&self, key: &ClusterKey, name: &str, entry: Entry<F>) -> bool {
        let mut entries = self.entries.write();
        let is_gone = |(uid, version): &(String, String)| {
            *uid == entry.uid && !is_older(version, &entry.resource_version)
        };
        if self.gone.lock().iter().any(is_gone) {
            return false;
        }
        // Its label may have been changed: it belongs to one cluster at a time.
        for (other, named) in entries.iter_mut() {
            if other.namespace == key.namespace
                && other != key
                && named.get(name).is_some_and(|known| known.uid == entry.uid)
            {
                named.remove(name);
            }
        }
        let named = entries.entry(key.clone()).or_default();
        let known = named.get(name).filter(|known| known.uid == entry.uid);
        if known.is_some_and(|known| is_older(&entry.resource_version, &known.resource_version)) {
            return false;
        }
        let changed = known.is_none_or(|known| known.facts.differs(&entry.facts));
        named.insert(name.to_owned(), Arc::new(entry));
        changed
    }

    /// Forgets the object of that uid and returns the cluster that it was of. `version` is that of its going; without one
    /// it never comes again.
    pub fn remove(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        version: Option<&str>,
    ) -> Option<ClusterKey> {
        let mut entries = self.entries.write();
        {
            let mut gone = self.gone.lock();
            if gone.len() == REMEMBERED_GONE {
                gone.pop_front();
            }
            gone.push_back((uid.to_owned(), version.unwrap_or_default().to_owned()));
        }
        let of = |named: &Named<F>| named.get(name).is_some_and(|known| known.uid == uid);
        let key = entries.iter().find(|(key, named)| key.namespace == namespace && of(named))?.0.clone();
        if let Some(named) = entries.get_mut(&key) {
            named.remove(name);
            if named.is_empty() {
                entries.remove(&key);
            }
        }
        Some(key)
    }

    /// Forgets everything in a namespace, or everywhere, that is not in a new list, and returns the clusters that lost
    /// something.
    pub fn retain(&self, namespace: Option<&str>, listed: &dyn Fn(&str, &str) -> bool) -> Vec<ClusterKey> {
        let mut lost = Vec::new();
        self.entries.write().retain(|key, named| {
            if namespace.is_some_and(|namespace| namespace != key.namespace) {
                return true;
            }
            let before = named.len();
            named.retain(|name, _| listed(&key.namespace, name));
            if named.len() < before {
                lost.push(key.clone());
            }
            !named.is_empty()
        });
        lost
    }

    /// Returns one object.
    pub fn get(&self, key: &ClusterKey, name: &str) -> Option<Arc<Entry<F>>> {
        self.entries.read().get(key)?.get(name).cloned()
    }

    /// Returns all objects of a cluster.
    pub fn of(&self, key: &ClusterKey) -> Named<F> {
        self.entries.read().get(key).cloned().unwrap_or_default()
    }

    /// Returns all clusters that have such an object.
    pub fn keys(&self) -> Vec<ClusterKey> {
        self.entries.read().keys().cloned().collect()
    }
}

/// Versions of one object are numbers that grow; should they ever not be, everything is new.
fn is_older(version: &str, than: &str) -> bool {
    matches!((version.parse::<u64>(), than.parse::<u64>()), (Ok(version), Ok(than)) if version < than)
}

/// Everything that is watched.
#[derive(Debug, Default)]
pub struct Caches {
    pub clusters: Arc<Shelf<Json>>,
    /// By the place of the kind in [`Kind::ALL`].
    pub children: [Arc<Shelf<Json>>; Kind::ALL.len()],
    pub pods: Arc<Shelf<PodEntry>>,
    pub claims: Arc<Shelf<ClaimFacts>>,
    pub nodes: Arc<Shelf<NodeFacts>>,
    pub storage_classes: Arc<Shelf<StorageClassFacts>>,
}

impl Caches {
    /// Returns the children of a kind.
    pub fn children_of(&self, kind: Kind) -> &Arc<Shelf<Json>> {
        let place = Kind::ALL.iter().position(|known| *known == kind);
        // Every kind is in the list of all kinds; a test of the planner says so.
        &self.children[place.unwrap_or_default()]
    }
}

/// An object as the text of its JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(Box<[u8]>);

impl Json {
    /// Returns it as a tree.
    pub fn tree(&self) -> Value {
        // It was written from one.
        serde_json::from_slice(&self.0).unwrap_or_default()
    }
}

impl Facts for Json {
    fn read(mut object: DynamicObject) -> Result<Json, String> {
        object.metadata.managed_fields = None;
        if let Some(annotations) = &mut object.metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
        let text = serde_json::to_vec(&object).map_err(|error| error.to_string())?;
        Ok(Json(text.into_boxed_slice()))
    }

    fn differs(&self, other: &Json) -> bool {
        self != other
    }

    fn asks_otherwise(&self, other: &Json) -> bool {
        let asked = |json: &Json| {
            let mut tree = json.tree();
            tree["status"] = Value::Null;
            tree["metadata"]["resourceVersion"] = Value::Null;
            tree
        };
        asked(self) != asked(other)
    }
}

/// A pod, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEntry {
    pub facts: PodFacts,
    pub ip: Option<IpAddr>,
    /// Ports of its containers by name.
    pub ports: BTreeMap<String, u16>,
}

impl Facts for PodEntry {
    fn read(object: DynamicObject) -> Result<PodEntry, String> {
        let pod: Pod = typed(object)?;
        let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let ports = containers.iter().flat_map(|container| container.ports.as_deref().unwrap_or_default());
        let ports = ports
            .filter_map(|port| Some((port.name.clone()?, u16::try_from(port.container_port).ok()?)))
            .collect();
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok());
        Ok(PodEntry { facts: PodFacts::read(&pod), ip, ports })
    }

    /// Its version changes with every word of the kubelet.
    fn differs(&self, other: &PodEntry) -> bool {
        let stripped = |pod: &PodEntry| PodFacts { resource_version: String::new(), ..pod.facts.clone() };
        (self.ip, &self.ports) != (other.ip, &other.ports) || stripped(self) != stripped(other)
    }
}

impl Facts for ClaimFacts {
    fn read(object: DynamicObject) -> Result<ClaimFacts, String> {
        Ok(ClaimFacts::read(&typed::<PersistentVolumeClaim>(object)?))
    }

    fn differs(&self, other: &ClaimFacts) -> bool {
        self != other
    }
}

impl Facts for NodeFacts {
    fn read(object: DynamicObject) -> Result<NodeFacts, String> {
        Ok(NodeFacts::read(&typed::<Node>(object)?))
    }

    fn differs(&self, other: &NodeFacts) -> bool {
        self != other
    }
}

impl Facts for StorageClassFacts {
    fn read(object: DynamicObject) -> Result<StorageClassFacts, String> {
        Ok(StorageClassFacts::read(&typed::<StorageClass>(object)?))
    }

    fn differs(&self, other: &StorageClassFacts) -> bool {
        self != other
    }
}

fn typed<K: DeserializeOwned>(object: DynamicObject) -> Result<K, String> {
    let json = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(uid: &str, version: &str, data: &str) -> DynamicObject {
        let json = json!({
            "metadata": {
                "name": "child", "namespace": "ns", "uid": uid, "resourceVersion": version,
                "managedFields": [{ "manager": "someone" }], "annotations": { LAST_APPLIED: "{}", "a": "b" },
            },
            "data": { "key": data },
        });
        serde_json::from_value(json).unwrap()
    }

    fn entry(uid: &str, version: &str, data: &str) -> Entry<Json> {
        Entry::read(object(uid, version, data)).unwrap()
    }

    #[test]
    fn a_late_view_does_not_replace_a_newer_one() {
        let (shelf, key) = (Shelf::<Json>::default(), ClusterKey::new("ns", "c"));
        assert!(shelf.put(&key, "child", entry("1", "9", "old")));
        assert!(shelf.put(&key, "child", entry("1", "10", "new")));
        assert!(!shelf.put(&key, "child", entry("1", "9", "old")));
        assert!(!shelf.put(&key, "child", entry("1", "10", "new")));
        assert_eq!(shelf.get(&key, "child").unwrap().facts.tree()["data"]["key"], "new");
        // Made again: versions of the one before say nothing.
        assert_eq!(shelf.remove("ns", "child", "0", None), None);
        assert!(shelf.put(&key, "child", entry("2", "8", "again")));
        assert_eq!(shelf.remove("ns", "child", "1", None), None);
        assert_eq!(shelf.remove("ns", "child", "2", None), Some(key.clone()));
        assert!(shelf.keys().is_empty());
        // An answer that comes after the news of its end.
        assert!(!shelf.put(&key, "child", entry("2", "9", "gone")));
        assert!(shelf.keys().is_empty());
    }

    #[test]
    fn a_child_that_gets_its_label_back_is_seen_again() {
        let (shelf, key) = (Shelf::<Json>::default(), ClusterKey::new("ns", "c"));
        shelf.put(&key, "child", entry("1", "7", ""));
        // For a watch of a label it goes when it loses the label.
        assert_eq!(shelf.remove("ns", "child", "1", Some("9")), Some(key.clone()));
        assert!(!shelf.put(&key, "child", entry("1", "8", "a late answer")));
        assert!(shelf.put(&key, "child", entry("1", "10", "")));
    }

    #[test]
    fn a_child_is_of_one_cluster_and_of_none_when_it_is_not_listed() {
        let (shelf, first, second) =
            (Shelf::<Json>::default(), ClusterKey::new("ns", "a"), ClusterKey::new("ns", "b"));
        shelf.put(&first, "child", entry("1", "1", ""));
        shelf.put(&second, "child", entry("1", "2", ""));
        assert!(shelf.of(&first).is_empty());
        assert_eq!(shelf.retain(Some("other"), &|_, _| false), []);
        assert_eq!(shelf.retain(Some("ns"), &|_, _| false), vec![second.clone()]);
        assert!(shelf.of(&second).is_empty());
    }

    #[test]
    fn what_nobody_plans_with_is_not_kept() {
        let kept = entry("1", "1", "x").facts.tree();
        assert_eq!(kept["metadata"]["annotations"], json!({ "a": "b" }));
        assert_eq!(kept["metadata"]["managedFields"], Value::Null);
    }

    #[test]
    fn a_pod_that_only_has_a_new_version_is_no_news() {
        let pod = |version: &str, ready: &str| {
            let json = json!({
                "metadata": { "name": "p", "resourceVersion": version },
                "spec": { "containers": [{ "name": "broker", "ports": [{ "name": "admin", "containerPort": 5558 }] }] },
                "status": { "podIP": "10.0.0.1", "conditions": [{ "type": "Ready", "status": ready }] },
            });
            PodEntry::read(serde_json::from_value(json).unwrap()).unwrap()
        };
        assert!(!pod("1", "True").differs(&pod("2", "True")));
        assert!(pod("1", "True").differs(&pod("1", "False")));
        assert_eq!(pod("1", "True").ports["admin"], 5558);
        assert_eq!(pod("1", "True").ip, Some("10.0.0.1".parse().unwrap()));
    }
}
