//! Offline inspection of a store: are all records intact, do the index files agree. Reads only.

use std::path::Path;

use serde::Serialize;

use crate::disk::Disk;
use crate::index::sealed::IndexFile;
use crate::scan::scan;
use crate::segment::{self, Segment};

/// What a check found.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub struct Report {
    /// One line per segment.
    pub segments: Vec<SegmentReport>,
    /// What is wrong; empty for a sound store. An unsealed last segment is no fault.
    pub problems: Vec<String>,
}

/// What a check found in a segment.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct SegmentReport {
    /// Physical offset of its first byte.
    pub base: u64,
    /// Intact records.
    pub records: u64,
    /// Physical offset behind the last one.
    pub end: u64,
    /// What stands there.
    pub ends_with: String,
    /// State of its index file.
    pub index: String,
}

/// Reads every record and every index file of a store that is not open.
pub fn check(disk: &dyn Disk, dir: &Path) -> std::io::Result<Report> {
    let (log, index) = (dir.join("commitlog"), dir.join("index"));
    let mut report = Report::default();
    let mut bases: Vec<u64> = disk.list(&log)?.iter().filter_map(|n| segment::base_of(n)).collect();
    bases.sort_unstable();
    for (i, base) in bases.iter().enumerate() {
        let last = i + 1 == bases.len();
        let segment = Segment::open(disk, &log, *base)?;
        let mut records = 0;
        let end = scan(&segment, *base, |_| records += 1)?;
        let state = match IndexFile::open(disk, &index, *base) {
            Ok(None) if last => "none yet".to_owned(),
            Ok(None) => {
                report
                    .problems
                    .push(format!("segment {base:020} has no index file; the next start makes it"));
                "missing".to_owned()
            }
            Ok(Some((file, rows))) => {
                let indexed: u64 = rows.iter().map(|r| r.row.count as u64).sum();
                if file.covers > segment.end() || (file.covers == end.end && indexed > records) {
                    report
                        .problems
                        .push(format!("index of {base:020} has {indexed} entries for {records} records"));
                }
                format!("{indexed} entries up to {}", file.covers)
            }
            Err(e) => {
                report.problems.push(format!("index of {base:020}: {e}; the next start makes it anew"));
                "damaged".to_owned()
            }
        };
        if !last && !end.full {
            let why = end.reason;
            report
                .problems
                .push(format!("segment {base:020} ends at {} ({why}), but the log goes on", end.end));
        }
        report.segments.push(SegmentReport {
            base: *base,
            records,
            end: end.end,
            ends_with: end.reason.to_owned(),
            index: state,
        });
    }
    Ok(report)
}
