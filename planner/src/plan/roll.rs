//! Which pod restarts next, and which group stops taking messages before its master does, or a slave that every message
//! waits for. Slaves first, the one that is furthest behind first; one disruption per group; the first pod that does not
//! come back stops everything.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::scale_in::elapsed;
use crate::step::{Class, Waiting};

/// How long producers take to leave a group that takes no messages: clients look for routes every 30 s.
pub(crate) const PRODUCERS_LEAVE: Duration = Duration::from_secs(35);

/// A group, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) index: u32,
    /// Whether clients are led here: one that joins disturbs nobody, whatever becomes of it.
    pub(crate) serves: bool,
    /// Whether it is to take messages. One that joins or drains has no producers who would have to leave.
    pub(crate) active: bool,
    /// Whether producers may be sent here: its permission says so and its master is ready.
    pub(crate) writable: bool,
    /// Whether its settings say that it takes no messages, though its state does not.
    pub(crate) quiet: bool,
    /// Since when all its members do so.
    pub(crate) quiet_since: Option<Timestamp>,
    /// Whether its settings say again that it takes messages, and a member has not taken that over.
    pub(crate) returns: bool,
    /// Those there should be, by ordinal.
    pub(crate) members: Vec<Member>,
}

/// A member, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Member {
    pub(crate) ready: bool,
    pub(crate) ready_since: Option<Timestamp>,
    /// Why its pod has to restart.
    pub(crate) outdated: Option<String>,
    /// Whether its pod does not run at all, and how.
    pub(crate) trouble: Option<String>,
    /// Bytes it does not have; 0 for a master.
    pub(crate) lag: Option<u64>,
}

/// What limits restarts.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Groups that may have a member down at once.
    pub(crate) most_groups: usize,
    /// How many members of a group must have a message before it is acknowledged.
    pub(crate) acks: usize,
    /// Why no group may begin now.
    pub(crate) hold: Option<Waiting>,
    /// Why no master may restart.
    pub(crate) hold_masters: Option<Waiting>,
    /// Between two groups.
    pub(crate) pause: Duration,
    pub(crate) now: Timestamp,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roll {
    /// Groups that take no messages for now.
    pub(crate) quiet: BTreeSet<u32>,
    pub(crate) restart: Option<Restart>,
    pub(crate) waiting: Vec<Waiting>,
}

/// A pod to restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) group: u32,
    pub(crate) ordinal: u32,
    pub(crate) class: Class,
    /// Whether it does not run anyway, so that no budget is asked.
    pub(crate) broken: bool,
    pub(crate) reason: String,
}

/// Decides for all groups.
pub(crate) fn decide(groups: &[Group], rules: &Rules) -> Roll {
    let mut roll = Roll::default();
    if let Some(restart) = groups.iter().find_map(broken) {
        roll.restart = Some(restart);
    }
    let kept =
        groups.iter().filter(|group| group.quiet && !is_done(group, rules) && other_writable(groups, group));
    roll.quiet.extend(kept.map(|group| group.index));
    // One that is quiet is disturbed until it takes messages again.
    let disturbed =
        |group: &&Group| group.quiet || group.returns || group.members.iter().any(|member| !member.ready);
    let serving = groups.iter().filter(|group| group.serves);
    let mut busy: BTreeSet<u32> = serving.filter(disturbed).map(|group| group.index).collect();
    // What is under way is finished first, and of that what has a member down.
    let place = |group: &Group| (is_only_quiet(group), group.index);
    let mut order: Vec<&Group> = groups.iter().collect();
    order.sort_by_key(|group| (!busy.contains(&group.index), place(group)));
    for group in
        order.into_iter().filter(|group| group.members.iter().any(|member| member.outdated.is_some()))
    {
        if roll.restart.is_some() {
            break;
        }
        // More may be quiet than are allowed now: those that come first do not wait for those after them.
        let waits_itself = |other: &&Group| {
            busy.contains(&group.index) && is_only_quiet(other) && place(other) > place(group)
        };
        let others = groups.iter().filter(|other| other.index != group.index && busy.contains(&other.index));
        let others = others.filter(|other| !waits_itself(other)).count();
        if others >= rules.most_groups {
            roll.waiting.push(wait(
                "RollingOut",
                format!("group {} waits until another one is complete", group.index),
            ));
            continue;
        }
        let begun =
            busy.contains(&group.index) || group.members.iter().any(|member| member.outdated.is_none());
        if !begun && let Some(why) = hold(groups, group, rules) {
            roll.waiting.push(why);
            continue;
        }
        match next(groups, group, rules, &roll.quiet) {
            Next::Restart(restart) => roll.restart = Some(restart),
            Next::Quiet(waiting) => {
                roll.quiet.insert(group.index);
                busy.insert(group.index);
                roll.waiting.push(waiting);
            }
            Next::Wait(waiting) => roll.waiting.push(waiting),
        }
    }
    roll
}

enum Next {
    Restart(Restart),
    Quiet(Waiting),
    Wait(Waiting),
}

/// A pod that does not run and is not what it should be may go at any time: that mends a manifest that was wrong.
fn broken(group: &Group) -> Option<Restart> {
    let (ordinal, member) = (0..)
        .zip(&group.members)
        .find(|(_, member)| !member.ready && member.outdated.is_some() && member.trouble.is_some())?;
    Some(Restart {
        group: group.index,
        ordinal,
        class: Class::MemberLoss,
        broken: true,
        reason: format!(
            "{}; it does not run ({})",
            member.outdated.as_deref().unwrap_or_default(),
            member.trouble.as_deref().unwrap_or_default()
        ),
    })
}

/// `quiet` are groups that take no messages from now on.
fn next(groups: &[Group], group: &Group, rules: &Rules, quiet: &BTreeSet<u32>) -> Next {
    let slaves = (0..).zip(&group.members).skip(1).filter(|(_, member)| member.outdated.is_some());
    // Nobody knows how far behind: further than anyone.
    let slave = slaves.max_by_key(|(ordinal, member)| (member.lag.unwrap_or(u64::MAX), u32::MAX - ordinal));
    let (ordinal, member) = match (slave, group.members.first()) {
        (Some(slave), _) => slave,
        (None, Some(master)) => (0, master),
        (None, None) => return Next::Wait(wait("RollingOut", String::new())),
    };
    let reason = member.outdated.clone().unwrap_or_default();
    let unready = (0..).zip(&group.members).find(|(other, member)| *other != ordinal && !member.ready);
    if let Some((other, _)) = unready {
        let text = format!("member {other} of group {} is not ready", group.index);
        return Next::Wait(wait("RollingOut", text));
    }
    let restart = |class| {
        Next::Restart(Restart { group: group.index, ordinal, class, broken: false, reason: reason.clone() })
    };
    if let Some(why) = rules.hold_masters.clone().filter(|_| ordinal == 0 && member.ready) {
        return Next::Wait(why);
    }
    if !group.active || !pauses_writes(group, ordinal, rules) {
        return restart(Class::MemberLoss);
    }
    if !member.ready {
        return restart(Class::WritePause);
    }
    let mut others = groups.iter().filter(|other| other.index != group.index);
    if !others.clone().any(|other| other.writable && !quiet.contains(&other.index)) {
        // Whoever is about to take messages again takes them while this one does not.
        let comes_back = |other: &&Group| other.quiet || other.returns || quiet.contains(&other.index);
        return match others.find(comes_back) {
            Some(other) => Next::Wait(wait(
                "RollingOut",
                format!("group {} waits until group {} takes messages again", group.index, other.index),
            )),
            None => restart(Class::WritePause),
        };
    }
    let behind = group.members.iter().skip(1).any(|slave| slave.lag != Some(0));
    let text = match group.quiet_since {
        _ if !group.quiet && ordinal == 0 => {
            format!("group {} stops taking messages before its master restarts", group.index)
        }
        _ if !group.quiet => format!(
            "group {} stops taking messages before member {ordinal} restarts: without it none is acknowledged in time",
            group.index
        ),
        Some(since) if elapsed(since, rules.now) >= PRODUCERS_LEAVE => match behind && ordinal == 0 {
            true => format!("slaves of group {} still copy from its master", group.index),
            false => return restart(Class::MemberLoss),
        },
        _ => format!("producers leave group {}", group.index),
    };
    Next::Quiet(wait("RollingOut", text))
}

/// Whether a group's messages find no answer while a member is away: without its master there is nobody to send to, and
/// without a slave that all of them wait for they are answered late, as failures. All others are ready, and so in sync,
/// when a member restarts.
fn pauses_writes(group: &Group, ordinal: u32, rules: &Rules) -> bool {
    ordinal == 0 || group.members.len() <= rules.acks
}

fn hold(groups: &[Group], group: &Group, rules: &Rules) -> Option<Waiting> {
    if let Some(hold) = &rules.hold {
        return Some(hold.clone());
    }
    let others = groups.iter().filter(|other| other.index != group.index);
    let done = others.flat_map(|other| &other.members).filter(|member| member.outdated.is_none());
    let last = done.filter_map(|member| member.ready_since).max()?;
    (elapsed(last, rules.now) < rules.pause).then(|| {
        wait("RollingOut", format!("spec.brokers.rollout.pauseBetween before group {}", group.index))
    })
}

/// Whether nobody is away, or about to go, whom messages wait for.
fn is_done(group: &Group, rules: &Rules) -> bool {
    let awaited = (0..).zip(&group.members).filter(|(ordinal, _)| pauses_writes(group, *ordinal, rules));
    let is_held = |ordinal: u32| ordinal == 0 && rules.hold_masters.is_some();
    awaited
        .into_iter()
        .all(|(ordinal, member)| member.ready && (member.outdated.is_none() || is_held(ordinal)))
}

/// Whether nothing of a group is away but its producers.
fn is_only_quiet(group: &Group) -> bool {
    group.quiet && group.members.iter().all(|member| member.ready)
}

fn other_writable(groups: &[Group], group: &Group) -> bool {
    groups.iter().any(|other| other.index != group.index && other.writable)
}

fn wait(reason: &'static str, message: String) -> Waiting {
    Waiting { reason, message, blocked: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_900_000_000 + second).unwrap()
    }

    fn rules() -> Rules {
        Rules { most_groups: 1, acks: 1, hold: None, hold_masters: None, pause: Duration::ZERO, now: at(100) }
    }

    fn good() -> Member {
        Member { ready: true, lag: Some(0), ready_since: Some(at(0)), ..Member::default() }
    }

    fn old() -> Member {
        Member { outdated: Some("new image".to_owned()), ..good() }
    }

    fn down(member: Member) -> Member {
        Member { ready: false, lag: None, ..member }
    }

    fn broken(member: Member) -> Member {
        Member { trouble: Some("ImagePullBackOff".to_owned()), ..down(member) }
    }

    fn group(index: u32, members: Vec<Member>) -> Group {
        let writable = members[0].ready;
        Group { index, serves: true, active: true, writable, members, ..Group::default() }
    }

    fn quiet(group: Group, since: Option<i64>) -> Group {
        Group { writable: false, quiet: true, quiet_since: since.map(at), ..group }
    }

    /// What is restarted, and which groups are quiet.
    fn short(groups: &[Group], rules: &Rules) -> (Option<(u32, u32, Class)>, Vec<u32>) {
        let roll = decide(groups, rules);
        let restart = roll.restart.map(|restart| (restart.group, restart.ordinal, restart.class));
        (restart, roll.quiet.into_iter().collect())
    }

    #[test]
    fn slaves_go_first_and_a_master_only_when_its_producers_have_left() {
        use Class::{MemberLoss, WritePause};
        let far = Member { lag: Some(9), ..old() };
        let held = Waiting { reason: "AwaitingApproval", message: String::new(), blocked: true };
        type Row = (&'static str, Vec<Group>, Rules, Option<(u32, u32, Class)>, Vec<u32>);
        let cases: Vec<Row> = vec![
            ("nothing to do", vec![group(0, vec![good(), good()])], rules(), None, vec![]),
            (
                "the slave furthest behind",
                vec![group(0, vec![old(), old(), far.clone()])],
                rules(),
                Some((0, 2, MemberLoss)),
                vec![],
            ),
            (
                "not while another member is down",
                vec![group(0, vec![old(), old(), down(good())])],
                rules(),
                None,
                vec![],
            ),
            (
                "the one that is down, if it is old itself",
                vec![group(0, vec![good(), down(old())])],
                rules(),
                Some((0, 1, MemberLoss)),
                vec![],
            ),
            (
                "those that do not run go whatever the others do",
                vec![group(0, vec![broken(old()), broken(old())])],
                rules(),
                Some((0, 0, MemberLoss)),
                vec![],
            ),
            (
                "not in two groups at once",
                vec![group(0, vec![good(), down(good())]), group(1, vec![good(), old()])],
                rules(),
                None,
                vec![],
            ),
            (
                "a group that joins holds nobody up",
                vec![Group { serves: false, ..group(0, vec![down(good())]) }, group(1, vec![good(), old()])],
                rules(),
                Some((1, 1, MemberLoss)),
                vec![],
            ),
            (
                "but in as many as allowed",
                vec![group(0, vec![good(), down(good())]), group(1, vec![good(), old()])],
                Rules { most_groups: 2, ..rules() },
                Some((1, 1, MemberLoss)),
                vec![],
            ),
            (
                "a master alone pauses writes",
                vec![group(0, vec![old(), good()])],
                rules(),
                Some((0, 0, WritePause)),
                vec![],
            ),
            (
                "with another group its producers leave first",
                vec![group(0, vec![old(), good()]), group(1, vec![old(), old()])],
                rules(),
                None,
                vec![0],
            ),
            (
                "the first of those that are quiet, though fewer may be by now",
                vec![
                    quiet(group(0, vec![old(), good()]), Some(0)),
                    quiet(group(1, vec![old(), good()]), Some(0)),
                    group(2, vec![good()]),
                ],
                rules(),
                Some((0, 0, MemberLoss)),
                vec![0, 1],
            ),
            (
                "but before them one with a member down",
                vec![
                    quiet(group(0, vec![old(), good()]), Some(0)),
                    group(1, vec![good(), down(old())]),
                    group(2, vec![good()]),
                ],
                rules(),
                Some((1, 1, MemberLoss)),
                vec![0],
            ),
            (
                "never all groups at once",
                vec![group(0, vec![old(), good()]), group(1, vec![old(), good()])],
                Rules { most_groups: 2, ..rules() },
                None,
                vec![0],
            ),
            (
                "nor one while the other's master restarts",
                vec![quiet(group(0, vec![old(), good()]), Some(0)), group(1, vec![old(), good()])],
                Rules { most_groups: 2, ..rules() },
                Some((0, 0, MemberLoss)),
                vec![0],
            ),
            (
                "nor one that is the last to take messages",
                vec![quiet(group(0, vec![down(good()), good()]), Some(0)), group(1, vec![old(), good()])],
                Rules { most_groups: 2, ..rules() },
                None,
                vec![0],
            ),
            (
                "which takes a while",
                vec![quiet(group(0, vec![old(), good()]), Some(66)), group(1, vec![old()])],
                rules(),
                None,
                vec![0],
            ),
            (
                "then it goes",
                vec![quiet(group(0, vec![old(), good()]), Some(65)), group(1, vec![old()])],
                rules(),
                Some((0, 0, MemberLoss)),
                vec![0],
            ),
            (
                "unless a slave has not everything",
                vec![
                    quiet(group(0, vec![old(), Member { lag: Some(1), ..good() }]), Some(0)),
                    group(1, vec![old()]),
                ],
                rules(),
                None,
                vec![0],
            ),
            (
                "quiet until the master is back",
                vec![quiet(group(0, vec![down(good()), good()]), Some(0)), group(1, vec![old()])],
                rules(),
                None,
                vec![0],
            ),
            (
                "and no longer",
                vec![quiet(group(0, vec![good(), good()]), Some(0)), group(1, vec![old()])],
                rules(),
                None,
                vec![],
            ),
            (
                "not quiet when no other group takes messages",
                vec![quiet(group(0, vec![down(old()), good()]), Some(0)), group(1, vec![down(good())])],
                Rules { most_groups: 2, ..rules() },
                Some((0, 0, WritePause)),
                vec![],
            ),
            (
                "another one waits until it takes messages again",
                vec![
                    Group { returns: true, writable: false, ..group(0, vec![good()]) },
                    group(1, vec![old()]),
                ],
                rules(),
                None,
                vec![],
            ),
            (
                "nothing begins outside its window",
                vec![group(0, vec![old(), old()])],
                Rules { hold: Some(held.clone()), ..rules() },
                None,
                vec![],
            ),
            (
                "what has begun goes on",
                vec![group(0, vec![old(), good()])],
                Rules { hold: Some(held.clone()), ..rules() },
                Some((0, 0, WritePause)),
                vec![],
            ),
            (
                "one that goes or comes has nobody to be led away",
                vec![
                    Group { active: false, writable: false, ..group(0, vec![old(), good()]) },
                    group(1, vec![old()]),
                ],
                rules(),
                Some((0, 0, MemberLoss)),
                vec![],
            ),
            (
                "masters wait for approval",
                vec![group(0, vec![old(), good()])],
                Rules { hold_masters: Some(held), ..rules() },
                None,
                vec![],
            ),
            (
                "groups wait for each other",
                vec![group(0, vec![good()]), group(1, vec![old()])],
                Rules { pause: Duration::from_secs(101), ..rules() },
                None,
                vec![],
            ),
        ];
        for (name, groups, rules, restart, quiet) in cases {
            assert_eq!(short(&groups, &rules), (restart, quiet), "{name}");
        }
    }

    #[test]
    fn a_slave_that_every_message_waits_for_goes_like_a_master() {
        use Class::{MemberLoss, WritePause};
        let two = || Rules { acks: 2, ..rules() };
        let held = Waiting { reason: "AwaitingApproval", message: String::new(), blocked: true };
        let supervised = || Rules { hold_masters: Some(held.clone()), ..two() };
        let other = || group(1, vec![good(), good()]);
        let of = |master, slave| group(0, vec![master, slave]);
        type Row = (&'static str, Vec<Group>, Rules, Option<(u32, u32, Class)>, Vec<u32>);
        let cases: Vec<Row> = vec![
            ("its producers leave first", vec![of(old(), old()), other()], two(), None, vec![0]),
            ("which takes a while", vec![quiet(of(old(), old()), Some(66)), other()], two(), None, vec![0]),
            (
                "then it goes, however far behind it is",
                vec![quiet(of(old(), Member { lag: Some(9), ..old() }), Some(65)), other()],
                two(),
                Some((0, 1, MemberLoss)),
                vec![0],
            ),
            (
                "quiet until it is back",
                vec![quiet(of(old(), down(good())), Some(0)), other()],
                two(),
                None,
                vec![0],
            ),
            (
                "also when the master stays",
                vec![quiet(of(good(), down(good())), Some(0)), other()],
                two(),
                None,
                vec![0],
            ),
            (
                "then the master at once",
                vec![quiet(of(old(), good()), Some(0)), other()],
                two(),
                Some((0, 0, MemberLoss)),
                vec![0],
            ),
            ("and no longer", vec![quiet(of(good(), good()), Some(0)), other()], two(), None, vec![]),
            (
                "nor while the master waits for a person",
                vec![quiet(of(old(), good()), Some(0)), other()],
                supervised(),
                None,
                vec![],
            ),
            ("alone it pauses writes", vec![of(old(), old())], two(), Some((0, 1, WritePause)), vec![]),
            (
                "not while the only other group comes back",
                vec![of(old(), old()), Group { returns: true, writable: false, ..other() }],
                Rules { most_groups: 2, ..two() },
                None,
                vec![],
            ),
            (
                "with a third member nobody waits for it",
                vec![group(0, vec![old(), old(), good()]), other()],
                two(),
                Some((0, 1, MemberLoss)),
                vec![],
            ),
            (
                "nobody sends to a group that goes or comes",
                vec![Group { active: false, writable: false, ..of(old(), old()) }, other()],
                two(),
                Some((0, 1, MemberLoss)),
                vec![],
            ),
        ];
        for (name, groups, rules, restart, quiet) in cases {
            assert_eq!(short(&groups, &rules), (restart, quiet), "{name}");
        }
    }
}
