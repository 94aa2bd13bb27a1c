//! Random lives of a leader's two followers: connections that end, clean ends, kills and power losses, retention on
//! both sides. Nothing counts as replicated that fewer members have than required, what a follower reported as durable
//! survives, and in the end all logs are the same. A failure names its seed; replay it with `LIVES_SEED=<seed>`.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use replication::wire::encode_report;
use replication::{
    FollowError, FollowedLog, FollowerConfig, Following, Join, Leader, LeaderConfig, LeaderLog, OwnLog,
    decide_join, follow,
};
use store::disk::Disk;
use store::disk::memory::MemoryDisk;
use store::retention::RetentionPolicy;
use store::{Store, StoreConfig};
use support::{Chance, DEADLINE, StoreLog, append, until};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const SEEDS: u64 = 12;
const STEPS: usize = 150;
const SEGMENT: u64 = 16 << 10;
/// So long that the stores' threads remove nothing by the real clock.
const RESERVED_MS: i64 = 1 << 50;
const EXPIRED: i64 = 1 << 51;

fn open(disk: &MemoryDisk, chance: &mut Chance) -> Arc<Store> {
    let config = StoreConfig {
        segment_bytes: SEGMENT,
        cache_bytes: (chance.below(2) << 20) as usize,
        flush_interval: Duration::from_millis(5),
        retention: RetentionPolicy {
            reserved_ms: RESERVED_MS,
            delete_hours: (0..24).collect(),
            ..Default::default()
        },
        ..StoreConfig::new("/s")
    };
    let store = Store::open(config, Arc::new(disk.clone())).unwrap();
    store.start().unwrap();
    store
}

struct Follower {
    disk: MemoryDisk,
    store: Option<Arc<Store>>,
    connection: Option<(SocketAddr, JoinHandle<FollowError>)>,
    /// An earlier connection that the leader has not seen end.
    lingering: Option<TcpStream>,
    flushed_acks: bool,
    /// The most it ever had, as it reports it.
    had: u64,
    /// What survives power loss.
    durable: u64,
}

impl Follower {
    fn new(chance: &mut Chance) -> Follower {
        let disk = MemoryDisk::new(1 << 30);
        let store = Some(open(&disk, chance));
        let flushed_acks = chance.below(2) == 0;
        Follower { disk, store, connection: None, lingering: None, flushed_acks, had: 0, durable: 0 }
    }

    fn store(&self) -> &Arc<Store> {
        self.store.as_ref().unwrap()
    }

    fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(|(_, task)| !task.is_finished())
    }

    /// Notes what it has; before anything that may take it away.
    fn look(&mut self) {
        let flushed = self.store().flushed_offset();
        self.durable = self.durable.max(flushed);
        self.had = self.had.max(if self.flushed_acks { flushed } else { self.store().written() });
    }

    async fn connect(&mut self, leader: SocketAddr, master: &Store) {
        self.disconnect().await;
        let theirs = LeaderLog { begin: master.begin(), end: master.written() };
        let (begin, end, empty) = (self.store().begin(), self.store().written(), self.store().is_empty_log());
        match decide_join(OwnLog { begin, end, empty, tail_matches: None }, theirs) {
            Join::Continue => {}
            Join::StartOver { .. } => self.store().start_over(theirs.begin).unwrap(),
            Join::Refuse { why } => panic!("{why}"),
        }
        let log = StoreLog::new(self.store());
        log.flushed_acks.store(self.flushed_acks, Ordering::Relaxed);
        if log.asks_for_everything() {
            self.durable = 0;
        }
        let stream = TcpStream::connect(leader).await.unwrap();
        let addr = stream.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (_keep, stop) = watch::channel(false);
            let (config, following) = (FollowerConfig::default(), Following::new());
            let Err(ended) = follow(stream, &log, &config, &following, stop).await;
            ended
        });
        self.connection = Some((addr, task));
    }

    /// Leaves a connection behind that is never heard again.
    async fn linger(&mut self, addr: SocketAddr, leader: &Leader, master: &Store) {
        self.disconnect().await;
        let end = if self.flushed_acks { self.store().flushed_offset() } else { self.store().written() };
        if master.begin() <= end && !self.store().is_empty_log() {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(&encode_report(end)).await.unwrap();
            let own = stream.local_addr().unwrap();
            until("the leader to know", || leader.followers().iter().any(|f| f.addr == own)).await;
            self.lingering = Some(stream);
        }
    }

    async fn disconnect(&mut self) {
        let Some((_, task)) = self.connection.take() else { return };
        task.abort();
        if let Ok(ended) = task.await {
            assert!(matches!(ended, FollowError::Closed { .. } | FollowError::Io { .. }), "{ended}");
        }
        self.look();
    }

    /// Ends it in some way and begins again.
    async fn restart(&mut self, chance: &mut Chance) {
        self.disconnect().await;
        let way = chance.below(3);
        if way == 0 {
            self.store().close();
        }
        self.store = None;
        let lock = Path::new("/s/lock");
        until("its threads to let go of the store", || self.disk.lock(lock).is_ok()).await;
        if way == 1 {
            self.disk.lose_power(chance.below(1 << 30));
        }
        self.store = Some(open(&self.disk, chance));
        assert!(self.store().written() >= self.durable, "{} of {}", self.store().written(), self.durable);
    }
}

/// Checks that as many members as required have had what counts as replicated.
fn check(leader: &Leader, required: usize, followers: &mut [Follower], master: &Store) {
    let replicated = *leader.replicated().borrow();
    followers.iter_mut().for_each(Follower::look);
    let mut had: Vec<_> = followers.iter().map(|follower| follower.had).collect();
    had.sort_by(|a, b| b.cmp(a));
    // What is removed at the master is asked of nobody.
    let most = had[required - 2].max(master.begin());
    assert!(replicated <= most, "{replicated} of {had:?}, {required} members required");
}

fn log_from(store: &Store, begin: u64) -> Vec<u8> {
    let mut log = Vec::new();
    while begin + (log.len() as u64) < store.written() {
        store.read_log(begin + log.len() as u64, 1 << 20, true, &mut log).unwrap();
    }
    log
}

async fn live(seed: u64) {
    let mut chance = Chance::new(seed);
    let required = 2 + chance.below(2) as usize;
    let master = open(&MemoryDisk::new(1 << 30), &mut chance);
    let config = LeaderConfig {
        required_acks: required,
        max_transfer_bytes: 4096 << chance.below(5),
        ..LeaderConfig::default()
    };
    let leader = Leader::new(master.clone(), config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = watch::Sender::new(false);
    let serving = tokio::spawn(leader.clone().serve(listener, stop.subscribe()));
    let mut followers = [Follower::new(&mut chance), Follower::new(&mut chance)];
    for _ in 0..STEPS {
        for _ in 0..chance.below(20) {
            append(&master, chance.below(2000) as usize);
        }
        let follower = &mut followers[chance.below(2) as usize];
        match chance.below(20) {
            0..3 => follower.disconnect().await,
            3..5 => follower.restart(&mut chance).await,
            7 => follower.linger(addr, &leader, &master).await,
            5 => follower.store().look_after_space(EXPIRED),
            6 => master.look_after_space(EXPIRED),
            _ if !follower.is_connected() => follower.connect(addr, &master).await,
            _ => {
                let (own, end) = (follower.store().written(), master.written());
                let some = own + chance.below(end.saturating_sub(own) + 1);
                let came = || !follower.is_connected() || follower.store().written() >= some;
                until("some of the log", came).await;
            }
        }
        check(&leader, required, &mut followers, &master);
    }
    for follower in &mut followers {
        follower.lingering = None;
        follower.connect(addr, &master).await;
    }
    for follower in &followers {
        let own = follower.connection.as_ref().map(|(addr, _)| *addr);
        until("both to be there", || leader.followers().iter().any(|f| Some(f.addr) == own)).await;
    }
    let end = append(&master, 1);
    for follower in &followers {
        until("the whole log", || follower.store().written() == end).await;
        let begin = master.begin().max(follower.store().begin());
        assert!(log_from(follower.store(), begin) == log_from(&master, begin), "the logs differ");
    }
    let mut replicated = leader.replicated();
    let all = tokio::time::timeout(DEADLINE, replicated.wait_for(|offset| *offset == end)).await;
    all.unwrap().unwrap();
    check(&leader, required, &mut followers, &master);
    stop.send_replace(true);
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_that_come_and_go_have_what_counts_as_replicated_and_become_their_leader() {
    let seeds = match std::env::var("LIVES_SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..=seed).unwrap(),
        Err(_) => 0..=SEEDS - 1,
    };
    for seed in seeds {
        println!("LIVES_SEED={seed}");
        live(seed).await;
    }
}
