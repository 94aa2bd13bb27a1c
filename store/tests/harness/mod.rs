//! What the store's tests share: records, a seeded source of chance, reading a queue back.
#![allow(dead_code)]

pub mod meanwhile;

use std::collections::BTreeSet;
use std::path::Path;

use protocol::message::{Decoded, NewRecord, decode};
use store::disk::memory::MemoryDisk;
use store::disk::{Create, Disk, read_all};
use store::index::keys;
use store::{AppendError, AppendLogError, Batch, Entry, ReadError, Store, Stored, whole_records};

/// A seeded source of chance; the same seed gives the same numbers.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    pub fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

/// The tag of all records, and its hash.
const TAG: &str = "a";
pub const TAGS_CODE: i64 = 97;

/// Puts a record with a key into a batch.
pub fn push(store: &Store, batch: &mut Batch, topic: &str, queue: u32, key: &str, body: &[u8]) {
    let properties = format!("KEYS\u{1}{key}\u{2}TAGS\u{1}{TAG}\u{2}");
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
    let hash = keys::hash(topic, key);
    batch.push(store.queue_or_create(topic, queue).unwrap(), &record, TAGS_CODE, [hash].into_iter());
}

/// Appends one record, its key the body's first eight bytes.
pub fn append(store: &Store, topic: &str, queue: u32, body: &[u8], time: i64) -> Result<Stored, AppendError> {
    let mut batch = Batch::default();
    push(store, &mut batch, topic, queue, &String::from_utf8_lossy(&body[..body.len().min(8)]), body);
    store.append(&mut batch, time)?;
    Ok(batch.stored(0).unwrap())
}

/// A body that begins with its number in eight digits.
pub fn numbered(n: u64, len: usize) -> Vec<u8> {
    let mut body = format!("{n:08}").into_bytes();
    body.resize(len.max(8), b'a' + (n % 26) as u8);
    body
}

/// Appends numbered bodies of 308 bytes to queue 0 of topic T.
pub fn fill(store: &Store, range: std::ops::Range<u64>) {
    for n in range {
        append(store, "T", 0, &numbered(n, 308), 1000).unwrap();
    }
}

/// All entries of a queue with their bodies, having checked that offsets are dense and that each record is the one
/// its entry tells of.
pub fn content(store: &Store, topic: &str, queue: u32) -> Vec<(Entry, Vec<u8>)> {
    let Some(q) = store.queue(topic, queue) else { return Vec::new() };
    let (min, max) = q.bounds();
    let mut entries: Vec<Entry> = Vec::new();
    q.entries(min, usize::MAX, true, &mut entries).unwrap();
    let offsets: Vec<_> = entries.iter().map(|e| e.queue_offset).collect();
    assert_eq!(offsets, (min..max).collect::<Vec<_>>(), "offsets of {topic}/{queue} are dense");
    let mut together = Vec::new();
    store.read_entries(&entries, true, &mut together).unwrap();
    let mut each = Vec::new();
    store.read_entries(&entries, false, &mut each).unwrap();
    assert_eq!(together, each, "waiting or not, the bytes are the same");
    let mut at = 0;
    let mut out = Vec::new();
    for e in entries {
        let Decoded::Record(r) = decode(&together[at..], 1 << 20) else {
            panic!("no record at {}", e.physical)
        };
        assert_eq!((r.topic, r.queue_id as u32), (topic, queue));
        assert_eq!((r.queue_offset as u64, r.physical_offset as u64), (e.queue_offset, e.physical));
        assert!(r.intact());
        out.push((e, r.body.to_vec()));
        at += r.total_size;
    }
    out
}

/// The numbers of a queue's bodies.
pub fn numbers(store: &Store, topic: &str, queue: u32) -> Vec<u64> {
    content(store, topic, queue).iter().map(|(_, b)| number(b)).collect()
}

/// The number a body begins with.
pub fn number(body: &[u8]) -> u64 {
    std::str::from_utf8(&body[..8]).unwrap().parse().unwrap()
}

/// Moves a master's log to a follower as a stream does, in pieces cut anywhere, until the follower has all of it or
/// refuses. Returns what it was told of messages in queues: topic, queue, and hash of the tags.
pub fn follow(
    master: &Store,
    follower: &Store,
    chance: &mut Chance,
) -> Result<Vec<(String, u32, i64)>, AppendLogError> {
    let mut told = Vec::new();
    let mut buffer = Vec::new();
    let mut asked = follower.written();
    while follower.written() < master.written() {
        let most = if chance.percent(50) { 300 } else { 20_000 };
        let max = 1 + chance.below(most) as usize;
        let wait = chance.percent(50);
        match master.read_log(asked, max, wait, &mut buffer) {
            Ok(read) => {
                assert!((1..=max).contains(&read.bytes));
                asked += read.bytes as u64;
            }
            Err(ReadError::WouldBlock) if !wait => continue,
            Err(e) => panic!("read the master's log at {asked}: {e}"),
        }
        let whole = whole_records(&buffer, 1 << 20).unwrap();
        assert_eq!(whole.next.is_none(), whole.len == buffer.len());
        let (at, end) = (follower.written(), follower.written() + whole.len as u64);
        let rest = buffer.split_off(whole.len);
        let appended = follower.append_log(at, &buffer, &mut |queue, tags_code| {
            assert_ne!(queue.next(), 0, "the entry is visible");
            told.push((queue.topic.to_string(), queue.id, tags_code));
        });
        assert_eq!(appended?, end);
        buffer = rest;
    }
    Ok(told)
}

/// The files of a store on another disk, as they are now.
pub fn copy_of(disk: &MemoryDisk) -> MemoryDisk {
    let copy = MemoryDisk::new(1 << 30);
    for dir in ["/s", "/s/commitlog", "/s/index"] {
        for name in disk.list(Path::new(dir)).unwrap() {
            let path = Path::new(dir).join(name);
            let content = read_all(disk, &path).unwrap().unwrap();
            copy.open(&path, Create::Fresh).unwrap().write_at(&content, 0).unwrap();
        }
    }
    copy
}

/// Checks that two stores hold the same bytes from the larger begin on, and the same of every queue and key.
pub fn assert_same(master: (&Store, &MemoryDisk), follower: (&Store, &MemoryDisk)) {
    assert_eq!(master.0.written(), follower.0.written());
    let begin = master.0.begin().max(follower.0.begin());
    let files = |disk: &MemoryDisk| {
        let names = disk.list(Path::new("/s/commitlog")).unwrap();
        let bases: BTreeSet<u64> = names.iter().map(|n| n.parse().unwrap()).collect();
        let path = |base: u64| Path::new("/s/commitlog").join(format!("{base:020}"));
        let content = |base| (base, read_all(disk, &path(base)).unwrap().unwrap());
        bases
            .into_iter()
            .filter(|b| (begin..=master.0.written()).contains(b))
            .map(content)
            .collect::<Vec<_>>()
    };
    let (ours, theirs) = (files(master.1), files(follower.1));
    let bases = |files: &[(u64, Vec<u8>)]| files.iter().map(|f| f.0).collect::<Vec<_>>();
    assert_eq!(bases(&ours), bases(&theirs));
    for ((base, a), (_, b)) in ours.iter().zip(&theirs) {
        assert!(a == b, "segment {base} differs at {:?}", a.iter().zip(b).position(|(a, b)| a != b));
    }
    let topics: BTreeSet<_> =
        master.0.topics().into_iter().chain(follower.0.topics()).map(|(topic, _)| topic).collect();
    for topic in topics {
        for queue in 0..4 {
            let there = |store: &Store| {
                let all = content(store, &topic, queue).into_iter();
                all.filter(|(e, _)| e.physical >= begin).collect::<Vec<_>>()
            };
            let (ours, theirs) = (there(master.0), there(follower.0));
            let entries = |there: &[(Entry, Vec<u8>)]| there.iter().map(|(e, _)| *e).collect::<Vec<_>>();
            assert_eq!(entries(&ours), entries(&theirs), "{topic}/{queue}");
            assert!(ours == theirs, "{topic}/{queue}");
            let Some((last, _)) = ours.last() else { continue };
            let next = |store: &Store| store.queue(&topic, queue).unwrap().next();
            assert_eq!((next(master.0), next(follower.0)), (last.queue_offset + 1, last.queue_offset + 1));
            for (_, body) in [&ours[0], &ours[ours.len() / 2], &ours[ours.len() - 1]] {
                let key = String::from_utf8_lossy(&body[..8]).into_owned();
                let found = |store: &Store| store.find_by_key(&topic, &key, 0..=i64::MAX, 9).unwrap();
                assert!(!found(master.0).is_empty());
                assert_eq!(found(master.0), found(follower.0), "{topic} by key {key}");
            }
        }
    }
}
