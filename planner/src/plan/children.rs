//! Steps that make children what they should be, and take away those that are not needed any more.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::groups::State;
use super::{Outcome, ensure, volumes};
use crate::build::SECRET_KEYS;
use crate::desired::Desired;
use crate::facts::Observed;
use crate::labels::GROUP;
use crate::object::{Kind, Object, ObjectRef};
use crate::seen::{Seen, child};
use crate::step::{Action, Class, Step, Waiting};

/// Static settings of former templates that are kept, for a way back.
const KEPT_STATIC_CONFIGS: usize = 3;

/// Adds what has to be written: what disturbs nobody to the steps, the rest apart.
pub(super) fn ensure_children(
    desired: &Desired,
    built: &[Object],
    outcome: &mut Outcome,
    disruptions: &mut Vec<Step>,
) {
    for object in built {
        let is_set = object.reference.kind == Kind::StatefulSet;
        let number = |json: &Value| json.pointer("/spec/replicas").and_then(Value::as_u64);
        let Some(observed) = desired.facts.objects.get(&object.reference) else {
            let none = is_set && number(&object.json) == Some(0);
            if !none || may_be_for_none(desired, outcome, object) {
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
        // Whoever does not read what is in secrets, as `gantry plan` does not, reads no type either.
        let is_secret = object.reference.kind == Kind::Secret;
        if observed.deleting || (is_secret && observed.json.get("type").is_none()) {
            continue;
        }
        if is_secret && let Some(key) = SECRET_KEYS.into_iter().find(|key| !has_key(observed, key)) {
            // Its content is drawn when it is made, and no apply brings another one.
            let reason = format!("{} has no {key}: it is made again", object.reference);
            let action = Action::Delete { object: object.reference.clone(), uid: observed.uid.clone() };
            outcome.steps.push(Step::quiet(action, reason));
            continue;
        }
        let Some(why) = ensure::difference(object, observed) else { continue };
        let fewer = is_set && number(&object.json) < number(&observed.json);
        let stops = fewer && number(&object.json) == Some(0);
        let step = Step {
            action: Action::Apply {
                object: object.clone(),
                uid: observed.uid.clone(),
                resource_version: is_guarded(object).then(|| observed.resource_version.clone()),
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

fn create(object: &Object) -> Step {
    let reason = format!("{} is missing", object.reference);
    match object.reference.kind {
        Kind::Secret => {
            Step::quiet(Action::CreateSecret { object: object.clone(), keys: SECRET_KEYS.to_vec() }, reason)
        }
        _ => Step::quiet(Action::Create(object.clone()), reason),
    }
}

fn has_key(secret: &Observed, key: &str) -> bool {
    let text = secret.json.get("data").and_then(|data| data.get(key)?.as_str());
    text.is_some_and(|text| !text.is_empty())
}

/// Whether a StatefulSet has other claim templates than those it should have: it cannot be changed to them.
fn is_remade(desired: &Desired, object: &Object) -> bool {
    let observed = child(desired, Kind::StatefulSet, &object.reference.name);
    object.reference.kind == Kind::StatefulSet
        && observed.is_some_and(|observed| volumes::made(&observed.json) != volumes::made(&object.json))
}

/// Whether a StatefulSet that is made anew may be for no pods: those of its group go, or the cluster stops and it has
/// none. Any other would take pods away that only lost theirs.
fn may_be_for_none(desired: &Desired, outcome: &Outcome, set: &Object) -> bool {
    let group = || set.json.pointer("/metadata/labels")?.get(GROUP)?.as_str()?.parse::<u32>().ok();
    let record = group().and_then(|group| outcome.records.groups.get(&group));
    let removed = record.is_some_and(|record| record.state == State::Removing);
    let start = format!("{}-", set.reference.name);
    let has_pods = desired.facts.pods.iter().any(|pod| pod.name.starts_with(&start));
    removed || (desired.spec().stopped && !has_pods)
}

/// Whether an old view must not overwrite a newer one: numbers of pods, and what brokers were told.
fn is_guarded(object: &Object) -> bool {
    let is_live = object.reference.kind == Kind::ConfigMap && object.json.get("immutable").is_none();
    object.reference.kind == Kind::StatefulSet || is_live
}

/// Children that are not wanted any more. A StatefulSet goes only without pods; settings only when nobody has them.
pub(super) fn delete_leftovers(desired: &Desired, seen: &Seen, built: &[Object], outcome: &mut Outcome) {
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
                let group = observed.json.pointer("/metadata/labels").and_then(|all| all.get(GROUP));
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
