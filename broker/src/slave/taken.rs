//! Offsets that clients committed on this slave, until its master has them. Consumers that read from a slave while the
//! master is away commit there; the master's older offsets must not win when it is back, even if the slave was restarted
//! meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use parking_lot::Mutex;

use crate::offsets::Queues;
use crate::persist::{Journal, LoadError};

/// Keys at most: a slave knows only some of the groups that commit to it, and nobody may fill the table with names.
const MAX_KEYS: usize = 100_000;

/// What the master has not got yet, under `topic@group`. Kept in `offsets-taken.jsonl`.
pub struct Taken {
    inner: Mutex<Inner>,
    journal: Mutex<Journal>,
}

#[derive(Default)]
struct Inner {
    table: BTreeMap<String, Queues>,
    dirty: BTreeSet<String>,
}

impl Taken {
    /// Reads the table from a folder.
    pub fn load(folder: &Path) -> Result<Taken, LoadError> {
        let (journal, table) = Journal::open::<Queues>(&folder.join("offsets-taken.jsonl"))?;
        let inner = Inner { table, dirty: BTreeSet::new() };
        Ok(Taken { inner: Mutex::new(inner), journal: Mutex::new(journal) })
    }

    /// Notes what a client committed; the last word counts, as in the table of all offsets, which `commit` changes. The
    /// two stay one: what is taken over of the master's waits. Returns false when there is too much already.
    #[must_use]
    pub fn set(&self, key: String, queue: i32, offset: i64, commit: impl FnOnce()) -> bool {
        let mut inner = self.inner.lock();
        if inner.table.len() >= MAX_KEYS && !inner.table.contains_key(&key) {
            return false;
        }
        inner.table.entry(key.clone()).or_default().insert(queue, offset);
        inner.dirty.insert(key);
        commit();
        true
    }

    /// Hands over what of a master's offsets is to be taken over: all but those that a client has moved further here.
    pub fn take_over(&self, key: &str, masters: &Queues, put: impl FnOnce(Queues)) {
        let inner = self.inner.lock();
        let ours = inner.table.get(key);
        let is_older =
            |queue: &i32, offset: i64| ours.and_then(|q| q.get(queue)).is_some_and(|o| *o > offset);
        let newer = masters.iter().filter(|(queue, offset)| !is_older(queue, **offset));
        put(newer.map(|(queue, offset)| (*queue, *offset)).collect());
    }

    /// The master has no offsets under a key: they are removed, unless clients have committed here.
    pub fn take_over_none(&self, key: &str, remove: impl FnOnce()) {
        let inner = self.inner.lock();
        if !inner.table.contains_key(key) {
            remove();
        }
    }

    /// Forgets what was taken for topics and groups that are no more. Durable on return.
    pub fn remove(&self, is_gone: impl Fn(&str, &str) -> bool) -> io::Result<()> {
        let is_gone = |key: &str| key.rsplit_once('@').is_some_and(|(topic, group)| is_gone(topic, group));
        let gone: Vec<String> = {
            let mut inner = self.inner.lock();
            let gone: Vec<_> = inner.table.keys().filter(|key| is_gone(key)).cloned().collect();
            gone.iter().for_each(|key| _ = inner.table.remove(key));
            inner.dirty.extend(gone.iter().cloned());
            gone
        };
        if gone.is_empty() { Ok(()) } else { self.persist() }
    }

    /// Says whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().table.is_empty()
    }

    /// Returns everything.
    pub fn all(&self) -> BTreeMap<String, Queues> {
        self.inner.lock().table.clone()
    }

    /// The master has these, or wants none of them; what was committed since stays.
    pub fn forget(&self, done: &BTreeMap<String, Queues>) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        for (key, queues) in done {
            let Some(ours) = inner.table.get_mut(key) else { continue };
            ours.retain(|queue, offset| queues.get(queue) != Some(offset));
            if ours.is_empty() {
                inner.table.remove(key);
            }
            inner.dirty.insert(key.clone());
        }
    }

    /// Writes what changed. Durable on return; on error it stays to be written.
    pub fn persist(&self) -> io::Result<()> {
        let mut journal = self.journal.lock();
        let changed: Vec<(String, Option<Queues>)> = {
            let mut inner = self.inner.lock();
            let dirty = std::mem::take(&mut inner.dirty);
            dirty
                .into_iter()
                .map(|key| {
                    let queues = inner.table.get(&key).cloned();
                    (key, queues)
                })
                .collect()
        };
        let written = journal.append(changed.iter().map(|(k, v)| (k.as_str(), v.as_ref())));
        if written.is_err() {
            self.inner.lock().dirty.extend(changed.into_iter().map(|(k, _)| k));
            return written;
        }
        let live = self.inner.lock().table.len();
        if journal.is_stale(live) { journal.rewrite(&self.all()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_committed_here_is_kept_until_the_master_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let taken = Taken::load(dir.path()).unwrap();
        assert!(taken.set("T@G".to_owned(), 0, 5, || {}));
        assert!(taken.set("T@G".to_owned(), 1, 7, || {}));
        assert!(taken.set("T@H".to_owned(), 0, 9, || {}));
        taken.persist().unwrap();
        drop(taken);
        let taken = Taken::load(dir.path()).unwrap();
        let pushed = taken.all();
        assert_eq!(pushed.len(), 2);
        assert!(taken.set("T@G".to_owned(), 1, 8, || {}));
        taken.forget(&pushed);
        assert_eq!(taken.all(), BTreeMap::from([("T@G".to_owned(), Queues::from([(1, 8)]))]));
        taken.persist().unwrap();
        drop(taken);
        let taken = Taken::load(dir.path()).unwrap();
        taken.forget(&BTreeMap::from([("T@G".to_owned(), Queues::from([(1, 8)]))]));
        assert!(taken.is_empty());
    }

    #[test]
    fn of_a_masters_offsets_those_win_that_no_client_has_moved_further_here() {
        let dir = tempfile::tempdir().unwrap();
        let taken = Taken::load(dir.path()).unwrap();
        let masters = Queues::from([(0, 5), (1, 5), (2, 5)]);
        let newer = |key: &str| {
            let mut newer = None;
            taken.take_over(key, &masters, |queues| newer = Some(queues));
            newer.unwrap()
        };
        assert_eq!(newer("T@G"), masters);
        assert!(taken.set("T@G".to_owned(), 0, 6, || {}));
        assert!(taken.set("T@G".to_owned(), 1, 4, || {}));
        assert_eq!(newer("T@G"), Queues::from([(1, 5), (2, 5)]));
        assert_eq!(newer("T@H"), masters);
    }

    #[test]
    fn what_was_taken_for_a_topic_that_is_no_more_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let taken = Taken::load(dir.path()).unwrap();
        for key in ["T@G", "T@H", "U@G"] {
            assert!(taken.set(key.to_owned(), 0, 1, || {}));
        }
        taken.persist().unwrap();
        taken.remove(|topic, _| topic == "T").unwrap();
        drop(taken);
        let taken = Taken::load(dir.path()).unwrap();
        assert_eq!(taken.all().into_keys().collect::<Vec<_>>(), ["U@G"]);
        taken.remove(|_, group| group == "G").unwrap();
        assert!(taken.is_empty());
    }

    #[test]
    fn nobody_fills_the_table_with_names() {
        let dir = tempfile::tempdir().unwrap();
        let taken = Taken::load(dir.path()).unwrap();
        assert!((0..MAX_KEYS).all(|n| taken.set(format!("T@G{n}"), 0, 1, || {})));
        assert!(!taken.set("T@H".to_owned(), 0, 1, || {}));
        assert!(taken.set("T@G7".to_owned(), 1, 2, || {}), "what is there goes on");
    }
}
