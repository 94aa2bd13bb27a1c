//! Topics and subscription groups that some brokers have and another lacks, and making them there through the requests that
//! any client may send. Only what people made is copied: brokers make their own topics, and retry and dead-letter topics
//! when they need them.

use std::collections::{BTreeMap, BTreeSet};

use client::{Client, Connections, broker, replica, survey};
use planner::facts::OnlyHere;
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::TopicConfig;

use crate::held::{Kind, is_retry, is_system_group, kind};
use crate::look::{LookError, each, open};
use crate::{Copying, Draining, Master};

/// What the other broker lacks or has otherwise.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacking {
    pub(crate) topics: Vec<TopicConfig>,
    pub(crate) groups: Vec<SubscriptionGroupConfig>,
}

impl Lacking {
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.topics.len() + self.groups.len()).unwrap_or(u32::MAX)
    }

    /// Returns some of the names, for people.
    fn names(&self) -> String {
        let topics = self.topics.iter().map(|topic| format!("topic {}", topic.topic_name));
        let groups = self.groups.iter().map(|group| format!("group {}", group.group_name));
        topics.chain(groups).take(3).collect::<Vec<_>>().join(", ")
    }
}

/// Why not everything is there afterwards.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Look(#[from] LookError),
    #[error("made, but not as they were asked for: {0}")]
    NotTaken(String),
}

/// What a broker has.
#[derive(Debug, Clone, Default)]
struct Lists {
    topics: BTreeMap<String, TopicConfig>,
    groups: BTreeMap<String, SubscriptionGroupConfig>,
    /// Topics that it made for itself.
    own: BTreeSet<String>,
}

/// Reads all lists and compares them.
pub(crate) async fn lacking(connections: &Connections, copying: &Copying) -> Result<Lacking, LookError> {
    let from = read_all(connections, &copying.from).await?;
    let to = open(connections, &copying.to).await?;
    Ok(compare(&from, &read(&to).await?))
}

/// Makes what is lacking, reads it back, and returns how many there were.
pub(crate) async fn copy(connections: &Connections, copying: &Copying) -> Result<u32, CopyError> {
    let from = read_all(connections, &copying.from).await?;
    let to = open(connections, &copying.to).await?;
    let wanted = compare(&from, &read(&to).await?);
    each(wanted.topics.iter().map(|topic| broker::create_topic(&to, topic))).await?;
    each(wanted.groups.iter().map(|group| broker::create_group(&to, group))).await?;
    let left = compare(&from, &read(&to).await?);
    match left.count() {
        0 => Ok(wanted.count()),
        _ => Err(CopyError::NotTaken(left.names())),
    }
}

/// Returns what a draining group has and none of those has that stay; nothing while there is nobody to have it.
pub(crate) async fn only_here(connections: &Connections, draining: &Draining) -> Result<Lacking, LookError> {
    let from = read_all(connections, std::slice::from_ref(&draining.master)).await?;
    let heirs = read_all(connections, &draining.heirs).await?;
    Ok(if heirs.is_empty() { Lacking::default() } else { held_by_none(&from, &heirs) })
}

/// Makes some of that on all that stay, and returns how many there were.
pub(crate) async fn hand_over(
    connections: &Connections,
    draining: &Draining,
    what: &OnlyHere,
) -> Result<u32, LookError> {
    let mut wanted = only_here(connections, draining).await?;
    wanted.topics.retain(|topic| what.topics.contains(&topic.topic_name));
    wanted.groups.retain(|group| what.groups.contains(&group.group_name));
    let heirs = each(draining.heirs.iter().map(|heir| open(connections, heir))).await?;
    for heir in &heirs {
        each(wanted.topics.iter().map(|topic| broker::create_topic(heir, topic))).await?;
        each(wanted.groups.iter().map(|group| broker::create_group(heir, group))).await?;
    }
    Ok(wanted.count())
}

async fn read_all(connections: &Connections, masters: &[Master]) -> Result<Vec<Lists>, LookError> {
    let clients = each(masters.iter().map(|master| open(connections, master))).await?;
    each(clients.iter().map(read)).await
}

async fn read(client: &Client) -> Result<Lists, LookError> {
    Ok(Lists {
        own: survey::system_topics(client).await?.into_iter().collect(),
        topics: replica::topics(client).await?.topic_config_table.into_iter().collect(),
        groups: replica::groups(client).await?.subscription_group_table.into_iter().collect(),
    })
}

/// Returns what any of them has and the other lacks or has otherwise than the first of them that has it.
fn compare(from: &[Lists], to: &Lists) -> Lacking {
    let is_own = |name: &str| from.iter().chain([to]).any(|lists| lists.own.contains(name));
    let mut topics = BTreeMap::new();
    let mut groups = BTreeMap::new();
    for lists in from {
        for (name, topic) in &lists.topics {
            if kind(name) == Kind::Read && !is_retry(name) && !is_own(name) {
                topics.entry(name).or_insert(topic);
            }
        }
        for (name, group) in lists.groups.iter().filter(|(name, _)| !is_system_group(name)) {
            groups.entry(name).or_insert(group);
        }
    }
    topics.retain(|name, topic| !to.topics.get(*name).is_some_and(|there| is_as(topic, there)));
    groups.retain(|name, group| to.groups.get(*name) != Some(*group));
    Lacking {
        topics: topics.into_values().cloned().collect(),
        groups: groups.into_values().cloned().collect(),
    }
}

/// Returns what people made on these and none of the heirs has, whatever it is like there.
fn held_by_none(from: &[Lists], heirs: &[Lists]) -> Lacking {
    let own = heirs.iter().flat_map(|heir| &heir.own).cloned().collect();
    let mut lacking = compare(from, &Lists { own, ..Lists::default() });
    lacking.topics.retain(|topic| !heirs.iter().any(|heir| heir.topics.contains_key(&topic.topic_name)));
    lacking.groups.retain(|group| !heirs.iter().any(|heir| heir.groups.contains_key(&group.group_name)));
    lacking
}

/// Whether a topic is as wanted: what a broker adds to its attributes does not count.
fn is_as(wanted: &TopicConfig, there: &TopicConfig) -> bool {
    let has = |(key, value): (&String, &String)| there.attributes.get(key) == Some(value);
    let with_same_attributes = TopicConfig { attributes: wanted.attributes.clone(), ..there.clone() };
    wanted.attributes.iter().all(has) && *wanted == with_same_attributes
}

#[cfg(test)]
mod tests {
    use protocol::names;

    use super::*;

    /// Topics with their queues, subscription groups with their retries.
    fn lists(topics: &[(&str, i32)], groups: &[(&str, i32)]) -> Lists {
        let topic = |(name, queues): &(&str, i32)| {
            let config = TopicConfig {
                topic_name: (*name).to_owned(),
                read_queue_nums: *queues,
                ..TopicConfig::default()
            };
            ((*name).to_owned(), config)
        };
        let group = |(name, retries): &(&str, i32)| {
            let config = SubscriptionGroupConfig {
                group_name: (*name).to_owned(),
                retry_max_times: *retries,
                ..SubscriptionGroupConfig::default()
            };
            ((*name).to_owned(), config)
        };
        Lists {
            topics: topics.iter().map(topic).collect(),
            groups: groups.iter().map(group).collect(),
            own: BTreeSet::from(["broker-0".to_owned()]),
        }
    }

    /// Those made on one of two groups only were missing on a third one.
    #[test]
    fn what_any_of_the_others_has_is_copied_and_the_first_ones_where_they_differ() {
        let first = lists(&[("A", 8), ("Both", 8), ("broker-0", 1)], &[("both", 16)]);
        let second =
            lists(&[("B", 4), ("Both", 4), ("%RETRY%b", 1)], &[("both", 3), ("b", 3), ("TOOLS_CONSUMER", 1)]);
        let to = |topics, groups| {
            let lacking = compare(&[first.clone(), second.clone()], &lists(topics, groups));
            let topics = lacking.topics.into_iter().map(|topic| (topic.topic_name, topic.read_queue_nums));
            let groups = lacking.groups.into_iter().map(|group| (group.group_name, group.retry_max_times));
            topics.chain(groups).map(|(name, number)| format!("{name} {number}")).collect::<Vec<_>>()
        };
        assert!(names::SYSTEM_GROUPS.contains(&"TOOLS_CONSUMER"));
        assert_eq!(to(&[], &[]), ["A 8", "B 4", "Both 8", "b 3", "both 16"]);
        assert_eq!(to(&[("A", 8), ("Both", 4)], &[("both", 16)]), ["B 4", "Both 8", "b 3"]);
        assert_eq!(to(&[("A", 8), ("B", 4), ("Both", 8), ("C", 1)], &[("both", 16), ("b", 3)]), [""; 0]);
    }

    /// When the group went, these were in no route, and nobody was told.
    #[test]
    fn what_a_group_that_goes_has_alone_is_what_no_other_has_in_any_way() {
        let goes = lists(
            &[("Alone", 8), ("Both", 8), ("broker-0", 1), ("%DLQ%a", 1)],
            &[("alone", 16), ("both", 16)],
        );
        let heirs = [lists(&[("Other", 8)], &[("both", 3)]), lists(&[("Both", 1)], &[])];
        let lacking = held_by_none(&[goes], &heirs);
        let topics = lacking.topics.iter().map(|topic| topic.topic_name.as_str());
        let groups = lacking.groups.iter().map(|group| group.group_name.as_str());
        assert_eq!(topics.chain(groups).collect::<Vec<_>>(), ["Alone", "alone"]);
    }

    #[test]
    fn a_topic_is_as_wanted_when_nothing_but_added_attributes_differs() {
        let topic = |queues: i32, attributes: &[(&str, &str)]| TopicConfig {
            topic_name: "T".to_owned(),
            read_queue_nums: queues,
            attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..TopicConfig::default()
        };
        let wanted = topic(8, &[("message.type", "FIFO")]);
        let cases = [
            ("the same", topic(8, &[("message.type", "FIFO")]), true),
            ("more attributes", topic(8, &[("message.type", "FIFO"), ("x", "y")]), true),
            ("other queues", topic(4, &[("message.type", "FIFO")]), false),
            ("another attribute", topic(8, &[("message.type", "NORMAL")]), false),
            ("no attribute", topic(8, &[]), false),
        ];
        for (name, there, expected) in cases {
            assert_eq!(is_as(&wanted, &there), expected, "{name}");
        }
    }
}
