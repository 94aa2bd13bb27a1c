//! Tells people in `kubectl describe` what was done and what waits for them: one event for each, beside the cluster and
//! the pod that it is about. Nothing depends on one that is lost.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use planner::facts::ClusterFacts;
use planner::step::{Action, Step};

/// How long an event may take: nobody waits for it gladly.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Kubernetes' own bound.
const LONGEST_NOTE: usize = 1_024;
const CONTROLLER: &str = "gantry.rs/operator";

/// Makes events.
#[derive(Clone)]
pub struct Events {
    pub client: Client,
    /// The operator's pod.
    pub instance: String,
}

/// What an event says.
pub struct Said<'a> {
    pub warning: bool,
    pub reason: &'a str,
    pub note: &'a str,
    /// What was done or is waited for, in one word.
    pub action: &'a str,
}

impl Events {
    /// Says it of the cluster.
    pub async fn say(&self, cluster: &ClusterFacts, said: &Said<'_>) {
        self.make(&of_cluster(cluster), None, said).await;
    }

    /// Says it of one of its pods.
    pub async fn say_of_pod(&self, cluster: &ClusterFacts, pod: &str, uid: &str, said: &Said<'_>) {
        let of_pod = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.to_owned()),
            namespace: Some(cluster.namespace.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        self.make(&of_pod, Some(&of_cluster(cluster)), said).await;
    }

    async fn make(&self, regarding: &ObjectReference, related: Option<&ObjectReference>, said: &Said<'_>) {
        let namespace = regarding.namespace.as_deref().unwrap_or_default();
        let now = Timestamp::now();
        let name = regarding.name.as_deref().unwrap_or_default();
        let mut event = Event {
            action: Some(said.action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(said.note.chars().take(LONGEST_NOTE).collect()),
            reason: Some(said.reason.to_owned()),
            regarding: Some(regarding.clone()),
            related: related.cloned(),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(if said.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        event.metadata.name = Some(format!("{name}.{:x}", now.as_nanosecond()));
        event.metadata.namespace = Some(namespace.to_owned());
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        match tokio::time::timeout(TIMEOUT, events.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!("event {} of {name}: {error}", said.reason),
            Err(_) => tracing::debug!("event {} of {name}: no answer within {TIMEOUT:?}", said.reason),
        }
    }
}

fn of_cluster(cluster: &ClusterFacts) -> ObjectReference {
    ObjectReference {
        api_version: Some(manifest::API_VERSION.to_owned()),
        kind: Some(manifest::KIND.to_owned()),
        name: Some(cluster.name.clone()),
        namespace: Some(cluster.namespace.clone()),
        uid: Some(cluster.uid.clone()),
        ..ObjectReference::default()
    }
}

/// Returns the pod that a step is about.
pub fn pod_of(step: &Step) -> Option<&str> {
    match &step.action {
        Action::PushConfig { pod, .. }
        | Action::Evict { pod, .. }
        | Action::DeletePod { pod, .. }
        | Action::PatchPod { pod, .. } => Some(pod),
        _ => None,
    }
}
