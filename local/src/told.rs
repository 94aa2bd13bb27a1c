//! What the user hears of plans: each thing once.

use std::collections::BTreeSet;

use manifest::cluster::RocketMQCluster;
use planner::step::Waiting;

use crate::event::Event;
use crate::world::{Kept, Settled};

/// What was told and still holds.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Reason and text without its numbers, which change all the time.
    waiting: BTreeSet<(&'static str, String)>,
    /// Whether an edit was taken over that is not done yet.
    edited: bool,
}

impl Told {
    /// Begins with what an earlier run left: whether it is on its way to something.
    pub(crate) fn new(kept: &Kept, manifest: &RocketMQCluster) -> Told {
        let other = kept.manifest.as_ref().is_some_and(|before| before != manifest);
        let groups = &kept.status.brokers.group_statuses;
        let others = usize::try_from(manifest.spec.brokers.groups).is_ok_and(|wanted| wanted != groups.len());
        let on_its_way = !groups.is_empty() && (others || groups.iter().any(|group| group.state != "Active"));
        Told { edited: other || on_its_way, ..Told::default() }
    }

    /// An edited manifest is followed.
    pub(crate) fn edited(&mut self) {
        self.edited = true;
    }

    /// Returns what is new.
    pub(crate) fn of(&mut self, settled: &Settled) -> Vec<Event> {
        let done = settled.done.iter().map(|(reason, text)| Event::Step { reason, text: text.clone() });
        let mut events: Vec<Event> = done.collect();
        let waiting = &settled.plan.waiting;
        // While the cluster starts, that it starts is no news.
        let news = |waiting: &&Waiting| self.edited || waiting.blocked;
        for waiting in waiting.iter().filter(news).filter(|waiting| !self.waiting.contains(&key(waiting))) {
            let Waiting { reason, message, blocked } = waiting.clone();
            events.push(Event::Waiting { reason, text: message, blocked });
        }
        self.waiting = waiting.iter().map(key).collect();
        let ready = settled.plan.status.conditions.iter().find(|condition| condition.kind == "Ready");
        // Steps that are left are for members that have not taken something over yet.
        let done = settled.plan.steps.is_empty();
        if self.edited && done && ready.is_some_and(|condition| condition.status == "True") {
            self.edited = false;
            events.push(Event::AsWanted);
        }
        events
    }
}

fn key(waiting: &Waiting) -> (&'static str, String) {
    let words = waiting.message.chars().filter(|letter| !letter.is_ascii_digit());
    (waiting.reason, words.collect())
}

#[cfg(test)]
mod tests {
    use manifest::cluster::status::Condition;
    use planner::step::Plan;
    use serde_json::{Value, json};

    use super::*;

    fn settled(waiting: &[(&'static str, &str, bool)], ready: bool) -> Settled {
        let waiting = waiting.iter().map(|(reason, message, blocked)| Waiting {
            reason,
            message: (*message).to_owned(),
            blocked: *blocked,
        });
        let mut plan = Plan { waiting: waiting.collect(), ..Plan::default() };
        plan.status.conditions.push(Condition {
            kind: "Ready".to_owned(),
            status: if ready { "True" } else { "False" }.to_owned(),
            reason: String::new(),
            message: String::new(),
            last_transition_time: String::new(),
            observed_generation: None,
        });
        Settled { plan, ..Settled::default() }
    }

    fn words(events: &[Event]) -> Vec<&str> {
        let words = events.iter().map(|event| match event {
            Event::Waiting { text, .. } => text.as_str(),
            Event::AsWanted => "as wanted",
            _ => "other",
        });
        words.collect()
    }

    #[test]
    fn each_wait_is_told_once_whatever_its_numbers_and_again_when_it_comes_again() {
        let mut told = Told::default();
        told.edited();
        let five = [("Draining", "consumers have 5 messages to read", false)];
        let four = [("Draining", "consumers have 4 messages to read", false)];
        assert_eq!(words(&told.of(&settled(&five, false))), ["consumers have 5 messages to read"]);
        assert_eq!(words(&told.of(&settled(&four, false))), [""; 0]);
        assert_eq!(words(&told.of(&settled(&[], false))), [""; 0]);
        assert_eq!(words(&told.of(&settled(&four, false))), ["consumers have 4 messages to read"]);
        assert_eq!(words(&told.of(&settled(&[], true))), ["as wanted"]);
        assert_eq!(words(&told.of(&settled(&[], true))), [""; 0]);
    }

    #[test]
    fn of_a_cluster_that_starts_only_what_needs_a_person_is_told() {
        let mut told = Told::default();
        let waiting =
            [("Creating", "a member is not ready", false), ("VolumeLost", "its volume is empty", true)];
        assert_eq!(words(&told.of(&settled(&waiting, false))), ["its volume is empty"]);
        assert_eq!(words(&told.of(&settled(&[], true))), [""; 0]);
    }

    #[test]
    fn a_runner_that_finds_more_groups_than_there_should_be_tells_when_they_have_gone() {
        let text = "{ apiVersion: gantry.rs/v1alpha1, kind: RocketMQCluster, metadata: { name: dev }, spec: { version: 0.1.0, \
                    brokers: { groups: 1, replicasPerGroup: 1, storage: { size: 1Gi } } } }";
        let manifest = manifest::load(text).unwrap();
        let group = |index: i32| json!({ "index": index, "name": "g", "state": "Active" });
        let found = |groups: &[i32]| {
            let groups: Vec<Value> = groups.iter().map(|index| group(*index)).collect();
            let mut kept = Kept { manifest: Some(manifest.cluster().clone()), ..Kept::default() };
            kept.status.brokers.group_statuses = serde_json::from_value(json!(groups)).unwrap();
            words(&Told::new(&kept, manifest.cluster()).of(&settled(&[], true))).len()
        };
        assert_eq!((found(&[]), found(&[0]), found(&[0, 1])), (0, 0, 1));
    }

    #[test]
    fn an_edit_is_done_only_when_all_members_have_taken_it_over() {
        let mut told = Told::default();
        told.edited();
        let mut pushing = settled(&[], true);
        pushing.plan.steps.push(planner::step::Step {
            action: planner::step::Action::AddFinalizer,
            class: planner::step::Class::None,
            reason: String::new(),
            event: None,
        });
        assert_eq!(words(&told.of(&pushing)), [""; 0]);
        assert_eq!(words(&told.of(&settled(&[], true))), ["as wanted"]);
    }
}
