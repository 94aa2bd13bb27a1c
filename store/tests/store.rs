//! The store's promises, on the memory disk: what is appended is there, in order, after every kind of end.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use protocol::message::{Decoded, NewRecord, decode};
use store::disk::faulty::{Fault, FaultyDisk};
use store::disk::memory::MemoryDisk;
use store::disk::{Create, Disk};
use store::index::keys;
use store::{AppendError, Batch, Entry, OpenError, Store, StoreConfig};

const SEGMENT: u64 = 8192;

fn config() -> StoreConfig {
    StoreConfig { segment_bytes: SEGMENT, max_record_bytes: 4096, ..StoreConfig::new("/s") }
}

fn open(disk: &(impl Disk + Clone + 'static)) -> Arc<Store> {
    Store::open(config(), Arc::new(disk.clone())).unwrap()
}

/// Appends one record and returns its queue offset.
fn append(store: &Store, topic: &str, queue: u32, body: &[u8], time: i64) -> Result<u64, AppendError> {
    append_all(store, topic, queue, &[body], time).map(|o| o[0])
}

fn append_all(
    store: &Store,
    topic: &str,
    queue: u32,
    bodies: &[&[u8]],
    time: i64,
) -> Result<Vec<u64>, AppendError> {
    let mut batch = Batch::default();
    for body in bodies {
        let properties = format!("UNIQ_KEY\u{1}{}\u{2}", String::from_utf8_lossy(&body[..body.len().min(8)]));
        let key = keys::hash(topic, &String::from_utf8_lossy(&body[..body.len().min(8)]));
        let record = NewRecord {
            topic,
            queue_id: queue as i32,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_host: "127.0.0.1:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: &properties,
            more_properties: "",
        };
        batch.push(store.queue_or_create(topic, queue).unwrap(), &record, 7, [key].into_iter());
    }
    store.append(&mut batch, time)?;
    Ok((0..bodies.len()).map(|i| batch.stored(i).unwrap().queue_offset).collect())
}

/// All bodies of a queue, having checked that offsets are dense.
fn bodies(store: &Store, topic: &str, queue: u32) -> Vec<Vec<u8>> {
    let Some(q) = store.queue(topic, queue) else { return Vec::new() };
    let (min, max) = q.bounds();
    let mut entries: Vec<Entry> = Vec::new();
    q.entries(min, usize::MAX, true, &mut entries).unwrap();
    assert_eq!(entries.iter().map(|e| e.queue_offset).collect::<Vec<_>>(), (min..max).collect::<Vec<_>>());
    entries
        .iter()
        .map(|e| {
            for wait in [true, false] {
                let mut bytes = Vec::new();
                store.read_entries(&[*e], wait, &mut bytes).unwrap();
                let Decoded::Record(r) = decode(&bytes, 1 << 20) else { panic!("not a record") };
                assert_eq!((r.queue_offset as u64, r.physical_offset as u64), (e.queue_offset, e.physical));
                assert!(r.intact());
                if wait {
                    continue;
                }
                return r.body.to_vec();
            }
            unreachable!()
        })
        .collect()
}

fn numbered(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(|i| format!("{i:08}{}", "x".repeat(300)).into_bytes()).collect()
}

fn fill(store: &Store, range: std::ops::Range<usize>) {
    for body in numbered(range) {
        append(store, "T", 0, &body, 1000).unwrap();
    }
}

#[test]
fn what_is_appended_is_read_back_from_cache_file_and_sealed_index() {
    let disk = MemoryDisk::new(1 << 24);
    let store = open(&disk);
    fill(&store, 0..100);
    assert_eq!(bodies(&store, "T", 0), numbered(0..100));
    store.look_after_space(0);
    assert_eq!(bodies(&store, "T", 0), numbered(0..100), "after sealing");
    assert!(disk.list(Path::new("/s/index")).unwrap().len() >= 4);
}

#[test]
fn a_batch_may_span_segments_and_keeps_its_order() {
    let store = open(&MemoryDisk::new(1 << 24));
    let all = numbered(0..60);
    let slices: Vec<&[u8]> = all.iter().map(|b| b.as_slice()).collect();
    assert_eq!(append_all(&store, "T", 3, &slices, 5).unwrap(), (0..60).collect::<Vec<_>>());
    assert_eq!(bodies(&store, "T", 3), all);
}

#[test]
fn a_killed_process_loses_nothing_and_only_the_last_segment_is_scanned() {
    let disk = MemoryDisk::new(1 << 24);
    let store = open(&disk);
    fill(&store, 0..100);
    store.look_after_space(0);
    append(&store, "U", 5, b"other", 1).unwrap();
    drop(store);
    let store = open(&disk);
    assert!(store.opened().scanned <= SEGMENT, "scanned {}", store.opened().scanned);
    assert_eq!(bodies(&store, "T", 0), numbered(0..100));
    assert_eq!(append(&store, "T", 0, b"next", 1).unwrap(), 100);
    assert_eq!(append(&store, "U", 5, b"next", 1).unwrap(), 1);
}

#[test]
fn a_closed_store_is_opened_without_a_scan() {
    let disk = MemoryDisk::new(1 << 24);
    for round in 0..5 {
        let store = open(&disk);
        assert_eq!(store.opened().scanned, 0);
        fill(&store, round * 7..round * 7 + 7);
        store.close();
        assert!(matches!(append(&store, "T", 0, b"late", 1), Err(AppendError::Stopped(_))));
    }
    let store = open(&disk);
    assert_eq!(bodies(&store, "T", 0), numbered(0..35));
    assert_eq!(store.find_by_key("T", "00000003", 0..=i64::MAX, 10).unwrap().len(), 1);
}

#[test]
fn power_loss_takes_only_what_was_not_flushed() {
    for seed in 0..200 {
        let disk = MemoryDisk::new(1 << 24);
        let store = open(&disk);
        fill(&store, 0..30 + seed as usize % 20);
        store.flush_now();
        let promised = 30 + seed as usize % 20;
        fill(&store, promised..promised + 40);
        if seed % 3 == 0 {
            store.look_after_space(0);
        }
        drop(store);
        disk.lose_power(seed * 7919 + 1);
        let store = open(&disk);
        let there = bodies(&store, "T", 0);
        assert!(there.len() >= promised, "seed {seed}: {} of {promised}", there.len());
        assert_eq!(there, numbered(0..there.len()), "seed {seed}");
        assert_eq!(append(&store, "T", 0, b"next", 1).unwrap(), there.len() as u64);
        drop(store);
        let store = open(&disk);
        assert_eq!(bodies(&store, "T", 0).len(), there.len() + 1, "seed {seed}: nothing stale came back");
    }
}

#[test]
fn a_torn_tail_is_cut_at_the_first_damaged_record() {
    let disk = MemoryDisk::new(1 << 24);
    let store = open(&disk);
    fill(&store, 0..10);
    let mut entries = Vec::new();
    store.queue("T", 0).unwrap().entries(6, 1, false, &mut entries).unwrap();
    drop(store);
    let file = disk.open(Path::new("/s/commitlog/00000000000000000000"), Create::No).unwrap();
    file.write_at(b"!", entries[0].physical + 100).unwrap();
    let store = open(&disk);
    assert_eq!(bodies(&store, "T", 0), numbered(0..6));
    fill(&store, 6..8);
    drop(store);
    assert_eq!(bodies(&open(&disk), "T", 0), numbered(0..8), "what was behind the cut does not come back");
}

#[test]
fn a_damaged_or_missing_index_file_is_rebuilt_from_the_log() {
    let disk = MemoryDisk::new(1 << 24);
    let store = open(&disk);
    fill(&store, 0..100);
    store.close();
    drop(store);
    let names = disk.list(Path::new("/s/index")).unwrap();
    disk.remove(&Path::new("/s/index").join(&names[0])).unwrap();
    disk.open(&Path::new("/s/index").join(&names[2]), Create::No).unwrap().write_at(b"#", 20).unwrap();
    let store = open(&disk);
    assert_eq!(bodies(&store, "T", 0), numbered(0..100));
    drop(store);
    assert_eq!(open(&disk).opened().scanned, 0, "rebuilt indexes are sealed again");
}

#[test]
fn retention_never_moves_the_next_offset_of_a_queue_back() {
    let disk = MemoryDisk::new(1 << 24);
    let store = open(&disk);
    append(&store, "idle", 2, b"only one", 1000).unwrap();
    fill(&store, 0..100);
    let day = 86_400_000 * 30 + 4 * 3_600_000;
    store.look_after_space(day);
    store.look_after_space(day);
    assert_eq!(store.queue("idle", 2).unwrap().bounds(), (1, 1));
    let (min, max) = store.queue("T", 0).unwrap().bounds();
    assert!(min > 0 && max == 100, "{min} {max}");
    assert!(store.read_record(0).is_err());
    drop(store);
    let store = open(&disk);
    assert_eq!(append(&store, "idle", 2, b"second", 1).unwrap(), 1);
    assert_eq!(bodies(&store, "T", 0), numbered(min as usize..100));
}

#[test]
fn a_deleted_topic_stays_deleted_and_a_new_one_of_its_name_begins_empty() {
    for (seal_before, seal_after) in [(false, false), (true, false), (false, true), (true, true)] {
        let disk = MemoryDisk::new(1 << 24);
        let store = open(&disk);
        fill(&store, 0..30);
        if seal_before {
            store.look_after_space(0);
        }
        let old = store.queue("T", 0).unwrap();
        store.delete_topic("T").unwrap();
        assert!(store.queue("T", 0).is_none());
        assert!(old.is_removed());
        assert_eq!(append(&store, "T", 0, b"new", 1).unwrap(), 0);
        append(&store, "other", 0, b"x", 1).unwrap();
        if seal_after {
            store.close();
        }
        drop(store);
        let store = open(&disk);
        assert_eq!(bodies(&store, "T", 0), [b"new"], "{seal_before} {seal_after}");
        assert!(store.find_by_key("T", "00000003", 0..=i64::MAX, 10).unwrap().is_empty());
    }
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_takes_writes_again_when_space_returns() {
    let disk = MemoryDisk::new(3 * SEGMENT);
    let store = open(&disk);
    let mut n = 0;
    let refused = loop {
        match append(&store, "T", 0, &numbered(n..n + 1)[0], 1) {
            Ok(offset) => assert_eq!(offset, n as u64),
            Err(e) => break e,
        }
        n += 1;
    };
    assert!(matches!(refused, AppendError::Full(_)), "{refused}");
    assert_eq!(bodies(&store, "T", 0), numbered(0..n));
    disk.set_capacity(1 << 24);
    fill(&store, n..n + 50);
    assert_eq!(bodies(&store, "T", 0), numbered(0..n + 50));
}

#[test]
fn the_watermark_refuses_writes_before_the_disk_is_full() {
    let disk = MemoryDisk::new(20 * SEGMENT);
    let store = open(&disk);
    fill(&store, 0..20);
    disk.set_capacity(SEGMENT);
    store.look_after_space(0);
    assert!(matches!(append(&store, "T", 0, b"x", 1), Err(AppendError::Full(_))));
    disk.set_capacity(1 << 24);
    store.look_after_space(0);
    let next = store.queue("T", 0).unwrap().next();
    assert_eq!(append(&store, "T", 0, b"x", 1).unwrap(), next);
}

#[test]
fn a_failed_write_leaves_no_trace_and_the_offsets_stay_dense() {
    for fault in [Fault::ShortWrite, Fault::NoSpace] {
        let memory = MemoryDisk::new(1 << 24);
        let disk = FaultyDisk::new(Arc::new(memory.clone()));
        let store = open(&disk);
        fill(&store, 0..3);
        disk.begin(fault);
        let all = numbered(3..6);
        let slices: Vec<&[u8]> = all.iter().map(|b| b.as_slice()).collect();
        assert!(append_all(&store, "T", 0, &slices, 1).is_err());
        assert!(append(&store, "T", 0, b"also refused", 1).is_err());
        disk.end(fault);
        assert_eq!(append(&store, "T", 0, &numbered(3..4)[0], 1).unwrap(), 3);
        drop(store);
        let store = open(&memory);
        assert_eq!(bodies(&store, "T", 0), numbered(0..4), "{fault:?}");
    }
}

#[test]
fn a_failed_sync_stops_the_store_for_good_and_moves_no_flushed_offset() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new(1 << 24)));
    let store = open(&disk);
    fill(&store, 0..3);
    let before = store.flushed_offset();
    disk.begin(Fault::FailedSync);
    store.flush_now();
    disk.end(Fault::FailedSync);
    store.flush_now();
    assert_eq!(store.flushed_offset(), before);
    assert!(store.stopped().borrow().is_some());
    assert!(matches!(append(&store, "T", 0, b"x", 1), Err(AppendError::Stopped(_))));
}

#[test]
fn a_failed_rename_of_an_index_costs_nothing_but_a_retry() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new(1 << 24)));
    let store = open(&disk);
    disk.begin(Fault::FailedRename);
    fill(&store, 0..60);
    store.look_after_space(0);
    assert_eq!(bodies(&store, "T", 0), numbered(0..60));
    disk.end(Fault::FailedRename);
    store.look_after_space(0);
    drop(store);
    assert_eq!(bodies(&open(&disk), "T", 0), numbered(0..60));
}

#[test]
fn reads_that_would_wait_say_so_and_succeed_when_waiting_is_allowed() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new(1 << 24)));
    let store = open(&disk);
    fill(&store, 0..5);
    store.close();
    drop(store);
    let store = open(&disk);
    disk.begin(Fault::ColdReads);
    let mut entries = Vec::new();
    store.queue("T", 0).unwrap().entries(0, 5, false, &mut entries).unwrap();
    let mut out = b"before".to_vec();
    assert!(matches!(store.read_entries(&entries, false, &mut out), Err(store::ReadError::WouldBlock)));
    assert_eq!(out, b"before");
    store.read_entries(&entries, true, &mut out).unwrap();
    assert!(out.len() > 5 * 300);
}

#[test]
fn two_stores_cannot_use_one_folder() {
    let disk = MemoryDisk::new(1 << 24);
    let store = open(&disk);
    assert!(matches!(Store::open(config(), Arc::new(disk.clone())), Err(OpenError::Locked(_))));
    drop(store);
    open(&disk);
}

#[test]
fn a_missing_segment_in_the_middle_is_named() {
    let disk = MemoryDisk::new(1 << 24);
    let store = open(&disk);
    fill(&store, 0..100);
    drop(store);
    disk.remove(Path::new("/s/commitlog/00000000000000008192")).unwrap();
    let Err(OpenError::Gap { end, next }) = Store::open(config(), Arc::new(disk.clone())) else { panic!() };
    assert_eq!((end, next), (8192, 16384));
}

#[test]
fn offsets_are_found_by_store_time() {
    let store = open(&MemoryDisk::new(1 << 24));
    for i in 0..100 {
        append(&store, "T", 0, &numbered(i..i + 1)[0], 1000 + 10 * i as i64).unwrap();
    }
    store.look_after_space(0);
    let queue = store.queue("T", 0).unwrap();
    for (ms, want) in [(0, 0), (1000, 0), (1001, 1), (1500, 50), (1495, 50), (1990, 99), (1991, 100)] {
        assert_eq!(store.offset_at_or_after(&queue, ms).unwrap(), want, "at {ms}");
    }
}

#[test]
fn a_clock_that_goes_back_does_not_take_store_times_back() {
    let store = open(&MemoryDisk::new(1 << 24));
    append(&store, "T", 0, b"a", 500).unwrap();
    append(&store, "T", 0, b"b", 400).unwrap();
    assert_eq!(store.last_store_time(), 500);
}

#[test]
fn a_check_tells_sound_from_damaged() {
    let disk = MemoryDisk::new(1 << 24);
    let store = open(&disk);
    fill(&store, 0..100);
    store.close();
    drop(store);
    let sound = store::check::check(&disk, Path::new("/s")).unwrap();
    assert_eq!(sound.problems, Vec::<String>::new());
    assert_eq!(sound.segments.iter().map(|s| s.records).sum::<u64>(), 100);
    let file = disk.open(Path::new("/s/commitlog/00000000000000000000"), Create::No).unwrap();
    file.write_at(b"!", 120).unwrap();
    assert_eq!(store::check::check(&disk, Path::new("/s")).unwrap().problems.len(), 1);
}

#[test]
fn a_start_that_reads_records_and_opens_segments_shows_its_progress() {
    let disk = MemoryDisk::new(1 << 24);
    let steps = |disk: &MemoryDisk| {
        let steps = std::cell::Cell::new(0);
        let count = || steps.set(steps.get() + 1);
        Store::open_watched(config(), Arc::new(disk.clone()), &count).unwrap();
        steps.get()
    };
    let when_empty = steps(&disk);
    let store = open(&disk);
    fill(&store, 0..10);
    // Ended like a killed process: all of it is read again.
    drop(store);
    assert!(steps(&disk) >= when_empty + 10, "each record is a step");
}
