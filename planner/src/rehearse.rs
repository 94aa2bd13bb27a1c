//! A rehearsal: all that a plan comes to when everything goes well. Planned steps are taken on facts alone, again and again,
//! until nothing is left to do.
//!
//! Kubernetes is ideal here: writes work, pods start, members answer, consumers read everything. What does not run at the
//! start stays so, unless its pod is made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use manifest::Validated;

use crate::facts::{Answer, ClusterFacts, Facts, NodeFacts, OperatorSettings, StorageClassFacts};
use crate::labels::APPROVE;
use crate::plan;
use crate::plan::scale_in::elapsed;
use crate::step::{Action, Step, Waiting};
use stage::Stage;

mod stage;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// The longest time between two looks when only time has to pass, shorter than any window of restarts that makes sense.
const LONGEST_LOOK: Duration = Duration::from_secs(600);
/// When a rehearsal is given up: a window of restarts may be a week away.
const LONGEST: Duration = Duration::from_secs(14 * 86_400);
/// The same when something does not run: it will not mend by waiting.
const LONGEST_WHILE_STUCK: Duration = Duration::from_secs(900);
/// No cluster needs more; the bound is there against going round in circles.
const MOST_LOOKS: usize = 20_000;
/// A member that has not been ready for so long is taken not to start at all.
pub(crate) const SLOWEST_START: Duration = Duration::from_secs(120);

/// How a rehearsal went.
#[derive(Debug, Clone, Default)]
pub struct Rehearsal {
    /// What was done and what was waited for, in order.
    pub moments: Vec<Moment>,
    /// When groups took no messages, in the order in which that began.
    pub pauses: Vec<Pause>,
    /// What is left at the end: that of which a person has to do something, or what never ended.
    pub waiting: Vec<Waiting>,
    /// The facts at the end.
    pub after: Facts,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Moment {
    Step(Step),
    /// Told once, when it first appears.
    Waits(Waiting),
}

/// A group that takes messages stops taking them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    pub group: u32,
    /// The pods that restart in it and that messages wait for.
    pub restarts: Vec<String>,
    /// Whether others take messages all the while, so that producers go there.
    pub others_take: bool,
    /// Whether it ends.
    pub ends: bool,
}

/// Returns the facts of a cluster of this manifest that is made anew and complete.
pub fn settled(validated: &Validated, operator: &OperatorSettings, now: Timestamp) -> Facts {
    rehearse(validated, &new_cluster(validated, operator), now).after
}

/// Returns the facts of a Kubernetes that has nothing of the cluster but its own object.
pub fn new_cluster(validated: &Validated, operator: &OperatorSettings) -> Facts {
    let node = NodeFacts {
        external_ip: Some("198.51.100.1".to_owned()),
        internal_ip: Some("192.0.2.1".to_owned()),
        zone: None,
    };
    let class = StorageClassFacts { can_expand: true, is_default: true };
    Facts {
        operator: operator.clone(),
        cluster: ClusterFacts {
            name: validated.name().to_owned(),
            namespace: validated.cluster().metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            uid: "rehearsal".to_owned(),
            resource_version: "1".to_owned(),
            generation: 1,
            annotations: validated.cluster().metadata.annotations.clone().unwrap_or_default(),
            ..ClusterFacts::default()
        },
        nodes: Answer::Known(BTreeMap::from([(stage::NODE.to_owned(), node)])),
        storage_classes: Answer::Known(BTreeMap::from([(stage::STORAGE_CLASS.to_owned(), class)])),
        ..Facts::default()
    }
}

/// Plans and takes steps until nothing is left, beginning with these facts.
pub fn rehearse(validated: &Validated, facts: &Facts, now: Timestamp) -> Rehearsal {
    let mut stage = Stage::new(validated, facts.clone(), now);
    let mut notes = Notes::default();
    let mut idle = Duration::ZERO;
    let mut look = LOOK;
    for _ in 0..MOST_LOOKS {
        stage.tick();
        let plan = plan(validated, &stage.facts, stage.now);
        notes.look_at(&stage, &plan.steps, &plan.waiting);
        let nothing = plan.steps.is_empty() && !stage.is_about_to_change();
        let approval = plan.waiting.iter().any(|waiting| waiting.reason == "AwaitingApproval");
        let rollout = plan.status.rollout.as_ref().map(|rollout| rollout.id.clone());
        for step in &plan.steps {
            stage.take(step);
        }
        if !plan.steps.iter().any(|step| matches!(step.action, Action::RecordStatus(_))) {
            stage.facts.cluster.status = plan.status;
        }
        notes.waiting = plan.waiting;
        if !nothing {
            (idle, look) = (Duration::ZERO, LOOK);
        } else if approval && let Some(id) = rollout {
            // Told as something that a person has to do; what comes after it is worth telling too.
            stage.facts.cluster.annotations.insert(APPROVE.to_owned(), id);
        } else if notes.waiting.iter().all(|waiting| waiting.blocked) {
            break;
        } else {
            idle += look;
            let longest = if stage.is_stuck() { LONGEST_WHILE_STUCK } else { LONGEST };
            if idle > longest {
                break;
            }
            look = (look * 2).min(LONGEST_LOOK);
        }
        stage.pass(look);
    }
    notes.finish(stage)
}

/// What is told of a rehearsal.
#[derive(Default)]
struct Notes {
    moments: Vec<Moment>,
    told: BTreeSet<Waiting>,
    /// Groups that took messages at the last look.
    taking: BTreeSet<u32>,
    /// Pauses that have not ended, by group.
    open: BTreeMap<u32, usize>,
    pauses: Vec<Pause>,
    waiting: Vec<Waiting>,
}

impl Notes {
    fn look_at(&mut self, stage: &Stage, steps: &[Step], waiting: &[Waiting]) {
        self.look_at_groups(stage, steps);
        for waiting in waiting {
            if self.told.insert(without_numbers(waiting)) {
                self.moments.push(Moment::Waits(waiting.clone()));
            }
        }
        self.moments.extend(steps.iter().cloned().map(Moment::Step));
    }

    fn look_at_groups(&mut self, stage: &Stage, steps: &[Step]) {
        let taking = stage.groups_that_take();
        let restarting = |group: u32| {
            steps.iter().find_map(|step| match &step.action {
                Action::Evict { pod, .. } | Action::DeletePod { pod, .. } if stage.waits_for(group, pod) => {
                    Some(pod.clone())
                }
                _ => None,
            })
        };
        // One that restarts at this look stops now, others have stopped since the last one.
        let stops: BTreeSet<u32> = self
            .taking
            .iter()
            .copied()
            .filter(|group| !taking.contains(group) || restarting(*group).is_some())
            .collect();
        for group in &stops {
            if !self.open.contains_key(group) && stage.is_active(*group) {
                self.open.insert(*group, self.pauses.len());
                self.pauses.push(Pause {
                    group: *group,
                    restarts: Vec::new(),
                    others_take: true,
                    ends: false,
                });
            }
        }
        for (group, place) in self.open.clone() {
            let pause = &mut self.pauses[place];
            pause.restarts.extend(restarting(group));
            let resumed = taking.contains(&group) && restarting(group).is_none() && !stops.contains(&group);
            if resumed {
                pause.ends = true;
                self.open.remove(&group);
            } else {
                pause.others_take &= taking.iter().any(|other| *other != group && !stops.contains(other));
            }
        }
        self.taking = taking;
    }

    fn finish(self, stage: Stage) -> Rehearsal {
        Rehearsal { moments: self.moments, pauses: self.pauses, waiting: self.waiting, after: stage.facts }
    }
}

/// Seconds and messages count down: that is one thing to wait for.
fn without_numbers(waiting: &Waiting) -> Waiting {
    let mut message = String::new();
    for word in waiting.message.split(' ') {
        let counts = word.ends_with('s') && word.trim_end_matches('s').parse::<u64>().is_ok();
        message.push_str(if counts { "#" } else { word });
        message.push(' ');
    }
    Waiting { message, ..waiting.clone() }
}

/// Whether two times are far enough apart that a member that is not ready will not be.
fn is_slow(since: Option<Timestamp>, now: Timestamp) -> bool {
    since.is_some_and(|since| elapsed(since, now) > SLOWEST_START)
}
