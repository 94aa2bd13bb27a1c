//! Facts arranged by group and member. Nothing is decided here.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::build::pod::template_hash;
use crate::desired::Desired;
use crate::facts::{Answer, ClaimFacts, MemberFacts, Observed, PodFacts, StoreState};
use crate::labels::{COMPONENT, GROUP};
use crate::names::ordinal_of;
use crate::object::{Kind, ObjectRef};

/// Everything seen of the cluster's members.
pub(crate) struct Seen<'a> {
    /// Groups of which there is anything at all, by number.
    pub(crate) groups: BTreeMap<u32, SeenGroup<'a>>,
    pub(crate) name_servers: SeenRole<'a>,
}

/// A StatefulSet and its pods.
#[derive(Default)]
pub(crate) struct SeenRole<'a> {
    pub(crate) set: Option<SeenSet<'a>>,
    /// By ordinal.
    pub(crate) pods: BTreeMap<u32, &'a PodFacts>,
}

/// A broker group.
#[derive(Default)]
pub(crate) struct SeenGroup<'a> {
    pub(crate) role: SeenRole<'a>,
    /// By ordinal.
    pub(crate) claims: BTreeMap<u32, &'a ClaimFacts>,
    /// Of members that answered, by ordinal.
    pub(crate) answers: BTreeMap<u32, &'a MemberFacts>,
}

/// A StatefulSet.
#[derive(Clone, Copy)]
pub(crate) struct SeenSet<'a> {
    pub(crate) observed: &'a Observed,
    pub(crate) replicas: u32,
    /// Whether its controller has seen its last change, so that a pod made now is made of it.
    pub(crate) settled: bool,
    /// How many pods its controller says there are.
    pub(crate) pods: u32,
    pub(crate) template: Option<&'a str>,
}

impl<'a> Seen<'a> {
    pub(crate) fn of(desired: &Desired<'a>) -> Seen<'a> {
        let facts = desired.facts;
        let mut groups: BTreeMap<u32, SeenGroup<'a>> = BTreeMap::new();
        let mut name_servers = SeenRole::default();
        let set_name = desired.names.name_servers();
        for (reference, observed) in &facts.objects {
            if reference.kind != Kind::StatefulSet || observed.foreign {
                continue;
            }
            if reference.name == set_name {
                name_servers.set = Some(SeenSet::of(observed));
            } else if let Some(group) = group_label(observed.json.pointer("/metadata/labels")) {
                groups.entry(group).or_default().role.set = Some(SeenSet::of(observed));
            }
        }
        for pod in &facts.pods {
            let Some(ordinal) = ordinal_of(&pod.name) else { continue };
            match pod.labels.get(GROUP).and_then(|group| group.parse().ok()) {
                Some(group) => {
                    let group = groups.entry(group).or_default();
                    group.role.pods.insert(ordinal, pod);
                    if let Some(Answer::Known(answer)) = facts.members.get(&pod.name) {
                        group.answers.insert(ordinal, answer);
                    }
                }
                None if pod.labels.get(COMPONENT).is_some_and(|component| component == "namesrv") => {
                    name_servers.pods.insert(ordinal, pod);
                }
                None => {}
            }
        }
        for claim in &facts.claims {
            let group = claim.labels.get(GROUP).and_then(|group| group.parse().ok());
            if let (Some(group), Some(ordinal)) = (group, ordinal_of(&claim.name)) {
                groups.entry(group).or_default().claims.insert(ordinal, claim);
            }
        }
        Seen { groups, name_servers }
    }

    /// Whether any broker's pod is there.
    pub(crate) fn has_brokers(&self) -> bool {
        self.groups.values().any(|group| !group.role.pods.is_empty())
    }
}

impl<'a> SeenSet<'a> {
    fn of(observed: &'a Observed) -> SeenSet<'a> {
        let number = |path: &str| observed.json.pointer(path).and_then(Value::as_u64);
        let small = |path: &str| u32::try_from(number(path).unwrap_or(0)).unwrap_or(u32::MAX);
        SeenSet {
            observed,
            replicas: small("/spec/replicas"),
            settled: number("/status/observedGeneration") >= number("/metadata/generation"),
            pods: small("/status/replicas"),
            template: template_hash(&observed.json),
        }
    }
}

impl SeenRole<'_> {
    /// Whether a member is there, ready and not on its way out.
    pub(crate) fn is_ready(&self, ordinal: u32) -> bool {
        self.pods.get(&ordinal).is_some_and(|pod| pod.ready && !pod.terminating)
    }

    /// Whether all members that should be there are ready.
    pub(crate) fn all_ready(&self) -> bool {
        self.set.is_some_and(|set| (0..set.replicas).all(|ordinal| self.is_ready(ordinal)))
    }

    /// Whether all others that should be there are ready.
    pub(crate) fn others_ready(&self, ordinal: u32) -> bool {
        let replicas = self.set.map_or(0, |set| set.replicas);
        (0..replicas).filter(|other| *other != ordinal).all(|other| self.is_ready(other))
    }

    /// Returns how many members there are addresses needed for.
    pub(crate) fn highest(&self) -> u32 {
        self.pods.keys().max().map_or(0, |ordinal| ordinal + 1)
    }
}

impl SeenGroup<'_> {
    /// Whether every member that is ready, and the master, runs with this revision or a later one.
    pub(crate) fn confirmed(&self, revision: u64) -> bool {
        self.asked().all(|ordinal| {
            self.answers.get(&ordinal).is_some_and(|answer| answer.config_revision >= revision)
        })
    }

    /// Whether the same have this permission.
    pub(crate) fn has_permission(&self, permission: u8) -> bool {
        self.asked()
            .all(|ordinal| self.answers.get(&ordinal).is_some_and(|answer| answer.permission == permission))
    }

    /// Returns the first of them that does not say that it has this permission by this revision or a later one.
    pub(crate) fn first_without(&self, permission: u8, revision: u64) -> Option<u32> {
        self.asked().find(|ordinal| {
            let answer = self.answers.get(ordinal);
            answer.is_none_or(|answer| answer.permission != permission || answer.config_revision < revision)
        })
    }

    /// Whether all slaves that are ready have everything.
    pub(crate) fn slaves_equal(&self) -> bool {
        let slaves = self.asked().filter(|ordinal| *ordinal > 0);
        slaves
            .into_iter()
            .all(|ordinal| self.answers.get(&ordinal).is_some_and(|answer| answer.lag_bytes == Some(0)))
    }

    pub(crate) fn store_state(&self, ordinal: u32) -> Option<StoreState> {
        self.answers.get(&ordinal).map(|answer| answer.store)
    }

    fn asked(&self) -> impl Iterator<Item = u32> {
        let ready =
            self.role.pods.keys().copied().filter(|ordinal| *ordinal > 0 && self.role.is_ready(*ordinal));
        std::iter::once(0).chain(ready)
    }
}

fn group_label(labels: Option<&Value>) -> Option<u32> {
    labels?.get(GROUP)?.as_str()?.parse().ok()
}

/// Returns a child that is ours.
pub(crate) fn child<'a>(desired: &Desired<'a>, kind: Kind, name: &str) -> Option<&'a Observed> {
    desired.facts.objects.get(&ObjectRef::new(kind, name)).filter(|observed| !observed.foreign)
}
