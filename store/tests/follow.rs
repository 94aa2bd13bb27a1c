//! A follower's store beside its master's: the same bytes, the same queues, the same keys.

#![allow(clippy::unwrap_used)]

mod harness;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use harness::{Chance, TAGS_CODE, append, assert_same, content, copy_of, fill, follow, numbered, numbers};
use protocol::message::{self, MAGIC_BLANK, NewRecord};
use store::disk::faulty::{Fault, FaultyDisk};
use store::disk::memory::MemoryDisk;
use store::disk::{Disk, read_all};
use store::retention::RetentionPolicy;
use store::{AppendError, AppendLogError, LogRead, Queue, ReadError, Store, StoreConfig};

const SEGMENT: u64 = 8192;

fn config() -> StoreConfig {
    let retention = RetentionPolicy { delete_hours: (0..24).collect(), ..Default::default() };
    StoreConfig { segment_bytes: SEGMENT, max_record_bytes: 4096, retention, ..StoreConfig::new("/s") }
}

fn open(disk: &(impl Disk + Clone + 'static)) -> Arc<Store> {
    Store::open(config(), Arc::new(disk.clone())).unwrap()
}

fn empty() -> (MemoryDisk, Arc<Store>) {
    let disk = MemoryDisk::new(1 << 26);
    let store = open(&disk);
    (disk, store)
}

/// A record as it stands in the log.
fn record(topic: &str, queue_offset: u64, physical: u64, sys_flag: i32) -> Vec<u8> {
    record_of(topic, queue_offset, physical, sys_flag, b"00000000")
}

fn record_of(topic: &str, queue_offset: u64, physical: u64, sys_flag: i32, body: &[u8]) -> Vec<u8> {
    let record = NewRecord {
        topic,
        queue_id: 0,
        flag: 0,
        sys_flag,
        born_timestamp: 1,
        born_host: "127.0.0.1:1".parse().unwrap(),
        store_host: "127.0.0.1:2".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: "KEYS\u{1}k\u{2}TAGS\u{1}a",
        more_properties: "",
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    message::assign(&mut bytes, queue_offset as i64, physical as i64, 1000);
    bytes
}

/// What ends a segment, with something behind its head.
fn blank(size: u64, padding: u8) -> Vec<u8> {
    let mut bytes = vec![padding; size as usize];
    bytes[..4].copy_from_slice(&(size as u32).to_be_bytes());
    bytes[4..8].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
    bytes
}

fn none(_: &Arc<Queue>, _: i64) {}

fn log(disk: &MemoryDisk, base: u64) -> Vec<u8> {
    read_all(disk, &Path::new("/s/commitlog").join(format!("{base:020}"))).unwrap().unwrap()
}

#[test]
fn a_follower_has_its_masters_bytes_queues_and_keys_and_is_told_of_every_message() {
    let (master_disk, master) = empty();
    let (disk, follower) = empty();
    let mut chance = Chance::new(1);
    for n in 0..300 {
        let len = if chance.percent(10) { 3000 } else { chance.below(500) };
        append(&master, ["A", "B"][n as usize % 2], n as u32 % 3, &numbered(n, len as usize), 5000).unwrap();
    }
    let told = follow(&master, &follower, &mut chance).unwrap();
    assert_eq!(told.len(), 300);
    assert_eq!(told[1], ("B".to_owned(), 1, TAGS_CODE));
    assert!(master.written() > 5 * SEGMENT);
    assert_same((&master, &master_disk), (&follower, &disk));
    assert_eq!(follower.last_store_time(), 5000);
    assert_eq!(follower.last_record().unwrap(), master.last_record().unwrap());
    follower.close();
    drop(follower);
    let follower = open(&disk);
    assert_eq!(follower.opened().scanned, 0, "a follower seals when it is closed");
    assert_same((&master, &master_disk), (&follower, &disk));
    master.close();
    drop(master);
    assert_same((&open(&master_disk), &master_disk), (&follower, &disk));
}

#[test]
fn a_blank_takes_a_follower_to_its_next_segment_before_anything_stands_there() {
    let (master_disk, master) = empty();
    fill(&master, 0..20);
    let first = log(&master_disk, 0);
    let (_, follower) = empty();
    assert_eq!(store::whole_records(&first, 4096).unwrap().len, SEGMENT as usize);
    assert_eq!(follower.append_log(0, &first, &mut none).unwrap(), SEGMENT);
    assert_eq!((follower.written(), follower.is_empty_log()), (SEGMENT, false));
    assert_eq!(follower.read_log(SEGMENT, 10, false, &mut Vec::new()).unwrap().bytes, 0);
}

#[test]
fn a_follower_may_become_the_master_and_goes_on_where_the_queues_are() {
    let (_, master) = empty();
    fill(&master, 0..50);
    append(&master, "U", 2, &numbered(0, 10), 1).unwrap();
    let (disk, follower) = empty();
    // Made by a reader that waits, before there was a message.
    let early = follower.queue_or_create("T", 0).unwrap();
    follow(&master, &follower, &mut Chance::new(2)).unwrap();
    assert_eq!(early.next(), 50);
    assert_eq!(append(&follower, "T", 0, &numbered(50, 10), 1).unwrap().queue_offset, 50);
    assert_eq!(append(&follower, "U", 2, &numbered(1, 10), 1).unwrap().queue_offset, 1);
    drop(follower);
    assert_eq!(numbers(&open(&disk), "T", 0), (0..51).collect::<Vec<_>>());
}

#[test]
fn a_log_that_starts_late_has_queues_that_begin_late() {
    let (master_disk, master) = empty();
    fill(&master, 0..100);
    let (disk, follower) = empty();
    follower.start_over(2 * SEGMENT).unwrap();
    assert!(follower.is_empty_log());
    follow(&master, &follower, &mut Chance::new(3)).unwrap();
    assert_same((&master, &master_disk), (&follower, &disk));
    let (min, next) = follower.queue("T", 0).unwrap().bounds();
    assert!(min > 0 && next == 100, "{min} {next}");
    drop(follower);
    let follower = open(&disk);
    assert_eq!(follower.queue("T", 0).unwrap().bounds(), (min, next));
    assert_eq!(append(&follower, "T", 0, &numbered(100, 10), 1).unwrap().queue_offset, 100);
}

#[test]
fn a_blank_is_kept_with_whatever_stands_behind_its_head() {
    let (disk, follower) = empty();
    let first = record("T", 0, 0, 0);
    let ending = blank(SEGMENT - first.len() as u64, 7);
    let second = record("T", 1, SEGMENT, 0);
    let all = [first, ending, second].concat();
    let end = all.len() as u64;
    assert_eq!(follower.append_log(0, &all, &mut none).unwrap(), end);
    assert_eq!(log(&disk, 0), all[..SEGMENT as usize]);
    let mut read = Vec::new();
    while (read.len() as u64) < end {
        follower.read_log(read.len() as u64, 1000, true, &mut read).unwrap();
    }
    assert!(read == all);
    drop(follower);
    let follower = open(&disk);
    assert_eq!((follower.written(), numbers(&follower, "T", 0)), (end, vec![0, 0]));
}

#[test]
fn what_does_not_belong_there_is_refused_as_a_whole() {
    let (disk, follower) = empty();
    fill(&follower, 0..3);
    let end = follower.written();
    let before = log(&disk, 0);
    let good = record("T", 3, end, 0);
    let behind = end + good.len() as u64;
    let torn = {
        let mut r = record("T", 4, behind, 0);
        r[90] ^= 1;
        r
    };
    let zero_end = {
        let mut r = record("T", 4, behind, 0);
        let len = r.len();
        r[len - 1] = 0;
        r
    };
    let with = |second: Vec<u8>| [good.clone(), second].concat();
    let cases = [
        (with(record("T", 4, behind + 1, 0)), "record of another position"),
        (with(torn), "body checksum"),
        (with(zero_end), "properties cut short"),
        (with(vec![0; 50]), "zeros"),
        (with(vec![3; 50]), "magic"),
        (with(vec![3; 5]), "record cut short"),
        (with(record("T", 4, behind, 0)[..70].to_vec()), "record cut short"),
        (with(blank(SEGMENT - behind, 0)[..100].to_vec()), "blank cut short"),
    ];
    for (bytes, expected) in cases {
        let Err(AppendLogError::Malformed { at, why }) = follower.append_log(end, &bytes, &mut none) else {
            panic!("{expected} was taken");
        };
        assert_eq!((at, why), (behind, expected));
    }
    for at in [end - 1, end + 1, 0, u64::MAX] {
        let Err(AppendLogError::Misplaced { at: named, end: ours }) =
            follower.append_log(at, &good, &mut none)
        else {
            panic!("{at} was taken");
        };
        assert_eq!((named, ours), (at, end));
    }
    assert_eq!((follower.written(), log(&disk, 0) == before), (end, true));
    assert_eq!(follower.append_log(end, &[], &mut none).unwrap(), end);
    assert_eq!(follower.append_log(end, &good, &mut none).unwrap(), behind);
}

#[test]
fn segments_of_another_size_are_named_with_the_remedy() {
    let other = |segment_bytes| {
        let config = StoreConfig { segment_bytes, ..config() };
        let store = Store::open(config, Arc::new(MemoryDisk::new(1 << 26))).unwrap();
        fill(&store, 0..100);
        store
    };
    for size in [SEGMENT / 2, SEGMENT * 2] {
        let (_, follower) = empty();
        let Err(e) = follow(&other(size), &follower, &mut Chance::new(4)) else { panic!("{size} was taken") };
        assert!(matches!(e, AppendLogError::SegmentSize { at, ours: SEGMENT } if at < SEGMENT), "{e}");
        assert!(e.to_string().contains("mappedFileSizeCommitLog=8192"), "{e}");
        let (written, there) = (follower.written(), numbers(&follower, "T", 0));
        assert!(written < SEGMENT && there == (0..there.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn a_record_that_leaves_no_room_for_a_blank_is_not_of_a_master_with_our_segments() {
    for (left, fits) in [(8, true), (7, false), (0, false)] {
        let (_, follower) = empty();
        let head = record_of("T", 0, 0, 0, b"").len();
        let record = record_of("T", 0, 0, 0, &numbered(0, SEGMENT as usize - head - left));
        assert_eq!(record.len(), SEGMENT as usize - left);
        let appended = follower.append_log(0, &record, &mut none);
        if fits {
            assert_eq!(appended.unwrap(), SEGMENT - 8);
            assert_eq!(append(&follower, "T", 0, &numbered(1, 10), 1).unwrap().physical, SEGMENT);
        } else {
            assert!(matches!(appended, Err(AppendLogError::SegmentSize { at: 0, .. })), "{left}");
        }
    }
}

#[test]
fn a_deletion_before_the_logs_begin_changes_nothing() {
    let (_, follower) = empty();
    fill(&follower, 0..60);
    follower.look_after_space(i64::MAX / 2);
    assert!(follower.begin() > 0);
    assert!(!follower.drop_topic_at("T", follower.begin() - 1).unwrap());
    let queue = follower.queue("T", 0).unwrap();
    assert_eq!((queue.next(), queue.is_removed(), follower.dropped()), (60, false, [].into()));
    assert!(follower.drop_topic_at("T", follower.begin()).unwrap());
    assert!(queue.is_removed());
}

#[test]
fn prepared_and_rolled_back_records_are_in_no_queue() {
    let (disk, follower) = empty();
    let mut bytes = Vec::new();
    for (sys_flag, queue_offset) in [(12, 0), (4, 0), (0, 0), (8, 1), (0, 2)] {
        bytes.extend(record("T", queue_offset, bytes.len() as u64, sys_flag));
    }
    let mut told = 0;
    follower.append_log(0, &bytes, &mut |_, _| told += 1).unwrap();
    assert_eq!(told, 3);
    for follower in [open(&copy_of(&disk)), follower] {
        let flags: Vec<i32> = content(&follower, "T", 0)
            .iter()
            .map(|(e, _)| {
                let bytes = follower.read_record(e.physical).unwrap();
                i32::from_be_bytes(bytes[36..40].try_into().unwrap())
            })
            .collect();
        assert_eq!(flags, [0, 8, 0]);
        assert_eq!(follower.find_by_key("T", "k", 0..=i64::MAX, 9).unwrap().len(), 4);
    }
}

#[test]
fn records_of_a_deleted_topic_are_kept_but_in_no_queue() {
    let (master_disk, master) = empty();
    fill(&master, 0..10);
    let begun = master.written();
    fill(&master, 10..40);
    master.delete_topic("T").unwrap();
    let end = master.written();
    fill(&master, 100..103);
    append(&master, "U", 0, &numbered(1, 10), 1).unwrap();
    for when in ["before", "between", "in time", "late"] {
        let (disk, follower) = empty();
        let drop_it = |now: &str| now == when && follower.drop_topic_at("T", end).unwrap();
        drop_it("before");
        for until in [begun, end, master.written()] {
            let mut bytes = Vec::new();
            while follower.written() + (bytes.len() as u64) < until {
                let at = follower.written() + bytes.len() as u64;
                let max = (until - at) as usize;
                master.read_log(at, max, true, &mut bytes).unwrap();
            }
            follower.append_log(follower.written(), &bytes, &mut none).unwrap();
            drop_it(if until == begun {
                "between"
            } else if until == end {
                "in time"
            } else {
                "late"
            });
        }
        assert_eq!(follower.dropped(), [("T".to_owned(), end)].into());
        assert!(!follower.drop_topic_at("T", end).unwrap() && !follower.drop_topic_at("T", end - 1).unwrap());
        assert_same((&master, &master_disk), (&follower, &disk));
        follower.look_after_space(0);
        assert_same((&master, &master_disk), (&follower, &disk));
        drop(follower);
        let follower = open(&disk);
        assert_eq!(numbers(&follower, "T", 0), [100, 101, 102], "{when}");
        assert_same((&master, &master_disk), (&follower, &disk));
    }
}

#[test]
fn a_deletion_that_comes_very_late_makes_sealed_indexes_anew() {
    let (master_disk, master) = empty();
    fill(&master, 0..30);
    master.delete_topic("T").unwrap();
    let end = master.written();
    fill(&master, 100..190);
    let (disk, follower) = empty();
    follow(&master, &follower, &mut Chance::new(5)).unwrap();
    follower.look_after_space(0);
    let old = follower.queue("T", 0).unwrap();
    follower.drop_topic_at("T", end).unwrap();
    assert!(old.is_removed());
    assert_same((&master, &master_disk), (&follower, &disk));
    for close in [false, true] {
        let copy = open(&copy_of(&disk));
        assert_same((&master, &master_disk), (&copy, &disk));
        if close {
            copy.close();
        }
    }
    follower.look_after_space(0);
    drop(follower);
    let follower = open(&disk);
    assert!(follower.opened().scanned <= SEGMENT, "complete segments were sealed again");
    assert_same((&master, &master_disk), (&follower, &disk));
}

#[test]
fn a_deletion_lets_no_idle_queue_forget_what_comes_next() {
    let (master_disk, master) = empty();
    append(&master, "idle", 0, &numbered(0, 10), 1).unwrap();
    fill(&master, 0..60);
    let (disk, follower) = empty();
    follow(&master, &follower, &mut Chance::new(8)).unwrap();
    follower.look_after_space(i64::MAX / 2);
    assert!(follower.begin() > SEGMENT && content(&follower, "idle", 0).is_empty());
    follower.close();
    drop(follower);
    let follower = open(&disk);
    append(&master, "U", 0, &numbered(0, 10), 1).unwrap();
    master.delete_topic("T").unwrap();
    let end = master.written();
    append(&master, "U", 0, &numbered(1, 10), 1).unwrap();
    follow(&master, &follower, &mut Chance::new(8)).unwrap();
    assert!(follower.drop_topic_at("T", end).unwrap());
    // Killed.
    drop(follower);
    let follower = open(&disk);
    assert_eq!(follower.queue("idle", 0).map(|queue| queue.bounds()), Some((1, 1)));
    assert_same((&master, &master_disk), (&follower, &disk));
}

#[test]
fn a_range_ends_with_its_segment_with_the_log_and_with_what_was_asked_for() {
    let (_, store) = empty();
    fill(&store, 0..30);
    let end = store.written();
    let mut out = b"before".to_vec();
    assert_eq!(store.read_log(0, 100, false, &mut out).unwrap(), LogRead { bytes: 100, from_memory: true });
    assert_eq!(out.len(), 106);
    let last = store.read_log(end - 10, 100, false, &mut out).unwrap();
    assert_eq!(last, LogRead { bytes: 10, from_memory: true });
    assert_eq!(store.read_log(end, 100, false, &mut out).unwrap().bytes, 0);
    let mut at = 0;
    out.clear();
    while at < SEGMENT {
        at += store.read_log(at, usize::MAX, true, &mut out).unwrap().bytes as u64;
    }
    assert_eq!(at, SEGMENT);
    let blank = out.len() - store::whole_records(&out, 4096).unwrap().len;
    assert_eq!(blank, 0, "the blank is whole");
    let last = content(&store, "T", 0).into_iter().rfind(|(e, _)| e.physical < SEGMENT).unwrap().0;
    let blank = last.physical + last.size as u64;
    let read = store.read_log(blank, usize::MAX, true, &mut Vec::new()).unwrap();
    assert_eq!(read, LogRead { bytes: (SEGMENT - blank) as usize, from_memory: false });
}

#[test]
fn a_range_outside_of_the_log_is_refused_and_a_cold_one_says_so() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new(1 << 26)));
    let store = open(&disk);
    fill(&store, 0..60);
    store.look_after_space(i64::MAX / 2);
    let (begin, end) = (store.begin(), store.written());
    assert!(begin > 0);
    let mut out = b"before".to_vec();
    for at in [0, begin - 1, end + 1, u64::MAX] {
        let Err(ReadError::Outside { at: named, begin: b, end: e }) = store.read_log(at, 10, true, &mut out)
        else {
            panic!("{at} was read");
        };
        assert_eq!((named, b, e), (at, begin, end));
    }
    store.close();
    drop(store);
    let store = open(&disk);
    disk.begin(Fault::ColdReads);
    assert!(matches!(store.read_log(begin, 10, false, &mut out), Err(ReadError::WouldBlock)));
    assert_eq!(out, b"before");
    assert_eq!(store.read_log(begin, 10, true, &mut out).unwrap(), LogRead { bytes: 10, from_memory: false });
    disk.begin(Fault::FailedRead);
    assert!(matches!(store.read_log(begin, 10, true, &mut out), Err(ReadError::Io { .. })));
    assert_eq!(out.len(), 16);
}

#[test]
fn a_failed_append_of_a_follower_leaves_no_trace_and_is_made_up_for() {
    for fault in [Fault::ShortWrite, Fault::NoSpace] {
        let (master_disk, master) = empty();
        fill(&master, 0..60);
        let memory = MemoryDisk::new(1 << 26);
        let disk = FaultyDisk::new(Arc::new(memory.clone()));
        let follower = open(&disk);
        let mut chance = Chance::new(6);
        for part in 0..20 {
            disk.begin(fault);
            let _ = follow(&master, &follower, &mut chance).unwrap_err();
            disk.end(fault);
            // A little further, so that the next failure is elsewhere: records, blanks, new segments.
            let mut bytes = Vec::new();
            let at = follower.written();
            master.read_log(at, 700 + 40 * part, true, &mut bytes).unwrap();
            let whole = store::whole_records(&bytes, 1 << 20).unwrap().len;
            follower.append_log(at, &bytes[..whole], &mut none).unwrap();
            if part % 5 == 4 {
                let copy = memory.clone();
                let end = follower.written();
                assert_eq!(
                    store::check::check(&copy, Path::new("/s")).unwrap().segments.last().unwrap().end,
                    end
                );
            }
        }
        follow(&master, &follower, &mut chance).unwrap();
        assert_same((&master, &master_disk), (&follower, &memory));
    }
}

#[test]
fn what_a_failed_blank_left_is_gone_when_the_follower_goes_on_as_a_master() {
    let memory = MemoryDisk::new(1 << 26);
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    let follower = open(&disk);
    let first = record("T", 0, 0, 0);
    let at = first.len() as u64;
    follower.append_log(0, &first, &mut none).unwrap();
    disk.begin(Fault::ShortWrite);
    assert!(follower.append_log(at, &blank(SEGMENT - at, 7), &mut none).is_err());
    disk.heal();
    assert!(log(&memory, 0)[at as usize..].contains(&7), "the fault has written something");
    append(&follower, "T", 0, &numbered(0, 10), 1).unwrap();
    assert_eq!(log(&memory, 0)[follower.written() as usize..].iter().max(), Some(&0));
}

#[test]
fn a_follower_on_a_full_disk_or_closed_takes_nothing() {
    let (_, master) = empty();
    fill(&master, 0..30);
    let (disk, follower) = empty();
    disk.set_capacity(SEGMENT);
    follower.look_after_space(0);
    let refused = follow(&master, &follower, &mut Chance::new(7)).unwrap_err();
    assert!(matches!(refused, AppendLogError::Append(AppendError::Full(_))), "{refused}");
    disk.set_capacity(1 << 26);
    follower.look_after_space(0);
    follow(&master, &follower, &mut Chance::new(7)).unwrap();
    fill(&master, 30..31);
    follower.close();
    let refused = follow(&master, &follower, &mut Chance::new(7)).unwrap_err();
    assert!(matches!(refused, AppendLogError::Append(AppendError::Stopped(_))), "{refused}");
}

#[test]
fn a_master_that_repeats_queue_offsets_is_stored_and_the_first_message_stays() {
    let (_, follower) = empty();
    let mut bytes = Vec::new();
    for queue_offset in [0, 1, 1, 0, 2] {
        bytes.extend(record("T", queue_offset, bytes.len() as u64, 0));
    }
    let mut told = 0;
    follower.append_log(0, &bytes, &mut |_, _| told += 1).unwrap();
    let size = bytes.len() as u64 / 5;
    let physical: Vec<u64> = content(&follower, "T", 0).iter().map(|(e, _)| e.physical).collect();
    assert_eq!((told, physical), (3, vec![0, size, 4 * size]));
}

#[test]
fn whoever_waits_for_the_end_of_the_log_to_move_is_woken_by_everything_that_moves_it() {
    type Act = fn(&Store);
    let acts: [(&str, Act); 4] = [
        ("append", |s| fill(s, 0..1)),
        ("append that stores a part", |s| {
            let mut batch = store::Batch::default();
            harness::push(s, &mut batch, "T", 0, "k", &numbered(0, 3000));
            harness::push(s, &mut batch, "T", 0, "k", &numbered(0, 9000));
            assert!(s.append(&mut batch, 1).is_err());
        }),
        ("append_log", |s| {
            let at = s.written();
            s.append_log(at, &record("X", 0, at, 0), &mut none).unwrap();
        }),
        ("start_over", |s| s.start_over(5 * SEGMENT).unwrap()),
    ];
    for (what, act) in acts {
        let (_, store) = empty();
        fill(&store, 0..1);
        let mut waiting = pin!(store.appended().notified());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending, "{what}");
        let before = store.written();
        act(&store);
        assert_ne!(store.written(), before);
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(()), "{what}");
    }
}
