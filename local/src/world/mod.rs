//! The cluster as the planner sees it, pure: what an API server would hold, what its controllers would do. Members are
//! pods that somebody else runs; nothing here knows of processes and folders.
//!
//! | File | Idea |
//! |---|---|
//! | `steps.rs` | carries out a step |
//! | `sets.rs` | what becomes of a StatefulSet: pods, volume claims, ports |
//! | `kept.rs` | what outlives the runner, and its text |

use std::collections::BTreeMap;

use manifest::cluster::RocketMQCluster;
use manifest::{Problems, Validated};
use members::Answers;
use planner::facts::{
    Answer, ClaimFacts, ClusterFacts, Facts, OperatorSettings, PodFacts, StorageClassFacts,
};
use planner::labels::{COMPONENT, GROUP};
use planner::names::{Names, ordinal_of};
use planner::object::{Kind, ObjectRef};
use planner::step::Plan;
use planner::{Timestamp, plan};
use serde_json::Value;

pub(crate) use kept::{Claim, Kept};
pub(crate) use steps::Errand;

mod kept;
mod sets;
mod steps;
#[cfg(test)]
mod tests;

/// All our clusters have the same: a data folder says whose they are.
const UID: &str = "local";
/// All folders are of one kind, which grows as it likes.
const STORAGE_CLASS: &str = "folder";
const NAMESPACE: &str = "default";
/// A plan is followed until nothing comes of it; more rounds than that are a defect.
const MOST_ROUNDS: usize = 100;

/// Everything there is of a cluster.
pub(crate) struct World {
    manifest: Validated,
    pub(crate) kept: Kept,
    /// By name.
    pub(crate) pods: BTreeMap<String, PodFacts>,
}

/// What came of a pass.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// The last plan, of which nothing more comes without members doing something.
    pub(crate) plan: Plan,
    /// What was done: the word for the event, and the reason.
    pub(crate) done: Vec<(&'static str, String)>,
    pub(crate) errands: Vec<Errand>,
    /// Whether anything was written.
    pub(crate) wrote: bool,
}

/// Why a manifest is not followed, in its user's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) Vec<String>);

impl From<Problems> for Refused {
    fn from(problems: Problems) -> Refused {
        Refused(problems.0.iter().map(ToString::to_string).collect())
    }
}

impl World {
    /// Returns a cluster of what is kept, without any pods. The manifest may differ from the one that is kept.
    ///
    /// # Errors
    /// The manifest cannot follow the one that is kept; the user changes it.
    pub(crate) fn new(manifest: Validated, kept: Kept, now: Timestamp) -> Result<World, Refused> {
        let before = kept.manifest.clone().map(manifest::validate).and_then(Result::ok);
        let mut world =
            World { manifest: before.unwrap_or_else(|| manifest.clone()), kept, pods: BTreeMap::new() };
        world.follow(manifest, &Answers::default(), now)?;
        Ok(world)
    }

    /// Takes over an edited manifest; one that is refused changes nothing.
    ///
    /// # Errors
    /// Why this cluster cannot become that one, with what to do.
    pub(crate) fn follow(
        &mut self,
        manifest: Validated,
        answers: &Answers,
        now: Timestamp,
    ) -> Result<(), Refused> {
        manifest::check_change(&self.manifest, &manifest)?;
        let plan = plan(&manifest, &self.facts_for(&manifest, answers), now);
        if plan.refused {
            let why = plan.status.conditions.into_iter().filter(|condition| condition.kind == "SpecAccepted");
            return Err(Refused(why.map(|condition| condition.message).collect()));
        }
        if self.kept.manifest.as_ref() != Some(manifest.cluster()) {
            self.kept.generation += 1;
            self.kept.manifest = Some(manifest.cluster().clone());
        }
        self.manifest = manifest;
        Ok(())
    }

    /// Follows plans until nothing comes of them. Pods that are to be or to go are so afterwards; starting and stopping
    /// them is the caller's.
    pub(crate) fn settle(&mut self, answers: &Answers, now: Timestamp) -> Settled {
        let mut settled = Settled::default();
        for _ in 0..MOST_ROUNDS {
            let plan = plan(&self.manifest, &self.facts(answers), now);
            let mut wrote = false;
            for step in &plan.steps {
                let outcome = self.take(&step.action, now);
                wrote |= outcome.wrote;
                settled.errands.extend(outcome.errand.filter(|errand| !settled.errands.contains(errand)));
                if let Some(event) = step.event.filter(|_| outcome.wrote) {
                    settled.done.push((event, step.reason.clone()));
                }
            }
            self.kept.status = plan.status.clone();
            settled.plan = plan;
            // Pods come and go when all else is as it should be: one that starts is made of what holds by then.
            let wrote = wrote || self.run_sets();
            settled.wrote |= wrote;
            if !wrote {
                break;
            }
        }
        settled
    }

    /// Returns the manifest that is followed.
    pub(crate) fn manifest(&self) -> &Validated {
        &self.manifest
    }

    pub(crate) fn names(&self) -> Names {
        Names::of(&self.manifest, NAMESPACE)
    }

    pub(crate) fn facts(&self, answers: &Answers) -> Facts {
        self.facts_for(&self.manifest, answers)
    }

    fn facts_for(&self, manifest: &Validated, answers: &Answers) -> Facts {
        let metadata = &manifest.cluster().metadata;
        let class = StorageClassFacts { can_expand: true, is_default: true };
        Facts {
            operator: OperatorSettings {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..OperatorSettings::default()
            },
            cluster: ClusterFacts {
                name: manifest.name().to_owned(),
                namespace: NAMESPACE.to_owned(),
                uid: UID.to_owned(),
                resource_version: self.kept.last.to_string(),
                generation: self.kept.generation,
                annotations: metadata.annotations.clone().unwrap_or_default(),
                finalizers: self.kept.finalizers.clone(),
                deleting: false,
                status: self.kept.status.clone(),
            },
            objects: self.kept.objects.clone(),
            pods: self.pods.values().cloned().collect(),
            claims: self.kept.claims.iter().map(|(name, claim)| claim_facts(name, claim)).collect(),
            members: answers.members.clone(),
            storage_classes: Answer::Known(BTreeMap::from([(STORAGE_CLASS.to_owned(), class)])),
            nodes: Answer::Unknown,
            drains: answers.drains.clone(),
            copies: answers.copies.clone(),
        }
    }

    /// Returns all pods, name servers first, then brokers by group.
    pub(crate) fn pods_in_order(&self) -> Vec<&PodFacts> {
        let mut pods: Vec<&PodFacts> = self.pods.values().collect();
        pods.sort_by_key(|pod| (group_of(pod), ordinal(pod)));
        pods
    }

    /// Returns a group's first member, if it is there.
    pub(crate) fn master(&self, group: u32) -> Option<&PodFacts> {
        self.pods.get(&self.names().broker(group, 0))
    }

    /// A pod's process has ended as it was told.
    pub(crate) fn pod_has_gone(&mut self, name: &str) {
        self.pods.remove(name);
    }

    /// Returns the pod's file from the ConfigMap that its template names for settings that hold from its start.
    pub(crate) fn static_settings(&self, pod: &PodFacts) -> Option<String> {
        let live = group_of(pod).map(|group| self.names().live_config(group));
        let name = pod.config_maps.iter().find(|name| Some(*name) != live.as_ref())?;
        self.file_of(name, pod)
    }

    /// Returns the pod's file with settings that it takes over while it runs; name servers have none.
    pub(crate) fn live_settings(&self, pod: &PodFacts) -> Option<String> {
        self.file_of(&self.names().live_config(group_of(pod)?), pod)
    }

    fn file_of(&self, config_map: &str, pod: &PodFacts) -> Option<String> {
        let object = self.kept.objects.get(&ObjectRef::new(Kind::ConfigMap, config_map))?;
        let text = object.json.get("data")?.get(format!("{}.properties", pod.name)).and_then(Value::as_str);
        text.map(str::to_owned)
    }
}

impl Kept {
    /// Notes the store of a member that an earlier runner left, so that it is taken and not made anew.
    pub(crate) fn adopt(&mut self, manifest: &RocketMQCluster, pod: &str, group: u32) {
        let size = manifest.spec.brokers.storage.size.clone().unwrap_or_default();
        let cluster = manifest.metadata.name.clone().unwrap_or_default();
        let labels = planner::labels::selector(&cluster, planner::labels::Part::Group(group));
        let claim = Claim { labels, annotations: BTreeMap::new(), requested: size };
        self.claims.insert(format!("data-{pod}"), claim);
    }
}

fn claim_facts(name: &str, claim: &Claim) -> ClaimFacts {
    ClaimFacts {
        name: name.to_owned(),
        uid: name.to_owned(),
        labels: claim.labels.clone(),
        annotations: claim.annotations.clone(),
        requested: claim.requested.clone(),
        capacity: Some(claim.requested.clone()),
        storage_class: Some(STORAGE_CLASS.to_owned()),
        ..ClaimFacts::default()
    }
}

/// Returns the number of a broker's group; `None` is a name server.
pub(crate) fn group_of(pod: &PodFacts) -> Option<u32> {
    pod.labels.get(GROUP)?.parse().ok()
}

/// Returns whether it is a broker.
pub(crate) fn is_broker(pod: &PodFacts) -> bool {
    pod.labels.get(COMPONENT).is_some_and(|component| component == "broker")
}

pub(crate) fn ordinal(pod: &PodFacts) -> u32 {
    ordinal_of(&pod.name).unwrap_or(0)
}
