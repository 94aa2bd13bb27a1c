//! What members were told by their live settings, and whether they have taken it over.

use k8s_openapi::jiff::Timestamp;

use super::groups::Records;
use super::groups_that_run;
use crate::build::{self, live_config};
use crate::desired::Desired;
use crate::labels::PERMISSION_SINCE;
use crate::seen::Seen;

/// Returns since when all members of a group have a permission. One that runs with other settings than those that are
/// told now may yet take over some in between, and with them another permission.
pub(super) fn permission_since(
    desired: &Desired,
    seen: &Seen,
    group: u32,
    permission: u8,
) -> Option<Timestamp> {
    let all_have_it = seen.groups.get(&group).is_some_and(|group| group.has_permission(permission));
    let told = told_permission(desired, group) == Some(permission);
    let since = || live_config::time_of(&live_config::observed(desired, group)?.json, PERMISSION_SINCE);
    (all_have_it && told && is_confirmed(desired, seen, group)).then(since).flatten()
}

/// Returns the permission in a group's live settings.
pub(super) fn told_permission(desired: &Desired, group: u32) -> Option<u8> {
    let settings =
        live_config::read(&live_config::observed(desired, group)?.json, &desired.names.broker(group, 0))?;
    settings.get("brokerPermission")?.parse().ok()
}

/// Whether all members that answer run with the group's live settings.
pub(super) fn is_confirmed(desired: &Desired, seen: &Seen, group: u32) -> bool {
    match (told_revision(desired, group), seen.groups.get(&group)) {
        (Some(revision), Some(group)) => group.confirmed(revision),
        _ => false,
    }
}

/// Returns the first member that does not say that it has this permission by the group's live settings.
pub(super) fn unconfirmed(desired: &Desired, seen: &Seen, group: u32, permission: u8) -> u32 {
    let revision = told_revision(desired, group).unwrap_or(0);
    seen.groups.get(&group).and_then(|group| group.first_without(permission, revision)).unwrap_or(0)
}

fn told_revision(desired: &Desired, group: u32) -> Option<u64> {
    let observed = live_config::observed(desired, group)?;
    live_config::revision_of(&live_config::read(&observed.json, &desired.names.broker(group, 0))?)
}

/// Returns since when all brokers know just the first name servers.
pub(super) fn name_servers_since(
    desired: &Desired,
    seen: &Seen,
    records: &Records,
    listed: u32,
) -> Option<Timestamp> {
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
