//! Who would restart and why, gathered from facts; `roll.rs` decides, here its word becomes a step.

use std::collections::BTreeMap;
use std::time::Duration;

use manifest::cluster::Approval;
use manifest::units::parse_duration;
use serde_json::{Value, json};

use super::groups::{Records, State};
use super::roll::Roll;
use super::scale_in::elapsed;
use super::told::{permission_since, told_permission};
use super::{Outcome, groups_that_run, outdated, roll, window};
use crate::build;
use crate::desired::Desired;
use crate::facts::PodFacts;
use crate::hash::hash8;
use crate::labels::APPROVE;
use crate::seen::{Seen, SeenGroup};
use crate::shape::{READ_ONLY, READ_WRITE};
use crate::step::{Action, Class, Step, Waiting};

/// A pod that has become ready gets connections when every node knows of it.
const SERVICES_LEAD_THERE: Duration = Duration::from_secs(5);

/// How long a mounted file system may take to grow, before a restart of its pod is tried; most drivers need none.
const FILE_SYSTEMS_GROW_MOUNTED: Duration = Duration::from_secs(180);

/// Decides about restarts of brokers.
pub(super) fn decide_roll(desired: &Desired, seen: &Seen, outcome: &mut Outcome) -> Roll {
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
    let approved = desired.facts.cluster.annotations.get(APPROVE) == Some(&outcome.rollout.id);
    let hold_masters = match rollout.approval {
        Approval::Supervised if !approved => Some(Waiting {
            reason: "AwaitingApproval",
            message: format!(
                "masters restart when this cluster has the annotation {APPROVE}={}",
                outcome.rollout.id
            ),
            blocked: true,
        }),
        _ => None,
    };
    let rules = roll::Rules {
        most_groups: usize::try_from(rollout.max_groups_in_parallel).unwrap_or(1),
        acks: usize::try_from(desired.effective.brokers.required_acks).unwrap_or(usize::MAX),
        hold: others_restart(desired).filter(|_| !begun).or_else(|| window_is_closed(desired)),
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

fn others_restart(desired: &Desired) -> Option<Waiting> {
    let message = || "other clusters restart first".to_owned();
    (!desired.facts.operator.may_roll).then(|| Waiting {
        reason: "RollingOut",
        message: message(),
        blocked: false,
    })
}

fn window_is_closed(desired: &Desired) -> Option<Waiting> {
    let windows = &desired.spec().brokers.rollout.window;
    let (reason, message) = match window::closed_window(windows, desired.now) {
        Ok(None) => return None,
        Ok(Some(text)) => ("WindowClosed", text),
        Err(text) => ("InvalidSpec", format!("spec.brokers.rollout.window: {text}")),
    };
    Some(Waiting { reason, message, blocked: reason == "InvalidSpec" })
}

pub(super) fn roll_view(desired: &Desired, seen: &Seen, records: &Records, index: u32) -> roll::Group {
    let nothing = SeenGroup::default();
    let group = seen.groups.get(&index).unwrap_or(&nothing);
    let template = build::brokers::template(desired, index);
    let active = records.groups.get(&index).is_some_and(|record| record.state == State::Active);
    let told = told_permission(desired, index);
    let can_be_asked = active && group.role.is_ready(0);
    let ordinals = 0..group.role.set.map_or(0, |set| set.replicas);
    let member = |ordinal: u32| {
        let pod = group.role.pods.get(&ordinal).filter(|pod| !pod.terminating);
        let pending = group.claims.get(&ordinal).and_then(|claim| claim.file_system_resize_pending);
        // A pod that was made since then has done what a restart can do.
        let is_older = |since| pod.and_then(|pod| pod.created).is_some_and(|created| created < since);
        let grows = pending
            .is_some_and(|since| is_older(since) && elapsed(since, desired.now) >= FILE_SYSTEMS_GROW_MOUNTED);
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
        serves: records.groups.get(&index).is_some_and(|record| record.state != State::Joining),
        active,
        writable: can_be_asked && told == Some(READ_WRITE) && group.has_permission(READ_WRITE),
        quiet: active && told == Some(READ_ONLY),
        quiet_since: permission_since(desired, seen, index, READ_ONLY),
        returns: can_be_asked
            && told == Some(READ_WRITE)
            && group.answers.values().any(|answer| answer.permission != READ_WRITE),
        members: ordinals.map(member).collect(),
    }
}

pub(super) fn template_of(template: &Value) -> &str {
    let annotations = template.pointer("/metadata/annotations");
    annotations
        .and_then(|all| all.get(crate::labels::TEMPLATE_HASH))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Where restarts of name servers are.
pub(super) enum NameServers {
    /// All are what they should be, or those that are not may not begin now: brokers go on.
    Rest,
    /// Brokers wait for the last of them. One at a time, all others ready.
    Restart(Option<Step>),
}

/// Decides about restarts of name servers.
pub(super) fn roll_name_servers(desired: &Desired, seen: &Seen, outcome: &mut Outcome) -> NameServers {
    let role = &seen.name_servers;
    let set = role.set.filter(|set| set.replicas > 0 && !desired.spec().stopped);
    let Some(set) = set else { return NameServers::Rest };
    let template = build::name_servers::template(desired);
    let reason = |ordinal: u32| {
        let pod = *role.pods.get(&ordinal)?;
        Some((ordinal, (pod, outdated::reason(pod, &template, false)?)))
    };
    let outdated: BTreeMap<u32, (&PodFacts, String)> = (0..set.replicas).filter_map(reason).collect();
    let replicas = usize::try_from(set.replicas).unwrap_or(usize::MAX);
    outcome.rollout.total += replicas;
    outcome.rollout.outdated += outdated.len();
    // One that is down goes first: it is the one that may be mended by it.
    let down = outdated.iter().find(|(ordinal, _)| !role.is_ready(**ordinal));
    let Some((ordinal, (pod, reason))) = down.or(outdated.iter().next()) else { return NameServers::Rest };
    let begun = outdated.len() < replicas || down.is_some();
    let hold = others_restart(desired).or_else(|| window_is_closed(desired));
    if let Some(hold) = hold.filter(|_| !begun) {
        outcome.waiting.push(hold);
        return NameServers::Rest;
    }
    if !set.settled || set.template != Some(template_of(&template)) {
        return NameServers::Restart(None);
    }
    let broken = pod.trouble.is_some() && !pod.ready;
    let others_serve = role.others_ready(*ordinal) && {
        let others = (0..set.replicas).filter(|other| other != ordinal);
        let last = others.filter_map(|other| role.pods.get(&other)?.ready_since).max();
        last.is_none_or(|last| elapsed(last, desired.now) >= SERVICES_LEAD_THERE)
    };
    if pod.terminating || (!broken && !others_serve) {
        if pod.terminating {
            outcome.rollout.current = Some(pod.name.clone());
        }
        let message = "a name server is not ready, or only since a moment ago".to_owned();
        outcome.waiting.push(Waiting { reason: "RollingOut", message, blocked: false });
        return NameServers::Restart(None);
    }
    outcome.rollout.current = Some(pod.name.clone());
    NameServers::Restart(Some(restart_step(pod, broken, Class::MemberLoss, reason)))
}

pub(super) fn restart(desired: &Desired, seen: &Seen, roll: &Roll, outcome: &mut Outcome) -> Option<Step> {
    let restart = roll.restart.as_ref()?;
    let group = seen.groups.get(&restart.group)?;
    let set = group.role.set?;
    let template = build::brokers::template(desired, restart.group);
    if !set.settled || set.template != Some(template_of(&template)) || set.observed.deleting {
        let message = format!("{} is not up to date yet", desired.names.group(restart.group));
        outcome.waiting.push(Waiting { reason: "RollingOut", message, blocked: false });
        return None;
    }
    let doomed = group.claims.get(&restart.ordinal).filter(|claim| claim.deleting && !claim.lost);
    if let Some(claim) = doomed {
        let message = format!(
            "volume claim {} is being deleted and goes with its messages when its pod stops; copy what is on it first, \
             then delete the pod",
            claim.name
        );
        outcome.waiting.push(Waiting { reason: "VolumeLost", message, blocked: true });
        return None;
    }
    Some(restart_step(group.role.pods.get(&restart.ordinal)?, restart.broken, restart.class, &restart.reason))
}

pub(super) fn restart_step(pod: &PodFacts, broken: bool, class: Class, reason: &str) -> Step {
    let (pod, uid, resource_version) = (pod.name.clone(), pod.uid.clone(), pod.resource_version.clone());
    let action = match broken {
        true => Action::DeletePod { pod, uid, resource_version },
        false => Action::Evict { pod, uid, resource_version },
    };
    Step { action, class, reason: reason.to_owned(), event: Some("RestartRequired") }
}
