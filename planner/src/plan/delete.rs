//! The end of a cluster, in order: brokers, name servers, then volumes if they are to go, then the finalizer. What is
//! owned and left goes by itself.

use manifest::cluster::DeletionPolicy;

use crate::desired::Desired;
use crate::facts::PodFacts;
use crate::labels::{CLUSTER_UID, FINALIZER};
use crate::object::{Kind, ObjectRef};
use crate::seen::{Seen, SeenRole};
use crate::step::{Action, Class, Step, Waiting};

/// Returns the next steps towards the end.
pub(crate) fn decide(desired: &Desired, seen: &Seen) -> (Vec<Step>, Vec<Waiting>) {
    if !desired.facts.cluster.finalizers.contains(FINALIZER) {
        return (Vec::new(), Vec::new());
    }
    let wait = |message: &str| {
        (Vec::new(), vec![Waiting { reason: "Deleting", message: message.to_owned(), blocked: false }])
    };
    if desired.spec().deletion.protection {
        return (Vec::new(), vec![protected()]);
    }
    let steps: Vec<Step> = seen.groups.values().flat_map(|group| stop(desired, &group.role)).collect();
    if !steps.is_empty() {
        return (steps, Vec::new());
    }
    if seen.has_brokers() {
        return wait("brokers hand over what they have and stop");
    }
    let steps = stop(desired, &seen.name_servers);
    if !steps.is_empty() {
        return (steps, Vec::new());
    }
    if !seen.name_servers.pods.is_empty() {
        return wait("name servers stop");
    }
    if desired.spec().deletion.policy == DeletionPolicy::Delete {
        let ours = |uid: Option<&String>| uid.is_some_and(|uid| *uid == desired.facts.cluster.uid);
        let claims = seen.groups.values().flat_map(|group| group.claims.values());
        let steps: Vec<Step> = claims
            .filter(|claim| !claim.deleting && ours(claim.annotations.get(CLUSTER_UID)))
            .map(|claim| Step {
                action: Action::DeleteClaim { claim: claim.name.clone(), uid: claim.uid.clone() },
                class: Class::DataRemoval,
                reason: format!(
                    "spec.deletion.policy is Delete: volume claim {} goes with the cluster",
                    claim.name
                ),
                event: None,
            })
            .take(1)
            .collect();
        if !steps.is_empty() {
            return (steps, Vec::new());
        }
    }
    (
        vec![Step::quiet(Action::RemoveFinalizer, "everything that must not outlive the cluster has gone")],
        Vec::new(),
    )
}

/// What a cluster waits for that is deleted although it is protected.
pub(crate) fn protected() -> Waiting {
    let message = "it was deleted, which cannot be taken back, and spec.deletion.protection is true: set it to false to let \
                   the cluster go";
    Waiting { reason: "Deleting", message: message.to_owned(), blocked: true }
}

/// A StatefulSet takes its pods along. Pods without one, as when it is just made again, would stay for good.
fn stop(desired: &Desired, role: &SeenRole) -> Vec<Step> {
    let step = |name: &str, action| Step {
        action,
        class: Class::WritePause,
        reason: format!("{} is deleted: {name} stops", desired.names.cluster),
        event: None,
    };
    let delete_pod = |pod: &PodFacts| {
        let (uid, resource_version) = (pod.uid.clone(), pod.resource_version.clone());
        step(&pod.name, Action::DeletePod { pod: pod.name.clone(), uid, resource_version })
    };
    let Some(set) = role.set else {
        return role.pods.values().filter(|pod| !pod.terminating).map(|pod| delete_pod(pod)).collect();
    };
    let name = set.observed.json.pointer("/metadata/name").and_then(serde_json::Value::as_str);
    let delete = |name| {
        let object = ObjectRef::new(Kind::StatefulSet, name);
        step(name, Action::Delete { object, uid: set.observed.uid.clone() })
    };
    name.filter(|_| !set.observed.deleting).map(delete).into_iter().collect()
}
