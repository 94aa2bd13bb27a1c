//! Giving a range of the log back as it stands there, blanks included: for replicas, which store the same bytes.

use std::sync::Arc;

use super::read::{ReadError, read_segment};
use crate::segment::Segment;
use crate::store::Store;

/// What [`Store::read_log`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRead {
    /// Bytes appended; 0 only at the log's end.
    pub bytes: usize,
    /// They came from memory, so that nothing of the disk's time was taken.
    pub from_memory: bool,
}

impl Store {
    /// Appends the bytes of the log from a physical offset on to `out`, at most `max` and none beyond the end of a
    /// segment or of the log; nothing on error. What is in memory comes alone, so a range may come in several calls.
    ///
    /// # Errors
    /// [`ReadError::Outside`] when the log does not hold the offset, because it was removed or is not written yet;
    /// [`ReadError::WouldBlock`] when it is not in memory and `wait` is false; [`ReadError::Io`] when the disk fails.
    pub fn read_log(&self, at: u64, max: usize, wait: bool, out: &mut Vec<u8>) -> Result<LogRead, ReadError> {
        let Some((segment, end)) = self.range_at(at)? else {
            return Ok(LogRead { bytes: 0, from_memory: true });
        };
        let wanted = (end - at).min(max as u64) as usize;
        let bytes = self.copy_cached(at, wanted, out);
        if bytes > 0 {
            return Ok(LogRead { bytes, from_memory: true });
        }
        let begin = out.len();
        let read = read_segment(&segment, at, wanted, wait, out);
        read.inspect_err(|_| out.truncate(begin)).map(|()| LogRead { bytes: wanted, from_memory: false })
    }

    /// Returns the segment that holds an offset and how far it is written; `None` at the log's end.
    fn range_at(&self, at: u64) -> Result<Option<(Arc<Segment>, u64)>, ReadError> {
        let segments = self.segments.read();
        // Under the lock, because the log may start over meanwhile.
        let written = self.written();
        let found = segments.partition_point(|s| s.base <= at).checked_sub(1).map(|i| &segments[i]);
        match found {
            Some(_) if at == written => Ok(None),
            Some(s) if at < written.min(s.end()) => Ok(Some((s.clone(), written.min(s.end())))),
            _ => Err(ReadError::Outside { at, begin: segments.front().map_or(0, |s| s.base), end: written }),
        }
    }

    /// Takes what is in memory without a gap; returns how much that is. Appends wait meanwhile.
    fn copy_cached(&self, at: u64, wanted: usize, out: &mut Vec<u8>) -> usize {
        let cache = self.cache.read();
        let mut copied = 0;
        while copied < wanted
            && let Some(rest) = cache.rest(at + copied as u64)
        {
            let part = &rest[..rest.len().min(wanted - copied)];
            out.extend_from_slice(part);
            copied += part.len();
        }
        copied
    }
}
