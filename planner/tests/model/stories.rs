//! One story each, on a Kubernetes where nothing goes wrong but what the story is about.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use manifest::cluster::ClusterStatus;
use manifest::cluster::status::Condition;
use planner::facts::{Answer, ClaimFacts, NodeFacts, Observed};
use planner::labels::{ADOPT, CLUSTER_UID, REPLACE, RESTART};
use planner::object::{Kind, ObjectRef};
use planner::step::{Action, Plan, Step, Waiting};
use serde_json::json;

use crate::Random;
use crate::kubernetes::World;
use crate::operator::{reconcile, settle};

const TWO_BY_TWO: &str = "
apiVersion: gantry.rs/v1alpha1
kind: RocketMQCluster
metadata: { name: mq, namespace: default }
spec:
  version: 0.1.0
  nameServers: { replicas: 3 }
  brokers:
    groups: 2
    replicasPerGroup: 2
    storage: { size: 10Gi }
";

#[test]
fn a_new_cluster_is_recorded_first_and_no_pod_starts_before_its_address_is_known() {
    let world = settled(TWO_BY_TWO);
    assert_eq!(world.history[..2], ["AddFinalizer", "Record [\"0:Active\", \"1:Active\"]"]);
    let of = |what: &str| world.history.iter().position(|done| done == what).unwrap();
    for group in 0..2 {
        for ordinal in 0..2 {
            let service = of(&format!("Create Service mq-broker-{group}-{ordinal}"));
            assert!(service < of(&format!("Create StatefulSet mq-broker-{group}")));
        }
        let live = &world.objects[&ObjectRef::new(Kind::ConfigMap, format!("mq-broker-{group}-live"))];
        let text = live.json["data"][format!("mq-broker-{group}-1.properties")].as_str().unwrap();
        assert!(text.contains("brokerIP1=10.96."), "{text}");
    }
    assert_eq!(restarts(&world), Vec::<String>::new());
}

#[test]
fn a_service_that_was_deleted_comes_back_with_the_address_that_clients_know() {
    let mut world = settled(TWO_BY_TWO);
    let lost = ObjectRef::new(Kind::Service, "mq-broker-1-0");
    let before = world.objects.remove(&lost).unwrap();
    let told = world.objects[&ObjectRef::new(Kind::ConfigMap, "mq-broker-1-live")].json.clone();
    world.history.clear();
    settle(&mut world);
    assert!(world.history.iter().all(|done| done.contains("Service mq-broker-1-0")), "{:?}", world.history);
    assert_eq!(world.objects[&lost].json["spec"]["clusterIP"], before.json["spec"]["clusterIP"]);
    assert_eq!(world.objects[&ObjectRef::new(Kind::ConfigMap, "mq-broker-1-live")].json, told);
}

#[test]
fn a_secret_without_its_token_is_made_again_and_one_that_reads_otherwise_keeps_it() {
    let mut world = settled(TWO_BY_TWO);
    let secret = ObjectRef::new(Kind::Secret, "mq-internal");
    for broken in [json!({ "token": "" }), json!({ "other": "dA==" }), json!(null)] {
        let before = world.objects[&secret].uid.clone();
        world.objects.get_mut(&secret).unwrap().json["data"] = broken.clone();
        world.history.clear();
        settle(&mut world);
        assert_eq!(world.history, ["Delete Secret mq-internal", "Create Secret mq-internal"], "{broken}");
        assert_ne!(world.objects[&secret].uid, before);
    }
    let token = world.objects[&secret].json["data"].clone();
    world.objects.get_mut(&secret).unwrap().json["metadata"]["labels"] = json!({ "theirs": "stays" });
    world.objects.get_mut(&secret).unwrap().json["data"]["theirs"] = json!("dA==");
    world.history.clear();
    settle(&mut world);
    assert_eq!(world.history, ["Apply Secret mq-internal null"]);
    let mended = &world.objects[&secret].json;
    assert_eq!(mended["metadata"]["labels"]["gantry.rs/cluster"], "mq");
    assert_eq!((&mended["data"]["token"], &mended["data"]["theirs"]), (&token["token"], &json!("dA==")));
    // Whoever may not read what is in it, as `gantry plan` does not, has nothing to say of it.
    let known = world.objects.get_mut(&secret).unwrap();
    known.json = json!({ "metadata": known.json["metadata"] });
    assert_eq!(world.live_plan().steps, []);
}

#[test]
fn a_settled_cluster_asks_for_no_write_not_even_of_its_status() {
    let mut world = settled(TWO_BY_TWO);
    for _ in 0..3 {
        let plan = world.live_plan();
        assert_eq!((plan.steps, plan.waiting), (Vec::new(), Vec::new()));
        assert_eq!(plan.status, world.cluster.status);
        world.tick(&mut Random(7), false);
    }
    let status = world.live_plan().status;
    let brokers = &status.brokers;
    assert_eq!((brokers.groups, brokers.ready_groups, brokers.writable_groups), (2, 2, 2));
    assert_eq!((brokers.members, brokers.in_sync_members, brokers.next_group_index), (4, 4, 2));
    assert_eq!(brokers.selector.as_deref(), Some("gantry.rs/cluster=mq,gantry.rs/component=broker"));
    let said: Vec<String> = status
        .conditions
        .iter()
        .map(|Condition { kind, status, reason, .. }| format!("{kind}={status} {reason}"))
        .collect();
    assert_eq!(
        said,
        [
            "SpecAccepted=True Accepted",
            "Ready=True AllInSync",
            "Available=True AllGroupsWritable",
            "Progressing=False Idle",
            "Degraded=False AsExpected",
            "Redundant=False AsyncReplication",
            "StorageResized=True Matches",
        ]
    );
}

#[test]
fn a_new_version_reaches_slaves_before_masters_and_masters_without_producers() {
    let mut world = settled(TWO_BY_TWO);
    change(&mut world, &TWO_BY_TWO.replace("version: 0.1.0", "version: 0.1.1"));
    assert_eq!(
        restarts(&world),
        [
            "mq-namesrv-0",
            "mq-namesrv-1",
            "mq-namesrv-2",
            "mq-broker-0-1",
            "mq-broker-0-0",
            "mq-broker-1-1",
            "mq-broker-1-0"
        ]
    );
    // Each group is told to refuse messages and to take them again.
    for group in 0..2 {
        let pushes = |permission: &str| {
            let wanted = format!("permission Some(\"{permission}\")");
            // The kubelet may bring it to one of the two first.
            let start = format!("Push mq-broker-{group}-");
            world.history.iter().any(|done| done.starts_with(&start) && done.ends_with(&wanted))
        };
        assert!(pushes("4"), "{:#?}", world.history);
    }
    assert_eq!(world.cluster.status.version.as_deref(), Some("0.1.1"));
}

#[test]
fn a_request_to_restart_is_done_once_and_taking_it_away_restarts_nobody() {
    let mut world = settled(TWO_BY_TWO);
    let restarts_with = |world: &mut World, request: Option<&str>, manifest: &str| {
        world.cluster.annotations.remove(RESTART);
        world.cluster.annotations.extend(request.map(|request| (RESTART.to_owned(), request.to_owned())));
        change(world, manifest);
        restarts(world).len()
    };
    assert_eq!(restarts_with(&mut world, Some("monday"), TWO_BY_TWO), 7);
    assert_eq!(restarts_with(&mut world, None, TWO_BY_TWO), 0);
    // A StatefulSet that is made anew, for larger volumes, forgets nothing, and new groups have nothing to forget.
    let more = TWO_BY_TWO.replace("10Gi", "20Gi").replace("groups: 2", "groups: 3");
    assert_eq!(restarts_with(&mut world, None, &more), 0);
    assert_eq!(restarts_with(&mut world, Some("monday"), &more), 2);
    assert_eq!(restarts_with(&mut world, Some("tuesday"), &more), 9);
}

#[test]
fn a_live_setting_restarts_nobody() {
    let mut world = settled(TWO_BY_TWO);
    let changed =
        TWO_BY_TWO.replace("groups: 2", "groups: 2\n    flush: { mode: Sync }\n    autoCreateTopics: true");
    change(&mut world, &changed);
    assert_eq!(restarts(&world), Vec::<String>::new());
    assert!(world.pods["mq-broker-1-1"].settings["flushDiskType"] == "SYNC_FLUSH");
}

#[test]
fn a_broker_on_another_node_is_told_of_there_and_nobody_restarts() {
    let node_port = TWO_BY_TWO.replace(
        "  brokers:",
        "  listeners:
  - { name: internal, type: PodService, port: 10911 }
  - { name: out, type: NodePort, port: 20911, nodePort: { base: 30100, addressType: InternalIP } }
  brokers:",
    );
    let mut world = settled(&node_port);
    let told = |world: &World| {
        let listeners = &world.pods["mq-broker-1-1"].settings["listeners"];
        let out = listeners.split(',').find_map(|listener| listener.strip_prefix("out="));
        out.map(str::to_owned)
    };
    for node in ["1", "2", "3"] {
        let facts = &mut world.pods.get_mut("mq-broker-1-1").unwrap().facts;
        facts.node = Some(format!("node-{node}"));
        facts.host_ip = Some(format!("192.168.0.{node}"));
        world.history.clear();
        settle(&mut world);
        assert_eq!(told(&world), Some(format!("192.168.0.{node}:30111")));
        assert_eq!(restarts(&world), Vec::<String>::new());
    }
}

#[test]
fn name_servers_come_and_go_and_no_broker_restarts() {
    let mut world = settled(TWO_BY_TWO);
    change(&mut world, &TWO_BY_TWO.replace("replicas: 3", "replicas: 1"));
    assert_eq!(restarts(&world), Vec::<String>::new());
    assert!(!world.objects.contains_key(&ObjectRef::new(Kind::Service, "mq-namesrv-1")));
    change(&mut world, TWO_BY_TWO);
    assert_eq!(restarts(&world), Vec::<String>::new());
    assert_eq!(world.pods["mq-broker-0-0"].settings["namesrvAddr"].split(';').count(), 3);
}

#[test]
fn a_name_server_restarts_only_while_clients_reach_another_one() {
    // The model checks each restart.
    let two = TWO_BY_TWO.replace("replicas: 3", "replicas: 2");
    let mut world = settled(&two);
    for warm_up in ["11s", "12s", "13s", "14s"] {
        change(&mut world, &two.replace("replicas: 2 }", &format!("replicas: 2, warmUp: {warm_up} }}")));
        assert_eq!(restarts(&world), ["mq-namesrv-0", "mq-namesrv-1"], "{warm_up}");
    }
}

#[test]
fn name_servers_begin_to_restart_only_within_a_window_and_go_on_when_it_closes() {
    let weekly = "groups: 2\n    rollout: { window: [{ schedule: \"0 3 * * 6\", duration: 1h }] }";
    let weekly = TWO_BY_TWO.replace("groups: 2", weekly);
    let mut world = settled(&weekly);
    world.manifest = manifest::load(&weekly.replace("version: 0.1.0", "version: 0.1.1")).unwrap();
    world.history.clear();
    run(&mut world, 20);
    assert_eq!(restarts(&world), Vec::<String>::new());
    let (status, waiting) = (world.live_plan().status, world.live_plan().waiting);
    assert!(waiting.iter().any(|waiting| waiting.reason == "WindowClosed"), "{waiting:?}");
    assert_eq!(status.rollout.and_then(|rollout| rollout.current), None);
    // One that does not run may be mended by it.
    let broken = &mut world.pods.get_mut("mq-namesrv-2").unwrap().facts;
    let before = broken.clone();
    (broken.ready, broken.trouble) = (false, Some("CrashLoopBackOff".to_owned()));
    let mends = |step: &Step| matches!(&step.action, Action::DeletePod { pod, .. } if pod == "mq-namesrv-2");
    assert!(world.live_plan().steps.iter().any(mends));
    world.pods.get_mut("mq-namesrv-2").unwrap().facts = before;
    world.now = "2030-01-05T03:30:00Z".parse().unwrap();
    run(&mut world, 1);
    assert_eq!(restarts(&world), ["mq-namesrv-0"]);
    world.now = "2030-01-05T05:00:00Z".parse().unwrap();
    run(&mut world, 40);
    assert_eq!(restarts(&world), ["mq-namesrv-0", "mq-namesrv-1", "mq-namesrv-2"]);
}

#[test]
fn name_servers_wait_while_other_clusters_restart_and_their_own_restart_takes_a_place() {
    let mut world = settled(TWO_BY_TWO);
    let warmer = TWO_BY_TWO.replace("replicas: 3", "replicas: 3, warmUp: 11s");
    world.manifest = manifest::load(&warmer).unwrap();
    run(&mut world, 1);
    world.tick(&mut Random(11), false);
    let plan = |world: &World, may_roll: bool| {
        let mut facts = world.facts(&mut Random(1), false);
        facts.operator.may_roll = may_roll;
        planner::plan(&world.manifest, &facts, world.now)
    };
    let restarts_now = |plan: &Plan| plan.status.rollout.as_ref().and_then(|rollout| rollout.current.clone());
    let evicts = |plan: &Plan| plan.steps.iter().any(|step| matches!(step.action, Action::Evict { .. }));
    let held = plan(&world, false);
    assert!(held.waiting.iter().any(|waiting| waiting.message == "other clusters restart first"));
    assert_eq!((evicts(&held), restarts_now(&held)), (false, None));
    let begins = plan(&world, true);
    assert_eq!((evicts(&begins), restarts_now(&begins).as_deref()), (true, Some("mq-namesrv-0")));
    // What has begun goes on.
    run(&mut world, 1);
    assert_eq!(restarts_now(&plan(&world, false)).as_deref(), Some("mq-namesrv-0"));
    for _ in 0..10 {
        world.tick(&mut Random(11), false);
    }
    assert_eq!(restarts_now(&plan(&world, false)).as_deref(), Some("mq-namesrv-1"));
}

#[test]
fn groups_come_with_topics_and_go_without_messages() {
    let mut world = settled(TWO_BY_TWO);
    let three = TWO_BY_TWO.replace("groups: 2", "groups: 3");
    change(&mut world, &three);
    assert!(world.history.contains(&"CopyMetadata [0, 1] 2".to_owned()));
    change(
        &mut world,
        &TWO_BY_TWO.replace("groups: 2", "groups: 1").replace("10Gi", "10Gi, whenScaled: Delete"),
    );
    assert_eq!(world.groups(), [0]);
    assert_eq!(world.claims.keys().collect::<Vec<_>>(), ["data-mq-broker-0-0", "data-mq-broker-0-1"]);
    let left = world.objects.keys().filter(|reference| reference.name.starts_with("mq-broker-2"));
    assert_eq!(left.count(), 0);
    change(&mut world, &three);
    assert_eq!(world.groups(), [0, 3, 4]);
}

#[test]
fn a_group_goes_only_when_its_members_run_with_what_they_were_told_last() {
    let mut world = settled(TWO_BY_TWO);
    world.manifest = manifest::load(&TWO_BY_TWO.replace("groups: 2", "groups: 1")).unwrap();
    let goes = |world: &World| {
        world.live_plan().steps.iter().any(|step| match &step.action {
            Action::RecordStatus(status) => status.brokers.group_statuses[1].state == "Removing",
            _ => false,
        })
    };
    let mut random = Random(17);
    while !goes(&world) {
        reconcile(&mut world, &mut random, false).unwrap();
        world.tick(&mut random, false);
    }
    // It refuses messages by an earlier word, and may yet take over a later one that lets them in.
    let settings = &mut world.pods.get_mut("mq-broker-1-0").unwrap().settings;
    settings.insert("configRevision".to_owned(), "1".to_owned());
    assert_eq!(settings["brokerPermission"], "4");
    assert!(!goes(&world));
}

#[test]
fn a_group_whose_master_is_gone_for_good_says_what_to_do_and_goes_when_it_is_given_up() {
    let mut world = settled(TWO_BY_TWO);
    let master = world.pods.get_mut("mq-broker-1-0").unwrap();
    (master.facts.ready, master.starts_in) = (false, u64::MAX);
    let one = TWO_BY_TWO.replace("groups: 2", "groups: 1\n    scaleIn: { drainTimeout: 10m }");
    world.manifest = manifest::load(&one).unwrap();
    run(&mut world, 10);
    assert_eq!(said(&world.live_plan().status, "ScaleIn"), "False Draining");
    world.now = Timestamp::from_second(world.now.as_second() + 600).unwrap();
    let plan = world.live_plan();
    assert_eq!(said(&plan.status, "ScaleIn"), "False TimedOut");
    let late = plan.waiting.iter().find(|waiting| waiting.reason == "TimedOut").unwrap();
    assert!(late.blocked && late.message.contains("mq-broker-1-0"), "{late:?}");
    world.manifest = manifest::load(&one.replace("scaleIn: {", "scaleIn: { policy: Force,")).unwrap();
    settle(&mut world);
    assert_eq!(world.groups(), [0]);
}

/// Members have taken over what the API server forgot when it was set back to a backup.
#[test]
fn members_take_over_settings_that_a_backup_brought_back() {
    let mut world = settled(TWO_BY_TWO);
    let backup = world.objects.clone();
    let told = world.pods["mq-broker-1-0"].settings.clone();
    world.now = Timestamp::from_second(world.now.as_second() + 60).unwrap();
    change(&mut world, &TWO_BY_TWO.replace("10Gi", "10Gi, fileReservedTime: 71h"));
    assert_eq!(world.pods["mq-broker-1-0"].settings["fileReservedTime"], "71");
    world.objects = backup;
    change(&mut world, TWO_BY_TWO);
    let mut settings = world.pods["mq-broker-1-0"].settings.clone();
    settings.insert("configRevision".to_owned(), told["configRevision"].clone());
    assert_eq!(settings, told);
    assert_eq!(restarts(&world), Vec::<String>::new());
}

#[test]
fn a_foreign_key_in_live_settings_is_left_there_and_changes_nothing() {
    let live = ObjectRef::new(Kind::ConfigMap, "mq-broker-0-live");
    for (key, text) in [("theirs", ""), ("theirs", "a=b"), ("mq-broker-0-7.properties", "a=b")] {
        let mut world = settled(TWO_BY_TWO);
        world.objects.get_mut(&live).unwrap().json["data"][key] = json!(text);
        world.now = Timestamp::from_second(world.now.as_second() + 60).unwrap();
        assert_eq!(world.live_plan().steps, [], "{key}: {text}");
    }
}

#[test]
fn a_manifest_counts_as_observed_when_nothing_of_it_is_left_to_be_written_or_told() {
    let mut world = settled(TWO_BY_TWO);
    let before = world.cluster.generation;
    assert_eq!(world.cluster.status.observed_generation, Some(before));
    world.manifest = manifest::load(&TWO_BY_TWO.replace("10Gi", "10Gi, fileReservedTime: 71h")).unwrap();
    world.cluster.generation += 1;
    let observed = |world: &World| {
        let status = world.live_plan().status;
        let conditions = status.conditions.iter();
        let ready = conditions.filter(|condition| condition.kind == "Ready");
        (status.observed_generation, ready.map(|condition| condition.observed_generation).next().unwrap())
    };
    assert_eq!(observed(&world), (Some(before), Some(before)));
    settle(&mut world);
    assert_eq!(observed(&world), (Some(before + 1), Some(before + 1)));
}

#[test]
fn a_member_that_runs_and_takes_no_settings_is_reported() {
    let mut world = settled(TWO_BY_TWO);
    let settings = &mut world.pods.get_mut("mq-broker-1-0").unwrap().settings;
    settings.insert("configRevision".to_owned(), "1".to_owned());
    world.now = Timestamp::from_second(world.now.as_second() + 61).unwrap();
    let plan = world.live_plan();
    assert_eq!(said(&plan.status, "Ready"), "False Degraded");
    assert!(plan.waiting.iter().any(|waiting| waiting.blocked && waiting.message.contains("mq-broker-1-0")));
    // One that starts takes its time.
    world.pods.get_mut("mq-broker-1-0").unwrap().facts.ready_since = Some(world.now);
    assert_eq!(world.live_plan().waiting, []);
}

#[test]
fn groups_that_are_quiet_together_go_on_when_fewer_may_be() {
    let with = |version: &str, most: u32| {
        let groups = format!("groups: 4\n    rollout: {{ maxGroupsInParallel: {most} }}");
        TWO_BY_TWO.replace("groups: 2", &groups).replace("version: 0.1.0", &format!("version: {version}"))
    };
    let mut world = settled(&with("0.1.0", 2));
    world.manifest = manifest::load(&with("0.1.1", 2)).unwrap();
    let quiet = |world: &World| {
        let masters = (0..4).map(|group| &world.pods[&format!("mq-broker-{group}-0")]);
        masters.filter(|master| master.facts.ready && master.settings["brokerPermission"] == "4").count()
    };
    let mut random = Random(13);
    for _ in 0..200 {
        if (0..4).all(|group| world.pods.contains_key(&format!("mq-broker-{group}-0"))) && quiet(&world) == 2
        {
            break;
        }
        world.tick(&mut random, false);
        reconcile(&mut world, &mut random, false).unwrap();
    }
    assert_eq!(quiet(&world), 2);
    change(&mut world, &with("0.1.1", 1));
    assert_eq!(world.cluster.status.version.as_deref(), Some("0.1.1"));
}

/// The model refuses to let a volume go while no other member has its messages.
#[test]
fn volumes_of_members_that_do_not_come_back_from_a_stop_are_kept_until_the_master_runs() {
    let two = TWO_BY_TWO.replace("10Gi", "10Gi, whenScaled: Delete");
    let mut world = settled(&two);
    change(&mut world, &two.replace("version:", "stopped: true\n  version:"));
    assert_eq!((world.pods.len(), world.claims.len()), (0, 4));
    // Nothing else can be done while the StatefulSet of no pods is on its way out.
    world.objects.get_mut(&ObjectRef::new(Kind::StatefulSet, "mq-broker-0")).unwrap().deleting = true;
    world.manifest = manifest::load(&two.replace("replicasPerGroup: 2", "replicasPerGroup: 1")).unwrap();
    for _ in 0..5 {
        reconcile(&mut world, &mut Random(13), false).unwrap();
    }
    assert_eq!(world.claims.len(), 4);
    run(&mut world, 40);
    assert_eq!(world.claims.keys().collect::<Vec<_>>(), ["data-mq-broker-0-0", "data-mq-broker-1-0"]);
}

#[test]
fn a_stateful_set_is_taken_away_only_after_a_last_look() {
    let mut world = settled(TWO_BY_TWO);
    world.manifest = manifest::load(&TWO_BY_TWO.replace("groups: 2", "groups: 1")).unwrap();
    let set = ObjectRef::new(Kind::StatefulSet, "mq-broker-1");
    let deletes = |step: &Step| matches!(&step.action, Action::Delete { object, .. } if *object == set);
    let mut seen = 0;
    for _ in 0..60 {
        world.tick(&mut Random(13), false);
        let steps = world.live_plan().steps;
        reconcile(&mut world, &mut Random(13), false).unwrap();
        let found: Vec<&Step> = steps.iter().filter(|step| deletes(step)).collect();
        assert!(found.iter().all(|step| step.looks_again()));
        seen += found.len();
    }
    assert_eq!((seen > 0, world.groups()), (true, vec![0]));
}

#[test]
fn volumes_grow_under_running_pods() {
    let mut world = settled(TWO_BY_TWO);
    let pods: Vec<String> = world.pods.values().map(|pod| pod.facts.uid.clone()).collect();
    change(&mut world, &TWO_BY_TWO.replace("10Gi", "20Gi"));
    assert_eq!(pods, world.pods.values().map(|pod| pod.facts.uid.clone()).collect::<Vec<_>>());
    let of_first: Vec<&String> = world
        .history
        .iter()
        .filter(|done| done.contains("mq-broker-0") && !done.starts_with("Apply"))
        .collect();
    let places = [
        "PatchClaim data-mq-broker-0-0",
        "PatchClaim data-mq-broker-0-1",
        "Orphan mq-broker-0",
        "Create StatefulSet",
    ];
    for (done, start) in of_first.iter().zip(places) {
        assert!(done.starts_with(start), "{of_first:#?}");
    }
}

#[test]
fn a_file_system_that_does_not_grow_costs_one_restart() {
    let mut world = settled(TWO_BY_TWO);
    let created = world.now;
    let at = |seconds: i64| Timestamp::from_second(created.as_second() + seconds).unwrap();
    let claim = world.claims.get_mut("data-mq-broker-0-1").unwrap();
    claim.file_system_resize_pending = Some(at(10));
    let restarts_at = |world: &mut World, made: i64, now: i64| {
        world.pods.get_mut("mq-broker-0-1").unwrap().facts.created = Some(at(made));
        world.now = at(now);
        let plan = world.live_plan();
        assert_eq!(reason(&plan, "StorageResized"), "FileSystemResizePending");
        plan.steps
            .iter()
            .any(|step| matches!(&step.action, Action::Evict { pod, .. } if pod == "mq-broker-0-1"))
    };
    assert!(!restarts_at(&mut world, 0, 100), "most drivers need none");
    assert!(restarts_at(&mut world, 0, 190));
    assert!(!restarts_at(&mut world, 200, 1_000), "it did not help");
}

#[test]
fn a_cluster_stops_without_losing_messages_and_starts_again() {
    let mut world = settled(TWO_BY_TWO);
    change(&mut world, &TWO_BY_TWO.replace("version:", "stopped: true\n  version:"));
    assert_eq!((world.pods.len(), world.claims.len()), (0, 4));
    assert_eq!(reason(&world.live_plan(), "Ready"), "Stopped");
    change(&mut world, TWO_BY_TWO);
    world.is_as_wanted().unwrap();
}

#[test]
fn nothing_is_written_while_a_cluster_is_paused() {
    let mut world = settled(TWO_BY_TWO);
    world.manifest = manifest::load(&TWO_BY_TWO.replace("version:", "paused: true\n  version:")).unwrap();
    world.objects.remove(&ObjectRef::new(Kind::Service, "mq-namesrv"));
    let plan = world.live_plan();
    assert_eq!((plan.steps.len(), reason(&plan, "Ready")), (0, "Paused".to_owned()));
    assert_eq!(reason(&plan, "Paused"), "Requested");
}

#[test]
fn an_edit_that_cannot_be_leaves_all_as_it_is() {
    let mut world = settled(TWO_BY_TWO);
    for (edit, expected) in [
        (TWO_BY_TWO.replace("0.1.0", "0.7.0"), "UnsupportedVersionJump"),
        (TWO_BY_TWO.replace("groups: 2", "groups: 1\n    remove: [7]"), "UnknownGroupIndex"),
    ] {
        world.manifest = manifest::load(&edit).unwrap();
        let plan = world.live_plan();
        assert_eq!((plan.steps.len(), reason(&plan, "SpecAccepted").as_str()), (0, expected));
        assert_eq!(reason(&plan, "Ready"), "InvalidSpec");
    }
}

#[test]
fn an_object_of_someone_else_is_left_alone() {
    let mut world = new(TWO_BY_TWO);
    let service = ObjectRef::new(Kind::Service, "mq-broker-0-0");
    let json = json!({ "spec": { "clusterIP": "10.96.9.9" } });
    world
        .objects
        .insert(service.clone(), Observed { json: json.clone(), foreign: true, ..Observed::default() });
    for _ in 0..20 {
        world.tick(&mut Random(3), false);
        reconcile(&mut world, &mut Random(3), false).unwrap();
    }
    assert_eq!(world.objects[&service].json, json);
    assert_eq!(reason(&world.live_plan(), "SpecAccepted"), "NameCollision");
    // Its address is not taken for the broker's.
    assert!(!world.objects.contains_key(&ObjectRef::new(Kind::StatefulSet, "mq-broker-0")));
}

#[test]
fn an_empty_volume_is_held_until_it_is_given_up() {
    let mut world = settled(TWO_BY_TWO);
    lose(&mut world, "mq-broker-1-1");
    run(&mut world, 20);
    assert_eq!(reason(&world.live_plan(), "Degraded"), "VolumeLost");
    assert_eq!(world.live_plan().status.storage.lost, ["data-mq-broker-1-1"]);
    assert!(!world.history.iter().any(|done| done.starts_with("DeleteClaim")));
    give_up(&mut world, "mq-broker-1-1");
    settle(&mut world);
    assert_eq!(reason(&world.live_plan(), "Ready"), "AllInSync");
    // What was said of one store says nothing of the next.
    lose(&mut world, "mq-broker-1-1");
    run(&mut world, 20);
    assert_eq!(reason(&world.live_plan(), "Degraded"), "VolumeLost");
}

/// As the message of the condition says.
fn give_up(world: &mut World, pod: &str) {
    let plan = world.live_plan();
    let entry = |text: &str| {
        let from = text.find(&format!("{REPLACE}={pod}="))? + REPLACE.len() + 1;
        Some(text[from..].to_owned())
    };
    let entry = plan.waiting.iter().find_map(|waiting| entry(&waiting.message)).unwrap();
    world.cluster.annotations.insert(REPLACE.to_owned(), entry);
}

#[test]
fn replace_is_for_slaves_whose_master_has_everything() {
    let replace = TWO_BY_TWO.replace("10Gi", "10Gi, onLostVolume: Replace");
    let mut world = settled(&replace);
    lose(&mut world, "mq-broker-1-1");
    settle(&mut world);
    assert_eq!(reason(&world.live_plan(), "Ready"), "AllInSync");
    lose(&mut world, "mq-broker-0-0");
    run(&mut world, 20);
    assert_eq!(reason(&world.live_plan(), "Degraded"), "VolumeLost");
}

#[test]
fn a_pod_whose_volume_claim_is_being_deleted_is_not_restarted() {
    let mut world = settled(TWO_BY_TWO);
    world.claims.get_mut("data-mq-broker-0-1").unwrap().deleting = true;
    world.manifest = manifest::load(&TWO_BY_TWO.replace("version: 0.1.0", "version: 0.1.1")).unwrap();
    world.history.clear();
    run(&mut world, 40);
    assert_eq!(restarts(&world), ["mq-namesrv-0", "mq-namesrv-1", "mq-namesrv-2"]);
    let plan = world.live_plan();
    assert!(
        plan.waiting.iter().any(|waiting| waiting.blocked && waiting.message.contains("data-mq-broker-0-1"))
    );
}

#[test]
fn a_claim_without_a_volume_goes_only_when_its_messages_are_given_up() {
    let mut world = settled(TWO_BY_TWO);
    world.claims.get_mut("data-mq-broker-0-1").unwrap().lost = true;
    let pod = world.pods.get_mut("mq-broker-0-1").unwrap();
    (pod.facts.ready, pod.starts_in) = (false, u64::MAX);
    world.history.clear();
    run(&mut world, 5);
    assert_eq!(reason(&world.live_plan(), "Degraded"), "VolumeLost");
    assert_eq!(world.history, Vec::<String>::new());
    give_up(&mut world, "mq-broker-0-1");
    let plan = world.live_plan();
    let reasons: Vec<&str> = plan.steps.iter().map(|step| step.reason.as_str()).collect();
    assert_eq!(reasons, ["the volume of claim data-mq-broker-0-1 is gone and given up"]);
}

#[test]
fn two_swapped_volumes_are_both_refused() {
    let mut world = settled(TWO_BY_TWO);
    let claims = ["data-mq-broker-0-0", "data-mq-broker-1-0"];
    let stores = claims.map(|claim| world.stores[claim].clone());
    world.stores.insert(claims[0].to_owned(), stores[1].clone());
    world.stores.insert(claims[1].to_owned(), stores[0].clone());
    run(&mut world, 20);
    let plan = world.live_plan();
    assert_eq!(reason(&plan, "Degraded"), "StoreIdentityMismatch");
    assert_eq!(plan.steps.len(), 0, "{:?}", plan.steps);
    assert!(world.claims.values().all(|claim| !claim.deleting));
}

#[test]
fn volumes_of_an_earlier_cluster_are_taken_over_only_when_told_to() {
    let mut world = new(TWO_BY_TWO);
    let earlier = settled(TWO_BY_TWO);
    let of_earlier = |claim: &ClaimFacts| {
        let mut claim = claim.clone();
        claim.annotations.insert(CLUSTER_UID.to_owned(), "earlier".to_owned());
        (claim.name.clone(), claim)
    };
    world.claims = earlier.claims.values().map(of_earlier).collect();
    world.stores = earlier.stores.clone();
    run(&mut world, 5);
    assert_eq!(reason(&world.live_plan(), "SpecAccepted"), "NameCollision");
    assert_eq!(world.objects.len(), 0);
    world.cluster.annotations.insert(ADOPT.to_owned(), "earlier".to_owned());
    // With fewer groups the messages of one would be left behind.
    world.manifest = manifest::load(&TWO_BY_TWO.replace("groups: 2", "groups: 1")).unwrap();
    run(&mut world, 5);
    assert_eq!(reason(&world.live_plan(), "SpecAccepted"), "NameCollision");
    assert_eq!(world.objects.len(), 0);
    world.manifest = manifest::load(TWO_BY_TWO).unwrap();
    settle(&mut world);
    assert_eq!(world.stores, earlier.stores);
}

#[test]
fn a_cluster_goes_in_order_and_its_volumes_only_when_asked_for() {
    for (policy, left) in [("Retain", 4), ("Delete", 0)] {
        let mut world = settled(
            &TWO_BY_TWO.replace("version:", &format!("deletion: {{ policy: {policy} }}\n  version:")),
        );
        world.cluster.deleting = true;
        world.history.clear();
        run(&mut world, 20);
        assert_eq!((world.pods.len(), world.claims.len()), (0, left), "{policy}");
        assert_eq!(world.history.last().map(String::as_str), Some("RemoveFinalizer"));
        assert_eq!(world.history[2], "Delete StatefulSet mq-namesrv");
    }
}

/// A deletion cannot be taken back: a cluster that waits for the protection to end may do so for years.
#[test]
fn a_protected_cluster_that_is_deleted_is_looked_after_as_ever() {
    let protected = TWO_BY_TWO.replace("version:", "deletion: { protection: true }\n  version:");
    let mut world = settled(&protected);
    world.cluster.deleting = true;
    let service = ObjectRef::new(Kind::Service, "mq-broker-1-0");
    world.objects.remove(&service);
    run(&mut world, 20);
    assert!(world.objects.contains_key(&service));
    change(&mut world, &protected.replace("replicas: 3", "replicas: 2"));
    assert_eq!(world.pods.len(), 6);
    let plan = world.live_plan();
    assert_eq!(reason(&plan, "Ready"), "Deleting");
    assert!(plan.waiting.iter().any(|waiting| waiting.blocked && waiting.reason == "Deleting"));
    let paused = protected.replace("version:", "paused: true\n  version:");
    world.objects.remove(&service);
    world.manifest = manifest::load(&paused).unwrap();
    assert_eq!(
        (world.live_plan().steps, reason(&world.live_plan(), "Paused")),
        (vec![], "Requested".to_owned())
    );
    // Kubernetes takes its children away itself, and would again.
    world.manifest = manifest::load(&protected).unwrap();
    assert_ne!(world.live_plan().steps, []);
    world.cluster.finalizers.insert("foregroundDeletion".to_owned());
    assert_eq!(world.live_plan().steps, []);
    world.cluster.finalizers.remove("foregroundDeletion");
    world.manifest = manifest::load(TWO_BY_TWO).unwrap();
    run(&mut world, 20);
    assert_eq!(world.history.last().map(String::as_str), Some("RemoveFinalizer"));
}

#[test]
fn a_paused_cluster_that_is_deleted_goes() {
    let paused = TWO_BY_TWO.replace("version:", "paused: true\n  version:");
    let mut world = settled(TWO_BY_TWO);
    world.manifest = manifest::load(&paused).unwrap();
    world.cluster.deleting = true;
    let plan = world.live_plan();
    assert_eq!((reason(&plan, "Ready"), reason(&plan, "Paused")), ("Deleting".to_owned(), String::new()));
    run(&mut world, 20);
    assert_eq!((world.pods.len(), world.claims.len()), (0, 4));
    assert_eq!(world.history.last().map(String::as_str), Some("RemoveFinalizer"));
}

#[test]
fn pods_that_lost_their_stateful_set_go_with_their_cluster() {
    let mut world = settled(TWO_BY_TWO);
    for set in ["mq-broker-1", "mq-namesrv"] {
        world.objects.remove(&ObjectRef::new(Kind::StatefulSet, set));
    }
    world.cluster.deleting = true;
    run(&mut world, 20);
    assert_eq!(world.pods.len(), 0);
    assert_eq!(world.history.last().map(String::as_str), Some("RemoveFinalizer"));
}

#[test]
fn nothing_that_is_seen_late_lets_a_cluster_go_before_its_pods() {
    let mut world = settled(TWO_BY_TWO);
    world.cluster.deleting = true;
    let mut early = world.facts(&mut Random(1), false);
    (early.objects, early.pods, early.claims) = (BTreeMap::new(), Vec::new(), Vec::new());
    let steps = planner::plan(&world.manifest, &early, world.now).steps;
    assert!(
        steps.iter().all(|step| step.action == Action::RemoveFinalizer && step.looks_again()),
        "{steps:?}"
    );
}

fn new(manifest: &str) -> World {
    World::new(manifest::load(manifest).unwrap(), false)
}

#[test]
fn a_full_disk_is_named_before_anything_that_follows_from_it() {
    let world = settled(TWO_BY_TWO);
    let with_disk = |percent: u32| {
        let mut facts = world.facts(&mut Random(1), false);
        let Some(Answer::Known(master)) = facts.members.get_mut("mq-broker-1-0") else { panic!("no answer") };
        master.disk_used_percent = Some(percent);
        planner::plan(&world.manifest, &facts, world.now).status
    };
    assert_eq!(said(&with_disk(89), "Available"), "True AllGroupsWritable");
    let full = with_disk(90);
    assert_eq!(said(&full, "Available"), "False StoragePressure");
    assert_eq!(said(&full, "Ready"), "False Unavailable");
    assert_eq!(full.brokers.writable_groups, 1);
}

#[test]
fn what_members_do_not_say_is_unknown_and_not_out_of_sync() {
    let sync = TWO_BY_TWO.replace("groups: 2", "groups: 2\n    replication: { mode: Sync }");
    let mut world = settled(&sync);
    let cut_off_from = |world: &World, pods: &[&str], drains: bool| {
        let mut facts = world.facts(&mut Random(1), false);
        for (pod, answer) in &mut facts.members {
            if pods.iter().any(|end| pod.ends_with(end)) {
                *answer = Answer::Unknown;
            }
        }
        if drains {
            facts.drains.values_mut().for_each(|answer| *answer = Answer::Unknown);
        }
        planner::plan(&world.manifest, &facts, world.now).status
    };
    let slave = cut_off_from(&world, &["broker-1-1"], false);
    for kind in ["Ready", "Degraded", "Redundant"] {
        assert_eq!(said(&slave, kind), "Unknown ObservationFailed", "{kind}");
    }
    assert_eq!(said(&slave, "Available"), "True AllGroupsWritable");
    let all = cut_off_from(&world, &["-0", "-1"], false);
    assert_eq!(said(&all, "Redundant"), "Unknown ObservationFailed");
    // What is known to be lost is said all the same.
    world.pods.get_mut("mq-broker-0-1").unwrap().facts.ready = false;
    assert_eq!(said(&cut_off_from(&world, &["broker-1-1"], false), "Redundant"), "False ReplicaOutOfSync");
    world.pods.get_mut("mq-broker-0-1").unwrap().facts.ready = true;
    world.manifest = manifest::load(&sync.replace("groups: 2", "groups: 1")).unwrap();
    run(&mut world, 1);
    assert_eq!(said(&cut_off_from(&world, &["broker-1-0"], false), "ScaleIn"), "Unknown ObservationFailed");
    assert_eq!(said(&world.live_plan().status, "ScaleIn"), "False Draining");
    while world.pods["mq-broker-1-1"].settings["brokerPermission"] != "4" {
        run(&mut world, 1);
    }
    assert_eq!(said(&cut_off_from(&world, &[], true), "ScaleIn"), "Unknown ObservationFailed");
}

#[test]
fn what_has_no_effect_is_named_and_the_rest_is_applied() {
    let ignored = TWO_BY_TWO.replace(
        "  brokers:",
        "  monitoring: { podMonitor: { enabled: true } }\n  brokers:\n    flush: { mode: Sync, interval: 1s }",
    );
    let world = settled(&ignored);
    let status = &world.cluster.status;
    assert_eq!(said(status, "SpecAccepted"), "True FieldIgnored");
    assert_eq!(said(status, "Ready"), "True AllInSync");
    let words = &status.conditions[0].message;
    for path in ["spec.brokers.flush.interval: has no effect", "spec.monitoring.podMonitor: has no effect"] {
        assert!(words.contains(path), "{words}");
    }
}

#[test]
fn a_refused_manifest_changes_nothing_but_what_is_said_of_it() {
    let mut world = settled(TWO_BY_TWO);
    let before = world.cluster.status.clone();
    let bad = TWO_BY_TWO.replace("storage:", "config: { brokerID: \"7\", listenPort: \"1\" }\n    storage:");
    let problems = manifest::load(&bad).unwrap_err();
    world.cluster.generation += 1;
    let status = planner::refused(&problems, &world.facts(&mut Random(1), false), world.now);
    // Of several kinds the plain one.
    assert_eq!(said(&status, "SpecAccepted"), "False InvalidSpec");
    assert_eq!(said(&status, "Ready"), "False InvalidSpec");
    assert_eq!(said(&status, "Available"), "True AllGroupsWritable");
    assert_eq!((status.observed_generation, &status.brokers), (Some(2), &before.brokers));
    let unknown = manifest::load(&bad.replace(", listenPort: \"1\"", "")).unwrap_err();
    let again = planner::refused(&unknown, &world.facts(&mut Random(1), false), world.now);
    assert_eq!(said(&again, "SpecAccepted"), "False UnknownConfigKey");
    let forbidden = manifest::load(&bad.replace("brokerID: \"7\", ", "")).unwrap_err();
    let again = planner::refused(&forbidden, &world.facts(&mut Random(1), false), world.now);
    assert_eq!(said(&again, "SpecAccepted"), "False ForbiddenConfigKey");
    // Mended, it is as before.
    change(&mut world, TWO_BY_TWO);
    assert_eq!(said(&world.cluster.status, "SpecAccepted"), "True Accepted");
    assert_eq!(restarts(&world), Vec::<String>::new());
}

#[test]
fn a_manifest_that_became_bad_does_not_keep_its_cluster_from_going() {
    let mut world = settled(TWO_BY_TWO);
    world.cluster.deleting = true;
    let object =
        json!({ "metadata": { "name": "mq" }, "spec": { "brokers": 7, "deletion": { "policy": "Delete" } } });
    assert!(manifest::read(&object).is_err());
    world.manifest = manifest::read_for_deletion(&object).unwrap();
    let steps = planner::plan(&world.manifest, &world.facts(&mut Random(1), false), world.now).steps;
    assert!(steps[0].reason.contains("mq-broker-0 stops"), "{steps:?}");
}

fn said(status: &ClusterStatus, kind: &str) -> String {
    let found = status.conditions.iter().find(|condition| condition.kind == kind);
    found.map(|condition| format!("{} {}", condition.status, condition.reason)).unwrap()
}

fn settled(manifest: &str) -> World {
    let mut world = new(manifest);
    settle(&mut world);
    world
}

fn change(world: &mut World, manifest: &str) {
    world.manifest = manifest::load(manifest).unwrap();
    world.cluster.generation += 1;
    world.history.clear();
    settle(world);
}

fn run(world: &mut World, ticks: usize) {
    let mut random = Random(13);
    for _ in 0..ticks {
        world.tick(&mut random, false);
        reconcile(world, &mut random, false).unwrap();
    }
}

/// Somebody deletes a member's volume, and a new one takes its place.
fn lose(world: &mut World, pod: &str) {
    let claim = format!("data-{pod}");
    world.stores.remove(&claim);
    let claim = world.claims.get_mut(&claim).unwrap();
    claim.uid += "-new";
    claim.annotations.retain(|key, _| key == CLUSTER_UID);
    world.pods.get_mut(pod).unwrap().facts.terminating = true;
}

fn restarts(world: &World) -> Vec<String> {
    world.history.iter().filter_map(|done| done.strip_prefix("Evict ")).map(str::to_owned).collect()
}

fn reason(plan: &Plan, kind: &str) -> String {
    let found = plan.status.conditions.iter().find(|condition| condition.kind == kind);
    found.map(|condition| condition.reason.clone()).unwrap_or_default()
}

#[test]
fn a_group_that_drains_for_long_is_upgraded_with_the_others() {
    let mut world = settled(TWO_BY_TWO);
    let edited = TWO_BY_TWO
        .replace("groups: 2", "groups: 1\n    remove: [0]")
        .replace("version: 0.1.0", "version: 0.1.1");
    world.manifest = manifest::load(&edited).unwrap();
    world.history.clear();
    let mut random = Random(13);
    for _ in 0..80 {
        world.unread.insert(0, 1_000);
        world.tick(&mut random, false);
        reconcile(&mut world, &mut random, false).unwrap();
    }
    let brokers = world.pods.values().filter(|pod| pod.facts.name.contains("-broker-"));
    let images: Vec<&str> = brokers.map(|pod| pod.facts.image.as_str()).collect();
    assert_eq!((images.len(), images.iter().all(|image| image.ends_with("0.1.1"))), (4, true), "{images:?}");
    assert_eq!(world.cluster.status.brokers.group_statuses[0].state, "Draining");
}

#[test]
fn a_slave_that_every_message_waits_for_restarts_only_when_producers_have_left() {
    let sync = TWO_BY_TWO.replace("groups: 2", "groups: 2\n    replication: { mode: Sync }");
    let restarts_of = |before: &str| {
        let mut world = settled(before);
        world.manifest = manifest::load(&before.replace("version: 0.1.0", "version: 0.1.1")).unwrap();
        world.history.clear();
        let mut random = Random(11);
        let mut sent_to = Vec::new();
        while world.cluster.status.version.as_deref() != Some("0.1.1") {
            world.tick(&mut random, false);
            let before = restarts(&world).len();
            reconcile(&mut world, &mut random, false).unwrap();
            let slaves = restarts(&world).split_off(before);
            for slave in slaves.into_iter().filter(|pod| pod.ends_with("-1") && pod.contains("-broker-")) {
                let master = format!("{}0", slave.strip_suffix('1').unwrap());
                if world.pods[&master].settings["brokerPermission"] == "6" {
                    sent_to.push(slave);
                }
            }
        }
        (restarts(&world).split_off(3), sent_to)
    };
    let order =
        ["mq-broker-0-1", "mq-broker-0-0", "mq-broker-1-1", "mq-broker-1-0"].map(str::to_owned).to_vec();
    assert_eq!(restarts_of(&sync), (order.clone(), vec![]));
    // An acknowledgement of the master alone waits for no slave.
    let slaves = ["mq-broker-0-1", "mq-broker-1-1"].map(str::to_owned).to_vec();
    assert_eq!(restarts_of(TWO_BY_TWO), (order, slaves));
    let (order, sent_to) = restarts_of(&sync.replace("replicasPerGroup: 2", "replicasPerGroup: 3"));
    assert_eq!((order.len(), sent_to.len()), (6, 2));
}

#[test]
fn a_listener_that_no_client_can_be_led_to_is_reported_with_the_way_out() {
    let with = |listener: &str| {
        let internal = "{ name: internal, type: PodService, port: 10911 }";
        TWO_BY_TWO.replace("  brokers:", &format!("  listeners: [{internal}, {listener}]\n  brokers:"))
    };
    let node = |external: Option<&str>| NodeFacts {
        external_ip: external.map(str::to_owned),
        internal_ip: Some("192.168.0.7".to_owned()),
        zone: None,
    };
    let nodes = |external| Answer::Known(BTreeMap::from([("n1".to_owned(), node(external))]));
    let status_of = |manifest: &str, nodes: Answer<BTreeMap<String, NodeFacts>>| {
        let world = settled(manifest);
        let mut facts = world.facts(&mut Random(1), false);
        facts.nodes = nodes;
        facts.pods.iter_mut().for_each(|pod| pod.node = Some("n1".to_owned()));
        for (reference, service) in &mut facts.objects {
            if reference.kind == Kind::Service && service.json["spec"]["type"] == "NodePort" {
                service.json["spec"]["ports"][0]["nodePort"] = json!(30_000);
            }
        }
        planner::plan(&world.manifest, &facts, world.now)
    };
    let node_port = with("{ name: out, type: NodePort, port: 20911 }");
    let zoned =
        with("{ name: out, type: Template, port: 20911, advertised: { hostTemplate: \"{zone}.x.org\" } }");
    let balanced = with("{ name: out, type: LoadBalancer, port: 20911 }");
    let service =
        "services mq-broker-0-0-out, mq-broker-0-1-out, mq-broker-1-0-out and 4 more have no load balancer";
    for (manifest, nodes, expected) in [
        (
            &node_port,
            nodes(None),
            "listener out: node n1 has no ExternalIP; set its nodePort.addressType: InternalIP",
        ),
        (&node_port, Answer::Unknown, "set rbac.nodes=true in the chart of the operator"),
        (&zoned, nodes(None), "listener out: node n1 has no zone"),
        (&balanced, nodes(None), service),
    ] {
        let plan = status_of(manifest, nodes);
        assert_eq!(said(&plan.status, "Degraded"), "True ListenerWithoutAddress", "{expected}");
        assert_eq!(said(&plan.status, "Ready"), "False Degraded");
        assert_eq!(said(&plan.status, "Available"), "True AllGroupsWritable");
        let waits: Vec<&Waiting> =
            plan.waiting.iter().filter(|waiting| waiting.message.contains(expected)).collect();
        assert_eq!((waits.len(), waits[0].blocked), (1, true), "{:?}", plan.waiting);
    }
    let plan = status_of(&node_port, nodes(Some("198.51.100.7")));
    assert!(
        !plan.waiting.iter().any(|waiting| waiting.reason == "ListenerWithoutAddress"),
        "{:?}",
        plan.waiting
    );
}

#[test]
fn a_load_balancer_takes_its_time_before_a_person_is_called() {
    let mut world = settled(TWO_BY_TWO);
    let balanced = "  listeners:\n    - { name: internal, type: PodService, port: 10911 }\n    - { name: out, type: LoadBalancer, \
                    port: 20911 }\n  brokers:";
    world.manifest = manifest::load(&TWO_BY_TWO.replace("  brokers:", balanced)).unwrap();
    run(&mut world, 15);
    let waits = |world: &World| {
        let waits = world.live_plan().waiting.into_iter();
        let of_listener = waits.filter(|waiting| waiting.reason == "ListenerWithoutAddress");
        of_listener.map(|waiting| waiting.blocked).collect::<Vec<_>>()
    };
    assert_eq!(waits(&world), [false]);
    assert_eq!(said(&world.live_plan().status, "Ready"), "False Degraded");
    world.now = Timestamp::from_second(world.now.as_second() + 300).unwrap();
    assert_eq!(waits(&world), [true]);
    for (reference, service) in &mut world.objects {
        if reference.kind == Kind::Service && service.json["spec"]["type"] == "LoadBalancer" {
            service.json["status"]["loadBalancer"]["ingress"] = json!([{ "hostname": "lb.example.com" }]);
        }
    }
    settle(&mut world);
    assert_eq!(said(&world.cluster.status, "Ready"), "True AllInSync");
}

/// It was in no route afterwards, and nobody was told.
#[test]
fn a_topic_that_only_the_group_has_that_goes_is_made_on_the_others_before() {
    let mut world = settled(TWO_BY_TWO);
    change(&mut world, &TWO_BY_TWO.replace("groups: 2", "groups: 1"));
    let of = |what: &str| world.history.iter().position(|done| done == what).unwrap();
    let made = world.history.iter().position(|done| done == "HandOver 1");
    assert!(
        made.is_some_and(|made| made < of("Record [\"0:Active\", \"1:Removing\"]")),
        "{:?}",
        world.history
    );
}

/// The brokers' port was open to anyone, and only who read the NetworkPolicy knew.
#[test]
fn peers_of_a_listener_that_limit_name_servers_only_are_named() {
    let world = new(TWO_BY_TWO);
    let facts = world.facts(&mut Random(1), false);
    let listeners = |peers: &str| {
        let two = format!(
            "  listeners:\n    - {{ name: internal, type: PodService, port: 10911{peers} }}\n    - {{ name: out, type: NodePort, \
             port: 20911, networkPolicyPeers: [{{ ipBlock: {{ cidr: 203.0.113.0/24 }} }}] }}\n  brokers:"
        );
        let manifest = TWO_BY_TWO.replace("  brokers:", &two);
        planner::plan(&manifest::load(&manifest).unwrap(), &facts, world.now)
    };
    let plan = listeners("");
    assert_eq!(said(&plan.status, "SpecAccepted"), "True FieldIgnored");
    let words = &plan.status.conditions[0].message;
    assert!(words.contains("spec.listeners[out].networkPolicyPeers: limits name servers only"), "{words}");
    assert!(words.contains("listener internal leads to the same port of brokers"), "{words}");
    let both = listeners(", networkPolicyPeers: [{ namespaceSelector: {} }]");
    assert_eq!(said(&both.status, "SpecAccepted"), "True Accepted");
}
