//! kill -9 of servers under load, again and again; `gantry up` starts them anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::codes::{RequestCode, ResponseCode};
use protocol::requests::Fields;
use tests::cluster::Cluster;
use tests::consumer::{Consumer, commit, committed};
use tests::ledger::{Ledger, bound};
use tests::options::Options;
use tests::random::Random;
use tests::setting::setting;
use tests::talk::Talk;
use tests::wait::until;

const QUEUES: i32 = 4;
const TOPIC: &str = "Ledger";
/// Small segments, so that crashes also meet the change from one to the next, and offsets written often enough that
/// there are some to resume from.
const SEGMENT: u64 = 4 << 20;
const CONFIG: &[(&str, &str)] = &[
    ("mappedFileSizeCommitLog", "4194304"),
    ("maxMessageSize", "1048576"),
    ("flushConsumerOffsetInterval", "200"),
];
const LIMIT: Duration = Duration::from_secs(60);
/// A member that was ready this long is not given up by `gantry up`, however often it dies.
const HEALTHY: Duration = Duration::from_millis(1_100);

#[test]
fn a_broker_killed_again_and_again_loses_nothing_it_acknowledged() {
    kill_under_load("Async", setting("CRASH_KILLS", 20));
}

#[test]
fn a_broker_with_sync_flush_killed_under_load_loses_nothing_it_acknowledged() {
    kill_under_load("Sync", setting("CRASH_KILLS", 20).div_ceil(4));
}

fn kill_under_load(flush: &str, kills: u64) {
    let cluster = Cluster::start("crash", &Options { flush, config: CONFIG, ..Options::default() });
    let (broker, addr) = (cluster.broker_member(0), cluster.broker(0));
    let (ledger, consumer) = (Ledger::default(), Consumer::new("resumer", TOPIC));
    let (stop_sending, stop_reading) = (AtomicBool::new(false), AtomicBool::new(false));
    let seed = setting("CRASH_SEED", 1);

    std::thread::scope(|scope| {
        for queue in 0..QUEUES {
            let (ledger, addr, stop) = (&ledger, &addr, &stop_sending);
            scope.spawn(move || ledger.keep_sending(addr, TOPIC, queue, 1_000, stop));
        }
        scope.spawn(|| consumer.keep_reading(&addr, QUEUES, &stop_reading));
        // Whatever goes wrong in between, the others must hear of the end.
        let _stop = (StopAtEnd(&stop_sending), StopAtEnd(&stop_reading));
        for kill in 0..kills {
            kill_in_the_middle(&cluster, &broker, &ledger, &mut Random::nth(seed, kill));
        }
        stop_sending.store(true, Ordering::Relaxed);
        until("the consumer to read all that was acknowledged", LIMIT, || {
            (consumer.seen() >= ledger.acknowledged()).then_some(())
        });
    });

    let report = ledger.judge(&addr, TOPIC, QUEUES);
    assert!(report.broken.is_empty(), "seed {seed}: {report:#?}");
    let scanned = scanned_at_starts(&cluster.log(&broker));
    assert_eq!(scanned.len() as u64, kills + 1, "one start for each kill");
    // The last segment, and at most two before it whose indexes were still being written: more hold appends back.
    assert!(
        scanned.iter().all(|bytes| *bytes <= 3 * SEGMENT),
        "seed {seed}: starts scanned {scanned:?} bytes"
    );
    assert!(consumer.resumed() > 0, "the consumer never found a committed offset");
    assert!(report.acknowledged as u64 > kills * 100, "too little load: {} sends", report.acknowledged);
    println!("starts scanned {scanned:?} bytes");
    println!("{flush}: {kills} kills, {} acknowledged, {} stored", report.acknowledged, report.stored);
}

/// Lets the load run for a while, kills, and waits until the broker serves again.
fn kill_in_the_middle(cluster: &Cluster, broker: &str, ledger: &Ledger, random: &mut Random) {
    let (ready, before) = (Instant::now(), ledger.acknowledged());
    let moment = HEALTHY + Duration::from_millis(random.below(300) as u64);
    until("sends between two kills", LIMIT, || {
        (ledger.acknowledged() >= before + 100 && ready.elapsed() >= moment).then_some(())
    });
    cluster.kill(broker);
    cluster.wait_ready(broker);
}

/// Returns how many bytes of the log each start of a broker had to scan.
fn scanned_at_starts(log: &str) -> Vec<u64> {
    let starts = log.lines().filter(|line| line.contains("store opened"));
    let number = |line: &str| line.split_once("\"scanned\":")?.1.split(',').next()?.parse().ok();
    starts.map(|line| number(line).unwrap_or_else(|| panic!("no number of scanned bytes: {line}"))).collect()
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn committed_offsets_and_queue_ends_survive_a_kill() {
    let cluster = Cluster::start("offsets", &Options { config: CONFIG, ..Options::default() });
    let (broker, addr) = (cluster.broker_member(0), cluster.broker(0));
    let ledger = Ledger::default();
    let mut talk = Talk::connect(&addr).expect("the broker serves");
    for _ in 0..50 {
        assert!(ledger.send(&mut talk, TOPIC, 0, 100).expect("the broker serves"));
    }
    commit(&mut talk, "G", TOPIC, 0, 37).expect("the broker serves");
    until("the offset to be on disk", LIMIT, || holds(&cluster, &broker, "G", 37).then_some(()));
    cluster.kill(&broker);
    cluster.wait_ready(&broker);
    let mut talk = Talk::connect(&addr).expect("the broker serves again");
    assert_eq!(committed(&mut talk, "G", TOPIC, 0).expect("the broker serves again"), Some(37));
    assert_eq!(bound(&mut talk, RequestCode::GET_MAX_OFFSET, TOPIC, 0).expect("the broker serves again"), 50);
    assert_eq!(ledger.judge(&addr, TOPIC, 1).broken, Vec::<String>::new());
}

/// Says whether any file of the broker's configuration mentions the group.
fn holds(cluster: &Cluster, broker: &str, group: &str, offset: i64) -> bool {
    let folder = cluster.data().join(broker).join("store/config");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    texts.any(|text| text.contains(&format!("{TOPIC}@{group}")) && text.contains(&offset.to_string()))
}

#[test]
fn a_name_server_restarted_empty_learns_its_routes_again() {
    let cluster = Cluster::start("names", &Options::default());
    let mut broker = Talk::connect(&cluster.broker(0)).expect("the broker serves");
    assert!(Ledger::default().send(&mut broker, TOPIC, 0, 10).expect("the broker serves"));
    let routed = || {
        let mut talk = Talk::connect(&cluster.name_server(0)).ok()?;
        let answer =
            talk.call(RequestCode::GET_ROUTEINFO_BY_TOPIC, &Fields(&[("topic", TOPIC)]), b"").ok()?;
        (answer.code == ResponseCode::SUCCESS).then_some(())
    };
    until("the first route", LIMIT, routed);
    cluster.kill(&cluster.name_server_member(0));
    cluster.wait_ready(&cluster.name_server_member(0));
    until("the route to come back", LIMIT, routed);
}
