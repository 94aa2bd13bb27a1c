//! What decides about groups, gathered from facts; `groups.rs` and `scale_in.rs` decide.

use k8s_openapi::jiff::Timestamp;
use manifest::cluster::{TopicInheritance, WhenScaled};
use manifest::units::parse_duration;

use super::groups::State;
use super::scale_in::Progress;
use super::told::{is_confirmed, permission_since, told_permission, unconfirmed};
use super::{Outcome, groups, scale_in};
use crate::desired::Desired;
use crate::facts::Answer;
use crate::seen::Seen;
use crate::shape::{READ_ONLY, READ_WRITE};
use crate::step::Waiting;

pub(super) fn decide_groups(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
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
        writable: with_state(State::Active)
            .map(|(i, _)| *i)
            .filter(|i| takes_messages(desired, seen, *i))
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
            let blocked = !["Draining", "ObservationFailed"].contains(reason);
            outcome.waiting.push(Waiting { reason, message, blocked });
        }
    }
}

pub(super) fn drain(desired: &Desired, seen: &Seen, group: u32, started: Option<Timestamp>) -> Progress {
    let settings = &desired.spec().brokers.scale_in;
    let time = |text: &str| parse_duration(text).unwrap_or_default();
    let found = desired.facts.drains.get(&group).and_then(Answer::known);
    let unconfirmed = unconfirmed(desired, seen, group, READ_ONLY);
    let of_group = seen.groups.get(&group);
    let is_ready = |ordinal| of_group.is_some_and(|group| group.role.is_ready(ordinal));
    let answers = of_group.is_some_and(|group| group.answers.contains_key(&unconfirmed));
    scale_in::decide(&scale_in::Drain {
        policy: settings.policy,
        idle_groups: settings.idle_groups,
        ignore_idle_after: time(&settings.ignore_idle_groups_after),
        min_time: time(&settings.min_drain_time),
        timeout: time(&settings.drain_timeout),
        started: started.unwrap_or(desired.now),
        read_only_since: permission_since(desired, seen, group, READ_ONLY),
        unconfirmed: desired.names.broker(group, unconfirmed),
        is_silent: is_ready(unconfirmed) && !answers,
        master_runs: is_ready(0),
        found: found.map_or(Answer::Unknown, Answer::Known),
        now: desired.now,
    })
}

fn takes_messages(desired: &Desired, seen: &Seen, group: u32) -> bool {
    told_permission(desired, group) == Some(READ_WRITE)
        && seen
            .groups
            .get(&group)
            .is_some_and(|group| group.role.is_ready(0) && group.has_permission(READ_WRITE))
}

pub(super) fn has_joined(desired: &Desired, seen: &Seen, group: u32) -> bool {
    let complete = match desired.spec().brokers.topic_inheritance {
        TopicInheritance::None => true,
        TopicInheritance::CopyUnmanaged => desired.facts.copies.get(&group) == Some(&Answer::Known(0)),
    };
    complete
        && seen.groups.get(&group).is_some_and(|group| group.role.all_ready())
        && is_confirmed(desired, seen, group)
}

pub(super) fn is_gone(desired: &Desired, seen: &Seen, group: u32) -> bool {
    let keeps = desired.spec().brokers.storage.when_scaled == WhenScaled::Retain;
    seen.groups.get(&group).is_none_or(|group| {
        group.role.set.is_none() && group.role.pods.is_empty() && (keeps || group.claims.is_empty())
    })
}
