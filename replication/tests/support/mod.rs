//! What the tests share: stores in memory, a log that follows, waiting for conditions.
#![allow(dead_code)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::message::NewRecord;
use replication::FollowedLog;
use store::disk::faulty::FaultyDisk;
use store::disk::memory::MemoryDisk;
use store::disk::{Create, Disk};
use store::{AppendLogError, Batch, Store, StoreConfig};
use tokio::sync::watch;

/// How long a condition may take; much longer than it ever does.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A store in memory and its disk. Its threads do not run: nothing is flushed unless a test does it.
pub struct Site {
    pub store: Arc<Store>,
    pub disk: FaultyDisk,
}

impl Site {
    pub fn new(segment_bytes: u64) -> Site {
        Site::with(StoreConfig { segment_bytes, ..StoreConfig::new("/s") })
    }

    pub fn with(config: StoreConfig) -> Site {
        let disk = FaultyDisk::new(Arc::new(MemoryDisk::new(1 << 30)));
        let store = Store::open(config, Arc::new(disk.clone())).unwrap();
        Site { store, disk }
    }

    /// Appends records with bodies of these lengths; returns the log's end.
    pub fn append(&self, bodies: impl IntoIterator<Item = usize>) -> u64 {
        for len in bodies {
            append(&self.store, len);
        }
        self.store.written()
    }

    /// The files of the log, by name, up to the log's end.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let dir = Path::new("/s/commitlog");
        let mut names = self.disk.list(dir).unwrap();
        names.sort();
        let mut files = Vec::new();
        for name in names {
            let base: u64 = name.parse().unwrap();
            let file = self.disk.open(&dir.join(&name), Create::No).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            bytes.truncate(self.store.written().saturating_sub(base) as usize);
            if !bytes.is_empty() {
                files.push((name, bytes));
            }
        }
        files
    }

    /// The log from its begin to its end.
    pub fn log(&self) -> Vec<u8> {
        self.files().into_iter().flat_map(|(_, bytes)| bytes).collect()
    }
}

/// Appends a record, to one of three queues, with a body of a length.
pub fn append(store: &Store, len: usize) -> u64 {
    let record = NewRecord {
        topic: "T",
        queue_id: (len % 3) as i32,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: "127.0.0.1:1".parse().unwrap(),
        store_host: "127.0.0.1:2".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &vec![len as u8; len],
        properties: "",
        more_properties: "",
    };
    let mut batch = Batch::default();
    batch.push(store.queue_or_create("T", (len % 3) as u32).unwrap(), &record, 0, std::iter::empty());
    store.append(&mut batch, 1).unwrap()
}

/// A store that follows.
pub struct StoreLog {
    pub store: Arc<Store>,
    pub flushed_acks: AtomicBool,
}

impl StoreLog {
    pub fn new(store: &Arc<Store>) -> StoreLog {
        StoreLog { store: store.clone(), flushed_acks: AtomicBool::new(false) }
    }
}

impl FollowedLog for StoreLog {
    fn end(&self) -> u64 {
        self.store.written()
    }

    fn asks_for_everything(&self) -> bool {
        self.store.is_empty_log()
    }

    fn start_at(&self, begin: u64) -> io::Result<()> {
        self.store.start_over(begin)
    }

    fn append(&self, at: u64, bytes: &[u8]) -> Result<u64, AppendLogError> {
        self.store.append_log(at, bytes, &mut |_, _| {})
    }

    fn flushed_acks(&self) -> bool {
        self.flushed_acks.load(Ordering::Relaxed)
    }

    fn flushed(&self) -> watch::Receiver<u64> {
        self.store.flushed()
    }

    fn request_flush(&self, end: u64) {
        self.store.request_flush(end);
    }
}

/// Lets others run until a condition holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::task::yield_now().await;
    }
}

/// A seeded source of chance; the same seed gives the same numbers.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}
