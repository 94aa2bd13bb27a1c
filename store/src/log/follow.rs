//! A follower's append: bytes of its master's log, to the same place, with the same index. What the next start would
//! cut is refused before anything of it is written.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::message::{self, BLANK_HEAD, Decoded};
use tracing::warn;

use super::tail::{AbortOnPanic, AppendError, Tail, write_error};
use crate::index::queue::Queue;
use crate::index::record::{Indexed, index_record};
use crate::item::{Item, item};
use crate::store::Store;

/// Why bytes of a master's log were not appended. Of what is refused as a whole nothing was written; after
/// [`AppendLogError::Append`] a part may be, and [`Store::written`] tells how much.
#[derive(Debug, thiserror::Error)]
pub enum AppendLogError {
    /// They do not begin where the log ends.
    #[error("append log at {at}: the log ends at {end}")]
    Misplaced {
        /// Where they begin.
        at: u64,
        /// Where the log ends.
        end: u64,
    },
    /// They are not whole, intact records and blanks.
    #[error("append log: what stands at {at} is no intact record: {why}")]
    Malformed {
        /// Physical offset.
        at: u64,
        /// What stands there.
        why: &'static str,
    },
    /// The master's segments end elsewhere.
    #[error(
        "append log at {at}: the master's segments have another size than mappedFileSizeCommitLog={ours} here; set both equal and let this store start over empty"
    )]
    SegmentSize {
        /// Physical offset of what does not fit.
        at: u64,
        /// Bytes of a segment here.
        ours: u64,
    },
    /// The store takes nothing now, or the write failed.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Store {
    /// Appends bytes of a master's log that begin at a physical offset, and returns the log's end behind them. They
    /// are whole records and blanks with their padding; see [`crate::whole_records`]. `each` is called, in order and
    /// holding no lock, for every record that is in a queue, with the hash of its tags. On return every record can be
    /// read and survives a kill of the process, as with [`Store::append`].
    ///
    /// May wait for the device and, while indexes are behind, up to a second.
    ///
    /// # Errors
    /// See [`AppendLogError`].
    pub fn append_log(
        &self,
        at: u64,
        bytes: &[u8],
        each: &mut dyn FnMut(&Arc<Queue>, i64),
    ) -> Result<u64, AppendLogError> {
        self.wait_for_seals();
        let mut visible = Vec::new();
        let mut tail = self.tail.lock();
        let result = self.follow(&mut tail, at, bytes, &mut visible);
        drop(tail);
        self.tell_appended();
        visible.iter().for_each(|(queue, tags_code)| each(queue, *tags_code));
        result
    }

    fn follow(
        &self,
        tail: &mut Tail,
        at: u64,
        bytes: &[u8],
        visible: &mut Vec<(Arc<Queue>, i64)>,
    ) -> Result<u64, AppendLogError> {
        self.check_writable(tail)?;
        if at != tail.write {
            return Err(AppendLogError::Misplaced { at, end: tail.write });
        }
        let runs = plan_runs(at, bytes, tail.segment.end(), self.config.segment_bytes)?;
        let _guard = AbortOnPanic;
        for run in runs {
            if !run.records.is_empty() {
                self.write_records(tail, &bytes[run.records], visible)?;
            }
            if let Some(blank) = run.blank {
                self.go_on(tail, &bytes[blank])?;
            }
        }
        Ok(tail.write)
    }

    /// Writes records that fit the segment, with the effects of an append in the same order.
    fn write_records(
        &self,
        tail: &mut Tail,
        bytes: &[u8],
        visible: &mut Vec<(Arc<Queue>, i64)>,
    ) -> Result<(), AppendError> {
        tail.repair()?;
        let (begin, segment) = (tail.write, tail.segment.clone());
        let end = begin + bytes.len() as u64;
        if let Err(e) = segment.file.write_at(bytes, begin - segment.base) {
            tail.repair_to = tail.repair_to.max(end);
            return Err(write_error(begin, e));
        }
        self.cache.write().append(begin, bytes);
        // Before the entries: whoever sees one can read its record.
        self.written.store(end, Ordering::Release);
        let (mut rest, mut repeated) = (bytes, (0, None));
        while let Decoded::Record(record) = message::decode(rest, rest.len()) {
            match index_record(&record, &segment, &self.dropped, &self.queues, &tail.keys) {
                Indexed::Entry(queue, tags_code) => visible.push((queue, tags_code)),
                Indexed::None => {}
                Indexed::Repeated(r) => repeated = (repeated.0 + 1, Some(r)),
            }
            segment.set_last_store_time(record.store_timestamp);
            tail.last_time = tail.last_time.max(record.store_timestamp);
            rest = &rest[record.total_size..];
        }
        if let (n, Some(last)) = repeated {
            // Once for all of them: a master that lost count of a queue would fill the log with this.
            warn!("{n} records not indexed, the last: {last}");
        }
        self.move_to(tail, end);
        Ok(())
    }
}

/// What goes into one segment: positions in the bytes that came.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    records: Range<usize>,
    /// What ends the segment.
    blank: Option<Range<usize>>,
}

/// Divides log bytes among segments, of which the first ends at `segment_end`, and checks all of it.
fn plan_runs(
    at: u64,
    bytes: &[u8],
    mut segment_end: u64,
    segment_bytes: u64,
) -> Result<Vec<Run>, AppendLogError> {
    let mut runs = Vec::new();
    let (mut begin, mut used) = (0, 0);
    while used < bytes.len() {
        let here = at + used as u64;
        let other_size = AppendLogError::SegmentSize { at: here, ours: segment_bytes };
        match item(&bytes[used..], here, bytes.len()) {
            // Behind every record there is room for a blank (P§4.1).
            Item::Record(r) if here + (r.total_size + BLANK_HEAD) as u64 > segment_end => {
                return Err(other_size);
            }
            Item::Record(r) => used += r.total_size,
            Item::Blank(size) if size > bytes.len() - used => {
                return Err(AppendLogError::Malformed { at: here, why: "blank cut short" });
            }
            Item::Blank(size) if here + size as u64 != segment_end => return Err(other_size),
            Item::Blank(size) => {
                runs.push(Run { records: begin..used, blank: Some(used..used + size) });
                used += size;
                begin = used;
                segment_end += segment_bytes;
            }
            Item::NeedMore(_) => {
                return Err(AppendLogError::Malformed { at: here, why: "record cut short" });
            }
            Item::Broken(why) => return Err(AppendLogError::Malformed { at: here, why }),
        }
    }
    if begin < used {
        runs.push(Run { records: begin..used, blank: None });
    }
    Ok(runs)
}
