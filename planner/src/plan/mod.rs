//! What to do next: a straight line from facts to steps. Each decision has its own file and knows nothing of the others.
//!
//! What disturbs nobody is done at once; of what does, one thing at a time. A plan that nothing comes of is empty: taking
//! all its steps and planning again ends there.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use manifest::Validated;

use crate::build;
use crate::check::check;
use crate::desired::Desired;
use crate::facts::Facts;
use crate::labels::FINALIZER;
use crate::seen::Seen;
use crate::status;
use crate::step::{Action, Class, Plan, Step, Waiting};
use children::{delete_leftovers, ensure_children};
use claims::{grow, note_on_claims, remove_claims, replace_lost};
use groups::{Records, State};
use listeners::report_unreachable;
use members::{copy_metadata, hand_over, label_pods, push};
use restarts::{NameServers, decide_roll, restart, roll_name_servers};
use scale_in::Progress;
use shaping::shape;
use states::decide_groups;

pub use ensure::{drift, same_amount};
pub use window::closed_window;

mod children;
mod claims;
mod delete;
mod ensure;
pub(crate) mod groups;
mod identity;
mod listeners;
mod members;
mod name_servers;
mod outdated;
mod replicas;
mod restarts;
mod roll;
pub(crate) mod scale_in;
pub(crate) mod shaping;
mod states;
mod told;
mod volumes;
mod window;

/// What was found and decided: the status is made of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) steps: Vec<Step>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) records: Records,
    /// Of draining groups: the phase and how it stands.
    pub(crate) drains: BTreeMap<u32, Progress>,
    /// Name servers that are told of.
    pub(crate) listed: u32,
    pub(crate) rollout: Rollout,
    /// Volumes that grow.
    pub(crate) resizing: Vec<String>,
    /// Why the manifest cannot be applied.
    pub(crate) refused: Vec<Waiting>,
}

/// How far restarts are.
#[derive(Default)]
pub(crate) struct Rollout {
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) outdated: usize,
    pub(crate) total: usize,
    pub(crate) current: Option<String>,
}

/// Decides what to do next.
pub fn plan(validated: &Validated, facts: &Facts, now: Timestamp) -> Plan {
    let desired = Desired::new(validated, facts, now);
    let seen = Seen::of(&desired);
    let outcome = decide(&desired, &seen);
    let status = status::status(&desired, &seen, &outcome);
    Plan { steps: outcome.steps, waiting: outcome.waiting, status, refused: !outcome.refused.is_empty() }
}

fn decide(desired: &Desired, seen: &Seen) -> Outcome {
    let facts = desired.facts;
    let mut outcome = Outcome {
        records: Records::read(&facts.cluster.status.brokers),
        listed: desired.effective.name_servers.replicas,
        ..Outcome::default()
    };
    if desired.ends() {
        (outcome.steps, outcome.waiting) = delete::decide(desired, seen);
        return outcome;
    }
    outcome.waiting.extend(facts.cluster.deleting.then(delete::protected));
    if desired.is_paused() {
        return outcome;
    }
    outcome.refused = check(desired, seen);
    if !outcome.refused.is_empty() {
        return outcome;
    }
    if !facts.cluster.finalizers.contains(FINALIZER) {
        outcome.steps.push(Step::quiet(Action::AddFinalizer, "the cluster must not go before its brokers"));
        return outcome;
    }
    let recorded = outcome.records.clone();
    decide_groups(desired, seen, &mut outcome);
    if outcome.records != recorded {
        // Everything else follows from what is recorded.
        let status = status::recorded(desired, &outcome.records);
        let news = news(&recorded, &outcome.records);
        outcome.steps.push(Step {
            action: Action::RecordStatus(Box::new(status)),
            class: Class::None,
            event: news.as_ref().map(|(event, _)| *event),
            reason: news.map_or_else(|| "which groups there are".to_owned(), |(_, words)| words),
        });
        return outcome;
    }
    reconcile(desired, seen, &mut outcome);
    outcome
}

/// Returns what is worth an event of what is recorded, and in words.
fn news(before: &Records, after: &Records) -> Option<(&'static str, String)> {
    let entered = |state| {
        let groups = after.groups.iter().filter(move |(_, record)| record.state == state);
        let entered =
            groups.filter(|(index, _)| before.groups.get(index).is_some_and(|before| before.state != state));
        entered.map(|(index, _)| format!("group {index}")).collect::<Vec<_>>().join(", ")
    };
    [
        (State::Removing, "DrainCompleted", "goes"),
        (
            State::Draining,
            "DrainStarted",
            "takes no more messages and goes when its consumers have read everything",
        ),
        (State::Active, "GroupScaledOut", "takes messages"),
    ]
    .into_iter()
    .map(|(state, event, words)| (event, entered(state), words))
    .find_map(|(event, groups, words)| (!groups.is_empty()).then(|| (event, format!("{groups}: {words}"))))
}

fn reconcile(desired: &Desired, seen: &Seen, outcome: &mut Outcome) {
    let roll = decide_roll(desired, seen, outcome);
    let name_servers = roll_name_servers(desired, seen, outcome);
    let (shape, volumes) = shape(desired, seen, outcome, &roll);
    outcome.listed = shape.name_servers.listed;
    let built = build::build(desired, &shape);
    let mut disruptions = Vec::new();
    ensure_children(desired, &built, outcome, &mut disruptions);
    delete_leftovers(desired, seen, &built, outcome);
    for (group, volumes) in &volumes {
        grow(desired, seen, *group, volumes, outcome);
    }
    note_on_claims(desired, seen, outcome);
    label_pods(seen, outcome);
    // What is told to members holds nothing up but what needs it, and that waits for their answers.
    let held_up = !outcome.steps.is_empty();
    push(desired, seen, &built, outcome);
    copy_metadata(desired, seen, outcome);
    hand_over(desired, outcome);
    report_unreachable(desired, seen, outcome);
    disruptions.extend(remove_claims(desired, seen, outcome));
    disruptions.extend(replace_lost(desired, seen, outcome));
    disruptions.extend(match name_servers {
        NameServers::Restart(step) => step,
        NameServers::Rest => restart(desired, seen, &roll, outcome),
    });
    outcome.waiting.extend(roll.waiting);
    if !held_up {
        outcome.steps.extend(disruptions.into_iter().take(1));
    }
}

fn groups_that_run(records: &Records) -> impl Iterator<Item = u32> {
    records.groups.iter().filter(|(_, record)| record.state != State::Removing).map(|(index, _)| *index)
}
