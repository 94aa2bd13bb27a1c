//! A store: the log, its indexes and its two threads, on one folder that nobody else may use.
//!
//! | path | content |
//! |---|---|
//! | `commitlog/<base>` | segments, record bytes as of P§4.1 |
//! | `index/<base>.idx` | [`crate::index::sealed`] |
//! | `dropped.json` | [`crate::dropped`] |
//! | `lock` | held while the store is open |

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use protocol::message::{self, Record};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::config::StoreConfig;
use crate::disk::Disk;
use crate::dropped::Dropped;
use crate::index::keys::{self, ActiveKeys, Keys};
use crate::index::queue::Queue;
use crate::index::sealed::{self, Content, DirectoryRow};
use crate::index::table::{MAX_QUEUES, QueueTable};
use crate::log::cache::TailCache;
use crate::log::read::ReadError;
use crate::log::tail::{AppendError, Tail};
use crate::recover::{self, Folders};
use crate::retention::{self, SegmentFacts};
use crate::segment::{self, Segment};
use crate::threads::{Threads, now_ms};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the folder.
    #[error("{0} is in use by another process; stop it, or give this broker a storePathRootDir of its own")]
    Locked(PathBuf),
    /// A segment is missing in the middle of the log.
    #[error("commit log is not complete: a segment ends at {end}, the next begins at {next}; restore the file {end:020}, or move all older segments away to give them up")]
    Gap {
        /// End of the segment before.
        end: u64,
        /// Begin of the segment behind.
        next: u64,
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
    log_dir: PathBuf,
    index_dir: PathBuf,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) written: AtomicU64,
    pub(crate) flushed: watch::Sender<u64>,
    pub(crate) cache: RwLock<TailCache>,
    pub(crate) segments: RwLock<VecDeque<Arc<Segment>>>,
    queues: QueueTable,
    keys: RwLock<BTreeMap<u64, Keys>>,
    pending_seals: Mutex<VecDeque<(Arc<Segment>, Arc<ActiveKeys>)>>,
    spare: Mutex<Option<Arc<Segment>>>,
    dropped: Dropped,
    full: AtomicBool,
    used_percent: AtomicU8,
    stopped: watch::Sender<Option<String>>,
    pub(crate) threads: Threads,
    opened: Opened,
    _lock: Box<dyn Send + Sync>,
}

impl Store {
    /// Opens a folder, recovers what is in it and takes its lock. No thread runs yet; see [`Store::start`].
    pub fn open(config: StoreConfig, disk: Arc<dyn Disk>) -> Result<Arc<Store>, OpenError> {
        let (log_dir, index_dir) = (config.dir.join("commitlog"), config.dir.join("index"));
        disk.create_dir_all(&log_dir)?;
        disk.create_dir_all(&index_dir)?;
        let lock = disk.lock(&config.dir.join("lock")).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked(config.dir.clone()),
            _ => e.into(),
        })?;
        disk.sync_dir(&config.dir)?;
        let dropped = Dropped::load(&*disk, &config.dir)?;
        let folders = Folders { disk: &*disk, log: &log_dir, index: &index_dir };
        let found = recover::recover(&folders, &config, &dropped)?;
        let opened = Opened { segments: found.segments.len(), scanned: found.scanned, end: found.end };
        info!(segments = opened.segments, scanned = opened.scanned, end = opened.end, "store opened");
        let active = found.segments.last().cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
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
            }),
            written: AtomicU64::new(found.end),
            flushed: watch::Sender::new(durable),
            cache: RwLock::new(TailCache::new(config.cache_bytes)),
            segments: RwLock::new(found.segments.into()),
            queues: found.queues,
            keys: RwLock::new(keys),
            pending_seals: Mutex::new(found.unsealed.into()),
            spare: Mutex::new(None),
            dropped,
            full: AtomicBool::new(false),
            used_percent: AtomicU8::new(0),
            stopped: watch::Sender::new(None),
            threads: Threads::default(),
            opened,
            _lock: lock,
            config,
            disk: disk.clone(),
            log_dir,
            index_dir,
        });
        store.flush_now();
        store.seal_pending();
        store.look_after_space(now_ms());
        Ok(store)
    }

    /// Starts the threads.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        Threads::start(self)
    }

    /// Stops the threads, flushes, and seals what is there, so that the next start scans nothing. Nothing can be
    /// appended after that.
    pub fn close(&self) {
        self.threads.stop();
        self.stop_appends("closed");
        self.flush_now();
        if self.failure().is_some_and(|why| why != "closed") {
            return;
        }
        self.seal_pending();
        let (segment, keys, end) = {
            let tail = self.tail.lock();
            (tail.segment.clone(), tail.keys.clone(), tail.write)
        };
        if let Err(e) = segment.sync_to(end).and_then(|()| self.seal(&segment, &keys, end)) {
            warn!("index of the last segment not written, the next start scans it: {e}");
        }
    }

    /// Returns what opening found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Returns the settings.
    pub fn config(&self) -> &StoreConfig {
        &self.config
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

    /// Deletes a topic: its messages belong to nobody from now on, and a new topic of the name begins empty. Durable
    /// on return; the bytes go with their segments.
    pub fn delete_topic(&self, topic: &str) -> io::Result<()> {
        let end = {
            // Under the tail's lock, so that no record gets in between.
            let tail = self.tail.lock();
            self.queues.remove(topic).iter().for_each(|q| q.remove());
            tail.write
        };
        self.dropped.drop_topic(&*self.disk, topic, end, self.begin())
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

    // ---- keys ----

    /// Finds records of a topic by key, newest first, among those stored in a range of time. May wait for the
    /// device.
    pub fn find_by_key(&self, topic: &str, key: &str, times: std::ops::RangeInclusive<i64>, max: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        let hash = keys::hash(topic, key);
        let all: Vec<(u64, Keys)> = self.keys.read().iter().rev().map(|(b, k)| (*b, k.clone())).collect();
        let mut found = Vec::new();
        for (base, keys) in all {
            let mut positions = keys.find(hash).map_err(|source| ReadError::Io { at: base, source })?;
            positions.sort_unstable();
            positions.dedup();
            for relative in positions.iter().rev() {
                let physical = base + *relative as u64;
                if found.len() >= max || self.dropped.covers(topic, physical) {
                    continue;
                }
                let record = match self.read_record(physical) {
                    Ok(record) => record,
                    Err(ReadError::Outside { .. }) => continue,
                    Err(e) => return Err(e),
                };
                if let message::Decoded::Record(r) = message::decode(&record, record.len())
                    && r.topic == topic
                    && times.contains(&r.store_timestamp)
                    && has_key(&r, key)
                {
                    found.push(record);
                }
            }
        }
        Ok(found)
    }

    // ---- failing ----

    /// Becomes `Some` when the store has failed and the process must end.
    pub fn stopped(&self) -> watch::Receiver<Option<String>> {
        self.stopped.subscribe()
    }

    fn failure(&self) -> Option<String> {
        self.stopped.borrow().clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.borrow().as_deref().is_some_and(|why| why != "closed")
    }

    /// A sync failed: nobody knows what is on the disk, so nothing goes on from here.
    pub(crate) fn stop_for_good(&self, why: String) {
        error!("store stops: {why}");
        self.stop_appends(&why);
    }

    fn stop_appends(&self, why: &str) {
        // Whoever holds the tail finishes its batch first.
        let _tail = self.tail.lock();
        self.stopped.send_if_modified(|s| {
            let first = s.is_none();
            s.get_or_insert_with(|| why.to_owned());
            first
        });
    }

    pub(crate) fn check_writable(&self) -> Result<(), AppendError> {
        if let Some(why) = &*self.stopped.borrow() {
            return Err(AppendError::Stopped(why.clone()));
        }
        if self.full.load(Ordering::Relaxed) {
            return Err(AppendError::Full(format!("{} percent used", self.used_percent())));
        }
        Ok(())
    }

    /// Says whether writes are refused because the disk is too full.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    // ---- files ----

    pub(crate) fn next_segment(&self, base: u64) -> io::Result<Arc<Segment>> {
        if let Some(spare) = self.spare.lock().take()
            && spare.base == base
        {
            return Ok(spare);
        }
        let next = Segment::create(&*self.disk, &self.log_dir, base, self.config.segment_bytes)?;
        self.disk.sync_dir(&self.log_dir)?;
        Ok(next)
    }

    /// The tail went on to `next`.
    pub(crate) fn rolled(&self, sealed: Arc<Segment>, keys: Arc<ActiveKeys>, next: Arc<Segment>, tail: &mut Tail) {
        self.keys.write().insert(next.base, Keys::Active(tail.keys.clone()));
        self.segments.write().push_back(next);
        self.pending_seals.lock().push_back((sealed, keys));
        self.written.store(tail.write, Ordering::Release);
        tail.hinted = tail.write;
        self.threads.want_seal();
    }

    /// Makes the segment behind the last one ready.
    pub(crate) fn make_spare(&self) {
        let base = self.tail.lock().segment.end();
        let mut spare = self.spare.lock();
        if spare.as_ref().is_some_and(|s| s.base == base) {
            return;
        }
        let made = Segment::create(&*self.disk, &self.log_dir, base, self.config.segment_bytes);
        match made.and_then(|s| self.disk.sync_dir(&self.log_dir).map(|()| s)) {
            Ok(segment) => *spare = Some(segment),
            Err(e) => warn!("next segment {base:020} not made ahead: {e}"),
        }
    }

    /// Writes the index files of segments that are complete.
    pub(crate) fn seal_pending(&self) {
        loop {
            // Not in a `while let`, which would hold the lock through the body.
            let first = self.pending_seals.lock().front().cloned();
            let Some((segment, keys)) = first else { return };
            if let Err(e) = segment.sync_to(segment.end()) {
                self.stop_for_good(format!("sync segment {:020}: {e}", segment.base));
                return;
            }
            if let Err(e) = self.seal(&segment, &keys, segment.end()) {
                warn!("index of segment {:020} not written, trying again later: {e}", segment.base);
                return;
            }
            self.pending_seals.lock().pop_front();
        }
    }

    /// Writes the index file of a segment that is durable up to `covers`, and lets reads use it when it is complete.
    fn seal(&self, segment: &Segment, keys: &ActiveKeys, covers: u64) -> io::Result<()> {
        let mut rows = Vec::new();
        let mut queues = Vec::new();
        for queue in self.queues.sorted() {
            if let Some(row) = queue.seal_row(segment.base) {
                rows.push(DirectoryRow { topic: queue.topic.to_string(), queue: queue.id, row });
                queues.push(queue);
            }
        }
        let last_store_time = segment.last_store_time();
        let mut content = Content { base: segment.base, covers, last_store_time, rows, keys: keys.sorted() };
        let file = sealed::write(&*self.disk, &self.index_dir, &mut content, |i, row, out| {
            queues[i].active_entries(segment.base, row, out);
        })?;
        if covers == segment.end() {
            for (queue, row) in queues.iter().zip(&content.rows) {
                if row.row.count > 0 {
                    queue.sealed(segment.base, &row.row, &file);
                }
            }
            if let Some(keys) = self.keys.write().get_mut(&segment.base) {
                *keys = Keys::Sealed(file);
            }
        }
        self.remove_orphans()
    }

    /// Removes index files of removed segments once a newer file tells the next offsets.
    fn remove_orphans(&self) -> io::Result<()> {
        let begin = self.begin();
        for name in self.disk.list(&self.index_dir)? {
            if name.strip_suffix(".idx").and_then(segment::base_of).is_some_and(|base| base < begin) {
                self.disk.remove(&self.index_dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes segments that may go and decides whether writes are refused.
    pub fn look_after_space(&self, now_ms: i64) {
        self.seal_pending();
        for _ in 0..retention::BATCH {
            let space = match self.disk.space(&self.log_dir) {
                Ok(space) => space,
                Err(e) => {
                    warn!("disk use is not known: {e}");
                    return;
                }
            };
            let used = space.used_percent();
            self.used_percent.store(used, Ordering::Relaxed);
            let policy = &self.config.retention;
            let was_full = self.full.swap(retention::decide_refusal(used, policy), Ordering::Relaxed);
            if was_full != self.is_full() {
                warn!(used_percent = used, refused = self.is_full(), "disk use: writes");
            }
            let removable = retention::decide_removal(&self.sealed_facts(), now_ms, used, policy);
            if removable.is_empty() {
                return;
            }
            for base in removable {
                if let Err(e) = self.remove_segment(base) {
                    warn!("remove segment {base:020}: {e}");
                    return;
                }
                info!(base, used_percent = used, "segment removed");
            }
        }
    }

    fn sealed_facts(&self) -> Vec<SegmentFacts> {
        let unsealed: Vec<u64> = self.pending_seals.lock().iter().map(|(s, _)| s.base).collect();
        let segments = self.segments.read();
        let sealed = segments.iter().take(segments.len().saturating_sub(1)).take_while(|s| !unsealed.contains(&s.base));
        sealed.map(|s| SegmentFacts { base: s.base, last_store_time: s.last_store_time() }).collect()
    }

    fn remove_segment(&self, base: u64) -> io::Result<()> {
        let newest_sealed = self.sealed_facts().last().map(|f| f.base);
        self.disk.remove(&segment::path(&self.log_dir, base))?;
        self.segments.write().retain(|s| s.base != base);
        self.keys.write().remove(&base);
        let begin = self.begin();
        self.queues.sorted().iter().for_each(|q| q.forget_before(begin));
        // The newest index file stays: it alone tells the next offsets of idle queues.
        if newest_sealed != Some(base) {
            self.disk.remove(&sealed::path(&self.index_dir, base))?;
        }
        Ok(())
    }
}

fn has_key(record: &Record<'_>, key: &str) -> bool {
    let reserved = protocol::properties::reserved(record.properties);
    keys::of_record(reserved.uniq_key, reserved.keys).any(|k| k == key)
}
