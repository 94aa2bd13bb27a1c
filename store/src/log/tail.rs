//! The end of the log: gives out positions, writes a batch with one write, builds the index. A short lock, no other
//! thread; when `append` returns, a killed process loses nothing of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::message::{self, BLANK_HEAD, NewRecord};

use crate::index::keys::{ActiveKeys, KeyEntry};
use crate::index::queue::{Entry, Queue};
use crate::segment::Segment;
use crate::store::Store;

/// Records to be appended together; reused from batch to batch.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    items: Vec<Item>,
    keys: Vec<u32>,
}

struct Item {
    queue: Arc<Queue>,
    start: usize,
    len: usize,
    tags_code: i64,
    keys_end: usize,
    stored: Option<Stored>,
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Position in its queue.
    pub queue_offset: u64,
    /// Position in the log.
    pub physical: u64,
    /// Bytes.
    pub size: u32,
}

impl Batch {
    /// Encodes a record for a queue; `keys` are hashes of [`crate::index::keys::hash`]. Properties, if any, must not
    /// end in NUL: that is how a torn record is told. Returns its number in the batch.
    pub fn push(
        &mut self,
        queue: Arc<Queue>,
        record: &NewRecord<'_>,
        tags_code: i64,
        keys: impl Iterator<Item = u32>,
    ) -> usize {
        let start = self.bytes.len();
        record.encode(&mut self.bytes);
        self.keys.extend(keys);
        let (len, keys_end) = (self.bytes.len() - start, self.keys.len());
        self.items.push(Item { queue, start, len, tags_code, keys_end, stored: None });
        self.items.len() - 1
    }

    /// Returns where a record went; `None` if it was not stored.
    pub fn stored(&self, number: usize) -> Option<Stored> {
        self.items[number].stored
    }

    /// Returns the queue of a record.
    pub fn queue(&self, number: usize) -> &Arc<Queue> {
        &self.items[number].queue
    }

    /// Returns the hash of a record's tags.
    pub fn tags_code(&self, number: usize) -> i64 {
        self.items[number].tags_code
    }

    /// Returns how many records it holds.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Says whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the bytes of its records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Empties it for the next batch; keeps its memory unless that is much.
    pub fn clear(&mut self) {
        self.items.clear();
        self.keys.clear();
        self.bytes.clear();
        if self.bytes.capacity() > 1 << 20 {
            self.bytes = Vec::new();
        }
    }
}

/// Why records were not stored. What was stored before the failure stays; [`Batch::stored`] tells.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk is too full, by the watermark or in fact. Reads go on; writes resume when space returns.
    #[error("append: disk full: {0}")]
    Full(String),
    /// A record does not fit a segment.
    #[error("append: a record of {0} bytes does not fit a segment")]
    TooLarge(usize),
    /// The write failed.
    #[error("append at {at}: {source}")]
    Io {
        /// Physical offset.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// The store has failed or is closed; it takes nothing any more.
    #[error("append: store is stopped: {0}")]
    Stopped(String),
}

/// What the holder of the tail's lock may change.
pub(crate) struct Tail {
    pub segment: Arc<Segment>,
    pub write: u64,
    pub last_time: i64,
    pub keys: Arc<ActiveKeys>,
    /// A failed write may have left bytes up to here; they must be zeros before anything else is written.
    pub repair_to: u64,
    /// Up to where the kernel has been told to write back.
    pub hinted: u64,
    /// The store is being closed.
    pub closed: bool,
}

/// A half-written tail is no state to go on from.
pub(super) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl Store {
    /// Appends all records of a batch in order and returns the log's end behind them. On return every one can be
    /// read and survives a kill of the process; it survives power loss once [`Store::flushed`] reaches that end.
    ///
    /// # Errors
    /// See [`AppendError`]; some records may have been stored nevertheless, see [`Batch::stored`].
    pub fn append(&self, batch: &mut Batch, now_ms: i64) -> Result<u64, AppendError> {
        self.wait_for_seals();
        let mut tail = self.tail.lock();
        let result = self.append_at(&mut tail, batch, now_ms);
        drop(tail);
        self.tell_appended();
        result
    }

    fn append_at(&self, tail: &mut Tail, batch: &mut Batch, now_ms: i64) -> Result<u64, AppendError> {
        // Under the lock: what is appended after `close` took it would never be flushed.
        self.check_writable(tail)?;
        let _guard = AbortOnPanic;
        let time = now_ms.max(tail.last_time);
        let mut done = 0;
        while done < batch.items.len() {
            if batch.items[done].queue.is_removed() {
                done += 1;
                continue;
            }
            match tail.fitting(&batch.items[done..]) {
                0 => self.roll(tail, batch.items[done].len)?,
                n => {
                    self.write_run(tail, batch, done, done + n, time)?;
                    done += n;
                }
            }
        }
        Ok(tail.write)
    }

    fn write_run(
        &self,
        tail: &mut Tail,
        batch: &mut Batch,
        from: usize,
        to: usize,
        time: i64,
    ) -> Result<(), AppendError> {
        tail.repair()?;
        let (begin, segment) = (tail.write, tail.segment.clone());
        let mut at = begin;
        for item in &mut batch.items[from..to] {
            let queue_offset = item.queue.assign();
            message::assign(
                &mut batch.bytes[item.start..item.start + item.len],
                queue_offset as i64,
                at as i64,
                time,
            );
            item.stored = Some(Stored { queue_offset, physical: at, size: item.len as u32 });
            at += item.len as u64;
        }
        let run = &batch.bytes[batch.items[from].start..batch.items[to - 1].start + batch.items[to - 1].len];
        if let Err(e) = segment.file.write_at(run, begin - segment.base) {
            for item in &mut batch.items[from..to] {
                item.queue.unassign();
                item.stored = None;
            }
            tail.repair_to = tail.repair_to.max(at);
            return Err(write_error(begin, e));
        }
        if from == 0 && to == batch.items.len() {
            // Nobody looks at the encoded bytes again, so the cache can have them as they are.
            let bytes = std::mem::take(&mut batch.bytes);
            batch.bytes = self.cache.write().append_owned(begin, bytes);
        } else {
            self.cache.write().append(begin, run);
        }
        // Before the entries: whoever sees one can read its record.
        self.written.store(at, Ordering::Release);
        let mut keys_from = if from == 0 { 0 } else { batch.items[from - 1].keys_end };
        for item in &batch.items[from..to] {
            let Some(s) = item.stored else { continue };
            let entry = Entry {
                queue_offset: s.queue_offset,
                physical: s.physical,
                size: s.size,
                tags_code: item.tags_code,
            };
            item.queue.push(segment.base, &entry, time);
        }
        let keys = &batch.keys;
        tail.keys.push_all(batch.items[from..to].iter().flat_map(|item| {
            let hashes = &keys[keys_from..item.keys_end];
            keys_from = item.keys_end;
            let relative = (item.stored.map_or(begin, |s| s.physical) - segment.base) as u32;
            hashes.iter().map(move |hash| KeyEntry { hash: *hash, relative })
        }));
        segment.set_last_store_time(time);
        tail.last_time = time;
        self.move_to(tail, at);
        Ok(())
    }

    /// Moves the tail behind what was written and lets the threads know what that asks for.
    #[inline]
    pub(super) fn move_to(&self, tail: &mut Tail, end: u64) {
        tail.write = end;
        if end - tail.hinted >= self.config.writeback_bytes {
            tail.hinted = end;
            self.threads.hint_writeback();
        }
        if end - tail.segment.base > tail.segment.size / 4 * 3 {
            self.threads.want_spare();
        }
    }
}

impl Tail {
    /// Returns how many of the records fit into the segment; a run ends before a record of a removed queue.
    fn fitting(&self, items: &[Item]) -> usize {
        let mut left = (self.segment.end() - self.write) as usize;
        let mut n = 0;
        for item in items {
            if item.len + BLANK_HEAD > left || (n > 0 && item.queue.is_removed()) {
                break;
            }
            left -= item.len;
            n += 1;
        }
        n
    }

    /// Overwrites with zeros what a failed write may have left behind the end, so that no scan can take it for data.
    pub(super) fn repair(&mut self) -> Result<(), AppendError> {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        let mut at = self.write;
        while at < self.repair_to {
            let n = (self.repair_to - at).min(ZEROS.len() as u64);
            let written = self.segment.file.write_at(&ZEROS[..n as usize], at - self.segment.base);
            written.map_err(|e| write_error(at, e))?;
            at += n;
        }
        self.repair_to = 0;
        Ok(())
    }
}

pub(super) fn write_error(at: u64, source: io::Error) -> AppendError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::Full(source.to_string()),
        _ => AppendError::Io { at, source },
    }
}
