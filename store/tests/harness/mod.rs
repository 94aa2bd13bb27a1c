//! What the store's tests share: records, a seeded source of chance, reading a queue back.
#![allow(dead_code)]

use protocol::message::{Decoded, NewRecord, decode};
use store::index::keys;
use store::{AppendError, Batch, Entry, Store, Stored};

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

/// Puts a record with a key into a batch.
pub fn push(store: &Store, batch: &mut Batch, topic: &str, queue: u32, key: &str, body: &[u8]) {
    let properties = format!("KEYS\u{1}{key}\u{2}");
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
    batch.push(store.queue_or_create(topic, queue).unwrap(), &record, 7, [hash].into_iter());
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
