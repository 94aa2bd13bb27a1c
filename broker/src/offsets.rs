//! How far each group has consumed each queue. In memory; what changed is appended to the table's file every few
//! seconds, so a killed broker repeats that much and skips nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use parking_lot::Mutex;
use protocol::bodies::data_version::DataVersion;

use crate::persist::{Journal, LoadError};

/// Queue -> offset.
pub type Queues = BTreeMap<i32, i64>;

/// All consumer offsets, under `topic@group` as in Java.
pub struct Offsets {
    inner: Mutex<Inner>,
    journal: Mutex<Journal>,
}

#[derive(Default)]
struct Inner {
    table: HashMap<String, Queues>,
    /// Changed since they were written to the file.
    dirty: BTreeSet<String>,
    /// Changed since slaves were told; `None` when nobody wants to know.
    untold: Option<BTreeSet<String>>,
    version: DataVersion,
}

impl Inner {
    fn look_up(&self, keys: BTreeSet<String>) -> Vec<(String, Option<Queues>)> {
        let with_value = |key: String| {
            let queues = self.table.get(&key).cloned();
            (key, queues)
        };
        keys.into_iter().map(with_value).collect()
    }

    fn changed(&mut self, key: String) {
        if let Some(untold) = &mut self.untold {
            untold.insert(key.clone());
        }
        self.dirty.insert(key);
    }
}

/// Returns the name under which the offsets of a group on a topic are kept.
pub fn key(topic: &str, group: &str) -> String {
    format!("{topic}@{group}")
}

impl Offsets {
    /// Reads the table from a folder.
    pub fn load(folder: &Path, now_ms: i64) -> Result<Offsets, LoadError> {
        let (journal, table) = Journal::open::<Queues>(&folder.join("offsets.jsonl"))?;
        let version = DataVersion { counter: 0, state_version: 0, timestamp: now_ms };
        let inner = Inner { table: table.into_iter().collect(), version, ..Inner::default() };
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
        inner.changed(key);
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
        let is_gone = |k: &String| k.rsplit_once('@').is_some_and(|(t, g)| gone(t, g));
        let keys: Vec<String> = inner.table.keys().filter(|k| is_gone(k)).cloned().collect();
        for key in keys {
            inner.table.remove(&key);
            inner.changed(key);
        }
    }

    /// Sets offsets under a key; other queues keep theirs.
    pub fn put(&self, key: &str, queues: impl IntoIterator<Item = (i32, i64)>) {
        let mut inner = self.inner.lock();
        let mut next = inner.table.get(key).cloned().unwrap_or_default();
        next.extend(queues);
        if inner.table.get(key) != Some(&next) && !next.is_empty() {
            inner.table.insert(key.to_owned(), next);
            inner.changed(key.to_owned());
        }
    }

    /// Forgets the offsets under a key.
    pub fn remove_key(&self, key: &str) {
        let mut inner = self.inner.lock();
        if inner.table.remove(key).is_some() {
            inner.changed(key.to_owned());
        }
    }

    /// Returns the whole table and the version it has.
    pub fn all(&self) -> (BTreeMap<String, Queues>, DataVersion) {
        let inner = self.inner.lock();
        (inner.table.iter().map(|(k, v)| (k.clone(), v.clone())).collect(), inner.version)
    }

    // ---- telling slaves ----

    /// From now on what changes is noted, for [`Offsets::take_changed`].
    pub fn note_changes(&self) {
        self.inner.lock().untold.get_or_insert_default();
    }

    /// Returns what has changed since the last time, as it is now; `None` for what is no more.
    pub fn take_changed(&self) -> Vec<(String, Option<Queues>)> {
        let mut inner = self.inner.lock();
        let Some(untold) = inner.untold.as_mut().map(std::mem::take) else { return Vec::new() };
        inner.look_up(untold)
    }

    /// These were taken and could not be told: they count as changed again.
    pub fn give_back_changed(&self, keys: impl Iterator<Item = String>) {
        if let Some(untold) = &mut self.inner.lock().untold {
            untold.extend(keys);
        }
    }

    // ---- file ----

    /// Writes what changed. Durable on return; on error it stays to be written.
    pub fn persist(&self, now_ms: i64) -> io::Result<()> {
        let mut journal = self.journal.lock();
        let changed = {
            let mut inner = self.inner.lock();
            let dirty = std::mem::take(&mut inner.dirty);
            if !dirty.is_empty() {
                inner.version = inner.version.next(0, now_ms);
            }
            inner.look_up(dirty)
        };
        let written = journal.append(changed.iter().map(|(k, v)| (k.as_str(), v.as_ref())));
        if written.is_err() {
            self.inner.lock().dirty.extend(changed.into_iter().map(|(k, _)| k));
            return written;
        }
        if journal.is_stale(self.inner.lock().table.len()) { journal.rewrite(&self.all().0) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_survive_a_restart_once_they_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = Offsets::load(dir.path(), 1).unwrap();
        offsets.set("G", "T", 0, 5);
        offsets.set("G", "T", 1, 6);
        offsets.set("H", "T", 0, 7);
        offsets.persist(2).unwrap();
        offsets.set("G", "T", 0, 3);
        offsets.remove_group("H");
        offsets.persist(2).unwrap();
        offsets.set("G", "T", 0, 9);
        drop(offsets);
        let offsets = Offsets::load(dir.path(), 1).unwrap();
        assert_eq!(offsets.get("G", "T", 0), Some(3));
        assert_eq!(offsets.get("G", "T", 1), Some(6));
        assert_eq!(offsets.get("H", "T", 0), None);
        assert_eq!(offsets.groups_of("T"), ["G"]);
        assert_eq!(offsets.topics_of("G"), ["T"]);
    }

    #[test]
    fn what_changes_is_told_once_and_again_when_it_could_not_be_told() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = Offsets::load(dir.path(), 1).unwrap();
        offsets.set("G", "T", 0, 5);
        assert_eq!(offsets.take_changed(), [], "nobody wanted to know");
        offsets.note_changes();
        offsets.set("G", "T", 1, 6);
        offsets.set("G", "T", 1, 6);
        offsets.set("H", "T", 0, 7);
        offsets.remove_group("H");
        let want = [("T@G".to_owned(), Some(Queues::from([(0, 5), (1, 6)]))), ("T@H".to_owned(), None)];
        assert_eq!(offsets.take_changed(), want);
        assert_eq!(offsets.take_changed(), []);
        offsets.give_back_changed(["T@G".to_owned()].into_iter());
        offsets.put("T@G", [(1, 9)]);
        assert_eq!(offsets.take_changed(), [("T@G".to_owned(), Some(Queues::from([(0, 5), (1, 9)])))]);
        offsets.remove_key("T@G");
        offsets.remove_key("T@G");
        assert_eq!(offsets.take_changed(), [("T@G".to_owned(), None)]);
    }

    #[test]
    fn the_version_moves_with_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = Offsets::load(dir.path(), 1).unwrap();
        offsets.persist(2).unwrap();
        assert_eq!(offsets.all().1, DataVersion { counter: 0, state_version: 0, timestamp: 1 });
        offsets.set("G", "T", 0, 5);
        offsets.persist(3).unwrap();
        assert_eq!(offsets.all().1, DataVersion { counter: 1, state_version: 0, timestamp: 3 });
    }
}
