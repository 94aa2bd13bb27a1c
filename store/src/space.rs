//! Keeping the disk from filling: old segments go, and writes are refused before there is no space at all.

use std::io;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use crate::disk;
use crate::index::sealed;
use crate::retention::{self, SegmentFacts};
use crate::segment;
use crate::store::Store;

impl Store {
    /// Removes segments that may go and decides whether writes are refused.
    pub fn look_after_space(&self, now_ms: i64) {
        let _one = self.upkeep.lock();
        self.seal_complete();
        for _ in 0..retention::BATCH {
            let Some(used) = self.look_at_use() else { return };
            let removable =
                retention::decide_removal(&self.sealed_facts(), now_ms, used, &self.retention.lock());
            if removable.is_empty() {
                return;
            }
            for base in removable {
                if let Err(e) = self.remove_segment(base) {
                    return warn!("remove segment {base:020}: {e}");
                }
                info!(base, used_percent = used, "segment removed");
            }
        }
        self.look_at_use();
    }

    /// Notes how full the disk is and whether writes are refused; `None` when nobody can tell.
    pub(crate) fn look_at_use(&self) -> Option<u8> {
        let space =
            self.disk.space(&self.log_dir).inspect_err(|e| warn!("disk use is not known: {e}")).ok()?;
        let used = space.used_percent();
        self.used_percent.store(used, Ordering::Relaxed);
        let refused = retention::decide_refusal(used, &self.retention.lock());
        if self.full.swap(refused, Ordering::Relaxed) != refused {
            warn!(used_percent = used, refused, "disk use: writes");
        }
        Some(used)
    }

    fn sealed_facts(&self) -> Vec<SegmentFacts> {
        // The segments first: one that is complete by then is among the pending ones unless it is sealed.
        let mut segments: Vec<_> = self.segments.read().iter().cloned().collect();
        segments.pop();
        let first_unsealed = self.pending_seals.lock().front().map_or(u64::MAX, |(s, _)| s.base);
        let sealed = segments.iter().take_while(|s| s.base < first_unsealed);
        sealed.map(|s| SegmentFacts { base: s.base, last_store_time: s.last_store_time() }).collect()
    }

    fn remove_segment(&self, base: u64) -> io::Result<()> {
        let newest_sealed = self.sealed_facts().last().map(|f| f.base);
        // Not there when it was removed by hand.
        disk::remove_if_there(&*self.disk, &segment::path(&self.log_dir, base))?;
        // One at a time: with the next one gone and this one back after power loss, the log would have a hole.
        self.sync_dir(&self.log_dir)?;
        self.segments.write().retain(|s| s.base != base);
        self.keys.write().remove(&base);
        let begin = self.begin();
        self.queues.sorted().iter().for_each(|q| q.forget_before(begin));
        // The newest index file stays: it alone tells the next offsets of idle queues.
        if newest_sealed != Some(base) {
            disk::remove_if_there(&*self.disk, &sealed::path(&self.index_dir, base))?;
        }
        Ok(())
    }
}
