//! From caches, or from the API server where caches could be old, and from the members themselves, to the facts that
//! plans are made from. Nothing is decided here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::ByteString;
use kube::Client;
use kube::api::{ApiResource, DynamicObject, ListParams};
use manifest::cluster::status::GroupStatus;
use planner::accepted;
use planner::facts::{
    Answer, ClaimFacts, ClusterFacts, Facts, NodeFacts, Observed, OperatorSettings, StorageClassFacts,
};
use planner::labels::{CLUSTER, COMPONENT, Part};
use planner::names::Names;
use planner::object::{Kind, ObjectRef};
use serde_json::Value;

use crate::api::{self, REQUEST_TIMEOUT};
use crate::caches::{self, Caches, ClusterKey, Entry, Json, PodEntry};
use crate::failure::Failure;
use crate::members::{AdminPort, Answers, Group, Groups, Master, Members, Questions, Token};

/// Names of ports in pods.
const ADMIN: &str = "admin";
const REMOTING: &str = "remoting";
const NAME_SERVER: &str = "mq-internal";

/// Looks at clusters.
pub struct Observer {
    pub client: Client,
    pub caches: Arc<Caches>,
    pub members: Arc<dyn Members>,
    pub settings: OperatorSettings,
    pub nodes: bool,
    pub storage: bool,
}

/// Who a cluster's members are and where they are reached.
pub struct Addresses {
    pub cluster: ClusterFacts,
    token: Option<Token>,
    pods: BTreeMap<String, Arc<Entry<PodEntry>>>,
}

/// Everything the API server says of a cluster.
pub struct View {
    /// Its object as it is.
    pub json: Value,
    pub addresses: Addresses,
    /// Moved out by [`Observer::facts`].
    pub objects: BTreeMap<ObjectRef, Observed>,
    /// Where the last manifest is kept that was accepted.
    pub kept: Option<Observed>,
    claims: Vec<ClaimFacts>,
    nodes: Answer<BTreeMap<String, NodeFacts>>,
    storage_classes: Answer<BTreeMap<String, StorageClassFacts>>,
}

impl Observer {
    /// Returns who can be asked by the caches, if they know the cluster: little beside [`Observer::cached`], for members
    /// may take their time.
    ///
    /// # Errors
    /// Its status cannot be read.
    pub fn addresses(&self, key: &ClusterKey) -> Result<Option<Addresses>, Failure> {
        let Some(entry) = self.caches.clusters.get(key, &key.name) else { return Ok(None) };
        let cluster = cluster_facts(&entry.facts.tree())?;
        let mut addresses = Addresses { cluster, token: None, pods: self.caches.pods.of(key) };
        let secret = self.caches.children_of(Kind::Secret).get(key, &addresses.names().internal_secret());
        if let Some(secret) = secret {
            addresses.learn(&Observed::read(secret.facts.tree(), &addresses.cluster.uid));
        }
        Ok(Some(addresses))
    }

    /// Returns what the caches say, if they know the cluster.
    ///
    /// # Errors
    /// Its status cannot be read.
    pub fn cached(&self, key: &ClusterKey) -> Result<Option<View>, Failure> {
        let Some(entry) = self.caches.clusters.get(key, &key.name) else { return Ok(None) };
        let mut view = self.view(entry.facts.tree())?;
        view.addresses.pods = self.caches.pods.of(key);
        for kind in Kind::ALL {
            for (name, child) in self.caches.children_of(kind).of(key) {
                view.add_child(kind, name, child.facts.tree());
            }
        }
        view.claims = self.caches.claims.of(key).into_values().map(|claim| claim.facts.clone()).collect();
        Ok(Some(view))
    }

    /// Returns what the API server says now.
    ///
    /// # Errors
    /// It did not answer, or the cluster's status cannot be read.
    pub async fn live(&self, key: &ClusterKey) -> Result<Option<View>, Failure> {
        let clusters = api::objects(&self.client, &api::clusters(), Some(&key.namespace));
        let found = Failure::within(REQUEST_TIMEOUT, "read the cluster", clusters.get_opt(&key.name)).await?;
        let Some(cluster) = found else { return Ok(None) };
        let read =
            |object| Entry::<Json>::read(object).map(|entry| entry.facts.tree()).map_err(Failure::Unreadable);
        let mut view = self.view(read(cluster)?)?;
        for kind in api::kinds(self.settings.monitoring_kinds) {
            let resource = api::resource(kind);
            for object in self.list(key, &resource).await? {
                let name = object.metadata.name.clone().unwrap_or_default();
                view.add_child(kind, name, read(api::typed(object, &resource))?);
            }
        }
        for object in self.list(key, &api::pods()).await? {
            let name = object.metadata.name.clone().unwrap_or_default();
            view.addresses.pods.insert(name, Arc::new(Entry::read(object).map_err(Failure::Unreadable)?));
        }
        for object in self.list(key, &api::claims()).await? {
            let claim = <ClaimFacts as caches::Facts>::read(object).map_err(Failure::Unreadable)?;
            view.claims.push(claim);
        }
        Ok(Some(view))
    }

    async fn list(&self, key: &ClusterKey, resource: &ApiResource) -> Result<Vec<DynamicObject>, Failure> {
        let objects = api::objects(&self.client, resource, Some(&key.namespace));
        let params = ListParams::default().labels(&format!("{CLUSTER}={}", key.name));
        let what = format!("list {}", resource.plural);
        Ok(Failure::within(REQUEST_TIMEOUT, &what, objects.list(&params)).await?.items)
    }

    /// Returns one child as it is now, whoever it is of.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn child(&self, namespace: &str, reference: &ObjectRef) -> Result<Option<Value>, Failure> {
        let resource = api::resource(reference.kind);
        let objects = api::objects(&self.client, &resource, Some(namespace));
        let what = format!("read {reference}");
        let found = Failure::within(REQUEST_TIMEOUT, &what, objects.get_opt(&reference.name)).await?;
        let Some(object) = found else { return Ok(None) };
        let read = Entry::<Json>::read(api::typed(object, &resource)).map_err(Failure::Unreadable)?;
        Ok(Some(read.facts.tree()))
    }

    fn view(&self, json: Value) -> Result<View, Failure> {
        let nobody = ClusterKey::nobody();
        let nodes =
            || self.caches.nodes.of(&nobody).into_iter().map(|(name, node)| (name, node.facts.clone()));
        let classes =
            || self.caches.storage_classes.of(&nobody).into_iter().map(|(name, class)| (name, class.facts));
        Ok(View {
            addresses: Addresses { cluster: cluster_facts(&json)?, token: None, pods: BTreeMap::new() },
            json,
            objects: BTreeMap::new(),
            kept: None,
            claims: Vec::new(),
            nodes: if self.nodes { Answer::Known(nodes().collect()) } else { Answer::Unknown },
            storage_classes: if self.storage { Answer::Known(classes().collect()) } else { Answer::Unknown },
        })
    }

    /// Returns everything a plan is made from; the children are moved out of the view.
    pub fn facts(&self, view: &mut View, answers: Answers, may_roll: bool) -> Facts {
        let Addresses { cluster, pods, .. } = &view.addresses;
        Facts {
            operator: OperatorSettings { may_roll, ..self.settings.clone() },
            cluster: cluster.clone(),
            objects: std::mem::take(&mut view.objects),
            pods: pods.values().map(|pod| pod.facts.facts.clone()).collect(),
            claims: std::mem::take(&mut view.claims),
            members: answers.members,
            storage_classes: std::mem::take(&mut view.storage_classes),
            nodes: std::mem::take(&mut view.nodes),
            drains: answers.drains,
            copies: answers.copies,
        }
    }
}

impl View {
    /// Adds a child under its name.
    pub fn add_child(&mut self, kind: Kind, name: String, json: Value) {
        let observed = Observed::read(json, &self.addresses.cluster.uid);
        let reference = ObjectRef { kind, name };
        if reference == accepted::reference(&self.addresses.cluster.name) {
            self.kept = Some(observed);
            return;
        }
        if kind == Kind::Secret && reference.name == self.addresses.names().internal_secret() {
            self.addresses.learn(&observed);
        }
        self.objects.insert(reference, observed);
    }

    /// Whether a child is known.
    pub fn has(&self, reference: &ObjectRef) -> bool {
        self.objects.contains_key(reference)
            || (self.kept.is_some() && *reference == accepted::reference(&self.addresses.cluster.name))
    }

    /// Returns the last manifest that was accepted, if it is known.
    pub fn accepted(&self) -> Option<Value> {
        accepted::spec(&self.kept.as_ref().filter(|kept| !kept.foreign)?.json)
    }
}

impl Addresses {
    fn learn(&mut self, secret: &Observed) {
        self.token = if secret.foreign { None } else { token(&secret.json) };
    }

    /// Returns what there is to ask.
    pub fn questions(&self) -> Questions {
        let brokers = self.pods_of(Part::Brokers).map(|pod| (pod.clone(), self.admin_port(pod)));
        Questions::of(brokers.collect(), &self.groups())
    }

    /// Returns where groups are reached.
    pub fn groups(&self) -> Groups {
        let names = self.names();
        let group = |status: &GroupStatus| {
            let index = u32::try_from(status.index).ok()?;
            let (pod, name) = (names.broker(index, 0), status.name.clone());
            let address = self.address(&pod, REMOTING).map(|address| address.to_string());
            let facts = self.pods.get(&pod).map(|pod| &pod.facts.facts);
            Some(Group {
                index,
                state: status.state.clone(),
                master: address.map(|address| Master { name, address }),
                master_is_ready: facts.is_some_and(|pod| pod.ready && !pod.terminating),
            })
        };
        let name_servers = self.pods_of(Part::NameServers).filter_map(|pod| self.address(pod, NAME_SERVER));
        Groups {
            cluster: format!("{}/{}", self.cluster.namespace, self.cluster.name),
            groups: self.cluster.status.brokers.group_statuses.iter().filter_map(group).collect(),
            name_servers: name_servers.map(|address| address.to_string()).collect(),
        }
    }

    /// Returns a pod's uid, if it is there.
    pub fn pod_uid(&self, pod: &str) -> Option<String> {
        Some(self.pods.get(pod)?.uid.clone())
    }

    /// Returns where a broker is asked and told, as far as known.
    pub fn admin_port(&self, pod: &str) -> Option<AdminPort> {
        Some(AdminPort { address: self.address(pod, ADMIN)?, token: self.token.clone()? })
    }

    fn names(&self) -> Names {
        Names {
            cluster: self.cluster.name.clone(),
            namespace: self.cluster.namespace.clone(),
            // Addresses are those of pods: no name is looked up.
            domain: String::new(),
        }
    }

    fn pods_of(&self, part: Part) -> impl Iterator<Item = &String> {
        let is_of = move |pod: &PodEntry| {
            pod.facts.labels.get(COMPONENT).is_some_and(|component| component == part.component())
        };
        self.pods.iter().filter(move |(_, pod)| is_of(&pod.facts)).map(|(name, _)| name)
    }

    fn address(&self, pod: &str, port: &str) -> Option<SocketAddr> {
        let pod = &self.pods.get(pod)?.facts;
        let ip: IpAddr = pod.ip?;
        Some(SocketAddr::new(ip, *pod.ports.get(port)?))
    }
}

fn token(secret: &Value) -> Option<Token> {
    let text: ByteString = serde_json::from_value(secret.pointer("/data/token")?.clone()).ok()?;
    String::from_utf8(text.0).ok().map(Token)
}

fn cluster_facts(json: &Value) -> Result<ClusterFacts, Failure> {
    ClusterFacts::read(json).map_err(|error| {
        let name = json.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        Failure::Unreadable(format!(
            "status of {name}: {error}; was it written by a newer operator, or by hand?"
        ))
    })
}
