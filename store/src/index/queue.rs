//! One queue: which records it holds, as parts, one per segment. A part is in memory while its segment is written to
//! and in the segment's index file after that.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::sealed::IndexFile;

/// Where one message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Position in the queue.
    pub queue_offset: u64,
    /// Position in the log.
    pub physical: u64,
    /// Bytes of the record.
    pub size: u32,
    /// Hash of its tags (P§4.5).
    pub tags_code: i64,
}

/// A queue of a topic.
pub struct Queue {
    /// Topic.
    pub topic: Arc<str>,
    /// Number within the topic.
    pub id: u32,
    /// Number within this process; never used twice.
    pub uid: u64,
    /// Next offset to give out. Only the holder of the tail's lock touches it; it runs ahead of `inner.next` while a
    /// batch is being written.
    assigned: AtomicU64,
    removed: AtomicBool,
    /// How many requests are parked on this queue; kept by the layer above, read after every append.
    pub waiters: AtomicUsize,
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    parts: VecDeque<Part>,
    next: u64,
}

struct Part {
    segment: u64,
    first: u64,
    count: u32,
    min_time: i64,
    max_time: i64,
    body: Body,
}

enum Body {
    Active(Active),
    Sealed { file: Arc<IndexFile>, at: u64 },
}

/// What a directory row of an index file says of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// First queue offset of the segment; the next one to come when `count` is 0.
    pub first: u64,
    /// Messages of the queue in the segment.
    pub count: u32,
    /// Store time of the first, ms since 1970.
    pub min_time: i64,
    /// Store time of the last.
    pub max_time: i64,
    /// Position of its entries in the file.
    pub at: u64,
}

impl Queue {
    pub(crate) fn new(topic: Arc<str>, id: u32, uid: u64) -> Queue {
        Queue {
            topic,
            id,
            uid,
            assigned: AtomicU64::new(0),
            removed: AtomicBool::new(false),
            waiters: AtomicUsize::new(0),
            inner: RwLock::default(),
        }
    }

    /// Returns the first offset there is and the one that comes next.
    pub fn bounds(&self) -> (u64, u64) {
        let inner = self.inner.read();
        (inner.parts.front().map_or(inner.next, |p| p.first), inner.next)
    }

    /// Returns the offset that comes next.
    pub fn next(&self) -> u64 {
        self.inner.read().next
    }

    /// Returns the newest entry.
    pub fn last_entry(&self, wait: bool) -> io::Result<Option<Entry>> {
        let mut one = Vec::new();
        let next = self.next();
        if next > 0 {
            self.entries(next - 1, 1, wait, &mut one)?;
        }
        Ok(one.pop())
    }

    /// Appends up to `max` entries from `from` on to `out`; they may begin later where offsets are missing.
    ///
    /// # Errors
    /// `WouldBlock` when they are not in memory and `wait` is false.
    pub fn entries(&self, from: u64, max: usize, wait: bool, out: &mut Vec<Entry>) -> io::Result<()> {
        let mut from = from;
        let mut left = max;
        while left > 0 {
            let cold = {
                let inner = self.inner.read();
                let at = inner.parts.partition_point(|p| p.first + p.count as u64 <= from);
                let Some(part) = inner.parts.get(at) else { return Ok(()) };
                from = from.max(part.first);
                let n = ((part.first + part.count as u64 - from) as usize).min(left);
                match &part.body {
                    Body::Active(active) => {
                        active.copy(part.segment, part.first, from, n, out);
                        (n, None)
                    }
                    Body::Sealed { file, at } => {
                        (n, Some((file.clone(), at + (from - part.first) * sealed_size())))
                    }
                }
            };
            if let (n, Some((file, at))) = &cold {
                file.entries(*at, from, *n, wait, out)?;
            }
            from += cold.0 as u64;
            left -= cold.0;
        }
        Ok(())
    }

    /// Returns the parts that may hold a store time, as (first offset, count), in order.
    pub(crate) fn time_range(&self, ms: i64) -> Option<(u64, u64)> {
        let inner = self.inner.read();
        let at = inner.parts.partition_point(|p| p.max_time < ms);
        inner.parts.get(at).map(|p| (p.first, p.first + p.count as u64))
    }

    // ---- what the tail does, under its lock ----

    pub(crate) fn assign(&self) -> u64 {
        let offset = self.assigned.load(Ordering::Relaxed);
        self.assigned.store(offset + 1, Ordering::Relaxed);
        offset
    }

    /// Forgets offsets given to a batch that was not written.
    pub(crate) fn unassign(&self) {
        self.assigned.store(self.next(), Ordering::Relaxed);
    }

    /// Adds the entry of a written record. Returns true when it is the queue's first in its segment.
    pub(crate) fn push(&self, segment: u64, entry: &Entry, time: i64) -> bool {
        let mut inner = self.inner.write();
        inner.next = entry.queue_offset + 1;
        self.assigned.store(inner.next.max(self.assigned.load(Ordering::Relaxed)), Ordering::Relaxed);
        let relative = (entry.physical - segment) as u32;
        if let Some(part) = inner.parts.back_mut()
            && part.segment == segment
            && part.first + part.count as u64 == entry.queue_offset
            && let Body::Active(active) = &mut part.body
        {
            active.push(relative, entry.size, entry.tags_code);
            part.count += 1;
            part.max_time = part.max_time.max(time);
            return false;
        }
        let mut active = Active::default();
        active.push(relative, entry.size, entry.tags_code);
        let first = entry.queue_offset;
        inner.parts.push_back(Part {
            segment,
            first,
            count: 1,
            min_time: time,
            max_time: time,
            body: Body::Active(active),
        });
        true
    }

    // ---- sealing, loading, retention ----

    /// Takes over a row of an index file when a store is opened. `active` entries go into memory, because their
    /// segment is still written to.
    pub(crate) fn load(&self, segment: u64, row: &Row, file: &Arc<IndexFile>, active: Option<Vec<Entry>>) {
        let mut inner = self.inner.write();
        inner.next = inner.next.max(row.first + row.count as u64);
        self.assigned.store(inner.next, Ordering::Relaxed);
        if row.count == 0 {
            return;
        }
        let body = match active {
            None => Body::Sealed { file: file.clone(), at: row.at },
            Some(entries) => {
                let mut active = Active::default();
                for e in entries {
                    active.push((e.physical - segment) as u32, e.size, e.tags_code);
                }
                Body::Active(active)
            }
        };
        let (first, count, min_time, max_time) = (row.first, row.count, row.min_time, row.max_time);
        inner.parts.push_back(Part { segment, first, count, min_time, max_time, body });
    }

    /// Sets the next offset of a queue of which nothing is known but a record that stands there.
    pub(crate) fn begin_at(&self, offset: u64) {
        let mut inner = self.inner.write();
        inner.next = offset;
        self.assigned.store(offset, Ordering::Relaxed);
    }

    /// Returns what the index file of a segment has to say of this queue, its position not set. `None` when it never
    /// had a message up to the segment's end.
    pub(crate) fn seal_row(&self, segment: u64) -> Option<Row> {
        let inner = self.inner.read();
        let mut row: Option<Row> = None;
        for part in inner.parts.iter().filter(|p| p.segment == segment) {
            row = Some(match row {
                Some(r) if r.first + r.count as u64 == part.first => {
                    Row { count: r.count + part.count, max_time: r.max_time.max(part.max_time), ..r }
                }
                // Offsets are missing between two parts of a segment only after damage; the row tells of the later.
                _ => Row {
                    first: part.first,
                    count: part.count,
                    min_time: part.min_time,
                    max_time: part.max_time,
                    at: 0,
                },
            });
        }
        let next = || inner.parts.iter().find(|p| p.segment > segment).map_or(inner.next, |p| p.first);
        row.or_else(|| {
            Some(next()).filter(|n| *n > 0).map(|first| Row {
                first,
                count: 0,
                min_time: 0,
                max_time: 0,
                at: 0,
            })
        })
    }

    /// Lets reads go to the index file from now on.
    pub(crate) fn sealed(&self, segment: u64, row: &Row, file: &Arc<IndexFile>) {
        let mut inner = self.inner.write();
        let Some(at) = inner.parts.iter().position(|p| p.segment == segment) else { return };
        inner.parts.retain(|p| p.segment != segment);
        let body = Body::Sealed { file: file.clone(), at: row.at };
        let (first, count, min_time, max_time) = (row.first, row.count, row.min_time, row.max_time);
        inner.parts.insert(at, Part { segment, first, count, min_time, max_time, body });
    }

    /// Forgets the parts of segments that begin before `base`.
    pub(crate) fn forget_before(&self, base: u64) {
        let mut inner = self.inner.write();
        while inner.parts.front().is_some_and(|p| p.segment < base) {
            inner.parts.pop_front();
        }
    }

    /// Marks the queue of a deleted topic: nothing may be appended to it any more.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// Says whether its topic was deleted.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }
}

fn sealed_size() -> u64 {
    super::sealed::ENTRY as u64
}

/// Entries in memory, in pieces, so that growing never copies much while the tail is locked.
#[derive(Default)]
struct Active {
    pieces: Vec<Vec<Compact>>,
}

/// An entry without what its part already says: 16 bytes.
#[derive(Clone, Copy)]
struct Compact {
    relative: u32,
    size: u32,
    tags_code: i64,
}

const PIECE: usize = 1024;

impl Active {
    fn push(&mut self, relative: u32, size: u32, tags_code: i64) {
        let compact = Compact { relative, size, tags_code };
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(compact),
            Some(_) => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(compact);
                self.pieces.push(piece);
            }
            // The first piece grows from small: most queues of a segment hold little.
            None => self.pieces.push(vec![compact]),
        }
    }

    fn copy(&self, segment: u64, first: u64, from: u64, n: usize, out: &mut Vec<Entry>) {
        let start = (from - first) as usize;
        let entry = |i: usize| {
            let c = self.pieces[i / PIECE][i % PIECE];
            Entry {
                queue_offset: first + i as u64,
                physical: segment + c.relative as u64,
                size: c.size,
                tags_code: c.tags_code,
            }
        };
        out.extend((start..start + n).map(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(n: u64) -> Queue {
        let q = Queue::new("T".into(), 0, 1);
        for i in 0..n {
            assert_eq!(q.assign(), i);
            let e = Entry { queue_offset: i, physical: 1000 + i * 10, size: 10, tags_code: i as i64 };
            assert_eq!(q.push(1000, &e, i as i64), i == 0);
        }
        q
    }

    #[test]
    fn entries_come_back_in_order_across_pieces() {
        let q = queue(2500);
        let mut out = Vec::new();
        q.entries(1020, 10, false, &mut out).unwrap();
        let offsets: Vec<_> = out.iter().map(|e| (e.queue_offset, e.physical, e.tags_code)).collect();
        assert_eq!(offsets, (1020..1030).map(|i| (i, 1000 + i * 10, i as i64)).collect::<Vec<_>>());
        out.clear();
        q.entries(2495, 10, false, &mut out).unwrap();
        assert_eq!(out.len(), 5);
        assert_eq!(q.bounds(), (0, 2500));
    }

    #[test]
    fn offsets_of_a_failed_batch_are_given_again() {
        let q = queue(3);
        assert_eq!((q.assign(), q.assign()), (3, 4));
        q.unassign();
        assert_eq!(q.assign(), 3);
    }

    #[test]
    fn forgetting_segments_moves_the_first_offset_but_never_the_next() {
        let q = queue(3);
        let e = Entry { queue_offset: 3, physical: 2000, size: 10, tags_code: 0 };
        assert!(q.push(2000, &e, 9));
        q.forget_before(2000);
        assert_eq!(q.bounds(), (3, 4));
        q.forget_before(3000);
        assert_eq!(q.bounds(), (4, 4));
    }

    #[test]
    fn a_seal_row_tells_what_comes_next_even_for_an_idle_queue() {
        let q = queue(3);
        let e = Entry { queue_offset: 3, physical: 3000, size: 10, tags_code: 0 };
        q.push(3000, &e, 9);
        let row = q.seal_row(1000).unwrap();
        assert_eq!(row, Row { first: 0, count: 3, min_time: 0, max_time: 2, at: 0 });
        assert_eq!(q.seal_row(2000).unwrap(), Row { first: 3, count: 0, min_time: 0, max_time: 0, at: 0 });
    }
}
