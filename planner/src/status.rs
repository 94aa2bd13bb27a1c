//! The status: what was found, in the words of the manifest's type. Conditions are in `conditions.rs`.

use manifest::REFUSING_AFTER_FORCED;
use manifest::cluster::status::{
    BrokersStatus, ClusterStatus, DrainStatus, GroupStatus, MemberStatus, NameServersStatus, OperatorStatus,
    RolloutStatus, StorageStatus,
};
use manifest::cluster::{FlushMode, ReplicationMode};

use crate::build::endpoints::endpoints;
use crate::conditions::conditions;
use crate::desired::Desired;
use crate::facts::{MemberFacts, StoreState};
use crate::labels::{COMPONENT, Part};
use crate::plan::Outcome;
use crate::plan::groups::{Record, Records, State};
use crate::plan::scale_in::Progress;
use crate::plan::shaping::expected_store;
use crate::seen::{Seen, SeenGroup};
use crate::shape::READ_WRITE;

/// Returns the status as it is, with what has to be remembered.
pub(crate) fn recorded(desired: &Desired, records: &Records) -> ClusterStatus {
    let mut status = desired.facts.cluster.status.clone();
    let before = std::mem::take(&mut status.brokers.group_statuses);
    status.brokers.next_group_index = small(records.next);
    status.brokers.group_statuses = records
        .groups
        .iter()
        .map(|(index, record)| {
            let known = before.iter().find(|group| group.index == small(*index)).cloned();
            let mut group = known.unwrap_or_else(|| empty(desired, *index));
            note(&mut group, record);
            group
        })
        .collect();
    status
}

/// Returns the status by these facts.
pub(crate) fn status(desired: &Desired, seen: &Seen, outcome: &Outcome) -> ClusterStatus {
    let facts = desired.facts;
    let groups: Vec<GroupStatus> = outcome
        .records
        .groups
        .iter()
        .map(|(index, record)| group(desired, seen.groups.get(index), *index, record, outcome))
        .collect();
    let set = seen.name_servers.set.map_or(0, |set| set.replicas);
    let ready = (0..set).filter(|ordinal| seen.name_servers.is_ready(*ordinal)).count();
    let conditions = conditions(desired, seen, outcome, &groups);
    let version = &desired.effective.version;
    let before = &facts.cluster.status;
    // A new cluster has a version when it has run once.
    let ran = before.version.is_some() || groups.iter().all(is_ready);
    let all_run = outcome.rollout.total > 0 && outcome.rollout.outdated == 0 && ran;
    let settled = all_run && outcome.refused.is_empty() && !desired.is_paused();
    ClusterStatus {
        observed_generation: match is_observed(desired, outcome) {
            true => Some(facts.cluster.generation),
            false => before.observed_generation,
        },
        conditions,
        version: if settled { Some(version.clone()) } else { before.version.clone() },
        target_version: (!settled && before.version.as_ref() != Some(version)).then(|| version.clone()),
        endpoints: endpoints(desired, outcome.listed),
        name_servers: NameServersStatus { replicas: small(set), ready: count(ready) },
        controllers: None,
        brokers: brokers(desired, outcome, groups),
        rollout: rollout(outcome),
        storage: StorageStatus { resizing: outcome.resizing.clone(), lost: lost(seen) },
        certificates: Vec::new(),
        last_failover: None,
        operator: OperatorStatus { version: facts.operator.version.clone() },
    }
}

/// Whether what is said is about the manifest as it stands: not while something of it is still to be written or told, so
/// that who waits for this generation to be `Ready` waits for what it asks for.
pub(crate) fn is_observed(desired: &Desired, outcome: &Outcome) -> bool {
    !desired.is_paused() && outcome.steps.is_empty()
}

fn brokers(desired: &Desired, outcome: &Outcome, groups: Vec<GroupStatus>) -> BrokersStatus {
    let selector = desired.selector(Part::Brokers).into_iter().map(|(key, value)| format!("{key}={value}"));
    let members = || groups.iter().flat_map(|group| &group.members);
    // The scale subresource shows how many there are to be when all drains are through.
    let staying = groups.iter().filter(|group| ["Joining", "Active"].contains(&group.state.as_str()));
    BrokersStatus {
        groups: count(staying.count()),
        selector: Some(
            selector
                .filter(|pair| pair.contains(COMPONENT) || pair.contains("cluster"))
                .collect::<Vec<_>>()
                .join(","),
        ),
        ready_groups: count(groups.iter().filter(|group| is_ready(group)).count()),
        writable_groups: count(groups.iter().filter(|group| is_writable(desired, group)).count()),
        members: count(members().count()),
        in_sync_members: groups.iter().map(|group| count(group.in_sync.len())).sum(),
        next_group_index: small(outcome.records.next),
        durability: Some(durability(desired).to_owned()),
        group_statuses: groups,
    }
}

/// Whether all of a group's members are ready.
pub(crate) fn is_ready(group: &GroupStatus) -> bool {
    !group.members.is_empty() && group.members.iter().all(|member| member.ready)
}

/// Whether a group takes messages.
pub(crate) fn is_writable(desired: &Desired, group: &GroupStatus) -> bool {
    let master = group.members.first().filter(|master| master.ready);
    let answer = master.and_then(|master| desired.facts.members.get(&master.pod)?.known());
    group.state == "Active"
        && answer.is_some_and(|answer| answer.permission == READ_WRITE)
        && full_disk(desired, group).is_none()
}

/// Returns how full the disk of a group's master is, if that keeps messages out.
pub(crate) fn full_disk(desired: &Desired, group: &GroupStatus) -> Option<u32> {
    let master = group.members.first()?;
    let percent = desired.facts.members.get(&master.pod)?.known()?.disk_used_percent?;
    (percent >= desired.effective.brokers.disk_full_percent + REFUSING_AFTER_FORCED).then_some(percent)
}

fn durability(desired: &Desired) -> &'static str {
    let sync_flush = desired.effective.brokers.flush_mode == FlushMode::Sync;
    match desired.effective.brokers.replication_mode {
        ReplicationMode::Sync if sync_flush => "Strict",
        ReplicationMode::Sync => "Standard",
        ReplicationMode::Async | ReplicationMode::Controller => "Fast",
    }
}

fn empty(desired: &Desired, index: u32) -> GroupStatus {
    GroupStatus {
        index: small(index),
        name: manifest::group_name(desired.validated, index),
        master: None,
        epoch: None,
        in_sync: Vec::new(),
        state: String::new(),
        drain: None,
        members: Vec::new(),
    }
}

fn note(group: &mut GroupStatus, record: &Record) {
    group.state = record.state.as_str().to_owned();
    match record.state {
        State::Draining | State::Removing => {
            let drain = group.drain.get_or_insert_default();
            drain.started_at = record.since.map(|since| since.to_string());
            if record.state == State::Removing {
                drain.phase = "Removing".to_owned();
            } else if drain.phase.is_empty() {
                drain.phase = "Requested".to_owned();
            }
        }
        State::Joining | State::Active => group.drain = None,
    }
}

fn group(
    desired: &Desired,
    seen: Option<&SeenGroup>,
    index: u32,
    record: &Record,
    outcome: &Outcome,
) -> GroupStatus {
    let nothing = SeenGroup::default();
    let seen = seen.unwrap_or(&nothing);
    let mut status = empty(desired, index);
    let before =
        desired.facts.cluster.status.brokers.group_statuses.iter().find(|group| group.index == small(index));
    status.drain = before.and_then(|group| group.drain.clone());
    note(&mut status, record);
    if let (Some(drain), State::Draining) = (&mut status.drain, record.state) {
        show_drain(desired, index, drain, outcome.drains.get(&index));
    }
    let present = seen.role.set.map_or(0, |set| set.replicas).max(seen.role.highest());
    status.members = (0..present).map(|ordinal| member(desired, seen, index, ordinal)).collect();
    status.in_sync = (0..present).filter(|ordinal| in_sync(seen, *ordinal)).map(small).collect();
    status.master = seen.role.pods.get(&0).map(|pod| pod.name.clone());
    status
}

fn show_drain(desired: &Desired, index: u32, drain: &mut DrainStatus, progress: Option<&Progress>) {
    if let Some(Progress::Waiting { phase, .. }) = progress {
        drain.phase = (*phase).to_owned();
    }
    if let Some(found) = desired.facts.drains.get(&index).and_then(|answer| answer.known()) {
        let idle: u64 = found.idle.iter().map(|group| group.remaining).sum();
        drain.remaining_messages = i64::try_from(found.remaining.saturating_add(idle)).unwrap_or(i64::MAX);
        drain.top_lags = found.top_lags.iter().take(10).cloned().collect();
    }
}

fn in_sync(seen: &SeenGroup, ordinal: u32) -> bool {
    seen.role.is_ready(ordinal)
        && seen.answers.get(&ordinal).is_some_and(|answer| answer.master || answer.in_sync)
}

fn member(desired: &Desired, seen: &SeenGroup, group: u32, ordinal: u32) -> MemberStatus {
    let pod = desired.names.broker(group, ordinal);
    let answer = seen.answers.get(&ordinal);
    let ready = seen.role.is_ready(ordinal);
    let trouble = seen.role.pods.get(&ordinal).and_then(|pod| pod.trouble.clone());
    let address = desired.internal().and_then(|listener| {
        let address = crate::build::addresses::of_broker(desired, group, ordinal, listener).ok()?;
        (address.host != crate::build::addresses::OWN_POD).then(|| address.to_string())
    });
    MemberStatus {
        ordinal: small(ordinal),
        broker_id: answer.map(|answer| answer.broker_id),
        store_id: expected_store(desired, seen, group, ordinal)
            .or_else(|| answer.and_then(|answer| answer.store_id.clone())),
        role: answer.map(|answer| if answer.master { "master" } else { "slave" }.to_owned()),
        address,
        lag_bytes: answer.and_then(|answer| answer.lag_bytes).map(magnitude),
        disk_used_percent: answer.and_then(|answer| answer.disk_used_percent).map(small),
        config_hash: answer.map(|answer| answer.config_hash.clone()),
        ready,
        message: if ready { None } else { Some(why_not_ready(answer, trouble)) },
        pod,
    }
}

fn why_not_ready(answer: Option<&&MemberFacts>, trouble: Option<String>) -> String {
    match (answer, trouble) {
        (_, Some(trouble)) => trouble,
        (Some(answer), None) if !answer.reason.is_empty() => answer.reason.clone(),
        _ => "its pod is not ready".to_owned(),
    }
}

/// Lags change all the time: only their magnitude is worth a write.
fn magnitude(bytes: u64) -> i64 {
    let power = bytes.checked_ilog10().unwrap_or(0);
    let rounded = if bytes == 0 { 0 } else { 10_u64.saturating_pow(power) };
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

fn rollout(outcome: &Outcome) -> Option<RolloutStatus> {
    let rollout = &outcome.rollout;
    (rollout.outdated > 0).then(|| RolloutStatus {
        id: rollout.id.clone(),
        reason: rollout.reason.clone(),
        done: count(rollout.total - rollout.outdated),
        total: count(rollout.total),
        current: rollout.current.clone(),
        waiting_for: outcome
            .waiting
            .iter()
            .find(|waiting| ["RollingOut", "WindowClosed", "AwaitingApproval"].contains(&waiting.reason))
            .map(|waiting| waiting.message.clone()),
    })
}

fn lost(seen: &Seen) -> Vec<String> {
    let groups = seen.groups.values();
    let lost = groups.flat_map(|group| {
        let of_answers = group.answers.iter().filter(|(_, answer)| answer.store == StoreState::VolumeLost);
        let claims = of_answers.filter_map(|(ordinal, _)| group.claims.get(ordinal));
        claims.chain(group.claims.values().filter(|claim| claim.lost)).map(|claim| claim.name.clone())
    });
    let mut lost: Vec<String> = lost.collect();
    lost.sort();
    lost.dedup();
    lost
}

fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
