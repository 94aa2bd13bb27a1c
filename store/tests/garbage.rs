//! Whatever bytes a follower gets: none of them panics, what is refused changes nothing, and what is taken is what the
//! next start finds.

#![allow(clippy::unwrap_used)]

mod harness;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use harness::{append, copy_of, numbered};
use proptest::prelude::*;
use proptest::sample::Index;
use store::disk::memory::MemoryDisk;
use store::disk::{Create, Disk, read_all};
use store::{AppendLogError, Store, StoreConfig, whole_records};

const SEGMENT: u64 = 4096;

fn open(disk: &MemoryDisk) -> Arc<Store> {
    let config = StoreConfig { segment_bytes: SEGMENT, max_record_bytes: 2048, ..StoreConfig::new("/s") };
    Store::open(config, Arc::new(disk.clone())).unwrap()
}

/// A log of a few segments, and where records and blanks begin in it.
fn log() -> &'static (Vec<u8>, Vec<usize>) {
    static LOG: OnceLock<(Vec<u8>, Vec<usize>)> = OnceLock::new();
    LOG.get_or_init(|| {
        let store = open(&MemoryDisk::new(1 << 24));
        for n in 0..50 {
            append(&store, ["A", "B"][n as usize % 2], 0, &numbered(n, 20 + (n * 37 % 300) as usize), 1)
                .unwrap();
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < store.written() {
            store.read_log(bytes.len() as u64, 1 << 20, true, &mut bytes).unwrap();
        }
        let mut begins = vec![0];
        while begins[begins.len() - 1] < bytes.len() {
            let at = begins[begins.len() - 1];
            let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            begins.push(at + size);
        }
        (bytes, begins)
    })
}

#[derive(Debug, Clone)]
enum Damage {
    Byte(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, Vec<u8>),
    Zero(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let bytes = prop::collection::vec(any::<u8>(), 1..200);
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), 1..400usize).prop_map(|(at, n)| Damage::Remove(at, n)),
        1 => (at(), 1..400usize).prop_map(|(at, n)| Damage::Repeat(at, n)),
        1 => (at(), bytes).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (at(), 1..400usize).prop_map(|(at, n)| Damage::Zero(at, n)),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let range = |at: &Index, n: usize| {
        let at = at.index(bytes.len());
        at..(at + n).min(bytes.len())
    };
    match damage {
        Damage::Byte(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Remove(at, n) => _ = bytes.drain(range(at, *n)),
        Damage::Repeat(at, n) => {
            let again = bytes[range(at, *n)].to_vec();
            let behind = at.index(bytes.len());
            bytes.splice(behind..behind, again);
        }
        Damage::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Damage::Zero(at, n) => {
            let zeros = range(at, *n);
            bytes[zeros].fill(0);
        }
    }
}

fn files(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new("/s/commitlog");
    let names = disk.list(dir).unwrap();
    names.into_iter().map(|n| (n.clone(), read_all(disk, &dir.join(n)).unwrap().unwrap())).collect()
}

/// Gives bytes to a follower that has the log up to `at`.
fn give(at: usize, bytes: &[u8]) {
    let (good, _) = log();
    let disk = MemoryDisk::new(1 << 24);
    let follower = open(&disk);
    follower.append_log(0, &good[..at], &mut |_, _| {}).unwrap();
    let before = files(&disk);
    match follower.append_log(at as u64, bytes, &mut |_, _| {}) {
        Ok(end) => {
            assert_eq!(end, (at + bytes.len()) as u64);
            assert_eq!(follower.written(), end);
            assert_eq!(open(&copy_of(&disk)).written(), end, "the next start keeps it");
        }
        Err(AppendLogError::Append(e)) => panic!("{e}"),
        Err(_) => {
            assert_eq!(follower.written(), at as u64);
            assert!(files(&disk) == before, "nothing of what is refused was written");
        }
    }
    // It goes on with what belongs there.
    let behind = follower.written() as usize;
    if behind == at {
        follower.append_log(at as u64, &good[at..], &mut |_, _| {}).unwrap();
        assert!(
            files(&disk).iter().map(|f| &f.1[..]).collect::<Vec<_>>().concat().starts_with(good),
            "the log is the master's"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_pieces_of_a_log_are_refused_or_kept(
        from in any::<Index>(),
        to in any::<Index>(),
        damages in prop::collection::vec(damage(), 0..3),
    ) {
        let (good, begins) = log();
        let (a, b) = (from.index(begins.len()), to.index(begins.len()));
        let (a, b) = (begins[a.min(b)], begins[a.max(b)]);
        let mut bytes = good[a..b].to_vec();
        damages.iter().for_each(|d| apply(d, &mut bytes));
        if let Ok(whole) = whole_records(&bytes, 2048) {
            prop_assert!(whole.len <= bytes.len());
            prop_assert_eq!(whole.next.is_none(), whole.len == bytes.len());
            prop_assert!(whole.next.is_none_or(|n| n > bytes.len() - whole.len && n <= 2048 + 8));
            give(a, &bytes[..whole.len]);
        }
        give(a, &bytes);
    }

    #[test]
    fn noise_is_refused(at in any::<Index>(), bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let (_, begins) = log();
        let _ = whole_records(&bytes, 2048);
        give(begins[at.index(begins.len())], &bytes);
    }
}

#[test]
fn a_log_file_that_was_a_followers_opens_whatever_stands_behind_its_blanks() {
    let (good, _) = log();
    let disk = MemoryDisk::new(1 << 24);
    let follower = open(&disk);
    follower.append_log(0, good, &mut |_, _| {}).unwrap();
    drop(follower);
    let first = disk.open(Path::new("/s/commitlog/00000000000000000000"), Create::No).unwrap();
    first.write_at(&[0xEE; 4], SEGMENT - 4).unwrap();
    assert_eq!(open(&disk).written(), good.len() as u64);
}
