//! One look at one cluster, a straight line: observe, validate, plan, take the steps, report. What is to be done is
//! decided by `planner`; here is only in which order it is carried out and when the next look is due.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use planner::accepted;
use planner::step::{Action, Class, Plan, Step};
use tokio::time::Instant;

use crate::apply::{Executor, Taken};
use crate::caches::ClusterKey;
use crate::decide::{Decided, decide};
use crate::events::{Events, Said, pod_of};
use crate::failure::Failure;
use crate::memory::Memory;
use crate::metrics::{self, Counters};
use crate::observe::{Observer, View};
use crate::queue::Ended;
use crate::slots::Slots;

/// Until the next look, when nothing happens before: a cluster that is as it should be, one that is on its way there,
/// one whose members take something over.
const SETTLED: Duration = Duration::from_secs(10);
const PROGRESSING: Duration = Duration::from_secs(2);
const TELLING: Duration = Duration::from_secs(1);

/// Everything one look needs.
pub struct Reconciler {
    pub observer: Observer,
    pub executor: Executor,
    pub events: Events,
    pub slots: Slots,
    pub counters: Counters,
    pub memories: Mutex<HashMap<ClusterKey, Memory>>,
}

/// What came of a plan's steps.
#[derive(Default)]
struct Outcome {
    done: Vec<Action>,
    /// Whether the cluster's own object was written: its status is planned anew first.
    cluster_was_written: bool,
    not_yet: bool,
    failure: Option<Failure>,
}

impl Reconciler {
    /// Looks at a cluster and says when to look again. One look at a time for each cluster.
    pub async fn look(&self, key: &ClusterKey) -> Ended {
        let begun = Instant::now();
        let mut memory = self.memories.lock().remove(key).unwrap_or_default();
        let ended = self.reconcile(key, &mut memory).await;
        let (result, ended) = match ended {
            Ok(Ended::Gone) => {
                self.counters.forget(key);
                self.slots.free(key);
                ("gone", Ended::Gone)
            }
            Ok(ended) => ("ok", ended),
            Err(failure) => {
                self.counters.failed(failure.reason());
                match failure {
                    // In the usual course of things.
                    Failure::Conflict { .. } | Failure::NotLeading => {
                        tracing::debug!(cluster = %key, "{failure}")
                    }
                    _ => tracing::warn!(cluster = %key, "{failure}; tried again"),
                }
                ("error", Ended::Failed)
            }
        };
        if ended != Ended::Gone {
            self.memories.lock().insert(key.clone(), memory);
        }
        self.counters.reconciled(result, begun.elapsed());
        ended
    }

    async fn reconcile(&self, key: &ClusterKey, memory: &mut Memory) -> Result<Ended, Failure> {
        let Some(mut view) = self.observer.cached(key)? else { return Ok(Ended::Gone) };
        self.add_strays(&mut view, memory).await?;
        let now = Timestamp::now();
        let Decided { plan, accepted } = self.plan(key, &view, now).await;
        for step in &plan.steps {
            self.counters.planned(&step.action);
        }
        let mut outcome = self.take_steps(key, &view, memory, &plan, now).await;
        if accepted && outcome.failure.is_none() {
            outcome.failure = self.keep_accepted(&view).await.err();
        }
        for waiting in memory.news(&plan.waiting) {
            let said = Said {
                warning: true,
                reason: waiting.reason,
                note: &waiting.message,
                action: "Wait",
                pod: None,
            };
            self.events.say(&view.cluster, &said).await;
        }
        let ended = match outcome.cluster_was_written {
            true => Ended::Again(Duration::ZERO),
            false => self.report(key, &view, memory, &plan.status).await?,
        };
        if let Some(failure) = outcome.failure {
            return Err(failure);
        }
        let told =
            |action: &Action| matches!(action, Action::PushConfig { .. } | Action::CopyMetadata { .. });
        let only_told = outcome.done.iter().all(told);
        let nothing_done = outcome.done.is_empty();
        let steps: Vec<&str> = outcome.done.iter().map(metrics::name).collect();
        let steps = steps.join(", ");
        if let Some(times) = memory.repeated(outcome.done) {
            return Err(Failure::NoEffect { times, steps });
        }
        Ok(match (nothing_done, only_told, ended) {
            (false, false, _) => Ended::Again(Duration::ZERO),
            (false, true, Ended::Again(after)) => Ended::Again(after.min(TELLING)),
            (true, _, Ended::Again(after)) if outcome.not_yet => Ended::Again(after.min(PROGRESSING)),
            (_, _, ended) => ended,
        })
    }

    /// Adds what has a name of ours and is in no cache.
    async fn add_strays(&self, view: &mut View, memory: &mut Memory) -> Result<(), Failure> {
        memory.strays.retain(|reference, _| !view.objects.contains_key(reference));
        for (reference, known) in &mut memory.strays {
            *known = self.observer.child(&view.cluster.namespace, reference).await?;
            if let Some(json) = known {
                view.add_child(reference.kind, reference.name.clone(), json.clone());
            }
        }
        memory.strays.retain(|_, known| known.is_some());
        Ok(())
    }

    /// Plans, with one of the places for clusters that restart pods if one is free and needed.
    async fn plan(&self, key: &ClusterKey, view: &View, now: Timestamp) -> Decided {
        let mut facts = self.observer.facts(view, self.slots.may(key)).await;
        let kept = view.accepted();
        let decided = decide(&view.json, kept.as_ref(), &facts, now);
        let rollout = decided.plan.status.rollout.as_ref();
        if !rollout.is_some_and(|rollout| rollout.done > 0 || rollout.current.is_some()) {
            self.slots.free(key);
        } else if facts.operator.may_roll && !self.slots.take(key) {
            facts.operator.may_roll = false;
            return decide(&view.json, kept.as_ref(), &facts, now);
        }
        decided
    }

    /// Keeps the manifest for the time when an edit of it cannot be applied.
    async fn keep_accepted(&self, view: &View) -> Result<(), Failure> {
        let spec = &view.json["spec"];
        if view.cluster.deleting || spec["paused"] == true {
            return Ok(());
        }
        let wanted = accepted::object(&view.cluster, spec);
        let action = match view.objects.get(&wanted.reference) {
            None => Action::Create(wanted),
            Some(observed) if observed.foreign || observed.deleting => return Ok(()),
            Some(observed) if accepted::is_current(&wanted, &observed.json) => return Ok(()),
            Some(observed) => {
                Action::Apply { object: wanted, uid: observed.uid.clone(), resource_version: None }
            }
        };
        self.executor.take(view, &action).await.map(|_| ())
    }

    async fn take_steps(
        &self,
        key: &ClusterKey,
        view: &View,
        memory: &mut Memory,
        plan: &Plan,
        now: Timestamp,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for step in &plan.steps {
            if step.class != Class::None && outcome.failure.is_some() {
                break;
            }
            match self.take(key, view, memory, step, now).await {
                Ok(Taken::Done) => {
                    tracing::info!(cluster = %key, step = metrics::name(&step.action), "{}", step.reason);
                    self.say(view, step).await;
                    outcome.cluster_was_written |= matches!(
                        step.action,
                        Action::AddFinalizer | Action::RemoveFinalizer | Action::RecordStatus(_)
                    );
                    outcome.done.push(step.action.clone());
                }
                Ok(Taken::Exists(reference)) => {
                    memory.strays.insert(reference, None);
                    outcome.done.push(step.action.clone());
                }
                Ok(Taken::NotYet(why)) => {
                    tracing::debug!(cluster = %key, step = metrics::name(&step.action), "not yet: {why}");
                    outcome.not_yet = true;
                }
                Err(failure) => {
                    let first = outcome.failure.is_none();
                    if first {
                        outcome.failure = Some(failure);
                    } else {
                        tracing::debug!(cluster = %key, "{failure}");
                    }
                }
            }
        }
        outcome
    }

    async fn take(
        &self,
        key: &ClusterKey,
        view: &View,
        memory: &mut Memory,
        step: &Step,
        now: Timestamp,
    ) -> Result<Taken, Failure> {
        if step.looks_again() {
            let Some(live) = self.still_planned(key, memory, step, now).await? else {
                return Ok(Taken::NotYet("what is there now asks for something else".to_owned()));
            };
            return self.executor.take(&live, &step.action).await;
        }
        self.executor.take(view, &step.action).await
    }

    /// Looks past the caches and returns what is there, if the step is still the one to take.
    async fn still_planned(
        &self,
        key: &ClusterKey,
        memory: &mut Memory,
        step: &Step,
        now: Timestamp,
    ) -> Result<Option<View>, Failure> {
        let Some(mut live) = self.observer.live(key).await? else { return Ok(None) };
        self.add_strays(&mut live, memory).await?;
        let facts = self.observer.facts(&live, self.slots.may(key)).await;
        let plan = decide(&live.json, live.accepted().as_ref(), &facts, now).plan;
        Ok(plan.steps.iter().any(|planned| planned.action == step.action).then_some(live))
    }

    async fn say(&self, view: &View, step: &Step) {
        let Some(reason) = step.event else { return };
        let pod = pod_of(step);
        let uid = pod.and_then(|pod| view.pod_uid(pod));
        let said = Said {
            warning: false,
            reason,
            note: &step.reason,
            action: metrics::name(&step.action),
            pod: pod.zip(uid.as_deref()),
        };
        self.events.say(&view.cluster, &said).await;
    }

    /// Writes the status if it says something new and may be written now.
    async fn report(
        &self,
        key: &ClusterKey,
        view: &View,
        memory: &mut Memory,
        status: &manifest::cluster::ClusterStatus,
    ) -> Result<Ended, Failure> {
        self.counters.show(key, status);
        let settled = status.conditions.iter().any(|said| said.kind == "Ready" && said.status == "True");
        let usual = if settled { SETTLED } else { PROGRESSING };
        match memory.status_is_due(&view.cluster.status, status, Instant::now()) {
            None => Ok(Ended::Again(usual)),
            Some(rest) if !rest.is_zero() => Ok(Ended::Again(usual.min(rest))),
            Some(_) => {
                self.executor.replace_status(view, status).await?;
                memory.status_was_written(Instant::now());
                Ok(Ended::Again(usual))
            }
        }
    }
}

#[cfg(test)]
mod tests;
