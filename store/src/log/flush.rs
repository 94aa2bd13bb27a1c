//! Making the log durable: one `fdatasync` for everything that was written by then (group commit), then the watched
//! offset moves. A failed sync stops the store for good.

use std::sync::atomic::Ordering;

use tokio::sync::watch;

use crate::store::Store;

impl Store {
    /// Returns the offset up to which the log survives power loss, to be watched.
    pub fn flushed(&self) -> watch::Receiver<u64> {
        self.flushed.subscribe()
    }

    /// Returns the offset up to which the log survives power loss.
    pub fn flushed_offset(&self) -> u64 {
        *self.flushed.borrow()
    }

    /// Asks for durability up to an offset. Returns at once; [`Store::flushed`] tells when.
    pub fn request_flush(&self, end: u64) {
        if self.flushed_offset() < end {
            // Nobody can flush what is not written.
            self.threads.request_flush(end.min(self.written()));
        }
    }

    /// Makes durable what was written until now. A failure stops the store.
    pub fn flush_now(&self) {
        let _one = self.flushing.lock();
        let target = self.written.load(Ordering::Acquire);
        let from = self.flushed_offset();
        if from >= target || self.is_stopped() {
            return;
        }
        let dirty: Vec<_> =
            self.segments.read().iter().filter(|s| s.base < target && s.end() > from).cloned().collect();
        for segment in dirty {
            if let Err(e) = segment.sync_to(target) {
                self.stop_for_good(format!("sync segment {:020}: {e}", segment.base));
                return;
            }
        }
        self.flushed.send_replace(target);
    }

    /// Lets the kernel begin to write back what was appended behind `from`; returns up to where.
    pub(crate) fn start_writeback(&self, from: u64) -> u64 {
        let (segment, end) = {
            let tail = self.tail.lock();
            (tail.segment.clone(), tail.write)
        };
        let from = from.max(self.flushed_offset()).max(segment.base);
        if end > from {
            segment.file.start_writeback(from - segment.base, end - from);
        }
        end
    }
}
