//! Checks of a manifest that need a look at what runs: `manifest::validate` does the others.

use manifest::versions::{ALLOWED_JUMPS, can_jump};

use crate::desired::Desired;
use crate::labels::{ADOPT, CLUSTER_UID};
use crate::seen::Seen;
use crate::step::Waiting;

/// Returns why the manifest cannot be applied to this cluster; what runs is left as it is then.
pub(crate) fn check(desired: &Desired, seen: &Seen) -> Vec<Waiting> {
    let mut problems = version_jump(desired);
    problems.extend(unknown_groups(desired, seen));
    problems.extend(volumes_of_another(desired, seen));
    problems.extend(volumes_of_more_groups(desired, seen));
    problems
}

fn refuse(reason: &'static str, message: String) -> Waiting {
    Waiting { reason, message, blocked: true }
}

fn version_jump(desired: &Desired) -> Vec<Waiting> {
    let Some(from) = &desired.facts.cluster.status.version else { return Vec::new() };
    let to = &desired.effective.version;
    match can_jump(from, to) {
        true => Vec::new(),
        false => vec![refuse(
            "UnsupportedVersionJump",
            format!(
                "spec.version: \"{to}\" cannot follow {from}, which runs: {ALLOWED_JUMPS}; set it to one that is near"
            ),
        )],
    }
}

fn unknown_groups(desired: &Desired, seen: &Seen) -> Vec<Waiting> {
    let known = |index: i32| {
        let recorded = &desired.facts.cluster.status.brokers.group_statuses;
        // One that has gone was known: lists may keep it.
        index < desired.facts.cluster.status.brokers.next_group_index
            || recorded.iter().any(|group| group.index == index)
            || u32::try_from(index).is_ok_and(|index| seen.groups.contains_key(&index))
    };
    let unknown = desired.spec().brokers.remove.iter().filter(|index| !known(**index));
    unknown
        .map(|index| {
            let text = format!("spec.brokers.remove: there is no group {index}; remove it from the list");
            refuse("UnknownGroupIndex", text)
        })
        .collect()
}

/// Volumes outlive their cluster. One of the same name takes them over only when told to.
fn volumes_of_another(desired: &Desired, seen: &Seen) -> Vec<Waiting> {
    let adopted = desired.facts.cluster.annotations.get(ADOPT);
    let foreign = seen.groups.values().flat_map(|group| group.claims.values()).filter_map(|claim| {
        let uid = claim.annotations.get(CLUSTER_UID)?;
        (*uid != desired.facts.cluster.uid && Some(uid) != adopted).then_some((claim, uid))
    });
    foreign
        .map(|(claim, uid)| {
            let text = format!(
                "volume claim {} is of an earlier cluster (uid {uid}); to go on with its messages annotate this cluster \
                 with {ADOPT}={uid}, to start empty delete the claim",
                claim.name
            );
            refuse("NameCollision", text)
        })
        .collect()
}

/// A cluster that begins with volumes takes all of them: nobody knows any more which of their groups held messages.
fn volumes_of_more_groups(desired: &Desired, seen: &Seen) -> Option<Waiting> {
    let recorded = &desired.facts.cluster.status.brokers;
    let begins = recorded.group_statuses.is_empty() && recorded.next_group_index == 0;
    let runs = seen.groups.values().any(|group| group.role.set.is_some());
    let stored: Vec<String> = seen
        .groups
        .iter()
        .filter(|(_, group)| !group.claims.is_empty())
        .map(|(index, _)| index.to_string())
        .collect();
    let wanted = desired.spec().brokers.groups;
    let left_out = begins && !runs && i32::try_from(stored.len()).is_ok_and(|stored| stored > wanted);
    left_out.then(|| {
        let text = format!(
            "there are volume claims of groups {}, and spec.brokers.groups is {wanted}: set it to {}, and lower it again \
             when they run, so that what is on them is read first; or delete the claims of groups that held nothing",
            stored.join(", "),
            stored.len(),
        );
        refuse("NameCollision", text)
    })
}
