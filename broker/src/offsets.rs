//! How far each group has consumed each queue. In memory; what changed is appended to the table's file every few
//! seconds, so a killed broker repeats that much and skips nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use parking_lot::Mutex;

use crate::persist::{Journal, LoadError};

type Queues = BTreeMap<i32, i64>;

/// All consumer offsets, under `topic@group` as in Java.
pub struct Offsets {
    inner: Mutex<Inner>,
    journal: Mutex<Journal>,
}

#[derive(Default)]
struct Inner {
    table: HashMap<String, Queues>,
    dirty: BTreeSet<String>,
}

fn key(topic: &str, group: &str) -> String {
    format!("{topic}@{group}")
}

impl Offsets {
    /// Reads the table from a folder.
    pub fn load(folder: &Path) -> Result<Offsets, LoadError> {
        let (journal, table) = Journal::open::<Queues>(&folder.join("offsets.jsonl"))?;
        let inner = Inner { table: table.into_iter().collect(), dirty: BTreeSet::new() };
        Ok(Offsets { inner: Mutex::new(inner), journal: Mutex::new(journal) })
    }

    /// Returns the next offset a group will consume.
    pub fn get(&self, group: &str, topic: &str, queue: i32) -> Option<i64> {
        self.inner.lock().table.get(&key(topic, group))?.get(&queue).copied()
    }

    /// Sets it. It may go back: that is how offsets are reset.
    pub fn set(&self, group: &str, topic: &str, queue: i32, offset: i64) {
        let key = key(topic, group);
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if inner.table.get_mut(&key).and_then(|q| q.insert(queue, offset)) == Some(offset) {
            return;
        }
        inner.table.entry(key.clone()).or_default().insert(queue, offset);
        inner.dirty.insert(key);
    }

    /// Returns the offsets of a group on a topic.
    pub fn of(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        self.inner.lock().table.get(&key(topic, group)).cloned().unwrap_or_default()
    }

    /// Returns the topics a group has offsets on.
    pub fn topics_of(&self, group: &str) -> Vec<String> {
        self.pairs(|_, g| g == group).into_iter().map(|(topic, _)| topic).collect()
    }

    /// Returns the groups that have offsets on a topic.
    pub fn groups_of(&self, topic: &str) -> Vec<String> {
        self.pairs(|t, _| t == topic).into_iter().map(|(_, group)| group).collect()
    }

    fn pairs(&self, wanted: impl Fn(&str, &str) -> bool) -> Vec<(String, String)> {
        let inner = self.inner.lock();
        let split = inner.table.keys().filter_map(|k| k.rsplit_once('@'));
        let mut found: Vec<_> =
            split.filter(|(t, g)| wanted(t, g)).map(|(t, g)| (t.to_owned(), g.to_owned())).collect();
        found.sort();
        found
    }

    /// Forgets all offsets of a group.
    pub fn remove_group(&self, group: &str) {
        self.remove(|_, g| g == group);
    }

    /// Forgets all offsets on a topic.
    pub fn remove_topic(&self, topic: &str) {
        self.remove(|t, _| t == topic);
    }

    fn remove(&self, gone: impl Fn(&str, &str) -> bool) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.table.retain(|k, _| {
            let keep = !k.rsplit_once('@').is_some_and(|(t, g)| gone(t, g));
            if !keep {
                inner.dirty.insert(k.clone());
            }
            keep
        });
    }

    /// Returns the whole table.
    pub fn all(&self) -> BTreeMap<String, Queues> {
        self.inner.lock().table.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// Writes what changed. Durable on return; on error it stays to be written.
    pub fn persist(&self) -> io::Result<()> {
        let mut journal = self.journal.lock();
        let changed: Vec<(String, Option<Queues>)> = {
            let mut inner = self.inner.lock();
            let dirty = std::mem::take(&mut inner.dirty);
            dirty
                .into_iter()
                .map(|k| {
                    let v = inner.table.get(&k).cloned();
                    (k, v)
                })
                .collect()
        };
        let written = journal.append(changed.iter().map(|(k, v)| (k.as_str(), v.as_ref())));
        if written.is_err() {
            self.inner.lock().dirty.extend(changed.into_iter().map(|(k, _)| k));
            return written;
        }
        if journal.is_stale(self.inner.lock().table.len()) { journal.rewrite(&self.all()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_survive_a_restart_once_they_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = Offsets::load(dir.path()).unwrap();
        offsets.set("G", "T", 0, 5);
        offsets.set("G", "T", 1, 6);
        offsets.set("H", "T", 0, 7);
        offsets.persist().unwrap();
        offsets.set("G", "T", 0, 3);
        offsets.remove_group("H");
        offsets.persist().unwrap();
        offsets.set("G", "T", 0, 9);
        drop(offsets);
        let offsets = Offsets::load(dir.path()).unwrap();
        assert_eq!(offsets.get("G", "T", 0), Some(3));
        assert_eq!(offsets.get("G", "T", 1), Some(6));
        assert_eq!(offsets.get("H", "T", 0), None);
        assert_eq!(offsets.groups_of("T"), ["G"]);
        assert_eq!(offsets.topics_of("G"), ["T"]);
    }
}
