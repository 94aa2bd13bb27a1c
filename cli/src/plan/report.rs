//! What a plan says: made from a rehearsal, written as text or JSON. Pure.

use std::collections::BTreeMap;

use manifest::FieldChange;
use manifest::cluster::ClusterStatus;
use planner::facts::Facts;
use planner::labels::CLUSTER_UID;
use planner::names::groups_in_words;
use planner::object::{Kind, Object};
use planner::rehearse::{Moment, Pause, Rehearsal};
use planner::step::{Action, Class, Step, Waiting};
use serde::Serialize;

use super::objects::{Change, ObjectChange};

/// Everything a plan says.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub cluster: String,
    /// Why it cannot be; nothing else is said then.
    pub refused: Vec<String>,
    pub fields: Vec<FieldChange>,
    pub objects: Vec<ObjectChange>,
    /// In order.
    pub restarts: Vec<Restart>,
    pub write_pauses: Vec<WritePause>,
    /// Groups, volumes and identities, in order.
    pub steps: Vec<String>,
    /// What a person has to do, or what never ended.
    pub waits: Vec<Wait>,
    /// What has to be known about this plan.
    pub notes: Vec<String>,
}

/// A pod that restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restart {
    pub pod: String,
    pub why: String,
}

/// A group that takes no messages for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WritePause {
    pub group: u32,
    pub others_take: bool,
    pub why: String,
}

/// Something that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wait {
    pub reason: String,
    pub message: String,
}

/// Reasons with which a change is refused: it cannot come to its end.
const REFUSALS: [&str; 11] = [
    "InvalidSpec",
    "UnknownConfigKey",
    "ForbiddenConfigKey",
    "UnsupportedVersionJump",
    "UnknownGroupIndex",
    "NameCollision",
    "LastWritableGroup",
    "Refused",
    "ShrinkRefused",
    "ExpansionUnsupported",
    "Blocked",
];

impl Report {
    /// Returns the report of a rehearsal that began with these facts.
    pub fn of(
        facts: &Facts,
        rehearsal: &Rehearsal,
        fields: Vec<FieldChange>,
        objects: Vec<ObjectChange>,
    ) -> Report {
        let is_refusal = |waiting: &&Waiting| waiting.blocked && REFUSALS.contains(&waiting.reason);
        let refused = rehearsal.waiting.iter().filter(is_refusal).map(|waiting| waiting.message.clone());
        let mut refused: Vec<String> = not_accepted(&rehearsal.after.cluster.status).chain(refused).collect();
        refused.dedup();
        Report {
            cluster: facts.cluster.name.clone(),
            refused,
            fields,
            objects,
            restarts: restarts(rehearsal),
            write_pauses: rehearsal.pauses.iter().map(write_pause).collect(),
            steps: steps(facts, rehearsal),
            waits: waits(rehearsal),
            notes: Vec::new(),
        }
    }

    /// Whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.objects.is_empty() && self.restarts.is_empty() && self.steps.is_empty()
    }
}

/// What the planner refuses before it plans anything.
fn not_accepted(status: &ClusterStatus) -> impl Iterator<Item = String> + '_ {
    let refused = |condition: &&manifest::cluster::status::Condition| {
        condition.kind == "SpecAccepted" && condition.status == "False"
    };
    status.conditions.iter().filter(refused).map(|condition| condition.message.clone())
}

fn taken(rehearsal: &Rehearsal) -> impl Iterator<Item = &Step> {
    rehearsal.moments.iter().filter_map(|moment| match moment {
        Moment::Step(step) => Some(step),
        Moment::Waits(_) => None,
    })
}

fn restarts(rehearsal: &Rehearsal) -> Vec<Restart> {
    let restart = |step: &Step| match &step.action {
        Action::Evict { pod, .. } | Action::DeletePod { pod, .. } => {
            let start = format!("{pod} restarts: ");
            let why = step.reason.strip_prefix(&start).unwrap_or(&step.reason).to_owned();
            Some(Restart { pod: pod.clone(), why })
        }
        _ => None,
    };
    taken(rehearsal).filter_map(restart).collect()
}

fn write_pause(pause: &Pause) -> WritePause {
    let Pause { group, restarts, others_take, ends } = pause;
    let restart = match restarts.as_slice() {
        [] => None,
        [pod] => Some(format!("{pod} restarts")),
        pods => Some(format!("{} restart", pods.join(" and then "))),
    };
    let why = match (restart, ends, others_take) {
        (Some(restart), true, true) => format!(
            "group {group} takes no messages while {restart}; producers are led to other groups about 35 s before"
        ),
        (Some(restart), true, false) => format!(
            "group {group} stops writes for a moment while {restart}; no other group takes messages, so sends fail or wait \
             until it is back"
        ),
        (None, true, _) => format!("group {group} stops writes for a moment"),
        (Some(_), false, _) => {
            format!("group {group} stops writes, and {} does not come back", restarts.join(" or "))
        }
        (None, false, _) => format!("group {group} takes no messages any more"),
    };
    WritePause { group: *group, others_take: *others_take, why }
}

/// What people would want to have known.
fn steps(facts: &Facts, rehearsal: &Rehearsal) -> Vec<String> {
    let mut told = Vec::new();
    let mut states = states(&facts.cluster.status);
    let new = states.is_empty();
    for step in taken(rehearsal) {
        match &step.action {
            Action::RecordStatus(status) => {
                let next = self::states(status);
                told.extend(between(&states, &next).into_iter().filter(|_| !(new && states.is_empty())));
                states = next;
            }
            Action::CopyMetadata { from, to } => {
                let others = groups_in_words(from);
                told.push(format!("group {to} gets the topics and subscription groups of {others}"));
            }
            Action::PatchClaim { claim, patch, .. } => told.extend(of_claim(facts, claim, patch)),
            Action::DeleteClaim { claim, .. } => {
                told.push(format!(
                    "volume claim {claim} is deleted, and its messages with it: {}",
                    step.reason
                ));
            }
            Action::OrphanStatefulSet { name, .. } => {
                told.push(format!("StatefulSet {name} is made again for other volumes; its pods go on"));
            }
            Action::Apply { object, .. } if step.class != Class::None => {
                told.push(goes_to(object));
            }
            Action::Apply { object, .. } if object.reference.kind == Kind::StatefulSet => {
                told.extend(more_pods(facts, object));
            }
            _ => {}
        }
    }
    told.dedup();
    told.extend(left(facts, rehearsal));
    told
}

fn more_pods(facts: &Facts, object: &Object) -> Option<String> {
    let replicas = |json: &serde_json::Value| json["spec"]["replicas"].as_u64();
    let before = facts.objects.get(&object.reference).and_then(|observed| replicas(&observed.json))?;
    (replicas(&object.json)? > before).then(|| goes_to(object))
}

fn goes_to(object: &Object) -> String {
    let replicas = object.json["spec"]["replicas"].as_u64().unwrap_or(0);
    format!("{} goes to {replicas} {}", object.reference, if replicas == 1 { "pod" } else { "pods" })
}

/// Volumes that stay when their members go.
fn left(facts: &Facts, rehearsal: &Rehearsal) -> Option<String> {
    let has_pod = |facts: &Facts, claim: &str| {
        let pod = claim.strip_prefix("data-").unwrap_or(claim);
        facts.pods.iter().any(|known| known.name == pod)
    };
    let after = &rehearsal.after;
    let left = after.claims.iter().map(|claim| claim.name.as_str());
    let left: Vec<&str> = left.filter(|claim| has_pod(facts, claim) && !has_pod(after, claim)).collect();
    (!left.is_empty()).then(|| format!("volume claims that stay, with what is on them: {}", left.join(", ")))
}

fn of_claim(facts: &Facts, claim: &str, patch: &serde_json::Value) -> Option<String> {
    let before = facts.claims.iter().find(|known| known.name == claim)?;
    if let Some(size) = patch.pointer("/spec/resources/requests/storage").and_then(serde_json::Value::as_str)
    {
        return Some(format!("volume claim {claim} grows from {} to {size}", before.requested));
    }
    if let Some(class) = patch.pointer("/spec/volumeAttributesClassName").and_then(serde_json::Value::as_str)
    {
        return Some(format!("volume claim {claim} gets the attributes class {class}"));
    }
    let adopted = patch["metadata"]["annotations"].get(CLUSTER_UID).is_some();
    adopted.then(|| format!("volume claim {claim} and its messages become this cluster's"))
}

fn states(status: &ClusterStatus) -> BTreeMap<i32, String> {
    status.brokers.group_statuses.iter().map(|group| (group.index, group.state.clone())).collect()
}

fn between(before: &BTreeMap<i32, String>, after: &BTreeMap<i32, String>) -> Vec<String> {
    let mut told = Vec::new();
    for (group, state) in after {
        if before.get(group) == Some(state) {
            continue;
        }
        told.push(match (before.get(group).map(String::as_str), state.as_str()) {
            (_, "Joining") => format!("group {group} joins; no route leads to it until it has the topics of the others"),
            (Some("Draining"), "Active") => format!("group {group} takes messages again: its drain is taken back"),
            (_, "Active") => format!("group {group} takes messages"),
            (_, "Draining") => {
                format!("group {group} takes no messages any more and waits until its consumers have read everything")
            }
            (_, "Removing") => format!("group {group} goes"),
            (_, other) => format!("group {group} is {other}"),
        });
    }
    told.extend(
        before
            .keys()
            .filter(|group| !after.contains_key(group))
            .map(|group| format!("group {group} is gone")),
    );
    told
}

/// What a person has to do on the way, and what never came to its end.
fn waits(rehearsal: &Rehearsal) -> Vec<Wait> {
    let on_the_way = rehearsal.moments.iter().filter_map(|moment| match moment {
        Moment::Waits(waiting) if waiting.blocked => Some(waiting),
        _ => None,
    });
    let window = rehearsal.moments.iter().filter_map(|moment| match moment {
        Moment::Waits(waiting) if waiting.message.contains("spec.brokers.rollout.window") => Some(waiting),
        _ => None,
    });
    let mut waits: Vec<Wait> = Vec::new();
    for waiting in on_the_way.chain(window).chain(&rehearsal.waiting) {
        let wait = Wait { reason: waiting.reason.to_owned(), message: waiting.message.clone() };
        if !REFUSALS.contains(&waiting.reason) && !waits.contains(&wait) {
            waits.push(wait);
        }
    }
    waits
}

/// How many objects are made, changed and removed.
pub fn count(objects: &[ObjectChange]) -> [usize; 3] {
    [Change::Created, Change::Changed, Change::Removed]
        .map(|change| objects.iter().filter(|object| object.change == change).count())
}
