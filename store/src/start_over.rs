//! Giving up the whole log to begin an empty one elsewhere: a follower that fell behind what its master still holds.
//!
//! A crash leaves a beginning of the old log, or none of it. Segments go from the newest to the oldest, so that no hole
//! comes to be; then their indexes and the notes on deleted topics, which say nothing of another log; then the new
//! segment is made. An index file without any segment makes an empty log that begins behind it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::info;

use crate::index::keys::{ActiveKeys, Keys};
use crate::log::tail::Tail;
use crate::segment::{self, Segment};
use crate::store::Store;

impl Store {
    /// Gives up all segments, indexes and queues; the log is empty and begins at `begin`, durable on return. Queues
    /// are removed as by [`Store::delete_topic`], and the written and the flushed offset become `begin`, wherever they
    /// were. Deletions noted for offsets behind the old log's end stay.
    ///
    /// # Errors
    /// Either nothing has changed, or the store has stopped, and opened again holds a beginning of the old log or
    /// nothing.
    pub fn start_over(&self, begin: u64) -> io::Result<()> {
        let _one = self.upkeep.lock();
        let mut tail = self.tail.lock();
        let mut spare = self.spare.lock();
        let no_flush = self.flushing.lock();
        if begin.checked_add(self.config.segment_bytes).is_none_or(|end| end > i64::MAX as u64) {
            let why = format!("start over at {begin}: no segment fits behind that offset");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.check_alive(&tail).map_err(io::Error::other)?;
        info!(from = self.begin(), to = tail.write, begin, "giving up the log, it starts over");
        let segment = self.replace_files(begin, tail.write)?;
        *spare = None;
        self.begin_with(segment, &mut tail);
        drop((no_flush, spare, tail));
        self.tell_appended();
        self.look_at_use();
        Ok(())
    }

    /// Removes all files and makes the first segment.
    fn replace_files(&self, begin: u64, old_end: u64) -> io::Result<Arc<Segment>> {
        let mut bases: Vec<u64> =
            self.disk.list(&self.log_dir)?.iter().filter_map(|n| segment::base_of(n)).collect();
        bases.sort_unstable();
        if let Some(newest) = bases.pop() {
            self.disk.remove(&segment::path(&self.log_dir, newest))?;
        }
        // From here on there is no way back.
        self.replace_rest(&bases, begin, old_end)
            .inspect_err(|e| self.stop_for_good(format!("start over at {begin}: {e}")))
    }

    fn replace_rest(&self, bases: &[u64], begin: u64, old_end: u64) -> io::Result<Arc<Segment>> {
        // Each by itself, or power loss might bring a newer one back without an older one.
        self.sync_dir(&self.log_dir)?;
        for base in bases.iter().rev() {
            self.disk.remove(&segment::path(&self.log_dir, *base))?;
            self.sync_dir(&self.log_dir)?;
        }
        let mut indexes: Vec<_> = self.disk.list(&self.index_dir)?;
        indexes.sort_unstable();
        for name in indexes {
            self.disk.remove(&self.index_dir.join(name))?;
        }
        self.sync_dir(&self.index_dir)?;
        self.dropped.forget_up_to(&*self.disk, old_end)?;
        let first = Segment::create(&*self.disk, &self.log_dir, begin, self.config.segment_bytes)?;
        self.sync_dir(&self.log_dir)?;
        Ok(first)
    }

    /// Makes an empty segment the whole log.
    fn begin_with(&self, segment: Arc<Segment>, tail: &mut Tail) {
        let begin = segment.base;
        // First, so that whoever finds nothing any more also finds the reason.
        self.queues.clear().iter().for_each(|q| q.remove());
        let keys = Arc::new(ActiveKeys::default());
        *self.keys.write() = BTreeMap::from([(begin, Keys::Active(keys.clone()))]);
        self.pending_seals.lock().clear();
        self.sealed.notify_all();
        self.cache.write().clear();
        *tail = Tail {
            segment: segment.clone(),
            write: begin,
            last_time: 0,
            keys,
            repair_to: 0,
            hinted: begin,
            closed: false,
        };
        let mut segments = self.segments.write();
        *segments = [segment].into();
        // Within the lock, so that nobody measures the new segment by the old end.
        self.written.store(begin, Ordering::Release);
        drop(segments);
        self.flushed.send_replace(begin);
    }
}
