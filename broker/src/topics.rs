//! The topics of this broker: their configuration, how one is made by its first message, and the version that tells
//! name servers and slaves that something changed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::topic_config::{TopicConfig, perm};
use protocol::names;

use crate::persist::{Journal, LoadError};

/// Queues a topic may have.
pub const MAX_QUEUES: i32 = 65_535;

/// All topics.
pub struct Topics {
    table: RwLock<HashMap<String, Arc<TopicConfig>>>,
    version: Mutex<DataVersion>,
    generation: AtomicU64,
    journal: Mutex<Journal>,
    system: Vec<String>,
}

/// Topics every broker has from its start (P§8.1); `default_queues` is the number of TBW102.
pub fn system_topics(cluster: &str, broker: &str, default_queues: i32) -> Vec<TopicConfig> {
    let rw = perm::READ | perm::WRITE;
    let topic = |name: &str, queues: i32, perm: i32| TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        ..TopicConfig::default()
    };
    vec![
        topic(names::SELF_TEST_TOPIC, 1, rw),
        topic(names::AUTO_CREATE_TOPIC, default_queues, rw | perm::INHERIT),
        topic(names::BENCHMARK_TOPIC, 1024, rw),
        topic(cluster, 16, rw | perm::INHERIT),
        topic(broker, 1, rw | perm::INHERIT),
        topic(names::OFFSET_MOVED_EVENT, 1, rw),
        topic(names::SCHEDULE_TOPIC, 18, rw),
        topic(&format!("{cluster}_REPLY_TOPIC"), 1, rw),
        topic(names::HALF_TOPIC, 1, rw),
        topic(names::OP_HALF_TOPIC, 1, rw),
    ]
}

impl Topics {
    /// Reads the table from a folder; system topics are added.
    pub fn load(folder: &Path, system: Vec<TopicConfig>, now_ms: i64) -> Result<Topics, LoadError> {
        let (journal, stored) = Journal::open::<TopicConfig>(&folder.join("topics.jsonl"))?;
        let names = system.iter().map(|t| t.topic_name.clone()).collect();
        let mut table: HashMap<_, _> = stored.into_iter().map(|(k, v)| (k, Arc::new(v))).collect();
        for topic in system {
            table.insert(topic.topic_name.clone(), Arc::new(topic));
        }
        Ok(Topics {
            table: RwLock::new(table),
            version: Mutex::new(DataVersion { counter: 0, state_version: 0, timestamp: now_ms }),
            generation: AtomicU64::new(1),
            journal: Mutex::new(journal),
            system: names,
        })
    }

    /// Returns a topic.
    pub fn get(&self, topic: &str) -> Option<Arc<TopicConfig>> {
        self.table.read().get(topic).cloned()
    }

    /// Says whether a topic is the broker's own.
    pub fn is_system(&self, topic: &str) -> bool {
        self.system.iter().any(|s| s == topic) || topic.starts_with("rmq_sys_")
    }

    /// Returns the names of the broker's own topics.
    pub fn system_names(&self) -> &[String] {
        &self.system
    }

    /// Grows with every change; what was looked up under another generation is stale.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes or changes a topic. Durable on return. Says whether anything is different now.
    pub fn put(&self, topic: TopicConfig, now_ms: i64) -> io::Result<bool> {
        let mut journal = self.journal.lock();
        if self.get(&topic.topic_name).is_some_and(|old| *old == topic) {
            return Ok(false);
        }
        self.insert(&mut journal, topic, now_ms).map(|_| true)
    }

    /// Makes or changes several topics with one write. Durable on return; none is changed on an error.
    pub fn put_all(&self, topics: Vec<TopicConfig>, now_ms: i64) -> io::Result<()> {
        if topics.is_empty() {
            return Ok(());
        }
        let mut journal = self.journal.lock();
        journal.append(topics.iter().map(|topic| (topic.topic_name.as_str(), Some(topic))))?;
        let named = topics.into_iter().map(|topic| (topic.topic_name.clone(), Arc::new(topic)));
        self.table.write().extend(named);
        self.changed(now_ms);
        self.tidy(&mut journal);
        Ok(())
    }

    fn insert(&self, journal: &mut Journal, topic: TopicConfig, now_ms: i64) -> io::Result<Arc<TopicConfig>> {
        journal.append([(topic.topic_name.as_str(), Some(&topic))].into_iter())?;
        let topic = Arc::new(topic);
        self.table.write().insert(topic.topic_name.clone(), topic.clone());
        self.changed(now_ms);
        self.tidy(journal);
        Ok(topic)
    }

    /// Makes a topic unless it exists. Durable on return; returns the one that exists then, and whether it was made.
    pub fn put_if_absent(&self, topic: TopicConfig, now_ms: i64) -> io::Result<(Arc<TopicConfig>, bool)> {
        let mut journal = self.journal.lock();
        match self.get(&topic.topic_name) {
            Some(existing) => Ok((existing, false)),
            None => self.insert(&mut journal, topic, now_ms).map(|made| (made, true)),
        }
    }

    /// Removes a topic; `drop_messages` is called when nobody finds it any more and nobody can make it anew yet.
    /// Durable on return, and not removed on an error. Says whether it existed.
    pub fn remove(
        &self,
        topic: &str,
        now_ms: i64,
        drop_messages: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut journal = self.journal.lock();
        let Some(old) = self.table.write().remove(topic) else { return Ok(false) };
        self.changed(now_ms);
        // Messages first: a crash in between leaves an empty topic, never one that shows old messages again.
        let removed =
            drop_messages().and_then(|()| journal.append::<TopicConfig>([(topic, None)].into_iter()));
        if let Err(e) = removed {
            self.table.write().insert(topic.to_owned(), old);
            self.changed(now_ms);
            return Err(e);
        }
        self.tidy(&mut journal);
        Ok(true)
    }

    /// Takes over the version of the master whose topics these are.
    pub fn set_version(&self, version: DataVersion) {
        *self.version.lock() = version;
    }

    fn changed(&self, now_ms: i64) {
        let mut version = self.version.lock();
        *version = version.next(0, now_ms);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn tidy(&self, journal: &mut Journal) {
        if journal.is_stale(self.table.read().len()) {
            let live: BTreeMap<_, _> =
                self.all().0.into_iter().filter(|(k, _)| !self.system.contains(k)).collect();
            if let Err(e) = journal.rewrite(&live) {
                tracing::warn!("rewrite of the topic table: {e}");
            }
        }
    }

    /// Returns all topics and the version they have.
    pub fn all(&self) -> (BTreeMap<String, TopicConfig>, DataVersion) {
        let version = *self.version.lock();
        let table = self.table.read();
        (table.iter().map(|(k, v)| (k.clone(), (**v).clone())).collect(), version)
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.table.read().len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Decides what a topic made by its first message looks like (P§8.2); `None` when the template does not allow it.
pub fn decide_auto_created(name: &str, template: &TopicConfig, wanted_queues: i32) -> Option<TopicConfig> {
    if !perm::is_inherited(template.perm) {
        return None;
    }
    let queues = wanted_queues.min(template.write_queue_nums).max(0);
    Some(TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: template.perm & !perm::INHERIT,
        topic_filter_type: template.topic_filter_type,
        ..TopicConfig::default()
    })
}

/// Returns the retry topic of a group (P§8.2).
pub fn retry_topic_config(group: &str, queues: i32) -> TopicConfig {
    TopicConfig {
        topic_name: names::retry_topic(group),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: perm::READ | perm::WRITE,
        ..TopicConfig::default()
    }
}

/// Says what is wrong with the name of a topic somebody wants to make.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("The specified topic is blank.".to_owned());
    }
    if let Some(c) = names::illegal_character(name) {
        return Err(format!(
            "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$ (found {c:?})"
        ));
    }
    if name.len() > names::MAX_TOPIC {
        return Err(format!("The specified topic is longer than topic max length {}.", names::MAX_TOPIC));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, queues: i32) -> TopicConfig {
        TopicConfig {
            topic_name: name.into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            ..TopicConfig::default()
        }
    }

    #[test]
    fn topics_survive_a_restart_and_changes_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let topics = Topics::load(dir.path(), system_topics("C", "b", 8), 1).unwrap();
        let before = topics.generation();
        topics.put(topic("T", 4), 2).unwrap();
        topics.put(topic("U", 4), 3).unwrap();
        topics.put(topic("T", 6), 4).unwrap();
        assert!(topics.remove("U", 5, || Ok(())).unwrap());
        assert!(!topics.remove("U", 6, || Ok(())).unwrap());
        assert!(topics.remove("T", 7, || Err(io::ErrorKind::StorageFull.into())).is_err());
        assert_eq!(
            topics.put_if_absent(topic("T", 1), 8).unwrap().0.read_queue_nums,
            6,
            "not removed, not replaced"
        );
        topics.put_all(vec![topic("V", 1), topic("W", 2)], 9).unwrap();
        assert_ne!(topics.generation(), before);
        assert_eq!(topics.all().1.counter, 7);
        drop(topics);
        let topics = Topics::load(dir.path(), system_topics("C", "b", 8), 9).unwrap();
        assert_eq!(topics.get("T").unwrap().read_queue_nums, 6);
        assert!(topics.get("U").is_none());
        assert_eq!(topics.get("W").unwrap().read_queue_nums, 2);
        assert_eq!(topics.get("TBW102").unwrap().perm, 7);
    }

    #[test]
    fn an_automatic_topic_takes_the_smaller_queue_number_and_no_inheritance() {
        let template = TopicConfig { perm: 7, ..topic("TBW102", 8) };
        let made = decide_auto_created("N", &template, 4).unwrap();
        assert_eq!((made.read_queue_nums, made.write_queue_nums, made.perm), (4, 4, 6));
        assert_eq!(decide_auto_created("N", &template, 16).unwrap().read_queue_nums, 8);
        assert_eq!(decide_auto_created("N", &TopicConfig { perm: 6, ..template }, 4), None);
    }
}
