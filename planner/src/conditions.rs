//! The conditions: what holds, why in one word, and in words what happens next or what to do.

use manifest::REFUSING_AFTER_FORCED;
use manifest::cluster::status::{Condition, GroupStatus};
use manifest::cluster::{FlushMode, Listener, ReplicationMode, StorageType};

use crate::desired::Desired;
use crate::plan::Outcome;
use crate::seen::Seen;
use crate::status::{full_disk, is_observed, is_ready, is_writable};
use crate::step::{Action, Waiting};

/// Every reason by its condition; each has a section in the manual.
pub const REASONS: &[(&str, &[&str])] = &[
    (
        "SpecAccepted",
        &[
            "Accepted",
            "FieldIgnored",
            "InvalidSpec",
            "UnknownConfigKey",
            "ForbiddenConfigKey",
            "UnsupportedVersionJump",
            "UnknownGroupIndex",
            "NameCollision",
        ],
    ),
    (
        "Ready",
        &[
            "AllInSync",
            "Creating",
            "RollingOut",
            "ScalingOut",
            "ScalingIn",
            "ResizingStorage",
            "AwaitingApproval",
            "Degraded",
            "Unavailable",
            "Paused",
            "Stopped",
            "InvalidSpec",
            "Deleting",
            "ObservationFailed",
        ],
    ),
    (
        "Available",
        &[
            "AllGroupsWritable",
            "GroupWithoutMaster",
            "NoNameServer",
            "StoragePressure",
            "Stopped",
            "ObservationFailed",
        ],
    ),
    (
        "Progressing",
        &["RollingOut", "ScalingOut", "ScalingIn", "Upgrading", "ResizingStorage", "Idle", "Blocked"],
    ),
    (
        "Degraded",
        &[
            "ReplicaOutOfSync",
            "MemberNotReady",
            "VolumeLost",
            "StoreIdentityMismatch",
            "ListenerWithoutAddress",
            "AsExpected",
            "ObservationFailed",
        ],
    ),
    (
        "Redundant",
        &[
            "AllGroupsRedundant",
            "SingleReplica",
            "AsyncReplication",
            "EphemeralStorage",
            "ReplicaOutOfSync",
            "ObservationFailed",
        ],
    ),
    (
        "ScaleIn",
        &[
            "Draining",
            "OrderedTopic",
            "IdleGroup",
            "LastWritableGroup",
            "TimedOut",
            "Refused",
            "Done",
            "ObservationFailed",
        ],
    ),
    (
        "StorageResized",
        &["Matches", "ResizePending", "FileSystemResizePending", "ExpansionUnsupported", "ShrinkRefused"],
    ),
    ("Paused", &["Requested"]),
    ("Stopped", &["Requested"]),
];

/// How many characters a condition's message has at most.
pub(crate) const LONGEST_MESSAGE: usize = 1_024;

/// What is said of one condition.
struct Said {
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn said(status: &'static str, reason: &'static str, message: impl Into<String>) -> Said {
    Said { status, reason, message: message.into() }
}

/// Returns all conditions; one that says what it said before keeps its time.
pub(crate) fn conditions(
    desired: &Desired,
    seen: &Seen,
    outcome: &Outcome,
    groups: &[GroupStatus],
) -> Vec<Condition> {
    let view = View { desired, seen, outcome, groups };
    let mut all = vec![
        ("SpecAccepted", view.spec_accepted()),
        ("Ready", view.ready()),
        ("Available", view.available()),
        ("Progressing", view.progressing()),
        ("Degraded", view.degraded()),
        ("Redundant", view.redundant()),
        ("StorageResized", view.storage_resized()),
    ];
    all.extend(view.scale_in().map(|said| ("ScaleIn", said)));
    if desired.is_paused() {
        let text = "spec.paused is true: nothing is written; members go on";
        all.push(("Paused", said("True", "Requested", text)));
    }
    if desired.spec().stopped {
        all.push(("Stopped", said("True", "Requested", "spec.stopped is true: members stop, volumes stay")));
    }
    let observed = is_observed(desired, outcome);
    all.into_iter().map(|(kind, said)| condition(desired, kind, said, observed)).collect()
}

fn condition(desired: &Desired, kind: &str, said: Said, observed: bool) -> Condition {
    let before = desired.facts.cluster.status.conditions.iter().find(|condition| condition.kind == kind);
    let same = before.filter(|before| before.status == said.status);
    let generation = match observed {
        true => Some(desired.facts.cluster.generation),
        false => before.and_then(|before| before.observed_generation),
    };
    Condition {
        kind: kind.to_owned(),
        status: said.status.to_owned(),
        reason: said.reason.to_owned(),
        message: said.message.chars().take(LONGEST_MESSAGE).collect(),
        last_transition_time: same
            .map_or_else(|| desired.now.to_string(), |same| same.last_transition_time.clone()),
        observed_generation: generation,
    }
}

struct View<'a, 'b> {
    desired: &'a Desired<'b>,
    seen: &'a Seen<'b>,
    outcome: &'a Outcome,
    groups: &'a [GroupStatus],
}

impl View<'_, '_> {
    fn waiting(&self, reasons: &[&str]) -> Option<&Waiting> {
        self.outcome.waiting.iter().find(|waiting| reasons.contains(&waiting.reason))
    }

    fn spec_accepted(&self) -> Said {
        let refused =
            self.outcome.refused.first().or_else(|| self.waiting(&["NameCollision", "InvalidSpec"]));
        match refused {
            Some(refused) => {
                let texts: Vec<&str> =
                    self.outcome.refused.iter().map(|refused| refused.message.as_str()).collect();
                let text = if texts.is_empty() { refused.message.clone() } else { texts.join("; ") };
                said("False", refused.reason, text)
            }
            None => match self.without_effect() {
                ignored if ignored.is_empty() => said("True", "Accepted", "all checks passed"),
                ignored => said("True", "FieldIgnored", format!("all checks passed; {}", ignored.join("; "))),
            },
        }
    }

    /// Settings that are good and do nothing.
    fn without_effect(&self) -> Vec<String> {
        let mut ignored: Vec<String> =
            self.desired.validated.without_effect().iter().map(ToString::to_string).collect();
        let monitoring = &self.desired.spec().monitoring;
        for (asked, name) in [
            (monitoring.pod_monitor.enabled, "podMonitor"),
            (monitoring.prometheus_rule.enabled, "prometheusRule"),
        ] {
            if asked && !self.desired.facts.operator.monitoring_kinds {
                ignored.push(format!(
                    "spec.monitoring.{name}: has no effect: this Kubernetes does not have the kinds of the Prometheus \
                     operator; install it, and restart Gantry's operator"
                ));
            }
        }
        ignored.extend(self.unlimited_brokers());
        ignored
    }

    /// Peers of a listener beside one that has none: brokers listen once, for the clients of all listeners.
    fn unlimited_brokers(&self) -> Option<String> {
        let spec = self.desired.spec();
        let peers = |listener: &&Listener| !listener.network_policy_peers.is_empty();
        let limited = spec.listeners.iter().find(peers).filter(|_| spec.network_policy.enabled)?;
        let open = spec.listeners.iter().find(|listener| !peers(listener))?;
        Some(format!(
            "spec.listeners[{}].networkPolicyPeers: limits name servers only: listener {} leads to the same port of brokers and \
             lets anyone in; give it peers too",
            limited.name, open.name
        ))
    }

    /// The first thing that stands between what is and what should be.
    fn ready(&self) -> Said {
        let spec = self.desired.spec();
        let available = self.available();
        let degraded = self.degraded();
        if self.desired.facts.cluster.deleting {
            let text = self.waiting(&["Deleting"]).map_or("it goes", |waiting| &waiting.message);
            return said("False", "Deleting", text);
        }
        if self.desired.is_paused() {
            return said(
                "False",
                "Paused",
                "spec.paused is true: whether all is as it should be is not looked after",
            );
        }
        if let Some(refused) = self.outcome.refused.first() {
            return said("False", "InvalidSpec", format!("what runs is left as it is: {}", refused.message));
        }
        if spec.stopped {
            return said("False", "Stopped", "set spec.stopped to false to start it");
        }
        if available.status == "Unknown" {
            return said("Unknown", "ObservationFailed", available.message);
        }
        let created = self.desired.facts.cluster.status.version.is_some();
        if !created && (available.status != "True" || degraded.status == "True") {
            return said("False", "Creating", available_or(&available, &degraded));
        }
        if let Some(waiting) = self.waiting(&["AwaitingApproval"]) {
            return said("False", "AwaitingApproval", waiting.message.clone());
        }
        let progress = self.progressing();
        match progress.reason {
            "Upgrading" => return said("False", "RollingOut", progress.message),
            "RollingOut" | "ScalingOut" | "ScalingIn" | "ResizingStorage" => {
                return said("False", progress.reason, progress.message);
            }
            _ => {}
        }
        if available.status != "True" {
            return said("False", "Unavailable", available.message);
        }
        if degraded.status == "True" {
            return said("False", "Degraded", degraded.message);
        }
        if let Some(blocked) = self.outcome.waiting.iter().find(|waiting| waiting.blocked) {
            return said("False", "Degraded", blocked.message.clone());
        }
        if degraded.status == "Unknown" {
            return degraded;
        }
        said("True", "AllInSync", "everything is as the manifest says and in sync")
    }

    fn available(&self) -> Said {
        if self.desired.spec().stopped {
            return said("False", "Stopped", "spec.stopped is true");
        }
        if !self.seen.name_servers.pods.keys().any(|ordinal| self.seen.name_servers.is_ready(*ordinal)) {
            return said("False", "NoNameServer", "no name server is ready: clients find no routes");
        }
        let active = || self.groups.iter().filter(|group| group.state == "Active");
        let master_is_ready = |group: &GroupStatus| group.members.first().is_some_and(|master| master.ready);
        if let Some(group) = active().find(|group| !master_is_ready(group)) {
            let why = group.members.first().and_then(|master| master.message.as_deref());
            let text = format!(
                "the master of group {} is not ready: {}",
                group.index,
                why.unwrap_or("it has no pod yet")
            );
            return said("False", "GroupWithoutMaster", text);
        }
        if let Some((group, percent)) =
            active().find_map(|group| Some((group, full_disk(self.desired, group)?)))
        {
            let storage = &self.desired.effective.brokers;
            let text = format!(
                "the disk of group {}'s master is {percent}% full, and from {}% on it takes no messages: lower \
                 spec.brokers.storage.fileReservedTime ({}) or make spec.brokers.storage.size larger",
                group.index,
                storage.disk_full_percent + REFUSING_AFTER_FORCED,
                self.desired.spec().brokers.storage.file_reserved_time,
            );
            return said("False", "StoragePressure", text);
        }
        let answers = |group: &GroupStatus| {
            let pod = &group.members[0].pod;
            self.desired.facts.members.get(pod).is_some_and(|answer| answer.known().is_some())
        };
        if let Some(group) = active().find(|group| !answers(group)) {
            let text = format!("the master of group {} does not answer the operator", group.index);
            return said("Unknown", "ObservationFailed", text);
        }
        if let Some(group) = active().find(|group| !is_writable(self.desired, group)) {
            let text = format!("group {} takes no messages for now", group.index);
            // While its master restarts others take them.
            return match active().any(|group| is_writable(self.desired, group)) {
                true => said("True", "AllGroupsWritable", text),
                false => said("False", "GroupWithoutMaster", text),
            };
        }
        said("True", "AllGroupsWritable", "every group takes messages")
    }

    fn progressing(&self) -> Said {
        let outcome = self.outcome;
        if self.desired.spec().stopped && !outcome.waiting.iter().any(|waiting| waiting.blocked) {
            return match self.groups.iter().any(|group| !group.members.is_empty()) {
                true => said("True", "ScalingIn", "spec.stopped is true: members stop"),
                false => said("False", "Idle", "spec.stopped is true: no member runs"),
            };
        }
        if outcome.rollout.outdated > 0 {
            let upgrade =
                self.desired.facts.cluster.status.version.as_deref() != Some(&self.desired.effective.version);
            let reason = if upgrade { "Upgrading" } else { "RollingOut" };
            let done = outcome.rollout.total - outcome.rollout.outdated;
            let waits = self
                .waiting(&["RollingOut", "WindowClosed", "AwaitingApproval"])
                .map_or("", |waiting| &waiting.message);
            let text = format!(
                "{done} of {} pods are up to date; {}",
                outcome.rollout.total,
                or(waits, "one restarts")
            );
            return said("True", reason, text);
        }
        if let Some(group) =
            self.groups.iter().find(|group| ["Draining", "Removing"].contains(&group.state.as_str()))
        {
            let waits =
                self.waiting(&["Draining", "ObservationFailed", "TimedOut", "IdleGroup", "OrderedTopic"]);
            let text = waits
                .map_or_else(|| format!("group {} goes", group.index), |waiting| waiting.message.clone());
            return said("True", "ScalingIn", text);
        }
        let wanted = i32::try_from(self.desired.replicas_per_group()).unwrap_or(i32::MAX);
        let members = |group: &GroupStatus| i32::try_from(group.members.len()).unwrap_or(i32::MAX);
        let known = self.desired.facts.cluster.status.version.is_some();
        if let Some(group) =
            self.groups.iter().find(|group| group.state == "Joining" || (known && members(group) < wanted))
        {
            let text = format!("group {} gets its members, then its topics, then messages", group.index);
            return said("True", "ScalingOut", text);
        }
        if let Some(group) = self.groups.iter().find(|group| members(group) > wanted) {
            return said(
                "True",
                "ScalingIn",
                format!("group {} has more members than it should", group.index),
            );
        }
        if !outcome.resizing.is_empty() {
            return said("True", "ResizingStorage", format!("growing: {}", outcome.resizing.join(", ")));
        }
        if let Some(waiting) = self.waiting(&["ScalingIn", "ScalingOut"]) {
            return said("True", waiting.reason, waiting.message.clone());
        }
        match outcome.waiting.iter().find(|waiting| waiting.blocked) {
            Some(blocked) => said("False", "Blocked", blocked.message.clone()),
            None => said("False", "Idle", "nothing is to be done"),
        }
    }

    fn degraded(&self) -> Said {
        if let Some(waiting) = self.waiting(&["StoreIdentityMismatch", "VolumeLost"]) {
            return said("True", waiting.reason, waiting.message.clone());
        }
        if self.desired.spec().stopped {
            return said("False", "AsExpected", "spec.stopped is true");
        }
        let wanted = usize::try_from(self.desired.replicas_per_group()).unwrap_or(usize::MAX);
        for group in self.groups.iter().filter(|group| group.state == "Active") {
            if let Some(member) = group.members.iter().find(|member| !member.ready) {
                let why = member.message.as_deref().unwrap_or_default();
                return said("True", "MemberNotReady", format!("{} is not ready: {why}", member.pod));
            }
            if group.members.len() < wanted {
                let text = format!("group {} has {} of {wanted} members", group.index, group.members.len());
                return said("True", "MemberNotReady", text);
            }
        }
        if let Some(waiting) = self.waiting(&["ListenerWithoutAddress"]) {
            return said("True", waiting.reason, waiting.message.clone());
        }
        for group in self.groups.iter().filter(|group| group.state == "Active" && is_ready(group)) {
            if let Some(unknown) = self.silence(group) {
                return unknown;
            }
            if group.in_sync.len() < group.members.len() {
                let text = format!("a slave of group {} is not in sync with its master", group.index);
                return said("True", "ReplicaOutOfSync", text);
            }
        }
        said("False", "AsExpected", "every member is ready and in sync")
    }

    /// What is said where a member is ready and does not answer: nobody knows whether it is in sync.
    fn silence(&self, group: &GroupStatus) -> Option<Said> {
        let answers =
            |pod: &String| self.desired.facts.members.get(pod).is_some_and(|answer| answer.known().is_some());
        let silent = group.members.iter().find(|member| member.ready && !answers(&member.pod))?;
        Some(said("Unknown", "ObservationFailed", format!("{} does not answer the operator", silent.pod)))
    }

    fn redundant(&self) -> Said {
        let brokers = &self.desired.effective.brokers;
        if brokers.storage_type == StorageType::EmptyDir {
            return said(
                "False",
                "EphemeralStorage",
                "messages go with their pod; use PersistentVolumeClaim to keep them",
            );
        }
        if brokers.replicas_per_group < 2 {
            return said(
                "False",
                "SingleReplica",
                "each group has one member; set brokers.replicasPerGroup to 2 or more",
            );
        }
        if brokers.replication_mode != ReplicationMode::Sync {
            let text = "a master acknowledges before its slaves have a message; use replication.mode Sync";
            return said("False", "AsyncReplication", text);
        }
        let lacking = self.groups.iter().filter(|group| group.state == "Active" && group.in_sync.len() < 2);
        let silences: Vec<Option<Said>> = lacking.map(|group| self.silence(group)).collect();
        if silences.iter().any(Option::is_none) {
            return said("False", "ReplicaOutOfSync", "a group has no slave in sync");
        }
        if let Some(unknown) = silences.into_iter().flatten().next() {
            return unknown;
        }
        let flush = match brokers.flush_mode {
            FlushMode::Sync => "power loss included",
            FlushMode::Async => "power loss of all its hosts at once not included",
        };
        said("True", "AllGroupsRedundant", format!("each group survives the loss of one member, {flush}"))
    }

    fn scale_in(&self) -> Option<Said> {
        if let Some(waiting) = self.waiting(&["ObservationFailed"]) {
            return Some(said("Unknown", waiting.reason, waiting.message.clone()));
        }
        let asked = ["Draining", "OrderedTopic", "IdleGroup", "LastWritableGroup", "TimedOut", "Refused"];
        if let Some(waiting) = self.waiting(&asked) {
            return Some(said("False", waiting.reason, waiting.message.clone()));
        }
        if self.groups.iter().any(|group| ["Draining", "Removing"].contains(&group.state.as_str())) {
            return Some(said("False", "Draining", "a drained group is removed"));
        }
        let before = &self.desired.facts.cluster.status.conditions;
        let was_asked = before.iter().any(|condition| condition.kind == "ScaleIn");
        was_asked.then(|| said("True", "Done", "groups that had to go have gone"))
    }

    fn storage_resized(&self) -> Said {
        if let Some(waiting) = self.waiting(&["ExpansionUnsupported", "ShrinkRefused"]) {
            return said("False", waiting.reason, waiting.message.clone());
        }
        let patches = self.outcome.steps.iter().any(|step| {
            matches!(&step.action, Action::OrphanStatefulSet { .. }) || step.event == Some("VolumeResized")
        });
        let waits = self.seen.groups.values().flat_map(|group| group.claims.values());
        if waits.into_iter().any(|claim| claim.file_system_resize_pending.is_some()) {
            return said(
                "False",
                "FileSystemResizePending",
                "volumes have grown; file systems grow when pods restart",
            );
        }
        match patches || !self.outcome.resizing.is_empty() {
            true => said("False", "ResizePending", "volumes grow"),
            false => said("True", "Matches", "volumes are as the manifest says"),
        }
    }
}

fn available_or(available: &Said, degraded: &Said) -> String {
    if available.status == "True" { degraded.message.clone() } else { available.message.clone() }
}

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}
