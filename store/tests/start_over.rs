//! A store that gives up its log to begin another one elsewhere, and what a crash on the way leaves.

#![allow(clippy::unwrap_used)]

mod harness;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use harness::meanwhile::Meanwhile;
use harness::{Chance, append, assert_same, fill, follow, numbered, numbers};
use store::disk::faulty::{Fault, FaultyDisk};
use store::disk::memory::MemoryDisk;
use store::disk::real::RealDisk;
use store::disk::{Create, Disk};
use store::{ReadError, Store, StoreConfig};

const SEGMENT: u64 = 8192;

fn config() -> StoreConfig {
    StoreConfig { segment_bytes: SEGMENT, max_record_bytes: 4096, ..StoreConfig::new("/s") }
}

fn open(disk: &(impl Disk + Clone + 'static)) -> Arc<Store> {
    Store::open(config(), Arc::new(disk.clone())).unwrap()
}

fn disks() -> (MemoryDisk, FaultyDisk) {
    let memory = MemoryDisk::new(1 << 26);
    (memory.clone(), FaultyDisk::new(Arc::new(memory)))
}

/// A store with sealed segments, complete ones that are not sealed yet, a deleted topic, an index without a segment,
/// a half-full segment and one made ahead. Returns how many messages topic T has.
fn full(store: &Store, disk: &MemoryDisk) -> u64 {
    append(store, "idle", 0, &numbered(0, 10), 1).unwrap();
    append(store, "gone", 0, &numbered(0, 10), 1).unwrap();
    store.delete_topic("gone").unwrap();
    fill(store, 0..70);
    store.look_after_space(0);
    fill(store, 70..120);
    let ahead = Path::new("/s/commitlog").join(format!("{:020}", (store.written() / SEGMENT + 1) * SEGMENT));
    disk.open(&ahead, Create::Fresh).unwrap().allocate(SEGMENT).unwrap();
    120
}

fn names(disk: &MemoryDisk, dir: &str) -> Vec<String> {
    disk.list(Path::new(dir)).unwrap()
}

#[test]
fn nothing_is_left_of_the_old_log_wherever_the_new_one_begins() {
    for begin in [0, SEGMENT, 3 * SEGMENT, 100 * SEGMENT, 12_345] {
        let (disk, _) = disks();
        let store = open(&disk);
        full(&store, &disk);
        let parked = store.queue("T", 0).unwrap();
        store.start_over(begin).unwrap();
        assert!(parked.is_removed(), "who waits for messages is told");
        for store in [store.clone(), open(&harness::copy_of(&disk))] {
            assert_eq!((store.begin(), store.written(), store.flushed_offset()), (begin, begin, begin));
            assert!(store.is_empty_log());
            assert_eq!(store.topics(), []);
            assert_eq!(store.dropped(), [].into());
            assert_eq!((store.last_record().unwrap(), store.last_store_time()), (None, 0));
            assert!(store.find_by_key("T", "00000003", 0..=i64::MAX, 9).unwrap().is_empty());
            assert_eq!(store.read_log(begin, 9, true, &mut Vec::new()).unwrap().bytes, 0);
            for at in [begin.wrapping_sub(1), begin + 1] {
                let read = store.read_log(at, 9, true, &mut Vec::new());
                assert!(matches!(read, Err(ReadError::Outside { .. })), "{at}");
            }
        }
        assert_eq!(names(&disk, "/s/commitlog"), [format!("{begin:020}")]);
        assert_eq!(names(&disk, "/s/index"), [""; 0]);
        fill(&store, 0..60);
        store.flush_now();
        assert_eq!(store.flushed_offset(), store.written());
        assert_eq!(numbers(&store, "T", 0), (0..60).collect::<Vec<_>>());
        store.close();
        drop(store);
        let store = open(&disk);
        assert_eq!((store.begin(), store.opened().scanned), (begin, 0));
        assert_eq!(numbers(&store, "T", 0), (0..60).collect::<Vec<_>>());
    }
}

#[test]
fn deletions_that_the_master_has_announced_for_the_log_to_come_stay() {
    let (disk, _) = disks();
    let store = open(&disk);
    fill(&store, 0..30);
    store.delete_topic("T").unwrap();
    store.drop_topic_at("A", 50 * SEGMENT).unwrap();
    store.start_over(40 * SEGMENT).unwrap();
    assert_eq!(store.dropped(), [("A".to_owned(), 50 * SEGMENT)].into());
}

/// Opens what a crash left of the store of [`full`]: a beginning of the old log, or an empty one; and lets it follow
/// a master from there on as if nothing had been.
fn assert_beginning_or_nothing(disk: &MemoryDisk, messages: u64, master: (&Store, &MemoryDisk), what: &str) {
    let store = match Store::open(config(), Arc::new(disk.clone())) {
        Ok(store) => store,
        Err(e) => panic!("{what}: {e}"),
    };
    let there = numbers(&store, "T", 0);
    if store.is_empty_log() {
        assert!(there.is_empty(), "{what}");
    } else {
        assert_eq!(store.begin(), 0, "{what}");
        assert_eq!(there, (0..there.len() as u64).collect::<Vec<_>>(), "{what}");
        assert!(there.len() as u64 <= messages && store.queue("gone", 0).is_none(), "{what}");
    }
    store.start_over(master.0.begin()).unwrap();
    follow(master.0, &store, &mut Chance::new(1)).unwrap();
    assert_same(master, (&store, disk));
}

#[test]
fn a_kill_or_power_loss_at_any_change_leaves_a_beginning_of_the_old_log_or_nothing() {
    let master_disk = MemoryDisk::new(1 << 26);
    let master = open(&master_disk);
    master.start_over(2 * SEGMENT).unwrap();
    fill(&master, 0..40);
    let mut outcomes = [0; 2];
    for changes in 0.. {
        let mut done = false;
        for power in 0..6 {
            let (memory, disk) = disks();
            let store = open(&disk);
            let messages = full(&store, &memory);
            disk.die_after(changes);
            done = store.start_over(2 * SEGMENT).is_ok();
            assert!(done || changes == 0 || store.stopped().borrow().is_some(), "{changes}");
            drop(store);
            if power > 0 {
                memory.lose_power(changes * 31 + power);
            }
            outcomes[open(&harness::copy_of(&memory)).is_empty_log() as usize] += 1;
            let what = format!("dead after {changes} changes, power {power}");
            assert_beginning_or_nothing(&memory, messages, (&master, &master_disk), &what);
        }
        if done {
            assert!(changes > 15 && outcomes[0] > 10 && outcomes[1] > 10, "{changes} {outcomes:?}");
            return;
        }
    }
}

#[test]
fn a_store_that_cannot_remove_its_newest_segment_is_as_it_was_and_one_that_failed_later_stops() {
    let (memory, disk) = disks();
    let store = open(&disk);
    let messages = full(&store, &memory);
    disk.begin(Fault::FailedRemove);
    assert!(store.start_over(0).is_err());
    disk.heal();
    assert_eq!(*store.stopped().borrow(), None);
    assert_eq!(numbers(&store, "T", 0), (0..messages).collect::<Vec<_>>());
    fill(&store, messages..messages + 30);
    for fault in [Fault::FailedSync, Fault::NoSpace] {
        let (memory, disk) = disks();
        let store = open(&disk);
        full(&store, &memory);
        disk.begin(fault);
        assert!(store.start_over(0).is_err());
        assert!(store.stopped().borrow().is_some(), "{fault:?}");
        assert!(append(&store, "T", 0, &numbered(0, 10), 1).is_err());
        assert!(store.start_over(0).is_err());
    }
}

#[test]
fn a_flush_of_the_old_log_that_is_under_way_says_nothing_of_the_new_one() {
    let disk = Meanwhile::new(MemoryDisk::new(1 << 26));
    let store = &Store::open(config(), Arc::new(disk.clone())).unwrap();
    fill(store, 0..30);
    let (began, begun) = mpsc::channel();
    let (over, is_over) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            begun.recv().unwrap();
            store.start_over(0).unwrap();
            let _ = over.send(());
        });
        disk.in_the_next_sync(move || {
            began.send(()).unwrap();
            // It must wait for the flush; if it does not, it is over soon.
            let _ = is_over.recv_timeout(Duration::from_millis(200));
        });
        store.flush_now();
    });
    assert_eq!((store.written(), store.flushed_offset()), (0, 0));
}

#[test]
fn a_place_without_room_behind_it_is_refused_and_so_is_a_closed_store() {
    let (disk, _) = disks();
    let store = open(&disk);
    fill(&store, 0..3);
    for begin in [u64::MAX, i64::MAX as u64, i64::MAX as u64 - SEGMENT + 1] {
        assert_eq!(store.start_over(begin).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
    store.close();
    assert!(store.start_over(0).is_err());
    drop(store);
    assert_eq!(numbers(&open(&disk), "T", 0), [0, 1, 2]);
}

#[test]
fn flushes_seals_readers_and_files_made_ahead_survive_a_log_that_starts_over_under_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = || StoreConfig {
        segment_bytes: 64 << 10,
        flush_interval: Duration::from_millis(1),
        writeback_bytes: 4096,
        cache_bytes: 0,
        ..StoreConfig::new(dir.path())
    };
    let store = Store::open(config(), Arc::new(RealDisk)).unwrap();
    store.start().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (mut at, mut out) = (0, Vec::new());
                while !done.load(Ordering::Acquire) {
                    out.clear();
                    match store.read_log(at, 30_000, true, &mut out) {
                        Ok(read) if read.bytes > 0 => at += read.bytes as u64,
                        Ok(_) => thread::yield_now(),
                        Err(ReadError::Outside { begin, .. }) => at = begin,
                        Err(e) => panic!("{e}"),
                    }
                    store.flush_now();
                }
            });
        }
        let mut chance = Chance::new(9);
        for round in 0..60 {
            for n in 0..chance.below(200) {
                append(&store, "T", 0, &numbered(n, 1500), 1).unwrap();
            }
            let end = store.written();
            store.request_flush(end);
            if round % 2 == 0 {
                let begun = Instant::now();
                while store.flushed_offset() < end {
                    assert!(begun.elapsed() < Duration::from_secs(20), "a flush never came");
                    thread::yield_now();
                }
            }
            let begin = chance.below(100) * 10_000;
            store.start_over(begin).unwrap();
            assert_eq!(store.flushed_offset(), begin, "an earlier flush says nothing of this log");
        }
        for n in 0..100 {
            append(&store, "T", 0, &numbered(n, 1500), 1).unwrap();
        }
        done.store(true, Ordering::Release);
    });
    store.close();
    assert_eq!(store.flushed_offset(), store.written());
    assert_eq!(*store.stopped().borrow(), None);
    let begin = store.begin();
    drop(store);
    let store = Store::open(config(), Arc::new(RealDisk)).unwrap();
    assert_eq!((store.begin(), store.opened().scanned), (begin, 0));
    assert_eq!(numbers(&store, "T", 0), (0..100).collect::<Vec<_>>());
}
