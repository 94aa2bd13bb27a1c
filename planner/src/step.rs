//! What a plan consists of: steps to take now, and what it waits for. Steps say what and why; how they are carried out
//! is the operator's.

use std::collections::BTreeMap;

use manifest::cluster::ClusterStatus;
use serde_json::Value;

use crate::facts::OnlyHere;
use crate::object::{Kind, Object, ObjectRef};

/// What to do now. All steps of a plan may be taken in order; after them, observe and plan again. When one fails, the
/// others that disturb nobody are taken all the same, the one that does is not; but what a member does not take holds up
/// nothing, as a restart may be what mends it.
///
/// Before a step that [`Step::looks_again`] the operator observes live (past its caches), plans again with the same time,
/// and takes the step only if the new plan has the same action.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// First what disturbs nobody, then at most one step that does.
    pub steps: Vec<Step>,
    /// What is still to come and why not now.
    pub waiting: Vec<Waiting>,
    /// The status by these facts; write it when all steps are taken. Times of conditions that did not change are kept.
    pub status: ClusterStatus,
    /// Whether this cluster cannot become what the manifest says: nothing was planned, the conditions say why.
    pub refused: bool,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub action: Action,
    pub class: Class,
    /// Why, in words: the message of the event, where there is one.
    pub reason: String,
    /// The reason of the event to make when the step is taken, such as `RestartRequired`. Other steps make none.
    pub event: Option<&'static str>,
}

/// What a step costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nobody notices.
    None,
    /// A member goes, its group serves on.
    MemberLoss,
    /// A group takes no messages for a while.
    WritePause,
    /// Messages are gone.
    DataRemoval,
}

/// What a step does. Names are of objects in the cluster's namespace. Every `uid` and `resource_version` is a
/// precondition: if the object is another by now, the step fails, which harms nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Adds the finalizer `gantry.rs/cluster` to the cluster's object.
    AddFinalizer,
    /// Takes the finalizer away again; the last step of all.
    RemoveFinalizer,
    /// Replaces the status, with the cluster's resourceVersion as precondition: what it records is used from the next
    /// plan on, so that a crash forgets nothing. No other step stands beside it.
    RecordStatus(Box<ClusterStatus>),
    /// Makes a child that was not there: a POST, never an apply, so that someone else's object of that name is left
    /// alone (409: read it, [`crate::facts::Observed::foreign`]).
    Create(Object),
    /// Makes a secret that was not there, with a random token of 32 hexadecimal bytes under each key in `data`. No later
    /// step changes what is in it.
    CreateSecret { object: Object, keys: Vec<&'static str> },
    /// Server-side apply with force, manager `gantry-operator/role`.
    Apply {
        object: Object,
        uid: String,
        /// Set where a later state must not be overwritten.
        resource_version: Option<String>,
    },
    /// Deletes a child and what it owns.
    Delete { object: ObjectRef, uid: String },
    /// Deletes a StatefulSet and leaves its pods (propagation `Orphan`): it is made again with other claim templates.
    OrphanStatefulSet { name: String, uid: String },
    /// Hands a broker its live settings: `PUT /admin/v1/config`.
    PushConfig { pod: String, revision: u64, properties: BTreeMap<String, String> },
    /// Makes the topics and subscription groups on a new group's master that any of the others has; repeatable. Of what
    /// several have, the first one's.
    CopyMetadata { from: Vec<u32>, to: u32 },
    /// Makes what only a draining group has on the masters of all groups that take messages; repeatable. What one of them
    /// has by then is left as it is there.
    HandOver { from: u32, what: OnlyHere },
    /// Evicts a pod through the Eviction API, which asks its disruption budget.
    Evict { pod: String, uid: String, resource_version: String },
    /// Deletes a pod that does not run and cannot, as it is, or whose cluster goes: nobody loses anything, and no budget is
    /// asked.
    DeletePod { pod: String, uid: String, resource_version: String },
    /// Merges into a pod's metadata.
    PatchPod { pod: String, uid: String, patch: Value },
    /// Merges into a volume claim.
    PatchClaim { claim: String, uid: String, patch: Value },
    /// Deletes a volume claim, and with it, by the usual reclaim policy, the messages.
    DeleteClaim { claim: String, uid: String },
}

/// Something that is to come, and what has to happen before. One that is blocked is a warning event when it first appears.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// In one word; conditions use it where their table has it. A rollout with `AwaitingApproval` or `WindowClosed` goes on
    /// in days, perhaps.
    pub reason: &'static str,
    /// In words, with what a person can do where one has to.
    pub message: String,
    /// Whether a person has to do something.
    pub blocked: bool,
}

impl Action {
    /// Whether it only tells a member something, which members take over in their own time.
    pub fn only_tells(&self) -> bool {
        matches!(self, Action::PushConfig { .. } | Action::CopyMetadata { .. } | Action::HandOver { .. })
    }
}

impl Step {
    /// Whether an old view must not lead to this step: what disturbs someone; what is recorded for good; making a
    /// StatefulSet, which could be that of a group that was removed meanwhile; taking one away, which could have pods by
    /// now; what decides how many pods there are and what brokers are told, for old records could bring back what was
    /// removed; and the last one of all.
    pub fn looks_again(&self) -> bool {
        let lasts = match &self.action {
            Action::RecordStatus(_) | Action::RemoveFinalizer => true,
            Action::Create(Object { reference, .. }) | Action::Delete { object: reference, .. } => {
                reference.kind == Kind::StatefulSet
            }
            Action::Apply { resource_version, .. } => resource_version.is_some(),
            _ => false,
        };
        self.class != Class::None || lasts
    }

    /// Returns a step that disturbs nobody and makes no event.
    pub(crate) fn quiet(action: Action, reason: impl Into<String>) -> Step {
        Step { action, class: Class::None, reason: reason.into(), event: None }
    }
}
