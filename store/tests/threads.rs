//! The store with its own threads on a real disk: many append and read while small segments roll, seal and go.

#![allow(clippy::unwrap_used)]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Chance, number, numbered, numbers, push};
use protocol::message::{Decoded, decode};
use store::disk::real::RealDisk;
use store::retention::RetentionPolicy;
use store::{Batch, ReadError, Store, StoreConfig};

const APPENDERS: u64 = 3;
const BATCHES: u64 = 700;

fn config(dir: &std::path::Path) -> StoreConfig {
    StoreConfig {
        segment_bytes: 64 << 10,
        cache_bytes: 0,
        flush_interval: Duration::from_millis(5),
        writeback_bytes: 16 << 10,
        // Ages are what the test says they are.
        retention: RetentionPolicy {
            reserved_ms: 300,
            delete_hours: (0..24).collect(),
            max_used_percent: 101,
            force_percent: 101,
            refuse_percent: 101,
        },
        ..StoreConfig::new(dir)
    }
}

/// Each appender has a queue of its own and one that all share; a body's number tells appender and order.
fn append_all(store: &Store, who: u64, clock: &AtomicI64) -> u64 {
    let mut chance = Chance::new(who);
    let mut batch = Batch::default();
    let mut n = 0;
    for round in 0..BATCHES {
        batch.clear();
        for _ in 0..1 + chance.below(6) {
            let body = numbered(who * 1_000_000 + n, chance.below(1500) as usize);
            push(store, &mut batch, "T", who as u32 * (n % 2) as u32, &n.to_string(), &body);
            n += 1;
        }
        let end = store.append(&mut batch, clock.fetch_add(1, Ordering::Relaxed)).unwrap();
        if round % 10 == 0 {
            wait_until_flushed(store, end);
        }
    }
    n
}

fn wait_until_flushed(store: &Store, end: u64) {
    store.request_flush(end);
    wait_until("the flush that was asked for", || store.flushed_offset() >= end);
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "not in time: {what}");
        thread::yield_now();
    }
}

/// Reads a queue from its front to its end and over again; returns how many records it saw.
fn read_all(store: &Store, id: u32, done: &AtomicBool) -> u64 {
    let (mut next, mut seen) = (0, 0);
    let mut newest = [None; 1 + APPENDERS as usize];
    loop {
        let finished = done.load(Ordering::Acquire);
        let Some(queue) = store.queue("T", id) else { continue };
        let (mut entries, mut out) = (Vec::new(), Vec::new());
        queue.entries(next, 32, true, &mut entries).unwrap();
        if entries.is_empty() {
            if finished {
                return seen;
            }
            thread::yield_now();
            continue;
        }
        let (min, _) = queue.bounds();
        assert!(entries[0].queue_offset == next || min >= entries[0].queue_offset, "a hole at {next}");
        let wait = seen % 3 != 0;
        match store.read_entries(&entries, wait, &mut out) {
            Ok(()) => {}
            Err(ReadError::WouldBlock) if !wait => store.read_entries(&entries, true, &mut out).unwrap_or(()),
            Err(ReadError::Outside { at, begin, .. }) => {
                assert!(at < begin, "only what was removed is outside")
            }
            Err(e) => panic!("{e}"),
        }
        let mut at = 0;
        for e in entries.iter().filter(|_| !out.is_empty()) {
            let Decoded::Record(r) = decode(&out[at..], 1 << 20) else {
                panic!("no record at {}", e.physical)
            };
            assert!(r.intact());
            assert_eq!((r.queue_offset as u64, r.queue_id as u32), (e.queue_offset, id));
            let number = number(r.body);
            let before = newest[(number / 1_000_000) as usize].replace(number);
            assert!(before < Some(number), "an appender's messages keep their order");
            at += r.total_size;
        }
        next = entries[entries.len() - 1].queue_offset + 1;
        seen += entries.len() as u64;
    }
}

#[test]
fn appenders_readers_rolls_seals_and_removals_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path()), Arc::new(RealDisk)).unwrap();
    store.start().unwrap();
    // Younger than the wall clock by which the store's own thread removes.
    let clock = Arc::new(AtomicI64::new(4_000_000_000_000));
    let (done, appended) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let appenders: Vec<_> = (1..=APPENDERS)
            .map(|who| {
                scope.spawn({
                    let (store, clock, appended) = (&store, &clock, &appended);
                    move || appended.fetch_add(append_all(store, who, clock), Ordering::Relaxed)
                })
            })
            .collect();
        let readers: Vec<_> = (0..=APPENDERS as u32)
            .map(|id| {
                let (store, done) = (&store, &done);
                scope.spawn(move || read_all(store, id, done))
            })
            .collect();
        let keeper = scope.spawn(|| {
            while !done.load(Ordering::Acquire) || store.begin() == 0 {
                let late = if done.load(Ordering::Acquire) { 1000 } else { 0 };
                store.look_after_space(clock.load(Ordering::Relaxed) + late);
                let last = store.written().saturating_sub(1);
                let _ = store.read_record(last);
                thread::yield_now();
            }
        });
        let results: Vec<_> = appenders.into_iter().map(|a| a.join()).collect();
        done.store(true, Ordering::Release);
        assert!(results.iter().all(|r| r.is_ok()));
        assert!(readers.into_iter().all(|r| r.join().unwrap() > 0));
        keeper.join().unwrap();
    });
    assert!(store.begin() > 0, "segments were removed meanwhile");
    let next: u64 = (0..=APPENDERS as u32).map(|id| store.queue("T", id).unwrap().next()).sum();
    assert_eq!(next, appended.load(Ordering::Relaxed), "every message has an offset of its own");
    let there: Vec<_> = (0..=APPENDERS as u32).map(|id| numbers(&store, "T", id)).collect();
    store.close();
    assert_eq!(store.flushed_offset(), store.written());
    drop(store);
    let store = Store::open(config(dir.path()), Arc::new(RealDisk)).unwrap();
    assert_eq!(store.opened().scanned, 0);
    assert_eq!((0..=APPENDERS as u32).map(|id| numbers(&store, "T", id)).collect::<Vec<_>>(), there);
}

#[test]
fn nothing_that_is_acknowledged_comes_after_the_close() {
    for round in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(config(dir.path()), Arc::new(RealDisk)).unwrap();
        store.start().unwrap();
        let end = thread::scope(|scope| {
            let appender = scope.spawn(|| {
                let mut end = 0;
                for n in 0.. {
                    let mut batch = Batch::default();
                    push(&store, &mut batch, "T", 0, "k", &numbered(n, 100));
                    match store.append(&mut batch, 1) {
                        Ok(e) => end = e,
                        Err(_) => break,
                    }
                }
                end
            });
            while store.written() < 1000 * round {
                thread::yield_now();
            }
            store.close();
            appender.join().unwrap()
        });
        assert_eq!((store.written(), store.flushed_offset()), (end, end));
        let there = numbers(&store, "T", 0);
        drop(store);
        let store = Store::open(config(dir.path()), Arc::new(RealDisk)).unwrap();
        assert_eq!((store.opened().scanned, numbers(&store, "T", 0)), (0, there));
    }
}

#[test]
fn a_store_that_is_dropped_without_a_close_gives_its_folder_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path()), Arc::new(RealDisk)).unwrap();
    store.start().unwrap();
    drop(store);
    // A thread may be at work just now, but none may sit on the store while it waits.
    let begun = Instant::now();
    while Store::open(config(dir.path()), Arc::new(RealDisk)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5), "a waiting thread keeps the store open");
        thread::yield_now();
    }
}

#[test]
fn flush_interval_and_retention_change_while_the_store_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let hours = Duration::from_secs(100 * 3600);
    let before = config(dir.path());
    let store =
        Store::open(StoreConfig { flush_interval: hours, ..before.clone() }, Arc::new(RealDisk)).unwrap();
    store.start().unwrap();
    let mut batch = Batch::default();
    push(&store, &mut batch, "T", 0, "", b"one");
    let end = store.append(&mut batch, 1).unwrap();
    store.set_flush_interval(Duration::from_millis(5));
    wait_until("a flush that nobody asked for", || store.flushed_offset() == end);
    assert!(!store.is_full());
    store.set_retention(RetentionPolicy { refuse_percent: 0, ..before.retention.clone() });
    wait_until("no write is taken", || store.is_full());
    store.set_retention(before.retention);
    wait_until("writes are taken again", || !store.is_full());
    store.close();
}
