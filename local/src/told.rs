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
        let on_its_way = kept.status.brokers.group_statuses.iter().any(|group| group.state != "Active");
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
