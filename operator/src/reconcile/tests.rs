//! Whole looks at clusters, before an API server in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::api::DynamicObject;
use planner::facts::OperatorSettings;
use planner::object::{Kind, ObjectRef};
use serde_json::{Value, json};

use super::*;
use crate::api;
use crate::caches::{Caches, Entry};
use crate::leader;
use crate::members::fake::Fake;
use crate::testing::{self, Shared};

const CLUSTERS: &str = "/apis/gantry.rs/v1alpha1/namespaces/ns/rocketmqclusters";

/// An operator that leads, and its API server.
struct Trial {
    server: Shared,
    reconciler: Reconciler,
    caches: Arc<Caches>,
    leads: tokio::sync::watch::Sender<Option<Instant>>,
}

fn trial() -> Trial {
    let server = Shared::default();
    let client = testing::client(&server);
    let (caches, members) = (Arc::new(Caches::default()), Arc::new(Fake::default()));
    let (leads, leading) = leader::channel();
    leads.send_replace(Some(Instant::now() + Duration::from_secs(3_600)));
    let reconciler = Reconciler {
        observer: Observer {
            client: client.clone(),
            caches: caches.clone(),
            members: members.clone(),
            settings: OperatorSettings::default(),
            nodes: false,
            storage: false,
        },
        executor: Executor { client: client.clone(), caches: caches.clone(), members, leads: leading },
        events: Events { client, instance: "operator-0".to_owned() },
        slots: Slots::new(1),
        counters: Counters::default(),
        memories: Mutex::default(),
        turns: Semaphore::new(1),
    };
    Trial { server, reconciler, caches, leads }
}

impl Trial {
    /// Makes a cluster, as a user does.
    fn make(&self, name: &str, spec: Value) -> ClusterKey {
        let cluster = json!({
            "apiVersion": manifest::API_VERSION, "kind": manifest::KIND,
            "metadata": { "name": name, "namespace": "ns", "generation": 1 }, "spec": spec,
        });
        let path = format!("{CLUSTERS}/{name}");
        self.server.lock().put(&path, manifest::crd::with_defaults(&cluster));
        self.watch();
        ClusterKey::new("ns", name)
    }

    /// Brings the caches up to date, as the watches do.
    fn watch(&self) {
        for (path, object) in &self.server.lock().objects {
            let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
            let name = object.metadata.name.clone().unwrap();
            let labelled = object.metadata.labels.as_ref().and_then(|all| all.get(planner::labels::CLUSTER));
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| path.contains(&format!("/{}/", api::resource(*kind).plural)));
            match (kind, labelled) {
                (Some(kind), Some(of)) => {
                    let key = ClusterKey::new("ns", of);
                    self.caches.children_of(kind).put(&key, &name, Entry::read(object).unwrap());
                }
                (None, _) if path.starts_with(CLUSTERS) => {
                    let key = ClusterKey::new("ns", &name);
                    self.caches.clusters.put(&key, &name, Entry::read(object).unwrap());
                }
                _ => {}
            }
        }
    }

    /// Looks until nothing is written any more.
    async fn settle(&self, key: &ClusterKey) {
        for _ in 0..20 {
            let before = self.writes();
            self.reconciler.look(key).await;
            tokio::time::advance(Duration::from_secs(2)).await;
            if self.writes() == before {
                return;
            }
        }
        panic!("still writing: {:?}", &self.writes()[self.writes().len() - 5..]);
    }

    /// All writes but events.
    fn writes(&self) -> Vec<String> {
        let server = self.server.lock();
        server.writes.iter().filter(|write| !write.contains("/events")).cloned().collect()
    }

    fn status(&self, name: &str) -> Value {
        self.server.lock().objects[&format!("{CLUSTERS}/{name}")]["status"].clone()
    }

    fn said(&self, name: &str, kind: &str) -> (String, String) {
        let status = self.status(name);
        let conditions = status["conditions"].as_array().unwrap();
        let said = conditions.iter().find(|said| said["type"] == kind).unwrap();
        (said["reason"].as_str().unwrap().to_owned(), said["message"].as_str().unwrap().to_owned())
    }
}

fn small() -> Value {
    json!({
        "version": "0.1.0",
        "nameServers": { "replicas": 1 },
        "brokers": { "groups": 1, "replicasPerGroup": 1, "storage": { "size": "1Gi" } },
    })
}

fn path_of(reference: &ObjectRef) -> String {
    let resource = api::resource(reference.kind);
    let prefix = if resource.group.is_empty() { "/api" } else { "/apis" };
    format!("{prefix}/{}/namespaces/ns/{}/{}", resource.api_version, resource.plural, reference.name)
}

#[tokio::test(start_paused = true)]
async fn a_new_cluster_gets_its_children_and_then_nothing_is_written() {
    let trial = trial();
    let key = trial.make("c", small());
    trial.settle(&key).await;
    let made: BTreeSet<String> = trial
        .server
        .lock()
        .objects
        .keys()
        .map(|path| path.rsplit('/').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    for child in
        ["c-namesrv statefulsets", "c-broker-0 statefulsets", "c-internal secrets", "c-accepted configmaps"]
    {
        assert!(made.contains(child), "no {child} in {made:?}");
    }
    assert_eq!(trial.said("c", "Ready").0, "Creating");
    // What the watches say of it changes nothing, nor what others add to it.
    let kept = path_of(&ObjectRef::new(Kind::ConfigMap, "c-accepted"));
    let mut labelled = trial.server.lock().objects[&kept].clone();
    labelled["metadata"]["labels"]["theirs"] = json!("stays");
    trial.server.lock().put(&kept, labelled);
    let before = trial.writes();
    trial.watch();
    trial.settle(&key).await;
    assert_eq!(trial.writes(), before);
}

#[tokio::test(start_paused = true)]
async fn an_object_of_someone_else_with_our_name_is_reported_and_left_alone() {
    let trial = trial();
    let path = path_of(&ObjectRef::new(Kind::Service, "c-namesrv"));
    let theirs =
        trial.server.lock().put(&path, json!({ "metadata": { "name": "c-namesrv", "namespace": "ns" } }));
    let key = trial.make("c", small());
    for _ in 0..10 {
        trial.reconciler.look(&key).await;
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    assert_eq!(trial.server.lock().objects[&path], theirs);
    let (reason, message) = trial.said("c", "SpecAccepted");
    assert_eq!(reason, "NameCollision");
    assert!(message.contains("Service c-namesrv exists and belongs to someone else"), "{message}");
    // It goes, and ours comes.
    trial.server.lock().objects.remove(&path);
    trial.settle(&key).await;
    assert_eq!(trial.said("c", "SpecAccepted").0, "Accepted");
    assert_ne!(trial.server.lock().objects[&path]["metadata"]["ownerReferences"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_lost_its_label_gets_it_back() {
    let trial = trial();
    let key = trial.make("c", small());
    trial.settle(&key).await;
    let path = path_of(&ObjectRef::new(Kind::Service, "c-broker-0-0"));
    let mut bare = trial.server.lock().objects[&path].clone();
    bare["metadata"]["labels"] = json!({});
    let uid = bare["metadata"]["uid"].as_str().unwrap().to_owned();
    trial.server.lock().put(&path, bare);
    trial.caches.children_of(Kind::Service).remove("ns", "c-broker-0-0", &uid, None);
    trial.settle(&key).await;
    let healed = trial.server.lock().objects[&path].clone();
    assert_eq!(healed["metadata"]["labels"][planner::labels::CLUSTER], "c");
    assert_eq!(healed["metadata"]["uid"], uid);
}

#[tokio::test(start_paused = true)]
async fn a_port_whose_number_was_changed_by_hand_gets_it_back() {
    let trial = trial();
    let key = trial.make("c", small());
    trial.settle(&key).await;
    let path = path_of(&ObjectRef::new(Kind::Service, "c-broker-0-0"));
    let before = trial.server.lock().objects[&path]["spec"].clone();
    let mut edited = trial.server.lock().objects[&path].clone();
    edited["spec"]["ports"][0]["port"] = json!(4711);
    edited["metadata"]["labels"]["theirs"] = json!("stays");
    trial.server.lock().put(&path, edited);
    trial.watch();
    trial.settle(&key).await;
    let healed = trial.server.lock().objects[&path].clone();
    assert_eq!(healed["spec"], before);
    assert_eq!(healed["metadata"]["labels"]["theirs"], "stays");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_no_apply_can_mend_is_made_again() {
    let trial = trial();
    let key = trial
        .make("c", json!({ "version": "0.1.0", "brokers": { "groups": 1, "storage": { "size": "1Gi" } } }));
    trial.settle(&key).await;
    let path = path_of(&ObjectRef::new(Kind::PodDisruptionBudget, "c-broker-0"));
    let before = trial.server.lock().objects[&path].clone();
    let mut edited = before.clone();
    edited["spec"] = json!({ "minAvailable": 1 });
    trial.server.lock().put(&path, edited);
    trial.server.lock().refuses.insert(format!("PATCH {path}"), 422);
    trial.watch();
    trial.settle(&key).await;
    let made = trial.server.lock().objects[&path].clone();
    assert_eq!(made["spec"], before["spec"]);
    assert_ne!(made["metadata"]["uid"], before["metadata"]["uid"]);
}

/// The API server gives an address back a moment after the service is gone.
#[tokio::test(start_paused = true)]
async fn a_service_waits_a_moment_for_its_former_address_and_then_goes_without() {
    let trial = trial();
    let key = trial.make("c", small());
    let view = bare_view(&trial, &key);
    for (tries, address) in [(0, "10.0.0.200"), (3, "10.0.0.200"), (99, "")] {
        let reference = ObjectRef::new(Kind::Service, format!("s-{tries}"));
        let json = json!({ "metadata": { "name": reference.name, "namespace": "ns" },
                           "spec": { "type": "ClusterIP", "clusterIP": "10.0.0.200" } });
        trial.server.lock().taken.insert("10.0.0.200".to_owned(), tries);
        let create = Action::Create(planner::object::Object { reference: reference.clone(), json });
        assert_eq!(trial.reconciler.executor.take(&view, &create).await.unwrap(), Taken::Done);
        let made = trial.server.lock().objects[&path_of(&reference)].clone();
        assert_eq!(made["spec"]["clusterIP"] == "10.0.0.200", !address.is_empty(), "{tries}: {made}");
    }
}

/// Returns a view of a cluster that has nothing but its own object.
fn bare_view(trial: &Trial, key: &ClusterKey) -> View {
    trial.reconciler.observer.cached(key).unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_eviction_asks_for_just_this_pod_and_a_budget_may_say_no() {
    let trial = trial();
    let key = trial.make("c", small());
    let view = bare_view(&trial, &key);
    let evict = Action::Evict {
        pod: "c-broker-0-0".to_owned(),
        uid: "u".to_owned(),
        resource_version: "7".to_owned(),
    };
    assert_eq!(trial.reconciler.executor.take(&view, &evict).await.unwrap(), Taken::Done);
    let sent = trial.server.lock().evictions[0].clone();
    assert_eq!(sent["deleteOptions"]["preconditions"], json!({ "uid": "u", "resourceVersion": "7" }));
    let write = "POST /api/v1/namespaces/ns/pods/c-broker-0-0/eviction";
    for (code, expected) in [(429, "not yet"), (409, "Conflict"), (403, "Forbidden"), (500, "Unanswered")] {
        trial.server.lock().refuses.insert(write.to_owned(), code);
        let told = match trial.reconciler.executor.take(&view, &evict).await {
            Ok(Taken::NotYet(_)) => "not yet",
            Ok(other) => panic!("{other:?}"),
            Err(failure) => failure.reason(),
        };
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_cannot_be_read_says_so_and_stops_nobody_else() {
    let trial = trial();
    let bad = trial.make("bad", json!({ "version": 7, "brokers": "none" }));
    let good = trial.make("good", small());
    for key in [&bad, &good] {
        trial.settle(key).await;
    }
    assert_eq!(trial.said("bad", "SpecAccepted").0, "InvalidSpec");
    assert_eq!(trial.said("good", "SpecAccepted").0, "Accepted");
    // Its status is no better: that one is tried again later.
    let path = format!("{CLUSTERS}/bad");
    let mut worse = trial.server.lock().objects[&path].clone();
    worse["status"]["brokers"] = json!("none");
    trial.server.lock().put(&path, worse);
    trial.watch();
    assert_eq!(trial.reconciler.look(&bad).await, Ended::Failed);
}

#[tokio::test(start_paused = true)]
async fn children_come_back_while_an_edit_cannot_be_applied() {
    let trial = trial();
    let key = trial.make("c", small());
    trial.settle(&key).await;
    let path = format!("{CLUSTERS}/c");
    let mut edited = trial.server.lock().objects[&path].clone();
    edited["spec"]["brokers"]["config"] = json!({ "brokerId": "3" });
    edited["metadata"]["generation"] = json!(2);
    trial.server.lock().put(&path, edited);
    let child = path_of(&ObjectRef::new(Kind::Service, "c-broker-hl"));
    let gone = trial.server.lock().objects.remove(&child).unwrap();
    trial.caches.children_of(Kind::Service).remove(
        "ns",
        "c-broker-hl",
        gone["metadata"]["uid"].as_str().unwrap(),
        None,
    );
    trial.watch();
    trial.settle(&key).await;
    assert_eq!(trial.said("c", "SpecAccepted").0, "ForbiddenConfigKey");
    assert_eq!(trial.status("c")["observedGeneration"], 2);
    assert!(trial.server.lock().objects.contains_key(&child));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_cannot_be_applied_is_one_event_each_time_it_appears() {
    let trial = trial();
    let key = trial.make("c", small());
    trial.settle(&key).await;
    let good = trial.server.lock().objects[&format!("{CLUSTERS}/c")]["spec"]["brokers"].clone();
    let edit = async |brokers: Value| {
        let path = format!("{CLUSTERS}/c");
        let mut edited = trial.server.lock().objects[&path].clone();
        for (key, value) in good.as_object().into_iter().chain(brokers.as_object()).flatten() {
            edited["spec"]["brokers"][key] = value.clone();
        }
        trial.server.lock().put(&path, edited);
        for _ in 0..3 {
            trial.watch();
            trial.settle(&key).await;
        }
    };
    let said = || -> Vec<String> {
        let server = trial.server.lock();
        let events = server.objects.values().filter(|object| object["reason"] == "SpecIgnored");
        let warned = events.inspect(|event| assert_eq!(event["type"], "Warning"));
        warned.map(|event| event["note"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(said(), Vec::<String>::new());
    edit(json!({ "config": { "brokerId": "3" } })).await;
    assert_eq!(said().len(), 1);
    assert!(said()[0].contains("brokerId"), "{:?}", said());
    edit(json!({ "config": {} })).await;
    // One that needs a look at the cluster.
    edit(json!({ "remove": [7] })).await;
    assert_eq!(said().len(), 2);
    assert!(said()[1].contains("there is no group 7"), "{:?}", said());
}

#[tokio::test(start_paused = true)]
async fn a_status_that_someone_else_changed_is_not_overwritten() {
    let trial = trial();
    let key = trial.make("c", small());
    trial.settle(&key).await;
    let path = format!("{CLUSTERS}/c");
    let mut newer = trial.server.lock().objects[&path].clone();
    newer["status"]["brokers"]["nextGroupIndex"] = json!(7);
    newer["metadata"]["generation"] = json!(2);
    // The caches know of the new generation and not yet of the new status.
    let mut old = trial.server.lock().objects[&path].clone();
    old["metadata"]["generation"] = json!(2);
    trial.server.lock().put(&path, old);
    trial.watch();
    trial.server.lock().put(&path, newer);
    assert_eq!(trial.reconciler.look(&key).await, Ended::Failed);
    assert_eq!(trial.status("c")["brokers"]["nextGroupIndex"], 7);
    trial.watch();
    trial.settle(&key).await;
    assert_eq!(trial.status("c")["brokers"]["nextGroupIndex"], 7);
    assert_eq!(trial.status("c")["observedGeneration"], 2);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_any_more_writes_nothing() {
    let trial = trial();
    let key = trial.make("c", small());
    trial.leads.send_replace(None);
    trial.reconciler.look(&key).await;
    assert_eq!(trial.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_old_view_does_not_bring_back_a_group_that_is_gone() {
    let trial = trial();
    let key = trial.make("c", small());
    // The status is recorded, children are made; the broker's StatefulSet waits for an address.
    for _ in 0..2 {
        trial.reconciler.look(&key).await;
    }
    let path = format!("{CLUSTERS}/c");
    let mut removed = trial.server.lock().objects[&path].clone();
    assert_eq!(removed["status"]["brokers"]["groupStatuses"][0]["state"], "Active");
    removed["spec"]["brokers"]["groups"] = json!(0);
    removed["status"]["brokers"]["groupStatuses"] = json!([]);
    trial.server.lock().put(&path, removed);
    for _ in 0..3 {
        trial.reconciler.look(&key).await;
    }
    let sets = trial.writes().into_iter().filter(|write| write.contains("statefulsets"));
    let made =
        trial.server.lock().objects.contains_key(&path_of(&ObjectRef::new(Kind::StatefulSet, "c-broker-0")));
    assert!(!made, "{:?}", sets.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_takes_nothing_holds_up_no_restart_and_a_failed_write_does() {
    let trial = trial();
    let key = trial.make("c", small());
    trial.settle(&key).await;
    let step = |action, class| Step { action, class, reason: String::new(), event: None };
    let copy = step(Action::CopyMetadata { from: vec![0], to: 0 }, Class::None);
    let patch = Action::PatchClaim { claim: "data".to_owned(), uid: "u".to_owned(), patch: json!({}) };
    let evict = Action::Evict { pod: "p".to_owned(), uid: "u".to_owned(), resource_version: "1".to_owned() };
    let restart = step(evict, Class::MemberLoss);
    let pod = json!({
        "metadata": { "name": "c-broker-0-0", "namespace": "ns", "uid": "p" },
        "spec": { "containers": [{ "name": "broker", "ports": [{ "name": "remoting", "containerPort": 1 }] }] },
        "status": { "podIP": "10.0.0.9" },
    });
    let pod = Entry::read(serde_json::from_value(pod).unwrap()).unwrap();
    trial.caches.pods.put(&key, "c-broker-0-0", pod);
    let reaches = async |first: Step| {
        let view = trial.reconciler.observer.cached(&key).unwrap().unwrap();
        let plan = Plan { steps: vec![first, restart.clone()], ..Plan::default() };
        let now = Timestamp::now();
        let outcome = trial.reconciler.take_steps(&key, &view, &mut Memory::default(), &plan, now).await;
        assert!(outcome.failure.is_some() || outcome.untold.is_some());
        // It was looked at again, and nothing of the kind is planned.
        outcome.not_yet
    };
    assert!(reaches(copy).await);
    assert!(!reaches(step(patch, Class::None)).await);
}
