//! Reading a segment from the front: which records are intact, and what stands behind the last one.

use std::io;

use protocol::message;

use crate::item::{Item, item};
use crate::segment::Segment;

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

/// Bytes read at once, unless a record is larger.
const WINDOW: usize = 4 << 20;

/// Visits the intact records of a segment from a physical offset on. Any size that fits the segment is possible: the
/// limit of today's configuration says nothing about what was stored under yesterday's.
pub(crate) fn scan(
    segment: &Segment,
    from: u64,
    mut each: impl FnMut(&message::Record<'_>),
) -> io::Result<ScanEnd> {
    let mut window = vec![0; WINDOW.min(segment.size as usize)];
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
            match item(&window[used..end], here, segment.size as usize) {
                Item::Record(r) => {
                    each(&r);
                    used += r.total_size;
                }
                Item::Blank(size) if here + size as u64 == segment.end() => {
                    return Ok(ScanEnd { end: here, full: true, reason: "blank" });
                }
                Item::Blank(_) => break Some("blank of a wrong size"),
                Item::Broken(why) => break Some(why),
                Item::NeedMore(wanted) if wanted as u64 > segment.end() - here => {
                    break Some("record beyond the segment");
                }
                Item::NeedMore(_) if used == 0 && n < window.len() => break Some("end of the file"),
                Item::NeedMore(wanted) => {
                    if wanted > window.len() {
                        window.resize(wanted, 0);
                    }
                    break None;
                }
            }
        };
        at += used as u64;
        if let Some(reason) = stop {
            return Ok(ScanEnd { end: at, full: false, reason });
        }
    }
}
