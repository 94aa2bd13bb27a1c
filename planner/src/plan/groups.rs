//! Which groups there are, and what becomes of each: new ones join, some drain and go. Numbers are never used twice.
//!
//! States are recorded in the status before anything follows from them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use manifest::cluster::ScaleInPolicy;
use manifest::cluster::status::BrokersStatus;

use crate::step::Waiting;

/// The highest number of a group.
const HIGHEST: u32 = 999;

/// Where a group is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Led to by no route, until it has the topics of the others.
    Joining,
    Active,
    /// Takes no messages; goes when its consumers have read everything, or comes back.
    Draining,
    /// Goes; nothing brings it back.
    Removing,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Joining => "Joining",
            State::Active => "Active",
            State::Draining => "Draining",
            State::Removing => "Removing",
        }
    }

    fn read(text: &str) -> State {
        [State::Joining, State::Draining, State::Removing]
            .into_iter()
            .find(|state| state.as_str() == text)
            .unwrap_or(State::Active)
    }
}

/// What is recorded of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) state: State,
    /// Since when it drains.
    pub(crate) since: Option<Timestamp>,
}

/// What is recorded of all groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Records {
    pub(crate) groups: BTreeMap<u32, Record>,
    pub(crate) next: u32,
}

impl Records {
    pub(crate) fn read(status: &BrokersStatus) -> Records {
        let number = |value: i32| u32::try_from(value).unwrap_or(0);
        let groups = status.group_statuses.iter().map(|group| {
            let started = group.drain.as_ref().and_then(|drain| drain.started_at.as_ref());
            let since = started.and_then(|text| text.parse().ok());
            (number(group.index), Record { state: State::read(&group.state), since })
        });
        Records { groups: groups.collect(), next: number(status.next_group_index) }
    }
}

/// What decides about groups.
pub(crate) struct Input<'a> {
    /// How many there should be.
    pub(crate) wanted: u32,
    /// Which go first.
    pub(crate) remove: &'a [i32],
    pub(crate) policy: ScaleInPolicy,
    pub(crate) recorded: Records,
    /// Groups of which there is a StatefulSet.
    pub(crate) running: BTreeSet<u32>,
    /// Groups of which there are volumes.
    pub(crate) stored: BTreeSet<u32>,
    /// Active groups that take messages as far as is known.
    pub(crate) writable: BTreeSet<u32>,
    /// Joining groups that have everything they need.
    pub(crate) joined: BTreeSet<u32>,
    /// Draining groups with nothing left to read, and those that may go without.
    pub(crate) drained: BTreeSet<u32>,
    /// Removed groups of which nothing is left.
    pub(crate) gone: BTreeSet<u32>,
    pub(crate) now: Timestamp,
}

/// Decides what to record next.
pub(crate) fn decide(input: &Input) -> (Records, Vec<Waiting>) {
    let mut records = found(input);
    let mut waiting = Vec::new();
    advance(input, &mut records);
    let staying = |records: &Records| {
        let stays = |record: &Record| matches!(record.state, State::Joining | State::Active);
        u32::try_from(records.groups.values().filter(|record| stays(record)).count()).unwrap_or(u32::MAX)
    };
    let missing = input.wanted.saturating_sub(staying(&records));
    let surplus = staying(&records).saturating_sub(input.wanted);
    add(input, missing, &mut records, &mut waiting);
    take(input, surplus, &mut records, &mut waiting);
    (records, waiting)
}

/// What is recorded, and what runs although nobody recorded it: the status was lost. A number below the recorded next
/// one is not among those: its group was removed, and what is seen of it is old.
fn found(input: &Input) -> Records {
    let mut records = input.recorded.clone();
    let lost = records.groups.is_empty() && records.next == 0;
    for index in input.running.iter().filter(|index| **index >= records.next) {
        records.groups.entry(*index).or_insert(Record { state: State::Active, since: None });
    }
    if lost {
        // A cluster takes the volumes of its predecessor.
        let wanted = usize::try_from(input.wanted).unwrap_or(usize::MAX);
        for index in &input.stored {
            if records.groups.len() < wanted {
                records.groups.entry(*index).or_insert(Record { state: State::Active, since: None });
            }
        }
    }
    let highest = records.groups.keys().chain(&input.stored).max();
    records.next = records.next.max(highest.map_or(0, |index| index + 1));
    records
}

fn advance(input: &Input, records: &mut Records) {
    records.groups.retain(|index, record| record.state != State::Removing || !input.gone.contains(index));
    for (index, record) in &mut records.groups {
        match record.state {
            State::Joining if input.joined.contains(index) => record.state = State::Active,
            State::Draining if input.drained.contains(index) => record.state = State::Removing,
            _ => {}
        }
    }
}

/// Groups that drain come back before new ones are made.
fn add(input: &Input, missing: u32, records: &mut Records, waiting: &mut Vec<Waiting>) {
    let has_others = !records.groups.is_empty();
    let mut missing = missing;
    for (_, record) in records.groups.iter_mut().filter(|(_, record)| record.state == State::Draining) {
        if missing > 0 {
            *record = Record { state: State::Active, since: None };
            missing -= 1;
        }
    }
    for _ in 0..missing {
        // A new cluster has nothing that its groups could start with.
        if records.next == 0 && !has_others {
            let all = (0..input.wanted).map(|index| (index, Record { state: State::Active, since: None }));
            *records = Records { groups: all.collect(), next: input.wanted };
            return;
        }
        if records.next > HIGHEST {
            waiting.push(Waiting {
                reason: "Blocked",
                message: format!(
                    "groups have numbers up to {HIGHEST}, and all have been used; lower spec.brokers.groups"
                ),
                blocked: true,
            });
            return;
        }
        let state = if has_others { State::Joining } else { State::Active };
        records.groups.insert(records.next, Record { state, since: None });
        records.next += 1;
    }
}

/// Those that were named go first, then those that never took a message, then the highest. One stays that takes messages.
fn take(input: &Input, surplus: u32, records: &mut Records, waiting: &mut Vec<Waiting>) {
    if surplus == 0 {
        return;
    }
    let blocked = |reason, message: &str| Waiting { reason, message: message.to_owned(), blocked: true };
    if input.policy == ScaleInPolicy::Refuse {
        let text = "spec.brokers.scaleIn.policy is Refuse: no group goes; raise spec.brokers.groups again, or set Drain";
        waiting.push(blocked("Refused", text));
        return;
    }
    let named = |index: u32| i32::try_from(index).is_ok_and(|index| input.remove.contains(&index));
    let mut candidates: Vec<(bool, bool, u32)> = records
        .groups
        .iter()
        .filter(|(_, record)| matches!(record.state, State::Joining | State::Active))
        .map(|(index, record)| (named(*index), record.state == State::Joining, *index))
        .collect();
    candidates.sort();
    for (_, joining, index) in
        candidates.into_iter().rev().take(usize::try_from(surplus).unwrap_or(usize::MAX))
    {
        let active = records.groups.values().filter(|record| record.state == State::Active).count();
        if !joining && active <= 1 {
            let text = "the last group that takes messages stays; set spec.brokers.groups to 1, or spec.stopped to true";
            waiting.push(blocked("LastWritableGroup", text));
            return;
        }
        let stays = |(other, record): (&u32, &Record)| {
            *other != index && record.state == State::Active && input.writable.contains(other)
        };
        if !joining && !records.groups.iter().any(stays) {
            let message = format!("group {index} goes when another one takes messages");
            waiting.push(Waiting { reason: "ScalingIn", message, blocked: false });
            return;
        }
        // One that joins never took a message: there is nothing to drain.
        let state = if joining { State::Removing } else { State::Draining };
        records.groups.insert(index, Record { state, since: Some(input.now) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Active, Draining, Joining, Removing};

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    fn records(states: &[(u32, State)], next: u32) -> Records {
        let since = |state| matches!(state, Draining | Removing).then(now);
        let groups =
            states.iter().map(|(index, state)| (*index, Record { state: *state, since: since(*state) }));
        Records { groups: groups.collect(), next }
    }

    fn input(wanted: u32, states: &[(u32, State)], next: u32) -> Input<'static> {
        Input {
            wanted,
            remove: &[],
            policy: ScaleInPolicy::Drain,
            recorded: records(states, next),
            running: BTreeSet::new(),
            stored: BTreeSet::new(),
            writable: (0..9).collect(),
            joined: BTreeSet::new(),
            drained: BTreeSet::new(),
            gone: BTreeSet::new(),
            now: now(),
        }
    }

    fn states(input: &Input) -> (Vec<(u32, State)>, u32, Vec<&'static str>) {
        let (records, waiting) = decide(input);
        let groups = records.groups.iter().map(|(index, record)| (*index, record.state)).collect();
        (groups, records.next, waiting.iter().map(|waiting| waiting.reason).collect())
    }

    #[test]
    fn groups_come_and_go_one_state_at_a_time() {
        type Row = (&'static str, Input<'static>, Vec<(u32, State)>, u32, Vec<&'static str>);
        let two = [(0, Active), (1, Active)];
        let cases: Vec<Row> = vec![
            ("a new cluster", input(2, &[], 0), vec![(0, Active), (1, Active)], 2, vec![]),
            ("as it should be", input(2, &two, 2), two.to_vec(), 2, vec![]),
            ("one more joins", input(3, &two, 2), vec![(0, Active), (1, Active), (2, Joining)], 3, vec![]),
            (
                "numbers are not used again",
                input(2, &[(0, Active)], 5),
                vec![(0, Active), (5, Joining)],
                6,
                vec![],
            ),
            ("the highest drains", input(1, &two, 2), vec![(0, Active), (1, Draining)], 2, vec![]),
            (
                "the named one drains",
                Input { remove: &[0, 7], ..input(1, &two, 2) },
                vec![(0, Draining), (1, Active)],
                2,
                vec![],
            ),
            (
                "the last one stays",
                input(0, &[(0, Active)], 1),
                vec![(0, Active)],
                1,
                vec!["LastWritableGroup"],
            ),
            (
                "none goes while the others take no messages",
                Input { writable: BTreeSet::from([1]), ..input(1, &two, 2) },
                two.to_vec(),
                2,
                vec!["ScalingIn"],
            ),
            (
                "one that takes none may go",
                Input { writable: BTreeSet::from([0]), ..input(1, &two, 2) },
                vec![(0, Active), (1, Draining)],
                2,
                vec![],
            ),
            (
                "none goes where none may",
                Input { policy: ScaleInPolicy::Refuse, ..input(1, &two, 2) },
                two.to_vec(),
                2,
                vec!["Refused"],
            ),
            ("a drain is cancelled", input(2, &[(0, Active), (1, Draining)], 2), two.to_vec(), 2, vec![]),
            (
                "a removal is not",
                input(2, &[(0, Active), (1, Removing)], 2),
                vec![(0, Active), (1, Removing), (2, Joining)],
                3,
                vec![],
            ),
            (
                "what joins goes first and at once",
                input(1, &[(0, Active), (1, Joining), (2, Active)], 3),
                vec![(0, Active), (1, Removing), (2, Draining)],
                3,
                vec![],
            ),
            (
                "what has joined takes messages",
                Input { joined: BTreeSet::from([1]), ..input(2, &[(0, Active), (1, Joining)], 2) },
                two.to_vec(),
                2,
                vec![],
            ),
            (
                "what is drained is removed",
                Input { drained: BTreeSet::from([1]), ..input(1, &[(0, Active), (1, Draining)], 2) },
                vec![(0, Active), (1, Removing)],
                2,
                vec![],
            ),
            (
                "what is gone is forgotten, but for its number",
                Input { gone: BTreeSet::from([1]), ..input(1, &[(0, Active), (1, Removing)], 2) },
                vec![(0, Active)],
                2,
                vec![],
            ),
            (
                "a lost status is found again",
                Input {
                    running: BTreeSet::from([1, 4]),
                    stored: BTreeSet::from([1, 4, 6]),
                    ..input(2, &[], 0)
                },
                vec![(1, Active), (4, Active)],
                7,
                vec![],
            ),
            (
                "an old view brings no removed group back",
                Input { running: BTreeSet::from([0, 1]), ..input(1, &[(0, Active)], 2) },
                vec![(0, Active)],
                2,
                vec![],
            ),
            (
                "volumes of the predecessor are taken",
                Input { stored: BTreeSet::from([3, 5]), ..input(3, &[], 0) },
                vec![(3, Active), (5, Active), (6, Joining)],
                7,
                vec![],
            ),
            ("numbers end", input(2, &[(0, Active)], 1000), vec![(0, Active)], 1000, vec!["Blocked"]),
        ];
        for (name, input, groups, next, waiting) in cases {
            assert_eq!(states(&input), (groups, next, waiting), "{name}");
        }
    }
}
