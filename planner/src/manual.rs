//! Every reason of a condition in words: what it means and what to do. `gantry explain` says them, and the page on
//! troubleshooting is made of them.

use std::fmt::Write;

use crate::conditions::REASONS;

/// A reason in words. `NAME` stands for the cluster's name; code is in backticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    pub name: &'static str,
    pub means: &'static str,
    /// The next action of a person; that nothing is to be done is said too.
    pub action: &'static str,
}

/// The page on troubleshooting, below the project's root; each reason has a section with its name.
pub const PAGE: &str = "docs/troubleshooting.md";

impl Reason {
    /// Returns the place of its section.
    pub fn link(&self) -> String {
        format!("{PAGE}#{}", self.name.to_lowercase())
    }

    /// Returns where it stands, in words: the conditions, or what else.
    fn places(&self) -> String {
        let conditions = REASONS.iter().filter(|(_, reasons)| reasons.contains(&self.name));
        let mut places: Vec<String> = conditions.map(|(condition, _)| format!("`{condition}`")).collect();
        let elsewhere = ELSEWHERE.iter().filter(|(name, _)| *name == self.name);
        places.extend(elsewhere.map(|(_, place)| (*place).to_owned()));
        places.join(", ")
    }
}

/// Reasons that stand in no condition.
const ELSEWHERE: [(&str, &str); 3] = [
    ("SpecIgnored", "events"),
    ("StepFailed", "events"),
    ("WindowClosed", "the message of `Progressing`, and what `gantry plan` says"),
];

/// Returns a reason by its name.
pub fn reason(name: &str) -> Option<&'static Reason> {
    MANUAL.iter().find(|reason| reason.name == name)
}

const fn entry(name: &'static str, means: &'static str, action: &'static str) -> Reason {
    Reason { name, means, action }
}

/// All reasons, ordered by name.
pub const MANUAL: &[Reason] = &[
    entry(
        "Accepted",
        "The manifest keeps all rules and is what runs, or is being brought about.",
        "Nothing.",
    ),
    entry(
        "AllGroupsRedundant",
        "Each group survives the loss of one member without losing an acknowledged message.",
        "Nothing.",
    ),
    entry(
        "AllGroupsWritable",
        "Every group has a master that takes messages, and a name server is ready.",
        "Nothing.",
    ),
    entry("AllInSync", "Everything is as the manifest says, and all members are in sync.", "Nothing."),
    entry("AsExpected", "No redundancy is lost: every member is ready and in sync.", "Nothing."),
    entry(
        "AsyncReplication",
        "A master acknowledges a message before its slaves have it: what it had not sent goes with its disk.",
        "Nothing, if that is what you want. Otherwise set `brokers.replication.mode: Sync`; it changes live and needs at \
         least two members per group.",
    ),
    entry(
        "AwaitingApproval",
        "Slaves have restarted, and `brokers.rollout.approval: Supervised` lets masters wait for a person.",
        "Look at the cluster, then `gantry approve NAME`. To go on without asking, set the approval to `Automatic`.",
    ),
    entry(
        "Blocked",
        "Something that a person has to do stands in the way of what the manifest asks for.",
        "Read the condition's message: it names the object and the way out. `gantry explain NAME` lists everything that \
         waits.",
    ),
    entry(
        "Creating",
        "The cluster is made for the first time: objects, pods, then everything in sync.",
        "Wait. If it takes more than a few minutes, `gantry explain NAME` names the pod or volume that it waits for: most \
         often an image that cannot be pulled, a volume that no storage class provides, or a node without room.",
    ),
    entry(
        "Degraded",
        "The cluster works, but redundancy is lost or something waits for a person.",
        "Look at the condition `Degraded` and its reason. Members that restart come back by themselves.",
    ),
    entry(
        "Deleting",
        "The cluster is being deleted: brokers go first, then name servers, then, if `deletion.policy: Delete`, volumes.",
        "Wait. If `deletion.protection` is true, the cluster is looked after as ever until you set that to false; the deletion \
         itself cannot be taken back. Only if the operator is gone for good: \
         `kubectl patch rktmq NAME --type merge -p '{\"metadata\":{\"finalizers\":null}}'` gives up the order, and Kubernetes \
         takes what the cluster made, without its volumes.",
    ),
    entry("Done", "The groups that had to go have gone.", "Nothing."),
    entry(
        "Draining",
        "A group that goes takes no messages any more and waits until its consumers have read everything.",
        "Wait, and keep its consumers running. `gantry status NAME` shows how many messages are left and whose. To take \
         the group back, raise `brokers.groups` again.",
    ),
    entry(
        "EphemeralStorage",
        "Messages are kept in the pod and go with it (`brokers.storage.type: EmptyDir`).",
        "Nothing, if it is a test. The type cannot change: for messages that stay make a cluster with \
         `PersistentVolumeClaim`.",
    ),
    entry(
        "ExpansionUnsupported",
        "The manifest asks for larger volumes, and their storage class does not let volumes grow.",
        "Set `allowVolumeExpansion: true` on the storage class if its driver can do it, or set `brokers.storage.size` back \
         to what it was.",
    ),
    entry(
        "FieldIgnored",
        "The manifest is applied, but a field in it has no effect here; the message names it.",
        "Remove the field, or provide what it needs, such as the kinds of the Prometheus operator for `monitoring`.",
    ),
    entry(
        "FileSystemResizePending",
        "Volumes have grown, and the file systems on them have not yet. Most grow while they are mounted; after three \
         minutes the operator restarts the pods of the others, one by one and each once.",
        "Wait. If it stays, the events of the volume claim say what fails; a restart is asked for with the annotation \
         `gantry.rs/restart`.",
    ),
    entry(
        "ForbiddenConfigKey",
        "A `config` map has a key that another field sets, or that follows from who the member is.",
        "Remove the key; the message names the field that sets it, if there is one. What runs is left as it is.",
    ),
    entry(
        "GroupWithoutMaster",
        "A group takes no messages: its master is not ready. Its slaves serve consumers meanwhile.",
        "`gantry explain NAME` says why the master's pod does not run: most often its image, its volume, its node, or its \
         store. With a fixed mode no other member takes over; the master comes back with its own volume.",
    ),
    entry("Idle", "Nothing is to be done.", "Nothing."),
    entry(
        "IdleGroup",
        "A group that goes has messages for a consumer group of which nobody runs.",
        "Start its consumers, or delete the consumer group if nobody needs the messages, or set `brokers.scaleIn.idleGroups: \
         Drop` with `ignoreIdleGroupsAfter`.",
    ),
    entry(
        "InvalidSpec",
        "The manifest breaks a rule. What ran before goes on as it is.",
        "Mend the fields that the message names, and apply it again. `gantry plan FILE --live` checks before you apply.",
    ),
    entry(
        "LastWritableGroup",
        "The last group that takes messages would go.",
        "Set `brokers.groups` to 1 or more. To stop everything and keep the volumes, set `stopped: true`.",
    ),
    entry(
        "ListenerWithoutAddress",
        "Members are ready, and nobody knows at which address the clients of a listener reach them: routes leave them out, so \
         these clients find no broker. Clients of other listeners notice nothing.",
        "Do what the message says. Of `NodePort`: nodes need an address of the type in `listeners[].nodePort.addressType`, and \
         the operator must be allowed to read nodes. Of `LoadBalancer`: Kubernetes needs a controller that makes load \
         balancers; events of the service (`kubectl describe service`) say what it waits for.",
    ),
    entry("Matches", "Volumes are as the manifest says.", "Nothing."),
    entry(
        "MemberNotReady",
        "A member of a group is not ready, and the group works without it.",
        "`gantry explain NAME` says why its pod does not run. A pod on a node that is lost comes back when the node does, \
         or when you delete the node from Kubernetes.",
    ),
    entry(
        "NameCollision",
        "An object that the cluster needs exists and belongs to someone else, or volumes are left of an earlier cluster of \
         this name.",
        "Of an object: delete or rename it, or name the cluster differently. Of volumes: to go on with their messages \
         annotate the cluster with `gantry.rs/adopt` and the uid from the message; to start empty delete the claims.",
    ),
    entry(
        "NoNameServer",
        "No name server is ready: clients that start find no routes. Those that run go on with what they know.",
        "`gantry explain NAME` says why their pods do not run.",
    ),
    entry(
        "ObservationFailed",
        "A broker runs and does not answer the operator: how far it is, or what its consumers have read, nobody knows.",
        "Look whether the operator's pods reach port 5558 of the brokers' pods: a NetworkPolicy of your own, or a node's \
         network. The broker's log (`kubectl logs`) says if it refuses the operator's token.",
    ),
    entry(
        "OrderedTopic",
        "A group that goes has unread messages of a topic whose messages are in order, or the order configuration of a topic \
         names the group. Messages with one key that are sent meanwhile go to another group, where they may be read before \
         those that are left.",
        "Stop the topic's producers until everything is read; then the group goes by itself, and they can start again. To \
         keep the order throughout, stop them before you lower `brokers.groups`. If the message speaks of the order \
         configuration, put it again without the group: `mqadmin updateOrderConf -m put`. `brokers.scaleIn.policy: Force` \
         skips the whole drain: unread messages of all topics stay behind on the group's volumes, or are deleted with them.",
    ),
    entry(
        "Paused",
        "`paused: true`: the operator writes nothing. Members go on, and pods that die are started again. A cluster that is \
         deleted goes all the same.",
        "Set `paused: false` when you are done.",
    ),
    entry(
        "Refused",
        "Fewer groups are asked for, and `brokers.scaleIn.policy: Refuse` lets none go.",
        "Raise `brokers.groups` again, or set the policy to `Drain`.",
    ),
    entry(
        "ReplicaOutOfSync",
        "A slave has not all of its master's messages.",
        "Wait: it catches up by itself, `gantry status NAME` shows how far it is. If it never does, its disk or network is \
         slower than what producers send, or `brokers.replication.catchUpBytesPerSecond` holds it back.",
    ),
    entry(
        "Requested",
        "The manifest asks for it (`paused` or `stopped`).",
        "Set the field to false when you are done.",
    ),
    entry("ResizePending", "Volumes grow.", "Wait; events of the volume claims say how the storage does."),
    entry("ResizingStorage", "Volumes grow.", "Wait; events of the volume claims say how the storage does."),
    entry(
        "RollingOut",
        "Pods restart one by one because what they are made of has changed: slaves first, then masters.",
        "Wait. If it stands still, the first pod that did not come back stops it: `gantry explain NAME` names it, and \
         setting the manifest back mends it.",
    ),
    entry(
        "ScalingIn",
        "Groups, members or name servers go.",
        "Wait; of a group that drains, `gantry status NAME` shows how many messages are left to read.",
    ),
    entry(
        "ScalingOut",
        "Groups or members come: their pods start, copy what they need, and then take part.",
        "Wait. A new slave copies all of its master's messages first.",
    ),
    entry(
        "ShrinkRefused",
        "The manifest asks for smaller volumes than there are, and volumes only grow.",
        "Set `brokers.storage.size` back. For smaller volumes make a second cluster with them, move producers to it, let \
         consumers read the old one empty, and delete it.",
    ),
    entry(
        "SingleReplica",
        "Each group has one member: with its disk its messages go, and while it restarts its group takes none.",
        "Nothing, if that is what you want. Otherwise set `brokers.replicasPerGroup` to 2 or more.",
    ),
    entry(
        "SpecIgnored",
        "The manifest as it was edited last cannot be applied. What ran before goes on as it is.",
        "Mend what the event names; the condition `SpecAccepted` says it too.",
    ),
    entry(
        "StepFailed",
        "A broker that is ready has not taken over its settings for more than a minute. The operator goes on trying.",
        "Look at the broker's log and the operator's: most often the operator does not reach port 5558 of the broker's pod. \
         Nothing restarts for it; `kubectl delete pod POD` makes the broker read its settings anew.",
    ),
    entry(
        "Stopped",
        "`stopped: true`: no member runs, the volumes stay.",
        "Set `stopped: false` to start it.",
    ),
    entry(
        "StoragePressure",
        "A master's disk is so full that it refuses messages.",
        "Raise `brokers.storage.size`, or keep messages for less time (`brokers.storage.fileReservedTime`); both need no \
         restart of producers.",
    ),
    entry(
        "StoreIdentityMismatch",
        "A member's volume has the store of another member: volumes were swapped or restored to the wrong place. The member \
         runs and serves nobody, and its volume is not touched.",
        "Bring its own volume back. Only if that is impossible, give up what was on it: `gantry replace-store NAME POD --yes`, \
         then delete the pod and its volume claim, which has the other member's messages on it.",
    ),
    entry(
        "TimedOut",
        "A group drains for longer than `brokers.scaleIn.drainTimeout` (with policy `Force`, a minute): consumers have \
         messages to read, or a member or a name server does not answer. Nothing is removed.",
        "The message names what is missing: start the consumers that `gantry status NAME` names, or the member; or raise \
         `brokers.groups` to take the group back. A group whose master is gone for good goes with `brokers.scaleIn.policy: \
         Force`, which gives up what is on it.",
    ),
    entry(
        "Unavailable",
        "A group takes no messages, or no name server is ready.",
        "Look at the condition `Available` and its reason.",
    ),
    entry(
        "UnknownConfigKey",
        "A `config` map has a key that nobody knows.",
        "Correct the key (the message has a guess), or remove it. What runs is left as it is.",
    ),
    entry(
        "UnknownGroupIndex",
        "`brokers.remove` names a group that there has never been.",
        "Take the number out of the list; `gantry status NAME` shows the groups there are.",
    ),
    entry(
        "UnsupportedVersionJump",
        "The manifest asks for a version that is too far from the one that runs.",
        "Go one minor version at a time; the message names both.",
    ),
    entry(
        "Upgrading",
        "Pods restart one by one with another version: slaves first, then masters.",
        "Wait. If it stands still, the first pod that did not come back stops it: `gantry explain NAME` names it, and \
         setting `version` back mends it.",
    ),
    entry(
        "VolumeLost",
        "A member's volume is gone, or empty although it had a store. The member is held: what was on it might come back.",
        "Bring the volume back. If that is impossible, `gantry replace-store NAME POD --yes` gives up what was on it: a slave \
         copies from its master; of a master what only it had is lost. `brokers.storage.onLostVolume: Replace` does so for \
         slaves by itself.",
    ),
    entry(
        "WindowClosed",
        "Pods have to restart, and no window of `brokers.rollout.window` is open. Groups that have begun go on.",
        "Wait. To restart them now, take the windows out of the manifest, and put them back when all is done.",
    ),
];

const HEAD: &str = "<!-- Generated from planner/src/manual.rs by `make generate`; a test fails when it is stale. -->
# Troubleshooting

A cluster says by itself what is wrong and what to do:

```bash
kubectl get rktmq                      # READY, and in STATUS the reason why not
kubectl gantry explain NAME            # condition, object, cause, what to do
kubectl describe rktmq NAME            # all conditions, and the events
```

`STATUS` is the reason of the condition `Ready`. Each reason has a section below. `NAME` is the cluster's name, fields are
those of `spec` in [manifest.md](manifest.md). Where the operator itself is in doubt:

```bash
kubectl logs -n gantry-system -l app.kubernetes.io/name=gantry-operator --prefix --tail=100
kubectl get pods -n gantry-system
```

| Condition | Asks | Reasons |
|---|---|---|
";

/// What a condition asks.
const QUESTIONS: [(&str, &str); 10] = [
    ("SpecAccepted", "Is the manifest one that can be applied?"),
    ("Ready", "Is everything as the manifest says, and in sync?"),
    ("Available", "Does every group take messages, and are routes to be found?"),
    ("Progressing", "Is the operator changing something?"),
    ("Degraded", "Is redundancy lost, or a listener unreachable, while the service works?"),
    ("Redundant", "Does each group survive the loss of a member without loss of an acknowledged message?"),
    ("ScaleIn", "Have the groups gone that had to go? Only while it was asked for"),
    ("StorageResized", "Are the volumes as large as the manifest says?"),
    ("Paused", "Is the operator told to keep its hands off? Absent otherwise"),
    ("Stopped", "Are all members told to stop? Absent otherwise"),
];

/// Returns the page on troubleshooting.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for (condition, reasons) in REASONS {
        let question =
            QUESTIONS.iter().find(|(known, _)| known == condition).map_or("", |(_, question)| question);
        let links: Vec<String> =
            reasons.iter().map(|reason| format!("[{reason}](#{})", reason.to_lowercase())).collect();
        let _ = writeln!(page, "| `{condition}` | {question} | {} |", links.join(", "));
    }
    for reason in MANUAL {
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n**What to do.** {}\n\nStands in: {}.\n",
            reason.name,
            reason.means,
            reason.action,
            reason.places()
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_is_in_the_manual_and_the_manual_has_no_other() {
        let elsewhere = ELSEWHERE.iter().map(|(reason, _)| *reason);
        let in_conditions = REASONS.iter().flat_map(|(_, reasons)| reasons.iter().copied());
        let known: BTreeSet<&str> = in_conditions.chain(elsewhere).collect();
        let written: BTreeSet<&str> = MANUAL.iter().map(|reason| reason.name).collect();
        assert_eq!(written, known);
        assert_eq!(written.len(), MANUAL.len(), "one stands twice");
    }

    #[test]
    fn every_condition_has_its_question() {
        let asked: BTreeSet<&str> = QUESTIONS.iter().map(|(condition, _)| *condition).collect();
        assert_eq!(asked, REASONS.iter().map(|(condition, _)| *condition).collect());
    }

    #[test]
    fn the_committed_page_is_current_and_links_of_reasons_lead_to_their_sections() {
        let committed = include_str!("../../docs/troubleshooting.md");
        assert!(committed == page(), "docs/troubleshooting.md is stale: run make generate");
        let anchors: BTreeSet<String> =
            committed.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect();
        for reason in MANUAL {
            let (file, anchor) =
                reason.link().split_once('#').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            assert!(file == PAGE && anchors.contains(&anchor), "{anchor}");
        }
    }

    #[test]
    fn entries_are_in_order_and_whole_sentences() {
        let mut names: Vec<String> = MANUAL.iter().map(|reason| reason.name.to_lowercase()).collect();
        let written = names.clone();
        names.sort();
        assert_eq!(written, names);
        for reason in MANUAL {
            for text in [reason.means, reason.action] {
                assert!(text.ends_with(['.', ')']) && !text.contains("  "), "{}: {text}", reason.name);
            }
        }
    }
}
