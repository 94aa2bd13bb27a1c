//! The ideal Kubernetes of a rehearsal: what the API server, the controller of StatefulSets, the kubelet and the daemons
//! make of steps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use manifest::{Validated, resolve};
use serde_json::{Value, json};

use super::is_slow;
use crate::build::live_config;
use crate::facts::{Answer, ClaimFacts, DrainFacts, Facts, MemberFacts, Observed, PodFacts, StoreState};
use crate::labels::{GROUP, STORE_ID};
use crate::names::{DATA, Names, ordinal_of};
use crate::object::{Kind, Object, ObjectRef};
use crate::shape::READ_WRITE;
use crate::step::{Action, Step};

/// Where pods run when nothing is known of nodes.
pub(super) const NODE: &str = "a-node";
/// What volumes are made of when nothing is said.
pub(super) const STORAGE_CLASS: &str = "the-default";

/// Stands for what nobody needs to know here.
const DRAWN: &str = "drawn";

/// The facts, and what goes on behind them.
pub(super) struct Stage {
    pub(super) facts: Facts,
    pub(super) now: Timestamp,
    names: Names,
    version: String,
    /// How many members of a group must have a message.
    acks: usize,
    /// Stores on volumes, by the names of their claims.
    stores: BTreeMap<String, String>,
    /// Where each pod is or was, as node and address: one that is made anew comes there again.
    places: BTreeMap<String, (Option<String>, Option<String>)>,
    /// Pods that do not start, by uid.
    stuck: BTreeSet<String>,
    /// Pods that were not ready at the last tick, by uid.
    starting: BTreeSet<String>,
    next: u64,
}

impl Stage {
    pub(super) fn new(validated: &Validated, facts: Facts, now: Timestamp) -> Stage {
        let names = Names::of(validated, &facts.cluster.namespace);
        let noted = facts
            .claims
            .iter()
            .filter_map(|claim| Some((claim.name.clone(), claim.annotations.get(STORE_ID)?.clone())));
        let said = facts
            .members
            .iter()
            .filter_map(|(pod, answer)| Some((format!("{DATA}-{pod}"), answer.known()?.store_id.clone()?)));
        let stores = noted.chain(said).collect();
        let is_stuck =
            |pod: &&PodFacts| !pod.ready && (pod.trouble.is_some() || is_slow(pod.ready_since, now));
        let stuck = facts.pods.iter().filter(is_stuck).map(|pod| pod.uid.clone()).collect();
        let mut stage = Stage {
            names,
            version: validated.cluster().spec.version.clone(),
            acks: usize::try_from(resolve(validated).brokers.required_acks).unwrap_or(usize::MAX),
            stores,
            places: BTreeMap::new(),
            stuck,
            starting: BTreeSet::new(),
            next: 0,
            facts,
            now,
        };
        stage.assume_answers();
        stage
    }

    /// Whoever looks from outside cannot ask members: those that are ready are taken to run as they were told.
    fn assume_answers(&mut self) {
        let silent = |pod: &&PodFacts| {
            pod.ready && self.facts.members.get(&pod.name).is_none_or(|answer| answer.known().is_none())
        };
        let silent = self.facts.pods.iter().filter(silent);
        let silent: Vec<(String, u32)> =
            silent.filter_map(|pod| Some((pod.name.clone(), group_label(&pod.labels)?))).collect();
        for (pod, group) in silent {
            let member = self.member(&pod, group);
            self.facts.members.insert(pod, Answer::Known(member));
        }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, time: Duration) {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        self.now = Timestamp::from_second(self.now.as_second().saturating_add(seconds)).unwrap_or(self.now);
    }

    /// Everyone but the operator does what it does.
    pub(super) fn tick(&mut self) {
        for pod in &self.facts.pods {
            self.places.insert(pod.name.clone(), (pod.node.clone(), pod.host_ip.clone()));
        }
        self.facts.pods.retain(|pod| !pod.terminating);
        let ready: Vec<usize> =
            (0..self.facts.pods.len()).filter(|place| self.becomes_ready(*place)).collect();
        for place in ready {
            self.become_ready(place);
        }
        let sets: Vec<ObjectRef> = self
            .facts
            .objects
            .iter()
            .filter(|(reference, observed)| reference.kind == Kind::StatefulSet && !observed.foreign)
            .map(|(reference, _)| reference.clone())
            .collect();
        for set in sets {
            self.run_set(&set);
        }
        let there: BTreeSet<&String> = self.facts.pods.iter().map(|pod| &pod.name).collect();
        self.facts.members.retain(|pod, _| there.contains(pod));
        let starting = self.facts.pods.iter().filter(|pod| !pod.ready && !self.stuck.contains(&pod.uid));
        self.starting = starting.map(|pod| pod.uid.clone()).collect();
        for group in &self.facts.cluster.status.brokers.group_statuses {
            let Ok(index) = u32::try_from(group.index) else { continue };
            if group.state == "Joining" {
                self.facts.copies.entry(index).or_insert(Answer::Known(1));
            }
            // Consumers read everything at once.
            let read = DrainFacts { routes_are_read_only: true, ..DrainFacts::default() };
            self.facts.drains.insert(index, Answer::Known(read));
        }
    }

    fn becomes_ready(&self, place: usize) -> bool {
        self.starting.contains(&self.facts.pods[place].uid)
    }

    fn become_ready(&mut self, place: usize) {
        let now = self.now;
        let version = self.fresh();
        let pod = &mut self.facts.pods[place];
        (pod.ready, pod.ready_since, pod.resource_version) = (true, Some(now), version);
        let (name, group) = (pod.name.clone(), group_label(&pod.labels));
        let Some(group) = group else { return };
        let member = self.member(&name, group);
        self.facts.members.insert(name, Answer::Known(member));
    }

    /// A broker that has just started: with the settings that are mounted, and with all messages.
    fn member(&mut self, pod: &str, group: u32) -> MemberFacts {
        let claim = format!("{DATA}-{pod}");
        if !self.stores.contains_key(&claim) {
            let store = format!("store-{}", self.fresh());
            self.stores.insert(claim.clone(), store);
        }
        let ordinal = ordinal_of(pod).unwrap_or(0);
        let mut member = MemberFacts {
            version: self.version.clone(),
            broker_id: i64::from(ordinal),
            master: ordinal == 0,
            store_id: self.stores.get(&claim).cloned(),
            store: StoreState::Ok,
            ready: true,
            lag_bytes: Some(0),
            in_sync: true,
            permission: READ_WRITE,
            ..MemberFacts::default()
        };
        let settings = ObjectRef::new(Kind::ConfigMap, self.names.live_config(group));
        let mounted = self.facts.objects.get(&settings);
        if let Some(settings) = mounted.and_then(|mounted| live_config::read(&mounted.json, pod)) {
            take_over(&mut member, &settings);
        }
        member
    }

    fn run_set(&mut self, set: &ObjectRef) {
        let Some(observed) = self.facts.objects.get(set) else { return };
        let json = observed.json.clone();
        let replicas = json.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(0);
        let start = format!("{}-", set.name);
        let ordinal = |pod: &str| pod.strip_prefix(&start)?.parse::<u64>().ok();
        self.facts.pods.retain(|pod| ordinal(&pod.name).is_none_or(|ordinal| ordinal < replicas));
        for place in 0..replicas {
            let name = format!("{start}{place}");
            if !self.facts.pods.iter().any(|pod| pod.name == name) {
                self.start_pod(&name, &json);
            }
        }
        let count = self.facts.pods.iter().filter(|pod| ordinal(&pod.name).is_some()).count();
        if let Some(observed) = self.facts.objects.get_mut(set) {
            let generation = observed.json["metadata"]["generation"].clone();
            observed.json["status"] = json!({ "replicas": count, "observedGeneration": generation });
        }
    }

    fn start_pod(&mut self, name: &str, set: &Value) {
        match ClaimFacts::of_template(set, name) {
            Some(claim) => self.bind_claim(claim),
            None => {
                self.stores.remove(&format!("{DATA}-{name}"));
            }
        }
        let (node, host_ip) = self.places.get(name).cloned().unwrap_or_else(|| self.some_node());
        let (uid, resource_version) = (self.fresh(), self.fresh());
        let pod = PodFacts::of_template(set, name);
        self.facts.pods.push(PodFacts { uid, resource_version, node, host_ip, ..pod });
    }

    fn some_node(&self) -> (Option<String>, Option<String>) {
        let node = self.facts.nodes.known().and_then(|nodes| nodes.iter().next());
        node.map(|(name, node)| (Some(name.clone()), node.internal_ip.clone())).unwrap_or_default()
    }

    fn bind_claim(&mut self, claim: ClaimFacts) {
        if self.facts.claims.iter().any(|known| known.name == claim.name) {
            return;
        }
        self.stores.remove(&claim.name);
        let uid = self.fresh();
        let storage_class = claim.storage_class.or(Some(STORAGE_CLASS.to_owned()));
        self.facts.claims.push(ClaimFacts { uid, storage_class, ..claim });
    }

    /// Carries a step out.
    pub(super) fn take(&mut self, step: &Step) {
        match &step.action {
            Action::AddFinalizer => {
                self.facts.cluster.finalizers.insert(crate::labels::FINALIZER.to_owned());
            }
            Action::RemoveFinalizer => self.facts.cluster.finalizers.clear(),
            Action::RecordStatus(status) => self.facts.cluster.status = (**status).clone(),
            Action::Create(object) | Action::Apply { object, .. } => self.put(object),
            Action::CreateSecret { object, keys } => {
                let mut object = object.clone();
                keys.iter().for_each(|key| object.json["data"][*key] = json!(DRAWN));
                self.put(&object);
            }
            Action::Delete { object, .. } => {
                self.facts.objects.remove(object);
            }
            Action::OrphanStatefulSet { name, .. } => {
                self.facts.objects.remove(&ObjectRef::new(Kind::StatefulSet, name));
            }
            Action::PushConfig { pod, properties, .. } => {
                if let Some(Answer::Known(member)) = self.facts.members.get_mut(pod) {
                    take_over(member, properties);
                }
            }
            // Nobody sees from here what only one group has.
            Action::HandOver { .. } => {}
            Action::CopyMetadata { to, .. } => {
                self.facts.copies.insert(*to, Answer::Known(0));
            }
            Action::Evict { pod, .. } | Action::DeletePod { pod, .. } => {
                let gone = self.facts.pods.iter_mut().filter(|known| known.name == *pod);
                gone.for_each(|pod| pod.terminating = true);
            }
            Action::PatchPod { pod, patch, .. } => {
                let pods = self.facts.pods.iter_mut().filter(|known| known.name == *pod);
                pods.for_each(|pod| merge(&mut pod.labels, &patch["metadata"]["labels"]));
            }
            Action::PatchClaim { claim, patch, .. } => self.patch_claim(claim, patch),
            Action::DeleteClaim { claim, .. } => {
                self.facts.claims.retain(|known| known.name != *claim);
                self.stores.remove(claim);
            }
        }
    }

    fn patch_claim(&mut self, name: &str, patch: &Value) {
        for claim in self.facts.claims.iter_mut().filter(|known| known.name == name) {
            merge(&mut claim.annotations, &patch["metadata"]["annotations"]);
            let text = |path: &str| patch.pointer(path).and_then(Value::as_str).map(str::to_owned);
            if let Some(size) = text("/spec/resources/requests/storage") {
                (claim.requested, claim.capacity) = (size.clone(), Some(size));
            }
            claim.attributes_class =
                text("/spec/volumeAttributesClassName").or(claim.attributes_class.take());
        }
    }

    /// What the API server keeps of an object: what was there before of what others fill in.
    fn put(&mut self, object: &Object) {
        let before = self.facts.objects.get(&object.reference);
        let mut json = object.json.clone();
        let uid = before.map(|before| before.uid.clone());
        let created = before.and_then(|before| before.created).or(Some(self.now));
        let old = before.map(|before| before.json.clone()).unwrap_or_default();
        let version = self.fresh();
        json["metadata"]["generation"] = json!(self.next);
        if let Some(status) = old.get("status") {
            json["status"] = status.clone();
        }
        if object.reference.kind == Kind::Secret
            && let Some(data) = old.get("data")
        {
            json["data"] = data.clone();
        }
        if object.reference.kind == Kind::Service {
            fill_service(&mut json, &old, &object.reference.name);
        }
        let observed = Observed {
            json,
            uid: uid.unwrap_or_else(|| format!("uid-{version}")),
            resource_version: version,
            created,
            deleting: false,
            foreign: false,
        };
        self.facts.objects.insert(object.reference.clone(), observed);
    }

    /// Whether pods come or go by themselves.
    pub(super) fn is_about_to_change(&self) -> bool {
        !self.starting.is_empty() || self.facts.pods.iter().any(|pod| pod.terminating)
    }

    /// Whether something does not start.
    pub(super) fn is_stuck(&self) -> bool {
        self.facts.pods.iter().any(|pod| self.stuck.contains(&pod.uid))
    }

    /// Whether messages to a group wait for a pod: for its master, and for a slave that no other stands in for.
    pub(super) fn waits_for(&self, group: u32, pod: &str) -> bool {
        let members: Vec<&PodFacts> = self.members_of(group).collect();
        let of_group = members.iter().any(|member| member.name == pod);
        of_group && (ordinal_of(pod) == Some(0) || members.len() <= self.acks)
    }

    fn members_of(&self, group: u32) -> impl Iterator<Item = &PodFacts> {
        self.facts.pods.iter().filter(move |pod| group_label(&pod.labels) == Some(group))
    }

    /// Whether a group is to take messages.
    pub(super) fn is_active(&self, group: u32) -> bool {
        let groups = &self.facts.cluster.status.brokers.group_statuses;
        groups.iter().any(|known| u32::try_from(known.index) == Ok(group) && known.state == "Active")
    }

    /// Returns the groups that take messages now.
    pub(super) fn groups_that_take(&self) -> BTreeSet<u32> {
        let groups = &self.facts.cluster.status.brokers.group_statuses;
        let indices = groups.iter().filter_map(|group| u32::try_from(group.index).ok());
        indices.filter(|group| self.is_active(*group) && self.takes(*group)).collect()
    }

    fn takes(&self, group: u32) -> bool {
        let master = self.names.broker(group, 0);
        let ready: Vec<&PodFacts> =
            self.members_of(group).filter(|pod| pod.ready && !pod.terminating).collect();
        let permission = self.facts.members.get(&master).and_then(|answer| answer.known());
        ready.iter().any(|pod| pod.name == master)
            && ready.len() >= self.acks
            && permission.is_some_and(|member| member.permission == READ_WRITE)
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("r{}", self.next)
    }
}

fn take_over(member: &mut MemberFacts, settings: &BTreeMap<String, String>) {
    member.config_revision = live_config::revision_of(settings).unwrap_or(0);
    let permission = settings.get("brokerPermission").and_then(|text| text.parse().ok());
    member.permission = permission.unwrap_or(READ_WRITE);
}

fn merge(map: &mut BTreeMap<String, String>, patch: &Value) {
    for (key, value) in patch.as_object().into_iter().flatten() {
        match value.as_str() {
            Some(text) => {
                map.insert(key.clone(), text.to_owned());
            }
            None => {
                map.remove(key);
            }
        }
    }
}

fn group_label(labels: &BTreeMap<String, String>) -> Option<u32> {
    labels.get(GROUP)?.parse().ok()
}

/// Addresses that stay, or new ones made from the name, so that another service changes nothing.
fn fill_service(json: &mut Value, old: &Value, name: &str) {
    let number = name.bytes().fold(7_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 60_000);
    if json["spec"]["clusterIP"].is_null() {
        let kept = old.pointer("/spec/clusterIP").filter(|address| !address.is_null()).cloned();
        let made = json!(format!("10.96.{}.{}", number / 250, 1 + number % 250));
        json["spec"]["clusterIP"] = kept.unwrap_or(made);
    }
    let kind = json["spec"]["type"].as_str().unwrap_or_default().to_owned();
    if ["NodePort", "LoadBalancer"].contains(&kind.as_str()) {
        let ports = json["spec"]["ports"].as_array_mut().into_iter().flatten();
        for (place, port) in (0_u32..).zip(ports) {
            if port["nodePort"].is_null() {
                let path = format!("/spec/ports/{place}/nodePort");
                let made = json!(30_000 + (number + place) % 2_000);
                port["nodePort"] = old.pointer(&path).cloned().unwrap_or(made);
            }
        }
    }
    if kind == "LoadBalancer" && json.pointer("/status/loadBalancer/ingress/0").is_none() {
        json["status"]["loadBalancer"]["ingress"] =
            json!([{ "ip": format!("203.0.113.{}", 1 + number % 250) }]);
    }
}
