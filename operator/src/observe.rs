//! From caches, or from the API server where caches could be old, and from the members themselves, to the facts that
//! plans are made from. Nothing is decided here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use kube::Client;
use kube::api::{ApiResource, DynamicObject, ListParams};
use planner::accepted;
use planner::facts::{
    Answer, ClaimFacts, ClusterFacts, DrainFacts, Facts, MemberFacts, NodeFacts, Observed, OperatorSettings,
    StorageClassFacts,
};
use planner::labels::{CLUSTER, COMPONENT, Part};
use planner::names::Names;
use planner::object::{Kind, ObjectRef};
use serde_json::Value;

use crate::api::{self, REQUEST_TIMEOUT};
use crate::caches::{self, Caches, ClusterKey, Entry, Json, PodEntry};
use crate::failure::Failure;
use crate::members::{AdminPort, Copying, Draining, Master, Members, Token};

/// How many members of a cluster are asked at a time.
const MOST_ASKED_AT_A_TIME: usize = 32;
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

/// What the members of a cluster say.
pub struct Answers {
    members: BTreeMap<String, Answer<MemberFacts>>,
    drains: BTreeMap<u32, Answer<DrainFacts>>,
    copies: BTreeMap<u32, Answer<u32>>,
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
        let monitors = [Kind::PodMonitor, Kind::PrometheusRule];
        for kind in
            Kind::ALL.into_iter().filter(|kind| self.settings.monitoring_kinds || !monitors.contains(kind))
        {
            let resource = api::resource(kind);
            for mut object in self.list(key, &resource).await? {
                let name = object.metadata.name.clone().unwrap_or_default();
                object.types = Some(types(&resource));
                view.add_child(kind, name, read(object)?);
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
        let Some(mut object) = found else { return Ok(None) };
        object.types = Some(types(&resource));
        let read = Entry::<Json>::read(object).map_err(Failure::Unreadable)?;
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

    /// Asks the members.
    pub async fn ask(&self, at: &Addresses) -> Answers {
        // First who takes messages: what a group holds, found after it said that it takes none, is all it will ever hold.
        let members = self.brokers(at).await;
        let (drains, copies) = futures::join!(self.drains(at), self.copies(at));
        Answers { members, drains, copies }
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

    async fn brokers(&self, at: &Addresses) -> BTreeMap<String, Answer<MemberFacts>> {
        let broker = Part::Brokers.component();
        let brokers = at.pods.iter().filter(|(_, pod)| {
            pod.facts.facts.labels.get(COMPONENT).is_some_and(|component| component == broker)
        });
        let mut asked: Vec<BoxFuture<'_, _>> = Vec::new();
        for (name, _) in brokers {
            asked.push(Box::pin(async move {
                let answer = match at.admin_port(name) {
                    Some(port) => self.members.status(&port).await,
                    None => Answer::Unknown,
                };
                (name.clone(), answer)
            }));
        }
        futures::stream::iter(asked).buffer_unordered(MOST_ASKED_AT_A_TIME).collect().await
    }

    async fn drains(&self, at: &Addresses) -> BTreeMap<u32, Answer<DrainFacts>> {
        // All at once: one that does not answer takes its whole time.
        let asked = at.groups_in("Draining").map(async |group| {
            let answer = match at.draining(group) {
                Some(draining) => self.members.drain(&draining).await,
                None => Answer::Unknown,
            };
            (group, answer)
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }

    async fn copies(&self, at: &Addresses) -> BTreeMap<u32, Answer<u32>> {
        let mut answers = BTreeMap::new();
        for to in at.groups_in("Joining") {
            let from = at.groups_in("Active").find(|group| at.master_is_ready(*group));
            let answer = match from.and_then(|from| at.copying(from, to)) {
                Some(copying) => self.members.copies(&copying).await,
                None => Answer::Unknown,
            };
            answers.insert(to, answer);
        }
        answers
    }
}

fn types(resource: &ApiResource) -> kube::api::TypeMeta {
    kube::api::TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() }
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

    /// Returns a pod's uid, if it is there.
    pub fn pod_uid(&self, pod: &str) -> Option<String> {
        Some(self.pods.get(pod)?.uid.clone())
    }

    /// Returns where a broker is asked and told, as far as known.
    pub fn admin_port(&self, pod: &str) -> Option<AdminPort> {
        Some(AdminPort { address: self.address(pod, ADMIN)?, token: self.token.clone()? })
    }

    /// Returns the masters of two groups.
    pub fn copying(&self, from: u32, to: u32) -> Option<Copying> {
        Some(Copying { from: self.master(from)?, to: self.master(to)? })
    }

    fn names(&self) -> Names {
        Names {
            cluster: self.cluster.name.clone(),
            namespace: self.cluster.namespace.clone(),
            // Addresses are those of pods: no name is looked up.
            domain: String::new(),
        }
    }

    fn address(&self, pod: &str, port: &str) -> Option<SocketAddr> {
        let pod = &self.pods.get(pod)?.facts;
        let ip: IpAddr = pod.ip?;
        Some(SocketAddr::new(ip, *pod.ports.get(port)?))
    }

    fn master(&self, group: u32) -> Option<Master> {
        let statuses = &self.cluster.status.brokers.group_statuses;
        let status = statuses.iter().find(|status| u32::try_from(status.index) == Ok(group))?;
        let address = self.address(&self.names().broker(group, 0), REMOTING)?;
        Some(Master { name: status.name.clone(), address: address.to_string() })
    }

    fn master_is_ready(&self, group: u32) -> bool {
        let pod = self.pods.get(&self.names().broker(group, 0));
        pod.is_some_and(|pod| pod.facts.facts.ready && !pod.facts.facts.terminating)
    }

    fn groups_in(&self, state: &'static str) -> impl Iterator<Item = u32> + '_ {
        let groups = self.cluster.status.brokers.group_statuses.iter();
        groups.filter(move |group| group.state == state).filter_map(|group| u32::try_from(group.index).ok())
    }

    /// Returns who knows what a group still holds. One that cannot be asked would make consumers look idle, so then nobody
    /// is.
    fn draining(&self, group: u32) -> Option<Draining> {
        let others = ["Joining", "Active", "Draining"].into_iter().flat_map(|state| self.groups_in(state));
        let others: Option<Vec<Master>> =
            others.filter(|other| *other != group).map(|other| self.master(other)).collect();
        let name_server = Part::NameServers.component();
        let name_servers = self.pods.iter().filter(|(_, pod)| {
            pod.facts.facts.labels.get(COMPONENT).is_some_and(|component| component == name_server)
        });
        let addresses = name_servers.filter_map(|(pod, _)| self.address(pod, NAME_SERVER));
        Some(Draining {
            cluster: format!("{}/{}", self.cluster.namespace, self.cluster.name),
            master: self.master(group)?,
            other_masters: others?,
            name_servers: addresses.map(|address| address.to_string()).collect(),
        })
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
