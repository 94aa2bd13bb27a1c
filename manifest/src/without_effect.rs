//! Settings that are good and do nothing, because another setting leaves no use for them: they are named, never silently
//! passed over.

use crate::cluster::{ClusterSpec, FlushMode, IdleGroups, ListenerType, LostVolume, StorageType};
use crate::cluster::{Flush, LoadBalancer, NodePort, ScaleIn};
use crate::problem::Problem;

/// Returns each with the reason.
pub(crate) fn check(spec: &ClusterSpec) -> Vec<Problem> {
    let brokers = &spec.brokers;
    let storage = &brokers.storage;
    let mut found = Vec::new();
    let mut note = |applies: bool, path: &str, why: &str| {
        if applies {
            found.push(Problem::plain(path, format!("has no effect: {why}; remove it")));
        }
    };
    note(
        brokers.flush.mode == FlushMode::Sync && brokers.flush.interval != Flush::default().interval,
        "spec.brokers.flush.interval",
        "spec.brokers.flush.mode is Sync, so every message is flushed at once",
    );
    note(
        brokers.scale_in.idle_groups == IdleGroups::Block
            && brokers.scale_in.ignore_idle_groups_after != ScaleIn::default().ignore_idle_groups_after,
        "spec.brokers.scaleIn.ignoreIdleGroupsAfter",
        "spec.brokers.scaleIn.idleGroups is Block, so none is ignored",
    );
    note(
        storage.on_lost_volume == LostVolume::Replace && brokers.replicas_per_group == 1,
        "spec.brokers.storage.onLostVolume",
        "spec.brokers.replicasPerGroup is 1, so there is nobody to copy from",
    );
    let no_volumes = "spec.brokers.storage.type is EmptyDir, so there are no volumes";
    let of_volumes = [
        ("storageClassName", storage.storage_class_name.is_some()),
        ("volumeAttributesClassName", storage.volume_attributes_class_name.is_some()),
    ];
    for (field, given) in of_volumes {
        let given = given && storage.kind == StorageType::EmptyDir;
        note(given, &format!("spec.brokers.storage.{field}"), no_volumes);
    }
    for (index, listener) in spec.listeners.iter().enumerate() {
        let why = |kind: &str| format!("the listener's type is {:?}, not {kind}", listener.kind);
        note(
            listener.kind != ListenerType::LoadBalancer && listener.load_balancer != LoadBalancer::default(),
            &format!("spec.listeners[{index}].loadBalancer"),
            &why("LoadBalancer"),
        );
        note(
            listener.kind != ListenerType::NodePort && listener.node_port != NodePort::default(),
            &format!("spec.listeners[{index}].nodePort"),
            &why("NodePort"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_setting_is_named_only_when_another_one_leaves_no_use_for_it() {
        let listener = |kind: &str, more: &str| {
            json!({ "listeners": [{ "name": "out", "type": kind, "port": 20911, more: match more {
                "nodePort" => json!({ "base": 30100 }),
                _ => json!({ "class": "x" }),
            } }] })
        };
        let brokers = |fields: serde_json::Value| json!({ "brokers": fields });
        let cases = [
            (brokers(json!({})), ""),
            (brokers(json!({ "flush": { "mode": "Async", "interval": "1s" } })), ""),
            (brokers(json!({ "flush": { "mode": "Sync" } })), ""),
            (
                brokers(json!({ "flush": { "mode": "Sync", "interval": "1s" } })),
                "spec.brokers.flush.interval",
            ),
            (brokers(json!({ "scaleIn": { "idleGroups": "Drop", "ignoreIdleGroupsAfter": "1h" } })), ""),
            (
                brokers(json!({ "scaleIn": { "ignoreIdleGroupsAfter": "1h" } })),
                "spec.brokers.scaleIn.ignoreIdleGroupsAfter",
            ),
            (brokers(json!({ "storage": { "onLostVolume": "Replace" } })), ""),
            (
                brokers(json!({ "replicasPerGroup": 1, "storage": { "onLostVolume": "Replace" } })),
                "spec.brokers.storage.onLostVolume",
            ),
            (
                brokers(json!({ "storage": { "type": "EmptyDir", "storageClassName": "x" } })),
                "spec.brokers.storage.storageClassName",
            ),
            (listener("LoadBalancer", "loadBalancer"), ""),
            (listener("NodePort", "loadBalancer"), "spec.listeners[0].loadBalancer"),
            (listener("NodePort", "nodePort"), ""),
            (listener("LoadBalancer", "nodePort"), "spec.listeners[0].nodePort"),
        ];
        for (mut fields, expected) in cases {
            fields["version"] = json!("0.1.0");
            if fields["brokers"].is_null() {
                fields["brokers"] = json!({});
            }
            let found = check(&serde_json::from_value(fields.clone()).unwrap());
            let paths: Vec<&str> = found.iter().map(|problem| problem.path.as_str()).collect();
            assert_eq!(paths.join(" "), expected, "{fields}");
        }
    }
}
