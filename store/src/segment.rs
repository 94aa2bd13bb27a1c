//! One fixed-size file of the commit log, named by the physical offset of its first byte in twenty digits (P§5.1).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::disk::{Create, Disk, File};

/// A segment of the log.
pub(crate) struct Segment {
    /// Physical offset of its first byte.
    pub base: u64,
    /// Bytes it holds.
    pub size: u64,
    /// The file.
    pub file: Arc<dyn File>,
    /// Store time of its last record, ms since 1970.
    last_store_time: AtomicI64,
    /// Bytes from its start that have been synced.
    synced: AtomicU64,
}

impl Segment {
    /// Makes the file of a segment and reserves its space; its length is durable before its name can be. The caller
    /// syncs the folder.
    pub fn create(disk: &dyn Disk, dir: &Path, base: u64, size: u64) -> io::Result<Arc<Segment>> {
        let path = path(dir, base);
        let file = disk.open(&path, Create::Fresh)?;
        if let Err(e) = file.allocate(size).and_then(|()| file.sync()) {
            // Half a segment is in the way on a full disk; made again, it begins empty all the same.
            let _ = disk.remove(&path);
            return Err(e);
        }
        Ok(Segment::new(base, size, file))
    }

    /// Opens the file of a segment.
    pub fn open(disk: &dyn Disk, dir: &Path, base: u64) -> io::Result<Arc<Segment>> {
        let file = disk.open(&path(dir, base), Create::No)?;
        let size = file.len()?;
        Ok(Segment::new(base, size, file))
    }

    /// Returns the same segment with another size.
    pub fn resized(other: &Segment, size: u64) -> Arc<Segment> {
        Segment::new(other.base, size, other.file.clone())
    }

    fn new(base: u64, size: u64, file: Arc<dyn File>) -> Arc<Segment> {
        Arc::new(Segment { base, size, file, last_store_time: AtomicI64::new(0), synced: AtomicU64::new(0) })
    }

    /// Returns the physical offset behind its last byte.
    pub fn end(&self) -> u64 {
        self.base + self.size
    }

    pub fn last_store_time(&self) -> i64 {
        self.last_store_time.load(Ordering::Relaxed)
    }

    pub fn set_last_store_time(&self, ms: i64) {
        self.last_store_time.store(ms, Ordering::Relaxed);
    }

    /// Makes it durable up to a physical offset, unless that has happened.
    pub fn sync_to(&self, end: u64) -> io::Result<()> {
        let wanted = end.min(self.end()) - self.base;
        if self.synced.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        self.file.sync()?;
        self.synced.fetch_max(wanted, Ordering::Release);
        Ok(())
    }
}

/// Returns the path of a segment's file.
pub(crate) fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}"))
}

/// Returns the base that a file name states; `None` for a file that is no segment.
pub(crate) fn base_of(name: &str) -> Option<u64> {
    (name.len() == 20).then(|| name.parse().ok())?
}
