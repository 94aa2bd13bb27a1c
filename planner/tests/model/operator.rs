//! The operator: observes, plans, carries out, as `step.rs` says, and may die after any write. Safety is checked at each.

use k8s_openapi::jiff::Timestamp;
use manifest::cluster::status::ClusterStatus;
use manifest::cluster::{Approval, DeletionPolicy, LostVolume, ReplicationMode, ScaleInPolicy};
use planner::conditions::REASONS;
use planner::labels::{APPROVE, REPLACE, TEMPLATE_HASH};
use planner::object::{Kind, ObjectRef};
use planner::step::{Action, Class, Step};
use serde_json::Value;

use crate::Random;
use crate::kubernetes::World;

/// When restarts may begin where a schedule has a window: the first four of ten minutes.
pub const WINDOW: &str = "*/10 * * * *";
pub const WINDOW_MINUTES: i64 = 4;

/// Reconciles once. Returns whether there was nothing to do.
pub fn reconcile(world: &mut World, random: &mut Random, faults: bool) -> Result<bool, String> {
    if world.gone && !faults {
        return Ok(true);
    }
    let (manifest, facts) = match faults {
        true => world.cached(random),
        false => (world.manifest.clone(), world.facts(random, false)),
    };
    let plan = planner::plan(&manifest, &facts, world.now);
    if manifest.cluster().spec.paused && !facts.cluster.deleting && !plan.steps.is_empty() {
        return Err(format!("I8: steps while paused: {:?}", plan.steps));
    }
    for condition in &plan.status.conditions {
        let known = REASONS.iter().find(|(kind, _)| *kind == condition.kind);
        if known.is_none_or(|(_, reasons)| !reasons.contains(&condition.reason.as_str())) {
            return Err(format!("{}: {} is not in the manual", condition.kind, condition.reason));
        }
    }
    let disruptions = plan.steps.iter().filter(|step| step.class != Class::None).count();
    if disruptions > 1 && !facts.cluster.deleting {
        return Err(format!("more than one disruption in a plan: {:?}", plan.steps));
    }
    world.waiting = plan.waiting.clone();
    let nothing = plan.steps.is_empty() && plan.waiting.iter().all(|waiting| waiting.blocked);
    for step in plan.steps {
        if faults && random.one_in(12) {
            // It dies before the write, and another one takes over.
            return Ok(false);
        }
        if step.looks_again() && !still_planned(world, random, faults, &step) {
            return Ok(false);
        }
        if faults && random.one_in(15) {
            return Ok(false);
        }
        let done = take(world, &step, &facts.cluster.resource_version)?;
        world.log(|| {
            format!("{} {:?} {}", if done { "did" } else { "failed" }, short(&step.action), step.reason)
        });
        if !done {
            return Ok(false);
        }
        world.history.push(short(&step.action));
    }
    if nothing && !faults {
        world.cluster.status = plan.status;
    } else if random.one_in(3) && facts.cluster.resource_version == world.cluster.resource_version {
        world.cluster.status = plan.status;
        world.cluster.resource_version = world.fresh();
    }
    Ok(nothing)
}

/// Reconciles until nothing is left to do and every pod runs.
pub fn settle(world: &mut World) {
    let mut random = Random(11);
    for _ in 0..300 {
        world.tick(&mut random, false);
        if reconcile(world, &mut random, false).unwrap() && world.is_quiet() {
            return;
        }
    }
    let plan = world.live_plan();
    panic!("not settled: {:#?} {:#?}", plan.steps, plan.waiting);
}

/// Past the caches, just before.
fn still_planned(world: &World, random: &mut Random, faults: bool, step: &Step) -> bool {
    let plan = planner::plan(&world.manifest, &world.facts(random, faults), world.now);
    !world.gone && plan.steps.iter().any(|planned| planned.action == step.action)
}

/// Carries a step out, if its preconditions hold. `read_at` is the version of the cluster that was planned from.
fn take(world: &mut World, step: &Step, read_at: &str) -> Result<bool, String> {
    if world.gone {
        return Ok(false);
    }
    match &step.action {
        Action::AddFinalizer => {
            if world.cluster.deleting {
                return Ok(false);
            }
            world.cluster.resource_version = world.fresh();
            world.cluster.finalizers.insert(planner::labels::FINALIZER.to_owned());
        }
        Action::RemoveFinalizer => {
            let left = world.objects.keys().any(|reference| reference.kind == Kind::StatefulSet);
            if left || !world.pods.is_empty() {
                return Err(format!("the cluster goes before {:?}", world.pods.keys().collect::<Vec<_>>()));
            }
            world.cluster.finalizers.clear();
            world.gone = world.cluster.deleting;
        }
        Action::RecordStatus(status) => return record(world, status, read_at),
        Action::Create(object) | Action::CreateSecret { object, .. } => {
            if world.objects.contains_key(&object.reference) {
                return Ok(false);
            }
            if object.reference.kind == Kind::StatefulSet
                && let Some(group) = world.group_of(&object.reference.name)
                && world.removed.contains(&group)
            {
                return Err(format!("I9: group {group} comes again"));
            }
            if object.reference.kind == Kind::StatefulSet {
                check_made(world, &object.reference, &object.json)?;
            }
            let mut object = object.clone();
            if let Action::CreateSecret { keys, .. } = &step.action {
                keys.iter().for_each(|key| object.json["data"][*key] = "ZHJhd24=".into());
            }
            world.put(&object);
        }
        Action::Apply { object, uid, resource_version } => {
            let Some(observed) = world.objects.get(&object.reference) else { return Ok(false) };
            if observed.uid != *uid
                || resource_version.as_ref().is_some_and(|rv| *rv != observed.resource_version)
            {
                return Ok(false);
            }
            if object.reference.kind == Kind::StatefulSet {
                let (before, after) = (observed.json.clone(), object.json.clone());
                check_set(world, &object.reference, &before, &after, step)?;
            }
            if object.reference.name.ends_with("-live") {
                check_stores(world, &observed.json, &object.json)?;
            }
            world.put(object);
        }
        Action::Delete { object, uid } => {
            if world.objects.get(object).is_none_or(|observed| observed.uid != *uid) {
                return Ok(false);
            }
            if object.kind == Kind::StatefulSet {
                let start = format!("{}-", object.name);
                let ends = world.cluster.deleting && !world.manifest.cluster().spec.deletion.protection;
                if !ends && world.pods.keys().any(|pod| pod.starts_with(&start)) {
                    return Err(format!("{object} is deleted with its pods"));
                }
            }
            world.remove(object);
        }
        Action::OrphanStatefulSet { name, uid } => {
            let reference = ObjectRef::new(Kind::StatefulSet, name);
            if world.objects.get(&reference).is_none_or(|observed| observed.uid != *uid) {
                return Ok(false);
            }
            world.objects.remove(&reference);
        }
        Action::PushConfig { pod, properties, .. } => {
            if world.pods.get(pod).is_none_or(|pod| pod.starts_in > 0) {
                return Ok(false);
            }
            world.hand_over(pod, properties.clone());
        }
        Action::HandOver { from, .. } => {
            world.handed_over.insert(*from);
        }
        Action::CopyMetadata { to, .. } => {
            *world.topics.entry(*to).or_default() += 3;
        }
        Action::Evict { pod, uid, resource_version } | Action::DeletePod { pod, uid, resource_version } => {
            let known = world
                .pods
                .get(pod)
                .filter(|known| known.facts.uid == *uid && known.facts.resource_version == *resource_version);
            if known.is_none() {
                return Ok(false);
            }
            check_restart(world, pod, step)?;
            world.pods.get_mut(pod).unwrap().facts.terminating = true;
        }
        Action::PatchPod { pod, uid, patch } => {
            let version = world.fresh();
            let Some(pod) = world.pods.get_mut(pod).filter(|pod| pod.facts.uid == *uid) else {
                return Ok(false);
            };
            for (key, value) in patch["metadata"]["labels"].as_object().unwrap() {
                pod.facts.labels.insert(key.clone(), value.as_str().unwrap().to_owned());
            }
            pod.facts.resource_version = version;
        }
        Action::PatchClaim { claim, uid, patch } => {
            let Some(claim) = world.claims.get_mut(claim).filter(|claim| claim.uid == *uid) else {
                return Ok(false);
            };
            for (key, value) in patch["metadata"]["annotations"].as_object().into_iter().flatten() {
                claim.annotations.insert(key.clone(), value.as_str().unwrap().to_owned());
            }
            if let Some(size) = patch.pointer("/spec/resources/requests/storage").and_then(Value::as_str) {
                claim.requested = size.to_owned();
                claim.capacity = Some(size.to_owned());
            }
            if let Some(class) = patch.pointer("/spec/volumeAttributesClassName").and_then(Value::as_str) {
                claim.attributes_class = Some(class.to_owned());
            }
        }
        Action::DeleteClaim { claim, uid } => {
            let Some(known) = world.claims.get(claim).filter(|known| known.uid == *uid) else {
                return Ok(false);
            };
            check_removal(world, &known.name.clone())?;
            world.delete_claim(claim);
        }
    }
    Ok(true)
}

fn record(world: &mut World, status: &ClusterStatus, read_at: &str) -> Result<bool, String> {
    if read_at != world.cluster.resource_version {
        return Ok(false);
    }
    let state = |status: &ClusterStatus, index: i32| {
        let group = status.brokers.group_statuses.iter().find(|group| group.index == index);
        group.map(|group| group.state.clone()).unwrap_or_default()
    };
    let old = world.cluster.status.clone();
    for group in &status.brokers.group_statuses {
        let index = u32::try_from(group.index).unwrap();
        if world.removed.contains(&index) {
            return Err(format!("I9: group {index} comes again"));
        }
        let force = world.manifest.cluster().spec.brokers.scale_in.policy == ScaleInPolicy::Force;
        let unread = world.unread.get(&index).copied().unwrap_or(0);
        if group.state == "Removing" && state(&old, group.index) == "Draining" && unread > 0 && !force {
            return Err(format!("I3: group {index} goes with {unread} messages to read"));
        }
        let alone = state(&old, group.index) == "Draining" && !world.handed_over.contains(&index);
        if group.state == "Removing" && alone && !force {
            return Err(format!("I3: group {index} goes with a topic that no other one has"));
        }
        if group.state == "Removing" && state(&old, group.index) == "Active" {
            return Err(format!("I3: group {index} goes without a drain"));
        }
    }
    for group in &old.brokers.group_statuses {
        if state(status, group.index).is_empty() {
            world.removed.insert(u32::try_from(group.index).unwrap());
        }
    }
    world.cluster.status = status.clone();
    world.cluster.resource_version = world.fresh();
    Ok(true)
}

fn check_set(
    world: &World,
    set: &ObjectRef,
    before: &Value,
    after: &Value,
    step: &Step,
) -> Result<(), String> {
    let (from, to) = (before["spec"]["replicas"].as_u64(), after["spec"]["replicas"].as_u64());
    if before["spec"]["volumeClaimTemplates"] != after["spec"]["volumeClaimTemplates"] {
        return Err(format!("{set}: claim templates cannot change"));
    }
    if to >= from {
        return Ok(());
    }
    if step.class == Class::None {
        return Err(format!("{set} loses pods without saying so"));
    }
    let Some(group) = world.group_of(&set.name) else { return Ok(()) };
    let state = world.cluster.status.brokers.group_statuses.iter().find(|known| known.index == group as i32);
    let removing = state.is_some_and(|known| known.state == "Removing");
    match to {
        Some(0) if removing || world.manifest.cluster().spec.stopped => Ok(()),
        Some(0) => Err(format!("I3: {set} loses all pods")),
        _ => others_are_ready(world, group, &format!("{}-{}", set.name, to.unwrap_or(0))),
    }
}

/// A StatefulSet that is made for fewer pods than there are takes some away.
fn check_made(world: &World, set: &ObjectRef, json: &Value) -> Result<(), String> {
    let replicas = json["spec"]["replicas"].as_u64().unwrap();
    let start = format!("{}-", set.name);
    let ordinals = world
        .pods
        .values()
        .filter(|pod| !pod.facts.terminating)
        .filter_map(|pod| pod.facts.name.strip_prefix(&start)?.parse::<u64>().ok());
    let more = ordinals.filter(|ordinal| *ordinal >= replicas).count();
    let group = world.group_of(&set.name);
    let known = world.cluster.status.brokers.group_statuses.iter();
    let state = known
        .filter(|known| u32::try_from(known.index).ok() == group)
        .map(|known| known.state.as_str())
        .next();
    match more == 0 || state == Some("Removing") {
        true => Ok(()),
        false => Err(format!("{set} is made for {replicas} pods and takes {more} away")),
    }
}

fn check_restart(world: &World, pod: &str, step: &Step) -> Result<(), String> {
    let known = &world.pods[pod];
    if matches!(step.action, Action::DeletePod { .. }) {
        let ends = world.cluster.deleting && !world.manifest.cluster().spec.deletion.protection;
        return match known.facts.ready && !ends {
            true => Err(format!("{pod} is deleted although it runs")),
            false => Ok(()),
        };
    }
    if known.facts.ready {
        check_rollout(world, pod)?;
    }
    let Some(group) = world.group_of(pod) else {
        // A moment after a pod is ready, nodes know of it.
        let served = |since: Timestamp| world.now.as_second() - since.as_second() >= 5;
        let ready = |other: &&String| {
            let facts = &world.pods[*other].facts;
            *other != pod && facts.ready && facts.ready_since.is_some_and(served)
        };
        let names: Vec<&String> = world.pods.keys().filter(|name| name.contains("-namesrv-")).collect();
        let alone = names.len() == 1 || !known.facts.ready;
        return match alone || names.iter().any(ready) {
            true => Ok(()),
            false => Err("the last name server that clients can reach restarts".to_owned()),
        };
    };
    others_are_ready(world, group, pod)?;
    // A master that others stand in for goes only when one of them can.
    let writable = |other: u32| {
        let master = world.pods.get(&format!("{}-broker-{other}-0", world.cluster.name));
        master.is_some_and(|pod| {
            pod.facts.ready
                && pod.settings.get("brokerPermission").is_some_and(|permission| permission == "6")
        })
    };
    let others = world.groups().into_iter().filter(|other| *other != group);
    let quiet = world.pods[pod].settings.get("brokerPermission").is_some_and(|permission| permission != "6");
    // So does a slave that every message waits for.
    let brokers = &world.manifest.cluster().spec.brokers;
    let awaited = brokers.replication.mode == ReplicationMode::Sync
        && brokers.replicas_per_group <= brokers.replication.required_acks.unwrap_or(2);
    if (awaited || pod.ends_with("-0")) && known.facts.ready && step.class == Class::MemberLoss {
        if !quiet {
            return Err(format!("{pod} restarts while producers send to it"));
        }
        let groups = &world.cluster.status.brokers.group_statuses;
        let active = groups.iter().any(|known| known.index == group as i32 && known.state == "Active");
        if active && !others.into_iter().any(writable) {
            return Err(format!("{pod} restarts and no other group takes messages"));
        }
    }
    Ok(())
}

fn others_are_ready(world: &World, group: u32, pod: &str) -> Result<(), String> {
    let start = format!("{}-broker-{group}-", world.cluster.name);
    let down = world.pods.values().find(|other| {
        other.facts.name.starts_with(&start)
            && other.facts.name != pod
            && (!other.facts.ready || other.facts.terminating)
    });
    match down {
        Some(down) => Err(format!("I1: {pod} goes while {} is down", down.facts.name)),
        None => Ok(()),
    }
}

fn check_removal(world: &World, claim: &str) -> Result<(), String> {
    let pod = claim.strip_prefix("data-").unwrap_or_default();
    if world.claims[claim].lost {
        return Ok(());
    }
    if world.pods.contains_key(pod) {
        return Err(format!("I3: {claim} goes while {pod} runs"));
    }
    let deletion = &world.manifest.cluster().spec.deletion;
    if world.cluster.deleting && !deletion.protection {
        return match deletion.policy {
            DeletionPolicy::Delete => Ok(()),
            DeletionPolicy::Retain => Err(format!("I3: {claim} is to outlive the cluster")),
        };
    }
    let group = world.group_of(pod).unwrap();
    let removing = state_of(world, group) == "Removing";
    let master = world.pods.get(&format!("{}-broker-{group}-0", world.cluster.name));
    let copies = master.is_some_and(|master| master.facts.ready) && !pod.ends_with("-0");
    match removing || copies {
        true => Ok(()),
        false => Err(format!("I2: {claim} is the last of its messages")),
    }
}

/// A member may begin anew only when a person gave its store up, or where the manifest lets slaves do so whose store is
/// gone.
fn check_stores(world: &World, before: &Value, after: &Value) -> Result<(), String> {
    let expected = |json: &Value, file: &str| {
        let text = json["data"][file].as_str()?;
        text.lines().find_map(|line| line.strip_prefix("expectedStoreId=")).map(str::to_owned)
    };
    let replaces = world.said(|spec| spec.brokers.storage.on_lost_volume == LostVolume::Replace);
    let given_up = world.cluster.annotations.get(REPLACE).map(String::as_str).unwrap_or_default();
    for file in before["data"].as_object().into_iter().flatten().map(|(file, _)| file) {
        let Some(pod) = file.strip_suffix(".properties").filter(|_| after["data"].get(file).is_some()) else {
            continue;
        };
        let (old, new) = (expected(before, file), expected(after, file));
        let Some(old) = old.filter(|old| new.as_ref() != Some(old)) else { continue };
        let by_name = given_up.split(',').any(|entry| entry == format!("{pod}={old}"));
        let is_gone = world.stores.get(&format!("data-{pod}")) != Some(&old);
        let by_manifest = replaces && is_gone && !pod.ends_with("-0");
        if !by_name && !by_manifest {
            return Err(format!("I2: {pod} is not held to store {old} any more, but to {new:?}"));
        }
    }
    Ok(())
}

fn state_of(world: &World, group: u32) -> &str {
    let groups = &world.cluster.status.brokers.group_statuses;
    let known = groups.iter().find(|known| u32::try_from(known.index) == Ok(group));
    known.map_or("", |known| known.state.as_str())
}

/// How a person wants restarts: masters with an approval, the first one within a window, not in too many groups at once.
fn check_rollout(world: &World, pod: &str) -> Result<(), String> {
    let rollout = &world.manifest.cluster().spec.brokers.rollout;
    let members_of = |set: &str| {
        let start = format!("{set}-");
        world.pods.values().filter(move |pod| pod.facts.name.starts_with(&start))
    };
    let set = pod.rsplit_once('-').unwrap().0;
    let is_master = world.group_of(pod).is_some() && pod.ends_with("-0");
    if rollout.approval == Approval::Supervised && is_master {
        let wanted = world.live_plan().status.rollout.map(|rollout| rollout.id);
        if world.cluster.annotations.get(APPROVE) != wanted.as_ref() {
            return Err(format!("{pod} restarts without approval"));
        }
    }
    let is_closed = rollout
        .window
        .first()
        .is_some_and(|window| window.schedule == WINDOW && world.now.as_second() / 60 % 10 >= WINDOW_MINUTES);
    let template = &world.objects[&ObjectRef::new(Kind::StatefulSet, set)].json["spec"]["template"];
    let hash = template["metadata"]["annotations"][TEMPLATE_HASH].as_str();
    let begun = members_of(set).any(|pod| {
        let is_new = pod.facts.annotations.get(TEMPLATE_HASH).map(String::as_str) == hash;
        is_new || !pod.facts.ready || pod.settings.get("brokerPermission").is_some_and(|told| told != "6")
    });
    if is_closed && !begun {
        return Err(format!("{set} begins to restart outside of its window"));
    }
    let Some(group) = world.group_of(pod) else { return Ok(()) };
    let is_disturbed = |other: &u32| {
        let set = format!("{}-broker-{other}", world.cluster.name);
        let json = &world.objects[&ObjectRef::new(Kind::StatefulSet, &set)].json;
        let ready = members_of(&set).filter(|pod| pod.facts.ready && !pod.facts.terminating).count() as u64;
        *other != group
            && ["Active", "Draining"].contains(&state_of(world, *other))
            && Some(ready) < json["spec"]["replicas"].as_u64()
    };
    let others = world.groups().iter().filter(|other| is_disturbed(other)).count();
    match others < rollout.max_groups_in_parallel as usize {
        true => Ok(()),
        false => Err(format!("{pod} restarts while members of {others} other groups are away")),
    }
}

fn short(action: &Action) -> String {
    match action {
        Action::Create(object) | Action::CreateSecret { object, .. } => {
            format!("Create {}", object.reference)
        }
        Action::Apply { object, .. } => {
            format!("Apply {} {}", object.reference, object.json["spec"]["replicas"])
        }
        Action::RecordStatus(status) => {
            let groups = status.brokers.group_statuses.iter();
            format!(
                "Record {:?}",
                groups.map(|group| format!("{}:{}", group.index, group.state)).collect::<Vec<_>>()
            )
        }
        Action::PushConfig { pod, revision, properties } => {
            format!("Push {pod} {revision} permission {:?}", properties.get("brokerPermission"))
        }
        Action::Delete { object, .. } => format!("Delete {object}"),
        Action::OrphanStatefulSet { name, .. } => format!("Orphan {name}"),
        Action::Evict { pod, .. } => format!("Evict {pod}"),
        Action::DeletePod { pod, .. } => format!("DeletePod {pod}"),
        Action::PatchPod { pod, .. } => format!("PatchPod {pod}"),
        Action::PatchClaim { claim, patch, .. } => format!("PatchClaim {claim} {patch}"),
        Action::DeleteClaim { claim, .. } => format!("DeleteClaim {claim}"),
        Action::CopyMetadata { from, to } => format!("CopyMetadata {from:?} {to}"),
        Action::HandOver { from, .. } => format!("HandOver {from}"),
        Action::AddFinalizer => "AddFinalizer".to_owned(),
        Action::RemoveFinalizer => "RemoveFinalizer".to_owned(),
    }
}
