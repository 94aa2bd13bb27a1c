//! Every field of the manifest and what a change of it does: nothing but settings that running members take over, a
//! restart of one role or of all, other objects only, volumes, numbers of pods, or nothing at all.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "model/kubernetes.rs"]
mod kubernetes;
#[allow(dead_code)]
#[path = "model/operator.rs"]
mod operator;
#[allow(dead_code)]
#[path = "model/random.rs"]
mod random;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use manifest::Validated;
use manifest::marks::{Mark, fields, mark_of};
use planner::labels::{INTENT_HASH, NAME_SERVERS_SINCE, PERMISSION_SINCE};
use planner::object::{Kind, Object};
use serde_json::{Value, json};

use Effect::{Fixed, Later, Live, Nothing, Objects, Pods, Restart, Volumes};
use kubernetes::World;
use operator::settle;
use random::Random;
use world::{known_addresses, new_cluster, now};

/// What a change does to objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Live settings, and nothing that restarts.
    Live,
    /// The templates of pods of these roles.
    Restart(&'static [&'static str]),
    /// Objects beside pods and settings.
    Objects,
    /// The numbers of pods, and what goes with each.
    Pods,
    /// Claim templates.
    Volumes,
    /// It steers the operator.
    Nothing,
    /// A change is refused by the API server; here the pair is not compared.
    Fixed,
    /// Not supported yet: refused.
    Later,
}

const BROKER: Effect = Restart(&["broker"]);
const NAMESRV: Effect = Restart(&["namesrv"]);
const ALL: Effect = Restart(&["broker", "namesrv"]);

/// Each leaf of the spec, another value, and what becomes of it.
fn rows() -> Vec<(&'static str, Value, Effect)> {
    let pod = || json!({ "metadata": { "annotations": { "a": "b" } } });
    let mut rows = vec![
        ("clusterName", json!("other"), Fixed),
        ("version", json!("0.1.1"), ALL),
        ("image.prefix", json!("example.com/"), ALL),
        ("image.pullPolicy", json!("Never"), ALL),
        ("image.pullSecrets", json!([{ "name": "x" }]), ALL),
        ("image.overrides.broker", json!("x:1"), BROKER),
        ("image.overrides.namesrv", json!("x:1"), NAMESRV),
        ("image.overrides.controller", json!("x:1"), Later),
        ("image.overrides.proxy", json!("x:1"), Later),
        ("paused", json!(true), Nothing),
        ("stopped", json!(true), Nothing),
        ("deletion.policy", json!("Delete"), Nothing),
        ("deletion.protection", json!(true), Nothing),
        ("allowedNamespaces", json!({ "matchLabels": { "a": "b" } }), Later),
        ("serviceAccountName", json!("x"), ALL),
        ("dns.clusterDomain", json!("x.local"), BROKER),
        ("nameServers.replicas", json!(3), Pods),
        ("nameServers.warmUp", json!("20s"), NAMESRV),
        ("nameServers.external", json!(["a:1"]), Later),
        ("nameServers.config", json!({ "maxConnections": "7" }), NAMESRV),
        ("nameServers.podTemplate", pod(), NAMESRV),
        ("controllers", json!({ "replicas": 5 }), Later),
        ("brokers.groups", json!(3), Pods),
        ("brokers.replicasPerGroup", json!(3), Pods),
        ("brokers.remove", json!([0]), Nothing),
        ("brokers.groupNameTemplate", json!("x-{group}"), Fixed),
        ("brokers.slaveRead", json!(false), Live),
        ("brokers.replication.mode", json!("Async"), Live),
        ("brokers.replication.requiredAcks", json!(2), Nothing),
        ("brokers.replication.minInSyncReplicas", json!(2), Later),
        ("brokers.replication.allAckInSyncStateSet", json!(false), Later),
        ("brokers.replication.maxSlaveLag", json!("20s"), Live),
        ("brokers.replication.catchUpBytesPerSecond", json!("1Mi"), Live),
        ("brokers.flush.mode", json!("Sync"), Live),
        ("brokers.flush.interval", json!("100ms"), Live),
        ("brokers.storage.type", json!("EmptyDir"), Fixed),
        ("brokers.storage.size", json!("20Gi"), Volumes),
        ("brokers.storage.storageClassName", json!("x"), Fixed),
        ("brokers.storage.volumeAttributesClassName", json!("x"), Volumes),
        ("brokers.storage.accessMode", json!("ReadWriteOncePod"), Fixed),
        ("brokers.storage.commitLog", json!({ "size": "1Gi" }), Later),
        ("brokers.storage.whenScaled", json!("Delete"), Nothing),
        ("brokers.storage.onLostVolume", json!("Replace"), Nothing),
        ("brokers.storage.fileReservedTime", json!("48h"), Live),
        ("brokers.storage.diskFullPercent", json!(80), Live),
        ("brokers.topicInheritance", json!("None"), Nothing),
        ("brokers.autoCreateTopics", json!(true), Live),
        ("brokers.autoCreateConsumerGroups", json!(false), Live),
        ("brokers.config", json!({ "maxMessageSize": "8MiB" }), BROKER),
        ("brokers.config", json!({ "slaveTimeout": "1000" }), Live),
        ("brokers.scaleIn.policy", json!("Force"), Nothing),
        ("brokers.scaleIn.drainTimeout", json!("1h"), Nothing),
        ("brokers.scaleIn.minDrainTime", json!("90s"), Nothing),
        ("brokers.scaleIn.idleGroups", json!("Drop"), Nothing),
        ("brokers.scaleIn.ignoreIdleGroupsAfter", json!("1h"), Nothing),
        ("brokers.scaleIn.migrateRemaining", json!(true), Later),
        ("brokers.rollout.primaryUpdate", json!("Restart"), Nothing),
        ("brokers.rollout.approval", json!("Supervised"), Nothing),
        ("brokers.rollout.maxGroupsInParallel", json!(2), Nothing),
        ("brokers.rollout.pauseBetween", json!("5s"), Nothing),
        ("brokers.rollout.preferredMaster", json!("0"), Later),
        ("brokers.rollout.window", json!([{ "schedule": "0 2 * * *", "duration": "1h" }]), Nothing),
        ("brokers.fenced", json!([{ "group": 0, "ordinal": 0 }]), Later),
        ("brokers.terminationGracePeriod", json!("60s"), BROKER),
        ("brokers.podTemplate", pod(), BROKER),
        ("masterService.enabled", json!(true), Objects),
        ("tls", json!({}), Later),
        ("networkPolicy.enabled", json!(false), Objects),
        ("podDisruptionBudget.enabled", json!(false), Objects),
        ("monitoring.podMonitor.enabled", json!(true), Objects),
        ("monitoring.podMonitor.labels", json!({ "a": "b" }), Nothing),
        ("monitoring.podMonitor.interval", json!("10s"), Nothing),
        ("monitoring.prometheusRule.enabled", json!(true), Objects),
        ("monitoring.prometheusRule.labels", json!({ "a": "b" }), Nothing),
        ("monitoring.dashboards.enabled", json!(true), Objects),
        // Name servers have no live settings; they restart one by one.
        ("logging.level", json!("debug"), NAMESRV),
        ("logging.format", json!("Text"), ALL),
        ("logging.targets", json!({ "a": "debug" }), Later),
    ];
    for (role, effect) in [("nameServers", NAMESRV), ("brokers", BROKER)] {
        let scheduling = [
            ("resources.requests", json!({ "cpu": "1" })),
            ("resources.limits", json!({ "cpu": "1" })),
            ("scheduling.antiAffinity", json!("Required")),
            ("scheduling.zoneSpread", json!("Disabled")),
            ("scheduling.nodeSelector", json!({ "a": "b" })),
            ("scheduling.tolerations", json!([{ "operator": "Exists" }])),
            ("scheduling.affinity", json!({ "nodeAffinity": {} })),
            ("scheduling.priorityClassName", json!("x")),
            (
                "scheduling.topologySpreadConstraints",
                json!([{ "topologyKey": "x", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule" }]),
            ),
            ("scheduling.schedulerName", json!("x")),
            ("scheduling.runtimeClassName", json!("x")),
        ];
        for (field, value) in scheduling {
            let path: &'static str = Box::leak(format!("{role}.{field}").into_boxed_str());
            rows.push((path, value, effect));
        }
    }
    rows
}

/// The listener that is changed is the second; the first, `internal`, has rows of its own below.
fn listener_rows() -> Vec<(&'static str, Value, Effect)> {
    vec![
        ("name", json!("other"), NAMESRV),
        ("type", json!("LoadBalancer"), Live),
        ("type", json!("Template"), Live),
        ("type", json!("HostNetwork"), BROKER),
        // Clients are told the node's port.
        ("port", json!(30911), Objects),
        ("nameServerPort", json!(9999), NAMESRV),
        ("advertised", json!({ "hostTemplate": "{pod}.example.com" }), Live),
        ("tls", json!({ "mode": "Permissive" }), Later),
        ("nodePort", json!({ "base": 30200 }), Live),
        ("nodePort", json!({ "addressType": "InternalIP" }), Live),
        ("networkPolicyPeers", json!([{ "ipBlock": { "cidr": "10.0.0.0/8" } }]), Objects),
    ]
}

#[test]
fn every_field_does_what_the_manual_says() {
    for (path, value, expected) in rows() {
        check_mark(path, &value, expected);
        let mut changed = base();
        *at(&mut changed["spec"], path) = value.clone();
        check(&format!("{path}: {value}"), &changed, expected);
    }
}

/// What a change does here is what the field's description says, from which the manual and `gantry plan` have it.
fn check_mark(path: &str, value: &Value, effect: Effect) {
    let mut path = format!("spec.{path}");
    if path.ends_with(".config") {
        path = format!("{path}.{}", value.as_object().unwrap().keys().next().unwrap());
    }
    let marks: &[Mark] = match effect {
        Live | Objects => &[Mark::Live],
        Restart(_) => &[Mark::Restart],
        Pods => &[Mark::Staged],
        // Of another class they change in place.
        Volumes => &[Mark::Staged, Mark::Live],
        Nothing if DOES_NOTHING_HERE.contains(&&path["spec.".len()..]) => return,
        Nothing => &[Mark::Operator],
        Fixed => &[Mark::Fixed],
        Later => return,
    };
    // Of an object all fields have it.
    let known: Vec<Mark> = match mark_of(&path) {
        Some(mark) => vec![mark],
        None => fields()
            .into_iter()
            .filter(|field| field.path.starts_with(&path))
            .map(|field| field.mark)
            .collect(),
    };
    assert!(
        !known.is_empty() && known.iter().all(|mark| marks.contains(mark)),
        "{path}: {known:?}, {effect:?}"
    );
}

/// Their effect needs what this cluster has not: another role, a third member, monitoring. `stopped` takes pods away step
/// by step.
const DOES_NOTHING_HERE: &[&str] = &[
    "brokers.replication.requiredAcks",
    "image.overrides.controller",
    "image.overrides.proxy",
    "monitoring.podMonitor.interval",
    "monitoring.podMonitor.labels",
    "monitoring.prometheusRule.labels",
    "stopped",
];

#[test]
fn every_field_of_a_listener_does_what_the_manual_says() {
    for (field, value, expected) in listener_rows() {
        // Their descriptions have both.
        if value != json!("HostNetwork") && field != "port" {
            check_mark(&format!("listeners[].{field}"), &value, expected);
        }
        let mut changed = base();
        changed["spec"]["listeners"][1][field] = value.clone();
        if field == "type" && value == json!("Template") {
            changed["spec"]["listeners"][1]["advertised"] = json!({ "hostTemplate": "{pod}.example.com" });
        }
        check(&format!("listeners[1].{field}: {value}"), &changed, expected);
    }
    let mut changed = base();
    changed["spec"]["listeners"][0]["port"] = json!(12911);
    check("the port that brokers listen at", &changed, BROKER);
    let mut changed = base();
    changed["spec"]["listeners"][0]["type"] = json!("PodIP");
    check("the way inside", &changed, Live);
    for (field, value) in [
        ("class", json!("x")),
        ("sourceRanges", json!(["10.0.0.0/8"])),
        ("annotations", json!({ "a": "{pod}" })),
    ] {
        let mut before = base();
        before["spec"]["listeners"][1]["type"] = json!("LoadBalancer");
        let mut after = before.clone();
        after["spec"]["listeners"][1]["loadBalancer"] = json!({ field: value });
        assert_eq!(effect(&load(&before).unwrap(), &load(&after).unwrap()), Objects, "{field}");
    }
}

/// Where a restart follows, one field of each kind; `FIELDS=all` takes every one.
#[test]
fn what_is_changed_and_changed_back_is_as_it_was() {
    let all = std::env::var("FIELDS").is_ok_and(|fields| fields == "all");
    let mut restarted = BTreeSet::new();
    let mut changes = Vec::new();
    for (path, value, effect) in rows() {
        let mut changed = base();
        *at(&mut changed["spec"], path) = value.clone();
        changes.push((format!("{path}: {value}"), changed, effect));
    }
    for (field, value, effect) in listener_rows() {
        let mut changed = base();
        let listener = &mut changed["spec"]["listeners"][1];
        listener[field] = value.clone();
        if value == json!("Template") {
            listener["advertised"] = json!({ "hostTemplate": "{pod}.example.com" });
        }
        changes.push((format!("listeners[1].{field}: {value}"), changed, effect));
    }
    let mut first = World::new(load(&base()).unwrap(), false);
    first.operator.monitoring_kinds = true;
    settle(&mut first);
    for (name, changed, effect) in changes {
        // Volumes never shrink.
        let goes_back = !matches!(effect, Fixed | Later) && !name.starts_with("brokers.storage.size");
        let is_known = matches!(effect, Restart(roles) if !restarted.insert(roles));
        if !goes_back || (is_known && !all) {
            continue;
        }
        let mut world = first.clone();
        for manifest in [&changed, &base()] {
            world.manifest = load(manifest).unwrap();
            world.cluster.generation += 1;
            settle(&mut world);
        }
        let (before, after) = (shown(&first), shown(&world));
        let differ = before.keys().chain(after.keys()).find(|key| before.get(*key) != after.get(*key));
        assert_eq!(differ.map(|key| (key, before.get(key), after.get(key))), None, "{name}");
    }
}

/// What a cluster is, but for numbers and times that are drawn anew.
fn shown(world: &World) -> BTreeMap<String, String> {
    let mut drawn: Vec<(String, String)> =
        (1..=3).map(|node| (format!("198.51.100.{node}"), "NODE".to_owned())).collect();
    for (reference, service) in world.objects.iter().filter(|(of, _)| of.kind == Kind::Service) {
        let spec = &service.json["spec"];
        drawn.extend(spec["clusterIP"].as_str().map(|ip| (ip.to_owned(), format!("IP-{}", reference.name))));
        for port in spec["ports"].as_array().into_iter().flatten() {
            let opened = port["nodePort"].as_u64();
            drawn.extend(opened.map(|port| (port.to_string(), format!("\"PORT-{}\"", reference.name))));
        }
    }
    // Some are the beginning of others.
    drawn.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    let plain = |text: String| drawn.iter().fold(text, |text, (from, to)| text.replace(from, to));
    let without_revision = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("configRevision="));
        lines.collect::<Vec<_>>().join("\n")
    };
    let mut all = BTreeMap::new();
    let mounted: BTreeSet<&String> = world.pods.values().flat_map(|pod| &pod.facts.config_maps).collect();
    for (reference, object) in &world.objects {
        // Settings of former templates are kept for a while.
        if object.json["immutable"] == json!(true) && !mounted.contains(&reference.name) {
            continue;
        }
        let mut json = object.json.clone();
        json["status"].take();
        json["metadata"]["generation"].take();
        json["metadata"]["annotations"][INTENT_HASH].take();
        if reference.name.ends_with("-live") {
            for key in [PERMISSION_SINCE, NAME_SERVERS_SINCE] {
                json["metadata"]["annotations"][key].take();
            }
            for text in json["data"].as_object_mut().unwrap().values_mut() {
                *text = json!(without_revision(text.as_str().unwrap()));
            }
        }
        all.insert(reference.to_string(), plain(json.to_string()));
    }
    for (name, pod) in &world.pods {
        let mut settings = pod.settings.clone();
        settings.remove("configRevision");
        let facts = &pod.facts;
        let pod = format!(
            "{:?} {:?} {} {:?} {settings:?}",
            facts.labels, facts.annotations, facts.image, facts.config_maps
        );
        all.insert(format!("pod {name}"), plain(pod));
    }
    // Volumes of members that have gone are kept.
    let in_use = |claim: &str| claim.strip_prefix("data-").is_some_and(|pod| world.pods.contains_key(pod));
    for (name, claim) in world.claims.iter().filter(|(name, _)| in_use(name)) {
        all.insert(format!("claim {name}"), format!("{} {:?}", claim.requested, claim.annotations));
    }
    all
}

#[test]
fn no_field_is_forgotten() {
    let schema = &manifest::crd::definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut leaves = BTreeSet::new();
    collect(&schema["properties"]["spec"], "", &mut leaves);
    let rows = rows();
    let known = |leaf: &str| {
        rows.iter().any(|(path, ..)| *path == leaf || leaf.starts_with(&format!("{path}.")))
            // Zones need another field changed with them; golden files have them.
            || leaf.ends_with("scheduling.zones")
            || ["listeners", "proxy", "acl"].iter().any(|whole| leaf == *whole || leaf.starts_with(&format!("{whole}.")))
    };
    let forgotten: Vec<&String> = leaves.iter().filter(|leaf| !known(leaf)).collect();
    assert_eq!(forgotten, Vec::<&String>::new());
    let fields =
        schema["properties"]["spec"]["properties"]["listeners"]["items"]["properties"].as_object().unwrap();
    let of_listeners: BTreeSet<&str> =
        listener_rows().iter().map(|(field, ..)| *field).chain(["loadBalancer"]).collect();
    assert_eq!(fields.keys().map(String::as_str).collect::<BTreeSet<_>>(), of_listeners);
}

/// A pod that is not restricted is not let in by many namespaces.
#[test]
fn pods_keep_to_the_restricted_profile() {
    let manifest = load(&base()).unwrap();
    let objects = objects_of(&manifest);
    let sets = objects.iter().filter(|object| object.reference.kind == Kind::StatefulSet);
    for set in sets {
        let pod = &set.json["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let rules = [
            ("runs as nobody", pod["securityContext"]["runAsNonRoot"] == true),
            ("with a user", pod["securityContext"]["runAsUser"] == 65_532),
            ("with seccomp", pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"),
            ("gains nothing", container["securityContext"]["allowPrivilegeEscalation"] == false),
            ("drops all", container["securityContext"]["capabilities"] == json!({ "drop": ["ALL"] })),
            ("writes only to volumes", container["securityContext"]["readOnlyRootFilesystem"] == true),
            ("is not on the host", pod.get("hostNetwork").is_none() && pod.get("hostPID").is_none()),
            ("gets no token", pod["automountServiceAccountToken"] == false),
            ("gets no addresses of others", pod["enableServiceLinks"] == false),
            ("has one container", pod["containers"].as_array().unwrap().len() == 1),
        ];
        for (rule, holds) in rules {
            assert!(holds, "{} {rule}", set.reference);
        }
        let allowed = ["configMap", "secret", "emptyDir", "name"];
        for volume in pod["volumes"].as_array().unwrap() {
            assert!(
                volume.as_object().unwrap().keys().all(|key| allowed.contains(&key.as_str())),
                "{volume}"
            );
        }
        for mount in container["volumeMounts"].as_array().unwrap() {
            assert!(mount.get("subPath").is_none(), "{mount} would not see changes");
        }
    }
}

fn base() -> Value {
    json!({
        "apiVersion": "gantry.rs/v1alpha1",
        "kind": "RocketMQCluster",
        "metadata": { "name": "mq", "namespace": "default" },
        "spec": {
            "version": "0.1.0",
            "nameServers": { "replicas": 2 },
            "brokers": {
                "groups": 2,
                "replicasPerGroup": 2,
                "replication": { "mode": "Sync" },
                "storage": { "size": "10Gi" },
            },
            "listeners": [
                { "name": "internal", "type": "PodService", "port": 10911 },
                { "name": "outside", "type": "NodePort", "port": 20911 },
            ],
        },
    })
}

fn load(manifest: &Value) -> Result<Validated, String> {
    manifest::load(&manifest.to_string()).map_err(|problems| format!("{problems:?}"))
}

fn check(name: &str, changed: &Value, expected: Effect) {
    match (load(changed), expected) {
        (Err(problems), Later) => assert!(problems.contains("not supported yet"), "{name}: {problems}"),
        (Err(problems), _) => panic!("{name}: {problems}"),
        (Ok(_), Later) => panic!("{name} is supported now: say what it does"),
        (Ok(_), Fixed) => {}
        (Ok(changed), _) => assert_eq!(effect(&load(&base()).unwrap(), &changed), expected, "{name}"),
    }
}

fn objects_of(manifest: &Validated) -> Vec<Object> {
    let mut facts = new_cluster(manifest);
    facts.operator.monitoring_kinds = true;
    let first = planner::objects(manifest, &facts, now());
    known_addresses(&mut facts, &first);
    planner::objects(manifest, &facts, now())
}

fn effect(before: &Validated, after: &Validated) -> Effect {
    let by_name = |objects: Vec<Object>| -> BTreeMap<_, _> {
        objects.into_iter().map(|object| (object.reference, object.json)).collect()
    };
    let (before, after) = (by_name(objects_of(before)), by_name(objects_of(after)));
    let spec = |json: &Value, path: &str| json.pointer(path).cloned().unwrap_or_default();
    let sets: Vec<_> = before
        .iter()
        .filter(|(reference, _)| reference.kind == Kind::StatefulSet)
        .filter_map(|(reference, json)| Some((reference, json, after.get(reference)?)))
        .collect();
    let differ =
        |path: &str| sets.iter().filter(|(_, old, new)| spec(old, path) != spec(new, path)).count() > 0;
    let restarts = |role: &str| {
        let path = "/spec/template";
        let of_role = sets.iter().filter(|(reference, ..)| reference.name.contains(role));
        of_role.into_iter().any(|(_, old, new)| spec(old, path) != spec(new, path))
    };
    let sets_now = |objects: &BTreeMap<_, _>| {
        objects
            .keys()
            .filter(|reference: &&planner::object::ObjectRef| reference.kind == Kind::StatefulSet)
            .count()
    };
    match (restarts("broker"), restarts("namesrv")) {
        (true, true) => return ALL,
        (true, false) => return BROKER,
        (false, true) => return NAMESRV,
        (false, false) => {}
    }
    if differ("/spec/replicas") || sets_now(&before) != sets_now(&after) {
        return Pods;
    }
    if differ("/spec/volumeClaimTemplates") {
        return Volumes;
    }
    let live = |objects: &BTreeMap<planner::object::ObjectRef, Value>| -> Vec<Value> {
        let configs = objects.iter().filter(|(reference, _)| reference.name.ends_with("-live"));
        configs.map(|(_, json)| json["data"].clone()).collect()
    };
    if live(&before) != live(&after) {
        return Live;
    }
    if before == after { Nothing } else { Objects }
}

fn at<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.').fold(value, |value, name| &mut value[name])
}

fn collect(schema: &Value, path: &str, leaves: &mut BTreeSet<String>) {
    match schema["properties"].as_object() {
        Some(properties) => {
            for (name, child) in properties {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(child, &path, leaves);
            }
        }
        None => {
            leaves.insert(path.to_owned());
        }
    }
}
