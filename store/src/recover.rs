//! Opening what is there: indexes are loaded, and only what none of them covers is scanned. The scan ends at the
//! first thing that is no intact record at its own position; from there on the segment is zeros again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use protocol::message::{self, Decoded};
use protocol::properties;
use tracing::{info, warn};

use crate::config::StoreConfig;
use crate::disk::Disk;
use crate::dropped::Dropped;
use crate::index::keys::{self, ActiveKeys, KeyEntry, Keys};
use crate::index::queue::Entry;
use crate::index::sealed::{DirectoryRow, IndexFile};
use crate::index::table::{MAX_QUEUES, QueueTable};
use crate::segment::{self, Segment};
use crate::store::OpenError;

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
}

/// Opens all segments and indexes; makes the first segment of an empty store.
pub(crate) fn recover(at: &Folders<'_>, config: &StoreConfig, dropped: &Dropped) -> Result<Recovered, OpenError> {
    remove_leftovers(at)?;
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
        let full = take_segment(at, config, dropped, &segment, &mut r)?;
        r.segments.push(segment);
        if !full {
            break;
        }
    }
    for behind in rest {
        drop_behind(at, &behind)?;
    }
    if r.segments.last().is_some_and(|s| s.end() == r.end) {
        let next = Segment::create(at.disk, at.log, r.end, config.segment_bytes)?;
        at.disk.sync_dir(at.log)?;
        r.segments.push(next);
        r.active_keys = Arc::default();
        r.keys.push(Keys::Active(r.active_keys.clone()));
    }
    Ok(r)
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
        let found = Segment::open(at.disk, at.log, *base)?;
        let size = match bases.get(i + 1) {
            Some(next) if next - base <= found.size => next - base,
            Some(next) => return Err(OpenError::Gap { end: base + found.size, next: *next }),
            None => found.size.max(config.segment_bytes),
        };
        if size > found.size {
            // A crash between cutting and extending the last segment.
            found.file.allocate(size)?;
        }
        segments.push(if size == found.size { found } else { Segment::resized(&found, size) });
    }
    Ok(segments)
}

/// Index files whose segment is gone tell the next offsets of idle queues. Returns where an empty log begins.
fn load_orphans(at: &Folders<'_>, first: Option<u64>, dropped: &Dropped, queues: &QueueTable) -> Result<u64, OpenError> {
    let mut begin = 0;
    let mut bases: Vec<u64> =
        at.disk.list(at.index)?.iter().filter_map(|n| segment::base_of(n.strip_suffix(".idx")?)).collect();
    bases.sort_unstable();
    for base in bases.into_iter().filter(|b| first.is_none_or(|f| *b < f)) {
        match IndexFile::open(at.disk, at.index, base) {
            Ok(Some((file, rows))) => {
                for row in rows.iter().filter(|r| !dropped.covers(&r.topic, file.covers.saturating_sub(1))) {
                    let queue = queues.get_or_create(&row.topic, row.queue % MAX_QUEUES);
                    queue.begin_at(queue.next().max(row.row.first + row.row.count as u64));
                }
                begin = begin.max(file.covers);
            }
            Ok(None) => {}
            Err(e) => warn!(base, "index file of a removed segment: {e}"),
        }
    }
    Ok(begin)
}

/// Takes over one segment. Returns whether the log goes on behind it.
fn take_segment(at: &Folders<'_>, config: &StoreConfig, dropped: &Dropped, segment: &Arc<Segment>, r: &mut Recovered) -> Result<bool, OpenError> {
    let index = match IndexFile::open(at.disk, at.index, segment.base) {
        Ok(index) => index.filter(|(file, _)| file.covers <= segment.end()),
        Err(e) => {
            warn!(base = segment.base, "index file is not usable, scanning its segment: {e}");
            None
        }
    };
    if let Some((file, rows)) = &index
        && file.covers == segment.end()
    {
        load_rows(rows, file, dropped, r, segment.base, None)?;
        segment.set_last_store_time(file.last_store_time);
        r.last_time = r.last_time.max(file.last_store_time);
        r.keys.push(Keys::Sealed(file.clone()));
        r.end = segment.end();
        return Ok(true);
    }
    let active = Arc::new(ActiveKeys::default());
    let mut from = segment.base;
    if let Some((file, rows)) = &index {
        load_rows(rows, file, dropped, r, segment.base, Some(()))?;
        active.push_all(file.all_keys()?.into_iter());
        segment.set_last_store_time(file.last_store_time);
        r.last_time = r.last_time.max(file.last_store_time);
        from = file.covers;
    }
    let scan = scan(segment, from, config.max_record_bytes, |record| {
        index_record(record, segment, dropped, &r.queues, &active);
        r.last_time = r.last_time.max(record.store_timestamp);
        segment.set_last_store_time(record.store_timestamp);
    })?;
    r.scanned += scan.end - from;
    r.keys.push(Keys::Active(active.clone()));
    if scan.full {
        r.unsealed.push((segment.clone(), active));
        r.end = segment.end();
        return Ok(true);
    }
    r.end = scan.end;
    r.active_keys = active;
    if scan.reason != "zeros" || scan.end > from {
        info!(base = segment.base, end = scan.end, scanned = scan.end - from, "log ends here: {}", scan.reason);
        cut(segment, scan.end)?;
    }
    Ok(false)
}

/// Makes everything behind the end zeros, so that nothing stale can be taken for data later.
fn cut(segment: &Segment, end: u64) -> io::Result<()> {
    segment.file.set_len(end - segment.base)?;
    segment.file.allocate(segment.size)?;
    segment.file.sync()
}

/// A segment behind the log's end: a spare, or, after power loss, data behind a hole, which nobody was promised.
fn drop_behind(at: &Folders<'_>, segment: &Segment) -> Result<(), OpenError> {
    let mut head = [0; 8];
    segment.file.read_at(&mut head, 0)?;
    if head != [0; 8] {
        warn!(base = segment.base, "removing a segment behind the end of the log: what is before it was not flushed");
    }
    at.disk.remove(&segment::path(at.log, segment.base))?;
    Ok(at.disk.sync_dir(at.log)?)
}

fn load_rows(rows: &[DirectoryRow], file: &Arc<IndexFile>, dropped: &Dropped, r: &Recovered, base: u64, active: Option<()>) -> Result<(), OpenError> {
    for row in rows {
        // A row is of a deleted topic when all it covers lies before the deletion.
        if dropped.covers(&row.topic, file.covers.saturating_sub(1)) {
            continue;
        }
        if row.queue >= MAX_QUEUES {
            warn!(topic = row.topic, queue = row.queue, "queue number in an index file is not possible; left out");
            continue;
        }
        let entries = match active {
            None => None,
            Some(()) => {
                let mut entries = Vec::new();
                file.entries(row.row.at, row.row.first, row.row.count as usize, true, &mut entries)?;
                Some(entries)
            }
        };
        r.queues.get_or_create(&row.topic, row.queue).load(base, &row.row, file, entries);
    }
    Ok(())
}

/// Builds the index entries of a scanned record, as the append does for a new one.
fn index_record(record: &message::Record<'_>, segment: &Segment, dropped: &Dropped, queues: &QueueTable, active: &ActiveKeys) {
    let physical = record.physical_offset as u64;
    if dropped.covers(record.topic, physical) || !(0..MAX_QUEUES as i32).contains(&record.queue_id) || record.queue_offset < 0 {
        return;
    }
    let queue = queues.get_or_create(record.topic, record.queue_id as u32);
    let queue_offset = record.queue_offset as u64;
    let (_, next) = queue.bounds();
    if queue_offset < next {
        warn!(topic = record.topic, queue = record.queue_id, queue_offset, next, "record repeats a queue offset; not indexed");
        return;
    }
    let reserved = properties::reserved(record.properties);
    let tags_code = properties::tags_code(reserved.tags);
    let entry = Entry { queue_offset, physical, size: record.total_size as u32, tags_code };
    queue.push(segment.base, &entry, record.store_timestamp);
    let relative = (physical - segment.base) as u32;
    let hashes = keys::of_record(reserved.uniq_key, reserved.keys).map(|k| keys::hash(record.topic, k));
    active.push_all(hashes.map(|hash| KeyEntry { hash, relative }));
}

/// Where a scan ended.
#[derive(Debug)]
pub(crate) struct ScanEnd {
    /// Physical offset behind the last intact record.
    pub end: u64,
    /// The segment's blank was reached: the log goes on in the next one.
    pub full: bool,
    /// What stopped it.
    pub reason: &'static str,
}

const WINDOW: usize = 4 << 20;

/// Visits the intact records of a segment from a physical offset on.
pub(crate) fn scan(segment: &Segment, from: u64, max_record: usize, mut each: impl FnMut(&message::Record<'_>)) -> io::Result<ScanEnd> {
    let mut window = vec![0; WINDOW.max(max_record + 8).min(segment.size as usize)];
    let mut at = from;
    loop {
        let n = segment.file.read_at(&mut window, at - segment.base)?;
        let end = (n as u64).min(segment.end() - at) as usize;
        let mut used = 0;
        let stop = loop {
            let here = at + used as u64;
            if segment.end() - here < message::BLANK_HEAD as u64 {
                return Ok(ScanEnd { end: here, full: true, reason: "end of segment" });
            }
            match message::decode(&window[used..end], max_record) {
                Decoded::Record(r) if r.physical_offset != here as i64 => break Some("record of another position"),
                Decoded::Record(r) if !r.intact() => break Some("body checksum"),
                Decoded::Record(r) => {
                    each(&r);
                    used += r.total_size;
                }
                Decoded::Blank(size) if here + size as u64 == segment.end() => {
                    return Ok(ScanEnd { end: here, full: true, reason: "blank" });
                }
                Decoded::Blank(_) => break Some("blank of a wrong size"),
                Decoded::Malformed(why) => break Some(why),
                Decoded::NeedMore(wanted) if used == 0 && wanted > end => break Some("record beyond the segment"),
                Decoded::NeedMore(_) => break None,
            }
        };
        at += used as u64;
        if let Some(reason) = stop {
            return Ok(ScanEnd { end: at, full: false, reason });
        }
    }
}
