//! A store: the log, its indexes and its two threads, on one folder that nobody else may use.
//!
//! | path | content |
//! |---|---|
//! | `commitlog/<base>` | segments, record bytes as of P§4.1 |
//! | `index/<base>.idx` | [`crate::index::sealed`] |
//! | `dropped.json` | `dropped.rs` |
//! | `lock` | held while the store is open |
//!
//! Locks are taken in this order, never in another: `upkeep`, `tail`, `spare`, `flushing`, then any one of the rest.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

use crate::config::StoreConfig;
use crate::disk::Disk;
use crate::dropped::Dropped;
use crate::index::keys::{ActiveKeys, Keys};
use crate::index::queue::Queue;
use crate::index::table::{MAX_QUEUES, QueueTable};
use crate::log::cache::TailCache;
use crate::log::tail::{AppendError, Tail};
use crate::recover::{self, Folders};
use crate::retention::RetentionPolicy;
use crate::segment::Segment;
use crate::threads::Threads;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the folder.
    #[error("{0} is in use by another process; stop it, or give this broker a storePathRootDir of its own")]
    Locked(PathBuf),
    /// A segment is missing in the middle of the log.
    #[error(
        "commit log is not complete: a segment ends at {end}, the next begins at {next}; restore the file {end:020}, or move all older segments away to give them up"
    )]
    Gap {
        /// End of the segment before.
        end: u64,
        /// Begin of the segment behind.
        next: u64,
    },
    /// A segment that was durable once is broken, and what is behind it is not.
    #[error(
        "commit log is damaged: segment {segment:020} is broken at {at} ({reason}), but the log goes on behind it; restore that file, or move it and all older segments away to give them up"
    )]
    Damaged {
        /// Base of the segment.
        segment: u64,
        /// End of what is intact in it.
        at: u64,
        /// What stands there.
        reason: &'static str,
    },
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What opening found; for the log and the tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Segments there are.
    pub segments: usize,
    /// Bytes of the log that had to be scanned.
    pub scanned: u64,
    /// End of the log.
    pub end: u64,
}

/// A store, open.
pub struct Store {
    pub(crate) config: StoreConfig,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) log_dir: PathBuf,
    pub(crate) index_dir: PathBuf,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) written: AtomicU64,
    appended: Notify,
    /// Somebody has asked for `appended`; set under the tail's lock.
    watched: AtomicBool,
    pub(crate) flushed: watch::Sender<u64>,
    pub(crate) cache: RwLock<TailCache>,
    pub(crate) segments: RwLock<VecDeque<Arc<Segment>>>,
    pub(crate) queues: QueueTable,
    /// Keys of each segment, by its base.
    pub(crate) keys: RwLock<BTreeMap<u64, Keys>>,
    /// Complete segments without an index file, oldest first.
    pub(crate) pending_seals: Mutex<VecDeque<(Arc<Segment>, Arc<ActiveKeys>)>>,
    /// Notified when one of them is sealed.
    pub(crate) sealed: Condvar,
    /// The file behind the last segment, made ahead.
    pub(crate) spare: Mutex<Option<Arc<Segment>>>,
    /// Sealing and removing go one at a time.
    pub(crate) upkeep: Mutex<()>,
    /// Flushes go one at a time.
    pub(crate) flushing: Mutex<()>,
    pub(crate) dropped: Dropped,
    pub(crate) retention: Mutex<RetentionPolicy>,
    pub(crate) full: AtomicBool,
    pub(crate) used_percent: AtomicU8,
    stopped: watch::Sender<Option<String>>,
    pub(crate) threads: Arc<Threads>,
    opened: Opened,
    _lock: Box<dyn Send + Sync>,
}

impl Store {
    /// Opens a folder, recovers what is in it and takes its lock. No thread runs yet; see [`Store::start`].
    pub fn open(config: StoreConfig, disk: Arc<dyn Disk>) -> Result<Arc<Store>, OpenError> {
        Store::open_watched(config, disk, &|| ())
    }

    /// Opens a folder as [`Store::open`] does; `progress` is called with every record that is read and every file that
    /// is opened.
    pub fn open_watched(
        config: StoreConfig,
        disk: Arc<dyn Disk>,
        progress: &dyn Fn(),
    ) -> Result<Arc<Store>, OpenError> {
        if config.segment_bytes > u32::MAX as u64 {
            let why = format!(
                "segments of {} bytes: positions in a segment are 32 bits wide",
                config.segment_bytes
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
        }
        let (log_dir, index_dir) = (config.dir.join("commitlog"), config.dir.join("index"));
        disk.create_dir_all(&log_dir)?;
        disk.create_dir_all(&index_dir)?;
        let lock = disk.lock(&config.dir.join("lock")).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked(config.dir.clone()),
            _ => e.into(),
        })?;
        disk.sync_dir(&config.dir)?;
        let dropped = Dropped::load(&*disk, &config.dir)?;
        let folders = Folders { disk: &*disk, log: &log_dir, index: &index_dir, progress };
        let found = recover::recover(&folders, &config, &dropped)?;
        dropped.end_at(&*disk, found.end)?;
        let opened = Opened { segments: found.segments.len(), scanned: found.scanned, end: found.end };
        info!(segments = opened.segments, scanned = opened.scanned, end = opened.end, "store opened");
        let active =
            found.segments.last().cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        // Sealed segments were synced before they were sealed.
        let durable = found.unsealed.first().map_or(active.base, |(s, _)| s.base);
        let keys = found.segments.iter().map(|s| s.base).zip(found.keys).collect();
        let store = Arc::new(Store {
            tail: Mutex::new(Tail {
                segment: active,
                write: found.end,
                last_time: found.last_time,
                keys: found.active_keys,
                repair_to: 0,
                hinted: found.end,
                closed: false,
            }),
            written: AtomicU64::new(found.end),
            appended: Notify::new(),
            watched: AtomicBool::new(false),
            flushed: watch::Sender::new(durable),
            cache: RwLock::new(TailCache::new(config.cache_bytes)),
            segments: RwLock::new(found.segments.into()),
            queues: found.queues,
            keys: RwLock::new(keys),
            pending_seals: Mutex::new(found.unsealed.into()),
            sealed: Condvar::new(),
            spare: Mutex::new(None),
            upkeep: Mutex::new(()),
            flushing: Mutex::new(()),
            dropped,
            retention: Mutex::new(config.retention.clone()),
            full: AtomicBool::new(false),
            used_percent: AtomicU8::new(0),
            stopped: watch::Sender::new(None),
            threads: Arc::new(Threads::new(config.flush_interval)),
            opened,
            _lock: lock,
            config,
            disk,
            log_dir,
            index_dir,
        });
        store.flush_now();
        progress();
        store.seal_pending();
        progress();
        store.look_at_use();
        Ok(store)
    }

    /// Starts the threads.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        Threads::start(self)
    }

    /// Refuses appends, stops the threads, flushes, and seals what is there, so that the next start scans nothing.
    pub fn close(&self) {
        // Appends end first, or the threads would find work for ever; whoever holds the tail finishes its batch.
        let (segment, keys, end) = {
            let mut tail = self.tail.lock();
            tail.closed = true;
            (tail.segment.clone(), tail.keys.clone(), tail.write)
        };
        self.threads.stop();
        self.flush_now();
        self.seal_pending();
        if self.is_stopped() || self.flushed_offset() < end {
            return;
        }
        let _one = self.upkeep.lock();
        if let Err(e) = self.seal(&segment, &keys, end) {
            warn!("index of the last segment not written, the next start scans it: {e}");
        }
    }

    /// Changes how often what was written is flushed when nobody asks.
    pub fn set_flush_interval(&self, interval: Duration) {
        self.threads.set_flush_interval(interval);
    }

    /// Changes when segments may go and when writes stop. The store's threads look at it at once.
    pub fn set_retention(&self, policy: RetentionPolicy) {
        *self.retention.lock() = policy;
        self.threads.want_look();
    }

    /// Returns what opening found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    // ---- queues ----

    /// Returns a queue that has, or had, messages.
    pub fn queue(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        self.queues.get(topic, id)
    }

    /// Returns a queue, made if it does not exist. Numbers from 65,536 on are not possible.
    pub fn queue_or_create(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        (id < MAX_QUEUES).then(|| self.queues.get_or_create(topic, id))
    }

    /// Returns the topics that have queues, each with its highest queue number.
    pub fn topics(&self) -> Vec<(Arc<str>, u32)> {
        self.queues.topics()
    }

    // ---- bounds ----

    /// Returns the physical offset of the log's first byte.
    pub fn begin(&self) -> u64 {
        self.segments.read().front().map_or(0, |s| s.base)
    }

    /// Returns the end of the log.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Says whether the log holds nothing.
    pub fn is_empty_log(&self) -> bool {
        let segments = self.segments.read();
        segments.front().is_none_or(|s| s.base == self.written())
    }

    /// Returns what wakes all who wait for it after the log's end has moved: ask for `notified()`, then look at
    /// [`Store::written`], then wait.
    pub fn appended(&self) -> &Notify {
        if !self.watched.load(Ordering::Relaxed) {
            // With the lock, an append that does not see this yet is one whose end the caller sees.
            let _tail = self.tail.lock();
            self.watched.store(true, Ordering::Relaxed);
        }
        &self.appended
    }

    /// Wakes who waits for appends. Costs a load until somebody has asked for it.
    pub(crate) fn tell_appended(&self) {
        if self.watched.load(Ordering::Relaxed) {
            self.appended.notify_waiters();
        }
    }

    /// Returns the store time of the last record, ms since 1970; 0 without one.
    pub fn last_store_time(&self) -> i64 {
        self.tail.lock().last_time
    }

    /// Returns how full the disk is, percent, as last looked at.
    pub fn used_percent(&self) -> u8 {
        self.used_percent.load(Ordering::Relaxed)
    }

    /// Returns the bytes of the log's end that are in memory.
    pub fn cached_bytes(&self) -> usize {
        self.cache.read().bytes()
    }

    // ---- failing ----

    /// Becomes `Some` when the store has failed and the process must end.
    pub fn stopped(&self) -> watch::Receiver<Option<String>> {
        self.stopped.subscribe()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.borrow().is_some()
    }

    /// A sync failed: nobody knows what is on the disk, so nothing goes on from here. Takes no lock.
    pub(crate) fn stop_for_good(&self, why: String) {
        error!("store stops: {why}");
        self.stopped.send_if_modified(|s| {
            let first = s.is_none();
            s.get_or_insert(why);
            first
        });
    }

    /// Makes the names in a folder durable; a failure stops the store.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk
            .sync_dir(dir)
            .inspect_err(|e| self.stop_for_good(format!("sync folder {}: {e}", dir.display())))
    }

    pub(crate) fn check_writable(&self, tail: &Tail) -> Result<(), AppendError> {
        self.check_alive(tail)?;
        if self.full.load(Ordering::Relaxed) {
            return Err(AppendError::Full(format!("{} percent used", self.used_percent())));
        }
        Ok(())
    }

    /// Says why nothing may be changed any more, if so.
    pub(crate) fn check_alive(&self, tail: &Tail) -> Result<(), AppendError> {
        if tail.closed {
            return Err(AppendError::Stopped("closed".to_owned()));
        }
        match &*self.stopped.borrow() {
            Some(why) => Err(AppendError::Stopped(why.clone())),
            None => Ok(()),
        }
    }

    /// Says whether writes are refused because the disk is too full.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Without `close`; its threads must not find that out only at their next look.
        self.threads.leave();
    }
}
