//! The store's two threads: one flushes, one looks after files (seals, makes the next segment ready, removes old
//! ones). Nothing on the way of a message waits for either, and neither keeps a store alive while it waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use crate::store::Store;

/// How often disk use and the age of segments are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// What the threads are asked to do.
pub(crate) struct Threads {
    flush: Mutex<FlushWork>,
    flush_wake: Condvar,
    files: Mutex<FileWork>,
    files_wake: Condvar,
    /// The spare was asked for; not again before the next roll or look.
    spare_asked: AtomicBool,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Clone, Copy)]
struct FlushWork {
    interval: Duration,
    requested: u64,
    writeback: bool,
    stop: bool,
}

#[derive(Clone, Copy, Default)]
struct FileWork {
    look: bool,
    spare: bool,
    seal: bool,
    stop: bool,
}

impl Threads {
    pub fn new(flush_interval: Duration) -> Threads {
        let flush = FlushWork { interval: flush_interval, requested: 0, writeback: false, stop: false };
        Threads {
            flush: Mutex::new(flush),
            flush_wake: Condvar::new(),
            files: Mutex::default(),
            files_wake: Condvar::new(),
            spare_asked: AtomicBool::new(false),
            handles: Mutex::default(),
        }
    }

    pub fn set_flush_interval(&self, interval: Duration) {
        self.flush.lock().interval = interval;
        self.flush_wake.notify_one();
    }

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

    pub fn are_running(&self) -> bool {
        !self.handles.lock().is_empty()
    }

    pub fn want_spare(&self) {
        if !self.spare_asked.swap(true, Ordering::Relaxed) {
            self.files.lock().spare = true;
            self.files_wake.notify_one();
        }
    }

    /// Has disk use and the age of segments looked at now.
    pub fn want_look(&self) {
        self.files.lock().look = true;
        self.files_wake.notify_one();
    }

    pub fn want_seal(&self) {
        // The spare was used up; the next one is wanted when the new segment fills.
        self.spare_asked.store(false, Ordering::Relaxed);
        self.files.lock().seal = true;
        self.files_wake.notify_one();
    }

    pub fn start(store: &Arc<Store>) -> std::io::Result<()> {
        let mut handles = store.threads.handles.lock();
        for (name, run) in
            [("store-flush", run_flush as fn(&Threads, &Weak<Store>)), ("store-files", run_files)]
        {
            let (threads, store) = (store.threads.clone(), Arc::downgrade(store));
            handles.push(std::thread::Builder::new().name(name.into()).spawn(move || run(&threads, &store))?);
        }
        Ok(())
    }

    /// Tells the threads to end.
    pub fn leave(&self) {
        self.flush.lock().stop = true;
        self.files.lock().stop = true;
        self.flush_wake.notify_all();
        self.files_wake.notify_all();
    }

    /// Tells the threads to end and waits until they have.
    pub fn stop(&self) {
        self.leave();
        // Not in the loop's head, which would hold the lock while it waits.
        let handles = std::mem::take(&mut *self.handles.lock());
        for handle in handles {
            if handle.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }

    /// Waits until there is something to flush, or to tell the kernel, or until a flush is due, an interval after `last`.
    fn flush_work(&self, flushed: u64, last: Instant) -> FlushWork {
        let mut work = self.flush.lock();
        if !work.stop && !work.writeback && work.requested <= flushed {
            let due = last + work.interval;
            self.flush_wake.wait_until(&mut work, due);
        }
        let taken = *work;
        // Whoever takes the request flushes all that is written, and nobody asks for more than that.
        (work.requested, work.writeback) = (0, false);
        taken
    }

    /// Waits until there is something to do with files, or `until`.
    fn file_work(&self, until: Instant) -> FileWork {
        let mut work = self.files.lock();
        if !work.stop && !work.seal && !work.spare && !work.look {
            self.files_wake.wait_until(&mut work, until);
        }
        let taken = *work;
        (work.seal, work.spare, work.look) = (false, false, false);
        taken
    }
}

fn run_flush(threads: &Threads, store: &Weak<Store>) {
    let (mut flushed, mut told, mut last) = (0, 0, Instant::now());
    loop {
        let work = threads.flush_work(flushed, last);
        let Some(store) = store.upgrade() else { return };
        if work.stop {
            return;
        }
        // Hints come often under load and must not keep the interval from being kept.
        if work.requested > store.flushed_offset() || Instant::now() >= last + work.interval {
            store.flush_now();
            last = Instant::now();
        } else if work.writeback {
            told = store.start_writeback(told);
        }
        if store.is_stopped() {
            return;
        }
        flushed = store.flushed_offset();
    }
}

fn run_files(threads: &Threads, store: &Weak<Store>) {
    let mut look_at = Instant::now();
    loop {
        let work = threads.file_work(look_at);
        let Some(store) = store.upgrade() else { return };
        if work.stop || store.is_stopped() {
            return;
        }
        if work.spare {
            store.make_spare();
        }
        store.seal_pending();
        if work.look || Instant::now() >= look_at {
            look_at = Instant::now() + LOOK;
            store.look_after_space(now_ms());
            threads.spare_asked.store(false, Ordering::Relaxed);
        }
    }
}

/// The wall clock, ms since 1970.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
