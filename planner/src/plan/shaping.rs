//! The shape for now: every number that changes step by step, each by its own decision.

use std::collections::BTreeMap;

use manifest::cluster::{LostVolume, StorageType};

use super::groups::State;
use super::name_servers::NameServers;
use super::replicas::Replicas;
use super::roll::Roll;
use super::told::{name_servers_since, permission_since};
use super::{Outcome, identity, name_servers, replicas, volumes};
use crate::build::{self, live_config};
use crate::desired::Desired;
use crate::facts::{Answer, StoreState};
use crate::labels::{REPLACE, STORE_ID};
use crate::seen::{Seen, SeenGroup};
use crate::shape::{GroupShape, HIDDEN, READ_ONLY, READ_WRITE, Shape, VolumeShape};
use crate::step::Waiting;

pub(super) type AllVolumes = BTreeMap<u32, volumes::Volumes>;

pub(super) fn shape(
    desired: &Desired,
    seen: &Seen,
    outcome: &mut Outcome,
    roll: &Roll,
) -> (Shape, AllVolumes) {
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
                let (next, waits) = replicas::decide(&Replicas {
                    now,
                    wanted,
                    pods,
                    all_ready: group.role.all_ready(),
                    others_ready: group.role.others_ready(now.map_or(0, |now| now.saturating_sub(1))),
                    another_grows: grows,
                });
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
pub(super) fn stopped_replicas(desired: &Desired, seen: &Seen, index: u32, outcome: &mut Outcome) -> u32 {
    let Some(group) = seen.groups.get(&index) else { return 0 };
    // Pods whose StatefulSet is gone get it back first.
    let now = group.role.set.map_or(group.role.highest(), |set| set.replicas);
    if let Some(claim) = group.claims.values().find(|claim| claim.deleting) {
        let message = format!(
            "volume claim {} is being deleted and goes with its messages when its pod stops; copy what is on it first",
            claim.name
        );
        outcome.waiting.push(Waiting { reason: "VolumeLost", message, blocked: true });
        return now;
    }
    let quiet = permission_since(desired, seen, index, READ_ONLY).is_some() && group.slaves_equal();
    if now == 0 || quiet || !group.role.is_ready(0) {
        return 0;
    }
    let message = format!("group {index} stops taking messages and its slaves get the last ones");
    outcome.waiting.push(Waiting { reason: "Stopped", message, blocked: false });
    now
}

pub(super) fn name_servers_shape(
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

/// Addresses that do not depend on where pods run must be known before the pods start.
pub(super) fn has_addresses(desired: &Desired, group: u32, replicas: u32) -> bool {
    let internal =
        desired.internal().filter(|listener| listener.kind == manifest::cluster::ListenerType::PodService);
    internal.is_none_or(|listener| {
        (0..replicas).all(|ordinal| {
            let service = desired.names.broker_listener(group, ordinal, &listener.name);
            build::addresses::cluster_ip(desired, &service).is_some()
        })
    })
}

pub(super) fn group_volumes(desired: &Desired, group: &SeenGroup) -> volumes::Volumes {
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
pub(super) fn stores(
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
        let given_up = is_given_up(desired, group, index, ordinal);
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
                "{pod}: {}; bring its own volume back, or give up what was on it: {}",
                trouble.1,
                how_to_give_up(desired, group, index, ordinal)
            );
            outcome.waiting.push(Waiting { reason: trouble.0, message, blocked: true });
        }
    }
    stores
}

/// A person may give up any store, each by name, so that the next loss is another question; the manifest only those of
/// slaves whose master is ready.
pub(super) fn is_given_up(desired: &Desired, group: &SeenGroup, index: u32, ordinal: u32) -> bool {
    let named = desired.facts.cluster.annotations.get(REPLACE);
    let given_up = surrender(desired, group, index, ordinal);
    let by_name = named
        .zip(given_up)
        .is_some_and(|(named, given_up)| named.split(',').any(|entry| entry.trim() == given_up));
    let replace = desired.spec().brokers.storage.on_lost_volume == LostVolume::Replace;
    let others = ordinal > 0 && group.role.others_ready(ordinal);
    let lost = group.store_state(ordinal) != Some(StoreState::StoreIdentityMismatch);
    by_name || (replace && others && lost)
}

/// Returns the store that a member must have, as long as nobody decided anything else.
pub(crate) fn expected_store(
    desired: &Desired,
    group: &SeenGroup,
    index: u32,
    ordinal: u32,
) -> Option<String> {
    let pod = desired.names.broker(index, ordinal);
    let observed = live_config::observed(desired, index);
    let told =
        observed.and_then(|observed| live_config::read(&observed.json, &pod)?.remove("expectedStoreId"));
    told.or_else(|| group.claims.get(&ordinal)?.annotations.get(STORE_ID).cloned())
}

/// In words: which annotation gives the member's store up.
pub(super) fn how_to_give_up(desired: &Desired, group: &SeenGroup, index: u32, ordinal: u32) -> String {
    let pod = desired.names.broker(index, ordinal);
    match surrender(desired, group, index, ordinal) {
        Some(entry) => format!("gantry replace-store, or annotate this cluster with {REPLACE}={entry}"),
        None => format!("nobody knows which store {pod} had, so delete the pod and its volume claim"),
    }
}

/// Returns the entry of the annotation by which a person gives the member's store up: `POD=STORE`.
fn surrender(desired: &Desired, group: &SeenGroup, index: u32, ordinal: u32) -> Option<String> {
    let store = expected_store(desired, group, index, ordinal)?;
    Some(format!("{}={store}", desired.names.broker(index, ordinal)))
}
