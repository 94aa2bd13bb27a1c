//! What a broker still holds that somebody is to read, decided from what was found on it and around it. Pure.
//!
//! A message is counted for each consumer group that is owed it, and a group is owed the messages of a topic on this
//! broker when the group exists on any broker of the cluster and
//!
//! | it                                                                | then its messages are                  |
//! |-------------------------------------------------------------------|----------------------------------------|
//! | is connected anywhere and subscribes to the topic, or to none     | `remaining`: they will be read         |
//! | is connected and broadcasts                                       | not counted: members know, no broker   |
//! | has an offset on the topic on any broker, or it is its retry topic| `idle`: nobody is there to read them   |
//!
//! It begins at its offset, and where it has none at the first message of the queue. That is how brokers treat a group
//! that is new to a queue, unless the queue's beginning is gone or long ago; then consumers decide, and one that starts
//! at the end commits it with its first pull. So a group without an offset has read nothing, as far as anyone knows.
//!
//! | Topic | Counted |
//! |---|---|
//! | what is not below, also of the broker's own | as above |
//! | `%DLQ%group` | only for groups that are connected: given up on is given up on |
//! | delayed messages | what is not delivered yet |
//! | half messages | what is neither committed nor rolled back |
//! | `rmq_sys_`, but for what a Gantry master tells its slaves | everything, because nobody here knows its readers |
//! | the broker's notes | nothing |

use std::collections::{BTreeMap, BTreeSet};

use protocol::names;

/// The consumer group with which a broker reads half messages.
const HALF_READER: &str = "CID_RMQ_SYS_TRANS";
const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";
const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// How many lags are named.
const TOP: usize = 10;

/// What was found, all of one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The topics of the broker.
    pub(crate) topics: BTreeMap<String, Topic>,
    /// Its consumer offsets: `topic@group`, queue, offset.
    pub(crate) offsets: BTreeMap<String, BTreeMap<i32, i64>>,
    /// By delay level.
    pub(crate) delay_offsets: BTreeMap<i32, i64>,
    /// The consumer groups that exist on any broker of the cluster.
    pub(crate) groups: BTreeSet<String>,
    /// By topic, the groups that subscribe to it or have offsets on it, on any broker of the cluster.
    pub(crate) readers: BTreeMap<String, BTreeSet<String>>,
    /// By group, one entry for each broker of the cluster where it is connected.
    pub(crate) connected: BTreeMap<String, Vec<Connected>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Topic {
    pub(crate) ordered: bool,
    pub(crate) queues: BTreeMap<i32, Bounds>,
}

/// The first offset of a queue and the one behind its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Connected {
    pub(crate) broadcasts: bool,
    pub(crate) topics: BTreeSet<String>,
}

/// What is held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) remaining: u64,
    pub(crate) idle: BTreeMap<String, Idle>,
    /// Ordered topics that have part in `remaining`.
    pub(crate) unread_ordered: Vec<String>,
    pub(crate) top_lags: Vec<String>,
}

/// A group that is owed messages and not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Idle {
    pub(crate) remaining: u64,
    /// The sum of its offsets on those topics: it changes whenever somebody reads for the group.
    pub(crate) consumed: i64,
}

impl Found {
    /// Notes that a group subscribes to a topic or has offsets on it.
    pub(crate) fn note_reader(&mut self, topic: &str, group: &str) {
        self.readers.entry(topic.to_owned()).or_default().insert(group.to_owned());
    }

    /// Returns the groups that are owed messages of a topic.
    fn owed<'a>(&'a self, topic: &'a str) -> BTreeSet<&'a str> {
        let readers = self.readers.get(topic).into_iter().flatten().map(String::as_str);
        let own = topic.strip_prefix(names::RETRY_PREFIX);
        readers.chain(own).filter(|group| self.groups.contains(*group) && !is_system_group(group)).collect()
    }

    fn offsets(&self, topic: &str, group: &str) -> Option<&BTreeMap<i32, i64>> {
        self.offsets.get(&format!("{topic}@{group}"))
    }
}

/// Whether a group belongs to brokers and tools.
pub(crate) fn is_system_group(group: &str) -> bool {
    names::SYSTEM_GROUPS.contains(&group) || group.starts_with(SYSTEM_GROUP_PREFIX)
}

/// Whether a topic holds what a group could not consume.
pub(crate) fn is_retry(topic: &str) -> bool {
    topic.starts_with(names::RETRY_PREFIX)
}

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    DeadLetters,
    Delayed,
    Half,
    Unclear,
    Notes,
}

pub(crate) fn kind(topic: &str) -> Kind {
    match topic {
        names::SCHEDULE_TOPIC => Kind::Delayed,
        names::HALF_TOPIC => Kind::Half,
        _ if topic.starts_with(names::DLQ_PREFIX) => Kind::DeadLetters,
        _ if names::NOT_SENDABLE.contains(&topic) => Kind::Notes,
        _ if topic.starts_with(SYSTEM_TOPIC_PREFIX) => Kind::Unclear,
        _ => Kind::Read,
    }
}

/// Counts what is held.
pub(crate) fn held(found: &Found) -> Held {
    let mut held = Held::default();
    let mut lags: Vec<(u64, String)> = Vec::new();
    for (name, topic) in &found.topics {
        let before = held.remaining;
        let own = match kind(name) {
            Kind::Delayed => lag(topic, |queue| found.delay_offsets.get(&(queue + 1)).copied()),
            Kind::Half => lag(topic, |queue| found.offsets(name, HALF_READER)?.get(&queue).copied()),
            Kind::Unclear => lag(topic, |_| None),
            Kind::Notes => 0,
            Kind::Read | Kind::DeadLetters => {
                count_readers(found, name, topic, &mut held, &mut lags);
                0
            }
        };
        if own > 0 {
            held.remaining = held.remaining.saturating_add(own);
            lags.push((own, format!("{name}: {own}")));
        }
        if topic.ordered && held.remaining > before {
            held.unread_ordered.push(name.clone());
        }
    }
    lags.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    held.top_lags = lags.into_iter().take(TOP).map(|(_, text)| text).collect();
    held
}

fn count_readers(found: &Found, name: &str, topic: &Topic, held: &mut Held, lags: &mut Vec<(u64, String)>) {
    for group in found.owed(name) {
        let offsets = found.offsets(name, group);
        let lag = lag(topic, |queue| offsets?.get(&queue).copied());
        if lag == 0 {
            continue;
        }
        match presence(found, group, name) {
            Presence::Reads => {
                held.remaining = held.remaining.saturating_add(lag);
                lags.push((lag, format!("{group} on {name}: {lag}")));
            }
            Presence::Broadcasts => {}
            Presence::Away | Presence::Elsewhere if kind(name) == Kind::DeadLetters => {}
            absent => {
                let who = match absent {
                    Presence::Elsewhere => format!("{group} (which no longer subscribes to {name})"),
                    _ => group.to_owned(),
                };
                let idle = held.idle.entry(who).or_default();
                idle.remaining = idle.remaining.saturating_add(lag);
                let consumed = offsets.map_or(0, |offsets| offsets.values().sum());
                idle.consumed = idle.consumed.wrapping_add(consumed);
                lags.push((lag, format!("{group} on {name}: {lag}, no members")));
            }
        }
    }
}

/// Returns how many messages of a topic lie behind the offsets; a queue without one is counted whole.
fn lag(topic: &Topic, offset: impl Fn(i32) -> Option<i64>) -> u64 {
    let of_queue = |(queue, bounds): (&i32, &Bounds)| {
        let from = offset(*queue).unwrap_or(bounds.min).max(bounds.min);
        u64::try_from(bounds.max.saturating_sub(from)).unwrap_or(0)
    };
    topic.queues.iter().map(of_queue).fold(0, u64::saturating_add)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// It reads the topic, or assigns its queues itself and does not say which.
    Reads,
    Broadcasts,
    /// It is connected for other topics.
    Elsewhere,
    Away,
}

fn presence(found: &Found, group: &str, topic: &str) -> Presence {
    let Some(connected) = found.connected.get(group).filter(|connected| !connected.is_empty()) else {
        return Presence::Away;
    };
    let reads = |at: &&Connected| at.topics.is_empty() || at.topics.contains(topic);
    let reading: Vec<&Connected> = connected.iter().filter(reads).collect();
    match reading.iter().all(|at| at.broadcasts) {
        _ if reading.is_empty() => Presence::Elsewhere,
        true => Presence::Broadcasts,
        false => Presence::Reads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(bounds: &[(i64, i64)]) -> Topic {
        let bounds = bounds.iter().map(|(min, max)| Bounds { min: *min, max: *max });
        Topic { ordered: false, queues: (0..).zip(bounds).collect() }
    }

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// One topic, one group that reads it, offsets by queue.
    fn found(topic: &str, bounds: &[(i64, i64)], group: &str, offsets: &[(i32, i64)]) -> Found {
        Found {
            topics: [(topic.to_owned(), queues(bounds))].into(),
            offsets: [(format!("{topic}@{group}"), offsets.iter().copied().collect())].into(),
            groups: set(&[group]),
            readers: [(topic.to_owned(), set(&[group]))].into(),
            ..Found::default()
        }
    }

    fn connect(mut found: Found, group: &str, at: &[Connected]) -> Found {
        found.connected.insert(group.to_owned(), at.to_vec());
        found
    }

    fn subscribes(topics: &[&str]) -> Connected {
        Connected { broadcasts: false, topics: set(topics) }
    }

    fn broadcasts(topics: &[&str]) -> Connected {
        Connected { broadcasts: true, topics: set(topics) }
    }

    #[test]
    fn a_group_with_members_is_owed_what_lies_behind_its_offsets() {
        type Case = (&'static str, &'static [(i64, i64)], &'static [(i32, i64)], u64);
        let cases: [Case; 9] = [
            ("everything is read", &[(0, 5), (2, 7)], &[(0, 5), (1, 7)], 0),
            ("some is left", &[(0, 5), (2, 7)], &[(0, 3), (1, 7)], 2),
            ("nothing was ever read", &[(0, 5)], &[], 5),
            ("one queue was never read", &[(0, 5), (0, 4)], &[(0, 5)], 4),
            ("never read, and the beginning is gone", &[(3, 5)], &[], 2),
            ("the offset lies before the beginning", &[(3, 5)], &[(0, 1)], 2),
            ("the offset lies behind the end", &[(0, 5)], &[(0, 9)], 0),
            ("the queue is empty and was not always", &[(5, 5)], &[], 0),
            ("an offset of a queue that is gone", &[(0, 5)], &[(0, 5), (7, 1)], 0),
        ];
        for (name, bounds, offsets, expected) in cases {
            let found = connect(found("T", bounds, "g", offsets), "g", &[subscribes(&["T"])]);
            let lags = if expected == 0 { vec![] } else { vec![format!("g on T: {expected}")] };
            assert_eq!(
                held(&found),
                Held { remaining: expected, top_lags: lags, ..Held::default() },
                "{name}"
            );
        }
    }

    #[test]
    fn who_is_owed_depends_on_whether_the_group_exists_and_who_is_there_to_read() {
        let some = || found("T", &[(0, 5)], "g", &[(0, 3)]);
        let at = |connected: &[Connected]| connect(some(), "g", connected);
        let deleted = Found { groups: set(&[]), ..at(&[subscribes(&["T"])]) };
        let no_offset_here = Found { offsets: BTreeMap::new(), ..some() };
        let nobody_asked = Found { readers: BTreeMap::new(), ..some() };
        let tool =
            Found { groups: set(&["TOOLS_CONSUMER"]), ..found("T", &[(0, 5)], "TOOLS_CONSUMER", &[(0, 3)]) };
        // Remaining, idle, and what was consumed by who is idle.
        type Case = (&'static str, Found, u64, Option<(&'static str, u64, i64)>);
        let cases: [Case; 11] = [
            ("it is there", at(&[subscribes(&["T"])]), 2, None),
            ("it assigns queues itself", at(&[subscribes(&[])]), 2, None),
            ("it is there on one of two brokers", at(&[subscribes(&["U"]), subscribes(&["T"])]), 2, None),
            ("it broadcasts", at(&[broadcasts(&["T"])]), 0, None),
            ("it broadcasts and does not", at(&[broadcasts(&["T"]), subscribes(&["T"])]), 2, None),
            ("nobody is there", some(), 0, Some(("g", 2, 3))),
            ("nobody is there, and it read only elsewhere", no_offset_here, 0, Some(("g", 5, 0))),
            (
                "it reads something else",
                at(&[subscribes(&["U"])]),
                0,
                Some(("g (which no longer subscribes to T)", 2, 3)),
            ),
            ("it was deleted", deleted, 0, None),
            ("it never read the topic", nobody_asked, 0, None),
            ("it is a tool's", tool, 0, None),
        ];
        for (name, found, remaining, idle) in cases {
            let idle =
                idle.map(|(group, remaining, consumed)| (group.to_owned(), Idle { remaining, consumed }));
            let held = held(&found);
            assert_eq!((held.remaining, held.idle), (remaining, idle.into_iter().collect()), "{name}");
        }
    }

    #[test]
    fn each_kind_of_topic_is_counted_by_its_own_rule() {
        let with = |topic: &str, reader: &str| found(topic, &[(0, 5)], reader, &[(0, 3)]);
        let here = |topic: &str| connect(with(topic, "g"), "g", &[subscribes(&[topic])]);
        let delayed = |level: i32, offset: i64| Found {
            delay_offsets: [(level, offset)].into(),
            ..with(names::SCHEDULE_TOPIC, "g")
        };
        let unread_retry =
            Found { readers: BTreeMap::new(), offsets: BTreeMap::new(), ..with("%RETRY%g", "g") };
        let cases = [
            ("a trace topic is read like any", here(names::TRACE_TOPIC), 2, 0),
            ("retried", here("%RETRY%g"), 2, 0),
            ("retried, and nobody is there", with("%RETRY%g", "g"), 0, 2),
            ("retried, never read, and nobody is there", unread_retry, 0, 5),
            ("dead letters that are read", here("%DLQ%g"), 2, 0),
            ("dead letters", with("%DLQ%g", "g"), 0, 0),
            ("delayed and partly delivered", delayed(1, 4), 1, 0),
            ("delayed, another level's offset", delayed(2, 4), 5, 0),
            ("half messages", with(names::HALF_TOPIC, HALF_READER), 2, 0),
            ("decisions about half messages", with(names::OP_HALF_TOPIC, HALF_READER), 0, 0),
            ("what slaves are told", with(names::METADATA_TOPIC, names::METADATA_GROUP), 0, 0),
            ("something of the broker that is new here", with(names::TIMER_TOPIC, "g"), 5, 0),
        ];
        for (name, found, remaining, idle) in cases {
            let held = held(&found);
            let idle_sum: u64 = held.idle.values().map(|idle| idle.remaining).sum();
            assert_eq!((held.remaining, idle_sum), (remaining, idle), "{name}");
        }
    }

    #[test]
    fn ordered_topics_are_named_while_members_have_them_to_read() {
        let read =
            |offset: i64| connect(found("T", &[(0, 5)], "g", &[(0, offset)]), "g", &[subscribes(&["T"])]);
        let nobody = found("T", &[(0, 5)], "g", &[(0, 3)]);
        let cases = [
            ("some is left", read(3), true, &["T"][..]),
            ("some is left of another topic", read(3), false, &[]),
            ("everything is read", read(5), true, &[]),
            ("nobody is there to read it", nobody, true, &[]),
        ];
        for (name, mut found, ordered, expected) in cases {
            found.topics.values_mut().for_each(|topic| topic.ordered = ordered);
            assert_eq!(held(&found).unread_ordered, expected, "{name}");
        }
    }

    #[test]
    fn the_ten_largest_lags_are_named_the_largest_first() {
        let mut all = Found::default();
        for (n, size) in (0..12).zip([3, 9, 3, 1, 5, 7, 11, 2, 8, 6, 4, 10]) {
            let topic = format!("T{n:02}");
            let one = found(&topic, &[(0, size)], "g", &[]);
            all.topics.extend(one.topics);
            all.readers.extend(one.readers);
            all.groups.extend(one.groups);
        }
        let lags = held(&all).top_lags;
        assert_eq!((lags.len(), lags[0].as_str()), (10, "g on T06: 11, no members"));
        assert_eq!(lags[8..], ["g on T00: 3, no members", "g on T02: 3, no members"]);
    }
}
