//! Deleted topics in an open store: a deletion of our own, which ends where the log ends, and a master's, which may
//! reach us early or late.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tracing::warn;

use crate::disk;
use crate::index::keys::{ActiveKeys, Keys};
use crate::index::record::{Indexed, index_record};
use crate::index::sealed::{self, IndexFile};
use crate::log::tail::Tail;
use crate::scan::scan;
use crate::store::Store;

impl Store {
    /// Deletes a topic: its messages belong to nobody from now on, and a new topic of the name begins empty. Durable
    /// on return; the bytes go with their segments. On error the topic is as it was, or the store has stopped.
    pub fn delete_topic(&self, topic: &str) -> io::Result<()> {
        // Appends wait until the note is durable: a message of the new topic acknowledged before that would repeat
        // offsets of the old one after a crash, and be lost.
        let tail = self.tail.lock();
        self.note_deletion(topic, tail.write)
    }

    /// Deletes a topic as its master did when its log ended at `end`: messages before that belong to nobody, whether
    /// they are here or still to come, and those behind it to a new topic of the name. Durable on return. Returns
    /// false when there was nothing to do: this or a later deletion is noted, or the log begins behind it.
    ///
    /// # Errors
    /// As [`Store::delete_topic`].
    pub fn drop_topic_at(&self, topic: &str, end: u64) -> io::Result<bool> {
        let _one = self.upkeep.lock();
        let tail = self.tail.lock();
        if end < self.begin() || self.dropped.end_of(topic).is_some_and(|noted| noted >= end) {
            return Ok(false);
        }
        if end < tail.write {
            self.unseal_behind(end)?;
        }
        self.note_deletion(topic, end)?;
        if end < tail.write {
            self.index_again(topic, end, &tail).inspect_err(|e| {
                self.stop_for_good(format!("index topic {topic} behind its deletion at {end}: {e}"));
            })?;
        }
        Ok(true)
    }

    /// Returns the deleted topics, each with the physical offset up to which its messages belong to nobody.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        self.dropped.all()
    }

    fn note_deletion(&self, topic: &str, end: u64) -> io::Result<()> {
        self.dropped.drop_topic(&*self.disk, topic, end, self.begin())?;
        self.sync_dir(&self.config.dir)?;
        self.queues.remove(topic).iter().for_each(|q| q.remove());
        Ok(())
    }

    /// Gives up the index files that reach beyond an offset; complete segments are sealed again later. The caller
    /// holds `upkeep`.
    fn unseal_behind(&self, end: u64) -> io::Result<()> {
        let behind: Vec<_> = self.segments.read().iter().filter(|s| s.end() > end).cloned().collect();
        for segment in behind.into_iter().rev() {
            // That of the last segment is of the last clean end, mostly before the deletion. It stays then, because it
            // may be the only one to tell the next offsets of idle queues.
            let index = IndexFile::open(&*self.disk, &self.index_dir, segment.base);
            if index.is_ok_and(|index| index.is_some_and(|(file, _)| file.covers <= end)) {
                continue;
            }
            disk::remove_if_there(&*self.disk, &sealed::path(&self.index_dir, segment.base))?;
            self.sync_dir(&self.index_dir)?;
            let Some(Keys::Sealed(file)) = self.keys.read().get(&segment.base).cloned() else { continue };
            let keys = Arc::new(ActiveKeys::default());
            keys.push_all(file.all_keys()?.into_iter());
            self.keys.write().insert(segment.base, Keys::Active(keys.clone()));
            self.pending_seals.lock().push_front((segment, keys));
        }
        self.threads.want_seal();
        Ok(())
    }

    /// Finds the messages of a topic behind its deletion, which were taken for the old topic's.
    fn index_again(&self, topic: &str, end: u64, tail: &Tail) -> io::Result<()> {
        let behind: Vec<_> = self.segments.read().iter().filter(|s| s.end() > end).cloned().collect();
        for segment in behind {
            let Some(Keys::Active(keys)) = self.keys.read().get(&segment.base).cloned() else { continue };
            let found = scan(&segment, segment.base.max(end), |record| {
                if record.topic == topic
                    && let Indexed::Repeated(r) =
                        index_record(record, &segment, &self.dropped, &self.queues, &keys)
                {
                    warn!("not indexed: {r}");
                }
            })?;
            if !found.full && found.end != tail.write {
                warn!(topic, end, "no record begins where the topic was deleted: {}", found.reason);
            }
        }
        Ok(())
    }
}
