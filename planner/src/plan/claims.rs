//! Steps about volume claims: they grow, it is noted whose they are, and some go.

use manifest::cluster::WhenScaled;
use serde_json::json;

use super::groups::State;
use super::shaping::{how_to_give_up, is_given_up};
use super::{Outcome, volumes};
use crate::desired::Desired;
use crate::facts::StoreState;
use crate::labels::{ADOPT, CLUSTER_UID, STORE_ID};
use crate::seen::Seen;
use crate::step::{Action, Class, Step, Waiting};

pub(super) fn grow(
    desired: &Desired,
    seen: &Seen,
    index: u32,
    volumes: &volumes::Volumes,
    outcome: &mut Outcome,
) {
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
        claim.file_system_resize_pending.is_some() || (capacity.is_some() && capacity < asked)
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
pub(super) fn note_on_claims(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
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

/// Volumes of members that have gone for good, where the manifest says so.
pub(super) fn remove_claims(desired: &Desired, seen: &Seen, outcome: &Outcome) -> Option<Step> {
    if desired.spec().brokers.storage.when_scaled != WhenScaled::Delete {
        return None;
    }
    let uid = Some(&desired.facts.cluster.uid);
    for (index, group) in &seen.groups {
        let Some(record) = outcome.records.groups.get(index) else { continue };
        let first_gone = match (record.state, group.role.set) {
            (State::Removing, None) => 0,
            (State::Active, Some(set))
                if set.settled && set.replicas > 0 && group.role.all_ready() && !desired.spec().stopped =>
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

/// Claims whose volume is gone from Kubernetes' own sight: their pods cannot start. They go when what was on them is given
/// up, then their pods, and both come again empty.
pub(super) fn replace_lost(desired: &Desired, seen: &Seen, outcome: &mut Outcome) -> Option<Step> {
    for (index, group) in &seen.groups {
        for (ordinal, claim) in group.claims.iter().filter(|(_, claim)| claim.lost) {
            let name = &claim.name;
            if !is_given_up(desired, group, *index, *ordinal) {
                let message = format!(
                    "the volume of claim {name} is gone; bring it back, or give up what was on it: {}",
                    how_to_give_up(desired, group, *index, *ordinal)
                );
                outcome.waiting.push(Waiting { reason: "VolumeLost", message, blocked: true });
                continue;
            }
            if !claim.deleting {
                return Some(Step {
                    action: Action::DeleteClaim { claim: name.clone(), uid: claim.uid.clone() },
                    class: Class::DataRemoval,
                    reason: format!("the volume of claim {name} is gone and given up"),
                    event: None,
                });
            }
            // Kubernetes keeps a claim as long as a pod waits for it.
            if let Some(pod) = group.role.pods.get(ordinal).filter(|pod| !pod.terminating && !pod.ready) {
                let (pod, uid, resource_version) =
                    (pod.name.clone(), pod.uid.clone(), pod.resource_version.clone());
                return Some(Step {
                    reason: format!("{pod} waits for a volume that is gone"),
                    action: Action::DeletePod { pod, uid, resource_version },
                    class: Class::MemberLoss,
                    event: None,
                });
            }
        }
    }
    None
}
