//! A master's tables, asked for as a whole by the requests that Java's masters answer too (P§6.4): at every join, and
//! now and then. What differs is taken over, what the master does not have goes.

use std::collections::BTreeMap;
use std::io;

use client::{Client, RequestError, replica};
use protocol::names::{METADATA_GROUP, METADATA_TOPIC, SYSTEM_GROUPS};

use super::applied::Table;
use super::{SlaveLink, push_offsets};
use crate::broker::{Broker, blocking, now_ms};
use crate::metadata::apply;
use crate::offsets;

/// Times a table is asked for again because changes came in the meantime; then the log goes on telling them.
const MAX_ATTEMPTS: usize = 3;

/// Why the tables were not taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    /// The master does not answer, or not as it should.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// They cannot be written here.
    #[error("write the master's tables: {0}")]
    Disk(#[from] io::Error),
}

/// What became of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Synced {
    /// It is the master's.
    TakenOver,
    /// It was too old every time it came; it is as the log has it.
    Overtaken,
}

/// Takes over all tables as they are when the master's log ends at `end` or later. `dropped` are the topics that the
/// master has deleted by then, and where their messages end.
pub(super) async fn sync_all(
    broker: &Broker,
    link: &SlaveLink,
    client: &Client,
    dropped: &BTreeMap<String, u64>,
    end: u64,
) -> Result<(), SyncError> {
    let synced = [
        sync_topics(broker, link, client, dropped).await?,
        sync_groups(broker, link, client).await?,
        sync_offsets(broker, link, client).await?,
    ];
    if synced == [Synced::TakenOver; 3] {
        link.applied.tables_reach(end);
    }
    Ok(())
}

async fn sync_topics(
    broker: &Broker,
    link: &SlaveLink,
    client: &Client,
    dropped: &BTreeMap<String, u64>,
) -> Result<Synced, SyncError> {
    for _ in 0..MAX_ATTEMPTS {
        let before = link.applied.changes(Table::Topics);
        let masters = replica::topics(client).await?;
        if link.applied.changes(Table::Topics) != before {
            continue;
        }
        let (ours, _) = broker.topics.all();
        let of_every_broker = broker.topics.system_names();
        let theirs: BTreeMap<_, _> = masters
            .topic_config_table
            .into_iter()
            .filter(|(name, _)| !of_every_broker.contains(name))
            .collect();
        let difference = decide_difference(&ours, theirs, |name| broker.topics.is_system(name));
        return Ok(blocking(|| {
            for (topic, end) in dropped {
                apply::drop_messages(broker, topic, *end)?;
            }
            for topic in &difference.remove {
                apply::drop_topic(broker, topic, dropped.get(topic).copied())?;
            }
            broker.topics.put_all(difference.put, now_ms())?;
            if broker.topics.all().1 != masters.data_version {
                broker.topics.set_version(masters.data_version);
                broker.changed.notify_one();
            }
            io::Result::Ok(Synced::TakenOver)
        })?);
    }
    Ok(Synced::Overtaken)
}

async fn sync_groups(broker: &Broker, link: &SlaveLink, client: &Client) -> Result<Synced, SyncError> {
    for _ in 0..MAX_ATTEMPTS {
        let before = link.applied.changes(Table::Groups);
        let masters = replica::groups(client).await?;
        if link.applied.changes(Table::Groups) != before {
            continue;
        }
        let (ours, _) = broker.groups.all();
        let difference =
            decide_difference(&ours, masters.subscription_group_table, |name| SYSTEM_GROUPS.contains(&name));
        return Ok(blocking(|| {
            for group in &difference.remove {
                broker.groups.remove(group, now_ms())?;
            }
            broker.groups.put_all(difference.put, now_ms())?;
            broker.groups.set_version(masters.data_version);
            io::Result::Ok(Synced::TakenOver)
        })?);
    }
    Ok(Synced::Overtaken)
}

/// Takes over the offsets, and hands the master those that clients have moved further here.
pub(super) async fn sync_offsets(
    broker: &Broker,
    link: &SlaveLink,
    client: &Client,
) -> Result<Synced, SyncError> {
    let ours_alone = offsets::key(METADATA_TOPIC, METADATA_GROUP);
    for _ in 0..MAX_ATTEMPTS {
        let before = link.applied.changes(Table::Offsets);
        let mut masters = replica::offsets(client).await?;
        masters.remove(&ours_alone);
        let taken = link.taken.all();
        push_offsets::push(client, &taken, &masters).await?;
        if link.applied.changes(Table::Offsets) != before {
            continue;
        }
        let gone =
            broker.offsets.all().0.into_keys().filter(|k| *k != ours_alone && !masters.contains_key(k));
        gone.for_each(|key| apply::remove_offsets(broker, &key));
        masters.iter().for_each(|(key, queues)| apply::put_offsets(broker, key, queues));
        link.taken.forget(&taken);
        return Ok(Synced::TakenOver);
    }
    Ok(Synced::Overtaken)
}

/// What makes a table the master's.
#[derive(Debug, PartialEq, Eq)]
struct Difference<T> {
    put: Vec<T>,
    remove: Vec<String>,
}

/// Decides what to put and what to remove; `stays` is what every broker has of its own.
fn decide_difference<T: PartialEq>(
    ours: &BTreeMap<String, T>,
    theirs: BTreeMap<String, T>,
    stays: impl Fn(&str) -> bool,
) -> Difference<T> {
    let remove = ours.keys().filter(|name| !theirs.contains_key(*name) && !stays(name)).cloned().collect();
    let put = theirs.into_iter().filter(|(name, value)| ours.get(name) != Some(value)).map(|(_, v)| v);
    Difference { put: put.collect(), remove }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use protocol::bodies::topic_config::{TopicConfig, TopicConfigAndMappingSerializeWrapper};
    use protocol::json::JsonBody;
    use remoting::Peer;
    use remoting::handler::{Handler, Reply, Request};
    use store::disk::memory::MemoryDisk;

    use crate::metadata::Change;
    use crate::test_slave;

    fn topic(name: &str) -> TopicConfig {
        TopicConfig { topic_name: name.to_owned(), ..TopicConfig::default() }
    }

    /// A master that makes a topic, and whose stream brings it to the slave, while its first answer is on the way.
    struct Slow {
        slave: Arc<Broker>,
        asked: Arc<AtomicUsize>,
    }

    impl Handler for Slow {
        fn handle(&self, _: &Peer, _: &Request<'_>, reply: &mut Reply) {
            let mut table = TopicConfigAndMappingSerializeWrapper::default();
            let mut put = |name: &str| table.topic_config_table.insert(name.to_owned(), topic(name));
            put("Old");
            if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
                self.slave.slave.as_ref().unwrap().applied.count(&Change::PutTopic(topic("New")));
                self.slave.topics.put(topic("New"), 1).unwrap();
            } else {
                put("New");
            }
            reply.body = table.encode();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_table_that_is_older_than_the_log_is_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let slave = test_slave::open(dir.path(), &MemoryDisk::new(1 << 30));
        let asked = Arc::<AtomicUsize>::default();
        let (client, _stop) =
            test_slave::connect_to(Slow { slave: slave.clone(), asked: asked.clone() }).await;
        let link = slave.slave.as_ref().unwrap();
        let synced = sync_topics(&slave, link, &client, &BTreeMap::new()).await.unwrap();
        assert_eq!(synced, Synced::TakenOver);
        assert!(slave.topics.get("Old").is_some());
        assert!(slave.topics.get("New").is_some(), "the log had brought it, the first answer had not");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn only_what_differs_is_put_and_only_what_may_go_is_removed() {
        let table = |pairs: &[(&str, i32)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        let ours: BTreeMap<String, i32> = table(&[("same", 1), ("old", 2), ("gone", 3), ("own", 4)]);
        let theirs = table(&[("same", 1), ("old", 5), ("new", 6)]);
        let difference = decide_difference(&ours, theirs, |name| name == "own");
        assert_eq!(difference, Difference { put: vec![6, 5], remove: vec!["gone".to_owned()] });
    }
}
