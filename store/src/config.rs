//! Settings of a store.

use std::path::PathBuf;
use std::time::Duration;

use crate::retention::RetentionPolicy;

/// Settings of a store. Names in brackets are the broker's configuration keys.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Folder of everything (`storePathRootDir`).
    pub dir: PathBuf,
    /// Bytes of a commit-log segment (`mappedFileSizeCommitLog`); only for segments still to be made.
    pub segment_bytes: u64,
    /// Bytes of a record at most: the body limit plus 64 KiB (`maxMessageSize`).
    pub max_record_bytes: usize,
    /// Bytes of the log's end kept in memory (`tailCacheBytes`).
    pub cache_bytes: usize,
    /// How often what was written is flushed when nobody asks (`flushIntervalCommitLog`).
    pub flush_interval: Duration,
    /// Written bytes after which the kernel is told to start writing back (`flushStartBytes`).
    pub writeback_bytes: u64,
    /// When segments may go and when writes stop.
    pub retention: RetentionPolicy,
}

impl StoreConfig {
    /// Returns the defaults for a folder.
    pub fn new(dir: impl Into<PathBuf>) -> StoreConfig {
        StoreConfig {
            dir: dir.into(),
            segment_bytes: 1 << 30,
            max_record_bytes: 4 * 1024 * 1024 + 64 * 1024,
            cache_bytes: 64 << 20,
            flush_interval: Duration::from_millis(500),
            writeback_bytes: 16 << 20,
            retention: RetentionPolicy::default(),
        }
    }
}
