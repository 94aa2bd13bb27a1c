//! Synchronous double write: what a producer is told, and when, with slaves that the test plays itself.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use protocol::codes::{RequestCode, ResponseCode};
use support::follower::Follower;
use support::*;

/// A master that waits for one slave, and for no flush.
const DOUBLE_WRITE: [(&str, &str); 4] = [
    ("brokerRole", "SYNC_MASTER"),
    ("inSyncReplicas", "2"),
    ("flushDiskType", "ASYNC_FLUSH"),
    ("slaveTimeout", "60000"),
];

async fn start(settings: &[(&str, &str)]) -> (tempfile::TempDir, Unflushed) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Unflushed::start(dir.path(), &[&DOUBLE_WRITE, settings].concat()).await;
    (dir, broker)
}

/// Sends a message without waiting for its answer; returns its id once it is stored.
async fn send(broker: &Unflushed, wire: &mut Wire) -> i32 {
    let before = broker.store.written();
    let opaque = wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), b"x").await;
    until("it is stored", || broker.store.written() > before).await;
    opaque
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_is_answered_only_when_a_slave_has_reported_it() {
    let (_dir, broker) = start(&[]).await;
    let mut wire = broker.connect().await;
    let mut slave = Follower::connect(broker.ha, 0).await;
    let waiting = send(&broker, &mut wire).await;
    // Whoever does not want to wait is answered at once, and so is everything else.
    let no_wait = wire.put("T", "y", "WAIT\u{1}false\u{2}").await;
    assert_eq!((no_wait.code, no_wait.field("queueOffset")), (ResponseCode::SUCCESS, "1"));
    assert_eq!(wire.pull("T", "0", "*", "0").await.messages().len(), 2);
    let end = broker.store.queue("T", 0).unwrap().last_entry(true).unwrap().unwrap().physical;
    slave.receive(broker.store.written()).await;
    slave.acknowledge(&broker.broker, end - 1).await;
    wire.nothing_is_due().await;
    assert_eq!(broker.waiting_for_slaves(), 1);
    slave.report(end).await;
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.code), (waiting, ResponseCode::SUCCESS));
    assert_eq!(broker.waiting_for_slaves(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_may_take_two_slaves() {
    let (_dir, broker) = start(&[("inSyncReplicas", "3")]).await;
    let mut wire = broker.connect().await;
    let mut slaves = [Follower::connect(broker.ha, 0).await, Follower::connect(broker.ha, 0).await];
    for slave in &mut slaves {
        // Known before anything is sent: of connections from one host the older one counts by what comes later.
        slave.acknowledge(&broker.broker, 0).await;
    }
    let waiting = send(&broker, &mut wire).await;
    let end = broker.store.written();
    slaves[1].receive(end).await;
    slaves[1].acknowledge(&broker.broker, end).await;
    wire.nothing_is_due().await;
    slaves[0].receive(end).await;
    slaves[0].report(end).await;
    assert_eq!(wire.answer().await.opaque, waiting);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_takes_too_long_is_told_as_such() {
    let (_dir, broker) = start(&[("slaveTimeout", "20")]).await;
    let mut slave = Follower::connect(broker.ha, 0).await;
    slave.acknowledge(&broker.broker, 0).await;
    let answer = broker.connect().await.put("T", "x", "").await;
    assert_eq!(answer.code, ResponseCode::FLUSH_SLAVE_TIMEOUT);
    assert_eq!((answer.field("queueOffset"), answer.field("msgId").len()), ("0", 32), "it is stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slaves_that_have_been_missing_for_long_are_waited_for_no_more() {
    let (_dir, broker) = start(&[("slaveTimeout", "1000")]).await;
    let mut wire = broker.connect().await;
    let first = wire.put("T", "x", "").await;
    assert_eq!(first.code, ResponseCode::FLUSH_SLAVE_TIMEOUT, "it waited for one to come");
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(wire.put("T", "x", "").await.code, ResponseCode::FLUSH_SLAVE_TIMEOUT);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "at once: {:?}", begun.elapsed());
    // With a slave there, it is waited for again.
    let mut slave = Follower::connect(broker.ha, broker.store.written()).await;
    slave.acknowledge(&broker.broker, broker.store.written()).await;
    let waiting = send(&broker, &mut wire).await;
    slave.report(broker.store.written()).await;
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.code), (waiting, ResponseCode::SUCCESS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_both_asked_for_an_answer_waits_for_flush_and_slave() {
    let both = [("flushDiskType", "SYNC_FLUSH"), ("syncFlushTimeout", "60000")];
    let (_dir, broker) = start(&both).await;
    let mut wire = broker.connect().await;
    let mut slave = Follower::connect(broker.ha, 0).await;
    let first = send(&broker, &mut wire).await;
    slave.acknowledge_all(&broker).await;
    wire.nothing_is_due().await;
    broker.store.flush_now();
    assert_eq!(wire.answer().await.opaque, first);
    let second = send(&broker, &mut wire).await;
    broker.store.flush_now();
    wire.nothing_is_due().await;
    slave.acknowledge_all(&broker).await;
    assert_eq!(wire.answer().await.opaque, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_code_tells_what_was_late_and_of_both_the_slave() {
    use ResponseCode as R;
    for (flushed, copied, flush_ms, slave_ms, code) in [
        (false, true, "20", "60000", R::FLUSH_DISK_TIMEOUT),
        (true, false, "60000", "20", R::FLUSH_SLAVE_TIMEOUT),
        (false, false, "20", "30", R::FLUSH_SLAVE_TIMEOUT),
        (false, false, "30", "20", R::FLUSH_SLAVE_TIMEOUT),
    ] {
        let settings =
            [("flushDiskType", "SYNC_FLUSH"), ("syncFlushTimeout", flush_ms), ("slaveTimeout", slave_ms)];
        let (_dir, broker) = start(&settings).await;
        let mut wire = broker.connect().await;
        let mut slave = Follower::connect(broker.ha, 0).await;
        slave.acknowledge(&broker.broker, 0).await;
        wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), b"x").await;
        until("it is stored", || broker.store.written() > 0).await;
        if flushed {
            broker.store.flush_now();
        }
        if copied {
            slave.acknowledge_all(&broker).await;
        }
        let answer = wire.answer().await;
        assert_eq!(answer.code, code, "flushed {flushed}, copied {copied}");
        assert_eq!(answer.field("queueOffset"), "0", "it is stored");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_promised_holds_when_the_mode_changes() {
    let (_dir, broker) = start(&[]).await;
    let mut wire = broker.connect().await;
    let mut slave = Follower::connect(broker.ha, 0).await;
    let waiting = send(&broker, &mut wire).await;
    assert_eq!(wire.set("brokerRole=ASYNC_MASTER").await.code, ResponseCode::SUCCESS);
    assert_eq!(wire.put("T", "y", "").await.code, ResponseCode::SUCCESS, "nobody is waited for now");
    wire.nothing_is_due().await;
    assert_eq!(broker.waiting_for_slaves(), 1);
    // The other way round under way, too: this one waits behind the one that waits already.
    wire.set("brokerRole=SYNC_MASTER").await;
    let later = send(&broker, &mut wire).await;
    slave.acknowledge_all(&broker).await;
    assert_eq!((wire.answer().await.opaque, wire.answer().await.opaque), (waiting, later));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_send_is_answered_with_fewer_copies_than_it_was_promised() {
    let (_dir, broker) = start(&[("inSyncReplicas", "3")]).await;
    let mut wire = broker.connect().await;
    let mut slaves = [Follower::connect(broker.ha, 0).await, Follower::connect(broker.ha, 0).await];
    for slave in &mut slaves {
        // Known before anything is sent: of connections from one host the older one counts by what comes later.
        slave.acknowledge(&broker.broker, 0).await;
    }
    let three = send(&broker, &mut wire).await;
    wire.set("inSyncReplicas=2").await;
    let two = send(&broker, &mut wire).await;
    slaves[0].acknowledge_all(&broker).await;
    assert_eq!(wire.answer().await.opaque, two, "one slave is enough for what came later");
    wire.nothing_is_due().await;
    // The replicated offset of two members moves no more: the report alone must do.
    slaves[1].acknowledge_all(&broker).await;
    assert_eq!(wire.answer().await.opaque, three);
    let two = send(&broker, &mut wire).await;
    wire.set("inSyncReplicas=3").await;
    slaves[1].acknowledge_all(&broker).await;
    assert_eq!(wire.answer().await.opaque, two, "it was promised no third copy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_waits_hears_of_its_copies_after_somebody_else_has_asked_for_more() {
    let (_dir, broker) = start(&[]).await;
    let (mut wire, mut admin) = (broker.connect().await, broker.connect().await);
    let mut slaves = [Follower::connect(broker.ha, 0).await, Follower::connect(broker.ha, 0).await];
    let first = send(&broker, &mut wire).await;
    for slave in &mut slaves {
        slave.acknowledge_all(&broker).await;
    }
    assert_eq!(wire.answer().await.opaque, first);
    let two = send(&broker, &mut wire).await;
    wire.nothing_is_due().await;
    // What three members have is where it was, and stays there: the second slave says no more.
    admin.set("inSyncReplicas=3").await;
    slaves[0].acknowledge_all(&broker).await;
    assert_eq!(wire.answer().await.opaque, two);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_send_does_not_wait_for_the_slaves_of_an_earlier_one() {
    let settings = [("flushDiskType", "SYNC_FLUSH"), ("syncFlushTimeout", "60000")];
    let (_dir, broker) = start(&settings).await;
    let mut wire = broker.connect().await;
    let mut slave = Follower::connect(broker.ha, 0).await;
    let slow = send(&broker, &mut wire).await;
    wire.set("brokerRole=ASYNC_MASTER\nsyncFlushTimeout=20").await;
    let late = send(&broker, &mut wire).await;
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.code), (late, ResponseCode::FLUSH_DISK_TIMEOUT), "in its own time");
    wire.set("syncFlushTimeout=60000").await;
    let flushed = send(&broker, &mut wire).await;
    broker.store.flush_now();
    assert_eq!(wire.answer().await.opaque, flushed);
    slave.acknowledge_all(&broker).await;
    assert_eq!(wire.answer().await.opaque, slow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_goes_leaves_nothing_waiting() {
    let (_dir, broker) = start(&[]).await;
    let mut wire = broker.connect().await;
    let _slave = Follower::connect(broker.ha, 0).await;
    send(&broker, &mut wire).await;
    until("it waits", || broker.waiting_for_slaves() == 1).await;
    drop(wire);
    until("nothing waits", || broker.waiting_for_slaves() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_can_see_how_far_slaves_are() {
    let (_dir, broker) = start(&[]).await;
    let mut wire = broker.connect().await;
    let mut slave = Follower::connect(broker.ha, 0).await;
    wire.put("T", "x", "WAIT\u{1}false\u{2}").await;
    let end = broker.store.written();
    slave.receive(end).await;
    slave.acknowledge(&broker.broker, end - 1).await;
    let status = wire.call(RequestCode::GET_BROKER_HA_STATUS, &[], b"").await;
    let text = String::from_utf8(status.body).unwrap();
    let addr = slave.stream.local_addr().unwrap();
    for part in [
        format!("\"addr\":\"{addr}\""),
        format!("\"slaveAckOffset\":{}", end - 1),
        format!("\"transferFromWhere\":{end}"),
        format!("\"masterCommitLogMaxOffset\":{end}"),
        "\"diff\":1".to_owned(),
        "\"inSync\":true".to_owned(),
        "\"inSyncSlaveNums\":1".to_owned(),
        "\"lagMillis\":".to_owned(),
        "\"master\":true".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_how_far_slaves_are() {
    let (_dir, broker) = start(&[]).await;
    let metrics = daemon::metrics::Metrics::new();
    broker::metrics::register(&metrics, &broker.broker, &Default::default());
    let mut wire = broker.connect().await;
    let mut slave = Follower::connect(broker.ha, 0).await;
    send(&broker, &mut wire).await;
    let end = broker.store.written();
    slave.receive(end).await;
    slave.acknowledge(&broker.broker, end - 1).await;
    let text = metrics.encode();
    let follower = format!("{{follower=\"{}\"}}", slave.stream.local_addr().unwrap());
    for line in [
        "gantry_broker_followers 1.0".to_owned(),
        format!("gantry_broker_log_replicated_bytes {}.0", end - 1),
        "gantry_broker_sends_waiting_for_slaves 1.0".to_owned(),
        format!("gantry_broker_follower_acked_bytes{follower} {}.0", end - 1),
        format!("gantry_broker_follower_lag_bytes{follower} 1.0"),
        format!("gantry_broker_follower_in_sync{follower} 1.0"),
        format!("gantry_broker_follower_lag_seconds{follower} "),
    ] {
        assert!(text.contains(&format!("\n{line}")), "{line} in {text}");
    }
    assert!(!text.contains("gantry_broker_slave_"), "that is for slaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_master_lets_its_slaves_have_the_last_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[]).await;
    let mut wire = broker.connect().await;
    let mut slave = Follower::connect(broker.ha, 0).await;
    // More than sockets hold, so that the slave cannot have it before it reads.
    let body = "x".repeat(1 << 20);
    for _ in 0..24 {
        wire.put("T", &body, "").await;
    }
    let end: u64 = runtime(&mut wire, "commitLogMaxOffset").await;
    broker.ask_to_stop();
    while wire.next().await.is_some() {}
    slave.receive(end).await;
    slave.report(end).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_master_does_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path(), &[("drainTimeoutMillis", "20")]).await;
    let mut wire = broker.connect().await;
    let slave = Follower::connect(broker.ha, 0).await;
    wire.put("T", "x", "").await;
    broker.stop().await;
    drop(slave);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_slaves_when_the_master_stops_hears_that_they_are_late() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [&DOUBLE_WRITE[..], &[("drainTimeoutMillis", "20")]].concat();
    let broker = Running::start(dir.path(), &settings).await;
    let mut wire = broker.connect().await;
    let _slave = Follower::connect(broker.ha, 0).await;
    let waiting = wire.send(RequestCode::SEND_MESSAGE_V2, &message_fields("T", "0", ""), b"x").await;
    assert!(runtime(&mut wire, "commitLogMaxOffset").await > 0, "it is stored");
    broker.ask_to_stop();
    let answer = wire.answer().await;
    assert_eq!((answer.opaque, answer.code), (waiting, ResponseCode::FLUSH_SLAVE_TIMEOUT));
    broker.stop().await;
}

async fn runtime(wire: &mut Wire, key: &str) -> u64 {
    let info = wire.call(RequestCode::GET_BROKER_RUNTIME_INFO, &[], b"").await;
    let text = String::from_utf8(info.body).unwrap();
    let (_, rest) = text.split_once(&format!("\"{key}\":\"")).unwrap();
    rest.split('"').next().unwrap().parse().unwrap()
}

impl Follower {
    async fn acknowledge_all(&mut self, broker: &Unflushed) {
        let end = broker.store.written();
        self.receive(end).await;
        self.acknowledge(&broker.broker, end).await;
    }
}
