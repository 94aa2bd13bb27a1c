//! The end of the log after a crash: what is not an intact prefix goes, so that it can never be taken for data.

use std::io;
use std::sync::Arc;

use tracing::{info, warn};

use crate::index::sealed::IndexFile;
use crate::recover::Folders;
use crate::scan::ScanEnd;
use crate::segment::{self, Segment};
use crate::store::OpenError;

/// Makes the end of an intact prefix the end of the log: segments behind it go, then the bytes behind it. In this
/// order, because a file that is being cut is shorter than the distance to the next one.
pub(crate) fn end_here(
    at: &Folders<'_>,
    last: Option<&Arc<Segment>>,
    scan: &ScanEnd,
    behind: &[Arc<Segment>],
) -> Result<(), OpenError> {
    let Some(segment) = last else { return Ok(()) };
    for later in behind {
        // Segments are sealed in order, each when it is durable: this one was whole once.
        if let Ok(Some(_)) = IndexFile::open(at.disk, at.index, later.base) {
            return Err(OpenError::Damaged { segment: segment.base, at: scan.end, reason: scan.reason });
        }
    }
    // From the back, so that a crash in between leaves no hole.
    for later in behind.iter().rev() {
        drop_behind(at, later)?;
    }
    info!(base = segment.base, end = scan.end, "log ends here: {}", scan.reason);
    Ok(cut(segment, scan.end)?)
}

/// Makes everything behind the end zeros, so that nothing stale can be taken for data later. Always: a page that was
/// lost reads as zeros, and behind it may stand records that were never promised.
fn cut(segment: &Segment, end: u64) -> io::Result<()> {
    segment.file.set_len(end - segment.base)?;
    reserve(segment, segment.size)?;
    segment.file.sync()
}

/// Makes a file as long as its segment. On a full disk without reserving the space, so that reads go on; then a
/// write that finds none is refused.
pub(crate) fn reserve(segment: &Segment, size: u64) -> io::Result<()> {
    match segment.file.allocate(size) {
        Err(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            warn!(base = segment.base, "space of the last segment is not reserved: {e}");
            segment.file.set_len(size)
        }
        other => other,
    }
}

/// A segment behind the log's end: a spare, or, after power loss, data behind a hole, which nobody was promised.
fn drop_behind(at: &Folders<'_>, segment: &Segment) -> Result<(), OpenError> {
    let mut head = [0; 8];
    segment.file.read_at(&mut head, 0)?;
    if head != [0; 8] {
        warn!(
            base = segment.base,
            "removing a segment behind the end of the log: what is before it was not flushed"
        );
    }
    at.disk.remove(&segment::path(at.log, segment.base))?;
    Ok(at.disk.sync_dir(at.log)?)
}
