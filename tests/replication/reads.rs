//! Consumers while the master is down: they read on from the slave, and when it is back nothing was skipped and nothing
//! comes twice that they had committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::consumer::committed;
use tests::group::{Group, Setup};
use tests::ledger::Ledger;
use tests::load::{Load, Plan};
use tests::reader::Reader;
use tests::talk::Talk;
use tests::wait::{until, until_ok};

use crate::{CONFIG, LIMIT, QUEUES, TOPIC, assert_has_everything, plan};

const GROUP: &str = "readers";
const SLAVE: i64 = 1;

#[test]
fn a_restarted_consumer_goes_on_at_its_committed_offsets_on_the_slave_and_back_on_the_master() {
    let group = Group::start(&Setup { sync: true, config: CONFIG, ..Setup::default() });
    let ledger = Arc::new(Ledger::default());
    send(&group, &ledger, 2_000);
    let reader = Reader::new(GROUP, TOPIC, QUEUES as i32, group.names.addr());
    read(&reader, 1_000);
    reader.commit().expect("the master takes offsets");
    assert_eq!(reader.from_broker(SLAVE), 0, "read from the slave beside an idle master");
    wait_for_offsets(&group.master.addr(), &group.slave().addr());

    group.master.kill();
    reader.forget();
    read(&reader, ledger.acknowledged());
    reader.commit().expect("the slave takes offsets");
    assert!(reader.from_broker(SLAVE) > 0);
    assert_eq!(reader.repeated(), 0, "read twice from the slave");

    group.master.start_and_wait();
    group.wait_until_linked();
    wait_for_offsets(&group.slave().addr(), &group.master.addr());
    let before = reader.from_broker(SLAVE);
    reader.forget();
    send(&group, &ledger, 1_000);
    read(&reader, ledger.acknowledged());
    assert_eq!(reader.from_broker(SLAVE), before, "read from the slave with the master back");
    assert_eq!((reader.seen(), reader.repeated()), (ledger.acknowledged(), 0));
    assert_eq!(group.complaints(&[]), Vec::<String>::new());
}

#[test]
fn a_running_consumer_reads_on_from_the_slave_and_goes_back_without_skipping_or_repeating_anything() {
    let group = Group::start(&Setup { sync: true, config: CONFIG, ..Setup::default() });
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&ledger, &plan(&group));
    let reader = Reader::new(GROUP, TOPIC, QUEUES as i32, group.names.addr());
    until("messages to read", LIMIT, || (ledger.acknowledged() > 200).then_some(()));
    read(&reader, 200);
    // Enough that it is in the middle of them at the kill.
    until("a backlog", LIMIT, || (ledger.acknowledged() > 5_000).then_some(()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Commits seldom, as official clients do: what it remembers is ahead of what any member knows.
        scope.spawn(|| reader.keep_reading(50, usize::MAX, &stop));
        // Whatever goes wrong in between, the reader must hear of the end.
        let _stop = StopAtEnd(&stop);
        until("messages to be read", LIMIT, || (reader.seen() >= 300).then_some(()));
        group.master.kill();
        let acknowledged = ledger.acknowledged();
        until("everything acknowledged to be read from the slave", LIMIT, || {
            (reader.seen() >= acknowledged).then_some(())
        });
        group.master.start_and_wait();
        until("new messages", LIMIT, || (ledger.acknowledged() > acknowledged + 500).then_some(()));
    });
    load.stop();
    read(&reader, ledger.acknowledged());
    assert!(reader.from_broker(SLAVE) > 0);
    assert_eq!(reader.repeated(), 0);
    assert_eq!(group.complaints(&[]), Vec::<String>::new());
}

#[test]
fn a_slave_started_anew_without_its_master_serves_what_it_has_and_follows_when_the_master_is_back() {
    let group = Group::start(&Setup { sync: true, config: CONFIG, ..Setup::default() });
    let ledger = Arc::new(Ledger::default());
    send(&group, &ledger, 1_000);
    let reader = Reader::new(GROUP, TOPIC, QUEUES as i32, group.names.addr());
    read(&reader, 500);
    reader.commit().expect("the master takes offsets");
    wait_for_offsets(&group.master.addr(), &group.slave().addr());
    let offsets = offsets(&group.master.addr()).expect("the master serves");
    group.master.kill();
    group.slave().kill();
    group.slave().start();
    // Asked directly: with both gone, no name server knows the topic until the master is back, as with Java's.
    until("the slave to serve", LIMIT, || Talk::connect(&group.slave().addr()).ok());
    assert_has_everything(&ledger, &group.slave().addr());
    assert_eq!(self::offsets(&group.slave().addr()).expect("the slave serves"), offsets);
    group.master.start_and_wait();
    group.wait_until_linked();
    send(&group, &ledger, 1_000);
    group.assert_logs_identical();
    assert_has_everything(&ledger, &group.slave().addr());
    assert_eq!(group.complaints(&[]), Vec::<String>::new());
}

fn send(group: &Group, ledger: &Arc<Ledger>, count: u64) {
    let load = Load::start(ledger, &Plan { count: Some(ledger.sent() + count), ..plan(group) });
    until("everything to be sent", LIMIT, || load.is_over().then_some(()));
    load.stop();
}

/// Reads until so many different messages were seen.
fn read(reader: &Reader, enough: usize) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| reader.keep_reading(1, enough, &stop));
        let _stop = StopAtEnd(&stop);
        until("enough messages to be read", LIMIT, || (reader.seen() >= enough).then_some(()));
    });
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until a member knows the offsets that another one has.
fn wait_for_offsets(from: &str, to: &str) {
    until_ok("the offsets to reach the other member", LIMIT, || {
        let [wanted, found] = [from, to].map(|addr| offsets(addr).map_err(|e| e.to_string()));
        let (wanted, found) = (wanted?, found?);
        if wanted == found { Ok(()) } else { Err(format!("{wanted:?} here, {found:?} there")) }
    });
}

/// Returns what a member knows of the group's offsets.
fn offsets(addr: &str) -> std::io::Result<Vec<Option<i64>>> {
    let mut talk = Talk::connect(addr)?;
    (0..QUEUES).map(|queue| committed(&mut talk, GROUP, TOPIC, queue as i32)).collect()
}
