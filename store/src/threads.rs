//! The store's two threads: one flushes, one looks after files (seals, makes the next segment ready, removes old
//! ones). Nothing on the way of a message waits for either.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use crate::store::Store;

/// How often disk use and the age of segments are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// What the threads are asked to do.
#[derive(Default)]
pub(crate) struct Threads {
    flush: Mutex<FlushWork>,
    flush_wake: Condvar,
    files: Mutex<FileWork>,
    files_wake: Condvar,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct FlushWork {
    requested: u64,
    writeback: bool,
    stop: bool,
}

#[derive(Default)]
struct FileWork {
    spare: bool,
    /// Making the spare was tried; not again before the next look.
    spare_tried: bool,
    seal: bool,
    stop: bool,
}

impl Threads {
    pub fn request_flush(&self, end: u64) {
        let mut work = self.flush.lock();
        work.requested = work.requested.max(end);
        drop(work);
        self.flush_wake.notify_one();
    }

    pub fn hint_writeback(&self) {
        self.flush.lock().writeback = true;
        self.flush_wake.notify_one();
    }

    pub fn want_spare(&self) {
        let mut work = self.files.lock();
        if !work.spare && !work.spare_tried {
            work.spare = true;
            self.files_wake.notify_one();
        }
    }

    pub fn want_seal(&self) {
        let mut work = self.files.lock();
        work.seal = true;
        // The spare was used up; the next one is wanted when the new segment fills.
        work.spare_tried = false;
        self.files_wake.notify_one();
    }

    pub fn start(store: &Arc<Store>) -> std::io::Result<()> {
        let (a, b) = (Arc::downgrade(store), Arc::downgrade(store));
        let mut handles = store.threads.handles.lock();
        handles.push(std::thread::Builder::new().name("store-flush".into()).spawn(move || run_flush(&a))?);
        handles.push(std::thread::Builder::new().name("store-files".into()).spawn(move || run_files(&b))?);
        Ok(())
    }

    pub fn stop(&self) {
        self.flush.lock().stop = true;
        self.files.lock().stop = true;
        self.flush_wake.notify_all();
        self.files_wake.notify_all();
        for handle in std::mem::take(&mut *self.handles.lock()) {
            if handle.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

fn run_flush(store: &Weak<Store>) {
    loop {
        let Some(store) = store.upgrade() else { return };
        let interval = store.config.flush_interval;
        let mut work = store.threads.flush.lock();
        if !work.stop && !work.writeback && work.requested <= store.flushed_offset() {
            store.threads.flush_wake.wait_for(&mut work, interval);
        }
        let writeback = std::mem::take(&mut work.writeback);
        let (stop, requested) = (work.stop, work.requested);
        drop(work);
        if stop {
            return;
        }
        if writeback && requested <= store.flushed_offset() {
            store.start_writeback();
        } else {
            store.flush_now();
        }
        if store.is_stopped() {
            return;
        }
    }
}

fn run_files(store: &Weak<Store>) {
    let mut looked: Option<Instant> = None;
    loop {
        let Some(store) = store.upgrade() else { return };
        let mut work = store.threads.files.lock();
        let due = looked.is_none_or(|t| t.elapsed() >= LOOK);
        if !work.stop && !work.seal && !work.spare && !due {
            let left = LOOK.saturating_sub(looked.map_or(LOOK, |t| t.elapsed()));
            store.threads.files_wake.wait_for(&mut work, left);
        }
        let (stop, spare) = (work.stop, std::mem::take(&mut work.spare));
        work.seal = false;
        work.spare_tried = spare || (work.spare_tried && !due);
        drop(work);
        if stop || store.is_stopped() {
            return;
        }
        if spare {
            store.make_spare();
        }
        store.seal_pending();
        if looked.is_none_or(|t| t.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            store.look_after_space(now_ms());
        }
    }
}

/// The wall clock, ms since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
