//! Giving records back: from the cache, else from the file. Callers that must not wait for the device say so and are
//! told when they would have to.

use std::io;
use std::sync::Arc;

use protocol::message;

use crate::index::queue::{Entry, Queue};
use crate::segment::Segment;
use crate::store::Store;

/// Why a record cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The range is not in the log any more, or not yet.
    #[error("read at {at}: the log holds {begin} to {end}")]
    Outside {
        /// Physical offset.
        at: u64,
        /// First offset of the log.
        begin: u64,
        /// End of the log.
        end: u64,
    },
    /// It is not in memory, and the caller does not want to wait.
    #[error("not in memory")]
    WouldBlock,
    /// The disk failed, or index and log disagree.
    #[error("read at {at}: {source}")]
    Io {
        /// Physical offset.
        at: u64,
        /// Why.
        source: io::Error,
    },
}

/// Neighbours closer than this are read together.
const MERGE_GAP: u64 = 64 * 1024;
/// A merged read is at most this long.
const MERGE_MAX: u64 = 1 << 20;

/// Whoever asks by position may name any byte of the log; what stands there is believed to be a size up to here.
const MAX_RECORD: u64 = 128 << 20;

impl Store {
    /// Appends the records of all entries to `out`, one after the other; nothing on error.
    ///
    /// # Errors
    /// See [`ReadError`]; `WouldBlock` only when `wait` is false.
    pub fn read_entries(&self, entries: &[Entry], wait: bool, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let begin = out.len();
        let result = if wait { self.read_merged(entries, out) } else { self.read_each(entries, out) };
        if result.is_err() {
            out.truncate(begin);
        }
        result
    }

    fn read_each(&self, entries: &[Entry], out: &mut Vec<u8>) -> Result<(), ReadError> {
        let mut rest = entries;
        loop {
            rest = self.read_cached(rest, out)?;
            let [missed, behind @ ..] = rest else { return Ok(()) };
            let begin = out.len();
            self.read_file(missed.physical, missed.size as usize, false, out)?;
            check_entry(missed, &out[begin..])?;
            rest = behind;
        }
    }

    /// Takes what is in memory; returns the entries from the first that is not. Appends wait meanwhile, so nothing
    /// here may wait for the device.
    fn read_cached<'e>(&self, entries: &'e [Entry], out: &mut Vec<u8>) -> Result<&'e [Entry], ReadError> {
        let cache = self.cache.read();
        for (i, e) in entries.iter().enumerate() {
            let Some(bytes) = cache.get(e.physical, e.size as usize) else { return Ok(&entries[i..]) };
            check_entry(e, bytes)?;
            out.extend_from_slice(bytes);
        }
        Ok(&[])
    }

    fn read_merged(&self, entries: &[Entry], out: &mut Vec<u8>) -> Result<(), ReadError> {
        let mut rest = entries;
        let mut span = Vec::new();
        while let [first, ..] = rest {
            let segment = self.segment_of(first.physical)?;
            let mut end = first.physical + first.size as u64;
            let near = |e: &&Entry, end: &mut u64| {
                let e_end = e.physical.saturating_add(e.size as u64);
                let ok = e.physical >= *end
                    && e.physical - *end <= MERGE_GAP
                    && e_end - first.physical <= MERGE_MAX
                    && e_end <= segment.end();
                if ok {
                    *end = e_end;
                }
                ok
            };
            let n = 1 + rest[1..].iter().take_while(|e| near(e, &mut end)).count();
            span.clear();
            self.read_file(first.physical, (end - first.physical) as usize, true, &mut span)?;
            for e in &rest[..n] {
                let at = (e.physical - first.physical) as usize;
                let record = &span[at..at + e.size as usize];
                check_entry(e, record)?;
                out.extend_from_slice(record);
            }
            rest = &rest[n..];
        }
        Ok(())
    }

    fn segment_of(&self, at: u64) -> Result<Arc<Segment>, ReadError> {
        let segments = self.segments.read();
        let found = segments.partition_point(|s| s.base <= at).checked_sub(1).map(|i| &segments[i]);
        match found {
            Some(s) if at < s.end() && at < self.written() => Ok(s.clone()),
            _ => Err(ReadError::Outside {
                at,
                begin: segments.front().map_or(0, |s| s.base),
                end: self.written(),
            }),
        }
    }

    fn read_file(&self, at: u64, len: usize, wait: bool, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let segment = self.segment_of(at)?;
        if len as u64 > segment.end() - at {
            return Err(ReadError::Io { at, source: disagree() });
        }
        read_segment(&segment, at, len, wait, out)
    }

    /// Returns the record at a physical offset. May wait for the device.
    pub fn read_record(&self, at: u64) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        let bad = |source: &str| ReadError::Io { at, source: io::Error::other(source.to_owned()) };
        let end = self.segment_of(at)?.end().min(self.written()).min(at + MAX_RECORD);
        if end - at < message::MIN_RECORD as u64 {
            return Err(bad("no record begins here"));
        }
        self.read_file(at, 4, true, &mut bytes)?;
        let size = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as u64;
        if size < message::MIN_RECORD as u64 || size > end - at {
            return Err(bad("no record begins here"));
        }
        bytes.clear();
        self.read_file(at, size as usize, true, &mut bytes)?;
        match message::decode(&bytes, bytes.len()) {
            message::Decoded::Record(r) if r.physical_offset == at as i64 && r.intact() => Ok(bytes),
            _ => Err(bad("no record begins here")),
        }
    }

    /// Returns when the record of an entry was stored, ms since 1970. May wait for the device.
    pub fn store_time(&self, entry: &Entry) -> Result<i64, ReadError> {
        let len = message::TIMESTAMP_PREFIX.min(entry.size as usize);
        let mut bytes = Vec::new();
        // Not in a `match`, which would hold the cache while the device is read.
        let cached = self.cache.read().get(entry.physical, len).map(|b| bytes.extend_from_slice(b)).is_some();
        if !cached {
            self.read_file(entry.physical, len, true, &mut bytes)?;
        }
        Ok(message::store_timestamp(&bytes).unwrap_or(0))
    }

    /// Returns the first offset of a queue whose record was stored at `ms` or later; the next offset to come if
    /// there is none. May wait for the device.
    pub fn offset_at_or_after(&self, queue: &Queue, ms: i64) -> Result<u64, ReadError> {
        let (min, next) = queue.bounds();
        let Some((low, high)) = queue.time_range(ms) else { return Ok(next) };
        let (mut low, mut high) = (low.max(min), high);
        let mut one = Vec::with_capacity(1);
        while low < high {
            let middle = low + (high - low) / 2;
            one.clear();
            let read = queue.entries(middle, 1, true, &mut one);
            read.map_err(|source| ReadError::Io { at: middle, source })?;
            match one.first() {
                Some(e) if self.store_time(e)? < ms => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

/// Appends a range of a segment's file to `out`; the range is inside of the segment.
pub(super) fn read_segment(
    segment: &Segment,
    at: u64,
    len: usize,
    wait: bool,
    out: &mut Vec<u8>,
) -> Result<(), ReadError> {
    let begin = out.len();
    out.resize(begin + len, 0);
    let relative = at - segment.base;
    let read = if wait {
        segment.file.read_at(&mut out[begin..], relative)
    } else {
        segment.file.try_read_at(&mut out[begin..], relative)
    };
    match read {
        Ok(n) if n == len => Ok(()),
        Ok(_) => Err(ReadError::Io { at, source: io::ErrorKind::UnexpectedEof.into() }),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock && !wait => Err(ReadError::WouldBlock),
        Err(source) => Err(ReadError::Io { at, source }),
    }
}

/// Checks that a record is the one its entry tells of: by size, queue offset and position.
fn check_entry(e: &Entry, record: &[u8]) -> Result<(), ReadError> {
    let is = record.get(..4) == Some(&e.size.to_be_bytes())
        && record.get(20..28) == Some(&e.queue_offset.to_be_bytes())
        && record.get(28..36) == Some(&e.physical.to_be_bytes());
    if is { Ok(()) } else { Err(ReadError::Io { at: e.physical, source: disagree() }) }
}

fn disagree() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "index and log disagree about the record")
}
