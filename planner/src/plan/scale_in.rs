//! Whether a draining group may go: its consumers have read everything, and clients had time to look for routes.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use manifest::cluster::{IdleGroups, ScaleInPolicy};

use crate::facts::{Answer, DrainFacts};

/// With policy `Force`: how long members have to say that they refuse messages.
const FORCED_WAITS: Duration = Duration::from_secs(60);

/// How many topics and groups are named.
const NAMED: usize = 3;

/// What decides about a drain.
pub(crate) struct Drain<'a> {
    pub(crate) policy: ScaleInPolicy,
    pub(crate) idle_groups: IdleGroups,
    /// Zero is never.
    pub(crate) ignore_idle_after: Duration,
    pub(crate) min_time: Duration,
    pub(crate) timeout: Duration,
    pub(crate) started: Timestamp,
    /// Since when all members refuse messages; `None` while one may not.
    pub(crate) read_only_since: Option<Timestamp>,
    /// The member that may not, and whether it is ready and does not answer.
    pub(crate) unconfirmed: String,
    pub(crate) is_silent: bool,
    /// Whether the master's pod is ready.
    pub(crate) master_runs: bool,
    pub(crate) found: Answer<&'a DrainFacts>,
    pub(crate) now: Timestamp,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// In one word of the condition `ScaleIn`, in one of the status, and in words.
    Waiting {
        reason: &'static str,
        phase: &'static str,
        message: String,
    },
    Drained,
}

/// Decides whether the group may go.
pub(crate) fn decide(drain: &Drain) -> Progress {
    let forced = drain.policy == ScaleInPolicy::Force;
    let patience = if forced { drain.timeout.min(FORCED_WAITS) } else { drain.timeout };
    let late = elapsed(drain.started, drain.now) > patience;
    let waiting = |reason, phase, message: String| Progress::Waiting { reason, phase, message };
    let for_now = |reason, phase, text: &str, remedy: &str| match late {
        true => waiting("TimedOut", phase, format!("{text}, after {}s: {remedy}", patience.as_secs())),
        false => waiting(reason, phase, text.to_owned()),
    };
    let Some(since) = drain.read_only_since else {
        // Nobody can tell a master that does not run to refuse messages, and who forces gives up what is on it. One that
        // is ready may be taking messages at this moment: their producers would be told that they are safe.
        if forced && late && !drain.master_runs {
            return Progress::Drained;
        }
        let remedy = format!(
            "{} does not say that it refuses messages: start it, and let the operator reach port 5558 of its pod; scaleIn.policy Force gives up \
             what is on a master that does not run",
            drain.unconfirmed
        );
        return match drain.is_silent {
            true => {
                for_now("ObservationFailed", "Requested", "a member does not answer the operator", &remedy)
            }
            false => for_now("Draining", "Requested", "its members are told to refuse messages", &remedy),
        };
    };
    if forced {
        return Progress::Drained;
    }
    let Answer::Known(found) = drain.found else {
        let remedy = "start its master, and let the operator reach its port for clients; scaleIn.policy Force skips the whole \
                      drain: messages that nobody read stay behind or are deleted";
        let text = "what its consumers have read is not known yet";
        return for_now("ObservationFailed", "WriteDisabled", text, remedy);
    };
    if let Some(topic) = found.order_configured.first() {
        let text = format!(
            "the order configuration of topic {topic} names it, so producers of {topic} send to it; take it out with mqadmin \
             updateOrderConf"
        );
        return waiting("OrderedTopic", "WriteDisabled", text);
    }
    if !found.routes_are_read_only {
        let text = "a name server still leads producers to it, or does not answer";
        let remedy = "start name servers that are not ready, and let the operator reach their ports";
        return for_now("Draining", "WriteDisabled", text, remedy);
    }
    if found.remaining > 0 {
        let text = format!("consumers have {} messages to read", found.remaining);
        return match found.unread_ordered.first().filter(|_| !late) {
            Some(topic) => waiting("OrderedTopic", "Draining", unread_ordered(topic, found)),
            None => for_now("Draining", "Draining", &text, "start them"),
        };
    }
    if let Some(idle) = found.idle.iter().find(|idle| !is_ignored(drain, idle.idle_for)) {
        let text = format!(
            "consumer group {} has {} messages to read and no members; start one, delete the group, or set \
             scaleIn.idleGroups to Drop",
            idle.name, idle.remaining
        );
        return waiting("IdleGroup", "Draining", text);
    }
    let only_here = &found.only_here;
    let topics = only_here.topics.iter().map(|topic| format!("topic {topic}"));
    let names: Vec<String> =
        topics.chain(only_here.groups.iter().map(|group| format!("subscription group {group}"))).collect();
    if !names.is_empty() {
        let text = format!(
            "{} topics and subscription groups are on no group that stays ({})",
            names.len(),
            names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ")
        );
        let remedy = "the operator's log says why they cannot be made there; make them with mqadmin, or delete them here";
        return for_now("Draining", "Draining", &text, remedy);
    }
    let passed = elapsed(since, drain.now);
    if passed < drain.min_time {
        let left = (drain.min_time - passed).as_secs() + 1;
        return waiting(
            "Draining",
            "Draining",
            format!("everything is read; {left}s more for clients to look for routes"),
        );
    }
    Progress::Drained
}

/// Says what keeps the order: that of messages with one key is the order of one queue, and without this group they go to
/// another one, where they may be read before those that are left here.
fn unread_ordered(topic: &str, found: &DrainFacts) -> String {
    let unread = found.idle.iter().map(|idle| idle.remaining).fold(found.remaining, u64::saturating_add);
    format!(
        "topic {topic} is ordered and has messages to read: stop its producers until they are read, and the group goes by \
         itself; scaleIn.policy Force skips the whole drain: {unread} unread messages of all topics stay behind or are \
         deleted"
    )
}

fn is_ignored(drain: &Drain, idle_for: Answer<Duration>) -> bool {
    let long_enough = matches!(idle_for, Answer::Known(time) if time >= drain.ignore_idle_after);
    drain.idle_groups == IdleGroups::Drop && !drain.ignore_idle_after.is_zero() && long_enough
}

/// Returns the time between the two; none when clocks disagree.
pub(crate) fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(to.as_second() - from.as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{IdleGroup, OnlyHere};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_900_000_000 + second).unwrap()
    }

    fn drain(found: Answer<&DrainFacts>, now: i64) -> Drain<'_> {
        Drain {
            policy: ScaleInPolicy::Drain,
            idle_groups: IdleGroups::Block,
            ignore_idle_after: Duration::ZERO,
            min_time: Duration::from_secs(60),
            timeout: Duration::from_secs(1_000),
            started: at(0),
            read_only_since: Some(at(0)),
            unconfirmed: "b-0".to_owned(),
            is_silent: false,
            master_runs: true,
            found,
            now: at(now),
        }
    }

    fn short(progress: &Progress) -> (&'static str, &'static str) {
        match progress {
            Progress::Waiting { reason, phase, .. } => (reason, phase),
            Progress::Drained => ("Done", ""),
        }
    }

    #[test]
    fn a_group_goes_only_when_nothing_is_left_to_read() {
        let empty = DrainFacts { routes_are_read_only: true, ..DrainFacts::default() };
        let led_to = DrainFacts::default();
        let topics = vec!["t".to_owned()];
        let only_here = DrainFacts { only_here: OnlyHere { topics, ..OnlyHere::default() }, ..empty.clone() };
        let full = DrainFacts { remaining: 5, ..empty.clone() };
        let ordered = DrainFacts { unread_ordered: vec!["t".to_owned()], ..full.clone() };
        let configured = DrainFacts { order_configured: vec!["t".to_owned()], ..empty.clone() };
        let idle = |idle_for| DrainFacts {
            idle: vec![IdleGroup { name: "g".to_owned(), remaining: 3, idle_for }],
            ..empty.clone()
        };
        let (unknown, hour) = (idle(Answer::Unknown), idle(Answer::Known(Duration::from_secs(3_600))));
        let drop = |found, after| Drain {
            idle_groups: IdleGroups::Drop,
            ignore_idle_after: Duration::from_secs(after),
            ..drain(Answer::Known(found), 90)
        };
        let forced = |now| Drain {
            policy: ScaleInPolicy::Force,
            read_only_since: None,
            ..drain(Answer::Unknown, now)
        };
        let cases = [
            (
                "writes are on",
                Drain { read_only_since: None, ..drain(Answer::Known(&empty), 90) },
                "Draining",
            ),
            ("nothing is known", drain(Answer::Unknown, 90), "ObservationFailed"),
            ("routes lead to it", drain(Answer::Known(&led_to), 90), "Draining"),
            ("messages are left", drain(Answer::Known(&full), 90), "Draining"),
            ("for too long", drain(Answer::Known(&full), 2_000), "TimedOut"),
            ("order would break", drain(Answer::Known(&ordered), 90), "OrderedTopic"),
            ("order would break for too long", drain(Answer::Known(&ordered), 2_000), "TimedOut"),
            ("an order names it", drain(Answer::Known(&configured), 90), "OrderedTopic"),
            ("an idle group", drain(Answer::Known(&hour), 90), "IdleGroup"),
            ("an idle group, too short", drop(&hour, 7_200), "IdleGroup"),
            ("an idle group, nobody knows how long", drop(&unknown, 60), "IdleGroup"),
            ("an idle group, 0s is never", drop(&hour, 0), "IdleGroup"),
            ("an idle group, long enough", drop(&hour, 60), "Done"),
            ("nothing is known for too long", drain(Answer::Unknown, 2_000), "TimedOut"),
            ("routes lead to it for too long", drain(Answer::Known(&led_to), 2_000), "TimedOut"),
            (
                "writes are on for too long",
                Drain { read_only_since: None, ..drain(Answer::Known(&empty), 2_000) },
                "TimedOut",
            ),
            ("a topic that no other group has", drain(Answer::Known(&only_here), 90), "Draining"),
            ("for too long", drain(Answer::Known(&only_here), 2_000), "TimedOut"),
            ("too early", drain(Answer::Known(&empty), 59), "Draining"),
            ("empty", drain(Answer::Known(&empty), 60), "Done"),
            ("forced", Drain { policy: ScaleInPolicy::Force, ..drain(Answer::Unknown, 0) }, "Done"),
            ("forced, but writes are on", forced(59), "Draining"),
            ("forced, and its master is silent", forced(61), "TimedOut"),
            ("forced, and its master does not run", Drain { master_runs: false, ..forced(59) }, "Draining"),
            (
                "forced, and its master has not run for a while",
                Drain { master_runs: false, ..forced(61) },
                "Done",
            ),
        ];
        for (name, drain, expected) in cases {
            assert_eq!(short(&decide(&drain)).0, expected, "{name}");
        }
    }

    #[test]
    fn what_waits_for_an_order_names_the_topic_the_way_out_and_what_force_gives_up() {
        let idle = IdleGroup { name: "g".to_owned(), remaining: 3, idle_for: Answer::Unknown };
        let unread = DrainFacts {
            routes_are_read_only: true,
            remaining: 5,
            idle: vec![idle],
            unread_ordered: vec!["orders".to_owned()],
            ..DrainFacts::default()
        };
        let configured = DrainFacts { order_configured: vec!["orders".to_owned()], ..unread.clone() };
        let said = |found| match decide(&drain(Answer::Known(found), 90)) {
            Progress::Waiting { message, .. } => message,
            Progress::Drained => panic!("it waits"),
        };
        assert_eq!(
            said(&unread),
            "topic orders is ordered and has messages to read: stop its producers until they are read, and the group goes by \
             itself; scaleIn.policy Force skips the whole drain: 8 unread messages of all topics stay behind or are deleted"
        );
        assert_eq!(
            said(&configured),
            "the order configuration of topic orders names it, so producers of orders send to it; take it out with mqadmin \
             updateOrderConf"
        );
    }
}
