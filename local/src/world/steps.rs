//! Carries out a step, as an API server would. Nobody else writes here, so what a plan was made from still holds when
//! its steps are taken: their preconditions need no check, and no step is looked at twice.

use planner::Timestamp;
use planner::facts::{Observed, OnlyHere};
use planner::object::{Kind, Object, ObjectRef};
use planner::step::Action;
use serde_json::{Value, json};

use super::{UID, World};

/// Stands for the token, which is drawn and kept elsewhere.
const DRAWN: &str = "drawn";

/// What this machine's own address is.
const LOOPBACK: &str = "127.0.0.1";

/// What a step asks of those outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Make the topics and subscription groups of the others on a new group.
    CopyMetadata { from: Vec<u32>, to: u32 },
    /// Make what only a group has that goes on the others.
    HandOver { from: u32, what: OnlyHere },
    /// Remove a member's store.
    RemoveStore { pod: String },
}

/// What came of a step.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) wrote: bool,
    pub(super) errand: Option<Errand>,
}

impl World {
    pub(super) fn take(&mut self, action: &Action, now: Timestamp) -> Taken {
        let wrote = Taken { wrote: true, errand: None };
        match action {
            Action::AddFinalizer => {
                self.kept.finalizers.insert(planner::labels::FINALIZER.to_owned());
            }
            Action::RemoveFinalizer => self.kept.finalizers.clear(),
            Action::RecordStatus(status) => {
                self.kept.status = (**status).clone();
                self.kept.fresh();
            }
            Action::Create(object) | Action::Apply { object, .. } => self.put(object, now),
            Action::CreateSecret { object, keys } => {
                let mut object = object.clone();
                for key in keys {
                    object.json["data"][key] = json!(DRAWN);
                }
                self.put(&object, now);
            }
            Action::Delete { object, .. } => {
                self.kept.objects.remove(object);
            }
            Action::OrphanStatefulSet { name, .. } => {
                self.kept.objects.remove(&ObjectRef::new(Kind::StatefulSet, name));
            }
            // The member reads its file every second; it says already what is to be taken over.
            Action::PushConfig { .. } => return Taken::default(),
            Action::CopyMetadata { from, to } => {
                let errand = Errand::CopyMetadata { from: from.clone(), to: *to };
                return Taken { wrote: false, errand: Some(errand) };
            }
            Action::HandOver { from, what } => {
                let errand = Errand::HandOver { from: *from, what: what.clone() };
                return Taken { wrote: false, errand: Some(errand) };
            }
            Action::Evict { pod, .. } | Action::DeletePod { pod, .. } => {
                if let Some(pod) = self.pods.get_mut(pod) {
                    pod.terminating = true;
                }
            }
            Action::PatchPod { pod, patch, .. } => {
                if let Some(pod) = self.pods.get_mut(pod) {
                    pod.labels.extend(texts(patch, "/metadata/labels"));
                    pod.annotations.extend(texts(patch, "/metadata/annotations"));
                }
            }
            Action::PatchClaim { claim, patch, .. } => {
                if let Some(claim) = self.kept.claims.get_mut(claim) {
                    claim.annotations.extend(texts(patch, "/metadata/annotations"));
                    let size = patch.pointer("/spec/resources/requests/storage").and_then(Value::as_str);
                    claim.requested = size.map_or(claim.requested.clone(), str::to_owned);
                }
            }
            Action::DeleteClaim { claim, .. } => {
                self.kept.claims.remove(claim);
                let pod = claim.trim_start_matches("data-").to_owned();
                return Taken { errand: Some(Errand::RemoveStore { pod }), ..wrote };
            }
        }
        wrote
    }

    fn put(&mut self, object: &Object, now: Timestamp) {
        let number = self.kept.fresh();
        let before = self.kept.objects.get(&object.reference);
        let mut json = object.json.clone();
        let uid = before.map_or_else(|| format!("{UID}-{number}"), |before| before.uid.clone());
        let created = before.and_then(|before| before.created).unwrap_or(now);
        json["metadata"]["uid"] = json!(uid);
        json["metadata"]["resourceVersion"] = json!(number.to_string());
        json["metadata"]["generation"] = json!(number);
        json["metadata"]["creationTimestamp"] = json!(created.to_string());
        if let Some(before) = before {
            json["status"] = before.json["status"].clone();
            if object.reference.kind == Kind::Secret {
                json["data"] = before.json["data"].clone();
            }
        }
        if object.reference.kind == Kind::Service && json["spec"]["clusterIP"].is_null() {
            json["spec"]["clusterIP"] = json!(LOOPBACK);
        }
        self.kept.objects.insert(object.reference.clone(), Observed::read(json, UID));
    }
}

fn texts(patch: &Value, path: &str) -> Vec<(String, String)> {
    let fields = patch.pointer(path).and_then(Value::as_object);
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    fields.into_iter().flatten().filter_map(text).collect()
}
