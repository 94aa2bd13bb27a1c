//! What becomes of a StatefulSet: pods for all its places, each with a volume claim and a place for its ports. Pods
//! whose template has changed stay until somebody evicts them.

use std::collections::BTreeSet;

use planner::facts::{ClaimFacts, PodFacts};
use planner::names::ordinal_of;
use planner::object::{Kind, ObjectRef};
use serde_json::{Value, json};

use super::{Claim, World, group_of};

impl World {
    /// Makes the pods that are missing and gives up those that are too many. Returns whether anything changed.
    pub(super) fn run_sets(&mut self) -> bool {
        let mut sets: Vec<(Option<u32>, ObjectRef)> = self
            .kept
            .objects
            .iter()
            .filter(|(reference, _)| reference.kind == Kind::StatefulSet)
            .map(|(reference, set)| (group_label(&set.json), reference.clone()))
            .collect();
        // By number: the first broker has the first ports.
        sets.sort();
        let mut changed = false;
        for (_, set) in sets {
            changed |= self.run_set(&set);
        }
        self.free_places();
        changed
    }

    fn run_set(&mut self, set: &ObjectRef) -> bool {
        let Some(observed) = self.kept.objects.get(set) else { return false };
        let json = observed.json.clone();
        let replicas = json.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(0);
        let mut changed = false;
        for pod in self.pods.values_mut().filter(|pod| is_of(&pod.name, &set.name) && !pod.terminating) {
            if ordinal_of(&pod.name).is_some_and(|ordinal| u64::from(ordinal) >= replicas) {
                pod.terminating = true;
                changed = true;
            }
        }
        for ordinal in 0..replicas {
            let name = format!("{}-{ordinal}", set.name);
            if !self.pods.contains_key(&name) {
                self.make_pod(&name, &json);
                changed = true;
            }
        }
        let pods = self.pods.keys().filter(|pod| is_of(pod, &set.name)).count();
        let generation = json["metadata"]["generation"].clone();
        let status = json!({ "replicas": pods, "observedGeneration": generation });
        if let Some(observed) = self.kept.objects.get_mut(set).filter(|set| set.json["status"] != status) {
            observed.json["status"] = status;
            changed = true;
        }
        changed
    }

    fn make_pod(&mut self, name: &str, set: &Value) {
        if let Some(claim) = ClaimFacts::of_template(set, name) {
            let ClaimFacts { name, labels, annotations, requested, .. } = claim;
            self.kept.claims.entry(name).or_insert(Claim { labels, annotations, requested });
        }
        let number = self.kept.fresh().to_string();
        let pod =
            PodFacts { uid: number.clone(), resource_version: number, ..PodFacts::of_template(set, name) };
        if group_of(&pod).is_some() {
            self.give_place(name);
        }
        self.pods.insert(name.to_owned(), pod);
    }

    /// The first place that nobody has.
    fn give_place(&mut self, pod: &str) {
        if self.kept.places.contains_key(pod) {
            return;
        }
        let taken: BTreeSet<u32> = self.kept.places.values().copied().collect();
        let free = (0..).find(|place| !taken.contains(place)).unwrap_or(u32::MAX);
        self.kept.places.insert(pod.to_owned(), free);
    }

    /// A member keeps its ports as long as its group is there, also while it is stopped.
    fn free_places(&mut self) {
        let objects = &self.kept.objects;
        let pods = &self.pods;
        self.kept.places.retain(|pod, _| {
            let set = pod.rsplit_once('-').map_or("", |(set, _)| set);
            pods.contains_key(pod) || objects.contains_key(&ObjectRef::new(Kind::StatefulSet, set))
        });
    }
}

fn group_label(set: &Value) -> Option<u32> {
    set.pointer("/metadata/labels")?.get(planner::labels::GROUP)?.as_str()?.parse().ok()
}

/// Whether a pod is one of a StatefulSet.
fn is_of(pod: &str, set: &str) -> bool {
    pod.rsplit_once('-').is_some_and(|(start, _)| start == set)
}
