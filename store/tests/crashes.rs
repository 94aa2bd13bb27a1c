//! Ends at bad moments, each named after what went wrong once, or would.

#![allow(clippy::unwrap_used)]

mod harness;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness::{append, content, fill, numbered, numbers};
use store::disk::faulty::{Fault, FaultyDisk};
use store::disk::memory::MemoryDisk;
use store::disk::{Create, Disk, read_all};
use store::retention::RetentionPolicy;
use store::{AppendError, Entry, OpenError, ReadError, Store, StoreConfig};

const SEGMENT: u64 = 8192;

fn config() -> StoreConfig {
    let retention = RetentionPolicy { delete_hours: (0..24).collect(), ..Default::default() };
    StoreConfig { segment_bytes: SEGMENT, max_record_bytes: 4096, retention, ..StoreConfig::new("/s") }
}

fn open(disk: &(impl Disk + Clone + 'static)) -> Arc<Store> {
    Store::open(config(), Arc::new(disk.clone())).unwrap()
}

fn disks() -> (MemoryDisk, FaultyDisk) {
    let memory = MemoryDisk::new(1 << 24);
    (memory.clone(), FaultyDisk::new(Arc::new(memory)))
}

fn log(base: u64) -> PathBuf {
    format!("/s/commitlog/{base:020}").into()
}

fn index(base: u64) -> PathBuf {
    format!("/s/index/{base:020}.idx").into()
}

fn overwrite(disk: &MemoryDisk, path: &Path, bytes: &[u8], at: u64) {
    disk.open(path, Create::No).unwrap().write_at(bytes, at).unwrap();
}

#[test]
fn a_lower_record_limit_after_a_kill_cuts_nothing() {
    let (disk, _) = disks();
    let store = open(&disk);
    append(&store, "T", 0, &numbered(0, 3000), 1).unwrap();
    append(&store, "T", 0, &numbered(1, 10), 1).unwrap();
    drop(store);
    let smaller = StoreConfig { max_record_bytes: 1024, ..config() };
    let store = Store::open(smaller, Arc::new(disk)).unwrap();
    assert_eq!(numbers(&store, "T", 0), [0, 1]);
}

#[test]
fn a_topic_whose_deletion_found_no_space_keeps_what_is_sent_to_it_later() {
    let (memory, disk) = disks();
    let store = open(&disk);
    fill(&store, 0..5);
    disk.begin(Fault::NoSpace);
    assert!(store.delete_topic("T").is_err());
    disk.heal();
    fill(&store, 5..8);
    assert_eq!(numbers(&store, "T", 0), (0..8).collect::<Vec<_>>());
    drop(store);
    assert_eq!(numbers(&open(&memory), "T", 0), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_deletion_that_outlived_power_loss_does_not_cover_what_is_appended_later() {
    for seed in 0..20 {
        let (disk, _) = disks();
        let store = open(&disk);
        fill(&store, 0..40);
        store.delete_topic("T").unwrap();
        drop(store);
        disk.lose_power(seed);
        let store = open(&disk);
        fill(&store, 100..103);
        assert_eq!(append(&store, "T", 0, &numbered(103, 10), 1).unwrap().queue_offset, 3);
        drop(store);
        assert_eq!(numbers(&open(&disk), "T", 0), (100..104).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_kill_at_any_change_of_a_start_leaves_a_store_that_starts() {
    for changes in 0..60 {
        let (memory, disk) = disks();
        let store = open(&disk);
        fill(&store, 0..30);
        drop(store);
        let spare = memory.open(&log(2 * SEGMENT), Create::IfMissing).unwrap();
        spare.allocate(SEGMENT).unwrap();
        disk.die_after(changes);
        let _ = Store::open(config(), Arc::new(disk.clone()));
        assert_eq!(
            numbers(&open(&memory), "T", 0),
            (0..30).collect::<Vec<_>>(),
            "killed after {changes} changes"
        );
    }
}

#[test]
fn a_damaged_segment_before_sealed_ones_is_named_and_nothing_is_removed() {
    let (disk, _) = disks();
    let store = open(&disk);
    fill(&store, 0..100);
    store.look_after_space(0);
    drop(store);
    let before = disk.list(Path::new("/s/commitlog")).unwrap();
    disk.remove(&index(SEGMENT)).unwrap();
    overwrite(&disk, &log(SEGMENT), b"#", 600);
    let Err(OpenError::Damaged { segment, at, .. }) = Store::open(config(), Arc::new(disk.clone())) else {
        panic!()
    };
    assert!(segment == SEGMENT && at < SEGMENT + 600);
    assert_eq!(disk.list(Path::new("/s/commitlog")).unwrap(), before);
}

#[test]
fn what_stands_behind_a_page_lost_to_power_loss_never_comes_back() {
    let (disk, _) = disks();
    let store = open(&disk);
    fill(&store, 0..1);
    store.close();
    drop(store);
    let store = open(&disk);
    let lost = append(&store, "T", 0, &numbered(1, 308), 1).unwrap();
    append(&store, "T", 0, &numbered(2, 308), 1).unwrap();
    drop(store);
    overwrite(&disk, &log(0), &vec![0; lost.size as usize], lost.physical);
    let store = open(&disk);
    append(&store, "T", 0, &numbered(3, 308), 1).unwrap();
    drop(store);
    assert_eq!(numbers(&open(&disk), "T", 0), [0, 3]);
}

#[test]
fn a_record_torn_behind_its_body_is_not_taken_for_whole() {
    let (disk, _) = disks();
    let store = open(&disk);
    fill(&store, 0..1);
    let torn = append(&store, "T", 0, &numbered(1, 308), 1).unwrap();
    drop(store);
    for zeros in 1..20 {
        let at = torn.physical + torn.size as u64 - zeros;
        overwrite(&disk, &log(0), &vec![0; zeros as usize], at);
        let copy = open(&disk);
        assert_eq!(numbers(&copy, "T", 0), [0], "{zeros} bytes are missing");
    }
}

#[test]
fn a_seal_tried_again_writes_a_whole_index() {
    let (memory, disk) = disks();
    let store = open(&disk);
    fill(&store, 0..30);
    store.look_after_space(i64::MAX / 2);
    assert!(store.begin() > 0, "an index file without a segment is left over");
    fill(&store, 30..60);
    disk.begin(Fault::FailedRemove);
    store.look_after_space(0);
    disk.heal();
    store.look_after_space(0);
    let there = numbers(&store, "T", 0);
    let active = store.written() % SEGMENT;
    drop(store);
    let store = open(&memory);
    assert_eq!(store.opened().scanned, active, "only the last segment is scanned");
    assert_eq!(numbers(&store, "T", 0), there);
}

#[test]
fn an_index_file_ahead_of_a_log_put_back_is_not_believed_later() {
    let (disk, _) = disks();
    let store = open(&disk);
    fill(&store, 0..100);
    store.look_after_space(0);
    drop(store);
    for base in
        disk.list(Path::new("/s/commitlog")).unwrap().iter().filter_map(|n| n.parse().ok()).filter(|b| *b > 0)
    {
        disk.remove(&log(base)).unwrap();
    }
    let kept = numbers(&open(&disk), "T", 0).len() as u64;
    let store = open(&disk);
    (kept..kept + 100).for_each(|n| _ = append(&store, "T", 0, &numbered(n, 200), 1).unwrap());
    drop(store);
    assert_eq!(numbers(&open(&disk), "T", 0), (0..kept + 100).collect::<Vec<_>>());
}

#[test]
fn an_old_index_that_power_loss_brought_back_does_not_count_a_new_topics_messages() {
    let (disk, _) = disks();
    let store = open(&disk);
    fill(&store, 0..30);
    store.look_after_space(0);
    let old = read_all(&disk, &index(0)).unwrap().unwrap();
    store.delete_topic("T").unwrap();
    let later = 1000 + config().retention.reserved_ms + 1;
    for n in 60..140 {
        let time = if n < 100 { 1000 } else { later };
        append(&store, if n < 130 { "V" } else { "T" }, 0, &numbered(n, 308), time).unwrap();
    }
    store.look_after_space(later + 1);
    assert!(store.begin() > 0 && disk.open(&index(0), Create::No).is_err());
    // Forgets the deletion of T, of which the log holds nothing any more.
    store.delete_topic("U").unwrap();
    drop(store);
    disk.open(&index(0), Create::Fresh).unwrap().write_at(&old, 0).unwrap();
    let store = open(&disk);
    assert_eq!(numbers(&store, "T", 0), (130..140).collect::<Vec<_>>());
    assert_eq!(append(&store, "T", 0, &numbered(140, 10), later).unwrap().queue_offset, 10);
}

#[test]
fn a_start_on_a_full_disk_serves_what_is_there() {
    let (_, disk) = disks();
    let store = open(&disk);
    fill(&store, 0..30);
    drop(store);
    disk.begin(Fault::NoSpace);
    let store = open(&disk);
    assert_eq!(numbers(&store, "T", 0), (0..30).collect::<Vec<_>>());
    assert!(matches!(append(&store, "T", 0, b"refused!", 1), Err(AppendError::Full(_))));
    disk.heal();
    fill(&store, 30..60);
    assert_eq!(numbers(&store, "T", 0), (0..60).collect::<Vec<_>>());
}

#[test]
fn a_failed_sync_anywhere_stops_the_store() {
    type Act = fn(&Store);
    let acts: [(&str, Act); 4] = [
        ("flush", |s| s.flush_now()),
        ("seal", |s| s.look_after_space(0)),
        ("close", |s| s.close()),
        ("delete", |s| _ = s.delete_topic("T")),
    ];
    for (what, act) in acts {
        let (_, disk) = disks();
        let store = open(&disk);
        fill(&store, 0..30);
        let flushed = store.flushed_offset();
        // Deleting writes its note to a new file, whose sync may fail; the folder's may not.
        if what == "delete" {
            disk.die_after(4);
        } else {
            disk.begin(Fault::FailedSync);
        }
        act(&store);
        disk.heal();
        assert!(store.stopped().borrow().is_some(), "{what}");
        store.flush_now();
        store.look_after_space(0);
        store.close();
        assert_eq!(store.flushed_offset(), flushed, "{what}: no second try");
    }
}

#[test]
fn a_roll_whose_folder_is_not_synced_stops_the_store() {
    let (_, disk) = disks();
    let store = open(&disk);
    fill(&store, 0..18);
    // Open, allocate and sync the file; then the folder.
    disk.die_after(3);
    while append(&store, "T", 0, &numbered(0, 308), 1).is_ok() {
        disk.die_after(3);
    }
    assert!(store.stopped().borrow().is_some());
}

#[test]
fn a_rotten_index_entry_is_an_error_and_not_four_gigabytes() {
    let (disk, _) = disks();
    let store = open(&disk);
    fill(&store, 0..30);
    store.look_after_space(0);
    let mut at = [0; 8];
    disk.open(&index(0), Create::No).unwrap().read_at(&mut at, 48).unwrap();
    let entries_at = u64::from_be_bytes(at);
    for (field, bytes) in [(8, &[0xFF; 4][..]), (0, &[0xFF; 8][..]), (7, &[1][..])] {
        let mut good = vec![0; bytes.len()];
        disk.open(&index(0), Create::No).unwrap().read_at(&mut good, entries_at + field).unwrap();
        overwrite(&disk, &index(0), bytes, entries_at + field);
        let mut entries: Vec<Entry> = Vec::new();
        store.queue("T", 0).unwrap().entries(0, 2, true, &mut entries).unwrap();
        for wait in [true, false] {
            let mut out = Vec::new();
            let read = store.read_entries(&entries, wait, &mut out);
            assert!(matches!(read, Err(ReadError::Io { .. } | ReadError::Outside { .. })), "{read:?}");
            assert!(out.is_empty());
        }
        overwrite(&disk, &index(0), &good, entries_at + field);
    }
    assert_eq!(content(&store, "T", 0).len(), 30);
}

#[test]
fn segments_larger_than_positions_can_tell_are_refused() {
    let (disk, _) = disks();
    let too_large = StoreConfig { segment_bytes: 1 << 32, ..config() };
    let Err(OpenError::Io(e)) = Store::open(too_large, Arc::new(disk)) else { panic!() };
    assert_eq!(e.kind(), std::io::ErrorKind::InvalidInput);
}
