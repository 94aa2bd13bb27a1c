//! Offline reading of records in the order of the log, for people who look into a store. Reads only.

use std::io;
use std::path::Path;

use protocol::message::Record;

use crate::disk::Disk;
use crate::scan::scan;
use crate::segment::{self, Segment};

/// Visits intact records from a physical offset on, until `each` returns false. Returns where the log ends or breaks,
/// with the reason, or `None` when `each` had enough.
pub fn dump(
    disk: &dyn Disk,
    dir: &Path,
    from: u64,
    mut each: impl FnMut(&Record<'_>) -> bool,
) -> io::Result<Option<(u64, String)>> {
    let log = dir.join("commitlog");
    let mut bases: Vec<u64> = disk.list(&log)?.iter().filter_map(|n| segment::base_of(n)).collect();
    bases.sort_unstable();
    let mut more = true;
    let mut end = (0, "no segments".to_owned());
    for base in bases {
        let segment = Segment::open(disk, &log, base)?;
        if segment.end() <= from {
            continue;
        }
        // A scan must begin at a record, so it begins with the segment.
        let found = scan(&segment, base, |record| {
            if more && record.physical_offset >= from as i64 {
                more = each(record);
            }
        })?;
        if !more {
            return Ok(None);
        }
        end = (found.end, found.reason.to_owned());
        if !found.full {
            break;
        }
    }
    Ok(Some(end))
}
