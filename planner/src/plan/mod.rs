//! What to do next: a straight line from facts to steps. Each decision has its own file and knows nothing of the others.
//!
//! What disturbs nobody is done at once; of what does, one thing at a time. A plan that nothing comes of is empty: taking
//! all its steps and planning again ends there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use manifest::Validated;
use manifest::cluster::{Approval, LostVolume, StorageType, TopicInheritance, WhenScaled};
use manifest::units::parse_duration;
use serde_json::{Value, json};

use crate::build::{self, SECRET_KEYS, live_config};
use crate::check::check;
use crate::desired::Desired;
use crate::facts::{Answer, Facts, PodFacts, StoreState};
use crate::hash::hash8;
use crate::labels::{ADOPT, APPROVE, CLUSTER_UID, FINALIZER, PERMISSION_SINCE, REPLACE, ROLE, STORE_ID};
use crate::object::{Kind, Object, ObjectRef};
use crate::seen::{Seen, SeenGroup, child};
use crate::shape::{GroupShape, HIDDEN, READ_ONLY, READ_WRITE, Shape, VolumeShape};
use crate::status;
use crate::step::{Action, Class, Plan, Step, Waiting};

mod delete;
mod ensure;
pub(crate) mod groups;
mod identity;
mod name_servers;
mod outdated;
mod replicas;
mod roll;
pub(crate) mod scale_in;
mod volumes;
mod window;

use groups::{Records, State};
use name_servers::NameServers;
use replicas::Replicas;
use roll::Roll;
use scale_in::Progress;

/// Static settings of former templates that are kept, for a way back.
const KEPT_STATIC_CONFIGS: usize = 3;
/// A setting that members have not taken over after so long is reported.
const SLOW_PUSH: Duration = Duration::from_secs(60);

/// What was found and decided: the status is made of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) steps: Vec<Step>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) records: Records,
    /// Of draining groups: the phase and how it stands.
    pub(crate) drains: BTreeMap<u32, Progress>,
    /// Name servers that are told of.
    pub(crate) listed: u32,
    pub(crate) rollout: Rollout,
    /// Volumes that grow.
    pub(crate) resizing: Vec<String>,
    /// Why the manifest cannot be applied.
    pub(crate) refused: Vec<Waiting>,
}

/// How far restarts are.
#[derive(Default)]
pub(crate) struct Rollout {
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) outdated: usize,
    pub(crate) total: usize,
    pub(crate) current: Option<String>,
}

/// Decides what to do next.
pub fn plan(validated: &Validated, facts: &Facts, now: Timestamp) -> Plan {
    let desired = Desired::new(validated, facts, now);
    let seen = Seen::of(&desired);
    let outcome = decide(&desired, &seen);
    let status = status::status(&desired, &seen, &outcome);
    Plan { steps: outcome.steps, waiting: outcome.waiting, status }
}

fn decide(desired: &Desired, seen: &Seen) -> Outcome {
    let facts = desired.facts;
    let mut outcome = Outcome {
        records: Records::read(&facts.cluster.status.brokers),
        listed: desired.effective.name_servers.replicas,
        ..Outcome::default()
    };
    if desired.spec().paused {
        return outcome;
    }
    if facts.cluster.deleting {
        (outcome.steps, outcome.waiting) = delete::decide(desired, seen);
        return outcome;
    }
    outcome.refused = check(desired, seen);
    if !outcome.refused.is_empty() {
        return outcome;
    }
    if !facts.cluster.finalizers.contains(FINALIZER) {
        outcome.steps.push(Step::quiet(Action::AddFinalizer, "the cluster must not go before its brokers"));
        return outcome;
    }
    let recorded = outcome.records.clone();
    decide_groups(desired, seen, &mut outcome);
    if outcome.records != recorded {
        // Everything else follows from what is recorded.
        let status = status::recorded(desired, &outcome.records);
        outcome.steps.push(Step {
            action: Action::RecordStatus(Box::new(status)),
            class: Class::None,
            reason: "which groups there are".to_owned(),
            event: record_event(&recorded, &outcome.records),
        });
        return outcome;
    }
    reconcile(desired, seen, &mut outcome);
    outcome
}

fn record_event(before: &Records, after: &Records) -> Option<&'static str> {
    let entered = |state| {
        after.groups.iter().any(|(index, record)| {
            record.state == state && before.groups.get(index).is_some_and(|before| before.state != state)
        })
    };
    [
        (State::Removing, "DrainCompleted"),
        (State::Draining, "DrainStarted"),
        (State::Active, "GroupScaledOut"),
    ]
    .into_iter()
    .find_map(|(state, event)| entered(state).then_some(event))
}

fn decide_groups(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
    let brokers = &desired.spec().brokers;
    let recorded = &outcome.records;
    let with_state = |state: State| recorded.groups.iter().filter(move |(_, record)| record.state == state);
    for (index, record) in with_state(State::Draining) {
        let progress = drain(desired, seen, *index, record.since);
        outcome.drains.insert(*index, progress);
    }
    let drained = outcome.drains.iter().filter(|(_, progress)| **progress == Progress::Drained);
    let input = groups::Input {
        wanted: brokers.groups.unsigned_abs(),
        remove: &brokers.remove,
        policy: brokers.scale_in.policy,
        running: seen
            .groups
            .iter()
            .filter(|(_, group)| group.role.set.is_some())
            .map(|(index, _)| *index)
            .collect(),
        stored: seen
            .groups
            .iter()
            .filter(|(_, group)| !group.claims.is_empty())
            .map(|(index, _)| *index)
            .collect(),
        joined: with_state(State::Joining)
            .map(|(i, _)| *i)
            .filter(|i| has_joined(desired, seen, *i))
            .collect(),
        drained: drained.map(|(index, _)| *index).collect(),
        gone: with_state(State::Removing).map(|(i, _)| *i).filter(|i| is_gone(desired, seen, *i)).collect(),
        recorded: recorded.clone(),
        now: desired.now,
    };
    let (records, waiting) = groups::decide(&input);
    outcome.records = records;
    outcome.waiting.extend(waiting);
    for (index, progress) in &outcome.drains {
        if let Progress::Waiting { reason, message, .. } = progress {
            let message = format!("group {index}: {message}");
            outcome.waiting.push(Waiting { reason, message, blocked: *reason != "Draining" });
        }
    }
}

fn drain(desired: &Desired, seen: &Seen, group: u32, started: Option<Timestamp>) -> Progress {
    let settings = &desired.spec().brokers.scale_in;
    let time = |text: &str| parse_duration(text).unwrap_or_default();
    let found = desired.facts.drains.get(&group).and_then(Answer::known);
    scale_in::decide(&scale_in::Drain {
        policy: settings.policy,
        idle_groups: settings.idle_groups,
        ignore_idle_after: time(&settings.ignore_idle_groups_after),
        min_time: time(&settings.min_drain_time),
        timeout: time(&settings.drain_timeout),
        started: started.unwrap_or(desired.now),
        read_only_since: permission_since(desired, seen, group, READ_ONLY),
        found: found.map_or(Answer::Unknown, Answer::Known),
        now: desired.now,
    })
}

/// Returns since when all members of a group have a permission.
fn permission_since(desired: &Desired, seen: &Seen, group: u32, permission: u8) -> Option<Timestamp> {
    let all_have_it = seen.groups.get(&group).is_some_and(|group| group.has_permission(permission));
    let told = told_permission(desired, group) == Some(permission);
    let since = || live_config::time_of(&live_config::observed(desired, group)?.json, PERMISSION_SINCE);
    (all_have_it && told).then(since).flatten()
}

/// Returns the permission in a group's live settings.
fn told_permission(desired: &Desired, group: u32) -> Option<u8> {
    let settings =
        live_config::read(&live_config::observed(desired, group)?.json, &desired.names.broker(group, 0))?;
    settings.get("brokerPermission")?.parse().ok()
}

/// Whether all members that answer run with the group's live settings.
fn is_confirmed(desired: &Desired, seen: &Seen, group: u32) -> bool {
    let settings = live_config::observed(desired, group)
        .and_then(|observed| live_config::read(&observed.json, &desired.names.broker(group, 0)));
    let revision = settings.as_ref().and_then(live_config::revision_of);
    match (revision, seen.groups.get(&group)) {
        (Some(revision), Some(group)) => group.confirmed(revision),
        _ => false,
    }
}

fn has_joined(desired: &Desired, seen: &Seen, group: u32) -> bool {
    let complete = match desired.spec().brokers.topic_inheritance {
        TopicInheritance::None => true,
        TopicInheritance::CopyUnmanaged => desired.facts.copies.get(&group) == Some(&Answer::Known(0)),
    };
    complete
        && seen.groups.get(&group).is_some_and(|group| group.role.all_ready())
        && is_confirmed(desired, seen, group)
}

fn is_gone(desired: &Desired, seen: &Seen, group: u32) -> bool {
    let keeps = desired.spec().brokers.storage.when_scaled == WhenScaled::Retain;
    seen.groups.get(&group).is_none_or(|group| {
        group.role.set.is_none() && group.role.pods.is_empty() && (keeps || group.claims.is_empty())
    })
}

fn reconcile(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
    let roll = roll(desired, seen, outcome);
    let before = outcome.rollout.outdated;
    let name_server = roll_name_servers(desired, seen, outcome);
    let name_servers_roll = outcome.rollout.outdated > before;
    let (shape, volumes) = shape(desired, seen, outcome, &roll);
    outcome.listed = shape.name_servers.listed;
    let built = build::build(desired, &shape);
    let mut disruptions = Vec::new();
    ensure_children(desired, seen, &built, &shape, outcome, &mut disruptions);
    delete_leftovers(desired, seen, &built, outcome);
    for (group, volumes) in &volumes {
        grow(desired, seen, *group, volumes, outcome);
    }
    note_on_claims(desired, seen, outcome);
    label_pods(desired, seen, outcome);
    // What is told to members holds nothing up but what needs it, and that waits for their answers.
    let held_up = !outcome.steps.is_empty();
    push(desired, seen, &built, outcome);
    copy_metadata(desired, seen, outcome);
    disruptions.extend(remove_claims(desired, seen, outcome));
    disruptions.extend(name_server);
    if !name_servers_roll {
        disruptions.extend(restart(desired, seen, &roll, outcome));
    }
    outcome.waiting.extend(roll.waiting);
    if !held_up {
        outcome.steps.extend(disruptions.into_iter().take(1));
    }
}

fn groups_that_run(records: &Records) -> impl Iterator<Item = u32> {
    records.groups.iter().filter(|(_, record)| record.state != State::Removing).map(|(index, _)| *index)
}

/// Decides about restarts of brokers.
fn roll(desired: &Desired, seen: &Seen, outcome: &mut Outcome) -> Roll {
    let spec = desired.spec();
    if spec.stopped {
        return Roll::default();
    }
    let views: Vec<roll::Group> = groups_that_run(&outcome.records)
        .map(|index| roll_view(desired, seen, &outcome.records, index))
        .collect();
    let members = || views.iter().flat_map(|group| &group.members);
    let templates: Vec<Value> = views
        .iter()
        .map(|group| json!(template_of(&build::brokers::template(desired, group.index))))
        .collect();
    outcome.rollout.id = hash8(&json!(templates));
    outcome.rollout.total = members().count();
    outcome.rollout.outdated = members().filter(|member| member.outdated.is_some()).count();
    outcome.rollout.reason = members().find_map(|member| member.outdated.clone()).unwrap_or_default();
    let rollout = &spec.brokers.rollout;
    let begun = outcome.rollout.outdated < outcome.rollout.total || views.iter().any(|group| group.quiet);
    let waits = |reason, message: String, blocked| Some(Waiting { reason, message, blocked });
    let hold = if !desired.facts.operator.may_roll && !begun {
        waits("RollingOut", "other clusters restart first".to_owned(), false)
    } else {
        match window::is_open(&rollout.window, desired.now) {
            Ok(true) => None,
            Ok(false) => {
                waits("RollingOut", "no window of spec.brokers.rollout.window is open".to_owned(), false)
            }
            Err(text) => waits("InvalidSpec", format!("spec.brokers.rollout.window: {text}"), true),
        }
    };
    let approved = desired.facts.cluster.annotations.get(APPROVE) == Some(&outcome.rollout.id);
    let hold_masters = match rollout.approval {
        Approval::Supervised if !approved => waits(
            "AwaitingApproval",
            format!("masters restart when this cluster has the annotation {APPROVE}={}", outcome.rollout.id),
            true,
        ),
        _ => None,
    };
    let rules = roll::Rules {
        most_groups: usize::try_from(rollout.max_groups_in_parallel).unwrap_or(1),
        hold,
        hold_masters,
        pause: parse_duration(&rollout.pause_between).unwrap_or_default(),
        now: desired.now,
    };
    let roll = roll::decide(&views, &rules);
    if let Some(restart) = &roll.restart {
        outcome.rollout.current = Some(desired.names.broker(restart.group, restart.ordinal));
    }
    roll
}

fn template_of(template: &Value) -> &str {
    let annotations = template.pointer("/metadata/annotations");
    annotations
        .and_then(|all| all.get(crate::labels::TEMPLATE_HASH))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn roll_view(desired: &Desired, seen: &Seen, records: &Records, index: u32) -> roll::Group {
    let nothing = SeenGroup::default();
    let group = seen.groups.get(&index).unwrap_or(&nothing);
    let template = build::brokers::template(desired, index);
    let active = records.groups.get(&index).is_some_and(|record| record.state == State::Active);
    let told = told_permission(desired, index);
    let can_be_asked = active && group.role.is_ready(0);
    let ordinals = 0..group.role.set.map_or(0, |set| set.replicas);
    let member = |ordinal: u32| {
        let pod = group.role.pods.get(&ordinal).filter(|pod| !pod.terminating);
        let grows = group.claims.get(&ordinal).is_some_and(|claim| claim.file_system_resize_pending);
        roll::Member {
            ready: group.role.is_ready(ordinal),
            ready_since: pod.and_then(|pod| pod.ready_since),
            outdated: pod.and_then(|pod| outdated::reason(pod, &template, grows)),
            trouble: pod.and_then(|pod| pod.trouble.clone()),
            lag: group.answers.get(&ordinal).and_then(|answer| answer.lag_bytes),
        }
    };
    roll::Group {
        index,
        writable: can_be_asked && told == Some(READ_WRITE) && group.has_permission(READ_WRITE),
        quiet: active && told == Some(READ_ONLY),
        quiet_since: permission_since(desired, seen, index, READ_ONLY),
        members: ordinals.map(member).collect(),
    }
}

/// One name server at a time, all others ready; brokers wait for the last of them.
fn roll_name_servers(desired: &Desired, seen: &Seen, outcome: &mut Outcome) -> Option<Step> {
    let role = &seen.name_servers;
    let set = role.set.filter(|set| set.replicas > 0 && !desired.spec().stopped)?;
    let template = build::name_servers::template(desired);
    let outdated: BTreeMap<u32, String> = (0..set.replicas)
        .filter_map(|ordinal| Some((ordinal, outdated::reason(role.pods.get(&ordinal)?, &template, false)?)))
        .collect();
    outcome.rollout.total += usize::try_from(set.replicas).unwrap_or(0);
    outcome.rollout.outdated += outdated.len();
    if !set.settled || set.template != Some(template_of(&template)) {
        return None;
    }
    // One that is down goes first: it is the one that may be mended by it.
    let down = outdated.iter().find(|(ordinal, _)| !role.is_ready(**ordinal));
    let (ordinal, reason) = down.or(outdated.iter().next())?;
    let pod = role.pods.get(ordinal)?;
    let broken = pod.trouble.is_some() && !pod.ready;
    if pod.terminating || (!broken && !role.others_ready(*ordinal)) {
        let message = "a name server is not ready".to_owned();
        outcome.waiting.push(Waiting { reason: "RollingOut", message, blocked: false });
        return None;
    }
    outcome.rollout.current = Some(pod.name.clone());
    Some(restart_step(pod, broken, Class::MemberLoss, reason))
}

fn restart_step(pod: &PodFacts, broken: bool, class: Class, reason: &str) -> Step {
    let (pod, uid, resource_version) = (pod.name.clone(), pod.uid.clone(), pod.resource_version.clone());
    let action = match broken {
        true => Action::DeletePod { pod, uid, resource_version },
        false => Action::Evict { pod, uid, resource_version },
    };
    Step { action, class, reason: reason.to_owned(), event: Some("RestartRequired") }
}

fn restart(desired: &Desired, seen: &Seen, roll: &Roll, outcome: &mut Outcome) -> Option<Step> {
    let restart = roll.restart.as_ref()?;
    let group = seen.groups.get(&restart.group)?;
    let set = group.role.set?;
    let template = build::brokers::template(desired, restart.group);
    if !set.settled || set.template != Some(template_of(&template)) || set.observed.deleting {
        let message = format!("{} is not up to date yet", desired.names.group(restart.group));
        outcome.waiting.push(Waiting { reason: "RollingOut", message, blocked: false });
        return None;
    }
    Some(restart_step(group.role.pods.get(&restart.ordinal)?, restart.broken, restart.class, &restart.reason))
}

type AllVolumes = BTreeMap<u32, volumes::Volumes>;

fn shape(desired: &Desired, seen: &Seen, outcome: &mut Outcome, roll: &Roll) -> (Shape, AllVolumes) {
    let mut shape =
        Shape { groups: BTreeMap::new(), name_servers: name_servers_shape(desired, seen, outcome) };
    let mut all_volumes = AllVolumes::new();
    let mut grows = false;
    for (index, record) in outcome.records.groups.clone() {
        let nothing = SeenGroup::default();
        let group = seen.groups.get(&index).unwrap_or(&nothing);
        let now = group.role.set.map(|set| set.replicas);
        let pods = group.role.highest();
        let empty = pods == 0 && group.role.set.is_none_or(|set| set.replicas == 0 && set.pods == 0);
        if record.state == State::Removing && empty {
            continue;
        }
        let wanted = desired.replicas_per_group();
        let mut replicas = match record.state {
            State::Removing => 0,
            _ if desired.spec().stopped => stopped_replicas(desired, seen, index, outcome),
            _ => {
                let all_ready = group.role.all_ready();
                let (next, waits) =
                    replicas::decide(&Replicas { now, wanted, pods, all_ready, another_grows: grows });
                grows |= now.is_some_and(|now| now > 0 && now < wanted);
                if let Some(waits) = waits {
                    let message =
                        format!("group {index} goes from {} to {wanted} members: {waits}", now.unwrap_or(0));
                    outcome.waiting.push(Waiting { reason: "ScalingOut", message, blocked: false });
                }
                next
            }
        };
        let addressed = replicas.max(pods).max(if record.state == State::Removing { 0 } else { wanted });
        if replicas > now.unwrap_or(0) && !has_addresses(desired, index, replicas) {
            let message = format!("services of group {index} get their addresses");
            outcome.waiting.push(Waiting { reason: "Creating", message, blocked: false });
            replicas = now.unwrap_or(0);
        }
        let volumes = group_volumes(desired, group);
        outcome.waiting.extend(volumes.waiting.clone());
        let permission = match record.state {
            State::Joining => HIDDEN,
            State::Draining | State::Removing => READ_ONLY,
            State::Active if desired.spec().stopped || roll.quiet.contains(&index) => READ_ONLY,
            State::Active => READ_WRITE,
        };
        let stores = stores(desired, group, index, addressed, outcome);
        let volume = volumes.shape.clone();
        shape.groups.insert(index, GroupShape { replicas, addressed, permission, stores, volume });
        all_volumes.insert(index, volumes);
    }
    (shape, all_volumes)
}

/// A group stops when it takes no messages and its slaves have everything; or at once, when its master does not run.
fn stopped_replicas(desired: &Desired, seen: &Seen, index: u32, outcome: &mut Outcome) -> u32 {
    let Some(group) = seen.groups.get(&index) else { return 0 };
    let now = group.role.set.map_or(0, |set| set.replicas);
    let quiet = permission_since(desired, seen, index, READ_ONLY).is_some() && group.slaves_equal();
    if now == 0 || quiet || !group.role.is_ready(0) {
        return 0;
    }
    let message = format!("group {index} stops taking messages and its slaves get the last ones");
    outcome.waiting.push(Waiting { reason: "Stopped", message, blocked: false });
    now
}

fn name_servers_shape(
    desired: &Desired,
    seen: &Seen,
    outcome: &mut Outcome,
) -> crate::shape::NameServersShape {
    let role = &seen.name_servers;
    let now = role.set.map(|set| set.replicas);
    let full = desired.effective.name_servers.replicas;
    let servers = NameServers {
        now,
        wanted: full,
        pods: role.highest(),
        confirmed_since: name_servers_since(desired, seen, &outcome.records, full),
        one_stays_ready: (0..full).any(|ordinal| role.is_ready(ordinal)),
        time: desired.now,
    };
    let (mut shape, waits) = name_servers::decide(&servers);
    if desired.spec().stopped {
        shape.replicas = if seen.has_brokers() { now.unwrap_or(0) } else { 0 };
        shape.listed = full;
    } else if let Some(waits) = waits {
        outcome.waiting.push(Waiting { reason: "ScalingIn", message: waits.to_owned(), blocked: false });
    }
    shape
}

/// Returns since when all brokers know just the first name servers.
fn name_servers_since(desired: &Desired, seen: &Seen, records: &Records, listed: u32) -> Option<Timestamp> {
    let list = build::endpoints::for_brokers(desired, listed);
    let mut latest = Timestamp::UNIX_EPOCH;
    for index in groups_that_run(records) {
        let observed = live_config::observed(desired, index)?;
        let settings = live_config::read(&observed.json, &desired.names.broker(index, 0))?;
        if settings.get("namesrvAddr") != Some(&list) || !is_confirmed(desired, seen, index) {
            return None;
        }
        latest = latest.max(live_config::time_of(&observed.json, crate::labels::NAME_SERVERS_SINCE)?);
    }
    Some(latest)
}

/// Addresses that do not depend on where pods run must be known before the pods start.
fn has_addresses(desired: &Desired, group: u32, replicas: u32) -> bool {
    let internal =
        desired.internal().filter(|listener| listener.kind == manifest::cluster::ListenerType::PodService);
    internal.is_none_or(|listener| {
        (0..replicas).all(|ordinal| {
            let service = desired.names.broker_listener(group, ordinal, &listener.name);
            build::addresses::cluster_ip(desired, &service).is_some()
        })
    })
}

fn group_volumes(desired: &Desired, group: &SeenGroup) -> volumes::Volumes {
    let storage = &desired.spec().brokers.storage;
    let wanted = VolumeShape {
        size: storage.size.clone(),
        attributes_class: storage.volume_attributes_class_name.clone(),
    };
    if storage.kind == StorageType::EmptyDir {
        return volumes::Volumes { shape: wanted, ..volumes::Volumes::default() };
    }
    let claims: Vec<_> = group.claims.values().copied().filter(|claim| !claim.deleting).collect();
    let class = claims.iter().find_map(|claim| claim.storage_class.as_ref());
    let can_expand = match (desired.facts.storage_classes.known(), class) {
        (Some(classes), Some(class)) => {
            classes.get(class).map_or(Answer::Unknown, |class| Answer::Known(class.can_expand))
        }
        _ => Answer::Unknown,
    };
    let made = group.role.set.and_then(|set| volumes::made(&set.observed.json));
    volumes::decide(&wanted, made, &claims, can_expand)
}

/// Returns which store each member must have, and reports those that have another.
fn stores(
    desired: &Desired,
    group: &SeenGroup,
    index: u32,
    members: u32,
    outcome: &mut Outcome,
) -> BTreeMap<u32, String> {
    let mut stores = BTreeMap::new();
    if desired.spec().brokers.storage.kind == StorageType::EmptyDir {
        return stores;
    }
    let observed = live_config::observed(desired, index);
    for ordinal in 0..members {
        let pod = desired.names.broker(index, ordinal);
        let told =
            observed.and_then(|observed| live_config::read(&observed.json, &pod)?.remove("expectedStoreId"));
        let answer = group.answers.get(&ordinal);
        let state = answer.map(|answer| answer.store);
        let given_up = is_given_up(desired, group, ordinal);
        let store = identity::Store {
            told: told.as_deref(),
            noted: group
                .claims
                .get(&ordinal)
                .and_then(|claim| claim.annotations.get(STORE_ID))
                .map(String::as_str),
            own: answer.and_then(|answer| answer.store_id.as_deref()),
            state,
            given_up,
        };
        if let Some(expected) = identity::decide(&store) {
            stores.insert(ordinal, expected.to_owned());
        }
        let trouble = match state {
            Some(StoreState::VolumeLost) => ("VolumeLost", "its volume is empty although it had a store"),
            Some(StoreState::StoreIdentityMismatch) => {
                ("StoreIdentityMismatch", "its volume has the store of another member")
            }
            _ => continue,
        };
        if !given_up {
            let message = format!(
                "{pod}: {}; bring its own volume back, or annotate this cluster with {REPLACE}={pod} to go on without \
                 what was on it",
                trouble.1
            );
            outcome.waiting.push(Waiting { reason: trouble.0, message, blocked: true });
        }
    }
    stores
}

/// A person may give up any store; the manifest only those of slaves whose master is ready.
fn is_given_up(desired: &Desired, group: &SeenGroup, ordinal: u32) -> bool {
    let named = desired.facts.cluster.annotations.get(REPLACE);
    let pod = group.role.pods.get(&ordinal).map(|pod| pod.name.as_str());
    let by_name = named.is_some_and(|names| names.split(',').any(|name| Some(name.trim()) == pod));
    let replace = desired.spec().brokers.storage.on_lost_volume == LostVolume::Replace;
    let others = ordinal > 0 && group.role.others_ready(ordinal);
    let lost = group.store_state(ordinal) != Some(StoreState::StoreIdentityMismatch);
    by_name || (replace && others && lost)
}

fn ensure_children(
    desired: &Desired,
    seen: &Seen,
    built: &[Object],
    shape: &Shape,
    outcome: &mut Outcome,
    disruptions: &mut Vec<Step>,
) {
    for object in built {
        let Some(observed) = desired.facts.objects.get(&object.reference) else {
            let waits = group_of_set(seen, shape, desired, object).is_some_and(|(index, replicas)| {
                replicas == 0 && !desired.spec().stopped && !is_removing(outcome, index)
            });
            // Without addresses a group's StatefulSet would be made of nothing.
            if !waits {
                outcome.steps.push(create(object));
            }
            continue;
        };
        if observed.foreign {
            let message = format!(
                "{} exists and belongs to someone else; delete it, or name the cluster differently",
                object.reference
            );
            outcome.waiting.push(Waiting { reason: "NameCollision", message, blocked: true });
            continue;
        }
        if observed.deleting || object.reference.kind == Kind::Secret {
            continue;
        }
        let Some(why) = ensure::difference(object, observed) else { continue };
        let number = |json: &Value| json.pointer("/spec/replicas").and_then(Value::as_u64);
        let fewer =
            object.reference.kind == Kind::StatefulSet && number(&object.json) < number(&observed.json);
        let stops = fewer && number(&object.json) == Some(0);
        let step = Step {
            action: Action::Apply {
                object: object.clone(),
                uid: observed.uid.clone(),
                resource_version: fewer.then(|| observed.resource_version.clone()),
            },
            class: match (fewer, stops) {
                (false, _) => Class::None,
                (true, false) => Class::MemberLoss,
                (true, true) => Class::WritePause,
            },
            reason: if fewer { format!("{} gets fewer pods", object.reference.name) } else { why },
            event: None,
        };
        match fewer {
            true => disruptions.push(step),
            false if !is_remade(desired, object) => outcome.steps.push(step),
            false => {}
        }
    }
}

/// Whether a StatefulSet has other claim templates than those it should have: it cannot be changed to them.
fn is_remade(desired: &Desired, object: &Object) -> bool {
    let observed = child(desired, Kind::StatefulSet, &object.reference.name);
    object.reference.kind == Kind::StatefulSet
        && observed.is_some_and(|observed| volumes::made(&observed.json) != volumes::made(&object.json))
}

fn group_of_set(seen: &Seen, shape: &Shape, desired: &Desired, object: &Object) -> Option<(u32, u32)> {
    let _ = seen;
    let is_set = object.reference.kind == Kind::StatefulSet;
    let mut groups = shape.groups.iter().filter(|_| is_set);
    let found = groups.find(|(index, _)| desired.names.group(**index) == object.reference.name)?;
    Some((*found.0, found.1.replicas))
}

fn is_removing(outcome: &Outcome, index: u32) -> bool {
    outcome.records.groups.get(&index).is_some_and(|record| record.state == State::Removing)
}

fn create(object: &Object) -> Step {
    let reason = format!("{} is missing", object.reference);
    match object.reference.kind {
        Kind::Secret => {
            Step::quiet(Action::CreateSecret { object: object.clone(), keys: SECRET_KEYS.to_vec() }, reason)
        }
        _ => Step::quiet(Action::Create(object.clone()), reason),
    }
}

/// Children that are not wanted any more. A StatefulSet goes only without pods; settings only when nobody has them.
fn delete_leftovers(desired: &Desired, seen: &Seen, built: &[Object], outcome: &mut Outcome) {
    let wanted: BTreeSet<&ObjectRef> = built.iter().map(|object| &object.reference).collect();
    let mounted: BTreeSet<&String> = desired.facts.pods.iter().flat_map(|pod| &pod.config_maps).collect();
    let mut former: BTreeMap<String, Vec<(&ObjectRef, Option<Timestamp>)>> = BTreeMap::new();
    let mut gone = Vec::new();
    for (reference, observed) in &desired.facts.objects {
        if wanted.contains(reference) || observed.foreign || observed.deleting {
            continue;
        }
        match reference.kind {
            Kind::StatefulSet => {
                let mut sets = seen.groups.values().filter_map(|group| group.role.set);
                let set = sets.find(|set| set.observed.uid == observed.uid);
                if set.is_some_and(|set| set.replicas == 0 && set.pods == 0) {
                    gone.push(reference);
                } else if !outcome.waiting.iter().any(|waiting| waiting.reason == "Creating") {
                    let message = format!("{reference} is of no group; scale it to 0 if it is not needed");
                    outcome.waiting.push(Waiting { reason: "Blocked", message, blocked: true });
                }
            }
            Kind::ConfigMap if observed.json.get("immutable") == Some(&json!(true)) => {
                let of = reference.name.rsplit_once('-').map_or("", |(start, _)| start);
                let still_used = mounted.contains(&reference.name);
                let group =
                    observed.json.pointer("/metadata/labels").and_then(|all| all.get(crate::labels::GROUP));
                let known = group.and_then(Value::as_str).and_then(|group| group.parse().ok());
                let of_removed = known.is_some_and(|group: u32| !outcome.records.groups.contains_key(&group));
                if of_removed && !still_used {
                    gone.push(reference);
                } else if !still_used {
                    former.entry(of.to_owned()).or_default().push((reference, observed.created));
                }
            }
            _ => gone.push(reference),
        }
    }
    for configs in former.values_mut() {
        configs.sort_by_key(|(reference, created)| (std::cmp::Reverse(*created), reference.name.clone()));
        gone.extend(configs.iter().skip(KEPT_STATIC_CONFIGS - 1).map(|(reference, _)| *reference));
    }
    for reference in gone {
        let uid =
            desired.facts.objects.get(reference).map(|observed| observed.uid.clone()).unwrap_or_default();
        let reason = format!("{reference} is not needed any more");
        outcome.steps.push(Step::quiet(Action::Delete { object: reference.clone(), uid }, reason));
    }
}

fn grow(desired: &Desired, seen: &Seen, index: u32, volumes: &volumes::Volumes, outcome: &mut Outcome) {
    let Some(group) = seen.groups.get(&index) else { return };
    for (name, patch) in &volumes.patches {
        let Some(claim) = group.claims.values().find(|claim| claim.name == *name) else { continue };
        let action = Action::PatchClaim { claim: name.clone(), uid: claim.uid.clone(), patch: patch.clone() };
        let reason = format!("volume claim {name} is to be as the manifest says");
        outcome.steps.push(Step { event: Some("VolumeResized"), ..Step::quiet(action, reason) });
    }
    let claims = group.claims.values();
    let pending = claims.filter(|claim| {
        let capacity = claim.capacity.as_deref().and_then(manifest::units::parse_quantity);
        let asked = manifest::units::parse_quantity(&claim.requested);
        claim.file_system_resize_pending || (capacity.is_some() && capacity < asked)
    });
    outcome.resizing.extend(pending.map(|claim| claim.name.clone()));
    if let Some(set) = group.role.set.filter(|set| volumes.remake && !set.observed.deleting) {
        let name = desired.names.group(index);
        let reason = format!("{name} is made again with the new volume size; its pods go on");
        let uid = set.observed.uid.clone();
        outcome.steps.push(Step::quiet(Action::OrphanStatefulSet { name, uid }, reason));
    }
}

/// Notes on claims whose they are and which store is on them, so that the next cluster knows.
fn note_on_claims(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
    let uid = &desired.facts.cluster.uid;
    for group in seen.groups.values() {
        for (ordinal, claim) in group.claims.iter().filter(|(_, claim)| !claim.deleting) {
            let mut notes = json!({});
            let of = claim.annotations.get(CLUSTER_UID);
            if of != Some(uid) && (of.is_none() || of == desired.facts.cluster.annotations.get(ADOPT)) {
                notes[CLUSTER_UID] = json!(uid);
            }
            let answer =
                group.answers.get(ordinal).filter(|answer| answer.store == StoreState::Ok && answer.ready);
            let store = answer.and_then(|answer| answer.store_id.as_ref());
            if store.is_some() && claim.annotations.get(STORE_ID) != store {
                notes[STORE_ID] = json!(store);
            }
            if notes != json!({}) {
                let action = Action::PatchClaim {
                    claim: claim.name.clone(),
                    uid: claim.uid.clone(),
                    patch: json!({ "metadata": { "annotations": notes } }),
                };
                outcome.steps.push(Step::quiet(action, format!("whose volume claim {} is", claim.name)));
            }
        }
    }
}

fn label_pods(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
    let _ = desired;
    for group in seen.groups.values() {
        for (ordinal, pod) in group.role.pods.iter().filter(|(_, pod)| !pod.terminating) {
            // Fixed modes: the first member leads.
            let role = if *ordinal == 0 { "master" } else { "slave" };
            if pod.labels.get(ROLE).map(String::as_str) != Some(role) {
                let patch = json!({ "metadata": { "labels": { ROLE: role } } });
                let action = Action::PatchPod { pod: pod.name.clone(), uid: pod.uid.clone(), patch };
                outcome.steps.push(Step::quiet(action, format!("{} is a {role}", pod.name)));
            }
        }
    }
}

/// Tells members what the API server has already; their mounted file says the same a minute later.
fn push(desired: &Desired, seen: &Seen, built: &[Object], outcome: &mut Outcome) {
    for (index, group) in &seen.groups {
        let name = desired.names.live_config(*index);
        let Some(object) =
            built.iter().find(|object| object.reference == ObjectRef::new(Kind::ConfigMap, &name))
        else {
            continue;
        };
        let Some(observed) = live_config::observed(desired, *index) else { continue };
        if ensure::difference(object, observed).is_some() {
            continue;
        }
        for (ordinal, answer) in &group.answers {
            let pod = desired.names.broker(*index, *ordinal);
            let Some(properties) = live_config::read(&observed.json, &pod) else { continue };
            let revision = live_config::revision_of(&properties).unwrap_or(0);
            if answer.config_revision >= revision {
                continue;
            }
            let age = u64::try_from(desired.now.as_second()).unwrap_or(0).saturating_sub(revision);
            if age > SLOW_PUSH.as_secs() {
                let message = format!("{pod} has not taken over its settings of {age}s ago");
                outcome.waiting.push(Waiting { reason: "StepFailed", message, blocked: false });
            }
            let reason = format!("{pod} takes over revision {revision} of its settings");
            let action = Action::PushConfig { pod, revision, properties };
            outcome.steps.push(Step { event: Some("ConfigApplied"), ..Step::quiet(action, reason) });
        }
    }
}

fn copy_metadata(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
    if desired.spec().brokers.topic_inheritance == TopicInheritance::None {
        return;
    }
    let ready = |index: &u32| seen.groups.get(index).is_some_and(|group| group.role.is_ready(0));
    let with = |state| {
        let groups = outcome.records.groups.iter().filter(move |(_, record)| record.state == state);
        groups.map(|(index, _)| *index).filter(ready).collect::<Vec<_>>()
    };
    let Some(from) = with(State::Active).first().copied() else { return };
    for to in with(State::Joining) {
        if let Some(Answer::Known(missing)) = desired.facts.copies.get(&to)
            && *missing > 0
        {
            let reason = format!("group {to} gets {missing} topics and subscription groups of group {from}");
            outcome.steps.push(Step::quiet(Action::CopyMetadata { from, to }, reason));
        }
    }
}

/// Volumes of members that have gone for good, where the manifest says so.
fn remove_claims(desired: &Desired, seen: &Seen, outcome: &Outcome) -> Option<Step> {
    if desired.spec().brokers.storage.when_scaled != WhenScaled::Delete {
        return None;
    }
    let uid = Some(&desired.facts.cluster.uid);
    for (index, group) in &seen.groups {
        let Some(record) = outcome.records.groups.get(index) else { continue };
        let first_gone = match (record.state, group.role.set) {
            (State::Removing, None) => 0,
            (State::Active, Some(set))
                if set.settled && group.role.all_ready() && !desired.spec().stopped =>
            {
                set.replicas.max(desired.replicas_per_group())
            }
            _ => continue,
        };
        let mut claims = group.claims.iter().filter(|(ordinal, claim)| {
            let unused = **ordinal >= first_gone && !group.role.pods.contains_key(ordinal);
            unused && !claim.deleting && claim.annotations.get(CLUSTER_UID) == uid
        });
        if let Some((_, claim)) = claims.next() {
            return Some(Step {
                action: Action::DeleteClaim { claim: claim.name.clone(), uid: claim.uid.clone() },
                class: Class::DataRemoval,
                reason: format!(
                    "storage.whenScaled is Delete: volume claim {} goes with its member",
                    claim.name
                ),
                event: None,
            });
        }
    }
    None
}
