//! Going on in the next segment, whose file is made ahead where possible.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::message::{BLANK_HEAD, MAGIC_BLANK};
use tracing::warn;

use super::tail::{AppendError, Tail, write_error};
use crate::index::keys::Keys;
use crate::segment::Segment;
use crate::store::Store;

impl Store {
    /// Closes the segment with a blank and goes on in the next one.
    pub(crate) fn roll(&self, tail: &mut Tail, record: usize) -> Result<(), AppendError> {
        if record + BLANK_HEAD > self.config.segment_bytes as usize {
            return Err(AppendError::TooLarge(record));
        }
        let left = tail.segment.end() - tail.write;
        if left < BLANK_HEAD as u64 {
            return self.go_on(tail, &[]);
        }
        let mut blank = [0; BLANK_HEAD];
        blank[..4].copy_from_slice(&(left as u32).to_be_bytes());
        blank[4..].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
        self.go_on(tail, &blank)
    }

    /// Writes what ends the segment, which may be less than it has room for, and goes on in the next one.
    pub(super) fn go_on(&self, tail: &mut Tail, blank: &[u8]) -> Result<(), AppendError> {
        tail.repair()?;
        let base = tail.segment.end();
        let next = self.next_segment(base).map_err(|e| write_error(base, e))?;
        if let Err(e) = tail.segment.file.write_at(blank, tail.write - tail.segment.base) {
            tail.repair_to = tail.write + blank.len() as u64;
            return Err(write_error(tail.write, e));
        }
        let keys = std::mem::take(&mut tail.keys);
        let complete = std::mem::replace(&mut tail.segment, next.clone());
        tail.write = base;
        tail.hinted = base;
        self.keys.write().insert(base, Keys::Active(tail.keys.clone()));
        // First, so that nobody takes it for sealed because another follows it.
        self.pending_seals.lock().push_back((complete, keys));
        self.segments.write().push_back(next);
        // Only now, so that whoever holds `spare` sees the file in one place or the other; see `make_spare_at`.
        self.spare.lock().take();
        self.written.store(base, Ordering::Release);
        self.threads.want_seal();
        Ok(())
    }

    /// Returns the file made ahead, or makes it. It stays the spare until the tail is in it.
    fn next_segment(&self, base: u64) -> io::Result<Arc<Segment>> {
        let mut spare = self.spare.lock();
        match &*spare {
            Some(segment) if segment.base == base => Ok(segment.clone()),
            _ => Ok(spare.insert(self.create_segment(base)?).clone()),
        }
    }

    /// Makes the segment behind the last one ready.
    pub(crate) fn make_spare(&self) {
        let base = self.tail.lock().segment.end();
        self.make_spare_at(base);
    }

    fn make_spare_at(&self, base: u64) {
        let mut spare = self.spare.lock();
        // The tail may have gone on since it was asked, and making its file anew would empty it; or the log has
        // started over.
        let is_next = self.segments.read().back().is_some_and(|s| s.end() == base);
        if !is_next || self.is_stopped() || spare.as_ref().is_some_and(|s| s.base == base) {
            return;
        }
        match self.create_segment(base) {
            Ok(segment) => *spare = Some(segment),
            Err(e) => warn!("next segment {base:020} not made ahead: {e}"),
        }
    }

    fn create_segment(&self, base: u64) -> io::Result<Arc<Segment>> {
        let segment = Segment::create(&*self.disk, &self.log_dir, base, self.config.segment_bytes)?;
        self.sync_dir(&self.log_dir)?;
        Ok(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConfig;
    use crate::disk::memory::MemoryDisk;
    use crate::log::tail::Batch;

    fn open(disk: &MemoryDisk) -> Arc<Store> {
        let config = StoreConfig { segment_bytes: 4096, ..StoreConfig::new("/s") };
        Store::open(config, Arc::new(disk.clone())).unwrap()
    }

    /// Appends a record that fills most of a segment; returns its physical offset.
    fn append(store: &Store) -> u64 {
        let record = protocol::message::NewRecord {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_host: "127.0.0.1:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &[7; 3000],
            properties: "",
            more_properties: "",
        };
        let mut batch = Batch::default();
        batch.push(store.queue_or_create("T", 0).unwrap(), &record, 0, std::iter::empty());
        store.append(&mut batch, 1).unwrap();
        batch.stored(0).unwrap().physical
    }

    #[test]
    fn a_spare_made_late_does_not_empty_the_segment_the_tail_has_gone_on_to() {
        let store = open(&MemoryDisk::new(1 << 20));
        let behind = store.tail.lock().segment.end();
        append(&store);
        assert_eq!(append(&store), behind, "the second record is in the next segment");
        store.make_spare_at(behind);
        assert!(store.read_record(behind).is_ok());
    }

    #[test]
    fn a_file_made_ahead_of_a_log_that_was_given_up_is_not_taken_for_the_next() {
        let disk = MemoryDisk::new(1 << 20);
        let store = open(&disk);
        let behind = store.tail.lock().segment.end();
        store.make_spare();
        store.start_over(0).unwrap();
        append(&store);
        assert_eq!(append(&store), behind);
        drop(store);
        let store = open(&disk);
        assert!(store.read_record(behind).is_ok(), "it was in a file with a name");
        store.start_over(0).unwrap();
        // Asked for before, made after.
        store.make_spare_at(5 * 4096);
        drop(store);
        assert_eq!(open(&disk).segments.read().len(), 1);
    }
}
