//! Rehearsals of a day's work: what restarts, in which order, which groups stop taking messages, what is waited for.
#![allow(clippy::unwrap_used)]

use manifest::Validated;
use planner::facts::{Facts, OperatorSettings};
use planner::rehearse::{Moment, Pause, Rehearsal, rehearse, settled};
use planner::step::Action;
use serde_json::{Value, json};

fn now() -> k8s_openapi::jiff::Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn manifest(fields: &[(&str, Value)]) -> Validated {
    let mut document = json!({
        "apiVersion": "gantry.rs/v1alpha1", "kind": "RocketMQCluster", "metadata": { "name": "mq" },
        "spec": {
            "version": "0.1.0",
            "nameServers": { "replicas": 1 },
            "brokers": { "groups": 2, "replicasPerGroup": 2, "storage": { "size": "10Gi" } },
        },
    });
    for (path, value) in fields {
        *path.split('.').fold(&mut document["spec"], |place, name| &mut place[name]) = value.clone();
    }
    manifest::load(&document.to_string()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What becomes of a complete cluster when fields change.
fn change(before: &[(&str, Value)], after: &[(&str, Value)]) -> Rehearsal {
    let operator = OperatorSettings::default();
    let facts = settled(&manifest(before), &operator, now());
    let all: Vec<_> = before.iter().chain(after).cloned().collect();
    rehearse(&manifest(&all), &facts, now())
}

fn restarts(rehearsal: &Rehearsal) -> Vec<&str> {
    let steps = rehearsal.moments.iter().filter_map(|moment| match moment {
        Moment::Step(step) => Some(&step.action),
        Moment::Waits(_) => None,
    });
    steps
        .filter_map(|action| match action {
            Action::Evict { pod, .. } | Action::DeletePod { pod, .. } => Some(pod.as_str()),
            _ => None,
        })
        .collect()
}

fn waits(rehearsal: &Rehearsal) -> Vec<&str> {
    let waits = rehearsal.moments.iter().filter_map(|moment| match moment {
        Moment::Waits(waiting) => Some(waiting.message.as_str()),
        Moment::Step(_) => None,
    });
    waits.collect()
}

fn pods(facts: &Facts) -> usize {
    facts.pods.iter().filter(|pod| pod.ready).count()
}

fn pause(group: u32, restarts: &[&str]) -> Pause {
    let restarts = restarts.iter().map(|pod| (*pod).to_owned()).collect();
    Pause { group, restarts, others_take: true, ends: true }
}

/// A complete cluster, and what is Ready, in the end.
fn assert_is_ready(rehearsal: &Rehearsal, pods_in_all: usize) {
    let conditions = &rehearsal.after.cluster.status.conditions;
    let ready = conditions.iter().find(|condition| condition.kind == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), pods(&rehearsal.after)), ("True", pods_in_all), "{ready:?}");
}

#[test]
fn where_nothing_changes_nothing_happens() {
    let rehearsal = change(&[], &[("brokers.groups", json!(2))]);
    assert_eq!((rehearsal.moments, rehearsal.pauses, rehearsal.waiting), (vec![], vec![], vec![]));
}

#[test]
fn a_new_version_restarts_slaves_first_and_producers_go_to_other_groups() {
    let rehearsal = change(&[], &[("version", json!("0.1.1"))]);
    assert_eq!(
        restarts(&rehearsal),
        ["mq-namesrv-0", "mq-broker-0-1", "mq-broker-0-0", "mq-broker-1-1", "mq-broker-1-0"]
    );
    let pauses = [pause(0, &["mq-broker-0-0"]), pause(1, &["mq-broker-1-0"])];
    assert_eq!(rehearsal.pauses, pauses);
    assert_is_ready(&rehearsal, 5);
}

#[test]
fn a_group_alone_stops_taking_messages_while_its_master_restarts() {
    let rehearsal =
        change(&[("brokers.groups", json!(1))], &[("brokers.config", json!({ "maxMessageSize": "8MiB" }))]);
    assert_eq!(restarts(&rehearsal), ["mq-broker-0-1", "mq-broker-0-0"]);
    assert_eq!(rehearsal.pauses, [Pause { others_take: false, ..pause(0, &["mq-broker-0-0"]) }]);
    assert_is_ready(&rehearsal, 3);
}

#[test]
fn producers_leave_a_group_once_for_its_slave_that_all_messages_wait_for_and_its_master() {
    let sync = ("brokers.replication.mode", json!("Sync"));
    let pods = |group: u32| [format!("mq-broker-{group}-1"), format!("mq-broker-{group}-0")];
    let rehearsal = change(std::slice::from_ref(&sync), &[("version", json!("0.1.1"))]);
    let once = |group| Pause { restarts: pods(group).to_vec(), ..pause(group, &[]) };
    assert_eq!(rehearsal.pauses, [once(0), once(1)]);
    assert_is_ready(&rehearsal, 5);
    // A group alone pauses until both are back.
    let rehearsal = change(&[sync.clone(), ("brokers.groups", json!(1))], &[("version", json!("0.1.1"))]);
    assert_eq!(rehearsal.pauses, [Pause { others_take: false, ..once(0) }]);
    assert_is_ready(&rehearsal, 3);
    // So it does where masters wait for a person.
    let supervised = ("brokers.rollout.approval", json!("Supervised"));
    let rehearsal = change(&[sync.clone(), supervised], &[("version", json!("0.1.1"))]);
    let order = ["mq-broker-0-1", "mq-broker-1-1", "mq-broker-0-0", "mq-broker-1-0"];
    let paused: Vec<&String> = rehearsal.pauses.iter().flat_map(|pause| &pause.restarts).collect();
    assert_eq!((paused.len(), paused), (4, order.map(str::to_owned).iter().collect()));
    // A third member stands in for a slave.
    let three = ("brokers.replicasPerGroup", json!(3));
    let rehearsal = change(&[sync, three], &[("version", json!("0.1.1"))]);
    assert_eq!(rehearsal.pauses, [pause(0, &["mq-broker-0-0"]), pause(1, &["mq-broker-1-0"])]);
}

/// A group's master once restarted while the one before had not been told yet to take messages again.
#[test]
fn masters_that_were_approved_restart_one_after_the_other() {
    let supervised = ("brokers.rollout.approval", json!("Supervised"));
    let rehearsal = change(&[supervised], &[("version", json!("0.1.1"))]);
    assert_eq!(
        restarts(&rehearsal),
        ["mq-namesrv-0", "mq-broker-0-1", "mq-broker-1-1", "mq-broker-0-0", "mq-broker-1-0"]
    );
    assert_eq!(rehearsal.pauses, [pause(0, &["mq-broker-0-0"]), pause(1, &["mq-broker-1-0"])]);
    assert!(waits(&rehearsal).iter().any(|text| text.contains("gantry.rs/approve=")));
    assert_is_ready(&rehearsal, 5);
}

#[test]
fn live_settings_restart_nothing() {
    for field in [("brokers.replication.mode", json!("Sync")), ("brokers.flush.mode", json!("Sync"))] {
        let rehearsal = change(&[], &[field]);
        let pushed = rehearsal.moments.iter().filter(
            |moment| matches!(moment, Moment::Step(step) if matches!(step.action, Action::PushConfig { .. })),
        );
        assert_eq!((pushed.count(), restarts(&rehearsal).len(), rehearsal.pauses.len()), (4, 0, 0));
        assert_is_ready(&rehearsal, 5);
    }
}

#[test]
fn groups_come_with_their_topics_and_go_when_all_is_read() {
    let more = change(&[], &[("brokers.groups", json!(3))]);
    let copies = more.moments.iter().filter(
        |moment| matches!(moment, Moment::Step(step) if matches!(step.action, Action::CopyMetadata { to: 2, .. })),
    );
    assert_eq!((copies.count(), more.pauses.len()), (1, 0));
    assert_is_ready(&more, 7);
    let fewer = change(&[("brokers.groups", json!(3))], &[("brokers.groups", json!(2))]);
    let drained = fewer
        .moments
        .iter()
        .any(|moment| matches!(moment, Moment::Step(step) if step.event == Some("DrainCompleted")));
    assert!(drained && fewer.pauses.is_empty());
    assert_is_ready(&fewer, 5);
}

#[test]
fn what_a_person_has_to_do_is_left_at_the_end() {
    let refused =
        change(&[("brokers.scaleIn", json!({ "policy": "Refuse" }))], &[("brokers.groups", json!(1))]);
    assert_eq!(refused.waiting.iter().map(|waiting| waiting.reason).collect::<Vec<_>>(), ["Refused"]);
    let last = change(&[], &[("brokers.groups", json!(0))]);
    assert_eq!(last.waiting.iter().map(|waiting| waiting.reason).collect::<Vec<_>>(), ["LastWritableGroup"]);
}

#[test]
fn a_window_of_restarts_is_waited_for() {
    let window = json!([{ "schedule": "0 3 * * 6", "duration": "1h" }]);
    let rehearsal = change(&[("brokers.rollout.window", window)], &[("version", json!("0.1.1"))]);
    assert_eq!(
        waits(&rehearsal)[0],
        "no window of spec.brokers.rollout.window is open; the next opens at 2030-01-05T03:00:00Z"
    );
    assert_is_ready(&rehearsal, 5);
}

#[test]
fn a_cluster_that_stops_takes_no_messages_any_more() {
    let rehearsal = change(&[], &[("stopped", json!(true))]);
    let for_good = |group| Pause { others_take: false, ends: false, ..pause(group, &[]) };
    assert_eq!(rehearsal.pauses, [for_good(0), for_good(1)]);
    assert_eq!(pods(&rehearsal.after), 0);
    let conditions = &rehearsal.after.cluster.status.conditions;
    let progressing = conditions.iter().find(|condition| condition.kind == "Progressing").unwrap();
    assert_eq!((progressing.status.as_str(), progressing.reason.as_str()), ("False", "Idle"));
}

/// A pod that cannot start holds the roll up, however long one looks; the bound of a rehearsal ends it.
#[test]
fn what_does_not_run_at_the_start_stays_so() {
    let mut facts = settled(&manifest(&[]), &OperatorSettings::default(), now());
    let slave = facts.pods.iter_mut().find(|pod| pod.name == "mq-broker-0-1").unwrap();
    (slave.ready, slave.ready_since) = (false, Some("2029-12-31T23:00:00Z".parse().unwrap()));
    let changed = manifest(&[("version", json!("0.1.1"))]);
    let rehearsal = rehearse(&changed, &facts, now());
    // Its own restart asks nothing of it.
    assert_eq!(restarts(&rehearsal)[1], "mq-broker-0-1");
    let master = facts.pods.iter_mut().find(|pod| pod.name == "mq-broker-0-0").unwrap();
    (master.ready, master.ready_since) = (false, Some("2029-12-31T23:00:00Z".parse().unwrap()));
    let rehearsal = rehearse(&changed, &facts, now());
    assert!(rehearsal.waiting.iter().any(|waiting| waiting.message == "member 0 of group 0 is not ready"));
}

/// Whoever looks from a desk cannot ask brokers.
#[test]
fn members_that_cannot_be_asked_are_taken_to_run_as_they_were_told() {
    let mut facts = settled(&manifest(&[]), &OperatorSettings::default(), now());
    facts.members.clear();
    let same = rehearse(&manifest(&[]), &facts, now());
    assert_eq!(same.moments, vec![]);
    let changed = rehearse(&manifest(&[("version", json!("0.1.1"))]), &facts, now());
    assert_eq!(restarts(&changed).len(), 5);
    assert_is_ready(&changed, 5);
}

/// Addresses that follow from nodes would change otherwise.
#[test]
fn a_pod_that_restarts_comes_to_its_node_again() {
    let mut facts = settled(&manifest(&[]), &OperatorSettings::default(), now());
    for pod in &mut facts.pods {
        pod.node = Some(format!("node-of-{}", pod.name));
    }
    let rehearsal = rehearse(&manifest(&[("version", json!("0.1.1"))]), &facts, now());
    assert_eq!(restarts(&rehearsal).len(), 5);
    assert!(rehearsal.after.pods.iter().all(|pod| pod.node == Some(format!("node-of-{}", pod.name))));
}
