//! Topics and subscription groups that one broker has and another lacks, and making them there through the requests that
//! any client may send. Only what people made is copied: brokers make their own topics, and retry and dead-letter topics
//! when they need them.

use client::{Client, Connections, broker, replica, survey};
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::TopicConfig;

use crate::Copying;
use crate::held::{Kind, is_retry, is_system_group, kind};
use crate::look::{LookError, each, open};

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

/// Reads both lists and compares them.
pub(crate) async fn lacking(connections: &Connections, copying: &Copying) -> Result<Lacking, LookError> {
    let from = open(connections, &copying.from).await?;
    let to = open(connections, &copying.to).await?;
    compare(&from, &to).await
}

/// Makes what is lacking, reads it back, and returns how many there were.
pub(crate) async fn copy(connections: &Connections, copying: &Copying) -> Result<u32, CopyError> {
    let from = open(connections, &copying.from).await?;
    let to = open(connections, &copying.to).await?;
    let wanted = compare(&from, &to).await?;
    each(wanted.topics.iter().map(|topic| broker::create_topic(&to, topic))).await?;
    each(wanted.groups.iter().map(|group| broker::create_group(&to, group))).await?;
    let left = compare(&from, &to).await?;
    match left.count() {
        0 => Ok(wanted.count()),
        _ => Err(CopyError::NotTaken(left.names())),
    }
}

async fn compare(from: &Client, to: &Client) -> Result<Lacking, LookError> {
    let mut own = survey::system_topics(from).await?;
    own.extend(survey::system_topics(to).await?);
    let there = replica::topics(to).await?.topic_config_table;
    let topics = replica::topics(from).await?.topic_config_table.into_values();
    let is_copied = |topic: &TopicConfig| {
        let name = &topic.topic_name;
        kind(name) == Kind::Read && !is_retry(name) && !own.contains(name)
    };
    let topics = topics
        .filter(|topic| is_copied(topic))
        .filter(|topic| !there.get(&topic.topic_name).is_some_and(|there| is_as(topic, there)))
        .collect();
    let there = replica::groups(to).await?.subscription_group_table;
    let groups = replica::groups(from).await?.subscription_group_table.into_values();
    let groups = groups
        .filter(|group| !is_system_group(&group.group_name))
        .filter(|group| there.get(&group.group_name) != Some(group))
        .collect();
    Ok(Lacking { topics, groups })
}

/// Whether a topic is as wanted: what a broker adds to its attributes does not count.
fn is_as(wanted: &TopicConfig, there: &TopicConfig) -> bool {
    let has = |(key, value): (&String, &String)| there.attributes.get(key) == Some(value);
    let with_same_attributes = TopicConfig { attributes: wanted.attributes.clone(), ..there.clone() };
    wanted.attributes.iter().all(has) && *wanted == with_same_attributes
}

#[cfg(test)]
mod tests {
    use super::*;

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
