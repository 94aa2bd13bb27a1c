//! The rules between fields, and between a change and what was before, as the API server evaluates them (CEL).
//! `validate.rs` says the first kind again, with both values in its words.
//!
//! A rule with `oldSelf` runs on changes only, so it stands alone. They are one table and not attributes of the types:
//! kube's `KubeSchema` copies a type to look at it, which one whose fields take their defaults from the type as a
//! whole does not survive.

use serde_json::{Value, json};

use crate::config_keys::{BROKER_KEYS, KeyClass};

/// A rule at a place of the schema.
pub(crate) struct Rule {
    /// The object that is `self`; empty is the whole cluster, `[]` every entry of a list.
    at: &'static str,
    /// The field that is blamed, below `at`.
    field: &'static str,
    rule: String,
    message: &'static str,
    /// What a rule with `oldSelf` says, for those who have no API server.
    pub(crate) transition: Option<Transition>,
}

/// What a change may not do to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// It stays as it is, also when it is absent.
    Fixed,
    /// The same for a key of a map.
    FixedKey,
    /// It stays there, or absent.
    FixedPresence,
    /// An amount only grows.
    Grows,
    /// Once it has this value it keeps it.
    Keeps(&'static str),
}

impl Transition {
    /// Returns the rule in CEL.
    fn rule(self, field: &str) -> String {
        let (new, old) = (format!("self{field}"), format!("oldSelf{field}"));
        match self {
            Transition::Fixed => format!("has({new}) == has({old}) && (!has({new}) || {new} == {old})"),
            // Through `has` the API server takes the value for one of any length, and the rule for too expensive.
            Transition::FixedKey => {
                let split =
                    |path: &str| path.rsplit_once('.').map(|(map, key)| (map.to_owned(), key.to_owned()));
                let ((new, key), (old, _)) = split(&new).zip(split(&old)).unwrap_or_default();
                format!(
                    "('{key}' in {new}) == ('{key}' in {old}) && (!('{key}' in {new}) || {new}['{key}'] == {old}['{key}'])"
                )
            }
            Transition::FixedPresence => format!("has({new}) == has({old})"),
            Transition::Grows => {
                format!("!has({new}) || !has({old}) || quantity({new}).compareTo(quantity({old})) >= 0")
            }
            Transition::Keeps(value) => format!("{old} != '{value}' || {new} == '{value}'"),
        }
    }
}

impl Rule {
    /// Returns the path of the field and what is said when the rule is broken.
    pub(crate) fn blames(&self) -> (String, &'static str) {
        (format!("{}{}", self.at, self.field), self.message)
    }

    /// Adds the rule to the schema of a cluster.
    pub(crate) fn add_to(&self, schema: &mut Value) {
        let mut node = schema;
        for name in self.at.split('.').filter(|name| !name.is_empty()) {
            let (name, each) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
            node = &mut node["properties"][name];
            if each {
                node = &mut node["items"];
            }
        }
        let mut rule = json!({ "rule": self.rule, "message": self.message });
        if !self.field.is_empty() {
            rule["fieldPath"] = json!(self.field);
        }
        match node.get_mut("x-kubernetes-validations") {
            Some(Value::Array(rules)) => rules.push(rule),
            _ => node["x-kubernetes-validations"] = json!([rule]),
        }
    }
}

/// Returns all rules.
pub(crate) fn rules() -> Vec<Rule> {
    let rule =
        |at, field, rule: &str, message| Rule { at, field, rule: rule.to_owned(), message, transition: None };
    let change = |at, field, transition: Transition, message| Rule {
        at,
        field,
        rule: transition.rule(field),
        message,
        transition: Some(transition),
    };
    let fixed = |at, field, message| change(at, field, Transition::Fixed, message);
    let grows = |at, field, message| change(at, field, Transition::Grows, message);
    let forbidden = BROKER_KEYS.iter().filter(|key| key.class == KeyClass::Forbidden).map(|key| key.name);
    let forbidden = format!("!self.config.exists(key, key in {})", json!(forbidden.collect::<Vec<_>>()));
    vec![
        rule(
            "",
            "",
            "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,34}[a-z0-9])?$')",
            "metadata.name must start with a lower-case letter, go on with lower-case letters, digits and dashes, not \
             end with a dash, and have at most 36 characters",
        ),
        fixed("spec", ".clusterName", "cannot change: clients and stored data know the cluster by it"),
        rule(
            "spec",
            ".controllers",
            "self.brokers.replication.mode == 'Controller' || !has(self.controllers)",
            "only with brokers.replication.mode Controller; remove it",
        ),
        change(
            "spec",
            ".brokers.replication.mode",
            Transition::Keeps("Controller"),
            "cannot change from Controller to another mode: nothing would elect masters any more",
        ),
        rule(
            "spec",
            ".acl.superUserSecretRef",
            "!self.acl.enabled || has(self.acl.superUserSecretRef)",
            "required with acl.enabled: without a super user nobody could administer the cluster",
        ),
        rule(
            "spec",
            ".listeners",
            "self.listeners.all(l, l.tls.mode == 'Disabled') || has(self.tls)",
            "a listener with tls.mode Permissive or Required needs spec.tls, which says who issues certificates",
        ),
        rule(
            "spec",
            ".listeners",
            "self.listeners.exists_one(l, l.name == 'internal' && l.type in ['PodIP', 'PodService', 'HostNetwork'])",
            "one listener must be named internal and have type PodIP, PodService or HostNetwork",
        ),
        rule(
            "spec",
            ".listeners",
            "self.listeners.all(a, self.listeners.exists_one(b, b.port == a.port || b.port == a.port - 2 || b.port == \
             a.port + 2))",
            "ports of listeners must differ, and not by 2: each listener also opens the port two below its own",
        ),
        rule(
            "spec",
            ".listeners",
            "self.listeners.filter(l, l.type == 'HostNetwork').size() <= 1",
            "only one listener may have type HostNetwork",
        ),
        rule(
            "spec.listeners[]",
            ".port",
            "!(self.port in [5557, 5558, 5559, 5560, 10912, 10914])",
            "is taken by replication, health or administration; choose another",
        ),
        rule(
            "spec.listeners[]",
            ".advertised",
            "self.type != 'Template' || (has(self.advertised) && has(self.advertised.hostTemplate))",
            "a listener of type Template needs advertised.hostTemplate",
        ),
        fixed(
            "spec.listeners[]",
            ".loadBalancer.class",
            "cannot change: a load balancer keeps its class; give the listener another name",
        ),
        rule("spec.controllers", ".replicas", "self.replicas in [1, 3, 5]", "must be 1, 3 or 5"),
        grows("spec.controllers.storage", ".size", "cannot shrink: volumes only grow"),
        fixed("spec.controllers.storage", ".storageClassName", "cannot change: volumes keep their class"),
        rule(
            "spec.controllers.failover",
            ".electionTimeout",
            "duration(self.electionTimeout) > duration(self.leaseDuration)",
            "must be longer than leaseDuration: two masters could acknowledge",
        ),
        rule(
            "spec.controllers.failover",
            ".leaseDuration",
            "duration(self.leaseDuration) > duration(self.heartbeatInterval)",
            "must be longer than heartbeatInterval: every lease would run out",
        ),
        rule(
            "spec.brokers",
            ".replication.mode",
            "self.replication.mode != 'Sync' || self.replicasPerGroup >= 2",
            "Sync needs a slave that stores messages too: set replicasPerGroup to 2 or more, or the mode to Async",
        ),
        rule(
            "spec.brokers",
            ".replication.requiredAcks",
            "!has(self.replication.requiredAcks) || (self.replication.mode == 'Sync' && self.replication.requiredAcks \
             <= self.replicasPerGroup)",
            "only with replication.mode Sync, and at most replicasPerGroup",
        ),
        rule(
            "spec.brokers",
            ".replication.minInSyncReplicas",
            "!has(self.replication.minInSyncReplicas) || (self.replication.mode == 'Controller' && \
             self.replication.minInSyncReplicas <= self.replicasPerGroup)",
            "only with replication.mode Controller, and at most replicasPerGroup",
        ),
        rule(
            "spec.brokers",
            ".replication.allAckInSyncStateSet",
            "!has(self.replication.allAckInSyncStateSet) || self.replication.mode == 'Controller'",
            "only with replication.mode Controller; remove it",
        ),
        fixed(
            "spec.brokers",
            ".groupNameTemplate",
            "cannot change: clients and stored data know groups by it",
        ),
        rule(
            "spec.brokers",
            ".groupNameTemplate",
            "self.groupNameTemplate.contains('{group}')",
            "must contain {group}, so that each group has its own name",
        ),
        rule(
            "spec.brokers",
            ".flush.mode",
            "self.storage.type != 'EmptyDir' || self.flush.mode == 'Async'",
            "Sync needs storage.type PersistentVolumeClaim: what is lost with the member need not be flushed",
        ),
        rule(
            "spec.brokers",
            ".config",
            &forbidden,
            "a key that follows from who a member is, or from another field, cannot be set; remove it",
        ),
        change(
            "spec.brokers",
            ".config.mappedFileSizeCommitLog",
            Transition::FixedKey,
            "cannot change: the files of stored messages have that size",
        ),
        rule(
            "spec.brokers.storage",
            ".size",
            "self.type != 'PersistentVolumeClaim' || has(self.size)",
            "required with storage.type PersistentVolumeClaim, for example 10Gi",
        ),
        fixed("spec.brokers.storage", ".type", "cannot change: messages would stay behind"),
        fixed("spec.brokers.storage", ".accessMode", "cannot change: volumes keep their access mode"),
        fixed("spec.brokers.storage", ".storageClassName", "cannot change: volumes keep their class"),
        change(
            "spec.brokers.storage",
            ".commitLog",
            Transition::FixedPresence,
            "cannot be added or removed: messages would stay behind",
        ),
        grows("spec.brokers.storage", ".size", "cannot shrink: volumes only grow"),
        grows("spec.brokers.storage.commitLog", ".size", "cannot shrink: volumes only grow"),
        rule(
            "spec.brokers.scheduling",
            ".zones",
            ZONES,
            "needs zoneSpread Disabled: a group in one zone cannot be spread over zones",
        ),
        rule(
            "spec.nameServers.scheduling",
            ".zones",
            ZONES,
            "needs zoneSpread Disabled: a group in one zone cannot be spread over zones",
        ),
        rule(
            "spec.controllers.scheduling",
            ".zones",
            ZONES,
            "needs zoneSpread Disabled: a group in one zone cannot be spread over zones",
        ),
        rule(
            "spec.proxy.scheduling",
            ".zones",
            ZONES,
            "needs zoneSpread Disabled: a group in one zone cannot be spread over zones",
        ),
    ]
}

const ZONES: &str = "!has(self.zones) || self.zones.size() == 0 || self.zoneSpread == 'Disabled'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_a_change_can_be_said_without_an_api_server() {
        for rule in rules() {
            assert_eq!(rule.rule.contains("oldSelf"), rule.transition.is_some(), "{}", rule.rule);
        }
    }
}
