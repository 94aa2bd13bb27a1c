//! What keeps pods from running and volumes from being there, in Kubernetes' own words, and what to do about it. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, PersistentVolumeClaim, Pod};
use serde_json::Value;

use super::findings::{Finding, Seen};

/// Returns a finding for each object that is not as it should be: volumes, then sets that miss pods, then pods.
pub fn findings(seen: &Seen) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        seen.claims.iter().filter_map(|claim| of_claim(claim, seen.events)).collect();
    findings.extend(seen.sets.iter().filter_map(|set| of_set(set, seen.events)));
    findings.extend(seen.pods.iter().filter_map(|pod| of_pod(pod, seen)));
    findings
}

/// What to do about a pod, by the first reason that is found.
const POD_ACTIONS: [(&str, &str); 11] = [
    (
        "ImagePullBackOff",
        "check `version`, `image.prefix`, `image.overrides` and `image.pullSecrets`; setting them back mends the pod",
    ),
    (
        "ErrImagePull",
        "check `version`, `image.prefix`, `image.overrides` and `image.pullSecrets`; setting them back mends the pod",
    ),
    (
        "ErrImageNeverPull",
        "`image.pullPolicy` is Never and the node has no such image: load it there, or set another policy",
    ),
    ("InvalidImageName", "check `image.prefix` and `image.overrides`"),
    ("CrashLoopBackOff", "its log says why it ends: kubectl logs POD --previous"),
    ("RunContainerError", "the node cannot run it: kubectl describe pod POD"),
    ("CreateContainerConfigError", "something it mounts or reads is missing: kubectl describe pod POD"),
    ("CreateContainerError", "the node cannot make its container: kubectl describe pod POD"),
    ("OOMKilled", "it needed more memory than `resources.limits.memory` allows; raise it"),
    (
        "Unschedulable",
        "make room, or change `resources.requests` or `scheduling`; antiAffinity Required needs a node per member",
    ),
    ("Evicted", "its node was short of something; it is made again elsewhere"),
];
/// Why a pod that runs and is not ready may be so, and where to look.
const NOT_READY: &str = "if it does not become ready by itself, its log says more: kubectl logs POD";

fn of_pod(pod: &Pod, seen: &Seen) -> Option<Finding> {
    let name = pod.metadata.name.as_deref()?;
    let status = pod.status.as_ref();
    let conditions = || status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    if conditions().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return None;
    }
    let container = status.and_then(|status| status.container_statuses.as_ref()?.first());
    let unschedulable =
        conditions().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let (reason, message) = if pod.metadata.deletion_timestamp.is_some() {
        ("Terminating".to_owned(), "it stops; a new one follows".to_owned())
    } else if let Some(condition) = unschedulable {
        let reason = condition.reason.clone().unwrap_or_else(|| "Unschedulable".to_owned());
        (reason, condition.message.clone().unwrap_or_default())
    } else if let Some(trouble) = container.and_then(of_container) {
        trouble
    } else {
        ("NotReady".to_owned(), said_by_operator(seen, name).unwrap_or_else(|| "it is not ready".to_owned()))
    };
    let action = match POD_ACTIONS.iter().find(|(known, _)| *known == reason) {
        Some((_, action)) => action,
        None if reason == "Terminating" => {
            "wait; on a node that is lost it stays so until the node is back, or is deleted from Kubernetes"
        }
        None => NOT_READY,
    };
    Some(Finding {
        what: format!("Pod {name}"),
        reason,
        message: with_event(&message, seen.events, "Pod", name),
        means: String::new(),
        action: action.replace("POD", name),
        link: None,
    })
}

fn of_container(container: &ContainerStatus) -> Option<(String, String)> {
    let ended = |state: Option<&k8s_openapi::api::core::v1::ContainerState>| {
        let ended = state?.terminated.as_ref()?;
        let reason = ended.reason.clone().unwrap_or_else(|| "Error".to_owned());
        let said = ended.message.as_deref().map(|text| format!(": {}", text.trim())).unwrap_or_default();
        Some((reason, format!("it ended with status {}{said}", ended.exit_code)))
    };
    let last = ended(container.last_state.as_ref());
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let (reason, message) = match waiting {
        Some(waiting) => {
            let reason = waiting.reason.clone().unwrap_or_default();
            (reason, waiting.message.clone().unwrap_or_default())
        }
        None => ended(container.state.as_ref())?,
    };
    match last {
        // What it was killed for is worth more than that it is not started again at once.
        Some((why, text)) if why == "OOMKilled" => Some((why, text)),
        Some((_, text)) => Some((reason, format!("{message}; {text} before"))),
        None => Some((reason, message)),
    }
}

/// What the operator noted of a member: why it says itself that it is not ready.
fn said_by_operator(seen: &Seen, pod: &str) -> Option<String> {
    let groups = &seen.cluster.status.brokers.group_statuses;
    groups.iter().flat_map(|group| &group.members).find(|member| member.pod == pod)?.message.clone()
}

fn of_claim(claim: &PersistentVolumeClaim, events: &[Event]) -> Option<Finding> {
    let name = claim.metadata.name.as_deref()?;
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or("none");
    let (message, action) = match phase {
        "Bound" => return None,
        "Lost" => (
            "its volume is gone from Kubernetes".to_owned(),
            format!(
                "bring the volume back; if that is impossible, give up what was on it: gantry replace-store NAME {} --yes",
                name.trim_start_matches("data-")
            ),
        ),
        _ => (
            format!("no volume is there for it yet; its storage class is {class}"),
            "look whether the storage class exists and its driver runs (kubectl get storageclass), or name another one in \
             `brokers.storage.storageClassName` of a new cluster"
                .to_owned(),
        ),
    };
    Some(Finding {
        what: format!("PersistentVolumeClaim {name}"),
        reason: phase.to_owned(),
        message: with_event(&message, events, "PersistentVolumeClaim", name),
        means: String::new(),
        action,
        link: None,
    })
}

/// A set that is not let make its pods: a quota, a policy.
fn of_set(set: &Value, events: &[Event]) -> Option<Finding> {
    let name = set.pointer("/metadata/name")?.as_str()?;
    let number = |path: &str| set.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let (wanted, there) = (number("/spec/replicas"), number("/status/replicas"));
    if there >= wanted {
        return None;
    }
    Some(Finding {
        what: format!("StatefulSet {name}"),
        reason: "MissingPods".to_owned(),
        message: with_event(&format!("{there} of {wanted} pods are there"), events, "StatefulSet", name),
        means: String::new(),
        action: "if it stays so: a quota, a policy of the namespace or an admission webhook refuses its pods; the event \
                 says which"
            .to_owned(),
        link: None,
    })
}

/// Adds the last warning about an object.
fn with_event(message: &str, events: &[Event], kind: &str, name: &str) -> String {
    let about = |event: &&Event| {
        let object = &event.involved_object;
        event.type_.as_deref() == Some("Warning")
            && object.kind.as_deref() == Some(kind)
            && object.name.as_deref() == Some(name)
    };
    let time = |event: &&Event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.or(event.event_time.as_ref().map(|time| time.0))
    };
    let last = events.iter().filter(about).max_by_key(time).and_then(|event| event.message.as_deref());
    match last.map(str::trim).filter(|text| !message.contains(text)) {
        Some(text) if message.is_empty() => text.to_owned(),
        Some(text) => format!("{message} ({text})"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use planner::facts::ClusterFacts;
    use serde_json::json;

    use super::*;

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "mq-broker-0-1" }, "status": status })).unwrap()
    }

    fn container(state: Value, last: Value) -> Value {
        json!({ "containerStatuses": [{
            "name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": state, "lastState": last,
        }] })
    }

    fn found(
        pods: &[Pod],
        claims: &[PersistentVolumeClaim],
        sets: &[Value],
        events: &[Event],
    ) -> Vec<(String, String, String)> {
        let status = json!({ "brokers": { "groupStatuses": [{ "index": 0, "members": [
            { "ordinal": 1, "pod": "mq-broker-0-1", "message": "it copies from its master" },
        ] }] } });
        let cluster =
            ClusterFacts { status: serde_json::from_value(status).unwrap(), ..ClusterFacts::default() };
        let seen = Seen { cluster: &cluster, pods, claims, sets, events, lease: None };
        let short = |finding: Finding| (finding.what, finding.reason, finding.message);
        findings(&seen).into_iter().map(short).collect()
    }

    #[test]
    fn a_pod_says_in_kubernetes_words_why_it_does_not_run() {
        let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        let unschedulable = json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available" },
        ] });
        let pull = container(
            json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } }),
            json!({}),
        );
        let crash = container(
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } }),
            json!({ "terminated": { "exitCode": 1, "reason": "Error", "message": "no space\n" } }),
        );
        let memory = container(
            json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
            json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }),
        );
        let runs = container(json!({ "running": {} }), json!({}));
        let cases = [
            (unschedulable, "Unschedulable", "0/3 nodes are available"),
            (pull, "ImagePullBackOff", "no such image"),
            (crash, "CrashLoopBackOff", "back-off 10s; it ended with status 1: no space before"),
            (memory, "OOMKilled", "it ended with status 137"),
            (runs, "NotReady", "it copies from its master"),
        ];
        assert_eq!(found(&[pod(ready)], &[], &[], &[]), []);
        for (status, reason, message) in cases {
            let expected = ("Pod mq-broker-0-1".to_owned(), reason.to_owned(), message.to_owned());
            assert_eq!(found(&[pod(status)], &[], &[], &[]), [expected]);
        }
    }

    #[test]
    fn volumes_and_missing_pods_come_with_their_last_warning() {
        let claim = |phase: &str| -> PersistentVolumeClaim {
            let claim = json!({
                "metadata": { "name": "data-mq-broker-0-0" }, "spec": { "storageClassName": "fast" },
                "status": { "phase": phase },
            });
            serde_json::from_value(claim).unwrap()
        };
        let event = |kind: &str, name: &str, time: &str, message: &str| -> Event {
            let event = json!({
                "metadata": {}, "type": "Warning", "message": message, "lastTimestamp": time,
                "involvedObject": { "kind": kind, "name": name },
            });
            serde_json::from_value(event).unwrap()
        };
        let events = [
            event("PersistentVolumeClaim", "data-mq-broker-0-0", "2030-01-01T00:00:02Z", "no such class"),
            event("PersistentVolumeClaim", "data-mq-broker-0-0", "2030-01-01T00:00:01Z", "older"),
            event("StatefulSet", "mq-broker-0", "2030-01-01T00:00:01Z", "exceeded quota"),
        ];
        let set = json!({ "metadata": { "name": "mq-broker-0" }, "spec": { "replicas": 2 }, "status": { "replicas": 1 } });
        let found = found(&[], &[claim("Pending"), claim("Lost"), claim("Bound")], &[set], &events);
        let messages: Vec<&str> = found.iter().map(|(_, _, message)| message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "no volume is there for it yet; its storage class is fast (no such class)",
                "its volume is gone from Kubernetes (no such class)",
                "1 of 2 pods are there (exceeded quota)",
            ]
        );
    }
}
