//! Both sides together, on real sockets: whatever happens to the connection, the follower's files are the leader's.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use replication::{FollowError, FollowerConfig, Following, Leader, LeaderConfig, follow};
use store::disk::faulty::Fault;
use store::{AppendLogError, StoreConfig};
use support::{Chance, DEADLINE, Site, StoreLog, append, until};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const SEGMENT: u64 = 64 << 10;

/// A site that leads.
struct Leading {
    site: Site,
    leader: Arc<Leader>,
    addr: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Leading {
    async fn start(site: Site, config: LeaderConfig) -> Leading {
        let leader = Leader::new(site.store.clone(), config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = watch::Sender::new(false);
        tokio::spawn(leader.clone().serve(listener, stop.subscribe()));
        Leading { site, leader, addr, _stop: stop }
    }
}

/// A site that follows over one connection.
struct Followed {
    following: Arc<Following>,
    ended: JoinHandle<FollowError>,
    stop: watch::Sender<bool>,
}

async fn follow_at(site: &Site, addr: SocketAddr, flushed_acks: bool) -> Followed {
    follow_with(site, addr, flushed_acks, FollowerConfig::default()).await
}

async fn follow_with(site: &Site, addr: SocketAddr, flushed_acks: bool, config: FollowerConfig) -> Followed {
    let log = StoreLog::new(&site.store);
    log.flushed_acks.store(flushed_acks, Ordering::Relaxed);
    let following = Following::new();
    let stop = watch::Sender::new(false);
    let (shown, stopped) = (following.clone(), stop.subscribe());
    let stream = TcpStream::connect(addr).await.unwrap();
    let ended = tokio::spawn(async move {
        let Err(ended) = follow(stream, &log, &config, &shown, stopped).await;
        ended
    });
    Followed { following, ended, stop }
}

impl Followed {
    async fn end(self) -> FollowError {
        tokio::time::timeout(DEADLINE, self.ended).await.unwrap().unwrap()
    }
}

async fn until_equal(follower: &Site, leader: &Site) {
    until("the follower to have everything", || follower.store.written() == leader.store.written()).await;
    assert!(follower.files() == leader.files(), "the logs differ");
    for id in 0..3 {
        let bounds = |site: &Site| site.store.queue("T", id).map(|queue| queue.bounds());
        // Entries follow the end of the log.
        until("the same queues", || bounds(follower) == bounds(leader)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_follower_gets_everything_and_then_what_comes() {
    let leading = Leading::start(Site::new(SEGMENT), LeaderConfig::default()).await;
    leading.site.append((0..500).map(|n| n * 7 % 3000));
    let site = Site::new(SEGMENT);
    let followed = follow_at(&site, leading.addr, false).await;
    until_equal(&site, &leading.site).await;
    assert!(site.files().len() > 10);
    for n in 0..100 {
        leading.site.append([n * 31 % 5000]);
        until_equal(&site, &leading.site).await;
    }
    let status = || leading.leader.followers().remove(0);
    until("the last report", || status().lag_bytes == 0).await;
    assert!(status().in_sync);
    followed.stop.send_replace(true);
    assert!(matches!(followed.end().await, FollowError::Stopped));
    until("the follower to be gone", || leading.leader.followers().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_goes_on_where_its_log_ends() {
    let leading = Leading::start(Site::new(SEGMENT), LeaderConfig::default()).await;
    leading.site.append((0..300).map(|n| n * 7 % 3000));
    let site = Site::new(SEGMENT);
    let first = follow_at(&site, leading.addr, false).await;
    until_equal(&site, &leading.site).await;
    first.stop.send_replace(true);
    first.end().await;
    let middle = site.store.written();
    let end = leading.site.append((0..300).map(|n| n * 11 % 3000));
    let second = follow_at(&site, leading.addr, false).await;
    until_equal(&site, &leading.site).await;
    let received = second.following.state(Instant::now()).received_bytes;
    assert!((end - middle..end - middle + 1000).contains(&received), "{received} bytes for {}", end - middle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_follower_gets_a_log_that_does_not_begin_at_0() {
    let site = Site::new(SEGMENT);
    site.store.start_over(5 * SEGMENT).unwrap();
    let leading = Leading::start(site, LeaderConfig::default()).await;
    leading.site.append([1000; 200]);
    let site = Site::new(SEGMENT);
    let followed = follow_at(&site, leading.addr, false).await;
    until_equal(&site, &leading.site).await;
    assert_eq!(site.store.begin(), 5 * SEGMENT);
    drop(followed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_be_read_from_the_disk_is_waited_for() {
    let config = StoreConfig { segment_bytes: 16 << 20, cache_bytes: 1 << 20, ..StoreConfig::new("/s") };
    let leading = Leading::start(Site::with(config.clone()), LeaderConfig::default()).await;
    leading.site.append([50_000; 100]);
    leading.site.disk.begin(Fault::ColdReads);
    let site = Site::with(config);
    let _followed = follow_at(&site, leading.addr, false).await;
    until_equal(&site, &leading.site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_the_connection_is_cut_the_logs_become_the_same() {
    let mut cuts = 0;
    for seed in 0..20 {
        let mut chance = Chance::new(seed);
        let max_transfer_bytes = 4096 << chance.below(7);
        let config = LeaderConfig { max_transfer_bytes, ..LeaderConfig::default() };
        let leading = Leading::start(Site::new(SEGMENT), config).await;
        let (store, done) = (leading.site.store.clone(), Arc::new(AtomicBool::new(false)));
        let finished = done.clone();
        let sizes = std::thread::spawn(move || {
            let mut chance = Chance::new(seed + 1000);
            for _ in 0..1000 {
                append(&store, chance.below(20) as usize * chance.below(400) as usize);
                if chance.below(10) == 0 {
                    std::thread::yield_now();
                }
            }
            finished.store(true, Ordering::Release);
        });
        let site = Site::new(SEGMENT);
        while !done.load(Ordering::Acquire) || site.store.written() < leading.site.store.written() {
            // Mostly short lives, some long enough to come on.
            let bits = 6 + chance.below(13);
            let relay = cut_after(leading.addr, chance.below(1 << bits), chance.below(1 << 13)).await;
            let followed = follow_at(&site, relay, false).await;
            until("a cut, or the end", || {
                let written = leading.site.store.written();
                let all = done.load(Ordering::Acquire) && site.store.written() == written;
                all || followed.ended.is_finished()
            })
            .await;
            followed.stop.send_replace(true);
            let ended = followed.end().await;
            assert!(
                matches!(ended, FollowError::Closed { .. } | FollowError::Io { .. } | FollowError::Stopped),
                "seed {seed}: a cut is no fault of what is sent: {ended}"
            );
            cuts += matches!(ended, FollowError::Closed { .. } | FollowError::Io { .. }) as u32;
        }
        sizes.join().unwrap();
        until_equal(&site, &leading.site).await;
    }
    assert!(cuts > 200, "{cuts} cuts");
}

/// Listens for one connection and passes it on to `to`, until so many bytes have come from there, or so many went there.
async fn cut_after(to: SocketAddr, down: u64, up: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.split(), far.split());
        tokio::select! {
            () = pass(&mut far_in, &mut near_out, down) => {}
            () = pass(&mut near_in, &mut far_out, up) => {}
        }
    });
    addr
}

async fn pass(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), mut bytes: u64) {
    let mut buffer = vec![0; 4096];
    while bytes > 0 {
        let n = buffer.len().min(bytes as usize);
        let Ok(n @ 1..) = from.read(&mut buffer[..n]).await else { return };
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
        bytes -= n as u64;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_and_reports_that_race_lose_no_wake_up() {
    // Two records, the second while the leader is busy with the first; a lost wake-up would wait for a heartbeat.
    let hour = Duration::from_secs(3600);
    let config =
        LeaderConfig { required_acks: 2, heartbeat: hour, housekeeping: 2 * hour, ..LeaderConfig::default() };
    let leading = Leading::start(Site::new(1 << 20), config).await;
    let site = Site::new(1 << 20);
    let config = FollowerConfig { heartbeat: hour, housekeeping: 2 * hour, ..FollowerConfig::default() };
    let _followed = follow_with(&site, leading.addr, false, config).await;
    let (replicated, store) = (leading.leader.replicated(), leading.site.store.clone());
    let appender = std::thread::spawn(move || {
        for n in 0..10_000 {
            append(&store, 10);
            (0..n % 3000).for_each(|_| std::hint::spin_loop());
            let end = append(&store, 10);
            let begun = Instant::now();
            while *replicated.borrow() < end {
                assert!(begun.elapsed() < DEADLINE, "record {n} was never confirmed");
                std::thread::yield_now();
            }
        }
    });
    tokio::task::spawn_blocking(move || appender.join().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_flushed_acks_nothing_is_confirmed_that_is_not_durable() {
    let config = LeaderConfig { required_acks: 2, ..LeaderConfig::default() };
    let leading = Leading::start(Site::new(SEGMENT), config).await;
    let site = Site::new(SEGMENT);
    site.store.start().unwrap();
    let _followed = follow_at(&site, leading.addr, true).await;
    let mut replicated = leading.leader.replicated();
    for n in 0..200 {
        let end = append(&leading.site.store, n * 13 % 2000);
        let confirmed = replicated.wait_for(|offset| *offset >= end);
        tokio::time::timeout(DEADLINE, confirmed).await.unwrap().unwrap();
        assert!(site.store.flushed_offset() >= end);
    }
    site.store.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_followers_and_their_leader_become_the_same_under_load() {
    let config = LeaderConfig { required_acks: 3, ..LeaderConfig::default() };
    let leading = Leading::start(Site::new(SEGMENT), config).await;
    let sites = [Site::new(SEGMENT), Site::new(SEGMENT)];
    let mut followed = Vec::new();
    for site in &sites {
        followed.push(follow_at(site, leading.addr, false).await);
    }
    let count = Arc::new(AtomicU64::new(0));
    let appenders: Vec<_> = (0..3)
        .map(|seed| {
            let (store, count) = (leading.site.store.clone(), count.clone());
            std::thread::spawn(move || {
                let mut chance = Chance::new(seed);
                for _ in 0..1000 {
                    append(&store, chance.below(3000) as usize);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut replicated = leading.leader.replicated();
    let mut before = 0;
    while count.load(Ordering::Relaxed) < 3000 {
        let now = *replicated.borrow_and_update();
        let stored = sites.iter().map(|site| site.store.written()).min().unwrap();
        assert!(before <= now && now <= stored, "{before} {now} {stored}");
        before = now;
        tokio::task::yield_now().await;
    }
    appenders.into_iter().for_each(|thread| thread.join().unwrap());
    for site in &sites {
        until_equal(site, &leading.site).await;
    }
    let end = leading.site.store.written();
    tokio::time::timeout(DEADLINE, replicated.wait_for(|offset| *offset == end)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_is_full_says_so_and_goes_on_when_there_is_space() {
    let leading = Leading::start(Site::new(SEGMENT), LeaderConfig::default()).await;
    leading.site.append([1000; 500]);
    let site = Site::new(SEGMENT);
    site.disk.begin(Fault::NoSpace);
    let ended = follow_at(&site, leading.addr, false).await.end().await;
    assert!(matches!(ended, FollowError::Append(AppendLogError::Append(_))), "{ended}");
    site.disk.end(Fault::NoSpace);
    let _followed = follow_at(&site, leading.addr, false).await;
    until_equal(&site, &leading.site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_of_another_size_are_refused_with_the_remedy() {
    let leading = Leading::start(Site::new(SEGMENT), LeaderConfig::default()).await;
    leading.site.append([1000; 500]);
    let site = Site::new(SEGMENT / 2);
    let ended = follow_at(&site, leading.addr, false).await.end().await;
    assert!(matches!(ended, FollowError::Append(AppendLogError::SegmentSize { .. })), "{ended}");
    assert!(ended.to_string().contains("mappedFileSizeCommitLog=32768"), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_speaks_something_else_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 100]).await;
    });
    let site = Site::new(SEGMENT);
    let ended = follow_at(&site, addr, false).await.end().await;
    assert!(matches!(ended, FollowError::Malformed(_)), "{ended}");
    assert_eq!(site.store.written(), 0);
}
