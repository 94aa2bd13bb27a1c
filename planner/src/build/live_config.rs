//! Settings that running brokers take over: a ConfigMap per group with one file per pod and a revision.
//!
//! A revision is the time at which the content changed, and more than any before: also when the ConfigMap was deleted, or
//! is an old one that a backup brought back, so no broker ever ignores what is new.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::jiff::Timestamp;
use manifest::config_keys::{BROKER_KEYS, KeyClass};
use serde_json::{Value, json};

use super::static_config::{file_name, properties};
use super::{addresses, annotated, endpoints};
use crate::desired::Desired;
use crate::facts::Observed;
use crate::labels::{NAME_SERVERS_SINCE, PERMISSION_SINCE, Part};
use crate::names::INTERNAL;
use crate::object::{Kind, Object, ObjectRef};
use crate::shape::{GroupShape, Shape};

/// Keys that fields of the manifest set and that are live.
const LIVE_FIELDS: &[&str] = &[
    "autoCreateSubscriptionGroup",
    "autoCreateTopicEnable",
    "brokerRole",
    "diskMaxUsedSpaceRatio",
    "diskSpaceCleanForciblyRatio",
    "diskSpaceWarningLevelRatio",
    "fileReservedTime",
    "flushDiskType",
    "flushIntervalCommitLog",
    "haCatchUpBytesPerSecond",
    "haMaxTimeSlaveNotCatchup",
    "inSyncReplicas",
    "slaveReadEnable",
];

const REVISION: &str = "configRevision";

/// Settings by ordinal.
type Files = BTreeMap<u32, BTreeMap<String, String>>;

/// Whether a broker takes the setting over while it runs.
pub(crate) fn is_live(key: &str) -> bool {
    let in_map =
        || BROKER_KEYS.iter().any(|known| known.name == key && matches!(known.class, KeyClass::Live(_)));
    LIVE_FIELDS.contains(&key) || in_map()
}

/// Returns a group's live settings.
pub(super) fn build(desired: &Desired, shape: &Shape, group: u32, of_group: &GroupShape) -> Object {
    let name = desired.names.live_config(group);
    let observed = observed(desired, group);
    let files: Files =
        (0..of_group.addressed).map(|ordinal| (ordinal, settings(desired, shape, group, ordinal))).collect();
    // What others put beside them says nothing, and stays.
    let read_before =
        |ordinal: &u32| Some((*ordinal, read(&observed?.json, &desired.names.broker(group, *ordinal))?));
    let before: Files = files.keys().filter_map(read_before).collect();
    let revision = revision(desired, group, &files, &before);
    let annotations = json!({
        PERMISSION_SINCE: since(desired, observed, PERMISSION_SINCE, same("brokerPermission", &files, &before)),
        NAME_SERVERS_SINCE: since(desired, observed, NAME_SERVERS_SINCE, same("namesrvAddr", &files, &before)),
    });
    let data: BTreeMap<String, String> = files
        .into_iter()
        .map(|(ordinal, mut file)| {
            file.insert(REVISION.to_owned(), revision.to_string());
            (file_name(&desired.names.broker(group, ordinal)), properties(&file))
        })
        .collect();
    annotated(desired, Part::Group(group), Kind::ConfigMap, &name, annotations, json!({ "data": data }))
}

fn settings(desired: &Desired, shape: &Shape, group: u32, ordinal: u32) -> BTreeMap<String, String> {
    let broker_name = manifest::group_name(desired.validated, group);
    let mut settings = manifest::broker(&desired.effective, group, &broker_name, ordinal).config;
    settings.retain(|key, _| is_live(key));
    let mut put = |key: &str, value: String| settings.insert(key.to_owned(), value);
    put("logLevel", desired.spec().logging.level.as_str().to_owned());
    put("namesrvAddr", endpoints::for_brokers(desired, shape.name_servers.listed));
    let mut listeners = Vec::new();
    for listener in &desired.spec().listeners {
        let Ok(address) = addresses::of_broker(desired, group, ordinal, listener) else { continue };
        // A pod knows its own address, and a name fits no message id.
        if listener.name == INTERNAL && address.host.parse::<IpAddr>().is_ok() {
            put("brokerIP1", address.host.clone());
        }
        listeners.push(format!("{}={address}", listener.name));
    }
    put("listeners", listeners.join(","));
    if let Some(of_group) = shape.groups.get(&group) {
        put("brokerPermission", of_group.permission.to_string());
        if let Some(store) = of_group.stores.get(&ordinal) {
            put("expectedStoreId", store.clone());
        }
    }
    settings
}

/// Returns a group's live settings as the API server has them.
pub(crate) fn observed<'a>(desired: &Desired<'a>, group: u32) -> Option<&'a Observed> {
    let reference = ObjectRef::new(Kind::ConfigMap, desired.names.live_config(group));
    desired.facts.objects.get(&reference).filter(|observed| !observed.foreign)
}

/// Returns one pod's settings from a ConfigMap.
pub(crate) fn read(json: &Value, pod: &str) -> Option<BTreeMap<String, String>> {
    parse(json.get("data")?.get(file_name(pod))?.as_str()?)
}

/// Returns the revision of settings.
pub(crate) fn revision_of(settings: &BTreeMap<String, String>) -> Option<u64> {
    settings.get(REVISION)?.parse().ok()
}

/// Returns a time that is noted on a ConfigMap.
pub(crate) fn time_of(json: &Value, annotation: &str) -> Option<Timestamp> {
    json.get("metadata")?.get("annotations")?.get(annotation)?.as_str()?.parse().ok()
}

fn parse(text: &str) -> Option<BTreeMap<String, String>> {
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.lines().map(pair).collect()
}

/// The one before where nothing changed, unless a broker has a later one: then the API server was set back, and the broker
/// would run on with settings that nobody has any more. An old view of the ConfigMap looks the same, but cannot be written.
fn revision(desired: &Desired, group: u32, files: &Files, before: &Files) -> u64 {
    let old = before.values().filter_map(revision_of).max();
    let unchanged = files.iter().all(|(ordinal, file)| {
        let mut with_revision = file.clone();
        with_revision.extend(old.map(|old| (REVISION.to_owned(), old.to_string())));
        before.get(ordinal) == Some(&with_revision)
    });
    let answer = |ordinal: &u32| desired.facts.members.get(&desired.names.broker(group, *ordinal))?.known();
    let taken_over = files.keys().filter_map(answer).map(|member| member.config_revision).max();
    match old {
        Some(old) if unchanged && taken_over.is_none_or(|taken_over| taken_over <= old) => old,
        old => next_revision(old.max(taken_over), u64::try_from(desired.now.as_second()).unwrap_or(0)),
    }
}

/// A person may have written any number into the ConfigMap, and brokers have taken it over. Of the highest one they take
/// over every text that is another.
fn next_revision(old: Option<u64>, now_s: u64) -> u64 {
    old.map_or(0, |old| old.saturating_add(1)).max(now_s)
}

/// Whether all pods have what they had; pods that are new decide nothing.
fn same(key: &str, files: &Files, before: &Files) -> bool {
    let new = files.values().next().and_then(|file| file.get(key));
    before.values().all(|file| file.get(key) == new)
}

fn since(desired: &Desired, observed: Option<&Observed>, annotation: &str, same: bool) -> String {
    let noted = observed.and_then(|observed| time_of(&observed.json, annotation));
    noted.filter(|_| same).unwrap_or(desired.now).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_never_less_than_the_one_before() {
        let cases = [(None, 7), (Some(3), 7), (Some(7), 8), (Some(9), 10), (Some(u64::MAX), u64::MAX)];
        for (old, next) in cases {
            assert_eq!(next_revision(old, 7), next, "{old:?}");
        }
    }
}
