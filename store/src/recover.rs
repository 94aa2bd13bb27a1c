//! Opening what is there: indexes are loaded, and only what none of them covers is scanned. The scan ends at the
//! first thing that is no intact record at its own position; from there on the segment is zeros again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::config::StoreConfig;
use crate::disk::Disk;
use crate::dropped::Dropped;
use crate::index::keys::{ActiveKeys, Keys};
use crate::index::queue::Entry;
use crate::index::record::{Indexed, index_record};
use crate::index::sealed::{self, DirectoryRow, IndexFile};
use crate::index::table::{MAX_QUEUES, QueueTable};
use crate::scan::{ScanEnd, scan};
use crate::segment::{self, Segment};
use crate::store::OpenError;
use crate::torn::{end_here, reserve};

/// What a store begins with.
pub(crate) struct Recovered {
    pub segments: Vec<Arc<Segment>>,
    pub queues: QueueTable,
    /// Keys of each segment, in the order of `segments`.
    pub keys: Vec<Keys>,
    /// Segments that end in a blank but have no index file yet.
    pub unsealed: Vec<(Arc<Segment>, Arc<ActiveKeys>)>,
    pub active_keys: Arc<ActiveKeys>,
    /// End of the log.
    pub end: u64,
    pub last_time: i64,
    /// Bytes that had to be scanned.
    pub scanned: u64,
}

pub(crate) struct Folders<'d> {
    pub disk: &'d dyn Disk,
    pub log: &'d Path,
    pub index: &'d Path,
    /// Called with every step, so that somebody can tell a long recovery from one that hangs.
    pub progress: &'d dyn Fn(),
}

/// Opens all segments and indexes; makes the first segment of an empty store.
pub(crate) fn recover(
    at: &Folders<'_>,
    config: &StoreConfig,
    dropped: &Dropped,
) -> Result<Recovered, OpenError> {
    remove_leftovers(at)?;
    // What a killed process made or removed must not change back under what is decided on it now.
    at.disk.sync_dir(at.log)?;
    at.disk.sync_dir(at.index)?;
    let mut segments = open_segments(at, config)?;
    let mut r = Recovered {
        segments: Vec::new(),
        queues: QueueTable::default(),
        keys: Vec::new(),
        unsealed: Vec::new(),
        active_keys: Arc::default(),
        end: 0,
        last_time: 0,
        scanned: 0,
    };
    let begin = load_orphans(at, segments.first().map(|s| s.base), dropped, &r.queues)?;
    if segments.is_empty() {
        let first = Segment::create(at.disk, at.log, begin, config.segment_bytes)?;
        at.disk.sync_dir(at.log)?;
        segments.push(first);
    }
    let mut rest = segments.into_iter();
    for segment in rest.by_ref() {
        let scanned = take_segment(at, dropped, &segment, &mut r)?;
        r.segments.push(segment);
        if let Some(end) = scanned.filter(|s| !s.full) {
            end_here(at, r.segments.last(), &end, rest.as_slice())?;
            break;
        }
    }
    remove_strangers(at, &r.segments)?;
    if r.segments.last().is_some_and(|s| s.end() == r.end) {
        let next = Segment::create(at.disk, at.log, r.end, config.segment_bytes)?;
        at.disk.sync_dir(at.log)?;
        r.segments.push(next);
        r.active_keys = Arc::default();
        r.keys.push(Keys::Active(r.active_keys.clone()));
    }
    Ok(r)
}

/// Removes index files of segments that are not there and not behind us: a log that is put back to an earlier state
/// must not meet them again when it has grown.
fn remove_strangers(at: &Folders<'_>, segments: &[Arc<Segment>]) -> Result<(), OpenError> {
    let first = segments.first().map_or(0, |s| s.base);
    for base in index_bases(at)? {
        if base > first && segments.binary_search_by_key(&base, |s| s.base).is_err() {
            warn!(base, "removing an index file whose segment is not there");
            at.disk.remove(&sealed::path(at.index, base))?;
            at.disk.sync_dir(at.index)?;
        }
    }
    Ok(())
}

fn index_bases(at: &Folders<'_>) -> io::Result<Vec<u64>> {
    let names = at.disk.list(at.index)?;
    let mut bases: Vec<u64> =
        names.iter().filter_map(|n| segment::base_of(n.strip_suffix(".idx")?)).collect();
    bases.sort_unstable();
    Ok(bases)
}

fn remove_leftovers(at: &Folders<'_>) -> Result<(), OpenError> {
    for name in at.disk.list(at.index)? {
        if name.ends_with(".tmp") {
            at.disk.remove(&at.index.join(name))?;
        }
    }
    Ok(())
}

/// Opens the segments and checks that they follow each other.
fn open_segments(at: &Folders<'_>, config: &StoreConfig) -> Result<Vec<Arc<Segment>>, OpenError> {
    let mut bases: Vec<u64> = at.disk.list(at.log)?.iter().filter_map(|n| segment::base_of(n)).collect();
    bases.sort_unstable();
    let mut segments = Vec::new();
    for (i, base) in bases.iter().enumerate() {
        (at.progress)();
        let found = Segment::open(at.disk, at.log, *base)?;
        let size = match bases.get(i + 1) {
            Some(next) if next - base <= found.size => next - base,
            Some(next) => return Err(OpenError::Gap { end: base + found.size, next: *next }),
            None => found.size.max(config.segment_bytes),
        };
        if size > found.size {
            // A crash between cutting and extending the last segment.
            reserve(&found, size)?;
        }
        segments.push(if size == found.size { found } else { Segment::resized(&found, size) });
    }
    Ok(segments)
}

/// The index file of the segment before the first tells the next offsets of idle queues; an older one may have been
/// brought back by power loss, and tell of topics that were deleted since. Returns where an empty log begins.
fn load_orphans(
    at: &Folders<'_>,
    first: Option<u64>,
    dropped: &Dropped,
    queues: &QueueTable,
) -> Result<u64, OpenError> {
    for base in index_bases(at)?.into_iter().rev().filter(|b| first.is_none_or(|f| *b < f)) {
        match IndexFile::open(at.disk, at.index, base) {
            Ok(Some((file, _))) if first.is_some_and(|first| file.covers != first) => {}
            Ok(Some((file, rows))) => {
                for row in rows.iter().filter(|r| is_possible(r) && !is_dropped(r, &file, dropped)) {
                    queues
                        .get_or_create(&row.topic, row.queue)
                        .begin_at(row.row.first + row.row.count as u64);
                }
                return Ok(file.covers);
            }
            Ok(None) => {}
            Err(e) => warn!(base, "index file of a removed segment: {e}"),
        }
    }
    Ok(0)
}

/// A row is of a deleted topic when all it covers lies before the deletion.
fn is_dropped(row: &DirectoryRow, file: &IndexFile, dropped: &Dropped) -> bool {
    dropped.covers(&row.topic, file.covers.saturating_sub(1))
}

fn is_possible(row: &DirectoryRow) -> bool {
    if row.queue >= MAX_QUEUES {
        warn!(
            topic = row.topic,
            queue = row.queue,
            "queue number in an index file is not possible; left out"
        );
    }
    row.queue < MAX_QUEUES
}

/// Takes over one segment. Returns where its scan ended, if it had to be scanned.
fn take_segment(
    at: &Folders<'_>,
    dropped: &Dropped,
    segment: &Arc<Segment>,
    r: &mut Recovered,
) -> Result<Option<ScanEnd>, OpenError> {
    (at.progress)();
    let index = usable_index(at, segment);
    if let Some((file, rows)) = &index
        && file.covers == segment.end()
    {
        for row in rows.iter().filter(|r| is_possible(r) && !is_dropped(r, file, dropped)) {
            r.queues.get_or_create(&row.topic, row.queue).load(segment.base, &row.row, file, None);
        }
        segment.set_last_store_time(file.last_store_time);
        r.last_time = r.last_time.max(file.last_store_time);
        r.keys.push(Keys::Sealed(file.clone()));
        r.end = segment.end();
        return Ok(None);
    }
    let active = Arc::new(ActiveKeys::default());
    let mut from = segment.base;
    if let Some((file, rows)) = &index {
        match load_partial(file, rows, segment, dropped, &r.queues, &active) {
            Ok(()) => {
                segment.set_last_store_time(file.last_store_time);
                r.last_time = r.last_time.max(file.last_store_time);
                from = file.covers;
            }
            Err(e) => warn!(base = segment.base, "index file is not usable, scanning its segment: {e}"),
        }
    }
    let scan = scan(segment, from, |record| {
        (at.progress)();
        if let Indexed::Repeated(repeated) = index_record(record, segment, dropped, &r.queues, &active) {
            warn!("not indexed: {repeated}");
        }
        r.last_time = r.last_time.max(record.store_timestamp);
        segment.set_last_store_time(record.store_timestamp);
    })?;
    r.scanned += scan.end - from;
    r.keys.push(Keys::Active(active.clone()));
    if scan.full {
        r.unsealed.push((segment.clone(), active));
        r.end = segment.end();
    } else {
        r.end = scan.end;
        r.active_keys = active;
    }
    Ok(Some(scan))
}

fn usable_index(at: &Folders<'_>, segment: &Segment) -> Option<sealed::Opened> {
    match IndexFile::open(at.disk, at.index, segment.base) {
        Ok(index) => index.filter(|(file, _)| file.covers <= segment.end()),
        Err(e) => {
            warn!(base = segment.base, "index file is not usable, scanning its segment: {e}");
            None
        }
    }
}

/// Loads the index of a segment that is still written to; into memory, all of it or nothing.
fn load_partial(
    file: &Arc<IndexFile>,
    rows: &[DirectoryRow],
    segment: &Segment,
    dropped: &Dropped,
    queues: &QueueTable,
    active: &ActiveKeys,
) -> io::Result<()> {
    let mut loaded = Vec::new();
    for row in rows.iter().filter(|r| is_possible(r) && !is_dropped(r, file, dropped)) {
        let mut entries = Vec::new();
        file.entries(row.row.at, row.row.first, row.row.count as usize, true, &mut entries)?;
        let inside = |e: &Entry| {
            e.physical >= segment.base
                && e.physical.checked_add(e.size as u64).is_some_and(|end| end <= file.covers)
        };
        if !entries.iter().all(inside) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry points outside of the segment"));
        }
        loaded.push((row, entries));
    }
    active.push_all(file.all_keys()?.into_iter());
    for (row, entries) in loaded {
        queues.get_or_create(&row.topic, row.queue).load(segment.base, &row.row, file, Some(entries));
    }
    Ok(())
}
