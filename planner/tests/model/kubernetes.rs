//! The API server, the StatefulSet controller, the kubelet and the daemons, simplified.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use manifest::Validated;
use manifest::cluster::{ClusterSpec, DeletionPolicy, StorageType};
use planner::facts::{
    Answer, ClaimFacts, ClusterFacts, DrainFacts, Facts, MemberFacts, NodeFacts, Observed, OnlyHere,
    OperatorSettings, PodFacts, StorageClassFacts, StoreState,
};
use planner::labels::CLUSTER_UID;
use planner::object::{Kind, Object, ObjectRef};
use planner::step::{Plan, Waiting};
use serde_json::{Value, json};

use crate::Random;

/// A version that no registry has.
pub const BAD_VERSION: &str = "0.1.666";
const NODES: u64 = 3;
/// How many views ago the operator may look.
const OLDEST_VIEW: usize = 12;

#[derive(Clone)]
pub struct Pod {
    pub facts: PodFacts,
    /// Ticks until it is ready.
    pub starts_in: u64,
    /// What a broker has taken over, and its lag.
    pub settings: BTreeMap<String, String>,
    pub lag: u64,
}

/// Something that others put into a child, and where.
#[derive(Debug, Clone)]
pub struct Foreign {
    pub of: ObjectRef,
    pub uid: String,
    pub place: String,
}

#[derive(Clone)]
pub struct World {
    pub verbose: bool,
    pub now: Timestamp,
    pub operator: OperatorSettings,
    pub manifest: Validated,
    pub cluster: ClusterFacts,
    /// Whether the cluster's own object is gone, and its children with it.
    pub gone: bool,
    pub objects: BTreeMap<ObjectRef, Observed>,
    pub pods: BTreeMap<String, Pod>,
    pub claims: BTreeMap<String, ClaimFacts>,
    /// Stores on claims.
    pub stores: BTreeMap<String, String>,
    /// Messages not read, and topics, by group.
    pub unread: BTreeMap<u32, u64>,
    pub topics: BTreeMap<u32, u32>,
    /// Groups whose own topic was made on others.
    pub handed_over: BTreeSet<u32>,
    /// Groups that were removed: their numbers must not come again.
    pub removed: BTreeSet<u32>,
    /// What others put into children.
    pub foreign: Vec<Foreign>,
    /// What the operator did, and what it waits for.
    pub history: Vec<String>,
    pub waiting: Vec<Waiting>,
    /// What the operator applied last: that, and only that, goes again when it applies something else.
    applied: BTreeMap<ObjectRef, Value>,
    views: Vec<(Validated, Facts)>,
    next: u64,
}

impl World {
    pub fn new(manifest: Validated, verbose: bool) -> World {
        World {
            verbose,
            operator: OperatorSettings::default(),
            now: "2030-01-01T00:00:00Z".parse().unwrap(),
            cluster: ClusterFacts {
                name: manifest.name().to_owned(),
                namespace: "default".to_owned(),
                uid: "cluster-uid".to_owned(),
                generation: 1,
                ..ClusterFacts::default()
            },
            manifest,
            gone: false,
            objects: BTreeMap::new(),
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            stores: BTreeMap::new(),
            unread: BTreeMap::new(),
            topics: BTreeMap::new(),
            handed_over: BTreeSet::new(),
            removed: BTreeSet::new(),
            foreign: Vec::new(),
            history: Vec::new(),
            waiting: Vec::new(),
            applied: BTreeMap::new(),
            views: Vec::new(),
            next: 1,
        }
    }

    pub fn log(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            println!("{} {}", self.now, text());
        }
    }

    pub fn fresh(&mut self) -> String {
        self.next += 1;
        self.next.to_string()
    }

    /// Time passes, and everyone but the operator does what it does.
    pub fn tick(&mut self, random: &mut Random, faults: bool) {
        let seconds = 1 + random.below(if faults { 12 } else { 20 });
        self.now = Timestamp::from_second(self.now.as_second() + i64::try_from(seconds).unwrap()).unwrap();
        self.run_deletions(random);
        self.run_sets(random);
        self.run_pods(random, faults);
        self.run_consumers(random);
        self.keep_view();
    }

    /// What was owned goes with its owner; what is being deleted goes when its finalizers are through.
    fn run_deletions(&mut self, random: &mut Random) {
        let gone = self.gone;
        let going = self.objects.iter().filter(|(_, object)| gone || object.deleting);
        let going: Vec<ObjectRef> = going.map(|(reference, _)| reference.clone()).collect();
        for reference in going {
            if gone || random.one_in(3) {
                self.remove(&reference);
            }
        }
    }

    /// Removes a child, and with a StatefulSet its pods.
    pub fn remove(&mut self, reference: &ObjectRef) {
        self.objects.remove(reference);
        if reference.kind == Kind::StatefulSet {
            let start = format!("{}-", reference.name);
            let pods = self.pods.values_mut().filter(|pod| pod.facts.name.starts_with(&start));
            pods.for_each(|pod| pod.facts.terminating = true);
        }
    }

    /// A claim stays as long as its pod is there.
    pub fn delete_claim(&mut self, claim: &str) {
        if self.pods.contains_key(claim.trim_start_matches("data-")) {
            self.claims.get_mut(claim).unwrap().deleting = true;
        } else {
            self.claims.remove(claim);
            self.stores.remove(claim);
        }
    }

    /// Somebody deletes the cluster: it goes when nobody holds it.
    pub fn delete_cluster(&mut self) {
        self.log(|| "somebody deletes the cluster".to_owned());
        self.cluster.deleting = true;
        self.cluster.resource_version = self.fresh();
        self.gone = self.cluster.finalizers.is_empty();
    }

    fn run_sets(&mut self, random: &mut Random) {
        let sets: Vec<ObjectRef> =
            self.objects.keys().filter(|reference| reference.kind == Kind::StatefulSet).cloned().collect();
        for set in sets {
            let json = self.objects[&set].json.clone();
            if self.objects[&set].deleting {
                continue;
            }
            let replicas = json["spec"]["replicas"].as_u64().unwrap();
            let of_set = |pod: &str| pod.rsplit_once('-').is_some_and(|(start, _)| start == set.name);
            let there: Vec<String> = self.pods.keys().filter(|pod| of_set(pod)).cloned().collect();
            for pod in &there {
                let ordinal: u64 = pod.rsplit_once('-').unwrap().1.parse().unwrap();
                if ordinal >= replicas {
                    self.pods.get_mut(pod).unwrap().facts.terminating = true;
                }
            }
            for ordinal in 0..replicas {
                let name = format!("{}-{ordinal}", set.name);
                if !self.pods.contains_key(&name) {
                    self.start_pod(&name, &json, random);
                }
            }
            let count = self.pods.keys().filter(|pod| of_set(pod)).count();
            let observed = self.objects.get_mut(&set).unwrap();
            let generation = observed.json["metadata"]["generation"].clone();
            let status = json!({ "replicas": count, "observedGeneration": generation });
            if observed.json["status"] != status {
                observed.json["status"] = status;
                let version = self.fresh();
                self.objects.get_mut(&set).unwrap().resource_version = version;
            }
        }
    }

    fn start_pod(&mut self, name: &str, set: &Value, random: &mut Random) {
        if let Some(claim) = ClaimFacts::of_template(set, name)
            && !self.claims.contains_key(&claim.name)
        {
            let (uid, storage_class) = (self.fresh(), Some("usual".to_owned()));
            self.claims.insert(claim.name.clone(), ClaimFacts { uid, storage_class, ..claim });
        }
        let pod = PodFacts::of_template(set, name);
        let bad = pod.image.ends_with(BAD_VERSION);
        let node = 1 + random.below(NODES);
        let facts = PodFacts {
            node: Some(format!("node-{node}")),
            host_ip: Some(format!("192.168.0.{node}")),
            uid: self.fresh(),
            resource_version: self.fresh(),
            trouble: bad.then(|| "ImagePullBackOff".to_owned()),
            ..pod
        };
        let lost = self.claims.get(&format!("data-{name}")).is_some_and(|claim| claim.lost || claim.deleting);
        let starts_in = if bad || lost { u64::MAX } else { 1 + random.below(3) };
        self.pods.insert(name.to_owned(), Pod { facts, starts_in, settings: BTreeMap::new(), lag: 1_000 });
    }

    fn run_pods(&mut self, random: &mut Random, faults: bool) {
        let gone: Vec<String> = self
            .pods
            .values()
            .filter(|pod| pod.facts.terminating)
            .map(|pod| pod.facts.name.clone())
            .collect();
        let is_kept = self.manifest.cluster().spec.brokers.storage.kind == StorageType::PersistentVolumeClaim;
        gone.into_iter().for_each(|pod| {
            self.pods.remove(&pod);
            let claim = format!("data-{pod}");
            if self.claims.get(&claim).is_some_and(|claim| claim.deleting) || !is_kept {
                self.claims.remove(&claim);
                self.stores.remove(&claim);
            }
        });
        let names: Vec<String> = self.pods.keys().cloned().collect();
        for name in names {
            if self.pods[&name].starts_in == u64::MAX {
                continue;
            }
            let starts_in = self.pods[&name].starts_in.saturating_sub(1);
            let broker = self.group_of(&name).is_some();
            if broker && starts_in == 0 {
                // The mounted file comes late; a new process has read it at its start.
                let first = self.pods[&name].settings.is_empty();
                if let Some(mounted) = self.mounted(&name).filter(|_| first || random.one_in(5)) {
                    self.hand_over(&name, mounted);
                }
                self.make_store(&name);
            }
            let healthy = !broker || self.store_state(&name) == StoreState::Ok;
            let crash = faults && random.one_in(60);
            let now = self.now;
            let pod = self.pods.get_mut(&name).unwrap();
            pod.starts_in = if crash { 1 + random.below(4) } else { starts_in };
            pod.lag = if pod.starts_in == 0 { pod.lag / 40 } else { 1_000 };
            let ready = pod.starts_in == 0 && healthy && pod.lag < 100;
            if ready != pod.facts.ready {
                pod.facts.ready = ready;
                pod.facts.ready_since = Some(now);
                let version = self.fresh();
                self.pods.get_mut(&name).unwrap().facts.resource_version = version;
            }
        }
    }

    /// What the kubelet mounts for a pod.
    fn mounted(&self, pod: &str) -> Option<BTreeMap<String, String>> {
        let group = self.group_of(pod)?;
        let name = format!("{}-broker-{group}-live", self.cluster.name);
        let config = self.objects.get(&ObjectRef::new(Kind::ConfigMap, name))?;
        let text = config.json["data"][format!("{pod}.properties")].as_str()?;
        Some(
            text.lines()
                .filter_map(|line| line.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    /// A daemon ignores revisions that are not newer.
    pub fn hand_over(&mut self, pod: &str, settings: BTreeMap<String, String>) {
        let revision = |settings: &BTreeMap<String, String>| {
            settings.get("configRevision").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        if let Some(pod) = self.pods.get_mut(pod)
            && revision(&settings) > revision(&pod.settings)
        {
            pod.settings = settings;
        }
    }

    fn make_store(&mut self, pod: &str) {
        let claim = format!("data-{pod}");
        let expected = self.pods[pod].settings.get("expectedStoreId");
        if expected.is_none() && !self.pods[pod].settings.is_empty() && !self.stores.contains_key(&claim) {
            let store = format!("store-{}", self.fresh());
            self.stores.insert(claim, store);
        }
    }

    fn store_state(&self, pod: &str) -> StoreState {
        let expected = self.pods[pod].settings.get("expectedStoreId");
        match (expected, self.stores.get(&format!("data-{pod}"))) {
            (Some(_), None) => StoreState::VolumeLost,
            (Some(expected), Some(store)) if expected != store => StoreState::StoreIdentityMismatch,
            _ => StoreState::Ok,
        }
    }

    fn run_consumers(&mut self, random: &mut Random) {
        for group in self.groups() {
            let master = format!("{}-broker-{group}-0", self.cluster.name);
            let Some(pod) = self.pods.get(&master).filter(|pod| pod.facts.ready) else { continue };
            let takes = pod.settings.get("brokerPermission").is_some_and(|permission| permission == "6");
            let unread = self.unread.entry(group).or_default();
            *unread = if takes { *unread + random.below(50) } else { *unread / 2 };
        }
    }

    pub fn group_of(&self, pod: &str) -> Option<u32> {
        let start = format!("{}-broker-", self.cluster.name);
        pod.strip_prefix(&start)?.split('-').next()?.parse().ok()
    }

    /// Groups that have a StatefulSet.
    pub fn groups(&self) -> Vec<u32> {
        let sets = self.objects.keys().filter(|reference| reference.kind == Kind::StatefulSet);
        sets.filter_map(|set| self.group_of(&set.name)).collect()
    }

    /// Everything as it is now; members answer unless they do not.
    pub fn facts(&self, random: &mut Random, faults: bool) -> Facts {
        let mut facts = self.state();
        for pod in self.pods.values() {
            let silent = pod.starts_in > 0 || (faults && random.one_in(15));
            if self.group_of(&pod.facts.name).is_some() {
                let answer = if silent { Answer::Unknown } else { Answer::Known(self.answer(pod)) };
                facts.members.insert(pod.facts.name.clone(), answer);
            }
        }
        for group in &self.cluster.status.brokers.group_statuses {
            let index = u32::try_from(group.index).unwrap();
            let silent = faults && random.one_in(15);
            // Each has a topic that no other has.
            let topics = if self.handed_over.contains(&index) { vec![] } else { vec![format!("of-{index}")] };
            let drain = DrainFacts {
                routes_are_read_only: true,
                only_here: OnlyHere { topics, ..OnlyHere::default() },
                remaining: self.unread.get(&index).copied().unwrap_or(0),
                ..DrainFacts::default()
            };
            facts.drains.insert(index, if silent { Answer::Unknown } else { Answer::Known(drain) });
            let missing = 5 - self.topics.get(&index).copied().unwrap_or(0).min(5);
            facts.copies.insert(index, if silent { Answer::Unknown } else { Answer::Known(missing) });
        }
        facts
    }

    fn answer(&self, pod: &Pod) -> MemberFacts {
        let name = &pod.facts.name;
        let setting =
            |key: &str| pod.settings.get(key).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let master = name.ends_with("-0");
        MemberFacts {
            master,
            store_id: self.stores.get(&format!("data-{name}")).cloned(),
            store: self.store_state(name),
            ready: pod.facts.ready,
            lag_bytes: Some(if master { 0 } else { pod.lag }),
            in_sync: pod.facts.ready,
            config_revision: setting("configRevision"),
            permission: u8::try_from(setting("brokerPermission")).unwrap(),
            ..MemberFacts::default()
        }
    }

    /// What the API server knows.
    fn state(&self) -> Facts {
        let mut facts = Facts {
            operator: self.operator.clone(),
            cluster: self.cluster.clone(),
            objects: self.objects.clone(),
            pods: self.pods.values().map(|pod| pod.facts.clone()).collect(),
            claims: self.claims.values().cloned().collect(),
            ..Facts::default()
        };
        let class = StorageClassFacts { can_expand: true, is_default: true };
        let node = |number| {
            let external_ip = Some(format!("198.51.100.{number}"));
            let internal_ip = Some(format!("192.168.0.{number}"));
            (format!("node-{number}"), NodeFacts { external_ip, internal_ip, zone: Some("a".to_owned()) })
        };
        facts.nodes = Answer::Known((1..=NODES).map(node).collect());
        facts.storage_classes = Answer::Known(BTreeMap::from([("usual".to_owned(), class)]));
        facts
    }

    fn keep_view(&mut self) {
        self.views.push((self.manifest.clone(), self.state()));
        if self.views.len() > OLDEST_VIEW {
            self.views.remove(0);
        }
    }

    /// Whether the manifest says so, or said so a moment ago.
    pub fn said(&self, what: impl Fn(&ClusterSpec) -> bool) -> bool {
        let views = self.views.iter().map(|(manifest, _)| manifest);
        views.chain([&self.manifest]).any(|manifest| what(&manifest.cluster().spec))
    }

    /// Returns what a child was a while ago, if anyone knows.
    pub fn earlier(&self, reference: &ObjectRef, random: &mut Random) -> Option<Value> {
        let (_, view) = random.one_of(&self.views)?;
        Some(view.objects.get(reference)?.json.clone())
    }

    /// What the operator's caches say: each kind as old as it likes.
    pub fn cached(&self, random: &mut Random) -> (Validated, Facts) {
        let (mut manifest, mut facts) = (self.manifest.clone(), self.facts(random, true));
        let mut old = || {
            let place = random.below(2 * self.views.len() as u64) as usize;
            self.views.get(place)
        };
        if let Some((old_manifest, view)) = old() {
            manifest = old_manifest.clone();
            facts.cluster = view.cluster.clone();
        }
        if let Some((_, view)) = old() {
            facts.objects = view.objects.clone();
        }
        if let Some((_, view)) = old() {
            facts.pods = view.pods.clone();
        }
        if let Some((_, view)) = old() {
            facts.claims = view.claims.clone();
        }
        (manifest, facts)
    }

    pub fn live_plan(&self) -> Plan {
        planner::plan(&self.manifest, &self.facts(&mut Random(1), false), self.now)
    }

    /// Makes a child what the operator wants, and fills in what Kubernetes does.
    pub fn put(&mut self, object: &Object) {
        let version = self.fresh();
        let generation = self.next;
        let before = self.objects.get(&object.reference);
        let mut json = match before {
            Some(before) => {
                let applied = self.applied.get(&object.reference).unwrap_or(&Value::Null);
                merge(&object.json, applied, &before.json)
            }
            None => object.json.clone(),
        };
        json["metadata"]["generation"] = json!(generation);
        if object.reference.kind == Kind::Service {
            allocate(&mut json["spec"], before.map(|before| &before.json["spec"]), generation);
        }
        let uid = before.map(|before| before.uid.clone()).unwrap_or_else(|| format!("uid-{generation}"));
        let created = before.and_then(|before| before.created).or(Some(self.now));
        let observed =
            Observed { json, uid, resource_version: version, created, deleting: false, foreign: false };
        let mut applied = object.json.clone();
        // No apply brings what is in a secret.
        applied["data"] = match object.reference.kind {
            Kind::Secret => Value::Null,
            _ => applied["data"].take(),
        };
        self.applied.insert(object.reference.clone(), applied);
        self.objects.insert(object.reference.clone(), observed);
    }

    /// Whether every pod is there and runs.
    pub fn is_quiet(&self) -> bool {
        let protected = self.manifest.cluster().spec.deletion.protection;
        if self.cluster.deleting && !protected {
            return self.gone && self.pods.is_empty() && self.objects.is_empty();
        }
        if self.objects.values().any(|object| object.deleting) {
            return false;
        }
        let sets = self.objects.iter().filter(|(reference, _)| reference.kind == Kind::StatefulSet);
        let mut pods = sets.flat_map(|(reference, set)| {
            let replicas = set.json["spec"]["replicas"].as_u64().unwrap();
            (0..replicas).map(|ordinal| format!("{}-{ordinal}", reference.name))
        });
        pods.all(|pod| self.pods.get(&pod).is_some_and(|pod| pod.facts.ready && !pod.facts.terminating))
    }

    /// Whether what runs is what the manifest says.
    pub fn is_as_wanted(&self) -> Result<(), String> {
        let spec = &self.manifest.cluster().spec;
        if self.gone {
            let ours = |claim: &&ClaimFacts| claim.annotations.get(CLUSTER_UID) == Some(&self.cluster.uid);
            let left: Vec<&ClaimFacts> = self.claims.values().filter(ours).collect();
            return match spec.deletion.policy == DeletionPolicy::Retain || left.is_empty() {
                true => Ok(()),
                false => Err(format!("volumes outlive their cluster: {left:?}")),
            };
        }
        let groups = self.groups();
        let plan = self.live_plan();
        let fail = |what: String| Err(format!("{what}; waiting: {:#?}", plan.waiting));
        if groups.len() != usize::try_from(spec.brokers.groups).unwrap() {
            return fail(format!("groups {groups:?}, wanted {}", spec.brokers.groups));
        }
        for foreign in &self.foreign {
            let object = self.objects.get(&foreign.of).filter(|object| object.uid == foreign.uid);
            if object.is_some_and(|object| object.json.pointer(&foreign.place) != Some(&json!("theirs"))) {
                return fail(format!("{foreign:?} has gone"));
            }
        }
        let brokers = spec.brokers.groups * spec.brokers.replicas_per_group;
        if self.pods.len() != usize::try_from(brokers + spec.name_servers.replicas).unwrap() {
            return fail(format!("pods {:?}", self.pods.keys().collect::<Vec<_>>()));
        }
        for pod in self.pods.values() {
            if !pod.facts.image.ends_with(&format!(":{}", spec.version)) {
                return fail(format!("{} runs {}", pod.facts.name, pod.facts.image));
            }
            let broker = self.group_of(&pod.facts.name).is_some();
            if broker && pod.settings.get("brokerPermission").map(String::as_str) != Some("6") {
                return fail(format!("{} takes no messages", pod.facts.name));
            }
            let size = spec.brokers.storage.size.as_ref();
            if broker
                && size.is_some()
                && self.claims.get(&format!("data-{}", pod.facts.name)).map(|claim| &claim.requested) != size
            {
                return fail(format!("the volume of {} has not grown", pod.facts.name));
            }
        }
        let ready = plan.status.conditions.iter().find(|condition| condition.kind == "Ready").unwrap();
        if ready.status != "True" {
            return fail(format!("not ready: {ready:?}"));
        }
        Ok(())
    }
}

/// Gives a service its addresses, for good: those that it had, or new ones.
fn allocate(spec: &mut Value, before: Option<&Value>, number: u64) {
    let had =
        |path: &str| before.and_then(|before| before.pointer(path)).filter(|had| !had.is_null()).cloned();
    if spec["clusterIP"].is_null() {
        let new = || json!(format!("10.96.{}.{}", number / 250, number % 250));
        spec["clusterIP"] = had("/clusterIP").unwrap_or_else(new);
    }
    if spec["type"] != "NodePort" && spec["type"] != "LoadBalancer" {
        return;
    }
    for (place, port) in spec["ports"].as_array_mut().into_iter().flatten().enumerate() {
        if port["nodePort"].is_null() {
            port["nodePort"] =
                had(&format!("/ports/{place}/nodePort")).unwrap_or(json!(30_000 + number % 2_000));
        }
    }
}

/// Server-side apply: what is written wins, what was written the last time and is not any more goes, and what others put
/// there stays.
fn merge(wanted: &Value, applied: &Value, now: &Value) -> Value {
    let (Value::Object(wanted), Value::Object(now)) = (wanted, now) else { return wanted.clone() };
    let of_others = now
        .iter()
        .filter(|(key, _)| !wanted.contains_key(*key) && applied.get(*key).is_none_or(Value::is_null));
    let ours = wanted.iter().map(|(key, value)| {
        let (applied, now) = (applied.get(key).unwrap_or(&Value::Null), now.get(key).unwrap_or(&Value::Null));
        (key.clone(), merge(value, applied, now))
    });
    ours.chain(of_others.map(|(key, value)| (key.clone(), value.clone()))).collect()
}
