//! Steps towards members that disturb nobody: settings, labels, topics of a new group.

use std::time::Duration;

use manifest::cluster::TopicInheritance;
use serde_json::json;

use super::groups::State;
use super::scale_in::elapsed;
use super::{Outcome, ensure};
use crate::build::live_config;
use crate::desired::Desired;
use crate::facts::{Answer, OnlyHere};
use crate::labels::ROLE;
use crate::names::groups_in_words;
use crate::object::{Kind, Object, ObjectRef};
use crate::seen::Seen;
use crate::step::{Action, Step, Waiting};

/// A setting that a member which runs has not taken over after so long is reported.
const SLOW_PUSH: Duration = Duration::from_secs(60);

/// Tells members what the API server has already; their mounted file says the same a minute later.
pub(super) fn push(desired: &Desired, seen: &Seen, built: &[Object], outcome: &mut Outcome) {
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
            let member = group.role.pods.get(ordinal).filter(|pod| pod.ready);
            let runs_for = member.and_then(|pod| Some(elapsed(pod.ready_since?, desired.now)));
            if age > SLOW_PUSH.as_secs() && runs_for.is_some_and(|time| time > SLOW_PUSH) {
                let message = format!(
                    "{pod} has not taken over revision {revision} of its settings for more than {}s; its log and the \
                     operator's say why",
                    SLOW_PUSH.as_secs()
                );
                outcome.waiting.push(Waiting { reason: "StepFailed", message, blocked: true });
            }
            let reason = format!("{pod} takes over revision {revision} of its settings");
            let action = Action::PushConfig { pod, revision, properties };
            outcome.steps.push(Step { event: Some("ConfigApplied"), ..Step::quiet(action, reason) });
        }
    }
}

pub(super) fn label_pods(seen: &Seen, outcome: &mut Outcome) {
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

/// What only a group has that goes is made on the others as soon as it is known: nobody can send to such a topic meanwhile.
/// One that is ordered follows when it is read, so that nothing new is read before what is left here.
pub(super) fn hand_over(desired: &Desired, outcome: &mut Outcome) {
    let draining = outcome.records.groups.iter().filter(|(_, record)| record.state == State::Draining);
    for from in draining.map(|(index, _)| *index) {
        let Some(Answer::Known(found)) = desired.facts.drains.get(&from) else { continue };
        let OnlyHere { mut topics, groups } = found.only_here.clone();
        topics.retain(|topic| !found.unread_ordered.contains(topic));
        let count = topics.len() + groups.len();
        if count > 0 {
            let reason = format!(
                "{count} topics and subscription groups that only group {from} has are made on the others"
            );
            let action = Action::HandOver { from, what: OnlyHere { topics, groups } };
            outcome.steps.push(Step::quiet(action, reason));
        }
    }
}

pub(super) fn copy_metadata(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
    if desired.spec().brokers.topic_inheritance == TopicInheritance::None {
        return;
    }
    let ready = |index: &u32| seen.groups.get(index).is_some_and(|group| group.role.is_ready(0));
    let with = |state| {
        let groups = outcome.records.groups.iter().filter(move |(_, record)| record.state == state);
        groups.map(|(index, _)| *index).filter(ready).collect::<Vec<_>>()
    };
    // Those that do not run are not waited for: what only they have stays where clients find it.
    let from = with(State::Active);
    if from.is_empty() {
        return;
    }
    for to in with(State::Joining) {
        if let Some(Answer::Known(missing)) = desired.facts.copies.get(&to)
            && *missing > 0
        {
            let others = groups_in_words(&from);
            let reason = format!("group {to} gets {missing} topics and subscription groups of {others}");
            outcome.steps.push(Step::quiet(Action::CopyMetadata { from: from.clone(), to }, reason));
        }
    }
}
