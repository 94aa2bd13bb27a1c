//! One look at one cluster, a straight line: observe, validate, plan, take the steps, report. What is to be done is
//! decided by `planner`; here is only in which order it is carried out and when the next look is due.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use planner::accepted;
use planner::step::{Action, Class, Plan, Step, Waiting};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::apply::{Executor, Taken};
use crate::caches::ClusterKey;
use crate::decide::{Decided, decide};
use crate::events::{Events, Said, pod_of};
use crate::failure::Failure;
use crate::members::Answers;
use crate::memory::Memory;
use crate::metrics::{self, Counters};
use crate::observe::{Observer, View};
use crate::queue::Ended;
use crate::slots::{self, Slots};

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
    /// How many looks go on at a time beyond asking members: they hold everything that is known of their cluster.
    pub turns: Semaphore,
}

/// What came of a plan's steps.
#[derive(Default)]
struct Outcome {
    done: Vec<Step>,
    /// Whether the cluster's own object was written: its status is planned anew first.
    cluster_was_written: bool,
    not_yet: bool,
    failure: Option<Failure>,
    /// What a member did not take: it holds up only what waits for the member's answer, and a restart may mend it.
    untold: Option<Failure>,
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
                    Failure::Conflict { .. } | Failure::Ending { .. } | Failure::NotLeading => {
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
        // Members may take their time: nothing but the questions is held meanwhile, and not even those after it.
        let at = self.observer.addresses(key)?;
        let Some(questions) = at.map(|at| at.questions()) else { return Ok(Ended::Gone) };
        let answers = questions.ask(&*self.observer.members).await;
        drop(questions);
        // Nobody closes it.
        let _turn = self.turns.acquire().await;
        let Some(mut view) = self.observer.cached(key)? else { return Ok(Ended::Gone) };
        self.add_strays(&mut view, memory).await?;
        let now = Timestamp::now();
        let Decided { plan, accepted } = self.plan(key, &mut view, answers, now);
        for step in &plan.steps {
            self.counters.planned(&step.action);
        }
        let mut outcome = self.take_steps(key, &view, memory, &plan, now).await;
        if accepted && outcome.failure.is_none() {
            outcome.failure = self.keep_accepted(&view).await.err();
        }
        self.tell(&view, &outcome.done, &memory.news(&plan.waiting)).await;
        let ended = match outcome.cluster_was_written {
            true => Ended::Again(Duration::ZERO),
            false => self.report(key, &view, memory, &plan.status).await?,
        };
        if let Some(failure) = outcome.failure.or(outcome.untold) {
            return Err(failure);
        }
        let done: Vec<Action> = outcome.done.into_iter().map(|step| step.action).collect();
        let (nothing_done, only_told) = (done.is_empty(), done.iter().all(Action::only_tells));
        let steps: Vec<&str> = done.iter().map(metrics::name).collect();
        let steps = steps.join(", ");
        if let Some(times) = memory.repeated(done) {
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
        memory.strays.retain(|reference, _| !view.has(reference));
        for (reference, known) in &mut memory.strays {
            *known = self.observer.child(&view.addresses.cluster.namespace, reference).await?;
            if let Some(json) = known {
                view.add_child(reference.kind, reference.name.clone(), json.clone());
            }
        }
        memory.strays.retain(|_, known| known.is_some());
        Ok(())
    }

    /// Plans, with one of the places for clusters that restart pods if one is free and needed.
    fn plan(&self, key: &ClusterKey, view: &mut View, answers: Answers, now: Timestamp) -> Decided {
        let mut facts = self.observer.facts(view, answers, self.slots.may(key));
        let kept = view.accepted();
        let decided = decide(&view.json, kept.as_ref(), &facts, now);
        if !slots::is_needed(&decided.plan) {
            if slots::is_over(&decided.plan) {
                self.slots.free(key);
            }
        } else if facts.operator.may_roll && !self.slots.take(key) {
            facts.operator.may_roll = false;
            return decide(&view.json, kept.as_ref(), &facts, now);
        }
        decided
    }

    /// Keeps the manifest for the time when an edit of it cannot be applied.
    async fn keep_accepted(&self, view: &View) -> Result<(), Failure> {
        let spec = &view.json["spec"];
        if view.addresses.cluster.deleting || spec["paused"] == true {
            return Ok(());
        }
        let wanted = accepted::object(&view.addresses.cluster, spec);
        let action = match &view.kept {
            None => Action::Create(wanted),
            Some(observed) if observed.foreign || observed.deleting => return Ok(()),
            Some(observed) if planner::drift(&wanted, &observed.json).is_none() => return Ok(()),
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
        // What was found past the caches, as long as only steps were taken that disturb nobody.
        let mut live = None;
        for step in &plan.steps {
            if step.class != Class::None && outcome.failure.is_some() {
                break;
            }
            if step.class != Class::None {
                live = None;
            }
            match self.take(key, view, &mut live, memory, step, now).await {
                Ok(Taken::Done) => {
                    tracing::info!(cluster = %key, step = metrics::name(&step.action), "{}", step.reason);
                    outcome.cluster_was_written |= matches!(
                        step.action,
                        Action::AddFinalizer | Action::RemoveFinalizer | Action::RecordStatus(_)
                    );
                    outcome.done.push(step.clone());
                }
                Ok(Taken::Exists(reference)) => {
                    memory.strays.insert(reference, None);
                    outcome.done.push(step.clone());
                }
                Ok(Taken::NotYet(why)) => {
                    tracing::debug!(cluster = %key, step = metrics::name(&step.action), "not yet: {why}");
                    outcome.not_yet = true;
                }
                Err(failure) => {
                    let first = match &failure {
                        Failure::Member(_) => &mut outcome.untold,
                        _ => &mut outcome.failure,
                    };
                    match first {
                        None => *first = Some(failure),
                        Some(_) => tracing::debug!(cluster = %key, "{failure}"),
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
        live: &mut Option<(View, Plan)>,
        memory: &mut Memory,
        step: &Step,
        now: Timestamp,
    ) -> Result<Taken, Failure> {
        if !step.looks_again() {
            return self.executor.take(view, &step.action).await;
        }
        if live.is_none() {
            *live = self.look_again(key, memory, now).await?;
        }
        match live {
            Some((live, plan)) if plan.steps.iter().any(|planned| planned.action == step.action) => {
                self.executor.take(live, &step.action).await
            }
            _ => Ok(Taken::NotYet("what is there now asks for something else".to_owned())),
        }
    }

    /// Looks past the caches and plans anew, with the same time.
    async fn look_again(
        &self,
        key: &ClusterKey,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Result<Option<(View, Plan)>, Failure> {
        let Some(mut view) = self.observer.live(key).await? else { return Ok(None) };
        self.add_strays(&mut view, memory).await?;
        let answers = view.addresses.questions().ask(&*self.observer.members).await;
        let facts = self.observer.facts(&mut view, answers, self.slots.may(key));
        let plan = decide(&view.json, view.accepted().as_ref(), &facts, now).plan;
        Ok(Some((view, plan)))
    }

    /// Says what was done, each kind of thing once of the cluster, and what disturbed a pod also of the pod.
    async fn tell(&self, view: &View, done: &[Step], waiting: &[&Waiting]) {
        let mut notes: BTreeMap<&str, (&Step, Vec<&str>)> = BTreeMap::new();
        for step in done {
            let Some(reason) = step.event else { continue };
            notes.entry(reason).or_insert_with(|| (step, Vec::new())).1.push(&step.reason);
            let pod = pod_of(step).filter(|_| step.class != Class::None);
            if let Some((pod, uid)) = pod.and_then(|pod| Some((pod, view.addresses.pod_uid(pod)?))) {
                let action = metrics::name(&step.action);
                let said = Said { warning: false, reason, note: &step.reason, action };
                self.events.say_of_pod(&view.addresses.cluster, pod, &uid, &said).await;
            }
        }
        for (reason, (step, notes)) in notes {
            let (note, action) = (notes.join("; "), metrics::name(&step.action));
            self.events
                .say(&view.addresses.cluster, &Said { warning: false, reason, note: &note, action })
                .await;
        }
        for waiting in waiting {
            let said = Said { warning: true, reason: waiting.reason, note: &waiting.message, action: "Wait" };
            self.events.say(&view.addresses.cluster, &said).await;
        }
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
        match memory.status_is_due(&view.addresses.cluster.status, status, Instant::now()) {
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
