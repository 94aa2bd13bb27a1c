//! Sealing: the index of a complete segment goes from memory into its file, once the segment is durable. In the
//! order of the segments, so an index file proves that the log before it is durable too.

use std::io;
use std::time::Duration;

use tracing::warn;

use crate::index::keys::{ActiveKeys, Keys};
use crate::index::sealed::{self, Content, DirectoryRow};
use crate::segment::{self, Segment};
use crate::store::Store;

/// Complete segments that may be without an index file before appends are held back.
const MAX_UNSEALED: usize = 2;
/// How long an append is held back at most.
const MAX_SEAL_WAIT: Duration = Duration::from_secs(1);

impl Store {
    /// Writes the index files of segments that are complete.
    pub(crate) fn seal_pending(&self) {
        let _one = self.upkeep.lock();
        self.seal_complete();
    }

    /// As [`Store::seal_pending`], for the holder of `upkeep`.
    pub(crate) fn seal_complete(&self) {
        while !self.is_stopped() {
            let first = self.pending_seals.lock().front().cloned();
            let Some((segment, keys)) = first else { return };
            if let Err(e) = segment.sync_to(segment.end()) {
                return self.stop_for_good(format!("sync segment {:020}: {e}", segment.base));
            }
            if let Err(e) = self.seal(&segment, &keys, segment.end()) {
                return warn!("index of segment {:020} not written, trying again later: {e}", segment.base);
            }
            self.pending_seals.lock().pop_front();
            self.sealed.notify_all();
        }
    }

    /// Holds an append back while too many complete segments wait for their index files: a start scans what has none,
    /// and until then their index is in memory. Never for long, because a full disk may keep them waiting.
    pub(crate) fn wait_for_seals(&self) {
        let mut pending = self.pending_seals.lock();
        if pending.len() >= MAX_UNSEALED && self.threads.are_running() {
            self.sealed.wait_for(&mut pending, MAX_SEAL_WAIT);
        }
    }

    /// Writes the index file of a segment that is durable up to `covers`, and lets reads use it when it is complete.
    /// The caller holds `upkeep`.
    pub(crate) fn seal(&self, segment: &Segment, keys: &ActiveKeys, covers: u64) -> io::Result<()> {
        let mut rows = Vec::new();
        let mut queues = Vec::new();
        for queue in self.queues.sorted() {
            if let Some(row) = queue.seal_row(segment.base) {
                rows.push(DirectoryRow { topic: queue.topic.to_string(), queue: queue.id, row });
                queues.push(queue);
            }
        }
        let last_store_time = segment.last_store_time();
        let mut content = Content { base: segment.base, covers, last_store_time, rows, keys: keys.sorted() };
        let file = sealed::write(&*self.disk, &self.index_dir, &mut content, |i, from, n, out| {
            queues[i].entries(from, n, true, out)
        })?;
        self.sync_dir(&self.index_dir)?;
        if covers == segment.end() {
            for (queue, row) in queues.iter().zip(&content.rows) {
                if row.row.count > 0 {
                    queue.sealed(segment.base, &row.row, &file);
                }
            }
            if let Some(keys) = self.keys.write().get_mut(&segment.base) {
                *keys = Keys::Sealed(file);
            }
        }
        if let Err(e) = self.remove_orphans() {
            warn!("index files of removed segments stay for now: {e}");
        }
        Ok(())
    }

    /// Removes index files of removed segments once a newer file tells the next offsets.
    fn remove_orphans(&self) -> io::Result<()> {
        let begin = self.begin();
        for name in self.disk.list(&self.index_dir)? {
            if name.strip_suffix(".idx").and_then(segment::base_of).is_some_and(|base| base < begin) {
                self.disk.remove(&self.index_dir.join(name))?;
            }
        }
        Ok(())
    }
}
