//! A leader on real sockets, its followers played by hand: what is confirmed, who is missing, who is refused, and that
//! nobody waits for anybody else.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use replication::wire::{self, Decoded, HEAD};
use replication::{Leader, LeaderConfig};
use support::{DEADLINE, Site, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

struct Serving {
    site: Site,
    leader: Arc<Leader>,
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    async fn start(site: Site, config: LeaderConfig) -> Serving {
        let leader = Leader::new(site.store.clone(), config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(leader.clone().serve(listener, stop.subscribe()));
        Serving { site, leader, addr, stop, task }
    }

    async fn follower(&self, report: u64) -> TcpStream {
        let count = self.leader.followers().len();
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        send_report(&mut stream, report).await;
        until("the follower to be known", || self.leader.followers().len() > count).await;
        stream
    }

    fn required(members: usize) -> LeaderConfig {
        LeaderConfig { required_acks: members, ..LeaderConfig::default() }
    }
}

async fn send_report(stream: &mut TcpStream, offset: u64) {
    stream.write_all(&wire::encode_report(offset)).await.unwrap();
}

/// Reads frames until the log up to `end` has come.
async fn read_to(stream: &mut TcpStream, end: u64) -> Vec<u8> {
    let (mut next, mut bytes) = (0, Vec::new());
    while next < end {
        let mut head = [0; HEAD];
        stream.read_exact(&mut head).await.unwrap();
        let Decoded::Value(head) = wire::decode_head(&head) else { panic!("{head:?} is no head") };
        let begin = bytes.len();
        bytes.resize(begin + head.size, 0);
        stream.read_exact(&mut bytes[begin..]).await.unwrap();
        next = head.offset + head.size as u64;
    }
    bytes
}

async fn wait_for(replicated: &mut watch::Receiver<u64>, wanted: u64) {
    let found = timeout(DEADLINE, replicated.wait_for(|offset| *offset == wanted)).await;
    found.unwrap_or_else(|_| panic!("never replicated up to {wanted}")).unwrap();
}

#[tokio::test]
async fn as_many_members_as_required_confirm() {
    // What three followers have of 1000 bytes, and what that confirms with 1 to 4 members required; with 1 it need
    // not move, but here it does, because somebody reports.
    for (acks, confirmed) in [
        (&[700][..], [1000, 700, 0, 0]),
        (&[700, 800], [1000, 800, 700, 0]),
        (&[700, 800, 500], [1000, 800, 700, 500]),
        (&[1000, 1000, 1000], [1000, 1000, 1000, 1000]),
    ] {
        for (required, want) in (1..).zip(confirmed) {
            let serving = Serving::start(Site::new(4096), Serving::required(required)).await;
            let mut replicated = serving.leader.replicated();
            let mut followers = Vec::new();
            for _ in acks {
                followers.push(serving.follower(0).await);
            }
            assert_eq!(serving.site.append([8; 10]), 1000);
            until("all to be sent", || serving.leader.followers().iter().all(|f| f.sent == 1000)).await;
            for (follower, ack) in followers.iter_mut().zip(acks) {
                send_report(follower, *ack).await;
            }
            until("the reports", || {
                let mut acked: Vec<_> = serving.leader.followers().iter().map(|f| f.acked).collect();
                let mut wanted = acks.to_vec();
                acked.sort();
                wanted.sort();
                acked == wanted
            })
            .await;
            assert_eq!(*replicated.borrow_and_update(), want, "acks {acks:?}, {required} required");
        }
    }
}

#[tokio::test]
async fn what_is_confirmed_stays_so_when_followers_leave() {
    let site = Site::new(4096);
    site.append([8; 10]);
    let serving = Serving::start(site, Serving::required(2)).await;
    let mut replicated = serving.leader.replicated();
    let mut first = serving.follower(300).await;
    wait_for(&mut replicated, 300).await;
    send_report(&mut first, 900).await;
    wait_for(&mut replicated, 900).await;
    drop(first);
    until("it to be gone", || serving.leader.followers().is_empty()).await;
    let mut second = serving.follower(200).await;
    assert_eq!(*replicated.borrow_and_update(), 900);
    send_report(&mut second, 950).await;
    wait_for(&mut replicated, 950).await;
    serving.leader.set_required_acks(3);
    wait_for(&mut replicated, 0).await;
    let _third = serving.follower(400).await;
    // It might be the second one, come again, until that has something it was sent since.
    send_report(&mut second, 1000).await;
    until("the report", || serving.leader.followers()[0].acked == 1000).await;
    assert_eq!((*replicated.borrow_and_update(), serving.leader.confirmed_by(2)), (0, 1000));
    assert_eq!(serving.site.append([8]), 1100);
    until("it to be sent", || serving.leader.followers()[0].sent == 1100).await;
    send_report(&mut second, 1100).await;
    wait_for(&mut replicated, 400).await;
    assert_eq!([1, 2, 4].map(|members| serving.leader.confirmed_by(members)), [1100, 1100, 0]);
    serving.leader.set_required_acks(1);
    wait_for(&mut replicated, 1100).await;
}

#[tokio::test]
async fn it_is_known_since_when_followers_are_missing() {
    let before = Instant::now();
    let serving = Serving::start(Site::new(4096), Serving::required(3)).await;
    let since = serving.leader.missing_since().unwrap();
    assert!(since >= before && since <= Instant::now());
    let first = serving.follower(0).await;
    assert_eq!(serving.leader.missing_since(), Some(since), "two of three");
    let second = serving.follower(0).await;
    assert_eq!(serving.leader.missing_since(), None);
    let before = Instant::now();
    drop(second);
    until("one to be missing", || serving.leader.missing_since().is_some()).await;
    assert!(serving.leader.missing_since().unwrap() >= before);
    serving.leader.set_required_acks(2);
    assert_eq!(serving.leader.missing_since(), None);
    drop(first);
    until("one to be missing", || serving.leader.missing_since().is_some()).await;
    serving.leader.set_required_acks(1);
    assert_eq!(serving.leader.missing_since(), None);
}

#[tokio::test]
async fn a_connection_that_has_not_reported_is_no_follower() {
    let serving = Serving::start(Site::new(4096), Serving::required(2)).await;
    let mut silent = TcpStream::connect(serving.addr).await.unwrap();
    let _follower = serving.follower(0).await;
    assert_eq!(serving.leader.followers().len(), 1);
    silent.write_all(&[0; 7]).await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn a_follower_that_does_not_read_holds_nobody_up() {
    let site = Site::new(8 << 20);
    // More than the sockets' buffers take.
    let half = site.append([50_000; 400]);
    let serving = Serving::start(site, Serving::required(2)).await;
    let stuck = serving.follower(0).await;
    let mut reading = serving.follower(0).await;
    let mut bytes = read_to(&mut reading, half).await;
    let end = serving.site.append([50_000; 100]);
    bytes.extend(read_to(&mut reading, end).await);
    assert!(bytes == serving.site.log());
    send_report(&mut reading, end).await;
    wait_for(&mut serving.leader.replicated(), end).await;
    let statuses = serving.leader.followers();
    assert_eq!((statuses[0].addr, statuses[0].acked), (stuck.local_addr().unwrap(), 0));
    assert!(statuses[0].sent < half && statuses[0].lag_bytes == end && !statuses[0].in_sync, "{statuses:?}");
    assert!(statuses[1].sent == end && statuses[1].lag_bytes == 0 && statuses[1].in_sync, "{statuses:?}");
}

#[tokio::test]
async fn more_followers_than_allowed_are_refused_and_one_that_leaves_makes_room() {
    let config = LeaderConfig { max_followers: 2, ..LeaderConfig::default() };
    let serving = Serving::start(Site::new(4096), config).await;
    let first = serving.follower(0).await;
    let _second = serving.follower(0).await;
    let mut third = TcpStream::connect(serving.addr).await.unwrap();
    assert!(matches!(third.read(&mut [0; 1]).await, Ok(0) | Err(_)), "closed without a byte");
    drop(first);
    until("one to be gone", || serving.leader.followers().len() == 1).await;
    serving.follower(0).await;
}

#[tokio::test]
async fn a_leader_is_drained_when_everybody_in_sync_has_everything() {
    let site = Site::new(4096);
    site.append([8; 10]);
    let serving = Serving::start(site, LeaderConfig::default()).await;
    timeout(DEADLINE, serving.leader.drained()).await.expect("nobody follows");
    let _behind = serving.follower(500).await;
    timeout(DEADLINE, serving.leader.drained()).await.expect("nobody is in sync");
    let mut follower = serving.follower(1000).await;
    timeout(DEADLINE, serving.leader.drained()).await.expect("everybody in sync has everything");
    serving.site.append([8]);
    let mut drained = std::pin::pin!(serving.leader.drained());
    assert!(timeout(Duration::ZERO, &mut drained).await.is_err(), "100 bytes are missing");
    assert_eq!(read_to(&mut follower, 1100).await, serving.site.log()[1000..]);
    send_report(&mut follower, 1100).await;
    timeout(DEADLINE, drained).await.expect("it has them now");
}

#[tokio::test]
async fn stopping_disconnects_everybody() {
    let serving = Serving::start(Site::new(4096), LeaderConfig::default()).await;
    let mut follower = serving.follower(0).await;
    read_head(&mut follower).await;
    serving.stop.send_replace(true);
    timeout(DEADLINE, serving.task).await.unwrap().unwrap();
    assert!(matches!(follower.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(serving.addr).await.is_err(), "nobody listens any more");
    assert!(serving.leader.followers().is_empty());
}

async fn read_head(stream: &mut TcpStream) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await.unwrap();
    head
}

#[tokio::test]
async fn only_what_is_odd_about_followers_is_warned_of() {
    let lines = Lines::default();
    let sink = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let site = Site::new(4096);
    site.append([8]);
    let serving = Serving::start(site, LeaderConfig::default()).await;
    let ended = async |report: u64| {
        let mut follower = TcpStream::connect(serving.addr).await.unwrap();
        send_report(&mut follower, report).await;
        let mut rest = Vec::new();
        let _ = timeout(DEADLINE, follower.read_to_end(&mut rest)).await.unwrap();
    };
    ended(101).await;
    ended(u64::MAX).await;
    drop(TcpStream::connect(serving.addr).await.unwrap());
    drop(serving.follower(100).await);
    until("it to be gone", || serving.leader.followers().is_empty()).await;
    serving.stop.send_replace(true);
    timeout(DEADLINE, serving.task).await.unwrap().unwrap();
    let text = lines.text();
    let warned: Vec<_> = text.lines().filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!(warned.len(), 2, "{text}");
    assert!(
        warned[0].contains(" WARN ") && warned[0].contains("it reports 101, but this log ends at 100"),
        "{text}"
    );
    assert!(
        warned[1].contains(" WARN ") && warned[1].contains("is no report: offset -1 is negative"),
        "{text}"
    );
    assert!(text.contains("follower connected") && text.contains("follower gone: "), "{text}");
}

/// Log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
