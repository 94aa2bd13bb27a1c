//! Random lives of a master and its follower: appends, pieces of the log cut anywhere, deletions that arrive late,
//! retention on either side, faults, clean ends, kills and power losses. Whenever both come to rest they hold the
//! same. A failure prints its seed; replay it with `STORE_SEED=<seed> cargo test -p store --test pair`.

#![allow(clippy::unwrap_used)]

mod harness;

use std::sync::Arc;

use harness::{Chance, append, assert_same, content, follow, numbered, push};
use store::disk::Disk;
use store::disk::faulty::{Fault, FaultyDisk};
use store::disk::memory::MemoryDisk;
use store::retention::RetentionPolicy;
use store::{Batch, Store, StoreConfig, whole_records};

const SEEDS: u64 = 200;
const STEPS: usize = 80;
const SEGMENT: u64 = 8192;
const TOPICS: [&str; 3] = ["A", "B", "idle"];

#[test]
fn a_follower_at_rest_is_its_master() {
    if let Ok(seed) = std::env::var("STORE_SEED") {
        return live(seed.parse().unwrap());
    }
    let failed: Vec<u64> =
        (0..SEEDS).filter(|seed| std::panic::catch_unwind(|| live(*seed)).is_err()).collect();
    assert!(failed.is_empty(), "replay with STORE_SEED=<seed>: {failed:?}");
}

fn live(seed: u64) {
    let mut life = Life::begin(seed);
    let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        (0..STEPS).for_each(|_| life.step());
        life.rest();
        life.take_over();
    }));
    if let Err(panic) = steps {
        println!("seed {seed}:\n  {}", life.trace.join("\n  "));
        std::panic::resume_unwind(panic);
    }
}

struct Life {
    chance: Chance,
    master_disk: MemoryDisk,
    master: Option<Arc<Store>>,
    memory: MemoryDisk,
    disk: FaultyDisk,
    follower: Option<Arc<Store>>,
    /// All deletions, and how many of them the follower has been told of since it joined.
    deletions: Vec<(&'static str, u64)>,
    told: usize,
    /// A start over has failed, perhaps half-way.
    gave_up: bool,
    now: i64,
    numbers: u64,
    trace: Vec<String>,
}

impl Life {
    fn begin(seed: u64) -> Life {
        let memory = MemoryDisk::new(1 << 30);
        let mut life = Life {
            chance: Chance::new(seed),
            master_disk: MemoryDisk::new(1 << 30),
            master: None,
            disk: FaultyDisk::new(Arc::new(memory.clone())),
            memory,
            follower: None,
            deletions: Vec::new(),
            told: 0,
            gave_up: false,
            now: 1000,
            numbers: 0,
            trace: Vec::new(),
        };
        life.master = Some(life.open(life.master_disk.clone()));
        life.follower = Some(life.open(life.disk.clone()));
        life
    }

    fn open(&mut self, disk: impl Disk + 'static) -> Arc<Store> {
        Store::open(self.config(), Arc::new(disk)).unwrap()
    }

    fn config(&mut self) -> StoreConfig {
        StoreConfig {
            segment_bytes: SEGMENT,
            max_record_bytes: 4096,
            cache_bytes: (self.chance.below(3) << 20) as usize,
            retention: RetentionPolicy {
                reserved_ms: 2000,
                delete_hours: (0..24).collect(),
                ..Default::default()
            },
            ..StoreConfig::new("/s")
        }
    }

    fn master(&self) -> Arc<Store> {
        self.master.clone().unwrap()
    }

    fn follower(&self) -> Arc<Store> {
        self.follower.clone().unwrap()
    }

    fn did(&mut self, what: impl Into<String>) {
        self.trace.push(what.into());
    }

    fn step(&mut self) {
        self.now += self.chance.below(100) as i64;
        let stopped = self.follower().stopped().borrow().is_some();
        if stopped {
            return self.reopen_follower();
        }
        match self.chance.below(100) {
            0..35 => self.append(),
            35..65 => self.transfer(),
            65..68 => self.delete(),
            68..72 => self.tell_deletions(),
            72..76 => {
                self.master().look_after_space(self.now);
                self.did(format!("master looks after space, begin {}", self.master().begin()));
            }
            76..80 => {
                // Nobody is told of a deletion so late that the log has moved on behind it.
                self.tell_deletions();
                if self.told < self.deletions.len() {
                    return;
                }
                self.follower().look_after_space(self.now);
                self.did(format!("follower looks after space, begin {}", self.follower().begin()));
            }
            80..82 => self.now += 700,
            82..85 => self.reopen_master(),
            85..89 => self.reopen_follower(),
            89..93 => {
                let all = [Fault::NoSpace, Fault::ShortWrite, Fault::FailedSync, Fault::FailedRename];
                let fault = all[self.chance.below(all.len() as u64) as usize];
                self.disk.begin(fault);
                self.did(format!("{fault:?} begins"));
            }
            93..96 => {
                let changes = self.chance.below(30);
                self.disk.die_after(changes);
                self.did(format!("follower dies after {changes} changes"));
            }
            96..97 => {
                let begin = self.master().begin();
                _ = self.start_over(begin);
            }
            _ => self.rest(),
        }
    }

    fn append(&mut self) {
        let store = self.master();
        let mut batch = Batch::default();
        for _ in 0..1 + self.chance.below(12) {
            let topic = TOPICS[if self.chance.percent(3) { 2 } else { self.chance.below(2) as usize }];
            let len = if self.chance.percent(10) { 2500 } else { self.chance.below(400) };
            self.numbers += 1;
            let body = numbered(self.numbers, len as usize);
            let queue = self.chance.below(2) as u32;
            push(&store, &mut batch, topic, queue, &format!("{:08}", self.numbers), &body);
        }
        let end = store.append(&mut batch, self.now).unwrap();
        self.did(format!("append {} up to {end}", batch.len()));
    }

    fn delete(&mut self) {
        let topic = TOPICS[self.chance.below(3) as usize];
        let end = self.master().written();
        self.master().delete_topic(topic).unwrap();
        self.deletions.push((topic, end));
        self.did(format!("delete {topic} at {end}"));
    }

    fn tell_deletions(&mut self) {
        while let Some((topic, end)) = self.deletions.get(self.told).copied() {
            let outcome = self.follower().drop_topic_at(topic, end);
            self.did(format!("tell of {topic} at {end}: {outcome:?}"));
            if outcome.is_err() {
                // Nobody can know what is noted; the follower is told again after its end.
                return self.reopen_follower();
            }
            self.told += 1;
        }
    }

    /// Moves some of the log; what is cut is asked for again, as after a lost connection.
    fn transfer(&mut self) {
        if !self.join() {
            return;
        }
        let (master, follower) = (self.master(), self.follower());
        let at = follower.written();
        let mut bytes = Vec::new();
        for _ in 0..self.chance.below(6) {
            match master.read_log(at + bytes.len() as u64, 5000, self.chance.percent(50), &mut bytes) {
                Ok(_) => {}
                Err(e) => panic!("read the master's log: {e}"),
            }
        }
        bytes.truncate(bytes.len().saturating_sub(self.chance.below(200) as usize));
        let whole = whole_records(&bytes, 4096).unwrap().len;
        let mut seen = Vec::new();
        let outcome = follower
            .append_log(at, &bytes[..whole], &mut |queue, _| seen.push((queue.clone(), queue.next())));
        self.did(format!("transfer {whole} at {at}: {outcome:?}, {} told", seen.len()));
        assert!(seen.iter().all(|(queue, next)| queue.next() >= *next && *next > 0));
        match outcome {
            Ok(end) => assert_eq!((end, follower.written()), (at + whole as u64, end)),
            Err(e) => assert!(matches!(e, store::AppendLogError::Append(_)), "{e}"),
        }
    }

    /// Lets a follower that is empty, or behind what its master holds, begin where the master does. Returns whether
    /// it can be sent something.
    fn join(&mut self) -> bool {
        let (begin, follower) = (self.master().begin(), self.follower());
        if follower.written() < begin || (follower.is_empty_log() && follower.begin() != begin) {
            return self.start_over(begin);
        }
        true
    }

    fn start_over(&mut self, begin: u64) -> bool {
        let at = self.follower().written();
        let outcome = self.follower().start_over(begin);
        self.told = 0;
        self.gave_up |= outcome.is_err();
        self.did(format!("follower at {at} starts over at {begin}: {outcome:?}"));
        outcome.is_ok()
    }

    fn reopen_master(&mut self) {
        let store = self.master.take().unwrap();
        let way = self.chance.below(3);
        match way {
            0 => store.close(),
            1 => {}
            // Only what no follower has may be lost.
            _ => store.flush_now(),
        }
        drop(store);
        if way == 2 {
            let seed = self.chance.next();
            self.master_disk.lose_power(seed);
        }
        self.master = Some(self.open(self.master_disk.clone()));
        self.did(format!("master {}", ["closed", "killed", "lost power"][way as usize]));
    }

    fn reopen_follower(&mut self) {
        let store = self.follower.take().unwrap();
        let way = self.chance.below(3);
        if way == 0 {
            store.close();
        }
        let flushed = store.flushed_offset();
        drop(store);
        self.disk.heal();
        if way == 2 {
            let seed = self.chance.next();
            self.memory.lose_power(seed);
        }
        if self.chance.percent(25) {
            let changes = self.chance.below(40);
            self.disk.die_after(changes);
            let config = self.config();
            drop(Store::open(config, Arc::new(self.disk.clone())));
            self.disk.heal();
            self.did(format!("follower died after {changes} changes of its start"));
        }
        let follower = self.open(self.disk.clone());
        self.told = 0;
        let what = ["closed", "killed", "lost power"][way as usize];
        self.did(format!("follower {what}, flushed {flushed}, begins with {:?}", follower.opened()));
        let gave_up = std::mem::take(&mut self.gave_up);
        assert!(gave_up || follower.written() >= flushed, "what was flushed is lost");
        self.follower = Some(follower);
    }

    /// Faults end, the follower gets everything, and both are compared.
    fn rest(&mut self) {
        self.disk.heal();
        self.did("rest");
        if self.follower().stopped().borrow().is_some() {
            self.reopen_follower();
        }
        assert!(self.join());
        follow(&self.master(), &self.follower(), &mut self.chance).unwrap();
        self.tell_deletions();
        assert_same((&self.master(), &self.master_disk), (&self.follower(), &self.memory));
    }

    /// The follower goes on as the master.
    fn take_over(&mut self) {
        let follower = self.follower();
        for topic in TOPICS {
            for queue in 0..2 {
                if let Some((last, _)) = content(&follower, topic, queue).pop() {
                    let stored = append(&follower, topic, queue, &numbered(0, 10), self.now).unwrap();
                    assert_eq!(stored.queue_offset, last.queue_offset + 1, "{topic}/{queue}");
                }
            }
        }
    }
}
